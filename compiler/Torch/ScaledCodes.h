//===- ScaledCodes.h - A rounded matrix whose scales are trained ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/NumberFormat.h"
#include <ATen/ATen.h>

namespace retort::exec {

/// A matrix rounded to a format, [rows, cols]. Codes and minima stay; each group's scale is what it was
/// times a trained factor (the second phase of EfficientQAT, arXiv:2407.11062, section 3.3). Rounding
/// again finds the same codes, since the outermost one of a group stays where it is.
class ScaledCodes {
public:
  /// Rounds `matrix`, float, to `format`. Throws as weight::quantiseDequantise.
  ScaledCodes(const NumberFormat &format, const at::Tensor &matrix);

  int64_t rows() const { return codes_.size(0); }
  int64_t cols() const { return cols_; }
  /// Factors of 1: [rows, groups], float.
  at::Tensor ones() const;
  /// The matrix of these factors into `matrix`, float [rows, cols]; scales are f16, as they are stored.
  void write(const at::Tensor &factors, const at::Tensor &matrix) const;
  /// The factors' gradient from the matrix's, [rows, cols], into `gradient`, [rows, groups].
  void reduce(const at::Tensor &matrixGradient, const at::Tensor &gradient) const;

private:
  /// Calls visit(row, group, first column, last) for every group.
  template <typename Visit> void forGroups(Visit visit) const;

  NumberFormat format_;
  int64_t cols_, groups_;
  at::Tensor codes_;  ///< uint8 [rows, cols filled up to the group]
  at::Tensor scales_; ///< float [rows, groups]
  at::Tensor minima_; ///< likewise; undefined where the format has none
  float units_[256];  ///< what a code stands for at scale 1 and minimum 0
};

} // namespace retort::exec
