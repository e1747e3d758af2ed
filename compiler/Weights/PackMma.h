//===- PackMma.h - Packing rows for the CUDA kernels, or in any layout ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The "mma16" layout of kernels/cuda/layout.h, made of the same codes and scales as "rows16"
// (Pack.h): a format's values do not depend on the layout.
//
//===----------------------------------------------------------------------------------===//
#pragma once
#include "compiler/Weights/Pack.h"

namespace retort::weight {

/// As blockBytes, packedBytes (of all rows of a gated matrix, an even number), packBlock and
/// unpackBlock of Pack.h, for any layout. They throw as those do.
int64_t blockBytes(const MatrixLayout &layout, const NumberFormat &format, int64_t cols);
int64_t packedBytes(const MatrixLayout &layout, const NumberFormat &format, int64_t rows,
                    int64_t cols);
void packBlock(const MatrixLayout &layout, const NumberFormat &format, const float *rows,
               int64_t numRows, int64_t cols, std::span<uint8_t> out);
void unpackBlock(const MatrixLayout &layout, const NumberFormat &format,
                 std::span<const uint8_t> block, int64_t cols, float *rows);

} // namespace retort::weight
