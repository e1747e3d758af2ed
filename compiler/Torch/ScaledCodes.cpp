//===- ScaledCodes.cpp - A rounded matrix whose scales are trained ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/ScaledCodes.h"
#include "compiler/Torch/Parallel.h"
#include "compiler/Weights/Pack.h"
#include <algorithm>

namespace retort::exec {

ScaledCodes::ScaledCodes(const NumberFormat &format, const at::Tensor &matrix)
    : format_(format), cols_(matrix.size(1)),
      groups_(weight::paddedCols(format, cols_) / format.group),
      codes_(at::empty({matrix.size(0), groups_ * format.group}, at::kByte)),
      scales_(at::empty({matrix.size(0), groups_}, at::kFloat)),
      minima_(format.minima ? at::empty_like(scales_) : at::Tensor()) {
  for (int code = 0; code < 256; ++code)
    units_[code] = weight::codeValue(format, uint8_t(code));
  const float *values = data<float>(matrix);
  uint8_t *codes = data<uint8_t>(codes_);
  float *scales = data<float>(scales_),
        *minima = minima_.defined() ? data<float>(minima_) : nullptr;
  const size_t width = size_t(codes_.size(1)), groups = size_t(groups_);
  parallel(rows(), 16, [&](int64_t begin, int64_t end) {
    for (size_t row = size_t(begin); row < size_t(end); ++row)
      weight::quantiseRow(format, {values + row * size_t(cols_), size_t(cols_)},
                          {codes + row * width, width}, {scales + row * groups, groups},
                          minima ? std::span(minima + row * groups, groups) : std::span<float>());
  });
}

at::Tensor ScaledCodes::ones() const { return at::ones_like(scales_); }

template <typename Visit> void ScaledCodes::forGroups(Visit visit) const {
  parallel(rows(), 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t g = 0; g < groups_; ++g)
        visit(row, row * groups_ + g, g * format_.group,
              std::min(cols_, (g + 1) * int64_t(format_.group)));
  });
}

void ScaledCodes::write(const at::Tensor &factors, const at::Tensor &matrix) const {
  const uint8_t *codes = data<uint8_t>(codes_);
  const float *factor = data<float>(factors), *scales = data<float>(scales_);
  const float *minima = minima_.defined() ? data<float>(minima_) : nullptr;
  float *out = data<float>(matrix);
  const int64_t width = codes_.size(1);
  forGroups([&](int64_t row, int64_t group, int64_t begin, int64_t end) {
    const float scale = fromHalf(toHalf(scales[group] * factor[group]));
    const float minimum = minima ? minima[group] : 0;
    for (int64_t k = begin; k < end; ++k)
      out[row * cols_ + k] = scale * units_[codes[row * width + k]] + minimum;
  });
}

void ScaledCodes::reduce(const at::Tensor &matrixGradient, const at::Tensor &gradient) const {
  const uint8_t *codes = data<uint8_t>(codes_);
  const float *from = data<float>(matrixGradient), *scales = data<float>(scales_);
  float *out = data<float>(gradient);
  const int64_t width = codes_.size(1);
  forGroups([&](int64_t row, int64_t group, int64_t begin, int64_t end) {
    float sum = 0;
    for (int64_t k = begin; k < end; ++k)
      sum += from[row * cols_ + k] * units_[codes[row * width + k]];
    out[group] = scales[group] * sum;
  });
}

} // namespace retort::exec
