//===- Probe.cpp - What rounding each matrix costs --------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Blocks are worked on in order. Each of a block's groups is rounded alone, by a fit of that block on
// the sequences for that, whose student is the model but for the group. Over the sequences that
// divergences are measured on run the model as it is and, each a stream of its own, the model with each
// group of the blocks so far rounded. So a block's weights are in memory once, and of each group only a
// stream.
//
//===----------------------------------------------------------------------===//
#include "compiler/Torch/Probe.h"
#include "compiler/Torch/BlockFit.h"
#include "compiler/Torch/Checks.h"
#include "compiler/Torch/Meter.h"
#include "compiler/Torch/Products.h"
#include <ATen/core/grad_mode.h>
#include <algorithm>

namespace retort::exec {
namespace {
using at::Tensor;
using Streams = BlockFit::Streams;
using Group = std::vector<ParamId>; ///< matrices that are rounded together

/// A group that was rounded.
struct Rounded {
  std::vector<double> errors; ///< of each format, to nearest, as the group's inputs weigh them
  size_t format = 0;          ///< the one of the largest error, which was run
  Streams streams;            ///< that it leaves
};

class Probe {
public:
  Probe(const Model &model, const std::vector<Sequence> &sequences, const ProbeOptions &options,
        const OnProgress &progress, RoundingCosts &costs)
      : model_(model), graph_(*model.graph), options_(options), groups_(probeGroups(graph_)),
        weights_(model, typeOf(options.precision)), forward_(graph_, weights_),
        runs_(layOutRuns({sequences.end() - options.measured, sequences.end()})),
        roundedGraph_(graph_), student_{&roundedGraph_, model.read},
        fit_(student_, model, {sequences.begin(), sequences.end() - options.measured},
             options.damping, options.precision),
        costs_(costs), meter_("probe", progress, steps()) {}

  void operator()() {
    for (const Rows &rows : runs_)
      stream_.push_back(forward_.enter(rows));
    drop();
    for (const Block &block : graph_.blocks) {
      runBlock(block);
      drop();
    }
    leave(stream_);
    for (const Tensor &hidden : stream_)
      asItIs_.push_back(forward_.head(hidden));
    for (size_t g = 0; g < rounded_.size(); ++g) {
      leave(rounded_[g].streams);
      setCosts(costs_.groups[g], rounded_[g], divergence(rounded_[g].streams));
      rounded_[g].streams.clear();
      meter_.step(0);
    }
    if (rounded_.size() < groups_.size())
      probeLogits(groups_.back());
  }

private:
  std::vector<Group> groupsOf(const Block &block) const;
  int64_t steps() const;
  void drop() {
    for (size_t p = 0; p < graph_.params.size(); ++p)
      weights_.drop(ParamId(p));
  }
  void leave(Streams &streams) {
    for (size_t r = 0; r < runs_.size(); ++r)
      streams[r] = forward_.leave(runs_[r], streams[r]).to(weights_.type());
  }

  void runBlock(const Block &block);
  Streams runAll(const Block &block, const Streams &in, const Forward::Watch &watch = {}) {
    Streams out;
    for (size_t r = 0; r < runs_.size(); ++r)
      out.push_back(forward_.block(size_t(&block - graph_.blocks.data()), runs_[r], in[r], watch));
    return out;
  }
  std::vector<ParamId> closingLayers(const Block &block, const Group &group) const;
  Rounded measureErrors(const Group &group, const Tensor &squares) const;
  void round(const Group &group, const NumberFormat &format, std::vector<ParamId> also,
             const std::function<void()> &work);
  double divergence(const Streams &hidden);
  void setCosts(RoundingCosts::Group &group, const Rounded &rounded, double kl) const;
  void probeLogits(const Group &group);
  void addGroup(const Group &group) {
    RoundingCosts::Group &made = costs_.groups.emplace_back();
    for (const ParamId id : group)
      made.params.push_back(graph_.params[size_t(id)].name);
  }

