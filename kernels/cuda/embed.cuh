// What a step begins with: rows of the embedding table, angles of the rotary embedding.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cuda/cta.cuh"
#include "kernels/cuda/weights_float.cuh"
namespace retort::cuda {

/// Element `col` of row `row` of a packed block, exactly.
template <class W> RETORT_DEVICE float weightAt(const uint8_t *block, int row, int col) {
  constexpr WeightLayout layout = W::kLayout;
  const uint8_t *piece = block + col / layout.pieceCols() * layout.pieceBytes();
  const int k = col % layout.pieceCols();
  const CodePlace place = layout.code(row, k);
  const uint32_t loaded = ldGlobalNc32(piece + place.byte / 4 * 4);
  const uint32_t bits = loaded >> (place.byte % 4 * 8 + place.shift);
  if constexpr (layout.kind == NumberFormat::Kind::F32) {
    return asFloat(loaded);
  } else if constexpr (layout.kind == NumberFormat::Kind::BF16) {
    return asFloat(bits << 16);
  } else if constexpr (layout.kind == NumberFormat::Kind::F16) {
    return halfBitsToFloat(uint16_t(bits));
  } else {
    const int at = layout.scale(row, k / layout.group);
    const uint32_t scales = ldGlobalNc32(piece + at / 4 * 4);
    const float d = halfBitsToFloat(uint16_t(scales >> (at % 4 * 8)));
    if constexpr (layout.kind == NumberFormat::Kind::I8)
      return d * float(int8_t(bits & 255));
    if constexpr (layout.kind == NumberFormat::Kind::F8)
      return d * unpackHalf2(e4m3ToSmallHalf2<0>(bits & 255)).x;
    if constexpr (layout.kind == NumberFormat::Kind::I3) {
      if (place.lowByte < 0)
        return d * float(int(bits & 7) - layout.zeroCode());
      const uint32_t low =
          ldGlobalNc32(piece + place.lowByte / 4 * 4) >> (place.lowByte % 4 * 8 + place.lowShift);
      return d * float(int((bits & 3) << 1 | (low & 1)) - layout.zeroCode());
    }
    if constexpr (!layout.minima)
      return d * float(int(bits & 15) - layout.zeroCode());
    const uint32_t minima = ldGlobalNc32(piece + at / 4 * 4 + 4);
    return fmaF32(d, float(bits & 15), halfBitsToFloat(uint16_t(minima >> (at % 4 * 8))));
  }
}

/// dest[r] = scale * table[tokens[r]].
///   table mma16 [vocab][hidden]    dest [rows][hidden] f32
/// A CTA a row. Traffic: the row's sectors, 2 of 18 of a block of int4, group 32.
template <EmbedShape P>
RETORT_PHASE void embed(Cta &cta, const int32_t *tokens, const uint8_t *table, float *dest) {
  constexpr float kScale = P.scale;
  for (int r = int(ctaIndex()); r < cta.step.num_rows; r += int(ctaCount())) {
    if (threadIndex() == 0)
      countTile();
    const int token = tokens[r];
    const uint8_t *block = table + token / 16 * P.weights.blockBytes(P.hidden);
    for (int k = int(threadIndex()); k < P.hidden; k += kThreads)
      dest[int64_t(r) * P.hidden + k] =
          kScale * weightAt<WeightsOf<P.weights>>(block, token % 16, k);
  }
}

/// dest[r][i] = s * cos(a), dest[r][half + i] = s * sin(a), with a = positions[r] * invFreq[i] in
/// f32 (RoFormer, arXiv:2104.09864), and s = scale, times steps[positions[r] / every] if there are
/// steps.
///   invFreq [half], steps f32, constant memory    dest [rows][2 half] f32
/// Tiles: 1 element a thread over the grid.
template <AnglesShape P>
RETORT_PHASE void angles(Cta &cta, const int32_t *positions, const float *invFreq,
                         const float *steps, float *dest) {
  const int count = cta.step.num_rows * P.half;
  for (int i = int(ctaIndex()) * kThreads + int(threadIndex()); i < count;
       i += int(ctaCount()) * kThreads) {
    if (threadIndex() == 0)
      countTile();
    const int r = i / P.half, k = i % P.half;
    float sine, cosine, scale = P.scale;
    if constexpr (P.every != 0)
      scale *= steps[positions[r] / P.every];
    sinCos(float(positions[r]) * invFreq[k], sine, cosine);
    dest[r * 2 * P.half + k] = scale * cosine;
    dest[r * 2 * P.half + P.half + k] = scale * sine;
  }
}

} // namespace retort::cuda
