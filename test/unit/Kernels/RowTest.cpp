//===- RowTest.cpp - Norms, quantisation, elementwise maps and rotary embedding -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "Kernels.h"
#include <cmath>

using namespace retort::test;

namespace {

class RowTest : public KernelTest {};

/// Units in the last place between a float and the exact value.
double ulps(float value, double exact) {
  float rounded = float(exact);
  double step =
      std::max(double(std::nextafter(std::fabs(rounded), INFINITY)) - std::fabs(rounded), 0x1p-149);
  return std::fabs(double(value) - exact) / step;
}

TEST_P(RowTest, NormMatchesDoublePrecision) {
  for (int64_t n : {1, 5, 16, 31, 64, 100, 576, 1000})
    for (float offset : {0.0f, 1.0f}) {
      std::vector<float> x = floats(n, 3), gain = floats(n), residual = floats(n), y(n), sum(n);
      isa().rk_rms_norm(x.data(), gain.data(), offset, n, 1e-5f, nullptr, y.data());
      isa().rk_rms_norm(x.data(), gain.data(), offset, n, 1e-5f, residual.data(), sum.data());
      double squares = 0;
      for (float v : x)
        squares += double(v) * v;
      double inverse = 1 / std::sqrt(squares / double(n) + 1e-5f);
      for (int64_t i = 0; i < n; ++i) {
        double exact = x[i] * inverse * (double(gain[i]) + offset);
        ASSERT_NEAR(y[i], exact, 1e-6 * std::fabs(exact) + 1e-7) << n << " " << i;
        ASSERT_EQ(sum[i], y[i] + residual[i]);
      }
      isa().rk_rms_norm(x.data(), gain.data(), offset, n, 1e-5f, nullptr, x.data());
      EXPECT_EQ(x, y) << "in place";
    }
}

TEST_P(RowTest, NormOfGroupsIsANormOfEach) {
  const int64_t heads = 5, dim = 48;
  std::vector<float> x = floats(heads * dim), gain = floats(dim), y(heads * dim), each(heads * dim);
  isa().rk_rms_norm_groups(x.data(), gain.data(), 1, heads, dim, 1e-6f, y.data());
  for (int64_t h = 0; h < heads; ++h)
    isa().rk_rms_norm(&x[h * dim], gain.data(), 1, dim, 1e-6f, nullptr, &each[h * dim]);
  EXPECT_EQ(y, each);
}

TEST_P(RowTest, LayerNormMatchesDoublePrecision) {
  for (int64_t n : {1, 5, 16, 31, 64, 100, 576, 1000}) {
    std::vector<float> x = floats(n, 3), gain = floats(n), bias = floats(n), y(n);
    for (float &v : x)
      v += 10; // a mean that is far from zero
    isa().rk_layer_norm(x.data(), gain.data(), bias.data(), n, 1e-5f, y.data());
    double mean = 0, variance = 0;
    for (float v : x)
      mean += v / double(n);
    for (float v : x)
      variance += (v - mean) * (v - mean) / double(n);
    for (int64_t i = 0; i < n; ++i)
      ASSERT_NEAR(y[i], gain[i] * (x[i] - mean) / std::sqrt(variance + 1e-5f) + bias[i], 3e-6)
          << n << " " << i;
    isa().rk_layer_norm(x.data(), gain.data(), bias.data(), n, 1e-5f, x.data());
    EXPECT_EQ(x, y) << "in place";
  }
}

TEST_P(RowTest, QuantisedRowsAreNearestAndSumsExact) {
  for (int64_t group : {32, 64, 128})
    for (int64_t n : {1, 32, 33, 100, 128, 576, 700}) {
      std::vector<float> x = floats(n);
      for (int64_t i = 0; i < std::min<int64_t>(n, 32); ++i)
        if (n > 64)
          x[i] = 0; // a group of zeros, where the group is 32
      int64_t kp = (n + group - 1) / group * group, groups = kp / group;
      Bytes row(v3::rk_quant_row_bytes(n, group));
      isa().rk_quantize(x.data(), n, group, row.data());
      for (int64_t g = 0; g < groups; ++g) {
        float most = 0, scale = row.at<float>(kp + 4 * g);
        int32_t sum = 0;
        for (int64_t i = g * group; i < (g + 1) * group; ++i) {
          float value = i < n ? x[i] : 0;
          most = std::max(most, std::fabs(value));
          int code = row.at<int8_t>(i);
          sum += code;
          ASSERT_LE(std::fabs(value - scale * float(code)), scale * 0.50001f) << n << " " << i;
        }
        EXPECT_FLOAT_EQ(scale, most / 127);
        EXPECT_EQ(row.at<int32_t>(kp + 4 * groups + 4 * g), -sum);
      }
    }
}

TEST_P(RowTest, QuantisingWithTheNormGivesTheSameBytes) {
  for (int64_t group : {32, 64, 128})
    for (int64_t n : {128, 384, 400}) {
      std::vector<float> x = floats(n), gain = floats(n), normed(n);
      int64_t bytes = v3::rk_quant_row_bytes(n, group);
      int64_t used = (n + group - 1) / group * (group + 8);
      Bytes whole(bytes), fused(bytes);
      isa().rk_rms_norm(x.data(), gain.data(), 0, n, 1e-5f, nullptr, normed.data());
      isa().rk_quantize(normed.data(), n, group, whole.data());
      isa().rk_rms_norm_quantize(x.data(), gain.data(), 0, n, 1e-5f, group, fused.data());
      EXPECT_EQ(memcmp(whole.data(), fused.data(), used), 0) << group << " " << n;
    }
}

TEST_P(RowTest, ActivationsMatchDoublePrecision) {
  std::vector<float> x;
  for (float v = -30; v < 30; v += 0.01f)
    x.push_back(v);
  for (float v : {0.0f, -0.0f, 1e-30f, -1e-30f, 100.0f, -100.0f, 1e30f, -1e30f})
    x.push_back(v);
  const int64_t n = static_cast<int64_t>(x.size());
  std::vector<float> y(x.size()), ones(x.size(), 1.0f);
  for (int64_t act : {RK_ACT_SILU, RK_ACT_GELU_TANH, RK_ACT_GELU, RK_ACT_SIGMOID}) {
    isa().rk_glu(x.data(), ones.data(), n, act, y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      double v = x[i],
             exact =
                 act == RK_ACT_SILU ? v / (1 + std::exp(-v))
                 : act == RK_ACT_GELU_TANH
                     ? 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)))
                 : act == RK_ACT_SIGMOID ? 1 / (1 + std::exp(-v))
                                         : 0.5 * v * std::erfc(-v / std::sqrt(2.0));
      // Where 1 + tanh cancels, the error is relative to x.
      const double size = act == RK_ACT_SIGMOID ? exact : std::fabs(v);
      ASSERT_NEAR(y[i], exact, 3e-7 * size + 1e-30) << "act " << act << " x " << x[i];
    }
  }
  Bytes column = packMatrix({}, x, n, 1);
  for (float cap : {1.0f, 30.0f, 50.0f}) {
    isa().rk_linear_f32(ones.data(), 1, 1, column.data(), 1, n, 0, n, nullptr, cap, nullptr,
                        y.data());
    for (size_t i = 0; i < x.size(); ++i)
      ASSERT_LE(ulps(y[i], cap * std::tanh(double(x[i]) / cap)), 4) << x[i] << " cap " << cap;
  }
}

