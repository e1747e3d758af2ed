//===- Dequantize.cpp - ggml's block formats as float32 -------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// One function a format: a block's bytes to its numbers. Each keeps the order of float operations
// of the `gguf` package (gguf/quants.py), so that results agree bit for bit.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/DType.h"
#include "runtime/base/SmallFloat.h"
#include <cstring>

#pragma STDC FP_CONTRACT OFF

namespace retort {
namespace {

uint16_t load16(const uint8_t *in) {
  uint16_t bits;
  std::memcpy(&bits, in, sizeof bits);
  return bits;
}
float half(const uint8_t *in) { return fromHalf(load16(in)); }
uint32_t load32(const uint8_t *in) {
  uint32_t bits;
  std::memcpy(&bits, in, sizeof bits);
  return bits;
}

/// d, 16 bytes: element j in the low nibble of byte j, element 16 + j in the high one.
void q4_0(const uint8_t *in, float *out) {
  const float d = half(in);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * float(int(in[2 + j] & 15) - 8);
    out[16 + j] = d * float(int(in[2 + j] >> 4) - 8);
  }
}

void q4_1(const uint8_t *in, float *out) {
  const float d = half(in), m = half(in + 2);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * float(in[4 + j] & 15) + m;
    out[16 + j] = d * float(in[4 + j] >> 4) + m;
  }
}

/// The fifth bits of the 32 elements are a little-endian word before the nibbles.
void q5_0(const uint8_t *in, float *out) {
  const float d = half(in);
  const uint32_t high = load32(in + 2);
  for (int j = 0; j < 16; ++j) {
    const int low = (in[6 + j] & 15) | int(high >> j & 1) << 4;
    const int next = in[6 + j] >> 4 | int(high >> (16 + j) & 1) << 4;
    out[j] = d * float(low - 16);
    out[16 + j] = d * float(next - 16);
  }
}

void q5_1(const uint8_t *in, float *out) {
  const float d = half(in), m = half(in + 2);
  const uint32_t high = load32(in + 4);
  for (int j = 0; j < 16; ++j) {
    const int low = (in[8 + j] & 15) | int(high >> j & 1) << 4;
    const int next = in[8 + j] >> 4 | int(high >> (16 + j) & 1) << 4;
    out[j] = d * float(low) + m;
    out[16 + j] = d * float(next) + m;
  }
}

void q8_0(const uint8_t *in, float *out) {
  const float d = half(in);
  for (int j = 0; j < 32; ++j)
    out[j] = float(int8_t(in[2 + j])) * d;
}

/// 16 bytes of 4-bit scales and minima, 64 bytes of 2-bit numbers, d, dmin. Of each 32 bytes of
/// numbers, bits 2s and 2s + 1 are elements 32s .. 32s + 31 of 128.
void q2_k(const uint8_t *in, float *out) {
  const uint8_t *scales = in, *qs = in + 16;
  const float d = half(in + 80), dmin = half(in + 82);
  for (int run = 0; run < 16; ++run) { // 16 elements each
    const float dl = d * float(scales[run] & 15), ml = dmin * float(scales[run] >> 4);
    const uint8_t *bytes = qs + run / 8 * 32 + run % 2 * 16;
    const int shift = run % 8 / 2 * 2;
    for (int j = 0; j < 16; ++j)
      out[run * 16 + j] = dl * float(bytes[j] >> shift & 3) - ml;
  }
}

/// 32 bytes of high bits, 64 bytes of low pairs, 12 bytes of 6-bit scales, d.
void q3_k(const uint8_t *in, float *out) {
  const uint8_t *high = in, *qs = in + 32, *packed = in + 96;
  const float d = half(in + 108);
  for (int run = 0; run < 16; ++run) {
    const int low = run < 8 ? packed[run] & 15 : packed[run - 8] >> 4;
    const int scale = (low | (packed[8 + run % 4] >> (run / 4 * 2) & 3) << 4) - 32;
    const float dl = d * float(scale);
    const uint8_t *bytes = qs + run / 8 * 32 + run % 2 * 16;
    const uint8_t *bits = high + run % 2 * 16;
    const int shift = run % 8 / 2 * 2, bit = run / 2;
    for (int j = 0; j < 16; ++j) {
      const int q = (bytes[j] >> shift & 3) - ((bits[j] >> bit & 1) ? 0 : 4);
      out[run * 16 + j] = dl * float(q);
    }
  }
}

