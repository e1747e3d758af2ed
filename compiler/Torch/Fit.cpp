//===- Fit.cpp - Solving a student's layers by least squares --------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Both models run in step, a block at a time over all sequences. Within the student's block every
// op is run for all sequences before the next one, so that a layer's equations are summed over all
// of its inputs, which the layers before it, done already, have made; and nothing runs twice.
//
//===----------------------------------------------------------------------===//
#include "compiler/Torch/Fit.h"
#include "compiler/Torch/Checkpoint.h"
#include "compiler/Torch/Checks.h"
#include "compiler/Torch/Forward.h"
#include "compiler/Torch/Meter.h"
#include "compiler/Torch/Parallel.h"
#include "compiler/Torch/Products.h"
#include <ATen/core/grad_mode.h>
#include <ATen/ops/argsort.h>
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace retort::exec {
namespace {
using at::Tensor;

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

/// A model, its weights one block at a time, and its stream in every run.
struct Side {
  Side(const Model &model, Precision precision)
      : model(asStored(model)), graph(*model.graph), weights(this->model, typeOf(precision)),
        forward(graph, weights) {}

  void enter(const std::vector<Rows> &runs) {
    for (const Rows &rows : runs)
      stream.push_back(forward.enter(rows));
    drop();
  }
  void drop() {
    for (size_t p = 0; p < graph.params.size(); ++p)
      weights.drop(ParamId(p));
  }

  const Model model;
  const Graph &graph;
  Weights weights;
  Forward forward;
  std::vector<Tensor> stream; ///< of each run, [rows, hidden] float
};

/// X^T X of a layer's inputs, damped, and the inverse of its lower root; double.
class Gram {
public:
  Gram(const std::vector<Tensor> &inputs, double damping, const std::string &name) : name_(name) {
    for (const Tensor &x : inputs) {
      const Tensor more = product(x.t(), x).to(at::kDouble);
      damped_ = damped_.defined() ? damped_.add_(more) : more;
    }
    const double square = damped_.diagonal().mean().item<double>();
    damped_.diagonal().add_(square > 0 ? square * damping : 1.0); // a layer that reads zeros: any
    inverse_ = inverseOfRoot(damped_);
  }
  /// The D of D X^T X = right^T; right is [features, outputs], D [outputs, features].
  Tensor solve(const Tensor &right) const {
    return product(product(inverse_, right).t(), inverse_);
  }
  /// Rounds the rows of a layer that reads these inputs.
  void round(const Tensor &matrix, const NumberFormat &format) {
    if (!factor_.defined())
      factorise();
    const int64_t cols = matrix.size(1);
    parallel(matrix.size(0), 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        weight::gptqRow(format, {data<float>(matrix) + row * cols, size_t(cols)},
                        {data<int32_t>(order_), size_t(cols)}, data<float>(factor_));
    });
  }

private:
  /// Makes what gptqRow asks for, once for all layers that read these inputs. Columns are rounded by
  /// falling square: early ones are made up for by all that follow (act-order of the GPTQ authors'
  /// code).
  void factorise() {
    const Tensor order =
        at::argsort(damped_.diagonal(), /*stable=*/true, /*dim=*/0, /*descending=*/true);
    // The upper root of the inverse of A is, last row and column first, the inverse of the lower root of
    // A, last row and column first.
    const Tensor last = order.flip(0);
    factor_ = inverseOfRoot(damped_.index_select(0, last).index_select(1, last))
                  .flip({0, 1})
                  .to(at::kFloat)
                  .contiguous();
    order_ = order.to(at::kInt);
  }
  Tensor inverseOfRoot(const Tensor &matrix) const {
    const std::optional<Tensor> root = lowerRoot(matrix);
    if (!root)
      fail(ExitCode::BadInput,
           "fit: the equations of '" + name_ + "' cannot be solved: raise the damping");
    return inverseOfLower(*root);
  }
  const std::string &name_;
  Tensor damped_, inverse_, order_, factor_;
};

/// Factors of the rows of each run, [rows, 1], by which equations are multiplied. The first tokens of
/// all documents count as one row together: they are the same vector, many times as large as any
/// other (massive activations, arXiv:2402.17762), and would outweigh the text.
std::vector<Tensor> rowFactors(const std::vector<Rows> &runs) {
  int64_t starts = 0;
  for (const Rows &rows : runs)
    starts += std::ranges::count(rows.positions, 0);
  std::vector<Tensor> factors;
  for (const Rows &rows : runs) {
    std::vector<float> values;
    for (const int32_t position : rows.positions)
      values.push_back(position == 0 ? 1 / std::sqrt(float(starts)) : 1);
    factors.push_back(at::tensor(values).unsqueeze(1));
  }
  return factors;
}

class Fit {
public:
  Fit(const Model &student, const Model &teacher, const std::vector<Sequence> &sequences,
      const FitOptions &options, const OnProgress &progress)
      : model_(student), options_(options), student_(student, options.precision),
        teacher_(teacher, options.precision), runs_(layOutRuns(sequences)), teacherRuns_(runs_),
        rowFactors_(rowFactors(runs_)),
        meter_("fit", progress, int64_t(student.graph->blocks.size())) {
    const std::vector<int32_t> tokens = teacherTokens(student_.graph, teacher_.graph);
    for (Rows &rows : teacherRuns_)
      for (int32_t &token : rows.tokens)
        token = tokens.empty() ? token : tokens[size_t(token)];
    for (const Rows &rows : runs_)
      count_ += rows.count();
    for (const Block &block : student_.graph.blocks)
      nameOutputs(block);
  }

  void operator()(FitResult &result) {
    student_.enter(runs_);
    teacher_.enter(teacherRuns_);
    for (const Block &block : student_.graph.blocks) {
      runTeacher(block.label);
      runStudent(block);
      result.blocks.push_back(block.label);
      result.lacking.push_back(lacking());
      meter_.step(double(count_) / double(student_.graph.blocks.size()));
    }
    if (logitsAreWanted())
      fitLogits();
    writeWeights(fitted_, options_.outputPath);
  }

private:
  void runTeacher(const std::string &label);
  void runStudent(const Block &block);
  bool isWanted(const std::string &param) const;
  void nameOutputs(const Block &block);
  void keepOutput(const Node &linear, const Values &values);
  const Param &paramOf(const Node &node) const {
    return student_.graph.params[size_t(node.param("weight"))];
  }
  void fitLayer(const Block &block, size_t index);
  bool logitsAreWanted() const;
  void fitLogits();
  Tensor lackOfStream(size_t run, const Node &residual, size_t addition) const;
  Tensor rightOf(const Block &block, size_t index, const std::vector<Tensor> &inputs);
  double lacking() const;

  const Model &model_;
  const FitOptions &options_;
  Side student_, teacher_;
  std::vector<Rows> runs_, teacherRuns_;
  std::vector<Tensor> rowFactors_;
  Meter meter_;
  int64_t count_ = 0;       ///< rows of all runs
  size_t teacherBlock_ = 0; ///< blocks of the teacher that were run
  /// The teacher's stream after each addition of the current block, by run.
  std::vector<std::vector<Tensor>> additions_;
  /// What its layers of these names give, by parameter and run: those that are fitted towards it.
  std::set<std::string> outputNames_;
  std::map<std::string, std::vector<Tensor>> outputs_;
  std::vector<Values> values_;    ///< of the student's current block, by run
  std::map<ValueId, Gram> grams_; ///< of the current block's inputs
  std::vector<Trained> fitted_;
};

/// Runs the teacher up to and with its block of this label.
void Fit::runTeacher(const std::string &label) {
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

bool Fit::isWanted(const std::string &param) const {
  return std::ranges::find(options_.params, param) != options_.params.end();
}

/// Names the layers of the block that are fitted and not added to the stream: what the teacher's give
/// is kept for these alone, since each takes its width for every token.
void Fit::nameOutputs(const Block &block) {
  const auto begin = student_.graph.nodes.begin() + block.firstNode, end = begin + block.numNodes;
  for (auto node = begin; node != end; ++node)
    if (node->op == OpKind::Linear && isWanted(paramOf(*node).name) &&
        std::none_of(begin, end, [&](const Node &other) {
          return other.op == OpKind::Residual && other.ins[1] == node->outs[0];
        }))
      outputNames_.insert(paramOf(*node).name);
}

void Fit::keepOutput(const Node &linear, const Values &values) {
  const std::string &name = teacher_.graph.params[size_t(linear.param("weight"))].name;
  if (outputNames_.contains(name))
    outputs_[name].push_back(values[size_t(linear.outs[0])]);
}

void Fit::runStudent(const Block &block) {
  values_.assign(runs_.size(), Values(student_.graph.features.size()));
  for (size_t r = 0; r < runs_.size(); ++r)
    values_[r][size_t(block.in)] = student_.stream[r];
  for (size_t i = size_t(block.firstNode); i < size_t(block.firstNode + block.numNodes); ++i) {
    const Node &node = student_.graph.nodes[i];
    if (node.op == OpKind::Linear && isWanted(paramOf(node).name))
      fitLayer(block, i);
    for (size_t r = 0; r < runs_.size(); ++r)
      student_.forward.node(i, runs_[r], values_[r]);
  }
  for (size_t r = 0; r < runs_.size(); ++r)
    student_.stream[r] = values_[r][size_t(block.out)];
  grams_.clear();
  student_.drop();
}

/// What the student's stream lacks of the teacher's after the addition, [rows, hidden] float.
Tensor Fit::lackOfStream(size_t run, const Node &residual, size_t addition) const {
  const Values &values = values_[run];
  return additions_[run][addition] - values[size_t(residual.ins[0])] -
         values[size_t(residual.ins[1])].to(at::kFloat);
}

/// X^T times what the layer's output lacks: of the teacher's stream after it is added there, else of
/// the teacher's layer of that name and size (GPTAQ, arXiv:2504.02692, section 4); undefined if there
/// is neither.
Tensor Fit::rightOf(const Block &block, size_t index, const std::vector<Tensor> &inputs) {
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

void Fit::fitLayer(const Block &block, size_t index) {
  const Node &linear = student_.graph.nodes[index];
  const ParamId weight = linear.param("weight");
  const Param &param = student_.graph.params[size_t(weight)];
  std::vector<Tensor> inputs;
  for (size_t r = 0; r < runs_.size(); ++r)
    inputs.push_back(values_[r][size_t(linear.ins[0])].to(at::kFloat) * rowFactors_[r]);
  Gram &gram =
      grams_.try_emplace(linear.ins[0], inputs, options_.damping, param.name).first->second;
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
bool Fit::logitsAreWanted() const {
  const ParamId weight = student_.forward.logits().param("weight");
  return isWanted(student_.graph.params[size_t(weight)].name) &&
         std::ranges::count_if(student_.graph.nodes, [&](const Node &node) {
           return std::ranges::any_of(node.params,
                                      [&](const auto &read) { return read.second == weight; });
         }) == 1;
}

/// Rounds the logits' matrix after a least-squares change that lets it read the student's last hidden
/// states for the teacher's: the rows that the student has need not be all of the teacher's.
void Fit::fitLogits() {
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
  Gram gram(inputs, options_.damping, param.name);
  Trained trained;
  trained.param = &param;
  trained.master = readParam(model_, weight);
  trained.master.add_(product(trained.master, gram.solve(lack).to(at::kFloat)));
  if (param.format.quantised())
    gram.round(trained.master, param.format);
  fitted_.push_back(std::move(trained));
}

/// The mean square of what the student's stream lacks of the teacher's, over that of the teacher's.
double Fit::lacking() const {
  double lack = 0, all = 0;
  for (size_t r = 0; r < runs_.size(); ++r) {
    lack += total((teacher_.stream[r] - student_.stream[r]).square());
    all += total(teacher_.stream[r].square());
  }
  return all > 0 ? lack / all : 0;
}
} // namespace

void fit(const Model &student, const Model &teacher, const std::vector<Sequence> &sequences,
         const FitOptions &options, const OnProgress &progress, FitResult &result) {
  const at::NoGradGuard noGrad;
  if (sequences.empty())
    fail(ExitCode::BadInput, "fit: there are no sequences");
  if (!(options.damping > 0))
    fail(ExitCode::Usage, "fit: the damping must be above 0");
  checkFit(*student.graph, *teacher.graph, options.params);
  checkSequences(sequences, *student.graph);
  result = {};
  Fit(student, teacher, sequences, options, progress)(result);
}

} // namespace retort::exec
