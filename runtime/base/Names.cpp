//===- Names.cpp - Names of number formats, layouts and activations ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Names.h"

namespace retort {
namespace {

/// Formats of fewer bits than 8 say whether they are symmetric.
const char *suffix(const NumberFormat &format) {
  return format.bits() >= 8 ? "" : format.minima ? "a" : "s";
}

std::vector<NumberFormat> numberFormats() {
  std::vector<NumberFormat> formats;
  for (int i = 0; i < NumberFormat::kKinds; ++i) {
    const auto kind = NumberFormat::Kind(i);
    const NumberFormat::Traits traits = NumberFormat::traitsOf(kind);
    for (bool minima : {false, true})
      for (int group = traits.leastGroup; group <= traits.mostGroup; group = group ? 2 * group : 1)
        if (NumberFormat format{kind, group, minima}; format.isKnown())
          formats.push_back(format);
  }
  return formats;
}

} // namespace

std::string nameOf(const NumberFormat &format) {
  return format.traits().name +
         (format.quantised() ? "g" + std::to_string(format.group) + suffix(format) : "");
}

std::string codesName(const NumberFormat &format) {
  return std::string(format.traits().name) + suffix(format);
}

std::string nameOf(CacheFormat format) {
  switch (format) {
  case CacheFormat::F16:
    return "f16";
  case CacheFormat::BF16:
    return "bf16";
  case CacheFormat::F8E4M3:
    return "f8e4m3";
  case CacheFormat::F32:
    return "f32";
  }
  return {};
}

std::string nameOf(const MatrixLayout &layout) {
  return std::string(layout.blocks == MatrixLayout::Blocks::Rows16 ? "rows16" : "mma16") +
         (layout.gated ? "_gated" : "");
}

std::string nameOf(Activation activation) {
  switch (activation) {
  case Activation::Silu:
    return "silu";
  case Activation::GeluTanh:
    return "gelu_tanh";
  case Activation::Gelu:
    return "gelu";
  case Activation::Sigmoid:
    return "sigmoid";
  }
  return {};
}

template <> const std::vector<NumberFormat> &all() {
  static const std::vector<NumberFormat> formats = numberFormats();
  return formats;
}
template <> const std::vector<CacheFormat> &all() {
  static const std::vector<CacheFormat> formats = {CacheFormat::F16, CacheFormat::BF16,
                                                   CacheFormat::F8E4M3, CacheFormat::F32};
  return formats;
}
template <> const std::vector<MatrixLayout> &all() {
  using Blocks = MatrixLayout::Blocks;
  static const std::vector<MatrixLayout> layouts = {{Blocks::Rows16, false},
                                                    {Blocks::Rows16, true},
                                                    {Blocks::Mma16, false},
                                                    {Blocks::Mma16, true}};
  return layouts;
}
template <> const std::vector<Activation> &all() {
  static const std::vector<Activation> activations = {Activation::Silu, Activation::GeluTanh,
                                                      Activation::Gelu, Activation::Sigmoid};
  return activations;
}

} // namespace retort
