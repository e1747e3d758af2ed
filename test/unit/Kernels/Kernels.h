//===- Kernels.h - The kernels of both instruction sets, for the tests ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Weights/Pack.h"
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <vector>

// The header is read twice, once for each suffix; the namespaces keep its inline functions apart.
namespace retort::test::v3 {
#define RK_SUFFIX _v3
#include "kernels/cpu/kernels.h"
} // namespace retort::test::v3
#undef RETORT_KERNELS_CPU_KERNELS_H
#undef RK_SUFFIX
#undef RK
#undef RK_JOIN
#undef RK_JOIN2
namespace retort::test::v4 {
#define RK_SUFFIX _v4
#include "kernels/cpu/kernels.h"
} // namespace retort::test::v4

// clang-format off: it does not settle on one form of a list of macros
#define RETORT_KERNELS(X)                                                                          \
  X(rk_linear_f32)                                                                                 \
  X(rk_linear_bf16)                                                                                \
  X(rk_linear_f16) X(rk_linear_f8) X(rk_glu_linear_f16) X(rk_glu_linear_f8)                        \
  X(rk_embed_f16) X(rk_embed_f8)                                                                   \
  X(rk_linear_i8) X(rk_linear_i3s) X(rk_glu_linear_i3s) X(rk_embed_i3s)                            \
  X(rk_linear_i4s) X(rk_linear_i4a) X(rk_glu_linear_f32) X(rk_glu_linear_bf16) X(rk_glu_linear_i8) \
      X(rk_glu_linear_i4s) X(rk_glu_linear_i4a) X(rk_embed_f32) X(rk_embed_bf16) X(rk_embed_i8)    \
          X(rk_embed_i4s) X(rk_embed_i4a) X(rk_rms_norm) X(rk_rms_norm_groups)                     \
              X(rk_rms_norm_quantize) X(rk_layer_norm) X(rk_quantize) X(rk_copy) X(rk_add)                          \
                  X(rk_glu) X(rk_rope_table) X(rk_rope)              \
                      X(rk_cache_append_f32) X(rk_cache_append_f16) X(rk_cache_append_bf16)        \
                          X(rk_cache_append_f8e4m3) X(rk_attention_f32) X(rk_attention_f16)        \
                              X(rk_attention_bf16) X(rk_attention_f8e4m3)
// clang-format on

namespace retort::test {

/// The kernels of one instruction set.
struct Isa {
  const char *name;
#define X(kernel) decltype(&v3::kernel##_v3) kernel;
  RETORT_KERNELS(X)
#undef X
};

inline const Isa kIsaV3 = {"v3",
#define X(kernel) v3::kernel##_v3,
                           RETORT_KERNELS(X)
#undef X
};
inline const Isa kIsaV4 = {"v4",
#define X(kernel) v4::kernel##_v4,
                           RETORT_KERNELS(X)
#undef X
};

inline bool machineHas(const Isa &isa) {
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (&isa == &kIsaV3)
    return v3;
  return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}

/// Tests run once for each instruction set; the one that this machine lacks is skipped.
class KernelTest : public testing::TestWithParam<const Isa *> {
protected:
  void SetUp() override {
    if (!machineHas(*GetParam()))
      GTEST_SKIP() << "this machine has no x86-64-" << GetParam()->name;
  }
  const Isa &isa() const { return *GetParam(); }
  std::mt19937 random{20240917};

  int64_t integer(int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  }
  std::vector<float> floats(int64_t count, float deviation = 1) {
    std::normal_distribution<float> normal(0, deviation);
    std::vector<float> values(count);
    for (float &v : values)
      v = normal(random);
    return values;
  }
};

#define RETORT_BOTH_ISAS(suite)                                                                    \
  INSTANTIATE_TEST_SUITE_P(Isa, suite, testing::Values(&kIsaV3, &kIsaV4),                          \
                           [](const auto &info) { return info.param->name; })

/// 64-byte aligned bytes of exactly the size asked for, so that ASan sees every overrun.
class Bytes {
public:
  explicit Bytes(int64_t size)
      : size_(size),
        data_(static_cast<uint8_t *>(std::aligned_alloc(64, (size + 63) / 64 * 64)), &std::free) {
    std::fill_n(data_.get(), size, uint8_t(0xee));
  }
  uint8_t *data() const { return data_.get(); }
  std::span<uint8_t> span() const { return {data(), size_t(size_)}; }
  template <typename T> T at(int64_t byte) const {
    T value;
    memcpy(&value, data() + byte, sizeof value);
    return value;
  }

private:
  int64_t size_;
  std::unique_ptr<uint8_t, decltype(&std::free)> data_;
};

/// Packs rows [rows][cols]; `values` becomes what the packed bytes stand for.
inline Bytes packMatrix(const NumberFormat &format, std::vector<float> &values, int64_t rows,
                        int64_t cols) {
  Bytes packed(weight::packedBytes(format, rows, cols));
  int64_t block = weight::blockBytes(format, cols);
  for (int64_t r = 0; r < rows; r += weight::kBlockRows)
    weight::packBlock(format, values.data() + r * cols, std::min<int64_t>(16, rows - r), cols,
                      packed.span().subspan(r / 16 * block, block));
  for (int64_t r = 0; r < rows; ++r)
    weight::quantiseDequantise(format, {values.data() + r * cols, size_t(cols)});
  return packed;
}

/// Quantises `rows` rows with the kernel; `x` becomes what the codes stand for.
inline Bytes quantiseRows(const Isa &isa, std::vector<float> &x, int64_t rows, int64_t cols,
                          int64_t group) {
  int64_t rowBytes = v3::rk_quant_row_bytes(cols, group), kp = (cols + group - 1) / group * group;
  Bytes quantised(rows * rowBytes);
  for (int64_t r = 0; r < rows; ++r) {
    uint8_t *row = quantised.data() + r * rowBytes;
    isa.rk_quantize(x.data() + r * cols, cols, group, row);
    for (int64_t k = 0; k < cols; ++k)
      x[r * cols + k] =
          float(int8_t(row[k])) * quantised.at<float>(r * rowBytes + kp + k / group * 4);
  }
  return quantised;
}

} // namespace retort::test
