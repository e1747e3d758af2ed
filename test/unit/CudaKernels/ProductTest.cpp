//===- ProductTest.cpp - Products of decode and prefill against loops -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/CudaKernels/Kernels.h"

namespace retort::test {
namespace {

using Kind = NumberFormat::Kind;

/// One product, as text and as loops.
struct Shape {
  int in, out;
  NumberFormat format;
  bool norm = false, bias = false, residual = false, gated = false, wanted = false;
  float softCap = 0;
  int sourceAt = 0, sourceMore = 0; ///< columns before and after the source's
  Activation act = Activation::Silu;

  int stride() const { return sourceAt + in + sourceMore; }
  cuda::ProductShape product() const {
    return {.in = in,
            .out = out,
            .weights = {format},
            .gated = gated,
            .act = act,
            .maxRows = 16,
            .sourceStride = stride(),
            .sourceAt = sourceAt,
            .destStride = out,
            .norm = norm,
            .normOffset = true,
            .eps = 1e-5f,
            .hasBias = bias,
            .hasResidual = residual,
            .softCap = softCap,
            .wanted = wanted};
  }
  std::string text(const std::string &name, bool prefill) const {
    std::string s = declaration(name, product()) + "\n";
    const std::string space = prefill ? "prefill::" : "";
    s += "RETORT_KERNEL(k_" + name +
         ", kThreads, 1, const retort_cuda_step *step, const float *x, "
         "const float *gain, const uint8_t *w, float *y, const float *bias, const float *residual) "
         "{\n"
         "  Cta cta(step);\n";
    if (gated)
      s += "  " + space + "matmulFetch<" + name + ">(cta, w);\n  cta.wait();\n  " + space +
           "matmulGlu<" + name + ">(cta, x, gain, w, y);\n}\n";
    else
      s += "  " + space + "matmulFetch<" + name + ">(cta, w);\n  cta.wait();\n  " + space +
           "matmul<" + name + ">(cta, x, gain, w, y, bias, residual, cta.wanted());\n}\n";
    return s;
  }
};

float activated(float x, Activation act) {
  if (act == Activation::Silu)
    return x / (1 + std::exp(-x));
  if (act == Activation::Sigmoid)
    return 1 / (1 + std::exp(-x));
  if (act == Activation::GeluTanh)
    return 0.5f * x * (1 + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x)));
  return 0.5f * x * (1 + std::erf(x * 0.7071067812f));
}