/// Scale and minimum `j` of 8, 6 bits each, in the 12 bytes of Q4_K and Q5_K.
void scaleAndMinimum(const uint8_t *packed, int j, int &scale, int &minimum) {
  if (j < 4) {
    scale = packed[j] & 63;
    minimum = packed[4 + j] & 63;
    return;
  }
  scale = (packed[4 + j] & 15) | (packed[j - 4] >> 2 & 48);
  minimum = packed[4 + j] >> 4 | (packed[j] >> 2 & 48);
}

void q4_k(const uint8_t *in, float *out) {
  const float d = half(in), dmin = half(in + 2);
  for (int run = 0; run < 8; ++run) { // 32 elements each
    int scale, minimum;
    scaleAndMinimum(in + 4, run, scale, minimum);
    const float dl = d * float(scale), ml = dmin * float(minimum);
    const uint8_t *bytes = in + 16 + run / 2 * 32;
    const int shift = run % 2 * 4;
    for (int j = 0; j < 32; ++j)
      out[run * 32 + j] = dl * float(bytes[j] >> shift & 15) - ml;
  }
}

void q5_k(const uint8_t *in, float *out) {
  const float d = half(in), dmin = half(in + 2);
  const uint8_t *high = in + 16;
  for (int run = 0; run < 8; ++run) {
    int scale, minimum;
    scaleAndMinimum(in + 4, run, scale, minimum);
    const float dl = d * float(scale), ml = dmin * float(minimum);
    const uint8_t *bytes = in + 48 + run / 2 * 32;
    const int shift = run % 2 * 4;
    for (int j = 0; j < 32; ++j)
      out[run * 32 + j] = dl * float((bytes[j] >> shift & 15) | (high[j] >> run & 1) << 4) - ml;
  }
}

/// 128 bytes of low nibbles, 64 bytes of high pairs, 16 int8 scales, d.
void q6_k(const uint8_t *in, float *out) {
  const uint8_t *low = in, *high = in + 128, *scales = in + 192;
  const float d = half(in + 208);
  for (int run = 0; run < 16; ++run) {
    const float dl = d * float(int8_t(scales[run]));
    const int half128 = run / 8, within = run % 8; // of 128 elements, 16 each
    const uint8_t *bytes = low + half128 * 64 + within % 4 * 16;
    const uint8_t *pairs = high + half128 * 32 + within % 2 * 16;
    const int nibble = within / 4 * 4, shift = within / 2 * 2;
    for (int j = 0; j < 16; ++j) {
      const int q = ((bytes[j] >> nibble & 15) | (pairs[j] >> shift & 3) << 4) - 32;
      out[run * 16 + j] = dl * float(q);
    }
  }
}

using BlockFunction = void (*)(const uint8_t *in, float *out);
constexpr BlockFunction kBlocks[] = {q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k};

} // namespace

void dequantize(DType type, const uint8_t *in, uint64_t count, float *out) {
  switch (type) {
  case DType::F32:
    std::memcpy(out, in, count * sizeof(float));
    return;
  case DType::F16:
    for (uint64_t i = 0; i < count; ++i)
      out[i] = half(in + 2 * i);
    return;
  case DType::BF16:
    for (uint64_t i = 0; i < count; ++i)
      out[i] = fromBFloat16(load16(in + 2 * i));
    return;
  default:
    break;
  }
  const BlockFunction block = kBlocks[static_cast<int>(type) - static_cast<int>(DType::Q4_0)];
  for (uint64_t i = 0; i < count; i += blockElements(type), in += blockBytes(type))
    block(in, out + i);
}

} // namespace retort
