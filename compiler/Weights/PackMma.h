//===- PackMma.h - Packing rows for the CUDA kernels, and layouts by name ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The "mma16" layout of kernels/cuda/layout.h, made of the same codes and scales as "rows16"
// (Pack.h): a format's values do not depend on the layout.
//
//===----------------------------------------------------------------------------------===//
#pragma once
#include "compiler/Weights/Pack.h"
#include <optional>
#include <string_view>

namespace retort::weight {

/// A layout of packed matrices. All have blocks of 16 rows; gated ones alternate the blocks of the
/// two halves of the rows (gate, up), each half filled up to whole blocks by itself.
struct Layout {
  enum class Blocks : uint8_t { Rows16, Mma16 };
  Blocks blocks = Blocks::Rows16;
  bool gated = false;
  bool operator==(const Layout &) const = default;
};

/// "rows16", "rows16_gated", "mma16", "mma16_gated"; nothing for another name.
std::optional<Layout> layoutNamed(std::string_view name);

/// As blockBytes, packedBytes (of all rows of a gated matrix, an even number), packBlock and
/// unpackBlock of Pack.h, for any layout. They throw as those do.
int64_t blockBytes(const Layout &layout, const Format &format, int64_t cols);
int64_t packedBytes(const Layout &layout, const Format &format, int64_t rows, int64_t cols);
void packBlock(const Layout &layout, const Format &format, const float *rows, int64_t numRows,
               int64_t cols, std::span<uint8_t> out);
void unpackBlock(const Layout &layout, const Format &format, std::span<const uint8_t> block,
                 int64_t cols, float *rows);

} // namespace retort::weight
