//===- Ops.h - The operations of a model, with gradients ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// One function an lm op. Activations are [rows, features], contiguous: float32 or bfloat16 (the
// type of matrices), but the residual stream is float32 always. Gradients of weights do not go
// through autograd: the backward pass adds them to Weight::grad where that is defined.
//
//===------------------------------------------------------------------------------===//
#pragma once
#include "compiler/Torch/Graph.h"
#include "compiler/Torch/Rows.h"
#include "compiler/Torch/Weights.h"
#include <ATen/ATen.h>

namespace retort::exec {

/// cos and sin of each position and pair, times the amplitude: [positions, dims / 2] float.
struct RopeTable {
  at::Tensor cosines, sines;
};
RopeTable ropeTable(const Rope &op, int64_t positions);

/// `anchor` is any tensor that requires a gradient: autograd goes down to it.
at::Tensor embed(const Embed &op, const Rows &rows, Weight &table, const at::Tensor &anchor);
/// `type` is the result's.
at::Tensor norm(const Norm &op, const at::Tensor &in, Weight &gain, at::ScalarType type);
at::Tensor linear(const at::Tensor &in, Weight &matrix, Weight *bias);
at::Tensor rope(const Rope &op, const at::Tensor &in, const Rows &rows, const RopeTable &table);
/// Without gradients keys and values are rounded as op.cache says.
at::Tensor attention(const Attention &op, const at::Tensor &query, const at::Tensor &key,
                     const at::Tensor &value, const Rows &rows);
at::Tensor glu(const Glu &op, const at::Tensor &gate, const at::Tensor &up);
at::Tensor residual(const at::Tensor &stream, const at::Tensor &output);
/// Returns `student`; its gradient gets that of weight * sum over rows of |s - t|^2 / |t|^2, which
/// is added to *loss.
at::Tensor matchHidden(const at::Tensor &student, const at::Tensor &teacher, double weight,
                       double *loss);

} // namespace retort::exec