TEST_P(RowTest, ElementwiseMapsTakeAnyLengthAndWorkInPlace) {
  for (int64_t n : {1, 15, 16, 17, 64, 100}) {
    std::vector<float> a = floats(n), b = floats(n), y(n), ones(n, 1.0f), glu(n), act(n);
    isa().rk_add(a.data(), b.data(), n, y.data());
    isa().rk_glu(a.data(), b.data(), n, RK_ACT_SILU, glu.data());
    isa().rk_glu(a.data(), ones.data(), n, RK_ACT_SILU, act.data());
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(y[i], a[i] + b[i]);
      ASSERT_EQ(glu[i], act[i] * b[i]);
    }
    isa().rk_copy(b.data(), n, y.data());
    EXPECT_EQ(y, b);
    isa().rk_glu(a.data(), b.data(), n, RK_ACT_SILU, a.data());
    EXPECT_EQ(a, glu);
  }
}

TEST_P(RowTest, RopeAnglesAreAccurateUpTo1e5Radians) {
  const int64_t half = 37;
  std::vector<float> inverse(half);
  for (int64_t i = 0; i < half; ++i)
    inverse[i] = float(std::pow(1e4, -double(i) / half));
  std::vector<int32_t> positions = {0, 1, 2, 100, 8191, 65535, 99999};
  for (int i = 0; i < 200; ++i)
    positions.push_back(int32_t(integer(0, 100000)));
  std::vector<float> table(positions.size() * 2 * half);
  isa().rk_rope_table(positions.data(), int64_t(positions.size()), inverse.data(), half, 1, nullptr,
                      1, table.data());
  for (size_t r = 0; r < positions.size(); ++r)
    for (int64_t i = 0; i < half; ++i) {
      float angle = float(positions[r]) * inverse[i];
      ASSERT_LE(ulps(table[r * 2 * half + i], std::cos(double(angle))), 0.51) << angle;
      ASSERT_LE(ulps(table[r * 2 * half + half + i], std::sin(double(angle))), 0.51) << angle;
    }
  std::vector<float> scaled(2 * half);
  isa().rk_rope_table(positions.data() + 3, 1, inverse.data(), half, 1.25f, nullptr, 1,
                      scaled.data());
  EXPECT_EQ(scaled[1], 1.25f * table[3 * 2 * half + 1]);
  const float steps[] = {1, 1.5f, 3, 0.25f}; // of 30 positions: position 100 is in the last
  isa().rk_rope_table(positions.data() + 3, 1, inverse.data(), half, 1.25f, steps, 30,
                      scaled.data());
  EXPECT_EQ(scaled[1], 1.25f * 0.25f * table[3 * 2 * half + 1]);
  EXPECT_EQ(scaled[half + 1], 1.25f * 0.25f * table[3 * 2 * half + half + 1]);
}

TEST_P(RowTest, RopeRotatesHalfSplitPairs) {
  for (auto [dim, dims] : {std::pair<int64_t, int64_t>{64, 64}, {64, 32}, {20, 10}, {128, 128}}) {
    const int64_t heads = 3, half = dims / 2;
    std::vector<float> x = floats(heads * dim), before = x, table(dims), inverse(half, 0.37f);
    int32_t position = 5;
    isa().rk_rope_table(&position, 1, inverse.data(), half, 1, nullptr, 1, table.data());
    isa().rk_rope(x.data(), heads, dim, dims, table.data());
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < dim; ++i) {
        const float *a = &before[h * dim];
        double c = table[i % half], s = table[half + i % half], exact = a[i];
        if (i < half)
          exact = a[i] * c - a[i + half] * s;
        else if (i < dims)
          exact = a[i] * c + a[i - half] * s;
        ASSERT_NEAR(x[h * dim + i], exact, 5e-7) << dim << " " << dims << " " << i;
      }
  }
}

RETORT_BOTH_ISAS(RowTest);

} // namespace
