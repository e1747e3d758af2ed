//===- DataWork.cpp - Executing the ops of the distill dialect -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/DataWork.h"
#include "compiler/Data/Scoring.h"
#include "compiler/Driver/Estimate.h"
#include "compiler/Driver/Scorer.h"
#include "compiler/Torch/FromIR.h"
#include "compiler/Torch/Loader.h"
#include "runtime/base/Sha256.h"

#include "mlir/IR/AsmState.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

/// Part of every key: raised when data work gives other results for the same inputs.
constexpr const char *kWorkVersion = "retort-work-2";

/// Bytes of held-out text that stand for one token of `tokens` in distill.score: models with
/// different vocabularies are scored on the same text.
constexpr uint64_t kBytesPerScoredToken = 4;
constexpr uint32_t kScoreWindowTokens = 1024;

nlohmann::json parseObject(const std::string &path) {
  std::ifstream file(path);
  nlohmann::json value = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object())
    fail(ExitCode::BadInput, path + ": is damaged: delete it and run again");
  return value;
}

/// Windows of packed rows as the executor takes them: the window's start token and all its targets.
std::vector<exec::Sequence> toSequences(const PackedSequences &packed) {
  std::vector<exec::Sequence> sequences;
  const uint64_t length = packed.sequenceTokens;
  for (uint64_t s = 0; s < packed.sequences(); ++s) {
    exec::Sequence sequence;
    for (uint64_t row = s * length; row < (s + 1) * length; ++row) {
      if (packed.document[row] < 0)
        break;
      if (packed.positions[row] == 0)
        sequence.documents.push_back(static_cast<int32_t>(sequence.tokens.size()));
      sequence.tokens.push_back(packed.tokens[row]);
      const bool last = row + 1 == (s + 1) * length || packed.positions[row + 1] == 0 ||
                        packed.document[row + 1] < 0;
      if (last)
        sequence.tokens.push_back(packed.targets[row]);
    }
    if (!sequence.tokens.empty())
      sequences.push_back(std::move(sequence));
  }
  return sequences;
}

/// A model whose matrices are meant to be stored in `format`, embedding and logits in `table`
/// (null: in `format`); both null: as they are.
exec::Graph quantisedGraph(lm::ModelOp model, weight::FormatAttr format, weight::FormatAttr table) {
  exec::Graph graph = exec::graphFromModel(model);
  auto store = [&](exec::Param &param, weight::FormatAttr in) {
    if (in && !param.isVector)
      param.format = in.getValue();
  };
  for (exec::Param &param : graph.params)
    store(param, format);
  for (const exec::Node &node : graph.nodes)
    if (node.op == exec::OpKind::Embed || node.op == exec::OpKind::Logits)
      store(graph.params[node.param("weight")], table);
  return graph;
}

template <typename OpT> void setResult(OpT op, const std::string &key) {
  op.setResultAttr(distill::FileAttr::get(op.getContext(), key));
}

} // namespace

std::string wordsOf(llvm::StringRef symbol) {
  std::string words = symbol.str();
  std::replace(words.begin(), words.end(), '_', ' ');
  return words;
}

const Corpus &FieldCorpus::get() {
  if (!corpus_) {
    if (paths_.empty())
      fail(ExitCode::Usage, "the recipe works on documents: name them with --corpus");
    progress_.begin("read the corpus");
    corpus_ = Corpus::read(paths_, {},
                           [&](uint64_t done, uint64_t total) { progress_.update(done, total); });
    progress_.end(corpus_->counts().summary());
  }
  return *corpus_;
}

DataWork::DataWork(Teacher &teacher, FieldCorpus &corpus, Workspace &workspace, Progress &progress,
                   DataWorkOptions options)
    : teacher_(teacher), corpus_(corpus), workspace_(workspace), progress_(progress),
      options_(options) {}
DataWork::~DataWork() = default;

void DataWork::run(mlir::ModuleOp module) {
  for (mlir::Operation &op : llvm::make_early_inc_range(module.getOps())) {
    if (Progress::interrupted())
      fail(ExitCode::Interrupted, "stopped: run the same command again to go on from here");
    llvm::TypeSwitch<mlir::Operation *>(&op)
        .Case<distill::CorpusOp, distill::ObserveOp, distill::FitOp, distill::TrainOp,
              distill::ScoreOp>([&](auto work) {
          if (!work.getResult())
            runOp(work);
        })
        .Case([&](distill::GateOp gate) { checkGate(gate); });
  }
}

exec::Executor &DataWork::executor() {
  if (!executor_)
    executor_ = exec::loadExecutor({.threads = static_cast<int>(options_.threads)});
  return *executor_;
}