class Products : public CudaKernels {
protected:
  /// Runs it and compares with loops; the first row, bit for bit, is `firstRow`.
  void check(CUmodule module, const std::string &name, const Shape &s, int rows, bool prefill,
             const std::vector<int32_t> &wanted = {}) {
    // Prefill multiplies floats as f16. All else has no rounding that a user could see.
    const bool integers = s.format.integers();
    const bool half = prefill && !integers;
    SCOPED_TRACE(name + " " + std::to_string(s.in) + " -> " + std::to_string(s.out) + " " +
                 nameOf(s.format) + " rows " + std::to_string(rows));
    const int numOut = s.wanted ? int(wanted.size()) : rows;
    const auto x = randomValues(size_t(rows * s.stride()), unsigned(s.in));
    const auto gain = randomValues(size_t(s.in), 5, 0.2f), bias = randomValues(size_t(s.out), 6);
    const auto residual = randomValues(size_t(numOut * s.out), 7);
    const Packed w = packMatrix(s.gated ? "mma16_gated" : "mma16", s.format,
                                s.out * (s.gated ? 2 : 1), s.in, 11);
    makeRows(rows, wanted);
    const CUdeviceptr y = upload(std::vector<float>(size_t(numOut * s.out), NAN));
    const CUdeviceptr px = upload(x), pg = upload(gain), pw = upload(w.bytes), pb = upload(bias),
                      pr = upload(residual);
    library().name(pw, w.bytes.size(), "weights");
    library().clear();
    run(module, "k_" + name, px, pg, pw, y, pb, pr);
    weightBytes = w.bytes.size();
    const auto got = download<float>(y, size_t(numOut * s.out));
    firstRow.assign(got.begin(), got.begin() + s.out);
    std::vector<double> row(size_t(s.in));
    for (int r = 0; r < numOut; ++r) {
      const float *from = x.data() + (s.wanted ? wanted[size_t(r)] : r) * s.stride() + s.sourceAt;
      double squares = 0;
      for (int k = 0; k < s.in; ++k)
        squares += double(from[k]) * from[k];
      const float scale = s.norm ? float(1 / std::sqrt(squares / s.in + 1e-5)) : 1.0f;
      for (int k = 0; k < s.in; ++k)
        row[size_t(k)] = s.norm ? from[k] * scale * (1 + gain[size_t(k)]) : from[k];
      if (half)
        std::ranges::transform(row, row.begin(), [](double v) { return roundHalf(float(v)); });
      auto dot = [&](int n, double &size) {
        double sum = 0;
        for (int k = 0; k < s.in; ++k) {
          sum += row[size_t(k)] * w.values[size_t(n * s.in + k)];
          size += std::fabs(row[size_t(k)] * w.values[size_t(n * s.in + k)]);
        }
        return sum;
      };
      for (int n = 0; n < s.out; ++n) {
        double size = 0, want = dot(n, size);
        if (s.gated) {
          double up = 0;
          want = double(activated(float(want), s.act)) * (up = dot(s.out + n, size));
          size *= 1 + std::fabs(up);
        } else {
          if (s.bias)
            want += bias[size_t(n)];
          if (s.softCap != 0)
            want = s.softCap * std::tanh(want / s.softCap);
          if (s.residual)
            want += residual[size_t(r * s.out + n)];
        }
        // A norm's rounding to f16 may go the other way by one bit now and then.
        ASSERT_NEAR(got[size_t(r * s.out + n)], want, 1e-5 + (half ? 1e-4 : 3e-5) * size)
            << "row " << r << " column " << n;
      }
    }
  }
  /// What the simulator saw of the last product: nothing wrong, and the traffic of the weights.
  void expectIdeal(bool prefill) {
    const auto r = report();
    EXPECT_EQ(r["findings"].size(), 0u) << r["findings"].dump(1).substr(0, 3000);
    for (const auto &m : r["memory"])
      if (m["name"] == "weights") {
        if (!prefill) {
          EXPECT_EQ(m["read"]["bytes"], weightBytes);
          EXPECT_EQ(m["read"]["sectors"], m["read"]["ideal_sectors"]);
        }
        EXPECT_LE(double(m["read"]["sectors"]), 1.01 * double(m["read"]["ideal_sectors"]));
      }
    EXPECT_EQ(r["shared"]["bank_conflicts"], 0u) << r["sites"].dump(1);
  }
  size_t weightBytes = 0;
  std::vector<float> firstRow;
  void checkAll(const std::vector<Shape> &shapes, const std::vector<int> &rows, bool prefill) {
    std::string text;
    for (size_t i = 0; i < shapes.size(); ++i)
      text += shapes[i].text("S" + std::to_string(i), prefill);
    CUmodule module = loadProgram(text);
    ASSERT_TRUE(module);
    for (size_t i = 0; i < shapes.size(); ++i)
      for (int r : rows) {
        check(module, "S" + std::to_string(i), shapes[i], r, prefill,
              shapes[i].wanted ? std::vector<int32_t>{0, r - 1} : std::vector<int32_t>{});
        if (HasFatalFailure())
          return;
      }
  }
};

const NumberFormat kI4s = {Kind::I4, 32}, kI4a = {Kind::I4, 64, true};

const std::vector<Shape> kFormatShapes = {{80, 33, {Kind::F32}},
                                          {100, 50, {Kind::BF16}},
                                          {200, 40, {Kind::I8, 32}},
                                          {192, 40, {Kind::I8, 64}},
                                          {260, 24, {Kind::I8, 128}},
                                          {200, 40, {Kind::I4, 32}},
                                          {200, 40, {Kind::I4, 64}},
                                          {300, 40, {Kind::I4, 128}},
                                          {80, 80, {Kind::I4, 32, true}},
                                          {200, 40, {Kind::I4, 64, true}},
                                          {300, 33, {Kind::I4, 128, true}},
                                          {200, 40, {Kind::I3, 64}},
                                          {77, 19, {Kind::I3, 64}, true},
                                          {77, 19, {Kind::I4, 32}, true},
                                          {100, 50, {Kind::F16}},
                                          {200, 40, {Kind::F8, 32}},
                                          {192, 40, {Kind::F8, 64}},
                                          {260, 24, {Kind::F8, 128}, true}};

