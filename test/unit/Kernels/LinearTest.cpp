//===- LinearTest.cpp - Linear and gated linear kernels, embedding -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "Kernels.h"
#include <cmath>

using namespace retort;
using namespace retort::test;
using Kind = NumberFormat::Kind;

namespace {

const std::vector<NumberFormat> &kFormats = all<NumberFormat>();

/// Whether activations are quantised too.
bool isInteger(const NumberFormat &format) { return format.integers(); }

struct Epilogue {
  const float *bias = nullptr;
  float softCap = 0;
  const float *residual = nullptr;
};

/// The activations of a test, as the kernels of a format take them, and the values they stand for.
struct Input {
  std::vector<float> values;
  Bytes quantised{0};
  int64_t rows, cols;
};

class LinearTest : public KernelTest {
protected:
  Input input(const NumberFormat &format, int64_t rows, int64_t cols) {
    Input x{floats(rows * cols), Bytes(0), rows, cols};
    if (isInteger(format))
      x.quantised = quantiseRows(isa(), x.values, rows, cols, format.group);
    return x;
  }

  /// Rows r0.. (`rows` of them), columns n0..n1, into y.
  void run(const NumberFormat &format, const Input &x, int64_t r0, int64_t rows, const Bytes &w,
           int64_t out, int64_t n0, int64_t n1, const Epilogue &e, float *y) {
    const float *xf = x.values.data() + r0 * x.cols;
    const uint8_t *xq = x.quantised.data();
    if (isInteger(format))
      xq += r0 * v3::rk_quant_row_bytes(x.cols, format.group);
    const float *residual = e.residual ? e.residual + r0 * out : nullptr;
    y += r0 * out;
    if (format.kind == Kind::F8)
      isa().rk_linear_f8(xf, x.cols, rows, w.data(), x.cols, format.group, out, n0, n1, e.bias,
                         e.softCap, residual, y);
    else if (!isInteger(format))
      (format.kind == Kind::F32   ? isa().rk_linear_f32
       : format.kind == Kind::F16 ? isa().rk_linear_f16
                                  : isa().rk_linear_bf16)(xf, x.cols, rows, w.data(), x.cols, out,
                                                          n0, n1, e.bias, e.softCap, residual, y);
    else
      (format.kind == Kind::I8   ? isa().rk_linear_i8
       : format.kind == Kind::I3 ? isa().rk_linear_i3s
       : !format.minima          ? isa().rk_linear_i4s
                        : isa().rk_linear_i4a)(xq, rows, w.data(), x.cols, format.group, out, n0,
                                               n1, e.bias, e.softCap, residual, y);
  }

  void runGated(const NumberFormat &format, const Input &x, int64_t rows, const Bytes &w,
                int64_t ffn, int64_t n0, int64_t n1, int64_t act, float *y) {
    const float *xf = x.values.data();
    if (format.kind == Kind::F8)
      isa().rk_glu_linear_f8(xf, x.cols, rows, w.data(), x.cols, format.group, ffn, n0, n1, act, y);
    else if (!isInteger(format))
      (format.kind == Kind::F32 ? isa().rk_glu_linear_f32
       : format.kind == Kind::F16
           ? isa().rk_glu_linear_f16
           : isa().rk_glu_linear_bf16)(xf, x.cols, rows, w.data(), x.cols, ffn, n0, n1, act, y);
    else
      (format.kind == Kind::I8   ? isa().rk_glu_linear_i8
       : format.kind == Kind::I3 ? isa().rk_glu_linear_i3s
       : !format.minima          ? isa().rk_glu_linear_i4s
                        : isa().rk_glu_linear_i4a)(x.quantised.data(), rows, w.data(), x.cols,
                                                   format.group, ffn, n0, n1, act, y);
  }
};

/// sum_k x[k] w[k] in double, and the sum of magnitudes that bounds the rounding error.
std::pair<double, double> dot(const float *x, const float *w, int64_t n) {
  double sum = 0, magnitude = 0;
  for (int64_t k = 0; k < n; ++k)
    sum += double(x[k]) * w[k], magnitude += std::fabs(double(x[k]) * w[k]);
  return {sum, magnitude};
}

TEST_P(LinearTest, MatchesDoublePrecision) {
  for (const NumberFormat &format : kFormats)
    for (auto [out, cols] : {std::pair<int64_t, int64_t>{1, 1},
                             {16, 32},
                             {17, 33},
                             {40, 128},
                             {100, 200},
                             {64, 576},
                             {33, 259}}) {
      int64_t rows = integer(1, 21);
      std::vector<float> w = floats(out * cols, 0.1f);
      Bytes packed = packMatrix(format, w, out, cols);
      Input x = input(format, rows, cols);
      std::vector<float> y(rows * out, NAN);
      run(format, x, 0, rows, packed, out, 0, out, {}, y.data());
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t n = 0; n < out; ++n) {
          auto [sum, magnitude] = dot(&x.values[r * cols], &w[n * cols], cols);
          ASSERT_NEAR(y[r * out + n], sum, 1e-5 * magnitude + 1e-7)
              << nameOf(format) << " " << out << "x" << cols << " rows " << rows << " at " << r
              << "," << n;
        }
    }
}

