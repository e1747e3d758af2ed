//===- Streaming.cpp - Scoring and observing, block by block ----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Streaming.h"
#include "compiler/Torch/Forward.h"
#include "compiler/Torch/Loss.h"
#include "compiler/Torch/Meter.h"
#include "compiler/Torch/Products.h"
#include "compiler/Torch/Saliency.h"
#include <algorithm>
#include <cmath>

namespace retort::exec {
namespace {
using at::Tensor;

/// A model whose weights are in memory one block at a time, and all sequences' rows.
class Stream {
public:
  Stream(const Model &model, const std::vector<Sequence> &sequences, Precision precision)
      : graph_(*model.graph), weights_(model, typeOf(precision)), forward_(graph_, weights_) {
    checkSequences(sequences, graph_);
    runs_ = layOutRuns(sequences);
  }

  /// How many steps run() makes.
  int64_t steps() const {
    return int64_t(runs_.size()) * int64_t(std::max<size_t>(1, graph_.blocks.size()));
  }
  const std::vector<Rows> &runs() const { return runs_; }
  const Graph &graph() const { return graph_; }

  /// Called after each block of each run.
  using AtBlock =
      std::function<void(size_t block, const Rows &rows, const Tensor &in, const Tensor &out)>;

  /// All blocks, each over all runs; then what Logits reads, a tensor a run.
  std::vector<Tensor> run(Meter &meter, const Forward::Watch &watch, const AtBlock &atBlock) {
    std::vector<Tensor> states;
    for (const Rows &rows : runs_)
      states.push_back(forward_.enter(rows));
    dropAllBut({});
    for (size_t b = 0; b < graph_.blocks.size(); ++b) {
      for (size_t r = 0; r < runs_.size(); ++r) {
        const Tensor in = states[r];
        states[r] = forward_.block(b, runs_[r], in, watch);
        if (atBlock)
          atBlock(b, runs_[r], in, states[r]);
        meter.step(double(runs_[r].count()) / double(graph_.blocks.size()));
      }
      dropAllBut({});
    }
    for (size_t r = 0; r < runs_.size(); ++r)
      states[r] = forward_.leave(runs_[r], states[r]).to(weights_.type());
    return states;
  }

  /// The matrix of the linear layer that reads `value`; undefined if none does.
  Tensor readerOf(ValueId value) {
    for (const Node &node : graph_.nodes)
      if (node.op == OpKind::Linear && node.ins[0] == value)
        return weights_.get(node.param("weight")).value;
    return {};
  }

  Head head(const Tensor &hidden) { return forward_.head(hidden); }

private:
  void dropAllBut(const std::vector<ParamId> &kept) {
    for (size_t p = 0; p < graph_.params.size(); ++p)
      if (std::find(kept.begin(), kept.end(), ParamId(p)) == kept.end())
        weights_.drop(ParamId(p));
  }