std::vector<Shape> epilogues() {
  return {
      {.in = 576, .out = 96, .format = kI4s, .norm = true},
      {.in = 96,
       .out = 80,
       .format = kI4s,
       .norm = true,
       .bias = true,
       .softCap = 3,
       .sourceAt = 32,
       .sourceMore = 8},
      {.in = 1536, .out = 64, .format = kI4s, .residual = true},
      {.in = 96, .out = 100, .format = kI4a, .norm = true, .gated = true, .act = Activation::Silu},
      {.in = 96, .out = 40, .format = {Kind::I8, 32}, .gated = true, .act = Activation::GeluTanh},
      {.in = 96, .out = 40, .format = {Kind::I3, 64}, .norm = true, .gated = true},
      {.in = 96,
       .out = 40,
       .format = {Kind::BF16},
       .norm = true,
       .gated = true,
       .act = Activation::Gelu},
      {.in = 96, .out = 40, .format = {Kind::F16}, .gated = true},
      {.in = 200, .out = 100, .format = {Kind::F8, 128}, .norm = true, .gated = true},
      {.in = 96, .out = 300, .format = kI4s, .norm = true, .wanted = true}};
}

TEST_F(Products, DecodeEveryFormat) {
  open(80);
  checkAll(kFormatShapes, {1, 2, 8, 13, 16}, false);
}
TEST_F(Products, DecodeEveryFormatByBulkCopies) {
  open(90, 2);
  checkAll(kFormatShapes, {1, 9}, false);
}
TEST_F(Products, DecodeFusesPrologueAndEpilogue) {
  open(80);
  checkAll(epilogues(), {1, 3, 16}, false);
}
// 16 rows of 4096 columns do not fit beside the ring: they are read from global memory.
TEST_F(Products, DecodeReadsLongRowsFromGlobalMemory) {
  open(90);
  checkAll({{.in = 4096, .out = 40, .format = {Kind::I4, 128}, .norm = true},
            {.in = 4097, .out = 16, .format = kI4s, .residual = true}},
           {1, 5, 16}, false);
}
// A row's bits are its own: alone or with others, on any number of multiprocessors, in any order of
// events.
TEST_F(Products, DecodeGivesTheSameBits) {
  const std::vector<Shape> shapes = {
      {.in = 1536, .out = 200, .format = kI4s, .norm = true},
      {.in = 2048, .out = 70, .format = kI4a, .norm = true, .gated = true}};
  std::string text;
  for (size_t i = 0; i < shapes.size(); ++i)
    text += shapes[i].text("S" + std::to_string(i), false);
  std::vector<float> first[2];
  for (const auto [sms, seed] : {std::pair(1, 0), std::pair(3, 1), std::pair(7, 2)}) {
    set("seed", seed);
    open(90, sms);
    CUmodule module = loadProgram(text);
    ASSERT_TRUE(module);
    for (size_t i = 0; i < shapes.size(); ++i)
      for (int rows : {1, 8, 16}) {
        check(module, "S" + std::to_string(i), shapes[i], rows, false);
        if (first[i].empty())
          first[i] = firstRow;
        ASSERT_EQ(first[i], firstRow) << "rows " << rows << " multiprocessors " << sms;
      }
    TearDown();
  }
  open(90); // for the fixture to close
}

// What an emitted step does: fetch, wait, product, the next product's fetch, wait, product, by both
// kinds of copies.
TEST_F(Products, DecodeFetchesTheNextProductBeforeTheWait) {
  for (int arch : {80, 90}) {
    open(arch, 3);
    const Shape up{.in = 96, .out = 160, .format = kI4s},
        down{.in = 160, .out = 96, .format = {Kind::I8, 32}};
    CUmodule module = loadProgram(up.text("Up", false) + down.text("Down", false) + R"(
RETORT_KERNEL(k_both, kThreads, 1, const retort_cuda_step *step, const float *x, const uint8_t *up, const uint8_t *down,
              float *y, float *z) {
  Cta cta(step);
  matmulFetch<Up>(cta, up);
  for (int layer = 0; layer < 3; ++layer) { // the same each time
    matmul<Up>(cta, x, nullptr, up, y, nullptr, nullptr, nullptr);
    uint32_t ticket = cta.arrive();
    matmulFetch<Down>(cta, down);
    cta.waitFor(ticket);
    matmul<Down>(cta, y, nullptr, down, z, nullptr, nullptr, nullptr);
    if (layer < 2)
      matmulFetch<Up>(cta, up);
    cta.wait();
  }
})");
    ASSERT_TRUE(module);
    const Packed wUp = packMatrix("mma16", up.format, up.out, up.in, 1),
                 wDown = packMatrix("mma16", down.format, down.out, down.in, 2);
    const auto x = randomValues(size_t(2 * up.in), 3);
    makeRows(2);
    const CUdeviceptr px = upload(x), pu = upload(wUp.bytes), pd = upload(wDown.bytes),
                      py = upload(std::vector<float>(2 * 160)),
                      pz = upload(std::vector<float>(2 * 96));
    run(module, "k_both", px, pu, pd, py, pz);
    const auto z = download<float>(pz, 2 * 96);
    for (int r = 0; r < 2; ++r) {
      std::vector<float> y(160);
      for (int n = 0; n < 160; ++n)
        for (int k = 0; k < 96; ++k)
          y[size_t(n)] += x[size_t(r * 96 + k)] * wUp.values[size_t(n * 96 + k)];
      for (int n = 0; n < 96; ++n) {
        double want = 0, size = 0;
        for (int k = 0; k < 160; ++k)
          want += y[size_t(k)] * wDown.values[size_t(n * 160 + k)],
              size += std::fabs(y[size_t(k)] * wDown.values[size_t(n * 160 + k)]);
        ASSERT_NEAR(z[size_t(r * 96 + n)], want, 3e-5 * size);
      }
    }
    TearDown();
  }
  open(90);
}

