//===- Dequantize.cpp - ggml's block formats as float32 -------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// One function a format: a block's bytes to its numbers. Each keeps the order of float operations
// of the `gguf` package (gguf/quants.py), so that results agree bit for bit.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/DType.h"
#include "runtime/base/SmallFloat.h"
#include <cmath>
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

constexpr int8_t kNonLinear[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};

void iq4_nl(const uint8_t *in, float *out) {
  const float d = half(in);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * float(kNonLinear[in[2 + j] & 15]);
    out[16 + j] = d * float(kNonLinear[in[2 + j] >> 4]);
  }
}

/// Eight runs of 32, each with a scale of six bits: two high ones of a word, four low ones of bytes.
void iq4_xs(const uint8_t *in, float *out) {
  const float d = half(in);
  const int high = load16(in + 2);
  for (int run = 0; run < 8; ++run, out += 32) {
    const int low = in[4 + run / 2] >> (run % 2 * 4) & 15;
    const float dl = d * float((low | (high >> (2 * run) & 3) << 4) - 32);
    const uint8_t *codes = in + 8 + run * 16;
    for (int j = 0; j < 16; ++j) {
      out[j] = dl * float(kNonLinear[codes[j] & 15]);
      out[16 + j] = dl * float(kNonLinear[codes[j] >> 4]);
    }
  }
}

/// Five ternary digits a byte, as the byte's fraction in base 3: the first `digits` digits of `count`
/// bytes, first those of all bytes.
float *ternary(const uint8_t *in, int count, int digits, float d, float *out) {
  uint8_t power = 1;
  for (int digit = 0; digit < digits; ++digit, power = uint8_t(power * 3))
    for (int j = 0; j < count; ++j)
      *out++ = d * float((uint8_t(in[j] * power) * 3 >> 8) - 1);
  return out;
}

void tq1_0(const uint8_t *in, float *out) {
  const float d = half(in + 52);
  out = ternary(in, 32, 5, d, out);
  out = ternary(in + 32, 16, 5, d, out);
  ternary(in + 48, 4, 4, d, out);
}

void tq2_0(const uint8_t *in, float *out) {
  const float d = half(in + 64);
  for (int part = 0; part < 2; ++part)
    for (int shift = 0; shift < 8; shift += 2)
      for (int j = 0; j < 32; ++j)
        *out++ = d * float((in[part * 32 + j] >> shift & 3) - 1);
}

/// Twice the numbers of E2M1; scales are halved for it.
constexpr int8_t kE2m1[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

void mxfp4(const uint8_t *in, float *out) {
  const uint32_t bits = in[0] < 2 ? 0x00200000u << in[0] : uint32_t(in[0] - 1) << 23;
  float d;
  std::memcpy(&d, &bits, sizeof d);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * float(kE2m1[in[1 + j] & 15]);
    out[16 + j] = d * float(kE2m1[in[1 + j] >> 4]);
  }
}

/// Four runs of 16, their scales E4M3 without a sign.
void nvfp4(const uint8_t *in, float *out) {
  for (int run = 0; run < 4; ++run, out += 16) {
    const uint8_t code = in[run];
    const int exponent = code >> 3 & 15;
    const float mantissa = float(code & 7);
    const float scale =
        exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(1 + mantissa / 8, exponent - 7);
    const float d = code == 0 || code == 0x7f ? 0.0f : scale * 0.5f;
    for (int j = 0; j < 8; ++j) {
      out[j] = d * float(kE2m1[in[4 + run * 8 + j] & 15]);
      out[8 + j] = d * float(kE2m1[in[4 + run * 8 + j] >> 4]);
    }
  }
}

using BlockFunction = void (*)(const uint8_t *in, float *out);
constexpr BlockFunction kBlocks[] = {q4_0, q4_1, q5_0,   q5_1,   q8_0,  q2_k,  q3_k,  q4_k,
                                     q5_k, q6_k, iq4_nl, iq4_xs, tq1_0, tq2_0, mxfp4, nvfp4};

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
  case DType::F64:
    for (uint64_t i = 0; i < count; ++i) {
      double number;
      std::memcpy(&number, in + 8 * i, sizeof number);
      out[i] = float(number);
    }
    return;
  case DType::F8_E4M3:
    for (uint64_t i = 0; i < count; ++i)
      out[i] = fromE4m3(in[i]);
    return;
  case DType::F8_E8M0: // a power of two, or NaN
    for (uint64_t i = 0; i < count; ++i)
      out[i] = in[i] == 255 ? NAN : std::ldexp(1.0f, in[i] - 127);
    return;
  default:
    break;
  }
  const BlockFunction block = kBlocks[static_cast<int>(type) - static_cast<int>(DType::Q4_0)];
  for (uint64_t i = 0; i < count; i += blockElements(type), in += blockBytes(type))
    block(in, out + i);
}

} // namespace retort
