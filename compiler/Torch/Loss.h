//===- Loss.h - Logits and losses, a few rows at a time ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"
#include "compiler/Torch/Kernels.h"
#include "compiler/Torch/Weights.h"
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace retort::exec {

/// What makes logits of the last hidden state.
struct Head {
  at::Tensor hidden; ///< [rows, hidden], the type of activations
  at::Tensor matrix; ///< [vocab, hidden]
  float softCap = 0;
};

/// The rule for `losses`, the soft caps aside.
LossRule lossRule(const Losses &losses);

/// Bytes that the logits of one piece of rows may take.
constexpr int64_t kLogitsBytes = int64_t(128) << 20;

/// Losses of the rows that have a target (not kNone), in row order. Where `teacher` is null the
/// losses that need one must have no weight. If `weight` is given, the gradient of the sum of the
/// losses by student.matrix is added to it, and `gradHidden` becomes that by student.hidden.
/// `logitsBytes` bounds the memory of logits, at no change of the result but rounding.
std::vector<RowFigures> lossOfRows(const Head &student, const Head *teacher,
                                   const std::vector<int32_t> &targets, LossRule rule,
                                   Weight *weight, at::Tensor *gradHidden,
                                   int64_t logitsBytes = kLogitsBytes);

} // namespace retort::exec