lm::ModelOp DataWork::model(mlir::Operation *op, llvm::StringRef name) {
  return mlir::SymbolTable::lookupNearestSymbolFrom<lm::ModelOp>(
      op, mlir::StringAttr::get(op->getContext(), name));
}

std::string DataWork::keyOf(mlir::Operation *op, llvm::ArrayRef<lm::ModelOp> models) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << kWorkVersion << '\n' << op->getName().getStringRef() << '\n';
  for (mlir::NamedAttribute attribute : op->getAttrDictionary())
    if (attribute.getName() != "result" && attribute.getName() != "sym_name")
      stream << attribute.getName().getValue() << " = " << attribute.getValue() << '\n';
  for (lm::ModelOp used : models)
    used->print(stream, mlir::OpPrintingFlags().useLocalScope());
  // Results of before the executor rounded keys and values as their cache does are not these.
  for (lm::ModelOp used : models)
    used->walk([&](lm::AttentionOp attention) {
      if (attention.getCache() != CacheFormat::F32)
        stream << "rounded cache\n";
    });
  stream << teacher_.sha256() << '\n' << corpus_.get().identity() << '\n';
  // Arithmetic is reproducible for a number of threads, not across numbers.
  stream << options_.threads << '\n';
  return sha256Hex(std::string_view(text));
}

exec::OnProgress DataWork::onProgress() {
  return [this](const exec::Progress &at) {
    char note[64] = "";
    if (at.loss != 0)
      std::snprintf(note, sizeof note, "loss %.3f, %.0f tokens/s", at.loss, at.tokensPerSecond);
    progress_.update(at.step, at.totalSteps, note);
    return !Progress::interrupted();
  };
}

std::vector<exec::Sequence> DataWork::packTrain(lm::ModelOp model, int64_t tokens,
                                                int64_t sequenceTokens, uint64_t seed) {
  const LoadedTokenizer &tokenizer = teacher_.tokenizerOf(model);
  std::vector<const Document *> documents = corpus_.get().require(Split::Train);
  return toSequences(packDocuments(documents, tokenizer.tokenizeDocument(),
                                   {.sequenceTokens = static_cast<uint32_t>(sequenceTokens),
                                    .startToken = tokenizer.startToken(),
                                    .budgetTokens = static_cast<uint64_t>(tokens),
                                    .seed = seed}));
}

//===----------------------------------------------------------------------===//
// Corpus and observations
//===----------------------------------------------------------------------===//

void DataWork::runOp(distill::CorpusOp op) {
  // The identity names the documents; the object only says what they were.
  const std::string key = corpus_.get().identity();
  if (!workspace_.has(key, "json"))
    workspace_.put(key, "json", corpus_.get().counts().toJson().dump(1) + "\n");
  setResult(op, key);
}

void DataWork::runOp(distill::ObserveOp op) {
  lm::ModelOp observed = model(op, op.getModel());
  std::string key = keyOf(op, observed);
  bool runsModel = false;
  for (auto statistic : op.getStatistics().getAsRange<distill::StatisticAttr>())
    runsModel |= statistic.getValue() != distill::Statistic::Vocabulary;
  const std::string name = runsModel ? "observe the teacher" : "count the vocabulary";
  if (runsModel)
    plan_.push_back(estimateObserve(observed, op.getTokens(), name, workspace_.has(key, "json")));
  if (options_.planOnly && runsModel && !workspace_.has(key, "json")) {
    // A stand-in under a key of its own, so that it is never taken for the real thing.
    key = sha256Hex(std::string_view("plan " + key));
    workspace_.put(key, "json", plannedStatistics(observed).dump());
  } else {
    workspace_.getOrMake(key, "json", [&](const std::string &path) {
      progress_.begin(name);
      writeFileAtomically(path, observe(op, observed));
      progress_.end();
    });
  }
  setResult(op, key);
}

