//===- PackMma.cpp - Packing rows for the CUDA kernels, or in any layout -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Weights/PackMma.h"
#include "kernels/cuda/layout.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <cstring>
#include <vector>

namespace retort::weight {
namespace {

using cuda::CodePlace;
using cuda::WeightLayout;
using Kind = NumberFormat::Kind;

int64_t mmaBlockBytes(const NumberFormat &format, int64_t cols) {
  blockBytes(format, cols); // refuses formats that no kernel has
  const WeightLayout layout{format};
  int64_t bytes;
  if (cols < 0 || __builtin_mul_overflow(layout.pieces(cols), layout.pieceBytes(), &bytes))
    fail(ExitCode::BadInput, "weight of " + std::to_string(cols) +
                                 " columns overflows: the checkpoint's shapes are wrong");
  return bytes;
}

template <typename T> void put(std::span<uint8_t> out, int64_t offset, T value) {
  std::memcpy(out.data() + offset, &value, sizeof value);
}
template <typename T> T get(std::span<const uint8_t> in, int64_t offset) {
  T value;
  std::memcpy(&value, in.data() + offset, sizeof value);
  return value;
}

void putBits(uint8_t &byte, int shift, int count, int value) {
  const int mask = (1 << count) - 1;
  byte = uint8_t((byte & ~(mask << shift)) | (value & mask) << shift);
}
void putCode(const WeightLayout &layout, std::span<uint8_t> piece, const CodePlace &place,
             int code) {
  if (place.lowByte < 0)
    return putBits(piece[place.byte], place.shift, layout.bits(), code);
  putBits(piece[place.byte], place.shift, layout.bits() - 1, code >> 1);
  putBits(piece[place.lowByte], place.lowShift, 1, code);
}
int getCode(const WeightLayout &layout, std::span<const uint8_t> piece, const CodePlace &place) {
  const int code = piece[place.byte] >> place.shift;
  if (place.lowByte < 0)
    return code & ((1 << layout.bits()) - 1);
  return (code & ((1 << (layout.bits() - 1)) - 1)) << 1 |
         (piece[place.lowByte] >> place.lowShift & 1);
}

void packQuantisedRow(const NumberFormat &format, std::span<const float> row, int lane,
                      std::span<uint8_t> out) {
  const WeightLayout layout{format};
  const int64_t padded = paddedCols(format, int64_t(row.size())), groups = padded / format.group;
  std::vector<uint8_t> codes(layout.pieces(int64_t(row.size())) * layout.pieceCols(),
                             uint8_t(format.zeroCode()));
  std::vector<float> scales(groups), minima(layout.minima ? groups : 0);
  quantiseRow(format, row, std::span(codes).first(padded), scales, minima);
  for (int64_t k = 0; k < int64_t(codes.size()); ++k) {
    // quantiseRow's int8 codes are unsigned, those of mma16 signed.
    const int code = format.kind == Kind::I8 ? codes[k] - format.zeroCode() : codes[k];
    putCode(layout, out.subspan(k / layout.pieceCols() * layout.pieceBytes()),
            layout.code(lane, int(k % layout.pieceCols())), code);
  }
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t at = g / layout.groupsPerPiece() * layout.pieceBytes() +
                       layout.scale(lane, int(g % layout.groupsPerPiece()));
    put(out, at, toHalf(scales[g]));
    if (layout.minima)
      put(out, at + 4, toHalf(minima[g]));
  }
}

void packMmaBlock(const NumberFormat &format, const float *rows, int64_t numRows, int64_t cols,
                  std::span<uint8_t> out) {
  const WeightLayout layout{format};
  std::ranges::fill(out, uint8_t(0));
  for (int lane = 0; lane < numRows; ++lane) {
    std::span<const float> row(rows + lane * cols, size_t(cols));
    if (layout.quantised()) {
      packQuantisedRow(format, row, lane, out);
      continue;
    }
    for (int64_t k = 0; k < cols; ++k) {
      const int64_t at = k / layout.pieceCols() * layout.pieceBytes() +
                         layout.code(lane, int(k % layout.pieceCols())).byte;
      if (format.kind == Kind::F32)
        put(out, at, row[k]);
      else if (format.kind == Kind::F16)
        put(out, at, toFiniteHalf(row[k]));
      else
        put(out, at, toBFloat16(row[k]));
    }
  }
}

float storedValue(const WeightLayout &layout, std::span<const uint8_t> piece, int row, int col) {
  const CodePlace place = layout.code(row, col);
  if (layout.kind == Kind::F32)
    return get<float>(piece, place.byte);
  if (layout.kind == Kind::BF16)
    return fromBFloat16(get<uint16_t>(piece, place.byte));
  if (layout.kind == Kind::F16)
    return fromHalf(get<uint16_t>(piece, place.byte));
  const int at = layout.scale(row, col / layout.group);
  const float scale = fromHalf(get<uint16_t>(piece, at));
  if (layout.kind == Kind::I8)
    return scale * float(int8_t(piece[place.byte]));
  if (layout.kind == Kind::F8)
    return scale * (fromE4m3(piece[place.byte]) / 256);
  const int code = getCode(layout, piece, place);
  return layout.minima ? scale * float(code) + fromHalf(get<uint16_t>(piece, at + 4))
                       : scale * float(code - layout.zeroCode());
}

void unpackMmaBlock(const NumberFormat &format, std::span<const uint8_t> block, int64_t cols,
                    float *rows) {
  const WeightLayout layout{format};
  for (int row = 0; row < kBlockRows; ++row)
    for (int64_t k = 0; k < cols; ++k)
      rows[row * cols + k] =
          storedValue(layout, block.subspan(k / layout.pieceCols() * layout.pieceBytes()), row,
                      int(k % layout.pieceCols()));
}

} // namespace

int64_t blockBytes(const MatrixLayout &layout, const NumberFormat &format, int64_t cols) {
  return layout.blocks == MatrixLayout::Blocks::Mma16 ? mmaBlockBytes(format, cols)
                                                      : blockBytes(format, cols);
}

int64_t packedBytes(const MatrixLayout &layout, const NumberFormat &format, int64_t rows,
                    int64_t cols) {
  const int64_t parts = layout.gated ? 2 : 1, partRows = rows / parts;
  const int64_t blocks = parts * (partRows / kBlockRows + (partRows % kBlockRows != 0));
  int64_t bytes;
  if (rows < 0 || __builtin_mul_overflow(blocks, blockBytes(layout, format, cols), &bytes))
    fail(ExitCode::BadInput, "weight of " + std::to_string(rows) + " x " + std::to_string(cols) +
                                 " overflows: the checkpoint's shapes are wrong");
  return bytes;
}

void packBlock(const MatrixLayout &layout, const NumberFormat &format, const float *rows,
               int64_t numRows, int64_t cols, std::span<uint8_t> out) {
  if (layout.blocks == MatrixLayout::Blocks::Mma16)
    packMmaBlock(format, rows, numRows, cols, out);
  else
    packBlock(format, rows, numRows, cols, out);
}

void unpackBlock(const MatrixLayout &layout, const NumberFormat &format,
                 std::span<const uint8_t> block, int64_t cols, float *rows) {
  if (layout.blocks == MatrixLayout::Blocks::Mma16)
    unpackMmaBlock(format, block, cols, rows);
  else
    unpackBlock(format, block, cols, rows);
}

} // namespace retort::weight
