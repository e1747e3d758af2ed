//===- NumberFormat.h - How numbers are stored: weights, caches, layouts ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The one definition of Retort's number formats, for dialects, passes, packing, the executor and
// kernels. Plain C++20, included by device code too. Names are in runtime/base/Names.h; what codes
// and scales mean is in docs/formats.md, where they lie in kernels/cpu/kernels.h ("rows16") and
// kernels/cuda/layout.h ("mma16").
//
//===----------------------------------------------------------------------------------===//
#pragma once
#include <stdint.h>

#ifndef RETORT_HOST_DEVICE
#if defined(__CUDACC__)
#define RETORT_HOST_DEVICE __host__ __device__
#else
#define RETORT_HOST_DEVICE
#endif
#endif

namespace retort {

/// How the numbers of a matrix are stored: as floats, or as codes of a few bits, of which `group`
/// neighbouring columns of a row share an f16 scale, and with `minima` an f16 minimum too.
struct NumberFormat {
  enum class Kind : uint8_t { F32, F16, BF16, I8, F8, I4, I3 };
  static constexpr int kKinds = 7;

  Kind kind = Kind::F32;
  int group = 0; ///< 0: not quantised
  bool minima = false;

  /// What is true of a kind, whatever the group. For each there are the CPU kernels of
  /// kernels/cpu/linear_*.c and a class of kernels/cuda/weights*.cuh.
  struct Traits {
    const char *name;          ///< what names of formats begin with: "i4"
    int bits;                  ///< of a number or code
    bool integers;             ///< codes are integers, multiplied by quantised activations
    int leastGroup, mostGroup; ///< groups that kernels have, powers of two; 0: not quantised
    bool minima;               ///< kernels have it with minima as well
    const char *words;         ///< for people: "int4"
  };
  RETORT_HOST_DEVICE static constexpr Traits traitsOf(Kind kind) {
    switch (kind) {
    case Kind::F32:
      return {"f32", 32, false, 0, 0, false, "f32"};
    case Kind::F16:
      return {"f16", 16, false, 0, 0, false, "f16"};
    case Kind::BF16:
      return {"bf16", 16, false, 0, 0, false, "bf16"};
    case Kind::I8:
      return {"i8", 8, true, 32, 128, false, "int8"};
    case Kind::F8:
      return {"f8", 8, false, 32, 128, false, "fp8"};
    case Kind::I4:
      return {"i4", 4, true, 32, 128, true, "int4"};
    case Kind::I3:
      return {"i3", 3, true, 64, 64, false, "int3"};
    }
    return {};
  }
  RETORT_HOST_DEVICE constexpr Traits traits() const { return traitsOf(kind); }
  RETORT_HOST_DEVICE constexpr bool quantised() const { return group != 0; }
  RETORT_HOST_DEVICE constexpr bool integers() const { return traits().integers; }
  /// Of a number or code, without its share of the scales.
  RETORT_HOST_DEVICE constexpr int bits() const { return traits().bits; }
  /// The code of integers without minima that stands for zero.
  RETORT_HOST_DEVICE constexpr int zeroCode() const {
    return integers() && !minima ? 1 << (bits() - 1) : 0;
  }
  /// Bytes of the scale of a row's group, and its minimum.
  RETORT_HOST_DEVICE constexpr int scaleBytes() const { return !quantised() ? 0 : minima ? 4 : 2; }
  /// Of a weight with its share of the scales, where columns fill whole groups: 4.5 for i4g32s.
  RETORT_HOST_DEVICE constexpr double bitsPerWeight() const {
    return bits() + (quantised() ? 8.0 * scaleBytes() / group : 0);
  }
  /// Whether kernels have it: what does not pass is no format anywhere.
  RETORT_HOST_DEVICE constexpr bool isKnown() const {
    const Traits t = traits();
    return group >= t.leastGroup && group <= t.mostGroup && (group & (group - 1)) == 0 &&
           (!minima || t.minima);
  }

  bool operator==(const NumberFormat &) const = default;
};

/// How attention keeps keys and values. F8E4M3 has no scale and saturates at 448.
enum class CacheFormat : uint8_t { F16, BF16, F8E4M3, F32 };

/// How a matrix lies in memory: blocks of 16 rows, "rows16" for CPUs and "mma16" for CUDA. Gated,
/// blocks of gate and up alternate.
struct MatrixLayout {
  enum class Blocks : uint8_t { Rows16, Mma16 };
  Blocks blocks = Blocks::Rows16;
  bool gated = false;
  bool operator==(const MatrixLayout &) const = default;
};

} // namespace retort
