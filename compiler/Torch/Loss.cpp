//===- Loss.cpp - Logits and losses, a few rows at a time -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Loss.h"
#include "compiler/Torch/Parallel.h"
#include "compiler/Torch/Products.h"
#include <algorithm>

namespace retort::exec {
namespace {
using at::Tensor;

/// The rows that have a target.
Tensor predictedRows(const std::vector<int32_t> &targets) {
  std::vector<int64_t> rows;
  for (size_t i = 0; i < targets.size(); ++i)
    if (targets[i] != kNone)
      rows.push_back(int64_t(i));
  return at::tensor(rows, at::kLong);
}

Tensor logitsOf(const Head &head, const Tensor &rows) {
  return linearLayer(head.hidden.index_select(0, rows), head.matrix);
}

/// Fills figures[0, rows of student) and, if asked, turns the student's logits into gradients.
void runRows(const Tensor &student, const Tensor &teacher, const int32_t *targets,
             const LossRule &rule, bool gradient, RowFigures *figures) {
  const int64_t vocab = student.size(1);
  withType(student.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    T *s = data<T>(student);
    const T *t = teacher.defined() ? data<T>(teacher) : nullptr;
    parallel(student.size(0), 1, [&](int64_t begin, int64_t end) {
      std::vector<float> scratch(size_t(2 * vocab));
      for (int64_t r = begin; r < end; ++r)
        figures[r] = kernels<T>().lossRow(s + r * vocab, t ? t + r * vocab : nullptr, vocab,
                                          targets[r], rule, gradient, scratch.data());
    });
  });
}
} // namespace

LossRule lossRule(const Losses &losses) {
  return {float(losses.crossEntropy),
          float(losses.forwardKl),
          float(losses.reverseKl),
          float(losses.jensenShannon),
          float(losses.temperature),
          0,
          0};
}

std::vector<RowFigures> lossOfRows(const Head &student, const Head *teacher,
                                   const std::vector<int32_t> &targets, LossRule rule,
                                   Weight *weight, Tensor *gradHidden, int64_t logitsBytes) {
  const c10::NoGradGuard noGrad;
  rule.studentSoftCap = student.softCap;
  rule.teacherSoftCap = teacher ? teacher->softCap : 0;
  const Tensor rows = predictedRows(targets);
  const int64_t count = rows.size(0), vocab = student.matrix.size(0);
  std::vector<RowFigures> figures(static_cast<size_t>(count));
  std::vector<int32_t> wanted;
  std::copy_if(targets.begin(), targets.end(), std::back_inserter(wanted),
               [](int32_t target) { return target != kNone; });
  const int64_t rowBytes = vocab * int64_t(student.hidden.element_size());
  const int64_t step = std::max<int64_t>(1, logitsBytes / rowBytes);
  if (gradHidden)
    *gradHidden = at::zeros_like(student.hidden);
  for (int64_t begin = 0; begin < count; begin += step) {
    const Tensor piece = rows.narrow(0, begin, std::min(step, count - begin));
    const Tensor logits = logitsOf(student, piece);
    runRows(logits, teacher ? logitsOf(*teacher, piece) : Tensor(), wanted.data() + begin, rule,
            gradHidden != nullptr, figures.data() + begin);
    if (gradHidden)
      gradHidden->index_copy_(0, piece, product(logits, student.matrix));
    if (weight && weight->grad.defined())
      weight->accumulate(product(logits.t(), student.hidden.index_select(0, piece)));
  }
  return figures;
}

} // namespace retort::exec