std::string DataWork::observe(distill::ObserveOp op, lm::ModelOp observed) {
  nlohmann::json result = {{"format", "retort-stats-1"}, {"tokens", op.getTokens()}};
  bool runsModel = false;
  for (auto statistic : op.getStatistics().getAsRange<distill::StatisticAttr>()) {
    if (statistic.getValue() != distill::Statistic::Vocabulary) {
      runsModel = true;
      continue;
    }
    const LoadedTokenizer &tokenizer = teacher_.tokenizerOf(observed);
    std::vector<const Document *> documents = corpus_.get().require(Split::Train);
    result["vocabulary"] = {{"counts", countTokens(documents, tokenizer.tokenizeDocument(),
                                                   static_cast<uint32_t>(observed.getVocab()))},
                            {"merges", tokenizer.spec.merges},
                            {"keep", keepAlways(tokenizer.spec)}};
  }
  if (!runsModel)
    return result.dump();

  const exec::Graph graph = exec::graphFromModel(observed);
  exec::Observation observation;
  exec::check(executor().observe({&graph, teacher_.readRows(observed, graph)},
                                 packTrain(observed, op.getTokens(), op.getSequenceLength(), 0),
                                 onProgress(), observation));
  for (const exec::BlockStatistics &block : observation.blocks)
    result["blocks"][block.label] = {
        {"influence", block.influence}, {"ffn", block.ffn}, {"heads", block.heads}};
  return result.dump();
}

//===----------------------------------------------------------------------===//
// Training
//===----------------------------------------------------------------------===//

void DataWork::runOp(distill::FitOp op) {
  lm::ModelOp student = model(op, op.getStudent()), teacher = model(op, op.getTeacher());
  const std::string key = keyOf(op, {student, teacher});
  const std::string name = "fit the " + wordsOf(op.getStudent());
  plan_.push_back(estimateFit(student, teacher, op, name, workspace_.has(key, "safetensors")));
  if (!options_.planOnly)
    workspace_.getOrMake(key, "safetensors", [&](const std::string &path) {
      progress_.begin(name);
      const exec::Graph graph =
          quantisedGraph(student, op.getQuantizeAttr(), op.getEmbeddingAttr());
      const exec::Graph guide = exec::graphFromModel(teacher);
      exec::FitOptions options;
      for (auto param : op.getParams().getAsRange<mlir::StringAttr>())
        options.params.push_back(param.str());
      options.damping = op.getDamping();
      options.outputPath = path;
      exec::FitResult result;
      exec::check(executor().fit({&graph, teacher_.readRows(student, graph)},
                                 {&guide, teacher_.readRows(teacher, guide)},
                                 packTrain(student, op.getTokens(), op.getSequenceLength(), 0),
                                 options, onProgress(), result));
      char line[96];
      std::snprintf(line, sizeof line, "%zu layers, the last block's stream lacks %.1f %%",
                    options.params.size(), 100 * result.lacking.back());
      progress_.end(line);
    });
  setResult(op, key);
}

void DataWork::runOp(distill::TrainOp op) {
  lm::ModelOp student = model(op, op.getStudent());
  llvm::SmallVector<lm::ModelOp> models{student};
  lm::ModelOp guide;
  if (op.getTeacher())
    models.push_back(guide = model(op, *op.getTeacher()));
  const std::string key = keyOf(op, models);
  const std::string name = (guide ? "distil the " : "train the ") + wordsOf(op.getStudent());
  const bool cached = workspace_.has(key, "safetensors");
  plan_.push_back(estimateTrain(student, guide, op, name, cached));
  if (!options_.planOnly)
    workspace_.getOrMake(
        key, "safetensors",
        [&](const std::string &path) {
          progress_.begin(name);
          train(op, key, path);
        },
        [&] { progress_.note("waiting for another compile that does the same training"); });
  readCurve(op, key);
  setResult(op, key);
}

void DataWork::train(distill::TrainOp op, const std::string &key, const std::string &output) {
  lm::ModelOp student = model(op, op.getStudent());
  const exec::Graph graph = quantisedGraph(student, op.getQuantizeAttr(), op.getEmbeddingAttr());
  exec::Model studentModel{&graph, teacher_.readRows(student, graph)};
  std::optional<exec::Graph> guideGraph;
  std::optional<exec::Model> guide;
  if (op.getTeacher()) {
    lm::ModelOp teacher = model(op, *op.getTeacher());
    guideGraph = exec::graphFromModel(teacher);
    guide = exec::Model{&*guideGraph, teacher_.readRows(teacher, *guideGraph)};
  }
  exec::TrainOptions options = trainOptions(op);
  options.seed = op.getSeed();
  options.checkpointPath = workspace_.partialPath(key, "checkpoint");
  options.outputPath = output;
  options.key = key;
  exec::TrainResult result;
  exec::check(
      executor().train(studentModel, guide ? &*guide : nullptr,
                       packTrain(student, op.getTokens(), op.getSequenceLength(), op.getSeed()),
                       options, onProgress(), result));
  nlohmann::json curve = {
      {"steps", result.steps}, {"tokens", result.tokens}, {"loss", result.curve}};
  workspace_.put(key, "json", curve.dump() + "\n");
  char text[96];
  std::snprintf(text, sizeof text, "%s tokens, loss %.3f to %.3f, %.0f tokens/s",
                formatCount(result.tokens).c_str(), result.curve.empty() ? 0 : result.curve.front(),
                result.curve.empty() ? 0 : result.curve.back(), result.tokensPerSecond);
  progress_.end(text);
}