TEST_P(LinearTest, EpiloguesApplyInOrder) {
  const int64_t out = 45, cols = 96, rows = 6;
  for (const NumberFormat &format : kFormats) {
    std::vector<float> w = floats(out * cols, 0.1f), bias = floats(out),
                       residual = floats(rows * out);
    Bytes packed = packMatrix(format, w, out, cols);
    Input x = input(format, rows, cols);
    std::vector<float> plain(rows * out), all(rows * out), inPlace = residual;
    run(format, x, 0, rows, packed, out, 0, out, {}, plain.data());
    run(format, x, 0, rows, packed, out, 0, out, {bias.data(), 2.0f, residual.data()}, all.data());
    run(format, x, 0, rows, packed, out, 0, out, {bias.data(), 2.0f, inPlace.data()},
        inPlace.data());
    for (int64_t i = 0; i < rows * out; ++i) {
      double t = plain[i] + bias[i % out];
      ASSERT_NEAR(all[i], 2 * std::tanh(t / 2) + residual[i], 2e-6) << nameOf(format) << " " << i;
    }
    EXPECT_EQ(all, inPlace) << nameOf(format);
  }
}

TEST_P(LinearTest, ARowsBitsDoNotDependOnBatchOrTiles) {
  const int64_t out = 90, cols = 320, rows = 29;
  for (const NumberFormat &format : kFormats) {
    std::vector<float> w = floats(out * cols, 0.1f);
    Bytes packed = packMatrix(format, w, out, cols);
    Input x = input(format, rows, cols);
    std::vector<float> batch(rows * out), single(rows * out), tiles(rows * out);
    run(format, x, 0, rows, packed, out, 0, out, {}, batch.data());
    for (int64_t r = 0; r < rows; ++r)
      run(format, x, r, 1, packed, out, 0, out, {}, single.data());
    for (int64_t r = 0; r < rows;) {
      int64_t some = std::min(rows - r, integer(1, 9));
      for (int64_t n = 0; n < out;) {
        int64_t end = std::min(out, n + 16 * integer(1, 3));
        run(format, x, r, some, packed, out, n, end, {}, tiles.data());
        n = end;
      }
      r += some;
    }
    EXPECT_EQ(batch, single) << nameOf(format);
    EXPECT_EQ(batch, tiles) << nameOf(format);
  }
}

TEST_P(LinearTest, ExtremeCodesStayExact) {
  // Every product at its bound: nothing may saturate.
  const int64_t out = 16, cols = 128;
  for (const NumberFormat &format : kFormats) {
    for (int sign : {-1, 1}) {
      std::vector<float> w(out * cols, float(sign));
      Bytes packed = packMatrix(format, w, out, cols);
      Input x{std::vector<float>(cols, 127.0f), Bytes(0), 1, cols};
      if (isInteger(format))
        x.quantised = quantiseRows(isa(), x.values, 1, cols, format.group);
      std::vector<float> y(out);
      run(format, x, 0, 1, packed, out, 0, out, {}, y.data());
      for (float v : y)
        ASSERT_NEAR(v, dot(x.values.data(), w.data(), cols).first, 0.02) << nameOf(format);
    }
  }
}

