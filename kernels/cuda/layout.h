/*===- layout.h - How matrices are stored for the CUDA kernels: "mma16" ----------------------===*/
// SPDX-License-Identifier: Apache-2.0
//
// A matrix [rows][cols] is ceil(rows / 16) blocks of 16 rows, one after the other; the last is
// filled up with rows of zeros. A block is pieces of 64 columns (128 if the group is 128), one
// after the other; the last is filled up with columns of zeros. A piece is its scales, then its
// codes:
//
//   block b:  | scales, codes of columns 0..63 | scales, codes of columns 64..127 | ...
//
// so one tile of a product is one contiguous range of bytes, and so is the share of it that a warp
// reads. The codes are the A operands of mma as they lie in the lanes' registers: a warp reads 512
// bytes at a time, lane l the 16 at 16 * l, with which it multiplies at once. With g = l / 4 and
// t = l % 4, integers are in the order of m16n8k32 (s8), 32 columns a step:
//
//   word of the step   0                  1                  2                  3
//   i8                 row g,             row g + 8,         row g,             row g + 8,
//                      columns 4t..4t+3   the same           4t+16..4t+19       the same
//   i4                 4t..4t+3           4t+16..4t+19
//                      of row g (low nibbles) and row g + 8 (high nibbles)
//
// so 512 bytes hold one step of i8 (signed codes) and two of i4 (words 0 and 1, 2 and 3; code c
// stands for d * (c - 8), or d * c + m: a nibble in the upper half of a byte, its top bit flipped,
// is 16 * (c - 8) as s8). i3 has the words of two steps, 0..7 in the order of i8's, in three words
// of a lane, which lie 128 bytes apart. Code c stands for d * (c - 4): the top bits of a byte, the
// highest flipped, are 32 * (c - 4) as s8. A byte of word
//
//   word   bits 7..5   4..2    1..0
//   0      c of 0      of 1    upper bits of 6
//   1      of 2        of 3    upper bits of 7
//   2      of 4        of 5    lowest bits of 7 and 6
//
// so six codes of eight are moved by one shift at most, and a bit plane for each of the three bits
// would cost twice as many instructions. Floats are in the order of m16n8k16 (f16), 16 columns a step; the lane's
// 8 elements of a step are
//
//   e        0      1        2       3        4        5        6        7
//   row      g      g        g + 8   g + 8    g        g        g + 8    g + 8
//   column   2t     2t + 1   2t      2t + 1   2t + 8   2t + 9   2t + 8   2t + 9
//
//   f32    half a step:  e = 0..3 as f32, the next 512 bytes e = 4..7
//   bf16   one step:     e = 0..7 as bf16
//   f16    one step:     e = 0..7 as f16
//   f8     two steps:    bytes 0..7 the first step's e = 0..7, bytes 8..15 the second's, fp8 e4m3;
//                        q stands for d * (q / 256)
//
// Columns keep their order, so activations are plain row-major.
//
// Scales, f16, of a piece of groups of `group` columns, those of a lane's two rows side by side:
//
//   symmetric    [groups][8 g][d of row g, d of row g + 8]                        32 bytes a group
//   asymmetric   [groups][8 g][d of row g, d of row g + 8, m of row g, m of g+8]  64 bytes a group
//
// Every piece is a multiple of 32 bytes, the sector of a GPU's memory. Bits a weight, without
// padding, are those of the CPU's layout. "mma16_gated": gate and up [channels][cols] alternate by
// blocks, block 2b gate rows 16b.., block 2b + 1 up rows 16b.., so that a tile of a gated product
// is one contiguous range too; each part is filled up to 16 rows.
//
// The same bytes serve decoding, prefill and the embedding gather. Written by
// compiler/Weights/PackMma.h. Plain C++20: host and device include this.
//
/*===--------------------------------------------------------------------------------------===*/
#pragma once
#include "kernels/cuda/machine.h"
#include "runtime/base/NumberFormat.h"