  const Graph &graph_;
  Weights weights_;
  Forward forward_;
  std::vector<Rows> runs_;
};

/// Shares the rows' figures out to the sequences that they came from.
void addFigures(const std::vector<Sequence> &sequences, size_t &sequence, const Rows &rows,
                const std::vector<RowFigures> &figures, bool tokens, Scores &scores) {
  size_t next = 0;
  for (size_t row = 0; row < size_t(rows.count()); ++sequence) {
    const size_t size = sequences[sequence].tokens.size();
    SequenceScore &score = scores.sequences[sequence];
    score.tokenNll.assign(tokens ? size : 0, 0.0f);
    for (size_t i = 0; i < size; ++i, ++row) {
      if (rows.targets[row] == kNone)
        continue;
      const float nll = figures[next++].nll;
      score.nll += nll;
      ++score.predicted;
      if (tokens)
        score.tokenNll[i + 1] = nll;
    }
    scores.nll += score.nll;
    scores.predicted += score.predicted;
  }
}

KlStatistics statisticsOf(std::vector<float> &divergences, int64_t agreeing) {
  KlStatistics kl;
  if (divergences.empty())
    return kl;
  double sum = 0;
  for (const float value : divergences)
    sum += value;
  std::sort(divergences.begin(), divergences.end());
  kl.mean = sum / double(divergences.size());
  kl.max = divergences.back();
  kl.p99 = divergences[size_t(double(divergences.size() - 1) * 0.99)];
  kl.top1Agreement = double(agreeing) / double(divergences.size());
  return kl;
}

/// 1 - cosine of each row of `in` and `out`, summed.
double turned(const Tensor &in, const Tensor &out) {
  return double(in.size(0)) - total(at::cosine_similarity(in, out, 1).unsqueeze(1));
}

/// The first position's stream is a thousand times as large as others' in many models, and says nothing
/// of how large a loss is beside the text's.
void addSquare(const Rows &rows, const Tensor &stream, double &sum, int64_t &count) {
  std::vector<int64_t> text;
  for (size_t r = 0; r < rows.positions.size(); ++r)
    if (rows.positions[r] != 0)
      text.push_back(int64_t(r));
  sum += total(stream.index_select(0, at::tensor(text, at::kLong)).to(at::kFloat).square());
  count += int64_t(text.size());
}

/// Sums of one block's statistics over rows.
struct BlockSums {
  ValueId glu = kNone;  ///< the gated unit's output
  Tensor gram;          ///< of its channels, X^T X, float
  Tensor heads;         ///< double
  double influence = 0; ///< sum of turned()
  double square = 0;    ///< of the stream after the block, first positions left out
  int64_t squareRows = 0;
  std::optional<double> attention; ///< the same of the attention alone
  ValueId attended = kNone;        ///< what was made of its output so far, until it is added
  int64_t group = 1;               ///< query heads of a key/value head
};

void watchNode(const Node &node, const Values &values, BlockSums &sums) {
  const Tensor &result = values[size_t(node.outs[0])];
  if (node.op == OpKind::Glu) {
    const Tensor x = result.to(at::kFloat), more = product(x.t(), x);
    sums.gram = sums.gram.defined() ? sums.gram.add_(more) : more;
    sums.glu = node.outs[0];
  } else if (node.op == OpKind::Attention) {
    const int64_t heads = node.integer("heads");
    const Tensor perHead = result.to(at::kFloat).view({result.size(0), heads, -1});
    const Tensor sum = perHead.square().sum(2).sqrt().sum(0).to(at::kDouble);
    sums.heads = sums.heads.defined() ? sums.heads + sum : sum;
    sums.group = heads / node.integer("kv_heads");
    sums.attended = node.outs[0];
  } else if (node.op == OpKind::Residual && node.ins[1] == sums.attended) {
    sums.attention = sums.attention.value_or(0) + turned(values[size_t(node.ins[0])], result);
    sums.attended = kNone;
  } else if ((node.ins.size() == 1 || node.op == OpKind::Gate) && node.ins[0] == sums.attended) {
    sums.attended = node.outs[0];
  }
}

/// Rounding may make the mean of a stream that hardly turns negative.
double meanTurn(double sum, int64_t rows) { return std::max(0.0, sum / double(rows)); }

std::vector<double> means(const Tensor &sums, int64_t rows, int64_t group) {
  if (!sums.defined())
    return {};
  const Tensor mean = (sums.view({-1, group}).mean(1) / double(rows)).to(at::kFloat);
  const Tensor wide = mean.to(at::kDouble).contiguous();
  return {wide.data_ptr<double>(), wide.data_ptr<double>() + wide.numel()};
}
} // namespace

void logits(const Model &model, const std::vector<Sequence> &sequences, Precision precision,
            std::vector<std::vector<float>> &logits) {
  const c10::NoGradGuard noGrad;
  checkSequences(sequences, *model.graph);
  Weights weights(model, typeOf(precision));
  Forward forward(*model.graph, weights);
  logits.clear();
  for (const Sequence &sequence : sequences) {
    const Sequence *one[] = {&sequence};
    forward.every(layOut(one), [&](const Node &node, const Values &values) {
      if (node.op != OpKind::Logits)
        return;
      const Tensor &all = values[size_t(node.outs[0])];
      logits.emplace_back(all.data_ptr<float>(), all.data_ptr<float>() + all.numel());
    });
  }
}

void interpret(const Model &model, const Sequence &sequence,
               std::vector<std::vector<float>> &values) {
  const c10::NoGradGuard noGrad;
  checkSequences({sequence}, *model.graph);
  Weights weights(model, at::kFloat);
  Forward forward(*model.graph, weights);
  const Sequence *one[] = {&sequence};
  values.assign(model.graph->features.size(), {});
  forward.every(layOut(one), [&](const Node &node, const Values &made) {
    for (const ValueId out : node.outs) {
      const Tensor all = made[size_t(out)].to(at::kFloat).contiguous();
      values[size_t(out)].assign(all.data_ptr<float>(), all.data_ptr<float>() + all.numel());
    }
  });
}

void score(const Model &model, const Model *reference, const std::vector<Sequence> &sequences,
           const ScoreOptions &options, const OnProgress &progress, Scores &scores) {
  const c10::NoGradGuard noGrad;
  if (reference && (reference->graph->vocab != model.graph->vocab ||
                    reference->graph->vocabKept != model.graph->vocabKept))
    fail(ExitCode::Usage, "the models' vocabularies differ, so their distributions do");
  Stream stream(model, sequences, options.precision);
  std::optional<Stream> other;
  if (reference)
    other.emplace(*reference, sequences, options.precision);
  Meter meter("score", progress, stream.steps() + (other ? other->steps() : 0));
  const std::vector<Tensor> theirs = other ? other->run(meter, {}, {}) : std::vector<Tensor>();
  const std::vector<Tensor> ours = stream.run(meter, {}, {});

  LossRule rule{};
  rule.temperature = 1;
  scores = {};
  scores.sequences.resize(sequences.size());
  std::vector<float> divergences;
  int64_t agreeing = 0;
  size_t sequence = 0;
  for (size_t r = 0; r < ours.size(); ++r) {
    std::optional<Head> target;
    if (other)
      target = other->head(theirs[r]);
    const Rows &rows = stream.runs()[r];
    const std::vector<RowFigures> figures = lossOfRows(
        stream.head(ours[r]), target ? &*target : nullptr, rows.targets, rule, nullptr, nullptr);
    addFigures(sequences, sequence, rows, figures, options.tokenNll, scores);
    if (other)
      for (const RowFigures &row : figures) {
        divergences.push_back(std::max(0.0f, row.kl));
        agreeing += row.agree;
      }
  }
  if (other)
    scores.kl = statisticsOf(divergences, agreeing);
}

void observe(const Model &model, const std::vector<Sequence> &sequences, const OnProgress &progress,
             Statistics &statistics) {
  using distill::Statistic;
  const c10::NoGradGuard noGrad;
  Stream stream(model, sequences, fastPrecision());
  Meter meter("observe", progress, stream.steps());
  statistics.tokens = 0;
  for (const Rows &rows : stream.runs())
    statistics.tokens += rows.count();
  BlockSums sums; // of the block that runs
  stream.run(
      meter, [&](const Node &node, const Values &values) { watchNode(node, values, sums); },
      [&](size_t block, const Rows &rows, const Tensor &in, const Tensor &out) {
        sums.influence += turned(in, out);
        addSquare(rows, out, sums.square, sums.squareRows);
        if (&rows != &stream.runs().back())
          return;
        Statistics::Block &values = statistics.blocks[stream.graph().blocks[block].label];
        values[Statistic::Influence] = {meanTurn(sums.influence, statistics.tokens)};
        if (sums.attention)
          values[Statistic::AttentionInfluence] = {meanTurn(*sums.attention, statistics.tokens)};
        values[Statistic::Heads] = means(sums.heads, statistics.tokens, sums.group);
        if (const Tensor down = stream.readerOf(sums.glu); sums.gram.defined() && down.defined()) {
          const double square = sums.square / double(std::max<int64_t>(1, sums.squareRows));
          for (const float lost : inputImportance(sums.gram, down, statistics.tokens))
            values[Statistic::FFN].push_back(lost / (square > 0 ? square : 1));
        }
        sums = {};
      });
}

} // namespace retort::exec