void DataWork::readCurve(distill::TrainOp op, const std::string &key) {
  if (!workspace_.has(key, "json"))
    return;
  nlohmann::json curve = parseObject(workspace_.objectPath(key, "json"));
  LossCurve points{(op.getTeacher() ? "distil the " : "train the ") + wordsOf(op.getStudent()), {}};
  const double steps = std::max<double>(1, curve["loss"].size());
  for (size_t i = 0; i < curve["loss"].size(); ++i)
    points.points.push_back({static_cast<uint64_t>(curve["tokens"].get<double>() * (i + 1) / steps),
                             curve["loss"][i].get<double>()});
  curves_.push_back(std::move(points));
}

//===----------------------------------------------------------------------===//
// Scores and gates
//===----------------------------------------------------------------------===//

void DataWork::runOp(distill::ScoreOp op) {
  lm::ModelOp scored = model(op, op.getModel());
  const std::string key = keyOf(op, scored);
  const std::string name = "score the " + wordsOf(op.getSymName());
  plan_.push_back(
      estimateScore(scored, op.getTokens().value_or(0), name, workspace_.has(key, "json")));
  if (!options_.planOnly)
    workspace_.getOrMake(key, "json", [&](const std::string &path) {
      progress_.begin(name);
      const std::string text = score(op, scored);
      writeFileAtomically(path, text);
      char line[64];
      std::snprintf(line, sizeof line, "%.3f bits per byte held out",
                    nlohmann::json::parse(text)["bits_per_byte"].get<double>());
      progress_.end(line);
    });
  setResult(op, key);
}

std::string DataWork::score(distill::ScoreOp op, lm::ModelOp scored) {
  const LoadedTokenizer &tokenizer = teacher_.tokenizerOf(scored);
  EvalWindows windows = evalWindows(corpus_.get().require(Split::HeldOut),
                                    tokenizer.tokenizeDocument(), tokenizer.startToken(),
                                    std::min<uint32_t>(kScoreWindowTokens, scored.getContext() - 1),
                                    op.getTokens().value_or(0) * kBytesPerScoredToken);
  const exec::Graph graph = exec::graphFromModel(scored);
  exec::Scores scores;
  exec::check(executor().score({&graph, teacher_.readRows(scored, graph)}, nullptr,
                               windowSequences(windows), {}, onProgress(), scores));
  std::vector<DocumentScore> documents(windows.textBytes.size());
  for (size_t d = 0; d < documents.size(); ++d)
    documents[d].textBytes = windows.textBytes[d];
  for (size_t w = 0; w < windows.windows.size(); ++w)
    documents[windows.windows[w].document].nll += scores.sequences[w].nll;
  const Estimate estimate = bitsPerByte(documents);
  nlohmann::json result = {{"bits_per_byte", estimate.value},
                           {"bits_per_byte_stderr", estimate.standardError},
                           {"text_bytes", windows.totalBytes},
                           {"tokens", windows.tokens}};
  return result.dump() + "\n";
}

void DataWork::checkGate(distill::GateOp op) {
  if (options_.planOnly)
    return;
  auto bits = [&](llvm::StringRef name) {
    auto score = mlir::SymbolTable::lookupNearestSymbolFrom<distill::ScoreOp>(
        op, mlir::StringAttr::get(op.getContext(), name));
    return parseObject(workspace_.objectPath(score.getResult()->getSha256().str(), "json"))
        .value("bits_per_byte", NAN);
  };
  const double reached = bits(op.getScore());
  char text[160];
  if (op.getMaximum() && !(reached <= op.getMaximumAttr().getValueAsDouble())) {
    std::snprintf(text, sizeof text,
                  "the specialist reaches %.4f bits per byte on held-out text, not the %.4f asked "
                  "for: distil on more tokens or prune less",
                  reached, op.getMaximumAttr().getValueAsDouble());
    fail(ExitCode::Resources, text);
  }
  if (op.getAgainst() && !(reached < bits(*op.getAgainst()))) {
    std::snprintf(text, sizeof text,
                  "the specialist reaches %.4f bits per byte on held-out text, no better than its "
                  "teacher's %.4f: distil on more tokens or prune less",
                  reached, bits(*op.getAgainst()));
    fail(ExitCode::Resources, text);
  }
}

} // namespace retort
