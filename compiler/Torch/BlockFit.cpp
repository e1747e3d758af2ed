//===- BlockFit.cpp - Solving the layers of a student's blocks ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/BlockFit.h"
#include "compiler/Torch/Checks.h"
#include "compiler/Torch/Parallel.h"
#include "compiler/Torch/Products.h"
#include <algorithm>

namespace retort::exec {
namespace {
/// A model whose quantised parameters are read as they will be stored.
Model asStored(const Model &model) {
  return {model.graph, [&model](ParamId id, int64_t begin, int64_t end, float *out) {
            const Status status = model.read(id, begin, end, out);
            const Param &param = model.graph->params[size_t(id)];
            if (!status.ok() || !param.format.quantised())
              return status;
            return guarded([&] {
              fakeQuantise(param.format, at::from_blob(out, {end - begin, param.cols}, at::kFloat));
            });
          }};
}

} // namespace
using at::Tensor;

BlockFit::Side::Side(const Model &model, Precision precision)
    : model(asStored(model)), graph(*model.graph), weights(this->model, typeOf(precision)),
      forward(graph, weights) {}

void BlockFit::Side::enter(const std::vector<Rows> &runs) {
  for (const Rows &rows : runs)
    stream.push_back(forward.enter(rows));
  drop();
}

void BlockFit::Side::drop() {
  for (size_t p = 0; p < graph.params.size(); ++p)
    weights.drop(ParamId(p));
}

BlockFit::BlockFit(const Model &student, const Model &teacher,
                   const std::vector<Sequence> &sequences, double damping, Precision precision)
    : model_(student), damping_(damping), student_(student, precision),
      teacher_(teacher, precision), runs_(layOutRuns(sequences)), teacherRuns_(runs_),
      rowFactors_(rowFactors(runs_)) {
  const std::vector<int32_t> tokens = teacherTokens(student_.graph, teacher_.graph);
  for (Rows &rows : teacherRuns_)
    for (int32_t &token : rows.tokens)
      token = tokens.empty() ? token : tokens[size_t(token)];
  student_.enter(runs_);
  teacher_.enter(teacherRuns_);
}

void BlockFit::want(std::vector<std::string> params, bool towardsOutputs) {
  params_ = std::move(params);
  outputNames_.clear();
  if (towardsOutputs)
    for (const Block &block : student_.graph.blocks)
      nameOutputs(block);
}

int64_t BlockFit::rows() const {
  int64_t count = 0;
  for (const Rows &rows : runs_)
    count += rows.count();
  return count;
}

void BlockFit::runTeacher(const std::string &label) {
  const std::vector<Block> &blocks = teacher_.graph.blocks;
  for (bool found = false; !found; ++teacherBlock_) {
    found = blocks[teacherBlock_].label == label;
    additions_.assign(runs_.size(), {});
    outputs_.clear();
    for (size_t r = 0; r < runs_.size(); ++r)
      teacher_.stream[r] =
          teacher_.forward.block(teacherBlock_, teacherRuns_[r], teacher_.stream[r],
                                 [&](const Node &node, const Values &values) {
                                   if (node.op == OpKind::Residual)
                                     additions_[r].push_back(values[size_t(node.outs[0])]);
                                   if (node.op == OpKind::Linear)
                                     keepOutput(node, values);
                                 });
    teacher_.drop();
  }
}

bool BlockFit::isWanted(const std::string &param) const {
  return std::ranges::find(params_, param) != params_.end();
}

/// Names the layers of the block that are fitted and not added to the stream: what the teacher's give
/// is kept for these alone, since each takes its width for every token.
void BlockFit::nameOutputs(const Block &block) {
  const auto begin = student_.graph.nodes.begin() + block.firstNode, end = begin + block.numNodes;
  for (auto node = begin; node != end; ++node)
    if (node->op == OpKind::Linear && isWanted(paramOf(*node).name) &&
        std::none_of(begin, end, [&](const Node &other) {
          return other.op == OpKind::Residual && other.ins[1] == node->outs[0];
        }))
      outputNames_.insert(paramOf(*node).name);
}

void BlockFit::keepOutput(const Node &linear, const Values &values) {
  const std::string &name = teacher_.graph.params[size_t(linear.param("weight"))].name;
  if (outputNames_.contains(name))
    outputs_[name].push_back(values[size_t(linear.outs[0])]);
}

void BlockFit::runStudent(const Block &block, bool wholly) {
  size_t done = 0;
  values_.assign(runs_.size(), Values(student_.graph.features.size()));
  for (size_t r = 0; r < runs_.size(); ++r)
    values_[r][size_t(block.in)] = student_.stream[r];
  for (size_t i = size_t(block.firstNode); i < size_t(block.firstNode + block.numNodes); ++i) {
    const Node &node = student_.graph.nodes[i];
    if (node.op == OpKind::Linear && isWanted(paramOf(node).name)) {
      fitLayer(block, i);
      if (!wholly && ++done == params_.size())
        break;
    }
    for (size_t r = 0; r < runs_.size(); ++r)
      student_.forward.node(i, runs_[r], values_[r]);
  }
  for (size_t r = 0; wholly && r < runs_.size(); ++r)
    student_.stream[r] = values_[r][size_t(block.out)];
  grams_.clear();
  student_.drop();
}

/// What the student's stream lacks of the teacher's after the addition, [rows, hidden] float.
Tensor BlockFit::lackOfStream(size_t run, const Node &residual, size_t addition) const {
  const Values &values = values_[run];
  return additions_[run][addition] - values[size_t(residual.ins[0])] -
         values[size_t(residual.ins[1])].to(at::kFloat);
}

/// X^T times what the layer's output lacks: of the teacher's stream after it is added there, else of
/// the teacher's layer of that name and size (GPTAQ, arXiv:2504.02692, section 4); undefined if there
/// is neither.
Tensor BlockFit::rightOf(const Block &block, size_t index, const std::vector<Tensor> &inputs) {
  const Node &linear = student_.graph.nodes[index];
  const Param &param = paramOf(linear);
  const auto [residual, addition] = additionOf(student_.graph, block, linear, teacher_.graph);
  const auto output = outputs_.find(param.name);
  if (!residual && (output == outputs_.end() || output->second[0].size(1) != param.rows))
    return {};
  Tensor right = at::zeros({param.cols, param.rows}, at::kDouble);
  for (size_t r = 0; r < runs_.size(); ++r) {
    student_.forward.compute(index, runs_[r], values_[r]);
    const Tensor lack = residual ? lackOfStream(r, *residual, addition)
                                 : output->second[r].to(at::kFloat) -
                                       values_[r][size_t(linear.outs[0])].to(at::kFloat);
    right.add_(product(inputs[r].t(), lack * rowFactors_[r]));
  }
  return right;
}

void BlockFit::fitLayer(const Block &block, size_t index) {
  const Node &linear = student_.graph.nodes[index];
  const ParamId weight = linear.param("weight");
  const Param &param = student_.graph.params[size_t(weight)];
  std::vector<Tensor> inputs;
  for (size_t r = 0; r < runs_.size(); ++r)
    inputs.push_back(values_[r][size_t(linear.ins[0])].to(at::kFloat) * rowFactors_[r]);
  Gram &gram = grams_.try_emplace(linear.ins[0], inputs, damping_, param.name).first->second;
  Trained trained;
  trained.param = &param;
  trained.master = readParam(model_, weight);
  student_.weights.slot(weight).value = trained.master.to(student_.weights.type());
  const Tensor right = rightOf(block, index, inputs);
  if (right.defined())
    trained.master.add_(gram.solve(right).to(at::kFloat));
  if (param.format.quantised())
    gram.round(trained.master, param.format);
  student_.weights.slot(weight).value = trained.master.to(student_.weights.type());
  fitted_.push_back(std::move(trained));
}

/// A matrix that is also the embedding would change what the first block reads, which is done by then.
bool BlockFit::logitsAreWanted() const {
  const ParamId weight = student_.forward.logits().param("weight");
  return isWanted(student_.graph.params[size_t(weight)].name) &&
         std::ranges::count_if(student_.graph.nodes, [&](const Node &node) {
           return std::ranges::any_of(node.params,
                                      [&](const auto &read) { return read.second == weight; });
         }) == 1;
}

/// Rounds the logits' matrix after a least-squares change that lets it read the student's last hidden
/// states for the teacher's: the rows that the student has need not be all of the teacher's.
void BlockFit::fitLogits() {
  if (!logitsAreWanted())
    return;
  const ParamId weight = student_.forward.logits().param("weight");
  const Param &param = student_.graph.params[size_t(weight)];
  std::vector<Tensor> inputs;
  Tensor lack = at::zeros({param.cols, param.cols}, at::kDouble);
  for (size_t r = 0; r < runs_.size(); ++r) {
    const Tensor ours = student_.forward.leave(runs_[r], student_.stream[r]).to(at::kFloat);
    const Tensor theirs =
        teacher_.forward.leave(teacherRuns_[r], teacher_.stream[r]).to(at::kFloat);
    inputs.push_back(ours * rowFactors_[r]);
    lack.add_(product(inputs.back().t(), (theirs - ours) * rowFactors_[r]));
  }
  Gram gram(inputs, damping_, param.name);
  Trained trained;
  trained.param = &param;
  trained.master = readParam(model_, weight);
  trained.master.add_(product(trained.master, gram.solve(lack).to(at::kFloat)));
  if (param.format.quantised())
    gram.round(trained.master, param.format);
  fitted_.push_back(std::move(trained));
}

/// The mean square of what the student's stream lacks of the teacher's, over that of the teacher's.
double BlockFit::lacking() const {
  double lack = 0, all = 0;
  for (size_t r = 0; r < runs_.size(); ++r) {
    lack += total((teacher_.stream[r] - student_.stream[r]).square());
    all += total(teacher_.stream[r].square());
  }
  return all > 0 ? lack / all : 0;
}

} // namespace retort::exec