double activated(double x, int64_t act) {
  if (act == RK_ACT_SILU)
    return x / (1 + std::exp(-x));
  if (act == RK_ACT_GELU_TANH)
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  if (act == RK_ACT_SIGMOID)
    return 1 / (1 + std::exp(-x));
  return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
}

TEST_P(LinearTest, GatedMatchesDoublePrecision) {
  for (const NumberFormat &format : kFormats)
    for (int64_t ffn : {5, 16, 50, 96})
      for (int64_t act : {RK_ACT_SILU, RK_ACT_GELU_TANH, RK_ACT_GELU, RK_ACT_SIGMOID}) {
        int64_t cols = 160, rows = integer(1, 11), blocks = (ffn + 15) / 16;
        // Gate and up alternate by 16 rows, each padded with zero rows.
        std::vector<float> w(2 * blocks * 16 * cols, 0.0f);
        for (int64_t n = 0; n < 2 * ffn; ++n) {
          std::vector<float> row = floats(cols, 0.1f);
          int64_t channel = n / 2, part = n % 2;
          std::ranges::copy(row, w.begin() + (channel / 16 * 32 + part * 16 + channel % 16) * cols);
        }
        Bytes packed = packMatrix(format, w, 2 * blocks * 16, cols);
        Input x = input(format, rows, cols);
        std::vector<float> y(rows * ffn, NAN), tiles(rows * ffn, NAN);
        runGated(format, x, rows, packed, ffn, 0, ffn, act, y.data());
        for (int64_t n = 0; n < ffn; n += 16)
          runGated(format, x, rows, packed, ffn, n, std::min(ffn, n + 16), act, tiles.data());
        EXPECT_EQ(y, tiles) << nameOf(format);
        for (int64_t i = 0; i < rows * ffn; ++i) {
          int64_t channel = i % ffn, row = channel / 16 * 32 + channel % 16;
          const float *xr = &x.values[i / ffn * cols];
          double gate = dot(xr, &w[row * cols], cols).first;
          double up = dot(xr, &w[(row + 16) * cols], cols).first;
          ASSERT_NEAR(y[i], activated(gate, act) * up, 2e-5 * (1 + std::fabs(gate * up)))
              << nameOf(format) << " ffn " << ffn << " act " << act << " at " << i;
        }
      }
}

TEST_P(LinearTest, EmbeddingReadsTheSameValues) {
  const int64_t tokens = 37, cols = 100;
  for (const NumberFormat &format : kFormats) {
    std::vector<float> w = floats(tokens * cols), y(cols);
    Bytes packed = packMatrix(format, w, tokens, cols);
    for (int64_t token = 0; token < tokens; ++token) {
      if (format.kind == Kind::F8)
        isa().rk_embed_f8(packed.data(), cols, format.group, token, 2, y.data());
      else if (!isInteger(format))
        (format.kind == Kind::F32   ? isa().rk_embed_f32
         : format.kind == Kind::F16 ? isa().rk_embed_f16
                                    : isa().rk_embed_bf16)(packed.data(), cols, token, 2, y.data());
      else
        (format.kind == Kind::I8   ? isa().rk_embed_i8
         : format.kind == Kind::I3 ? isa().rk_embed_i3s
         : !format.minima
             ? isa().rk_embed_i4s
             : isa().rk_embed_i4a)(packed.data(), cols, format.group, token, 2, y.data());
      for (int64_t k = 0; k < cols; ++k)
        ASSERT_EQ(y[k], 2 * w[token * cols + k]) << nameOf(format) << " " << token << " " << k;
    }
  }
}

RETORT_BOTH_ISAS(LinearTest);

} // namespace
