//===- Train.cpp - Training and distillation --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Train.h"
#include "compiler/Torch/Checkpoint.h"
#include "compiler/Torch/Checks.h"
#include "compiler/Torch/Forward.h"
#include "compiler/Torch/Loss.h"
#include "runtime/base/Mix.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace retort::exec {
namespace {
using at::Tensor;

/// SplitMix64 (Steele et al., OOPSLA 2014).
uint64_t nextRandom(uint64_t &state) { return mix64(state += 0x9e3779b97f4a7c15); }

/// The teacher, resident, without gradients. Its tokens are the student's, by vocabKept where the
/// student has fewer; so are its logits.
class Teacher {
public:
  Teacher(const Model &model, const Graph &student, Precision precision)
      : weights_(model, typeOf(precision)), forward_(*model.graph, weights_),
        kept_(teacherTokens(student, *model.graph)) {
    head_ = forward_.head({});
    if (!kept_.empty())
      head_.matrix = head_.matrix.index_select(0, at::tensor(kept_));
  }

  /// `blocks`, if asked for, gets each block's output by label.
  Head run(Rows rows, std::map<std::string, Tensor> *blocks) {
    const c10::NoGradGuard noGrad;
    if (!kept_.empty())
      for (int32_t &token : rows.tokens)
        token = kept_[size_t(token)];
    Head head = head_;
    head.hidden = forward_.run(rows, [&](size_t block, Tensor out) {
      if (blocks)
        (*blocks)[weights_.graph().blocks[block].label] = out;
      return out;
    });
    return head;
  }

private:
  Weights weights_;
  Forward forward_;
  std::vector<int32_t> kept_;
  Head head_; ///< of no rows yet
};

/// One run: the student, the teacher, the losses and the data.
class Run {
public:
  Run(const Model &student, const Model *teacher, const std::vector<Sequence> &sequences,
      const TrainOptions &options)
      : student_(student), graph_(*student.graph), sequences_(sequences), options_(options),
        rule_(lossRule(options.losses)), weights_(student, typeOf(options.precision)),
        optimizer_(student, weights_, options), forward_(graph_, weights_),
        checkpoints_(options, optimizer_.params()),
        order_(shuffled(sequences.size(), options.seed)) {
    if (teacher)
      teacher_.emplace(*teacher, graph_, options.precision);
    if (teacher && options.losses.hiddenMatching > 0)
      matched_ = std::ranges::count_if(graph_.blocks, [&](const Block &block) {
        return blockOf(*teacher->graph, block.label) != nullptr;
      });
  }

  void operator()(const OnProgress &progress, TrainResult &result);

private:
  struct Sum {
    double loss = 0;
    int64_t predicted = 0, rows = 0;
  };
  Sum step(int64_t first, int64_t last);
  void micro(const std::vector<const Sequence *> &sequences, Sum &sum);
  bool takeStep(const Sum &sum, int64_t steps);
  void rollBack(int64_t steps);
  bool report(const OnProgress &progress, int64_t steps, double loss, double tokensPerSecond);