  const Model &model_;
  const Graph &graph_;
  const ProbeOptions &options_;
  const std::vector<Group> groups_;
  Weights weights_;
  Forward forward_;
  std::vector<Rows> runs_; ///< that divergences are measured on
  Streams stream_;         ///< of the model as it is; in the end what its logits read
  std::vector<Head> asItIs_;
  std::vector<Rounded> rounded_; ///< as costs_.groups, but for the logits'
  Graph roundedGraph_;           ///< with the formats of the group that is rounded
  const Model student_;
  BlockFit fit_;
  RoundingCosts &costs_;
  Meter meter_;
};

std::vector<Group> Probe::groupsOf(const Block &block) const {
  std::vector<Group> own;
  for (const Group &group : groups_)
    if (std::ranges::any_of(graph_.nodesOf(block), [&](const Node &node) {
          return node.op == OpKind::Linear && node.param("weight") == group[0];
        }))
      own.push_back(group);
  return own;
}

/// Runs of blocks, and of logits for each group.
int64_t Probe::steps() const {
  int64_t streams = 1, count = 0;
  for (const Block &block : graph_.blocks) {
    streams += int64_t(groupsOf(block).size());
    count += streams;
  }
  return count + int64_t(groups_.size());
}

/// The layers that end the units which the group is part of: added to the stream, and no part of the
/// group. They make up for what rounding the group takes away, as the fit of a compile lets them.
std::vector<ParamId> Probe::closingLayers(const Block &block, const Group &group) const {
  std::vector<ParamId> closing;
  size_t left = group.size(); // layers of the group that are still to come
  for (const Node &node : graph_.nodesOf(block)) {
    if (node.op != OpKind::Linear)
      continue;
    const ParamId id = node.param("weight");
    const bool own = std::ranges::find(group, id) != group.end();
    if (additionOf(graph_, block, node, graph_).residual) {
      if (own)
        return {}; // the group ends its unit
      if (left < group.size() &&
          std::ranges::any_of(
              groups_,
              [&](const Group &other) { return std::ranges::find(other, id) != other.end(); }))
        closing.push_back(id);
      if (left == 0)
        break;
    }
    left -= own;
  }
  return closing;
}

void Probe::runBlock(const Block &block) {
  const std::vector<Group> groups = groupsOf(block);
  std::vector<Tensor> squares(groups.size()); // of the inputs' features
  const Streams in = stream_;
  stream_ = runAll(block, in, [&](const Node &node, const Values &values) {
    for (size_t g = 0; g < groups.size(); ++g)
      if (node.op == OpKind::Linear && node.param("weight") == groups[g][0]) {
        const Tensor sum = values[size_t(node.ins[0])].to(at::kFloat).square().sum(0);
        squares[g] = squares[g].defined() ? squares[g] + sum : sum;
      }
  });
  fit_.runTeacher(block.label);
  meter_.step(1.0 / double(graph_.blocks.size()));
  for (Rounded &before : rounded_) {
    before.streams = runAll(block, before.streams);
    meter_.step(0);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    addGroup(groups[g]);
    Rounded rounded = measureErrors(groups[g], squares[g]);
    round(groups[g], options_.formats[rounded.format], closingLayers(block, groups[g]),
          [&] { fit_.runStudent(block, /*wholly=*/false); });
    rounded.streams = runAll(block, in);
    drop();
    rounded_.push_back(std::move(rounded));
    meter_.step(0);
  }
  fit_.setStudentStream(fit_.teacherStream());
}

/// What rounding the group to nearest changes: the sum over weights of the squared error times the input's
/// square, which is what outputs change by where errors have nothing to do with each other.
Rounded Probe::measureErrors(const Group &group, const Tensor &squares) const {
  Rounded rounded;
  rounded.errors.assign(options_.formats.size(), 0);
  for (const ParamId id : group) {
    const Tensor matrix = readParam(model_, id);
    for (size_t f = 0; f < options_.formats.size(); ++f) {
      const Tensor copy = matrix.clone();
      fakeQuantise(options_.formats[f], copy);
      rounded.errors[f] += total((copy - matrix).square() * squares);
    }
  }
  rounded.format = size_t(std::ranges::max_element(rounded.errors) - rounded.errors.begin());
  return rounded;
}

/// Leaves in memory the group as `work`, a part of the fit, rounds it, and `also` as that solves for them.
void Probe::round(const Group &group, const NumberFormat &format, std::vector<ParamId> also,
                  const std::function<void()> &work) {
  std::vector<std::string> names;
  for (const ParamId id : group) {
    roundedGraph_.params[size_t(id)].format = format;
    names.push_back(graph_.params[size_t(id)].name);
  }
  for (const ParamId id : also)
    names.push_back(graph_.params[size_t(id)].name);
  fit_.want(names, /*towardsOutputs=*/false);
  work();
  for (const Trained &made : fit_.take())
    weights_.slot(ParamId(made.param - roundedGraph_.params.data())).value =
        made.master.to(weights_.type());
  for (const ParamId id : group)
    roundedGraph_.params[size_t(id)].format = graph_.params[size_t(id)].format;
}

/// KL(model as it is || model that ends in `hidden`), nats, mean over the tokens that are predicted.
double Probe::divergence(const Streams &hidden) {
  LossRule rule{};
  rule.temperature = 1;
  double sum = 0;
  for (size_t r = 0; r < runs_.size(); ++r)
    for (const RowFigures &row : lossOfRows(forward_.head(hidden[r]), &asItIs_[r], runs_[r].targets,
                                            rule, nullptr, nullptr))
      sum += double(row.kl);
  return std::max(0.0, sum / double(std::max<int64_t>(1, costs_.tokens)));
}

/// The divergence is of second order in a small change of what a group gives: other formats cost as much
/// as their errors are of the one that was run (as of the Hessian in HAWQ-V2, arXiv:1911.03852).
void Probe::setCosts(RoundingCosts::Group &group, const Rounded &rounded, double kl) const {
  const double most = rounded.errors[rounded.format];
  for (const double error : rounded.errors)
    group.kl.push_back(most > 0 ? kl * error / most : 0);
}

void Probe::probeLogits(const Group &group) {
  Tensor squares;
  for (const Tensor &hidden : stream_) {
    const Tensor sum = hidden.to(at::kFloat).square().sum(0);
    squares = squares.defined() ? squares + sum : sum;
  }
  addGroup(group);
  const Rounded rounded = measureErrors(group, squares);
  round(group, options_.formats[rounded.format], {}, [&] { fit_.fitLogits(); });
  setCosts(costs_.groups.back(), rounded, divergence(stream_));
  meter_.step(0);
}
} // namespace

void probe(const Model &model, const std::vector<Sequence> &sequences, const ProbeOptions &options,
           const OnProgress &progress, RoundingCosts &costs) {
  const at::NoGradGuard noGrad;
  checkModel(*model.graph);
  checkSequences(sequences, *model.graph);
  if (options.formats.empty() || options.measured < 1 ||
      options.measured >= int64_t(sequences.size()))
    fail(ExitCode::Usage, "probe: there must be formats, sequences to round by and sequences to "
                          "measure divergences on");
  costs = {};
  costs.formats = options.formats;
  for (auto sequence = sequences.end() - options.measured; sequence != sequences.end(); ++sequence)
    costs.tokens += int64_t(sequence->tokens.size()) -
                    std::max<int64_t>(1, int64_t(sequence->documents.size()));
  Probe(model, sequences, options, progress, costs)();
}

} // namespace retort::exec
