//===- Names.h - Names of number formats, layouts and activations ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The names that manifests, the IR, pass options and messages have for these values. Each value has
// one name, and only what kernels have has one.
//
//===----------------------------------------------------------------------------------===//
#pragma once
#include "runtime/base/Activation.h"
#include "runtime/base/NumberFormat.h"
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// "f32", "bf16", "i8g32", "f8g128", "i4g32s" (symmetric), "i4g128a" (asymmetric: with minima).
std::string nameOf(const NumberFormat &format);
/// "f16", "bf16", "f8e4m3", "f32".
std::string nameOf(CacheFormat format);
/// "rows16", "rows16_gated", "mma16", "mma16_gated".
std::string nameOf(const MatrixLayout &layout);
/// "silu", "gelu_tanh", "gelu".
std::string nameOf(Activation activation);

/// A format's name without its group: "f32", "i8", "i4s".
std::string codesName(const NumberFormat &format);

/// Every value that there is.
template <typename T> const std::vector<T> &all();
template <> const std::vector<NumberFormat> &all();
template <> const std::vector<CacheFormat> &all();
template <> const std::vector<MatrixLayout> &all();
template <> const std::vector<Activation> &all();

/// The value of this name, or nothing.
template <typename T> std::optional<T> named(std::string_view name) {
  for (const T &value : all<T>())
    if (nameOf(value) == name)
      return value;
  return std::nullopt;
}

/// All names, for messages: "f16, bf16, f8e4m3 or f32".
template <typename T> std::string allNames() {
  std::string text;
  for (size_t i = 0; i < all<T>().size(); ++i)
    text += (i == 0 ? "" : i + 1 < all<T>().size() ? ", " : " or ") + nameOf(all<T>()[i]);
  return text;
}

} // namespace retort