namespace retort::cuda {

//===- Packed weights ---------------------------------------------------------------------===//

/// Where an element's code is: from bit `shift` on of a byte of its piece. Of two i3 codes in eight
/// the lowest bit is elsewhere.
struct CodePlace {
  int32_t byte;
  int32_t shift;
  int32_t lowByte = -1, lowShift = 0; ///< of the lowest bit; lowByte -1: with the others
};

using WeightKind = NumberFormat::Kind;

/// A format, and how mma16 lays it out.
struct WeightLayout : NumberFormat {
  static constexpr int kBlockRows = 16;
  static constexpr int kStepCols = 16; ///< columns of one mma

  RETORT_HOST_DEVICE constexpr int pieceCols() const {
    return quantised() && group == 128 ? 128 : 64;
  }
  RETORT_HOST_DEVICE constexpr int groupsPerPiece() const {
    return quantised() ? pieceCols() / group : 0;
  }
  /// Bytes of one group's scales (and minima) for 16 rows.
  RETORT_HOST_DEVICE constexpr int groupScaleBytes() const { return kBlockRows * scaleBytes(); }
  RETORT_HOST_DEVICE constexpr int pieceScaleBytes() const {
    return groupsPerPiece() * groupScaleBytes();
  }
  /// Bytes of the codes of 16 rows x 16 columns.
  RETORT_HOST_DEVICE constexpr int stepBytes() const { return kBlockRows * kStepCols * bits() / 8; }
  /// Steps of 16 columns whose codes the lanes hold at once (loadCodes), 16 bytes a lane or 12.
  RETORT_HOST_DEVICE constexpr int requestSteps() const {
    return kind == Kind::I3 ? 4 : 512 / stepBytes();
  }
  RETORT_HOST_DEVICE constexpr int pieceBytes() const {
    return pieceScaleBytes() + pieceCols() / kStepCols * stepBytes();
  }
  RETORT_HOST_DEVICE constexpr int64_t pieces(int64_t cols) const {
    return (cols + pieceCols() - 1) / pieceCols();
  }
  RETORT_HOST_DEVICE constexpr int64_t blockBytes(int64_t cols) const {
    return pieces(cols) * pieceBytes();
  }
  RETORT_HOST_DEVICE constexpr int64_t blocks(int64_t rows) const {
    return (rows + kBlockRows - 1) / kBlockRows;
  }
  RETORT_HOST_DEVICE constexpr int64_t matrixBytes(int64_t rows, int64_t cols) const {
    return blocks(rows) * blockBytes(cols);
  }

  /// The code of row `row` of the block and column `col` of the piece, from the piece's start.
  RETORT_HOST_DEVICE constexpr CodePlace code(int row, int col) const {
    const int codes = pieceScaleBytes();
    if (integers()) {
      const int lane = row % 8 * 4 + col % 16 / 4, half = col % 32 / 16;
      if (kind == Kind::I3) {
        const int at = codes + lane * 4 + col % 4, index = col % 64 / 16 * 2 + row / 8;
        if (index < 6)
          return {at + index / 2 * 128, index % 2 ? 2 : 5};
        return {at + (index - 6) * 128, 0, at + 256, index - 6};
      }
      if (kind == Kind::I8)
        return {codes + col / 32 * 512 + lane * 16 + (2 * half + row / 8) * 4 + col % 4, 0};
      const int word = col % 64 / 32 * 2 + half;
      return {codes + col / 64 * 512 + lane * 16 + word * 4 + col % 4, row / 8 * 4};
    }
    const int step = col / 16, lane = row % 8 * 4 + col % 8 / 2;
    const int e = col % 16 / 8 * 4 + row / 8 * 2 + col % 2;
    switch (kind) {
    case Kind::F32:
      return {codes + step * 1024 + e / 4 * 512 + lane * 16 + e % 4 * 4, 0};
    case Kind::F8:
      return {codes + step / 2 * 512 + lane * 16 + step % 2 * 8 + e, 0};
    default: // f16, bf16
      return {codes + step * 512 + lane * 16 + e * 2, 0};
    }
  }
  /// Byte of the scale of group `index` of the piece for row `row`, from the piece's start. The
  /// minimum is 4 bytes after it.
  RETORT_HOST_DEVICE constexpr int scale(int row, int index) const {
    return index * groupScaleBytes() + row % 8 * (minima ? 8 : 4) + row / 8 * 2;
  }
};

} // namespace retort::cuda