  const Model &student_;
  const Graph &graph_;
  const std::vector<Sequence> &sequences_;
  const TrainOptions &options_;
  LossRule rule_;
  Weights weights_;
  Optimizer optimizer_;
  Forward forward_;
  Checkpoints checkpoints_;
  std::vector<size_t> order_;
  std::optional<Teacher> teacher_;
  int64_t matched_ = 0; ///< blocks whose outputs are matched
  RunState state_;
  bool wentBack_ = false;
};

/// Adds the gradients of some sequences that are run together.
void Run::micro(const std::vector<const Sequence *> &sequences, Sum &sum) {
  const Rows rows = layOut(sequences);
  std::map<std::string, Tensor> blocks;
  std::optional<Head> target;
  if (teacher_)
    target = teacher_->run(rows, matched_ ? &blocks : nullptr);
  const double matchWeight = matched_ ? options_.losses.hiddenMatching / double(matched_) : 0;
  double matchLoss = 0;
  const Tensor hidden = forward_.run(
      rows,
      [&](size_t block, Tensor out) {
        const auto same = blocks.find(graph_.blocks[block].label);
        return same == blocks.end() ? out : matchHidden(out, same->second, matchWeight, &matchLoss);
      },
      options_.recompute);
  Tensor gradHidden;
  const std::vector<RowFigures> figures =
      lossOfRows(forward_.head(hidden.detach()), target ? &*target : nullptr, rows.targets, rule_,
                 &weights_.get(forward_.logits().param("weight")), &gradHidden);
  hidden.backward(gradHidden);
  for (const RowFigures &row : figures)
    sum.loss += row.loss;
  sum.loss += matchLoss;
  sum.predicted += int64_t(figures.size());
  sum.rows += rows.count();
}

Run::Sum Run::step(int64_t first, int64_t last) {
  Sum sum;
  std::vector<const Sequence *> together;
  int64_t size = 0;
  for (int64_t position = first; position < last; ++position) {
    const Sequence &sequence = sequences_[order_[size_t(position)]];
    const int64_t more = int64_t(sequence.tokens.size());
    if (!together.empty() && size + more > options_.microTokens) {
      micro(together, sum);
      together.clear();
      size = 0;
    }
    together.push_back(&sequence);
    size += more;
  }
  micro(together, sum);
  return sum;
}

bool Run::report(const OnProgress &progress, int64_t steps, double loss, double tokensPerSecond) {
  return !progress || progress({state_.step, steps, loss, tokensPerSecond});
}

/// Goes back to the last checkpoint at half the rate; to the beginning if there is none, or if going
/// back to this one did not help before.
void Run::rollBack(int64_t steps) {
  constexpr int64_t kMostRollbacks = 2;
  if (state_.rollbacks == kMostRollbacks)
    fail(ExitCode::BadInput,
         "training: step " + std::to_string(state_.step + 1) + " of " + std::to_string(steps) +
             " is not finite, nor was one at twice and four times the rate: lower "
             "the learning rate");
  ++state_.rollbacks;
  optimizer_.clearGradients();
  const bool isNew = !wentBack_ || checkpoints_.savedSinceResume();
  wentBack_ = true;
  if (isNew && checkpoints_.resume(state_)) {
    optimizer_.publish();
  } else {
    optimizer_.restart(student_);
    state_.step = 0;
    state_.curve.clear();
  }
}

/// False if the step is not finite: then nothing was updated.
bool Run::takeStep(const Sum &sum, int64_t steps) {
  const double loss = sum.loss / double(std::max<int64_t>(1, sum.predicted));
  const double rate =
      std::ldexp(learningRate(options_, state_.step, steps), -int(state_.rollbacks));
  if (!std::isfinite(loss) || !optimizer_.update(state_.step, sum.predicted, rate))
    return false;
  ++state_.step;
  state_.curve.push_back(float(loss));
  return true;
}

void Run::operator()(const OnProgress &progress, TrainResult &result) {
  const std::vector<int64_t> plan = planSteps(order_, sequences_, options_);
  const int64_t steps = int64_t(plan.size()) - 1;
  if (checkpoints_.resume(state_)) {
    optimizer_.publish();
    result.resumedAt = state_.step;
  }
  const double begun = nowSeconds();
  int64_t rows = 0;
  while (state_.step < steps) {
    const Sum sum = step(plan[size_t(state_.step)], plan[size_t(state_.step) + 1]);
    rows += sum.rows;
    if (!takeStep(sum, steps)) {
      rollBack(steps);
      continue;
    }
    result.tokensPerSecond = double(rows) / (nowSeconds() - begun);
    if (!report(progress, steps, state_.curve.back(), result.tokensPerSecond)) {
      checkpoints_.save(state_);
      fail(ExitCode::Interrupted, "training was interrupted at step " +
                                      std::to_string(state_.step) + " of " + std::to_string(steps));
    }
    if (state_.step < steps)
      checkpoints_.maybeSave(state_);
  }
  result.steps = steps;
  result.tokens = 0;
  for (const Sequence &sequence : sequences_)
    result.tokens += int64_t(sequence.tokens.size());
  result.rollbacks = state_.rollbacks;
  result.curve = state_.curve;
  if (!options_.outputPath.empty())
    writeWeights(optimizer_.params(), result, options_.outputPath);
}

void checkOptions(const TrainOptions &options, const std::vector<Sequence> &sequences) {
  if (sequences.empty())
    fail(ExitCode::BadInput, "training: there are no sequences");
  if (options.batchTokens < 1 || options.microTokens < 1)
    fail(ExitCode::Usage, "training: token counts must be above 0");
}
} // namespace

std::vector<size_t> shuffled(size_t sequences, uint64_t seed) {
  std::vector<size_t> order(sequences);
  std::iota(order.begin(), order.end(), size_t(0));
  uint64_t state = seed * 0x2545f4914f6cdd1d;
  for (size_t i = sequences; i > 1; --i)
    std::swap(order[i - 1], order[nextRandom(state) % i]);
  return order;
}

std::vector<int64_t> planSteps(const std::vector<size_t> &order,
                               const std::vector<Sequence> &sequences,
                               const TrainOptions &options) {
  std::vector<int64_t> starts{0};
  int64_t inStep = 0;
  for (size_t position = 0; position < order.size(); ++position) {
    inStep += int64_t(sequences[order[position]].tokens.size());
    if (inStep >= options.batchTokens || position + 1 == order.size()) {
      starts.push_back(int64_t(position + 1));
      inStep = 0;
    }
  }
  return starts;
}

void train(const Model &student, const Model *teacher, const std::vector<Sequence> &sequences,
           const TrainOptions &options, const OnProgress &progress, TrainResult &result) {
  checkTraining(*student.graph, teacher ? teacher->graph : nullptr, options.losses);
  checkOptions(options, sequences);
  checkSequences(sequences, *student.graph);
  Run run(student, options.losses.needTeacher() ? teacher : nullptr, sequences, options);
  run(progress, result);
}

} // namespace retort::exec