TEST_F(Products, PrefillEveryFormat) {
  open(80);
  checkAll(kFormatShapes, {1, 70}, true);
}
// On 9.0 a tile has twice the weight rows and is multiplied by wgmma; the last one is cut off
// within a warp's blocks, or leaves warps without any.
TEST_F(Products, PrefillEveryFormatByWgmma) {
  open(90);
  checkAll(kFormatShapes, {1, 70}, true);
}
TEST_F(Products, PrefillByWgmmaWithSeveralTiles) {
  open(90, 3, true);
  checkAll({{.in = 128, .out = 600, .format = {Kind::F16}, .norm = true},
            {.in = 96, .out = 270, .format = kI4s, .residual = true},
            {.in = 128, .out = 150, .format = kI4a, .gated = true}},
           {65}, true);
  EXPECT_EQ(report()["findings"].size(), 0u) << report()["findings"].dump(1);
}
TEST_F(Products, PrefillFusesPrologueAndEpilogue) {
  open(80);
  checkAll(epilogues(), {1, 64, 130}, true);
}
TEST_F(Products, PrefillByWgmmaFusesPrologueAndEpilogue) {
  open(90);
  checkAll(epilogues(), {1, 64, 130}, true);
}

class ProductTraffic : public Products {
protected:
  void checkTraffic(int arch, bool prefill, const std::vector<int> &rows) {
    open(arch, 3, true);
    const std::vector<Shape> shapes = {
        {.in = 576, .out = 96, .format = kI4s, .norm = true},
        {.in = 1536, .out = 64, .format = kI4s, .residual = true},
        {.in = 576, .out = 112, .format = kI4a, .norm = true, .gated = true},
        {.in = 96, .out = 80, .format = {Kind::I8, 32}, .norm = true},
        {.in = 200, .out = 80, .format = {Kind::I3, 64}, .norm = true},
        {.in = 96, .out = 80, .format = {Kind::BF16}},
        {.in = 96, .out = 80, .format = {Kind::F16}, .norm = true},
        {.in = 576, .out = 80, .format = {Kind::F8, 128}, .norm = true},
        {.in = 300, .out = 80, .format = {Kind::I4, 128, true}, .norm = true}};
    std::string text;
    for (size_t i = 0; i < shapes.size(); ++i)
      text += shapes[i].text("S" + std::to_string(i), prefill);
    CUmodule module = loadProgram(text);
    ASSERT_TRUE(module);
    for (size_t i = 0; i < shapes.size(); ++i)
      for (int r : rows) {
        check(module, "S" + std::to_string(i), shapes[i], r, prefill);
        expectIdeal(prefill);
        if (HasFailure())
          return;
      }
  }
};
TEST_F(ProductTraffic, DecodeByCpAsync) { checkTraffic(80, false, {1, 16}); }
TEST_F(ProductTraffic, DecodeByBulkCopies) { checkTraffic(90, false, {1, 9}); }
TEST_F(ProductTraffic, Prefill) { checkTraffic(80, true, {70}); }
TEST_F(ProductTraffic, PrefillByWgmma) { checkTraffic(90, true, {70}); }

} // namespace
} // namespace retort::test
