//===- Pack.h - Quantising rows and packing them for the CPU kernels --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Turns rows of float32 into the "rows16" layout that kernels/cpu/kernels.h defines, 16 rows at a
// time, so that a parameter of any size is packed in the memory of one block. Round-to-nearest:
// every group of `group` columns of a row gets its own scale (and minimum), stored as f16; codes
// are chosen against the rounded scale, so that they are the nearest that can be represented.
//
//===----------------------------------------------------------------------------------===//
#pragma once
#include "runtime/base/Names.h"
#include "runtime/base/SmallFloat.h"
#include <cstdint>
#include <span>
#include <string>

namespace retort::weight {

// How codes and scales of each kind are chosen (runtime/base/NumberFormat.h):
//   I8               w = d * q, q in -127..127; d = max|w| / 127 (as ggml's Q8_0)
//   F8               w = d * (q / 256), q fp8 e4m3; d = max|w| / 1.75, so that q goes to 448,
//                    rounded up to f16, at least 2^-14
//   I4, symmetric    w = d * (q - 8), q in 0..15; d = w_max / -8, where w_max is the element of
//                    largest magnitude, of two the negative one (as ggml's Q4_0)
//   I3               w = d * (q - 4), q in 0..7; d = w_max / -4, likewise
//   I4, minima       w = d * q + m, q in 0..15; m = min, d = (max - min) / 15 (as ggml's Q4_1)

/// Rows of a block, the unit of packing.
constexpr int64_t kBlockRows = 16;

/// Columns as stored: `cols` rounded up to the group, to 2 (F16, BF16), or `cols` (F32).
int64_t paddedCols(const NumberFormat &format, int64_t cols);

/// Bytes of one block of 16 rows: a multiple of 64. Throws retort::Error (Usage) if the format is
/// none that the kernels have, or (BadInput) if the size overflows.
int64_t blockBytes(const NumberFormat &format, int64_t cols);

/// Bytes of a matrix of rows x cols: ceil(rows / 16) blocks.
int64_t packedBytes(const NumberFormat &format, int64_t rows, int64_t cols);

/// Packs one block. `rows` is [numRows][cols] float32, row-major, 1 <= numRows <= 16; rows missing
/// are stored as zeros. `out` is blockBytes(format, cols) long; every byte of it is written.
void packBlock(const NumberFormat &format, const float *rows, int64_t numRows, int64_t cols,
               std::span<uint8_t> out);

/// The inverse up to quantisation: writes the 16 rows of a block, padding rows too, as
/// [16][cols] float32.
void unpackBlock(const NumberFormat &format, std::span<const uint8_t> block, int64_t cols,
                 float *rows);

/// Replaces each element of the row by the value that packing stores for it, exactly:
/// unpackBlock(packBlock(row)) == quantiseDequantise(row). For the executor and for quality checks.
/// Quantising throws retort::Error (BadInput) on NaN, infinity and values beyond f16 scales, and so
/// does F16 on what is beyond f16.
void quantiseDequantise(const NumberFormat &format, std::span<float> row);

/// Codes and scales of one row before packing; what GPTQ-like methods and tests look at. `codes`
/// has paddedCols elements, as stored (q + 128 for I8, q for I4 and I3, the bits of q for F8); `scales`
/// and `minima` (else empty) one per group, the f16 values widened.
void quantiseRow(const NumberFormat &format, std::span<const float> row, std::span<uint8_t> codes,
                 std::span<float> scales, std::span<float> minima);

/// What a code, as quantiseRow gives it, stands for where the scale is 1 and the minimum 0.
float codeValue(const NumberFormat &format, uint8_t code);

/// Rounds a row to a quantised format so that its columns make up for each other's errors: GPTQ (Frantar
/// et al., arXiv:2210.17323, algorithm 1). Columns are rounded in `order`, a permutation of them; groups
/// are of neighbouring columns whatever it is, with scales chosen before the first is rounded. The
/// scale of int4 and int3 is searched: the one of least squared error weighed by the inverse of
/// factor's squared diagonal, which is what an error costs (LeanQuant, arXiv:2407.10032, section 3).
/// What comes out packing stores as it is: quantiseDequantise does not change it. `factor` is
/// [cols][cols], row-major: the upper Cholesky factor of the inverse of X^T X (damped), where X are the
/// layer's inputs with columns in that order; what is below its diagonal is not read. Throws as
/// quantiseDequantise.
void gptqRow(const NumberFormat &format, std::span<float> row, std::span<const int32_t> order,
             const float *factor);

} // namespace retort::weight
