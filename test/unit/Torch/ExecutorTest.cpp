//===- ExecutorTest.cpp - The executor through its library -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Safetensors.h"
#include "compiler/Torch/Loader.h"
#include "compiler/Weights/Pack.h"
#include "test/unit/Torch/TinyModel.h"
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

namespace retort::exec {
namespace {

std::string slurp(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Gives a model the parameters of a file that fit() or train() wrote.
void load(TinyModel &model, const std::string &path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (const SafetensorsTensor &tensor : file.tensors()) {
    if (tensor.name == kCurve)
      continue;
    std::vector<float> &values = model.values[size_t(model.find(tensor.name))];
    ASSERT_EQ(tensor.bytes.size(), values.size() * sizeof(float));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  }
}

struct ExecutorTest : testing::Test {
  std::unique_ptr<Executor> executor = loadExecutor({.threads = 1}, RETORT_TORCH_LIBRARY_PATH);
  TinyModel tiny{37, 1};
  std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("retort-executor-" + std::to_string(getpid()));

  void SetUp() override { std::filesystem::create_directories(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::string path(const char *name) const { return (folder / name).string(); }

  TrainOptions options(const char *output) const {
    TrainOptions options;
    options.batchTokens = 60;
    options.microTokens = 40;
    options.learningRate = 5e-3;
    options.seed = 3;
    options.outputPath = path(output);
    return options;
  }
  /// 91 tokens, so many times.
  std::vector<Sequence> data(int times = 1) const {
    const auto once = randomSequences({{20}, {9, 11}, {5, 5, 5}, {20}, {16}}, 37);
    std::vector<Sequence> all;
    for (int i = 0; i < times; ++i)
      all.insert(all.end(), once.begin(), once.end());
    return all;
  }
};

// Documents that are packed into one sequence give the logits that they give alone.
TEST_F(ExecutorTest, PackedDocumentsAreSeparate) {
  const auto packed = randomSequences({{9, 1, 14}}, 37);
  std::vector<Sequence> alone;
  for (const auto &[begin, end] : {std::pair{0, 9}, {9, 10}, {10, 24}})
    alone.push_back({{packed[0].tokens.begin() + begin, packed[0].tokens.begin() + end}, {}});
  std::vector<std::vector<float>> together, apart;
  check(executor->logits(tiny.model(), packed, Precision::F32, together));
  check(executor->logits(tiny.model(), alone, Precision::F32, apart));
  std::vector<float> joined;
  for (const auto &rows : apart)
    joined.insert(joined.end(), rows.begin(), rows.end());
  ASSERT_EQ(together[0].size(), joined.size());
  for (size_t i = 0; i < joined.size(); ++i)
    EXPECT_NEAR(together[0][i], joined[i], 1e-4f);
}

// The score of a sequence follows from its logits.
TEST_F(ExecutorTest, ScoreIsTheLogits) {
  const auto sequences = randomSequences({{6, 8}}, 37);
  std::vector<std::vector<float>> logits;
  check(executor->logits(tiny.model(), sequences, Precision::F32, logits));
  Scores scores;
  check(executor->score(tiny.model(), nullptr, sequences,
                        {.precision = Precision::F32, .tokenNll = true}, {}, scores));
  double sum = 0;
  for (const size_t row : {0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12}) {
    const float *l = logits[0].data() + row * 37;
    double total = 0;
    for (int i = 0; i < 37; ++i)
      total += std::exp(double(l[i]));
    const double nll = std::log(total) - l[sequences[0].tokens[row + 1]];
    EXPECT_NEAR(scores.sequences[0].tokenNll[row + 1], nll, 1e-4);
    sum += nll;
  }
  EXPECT_EQ(scores.predicted, 12);
  EXPECT_NEAR(scores.nll, sum, 1e-3);
  EXPECT_EQ(scores.sequences[0].tokenNll[6], 0);
}

TEST_F(ExecutorTest, DivergenceFromItselfIsNone) {
  const auto sequences = data();
  const Model model = tiny.model();
  Scores scores;
  check(executor->score(model, &model, sequences, {}, {}, scores));
  EXPECT_NEAR(scores.kl->max, 0, 1e-5);
  EXPECT_EQ(scores.kl->top1Agreement, 1);
  const TinyModel other(37, 2);
  const Model reference = other.model();
  check(executor->score(model, &reference, sequences, {}, {}, scores));
  EXPECT_GT(scores.kl->mean, 0.01);
  EXPECT_GE(scores.kl->p99, scores.kl->mean);
  EXPECT_GE(scores.kl->max, scores.kl->p99);
}

TEST_F(ExecutorTest, TrainingLearns) {
  for (const Precision precision : {Precision::F32, Precision::Bf16}) {
    TrainOptions train = options("out.safetensors");
    train.precision = precision;
    TrainResult result;
    check(executor->train(tiny.model(), nullptr, data(66), train, {}, result));
    EXPECT_LT(result.curve.back(), 0.6 * result.curve.front());
    EXPECT_EQ(int64_t(result.curve.size()), result.steps);
    EXPECT_EQ(result.tokens, 66 * 91);
  }
}

TEST_F(ExecutorTest, SameSeedSameBits) {
  TrainResult result;
  check(executor->train(tiny.model(), nullptr, data(8), options("a"), {}, result));
  check(executor->train(tiny.model(), nullptr, data(8), options("b"), {}, result));
  EXPECT_EQ(slurp(path("a")), slurp(path("b")));
  TrainOptions other = options("c");
  other.seed = 4;
  check(executor->train(tiny.model(), nullptr, data(8), other, {}, result));
  EXPECT_NE(slurp(path("a")), slurp(path("c")));
}

// Frozen parameters keep their values and have no part in the output or in checkpoints.
TEST_F(ExecutorTest, FrozenParametersAreNotTrained) {
  const std::vector<std::string> frozen = {"token_embd.weight", "blk.0.attn_norm.weight",
                                           "blk.1.ffn_up.weight"};
  TrainOptions train = options("out");
  train.frozen = frozen;
  train.checkpointPath = path("checkpoint");
  TrainResult result;
  const OnProgress stop = [](const Progress &at) { return at.step < 4; };
  executor->train(tiny.model(), nullptr, data(8), train, stop, result);
  const SafetensorsFile checkpoint = SafetensorsFile::open(train.checkpointPath);
  check(executor->train(tiny.model(), nullptr, data(8), train, {}, result));
  EXPECT_EQ(result.resumedAt, 4);
  const SafetensorsFile file = SafetensorsFile::open(path("out"));
  EXPECT_EQ(file.tensors().size(), tiny.graph.params.size() - frozen.size() + 1); // and kCurve
  for (const Param &param : tiny.graph.params) {
    const bool trained = std::ranges::find(frozen, param.name) == frozen.end();
    EXPECT_EQ(file.find(param.name) != nullptr, trained) << param.name;
    for (const char *suffix : {"", ".mean", ".variance"})
      EXPECT_EQ(checkpoint.find(param.name + suffix) != nullptr, trained) << param.name;
  }
  // The loss falls, and the model that has the output in place of its own parameters is as good.
  EXPECT_LT(result.curve.back(), result.curve.front());
  Scores before, after;
  check(executor->score(tiny.model(), nullptr, data(), {}, {}, before));
  load(tiny, path("out"));
  check(executor->score(tiny.model(), nullptr, data(), {}, {}, after));
  EXPECT_LT(after.nll, before.nll);
}

// A run that was stopped and taken up again ends with the bits of one that was not.
TEST_F(ExecutorTest, ResumesToTheSameBits) {
  const TinyModel other(37, 2);
  const Model teacher = other.model();
  TrainOptions train = options("whole");
  train.losses = {.crossEntropy = 0.5, .forwardKl = 1};
  TrainResult whole, part;
  check(executor->train(tiny.model(), &teacher, data(8), train, {}, whole));
  train.outputPath = path("resumed");
  train.checkpointPath = path("checkpoint");
  train.key = "k";
  const OnProgress stop = [](const Progress &at) { return at.step < 4; };
  EXPECT_EQ(executor->train(tiny.model(), &teacher, data(8), train, stop, part).code,
            ExitCode::Interrupted);
  EXPECT_FALSE(std::filesystem::exists(train.outputPath));
  check(executor->train(tiny.model(), &teacher, data(8), train, {}, part));
  EXPECT_EQ(part.resumedAt, 4);
  EXPECT_EQ(part.curve, whole.curve);
  EXPECT_EQ(slurp(path("resumed")), slurp(path("whole")));
}

// A checkpoint of other work, or one that is damaged anywhere, is not taken up but said to be damaged,
// and the training ends with the bits that it has without it.
TEST_F(ExecutorTest, DamagedCheckpointIsIgnored) {
  TrainOptions train = options("whole");
  TrainResult result;
  check(executor->train(tiny.model(), nullptr, data(8), train, {}, result));
  train.outputPath = path("out");
  train.checkpointPath = path("checkpoint");
  train.key = "one";
  int notes = 0;
  train.note = [&](const std::string &line) {
    EXPECT_NE(line.find("damaged"), std::string::npos) << line;
    ++notes;
  };
  const OnProgress stop = [](const Progress &at) { return at.step < 4; };
  executor->train(tiny.model(), nullptr, data(8), train, stop, result);
  const std::string good = slurp(train.checkpointPath);
  ASSERT_GT(good.size(), 1000u);
  EXPECT_EQ(notes, 0);

  std::vector<std::pair<std::string, std::string>> damaged = {
      {"empty", ""},
      {"cut in the header", good.substr(0, 500)},
      {"cut", good.substr(0, good.size() - 1)}};
  auto flip = [&](size_t byte) {
    std::string bytes = good;
    bytes[byte] = char(bytes[byte] ^ 1);
    damaged.emplace_back("byte " + std::to_string(byte), bytes);
  };
  for (size_t i = 0; i < 24; ++i)
    flip(i * (good.size() - 1) / 23);
  // Each figure that a run is taken up from.
  flip(good.find("retort.rollbacks\":\"") + std::string("retort.rollbacks\":\"").size());
  flip(good.find("retort.sum\":\"") + std::string("retort.sum\":\"").size());
  damaged.emplace_back("of another training", good);
  for (const auto &[what, bytes] : damaged) {
    std::ofstream(train.checkpointPath, std::ios::binary) << bytes;
    train.key = what == "of another training" ? "two" : "one";
    notes = 0;
    result = {};
    check(executor->train(tiny.model(), nullptr, data(8), train, {}, result));
    EXPECT_EQ(result.resumedAt, 0) << what;
    EXPECT_EQ(notes, 1) << what;
    EXPECT_EQ(slurp(path("out")), slurp(path("whole"))) << what;
  }
}

// Whatever the number of threads, trainings, fits, statistics and scores have the same bits.
TEST_F(ExecutorTest, ThreadsChangeNoBit) {
  std::vector<std::string> results;
  for (const int threads : {1, 2, 3, 5}) {
    const auto shared = loadExecutor({.threads = threads}, RETORT_TORCH_LIBRARY_PATH);
    TrainOptions train = options("out");
    train.precision = Precision::F32;
    TrainResult trained;
    check(shared->train(tiny.model(), nullptr, data(8), train, {}, trained));
    Statistics statistics;
    check(shared->observe(tiny.model(), data(8), {}, statistics));
    Scores scores;
    check(shared->score(tiny.model(), nullptr, data(8), {}, {}, scores));
    FitOptions fit;
    for (const Param &param : tiny.graph.params)
      if (param.name.find("ffn_down") != std::string::npos)
        fit.params.push_back(param.name);
    fit.outputPath = path("fit");
    FitResult fitted;
    check(shared->fit(tiny.model(), tiny.model(), data(8), fit, {}, fitted));
    RoundingCosts costs;
    check(shared->probe(tiny.model(), data(8),
                        {.formats = {{NumberFormat::Kind::I4, 32}}, .measured = 9}, {}, costs));
    results.push_back(slurp(path("out")) + slurp(path("fit")) + statistics.toJson() +
                      costs.toJson() + std::to_string(scores.nll));
  }
  for (const std::string &result : results)
    EXPECT_TRUE(result == results.front());
}

// Where the rate is so high that a step is not finite, the run begins again at half of it, and ends
// as one at that rate would have; the third time it gives up. Rates are tried from the highest float
// down: the first that ends at all has been halved twice.
TEST_F(ExecutorTest, RollsBackAtHalfTheRate) {
  TrainOptions train = options("out");
  train.precision = Precision::F32;
  TrainResult result;
  Status status;
  int refused = 0;
  for (train.learningRate = std::ldexp(1.0, 126); train.learningRate > 1; train.learningRate /= 2) {
    result = {};
    status = executor->train(tiny.model(), nullptr, data(8), train, {}, result);
    if (status.ok())
      break;
    ++refused;
    EXPECT_EQ(status.code, ExitCode::BadInput);
    EXPECT_NE(status.message.find("lower the learning rate"), std::string::npos) << status.message;
    EXPECT_FALSE(std::filesystem::exists(path("out")));
  }
  check(status);
  EXPECT_GT(refused, 0);
  EXPECT_EQ(result.rollbacks, 2);
  TrainResult quarter;
  train.outputPath = path("quarter");
  train.learningRate /= 4;
  check(executor->train(tiny.model(), nullptr, data(8), train, {}, quarter));
  EXPECT_EQ(quarter.rollbacks, 0);
  EXPECT_EQ(slurp(path("quarter")), slurp(path("out")));
}

// A checkpoint remembers that the rate was halved; one that holds weights beyond hope is left for
// the beginning.
TEST_F(ExecutorTest, RollsBackFromCheckpoints) {
  TrainOptions train = options("out");
  train.precision = Precision::F32;
  train.checkpointPath = path("checkpoint");
  TrainResult result;
  auto run = [&](const OnProgress &progress) {
    result = {};
    return executor->train(tiny.model(), nullptr, data(8), train, progress, result);
  };
  for (train.learningRate = std::ldexp(1.0, 126); !run({}).ok();)
    train.learningRate /= 2;
  ASSERT_EQ(result.rollbacks, 2);
  const std::string whole = slurp(path("out"));
  // Stopped after the first step at the full rate, which ruins the weights, or in the last attempt.
  for (const auto &[attempt, step] : {std::pair{0, 1}, {2, 3}}) {
    std::filesystem::remove(train.checkpointPath);
    int64_t attempts = 0, last = 0;
    run([&](const Progress &at) {
      attempts += at.step <= std::exchange(last, at.step);
      return attempts < attempt || at.step < step;
    });
    ASSERT_TRUE(std::filesystem::exists(train.checkpointPath)) << attempt;
    const Status status = run({});
    ASSERT_TRUE(status.ok()) << attempt << ": " << status.message;
    EXPECT_EQ(result.resumedAt, step);
    EXPECT_EQ(result.rollbacks, 2);
    EXPECT_EQ(slurp(path("out")), whole);
  }
}

// Blocks that the backward pass runs again give the bits that kept activations give.
TEST_F(ExecutorTest, RecomputedBlocksAreTheSame) {
  const TinyModel other(37, 2);
  const Model teacher = other.model();
  TrainOptions train = options("kept");
  train.losses = {.crossEntropy = 0.5, .forwardKl = 1, .hiddenMatching = 0.5};
  TrainResult kept, again;
  check(executor->train(tiny.model(), &teacher, data(8), train, {}, kept));
  train.recompute = true;
  train.outputPath = path("again");
  check(executor->train(tiny.model(), &teacher, data(8), train, {}, again));
  EXPECT_EQ(kept.curve, again.curve);
  EXPECT_EQ(slurp(path("kept")), slurp(path("again")));
}

// With quantisation-aware training the model runs with the values that packing stores.
TEST_F(ExecutorTest, QuantisationAwareSeesStoredValues) {
  TinyModel quantised = tiny;
  for (size_t p = 0; p < tiny.graph.params.size(); ++p) {
    Param &param = tiny.graph.params[p];
    if (param.isVector)
      continue;
    param.format = {NumberFormat::Kind::I4, 32, true};
    for (int64_t row = 0; row < param.rows; ++row)
      weight::quantiseDequantise(
          {NumberFormat::Kind::I4, 32, true},
          {quantised.values[p].data() + row * param.cols, size_t(param.cols)});
  }
  const auto sequences = randomSequences({{20}}, 37);
  TrainOptions train = options("out");
  train.precision = Precision::F32;
  train.quantisationAware = true;
  TrainResult result;
  check(executor->train(tiny.model(), nullptr, sequences, train, {}, result));
  Scores scores;
  check(executor->score(quantised.model(), nullptr, sequences, {.precision = Precision::F32}, {},
                        scores));
  EXPECT_NEAR(result.curve[0], scores.nll / double(scores.predicted), 1e-5);
  check(
      executor->score(tiny.model(), nullptr, sequences, {.precision = Precision::F32}, {}, scores));
  EXPECT_GT(std::abs(result.curve[0] - scores.nll / double(scores.predicted)), 1e-4);
}

// With frozen codes training lowers the loss, moves scales alone, and what it writes is stored as it is.
TEST_F(ExecutorTest, FrozenCodesStay) {
  for (Param &param : tiny.graph.params)
    if (!param.isVector)
      param.format = {NumberFormat::Kind::I4, 32};
  TrainOptions train = options("out");
  train.precision = Precision::F32;
  train.quantisationAware = train.freezeCodes = true;
  TrainResult result;
  check(executor->train(tiny.model(), nullptr, data(8), train, {}, result));
  EXPECT_LT(result.curve.back(), result.curve.front());
  TinyModel trained = tiny;
  load(trained, path("out"));
  auto codesOf = [](const TinyModel &model, size_t param, std::vector<float> &scales) {
    const int64_t rows = model.graph.params[param].rows, cols = model.graph.params[param].cols;
    const size_t groups = size_t((cols + 31) / 32);
    std::vector<uint8_t> codes(size_t(rows) * groups * 32);
    scales.resize(size_t(rows) * groups);
    for (size_t row = 0; row < size_t(rows); ++row)
      weight::quantiseRow(model.graph.params[param].format,
                          {model.values[param].data() + row * size_t(cols), size_t(cols)},
                          {codes.data() + row * groups * 32, groups * 32},
                          {scales.data() + row * groups, groups}, {});
    return codes;
  };
  for (size_t p = 0; p < tiny.graph.params.size(); ++p) {
    if (tiny.graph.params[p].isVector)
      continue;
    std::vector<float> before, after;
    EXPECT_EQ(codesOf(tiny, p, before), codesOf(trained, p, after)) << tiny.graph.params[p].name;
    EXPECT_NE(before, after) << tiny.graph.params[p].name;
  }
}

// A teacher with more tokens is asked about the student's only: here they are the same model.
TEST_F(ExecutorTest, TeacherOverKeptTokens) {
  TinyModel student = tiny;
  const size_t table = size_t(tiny.find("token_embd.weight"));
  std::vector<float> kept;
  for (int32_t token = 1; token < 37; token += 3) {
    student.graph.vocabKept.push_back(token);
    const auto row = tiny.values[table].begin() + token * TinyModel::kHidden;
    kept.insert(kept.end(), row, row + TinyModel::kHidden);
  }
  student.values[table] = kept;
  student.graph.vocab = student.graph.params[table].rows = int64_t(student.graph.vocabKept.size());
  const Model teacher = tiny.model();
  TrainOptions train = options("out");
  train.precision = Precision::F32;
  train.losses = {.crossEntropy = 0, .forwardKl = 1};
  TrainResult result;
  const auto sequences = randomSequences({{20}}, student.graph.vocab);
  check(executor->train(student.model(), &teacher, sequences, train, {}, result));
  EXPECT_NEAR(result.curve[0], 0, 1e-5);
}

TEST_F(ExecutorTest, ObservesBlocks) {
  // Block 1 adds nothing to the stream; channel 3 of block 0 is shut.
  for (const char *name : {"blk.1.attn_output.weight", "blk.1.ffn_down.weight"})
    std::ranges::fill(tiny.values[size_t(tiny.find(name))], 0.0f);
  auto &up = tiny.values[size_t(tiny.find("blk.0.ffn_up.weight"))];
  std::fill_n(up.begin() + 3 * TinyModel::kHidden, TinyModel::kHidden, 0.0f);
  Statistics seen;
  check(executor->observe(tiny.model(), data(), {}, seen));
  using distill::Statistic;
  ASSERT_EQ(seen.blocks.size(), 2u);
  EXPECT_EQ(seen.tokens, 20 + 20 + 15 + 20 + 16);
  const Statistics::Block &first = seen.blocks["blk.0"], &second = seen.blocks["blk.1"];
  EXPECT_GT(first[Statistic::Influence].at(0), 0.01);
  EXPECT_NEAR(second[Statistic::Influence].at(0), 0, 1e-5);
  const std::vector<double> &ffn = first[Statistic::FFN];
  ASSERT_EQ(ffn.size(), size_t(TinyModel::kFfn));
  EXPECT_EQ(std::ranges::min_element(ffn) - ffn.begin(), 3);
  EXPECT_GT(ffn[4], 2 * ffn[3]);
  ASSERT_EQ(first[Statistic::Heads].size(), size_t(TinyModel::kKvHeads));
  EXPECT_GT(first[Statistic::Heads][1], 0);
}

/// A loss counts beside the stream that it is a loss of: what writes the stream writes it three times as
/// large, and the same is lost of it.
TEST_F(ExecutorTest, ObservesChannelsBesideTheStream) {
  using distill::Statistic;
  Statistics seen, larger;
  check(executor->observe(tiny.model(), data(), {}, seen));
  for (const char *name : {"token_embd.weight", "blk.0.attn_output.weight", "blk.0.ffn_down.weight",
                           "blk.1.attn_output.weight", "blk.1.ffn_down.weight"})
    for (float &value : tiny.values[size_t(tiny.find(name))])
      value *= 3;
  check(executor->observe(tiny.model(), data(), {}, larger));
  for (const char *block : {"blk.0", "blk.1"}) {
    const std::vector<double> &ffn = seen.blocks[block][Statistic::FFN];
    double most = 0;
    for (size_t c = 0; c < ffn.size(); ++c) {
      EXPECT_NEAR(larger.blocks[block][Statistic::FFN][c], ffn[c], 0.02 * ffn[c]) << block << c;
      most = std::max(most, ffn[c]);
    }
    EXPECT_GT(most, 0.001) << "the last channel to go takes the unit's whole output";
    EXPECT_LT(most, 1);
  }
}

/// 1 - cosine of each row of two matrices, summed.
double turned(const std::vector<float> &in, const std::vector<float> &out, size_t width) {
  double sum = 0;
  for (size_t row = 0; row < in.size(); row += width) {
    double product = 0, before = 0, after = 0;
    for (size_t i = row; i < row + width; ++i) {
      product += double(in[i]) * out[i];
      before += double(in[i]) * in[i];
      after += double(out[i]) * out[i];
    }
    sum += 1 - product / std::sqrt(before * after);
  }
  return sum;
}

// As loops over the values of ops have it, with a norm between block 0's attention and the stream.
TEST_F(ExecutorTest, ObservesHowMuchAttentionsTurnTheStream) {
  Graph &graph = tiny.graph;
  const auto isAddition = [](const Node &node) { return node.op == OpKind::Residual; };
  const auto added = std::ranges::find_if(graph.nodes, isAddition);
  Node norm{OpKind::Norm, {added->ins[1]}, {graph.addValue(TinyModel::kHidden)}};
  norm.params = {{"weight", tiny.find("output_norm.weight")}};
  norm.attributes = {{"eps", {1e-5}}, {"groups", {1}}};
  added->ins[1] = norm.outs[0];
  graph.nodes.insert(added, norm);
  graph.blocks[0].numNodes += 1;
  graph.blocks[1].firstNode += 1;
  Statistics seen;
  check(executor->observe(tiny.model(), data(), {}, seen));
  for (const Block &block : graph.blocks) {
    const Node &addition =
        *std::find_if(graph.nodes.begin() + block.firstNode, graph.nodes.end(), isAddition);
    double sum = 0;
    for (const Sequence &sequence : data()) {
      std::vector<std::vector<float>> values;
      check(executor->interpret(tiny.model(), sequence, values));
      sum += turned(values[size_t(addition.ins[0])], values[size_t(addition.outs[0])],
                    TinyModel::kHidden);
    }
    const double expected = sum / double(seen.tokens);
    EXPECT_GT(expected, 0.01) << block.label;
    EXPECT_NEAR(seen.blocks[block.label][distill::Statistic::AttentionInfluence].at(0), expected,
                0.02 * expected) // in bf16
        << block.label;
  }
}

/// What the student's outputs lack of the teacher's, by KL.
double divergence(Executor &executor, const Model &student, const Model &teacher,
                  const std::vector<Sequence> &sequences) {
  Scores scores;
  check(executor.score(student, &teacher, sequences, {.precision = Precision::F32}, {}, scores));
  return scores.kl->mean;
}

// Channels that are shut are made up for by those that are left.
TEST_F(ExecutorTest, FitMakesUpForPruning) {
  TinyModel student = tiny;
  for (const char *name : {"blk.0.ffn_up.weight", "blk.1.ffn_up.weight"}) {
    auto &up = student.values[size_t(student.find(name))];
    std::fill_n(up.begin(), 8 * TinyModel::kHidden, 0.0f);
  }
  const Model teacher = tiny.model();
  const auto sequences = randomSequences({{40}, {40}, {40}, {40}, {40}, {40}}, 37);
  const double before = divergence(*executor, student.model(), teacher, sequences);
  FitOptions options{.params = {"blk.0.attn_output.weight", "blk.0.ffn_down.weight",
                                "blk.1.attn_output.weight", "blk.1.ffn_down.weight"},
                     .damping = 1e-3,
                     .precision = Precision::F32,
                     .outputPath = path("fit")};
  FitResult result;
  check(executor->fit(student.model(), teacher, sequences, options, {}, result));
  EXPECT_EQ(result.blocks, (std::vector<std::string>{"blk.0", "blk.1"}));
  load(student, path("fit"));
  EXPECT_LT(divergence(*executor, student.model(), teacher, sequences), 0.5 * before);
  const std::string once = slurp(path("fit"));
  check(executor->fit(tiny.model(), teacher, sequences, options, {}, result));
  EXPECT_NEAR(result.lacking.back(), 0, 1e-9); // a student that is its teacher stays as it is
  EXPECT_NE(slurp(path("fit")), once);
}

// Layers that GPTQ rounds on the way lose less than those that are rounded to nearest.
TEST_F(ExecutorTest, FitRoundsByGptq) {
  TinyModel student = tiny, nearest = tiny;
  std::vector<std::string> params;
  for (size_t p = 0; p < tiny.graph.params.size(); ++p) {
    const Param &param = tiny.graph.params[p];
    if (param.isVector || param.name.starts_with("token_embd"))
      continue;
    student.graph.params[p].format = {NumberFormat::Kind::I4, 32};
    params.push_back(param.name);
    for (int64_t row = 0; row < param.rows; ++row)
      weight::quantiseDequantise({NumberFormat::Kind::I4, 32},
                                 {nearest.values[p].data() + row * param.cols, size_t(param.cols)});
  }
  const Model teacher = tiny.model();
  const auto sequences = randomSequences({{40}, {40}, {40}, {40}, {40}, {40}}, 37);
  FitOptions options{.params = params, .precision = Precision::F32, .outputPath = path("fit")};
  FitResult result;
  check(executor->fit(student.model(), teacher, sequences, options, {}, result));
  load(student, path("fit"));
  EXPECT_LT(divergence(*executor, student.model(), teacher, sequences),
            0.8 * divergence(*executor, nearest.model(), teacher, sequences));
}

/// The model with a copy of its embedding as the logits' matrix.
TinyModel untied(const TinyModel &tied) {
  TinyModel model = tied;
  const size_t table = size_t(model.find("token_embd.weight"));
  model.graph.params.push_back(model.graph.params[table]);
  model.graph.params.back().name = "output.weight";
  model.values.push_back(std::vector<float>(model.values[table]));
  model.graph.nodes.back().params = {{"weight", ParamId(model.graph.params.size() - 1)}};
  return model;
}

// Logits with a matrix of their own are rounded by GPTQ too, and make up for a stream that is off: here
// for the last norm's gain, which nothing else can.
TEST_F(ExecutorTest, FitsLogits) {
  const TinyModel whole = untied(tiny);
  const Model teacher = whole.model();
  const auto sequences = randomSequences({{40}, {40}, {40}, {40}, {40}, {40}}, 37);
  FitOptions options{.params = {"output.weight"},
                     .damping = 1e-3,
                     .precision = Precision::F32,
                     .outputPath = path("fit")};
  FitResult result;

  TinyModel scaled = whole;
  for (float &gain : scaled.values[size_t(whole.find("output_norm.weight"))])
    gain *= 1.3f;
  const double before = divergence(*executor, scaled.model(), teacher, sequences);
  check(executor->fit(scaled.model(), teacher, sequences, options, {}, result));
  load(scaled, path("fit"));
  EXPECT_LT(divergence(*executor, scaled.model(), teacher, sequences), 0.1 * before);

  TinyModel rounded = whole, nearest = whole;
  rounded.graph.params.back().format = {NumberFormat::Kind::I4, 32};
  for (int64_t row = 0; row < whole.graph.vocab; ++row)
    weight::quantiseDequantise(
        {NumberFormat::Kind::I4, 32},
        {nearest.values.back().data() + row * TinyModel::kHidden, size_t(TinyModel::kHidden)});
  check(executor->fit(rounded.model(), teacher, sequences, options, {}, result));
  load(rounded, path("fit"));
  EXPECT_LT(divergence(*executor, rounded.model(), teacher, sequences),
            divergence(*executor, nearest.model(), teacher, sequences));
}

// What the probe says of each group is what score() finds of the model with only that group rounded, as
// fit() rounds it where the teacher is the student, with the layer that ends the unit solved for; by
// another format it is less.
TEST_F(ExecutorTest, ProbesEachGroupAlone) {
  const TinyModel whole = untied(tiny);
  const auto sequences = randomSequences({{40}, {40}, {40}, {40}, {40}, {30}, {20, 10}}, 37);
  ProbeOptions options{.formats = {{NumberFormat::Kind::I8, 32}, {NumberFormat::Kind::I4, 32}},
                       .measured = 2,
                       .damping = 1e-2};
  RoundingCosts costs;
  check(executor->probe(whole.model(), sequences, options, {}, costs));
  EXPECT_EQ(costs.formats, options.formats);
  EXPECT_EQ(costs.tokens, 29 + 19 + 9);
  std::vector<std::string> names;
  const std::vector<Sequence> equations(sequences.begin(), sequences.end() - 2),
      measured(sequences.end() - 2, sequences.end());
  for (const RoundingCosts::Group &group : costs.groups) {
    TinyModel rounded = whole;
    for (const std::string &name : group.params) {
      rounded.graph.params[size_t(rounded.find(name))].format = {NumberFormat::Kind::I4, 32};
      names.push_back(name);
    }
    std::vector<std::string> params = group.params;
    const std::string first = params[0], block = first.substr(0, 6);
    if (first.find("attn_qkv") != std::string::npos)
      params.push_back(block + "attn_output.weight");
    if (first.find("ffn_gate") != std::string::npos)
      params.push_back(block + "ffn_down.weight");
    FitOptions fit{
        .params = params, .damping = 1e-2, .precision = Precision::F32, .outputPath = path("fit")};
    FitResult result;
    check(executor->fit(rounded.model(), whole.model(), equations, fit, {}, result));
    load(rounded, path("fit"));
    const double kl = divergence(*executor, rounded.model(), whole.model(), measured);
    EXPECT_NEAR(group.kl[1], kl, 2e-3 * kl + 1e-6) << group.params[0];
    EXPECT_GT(group.kl[0], 0) << group.params[0];
    EXPECT_LT(group.kl[0], group.kl[1] / 50) << group.params[0];
  }
  // Each matrix of a linear layer is in one group, and what reads one value is in the same.
  size_t linears = 0;
  for (const Node &node : whole.graph.nodes)
    linears += node.op == OpKind::Linear || node.op == OpKind::Logits;
  EXPECT_EQ(names.size(), linears);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
  EXPECT_EQ(costs.groups.back().params, std::vector<std::string>{"output.weight"});
  EXPECT_TRUE(std::any_of(costs.groups.begin(), costs.groups.end(),
                          [](const auto &group) { return group.params.size() > 1; }));

  // A matrix that is the embedding too is left out: rounding it would change what all read.
  check(executor->probe(tiny.model(), sequences, options, {}, costs));
  for (const RoundingCosts::Group &group : costs.groups)
    EXPECT_NE(group.params[0], "token_embd.weight");
}

TEST_F(ExecutorTest, ProbeRefusesWhatSaysNothing) {
  RoundingCosts costs;
  const std::vector<NumberFormat> formats = {{NumberFormat::Kind::I4, 32}};
  for (const ProbeOptions &options :
       {ProbeOptions{.formats = {}, .measured = 1}, ProbeOptions{.formats = formats, .measured = 0},
        ProbeOptions{.formats = formats, .measured = 6}}) {
    const Status status = executor->probe(tiny.model(), data(), options, {}, costs);
    EXPECT_EQ(status.code, ExitCode::Usage);
    EXPECT_EQ(status.message.substr(0, 28), "probe: there must be formats");
  }
}

// Rounded projections make up for what was rounded before them: they follow what their teacher's give.
TEST_F(ExecutorTest, RoundedLayersFollowTheTeachers) {
  TinyModel student = tiny;
  const size_t table = size_t(tiny.find("token_embd.weight"));
  student.graph.params[table].format = {NumberFormat::Kind::I4, 32}; // an input that is off
  FitOptions options{.params = {}, .precision = Precision::F32, .outputPath = path("fit")};
  for (const Node &node : tiny.graph.nodes)
    if (node.op == OpKind::Linear) {
      const size_t param = size_t(node.param("weight"));
      student.graph.params[param].format = {NumberFormat::Kind::I8, 32};
      options.params.push_back(tiny.graph.params[param].name);
    }
  TinyModel nearest = student;
  const auto sequences = randomSequences({{40}, {40}, {40}, {40}, {40}, {40}}, 37);
  FitResult result;
  check(executor->fit(student.model(), tiny.model(), sequences, options, {}, result));
  load(student, path("fit"));
  for (TinyModel *model : {&student, &nearest})
    for (size_t p = 0; p < model->values.size(); ++p)
      if (const Param &param = model->graph.params[p]; param.format.quantised())
        for (int64_t row = 0; row < param.rows; ++row)
          weight::quantiseDequantise(
              param.format, {model->values[p].data() + row * param.cols, size_t(param.cols)});
  EXPECT_LT(divergence(*executor, student.model(), tiny.model(), sequences),
            0.8 * divergence(*executor, nearest.model(), tiny.model(), sequences));
}

TEST_F(ExecutorTest, FitRefusesWhatItCannotSolve) {
  FitResult result;
  FitOptions options{.params = {"blk.0.ffn_up.weight"}, .outputPath = path("fit")};
  TinyModel teacher = tiny;
  teacher.graph.params[size_t(tiny.find("blk.0.ffn_up.weight"))].name = "another";
  auto fit = [&] {
    return executor->fit(tiny.model(), teacher.model(), data(), options, {}, result).message;
  };
  EXPECT_EQ(fit(),
            "fit: 'blk.0.ffn_up.weight' is neither added to the stream nor quantised, and the "
            "teacher has no layer of its name and size: there is nothing to solve for");
  options.params = {"blk.0.ffn_down.weight", "token_embd.weight"};
  EXPECT_EQ(fit(),
            "fit: of 2 parameters only 1 are linear layers of the student's blocks or logits "
            "with a matrix of their own");
  TinyModel other = tiny;
  other.graph.blocks[0].label = "blk.7";
  EXPECT_EQ(executor->fit(other.model(), tiny.model(), data(), options, {}, result).message,
            "fit: the teacher has no block 'blk.7' where the student has");
  EXPECT_FALSE(std::filesystem::exists(path("fit")));
}

TEST_F(ExecutorTest, RefusesWhatItCannotRun) {
  Scores scores;
  TrainResult result;
  auto score = [&](std::vector<Sequence> sequences) {
    return executor->score(tiny.model(), nullptr, sequences, {}, {}, scores);
  };
  EXPECT_EQ(score({{{1, 37}, {}}}).message, "sequence 0: token 37 is not in the vocabulary of 37");
  EXPECT_EQ(score({{{}, {}}}).message, "sequence 0: it has no tokens");
  EXPECT_EQ(score({{{1, 2, 3}, {0, 2, 2}}}).code, ExitCode::BadInput);
  EXPECT_EQ(score({{{1, 2, 3}, {1}}}).code, ExitCode::BadInput);
  EXPECT_EQ(score({{{1, 2, 3}, {0, 4}}}).code, ExitCode::BadInput);
  EXPECT_EQ(score({{std::vector<int32_t>(65, 1), {}}}).message,
            "sequence 0: a document of 65 tokens is longer than the context of 64");
  TrainOptions train = options("out");
  train.losses.forwardKl = 1;
  EXPECT_EQ(executor->train(tiny.model(), nullptr, data(8), train, {}, result).code,
            ExitCode::Usage);
  train.losses.temperature = 0;
  EXPECT_EQ(executor->train(tiny.model(), nullptr, data(8), train, {}, result).message,
            "training: the temperature must be above 0");
  train = options("out");
  train.batchTokens = 0;
  EXPECT_EQ(executor->train(tiny.model(), nullptr, data(8), train, {}, result).message,
            "training: token counts must be above 0");
  EXPECT_EQ(executor->train(tiny.model(), nullptr, {}, options("out"), {}, result).message,
            "training: there are no sequences");
  tiny.values[2][0] = std::nanf("");
  EXPECT_EQ(executor->train(tiny.model(), nullptr, data(8), options("out"), {}, result).code,
            ExitCode::BadInput);
  EXPECT_FALSE(std::filesystem::exists(path("out")));
}

// An error of the callback comes back as it is.
TEST_F(ExecutorTest, PassesOnWhatReadingSays) {
  Model model = tiny.model();
  model.read = [](ParamId, int64_t, int64_t, float *) {
    return Status{ExitCode::Io, "teacher.gguf: it is gone"};
  };
  std::vector<std::vector<float>> logits;
  const Status status = executor->logits(model, data(), Precision::F32, logits);
  EXPECT_EQ(status.code, ExitCode::Io);
  EXPECT_EQ(status.message, "teacher.gguf: it is gone");
}

TEST_F(ExecutorTest, CancelsWhenAsked) {
  Scores scores;
  EXPECT_EQ(executor->score(
                        tiny.model(), nullptr, data(), {}, [](auto &) { return false; }, scores)
                .code,
            ExitCode::Interrupted);
}

} // namespace
} // namespace retort::exec
