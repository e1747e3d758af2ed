//===- Ops.h - The operations of a model, with gradients ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// One function an lm op (Ops.def). Activations are [rows, features], contiguous: float32 or bfloat16
// (the type of matrices), but the residual stream is float32 always. Gradients of weights do not go
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

/// Tables for the positions that were asked for so far; equal ropes share one.
class RopeTables {
public:
  const RopeTable &get(const Node &rope, int64_t positions);

private:
  std::map<std::vector<double>, RopeTable> tables_; ///< by all that a rope's table depends on
};

/// A run's values by ValueId, those that are still to be read.
using Values = std::vector<at::Tensor>;

/// One op to run. The node, rows and weights must live until the backward pass.
struct Call {
  const Node &node;
  const Rows &rows;
  Weights &weights;
  RopeTables &ropes;
  const Values &values;

  const at::Tensor &in(size_t index = 0) const { return values[size_t(node.ins[index])]; }
  /// The parameter of a role, read if it was not yet; null if the op has none.
  Weight *weight(std::string_view role) const {
    const ParamId param = node.param(role);
    return param == kNone ? nullptr : &weights.get(param);
  }
};

/// What each op makes, a tensor a result.
namespace ops {
#define RETORT_EXEC_OP(Kind, mnemonic) std::vector<at::Tensor> mnemonic(const Call &call);
#include "compiler/Torch/Ops.def"
} // namespace ops

/// The function of the call's op.
std::vector<at::Tensor> evaluate(const Call &call);

/// Returns `student`; its gradient gets that of weight * sum over rows of |s - t|^2 / |t|^2, which
/// is added to *loss.
at::Tensor matchHidden(const at::Tensor &student, const at::Tensor &teacher, double weight,
                       double *loss);

} // namespace retort::exec
