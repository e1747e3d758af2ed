//===- RowTest.cpp - Embedding, angles, norm, gated activation, residual ----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/CudaKernels/Kernels.h"

namespace retort::test {
namespace {

using Kind = NumberFormat::Kind;

class Rows : public CudaKernels {};

TEST_F(Rows, EmbeddingIsExact) {
  open(90);
  const std::vector<NumberFormat> formats = {
      {Kind::F32},    {Kind::BF16},    {Kind::I8, 32},       {Kind::I8, 128},
      {Kind::I4, 32}, {Kind::I4, 128}, {Kind::I4, 32, true}, {Kind::I4, 64, true},
      {Kind::I3, 64}, {Kind::F16},     {Kind::F8, 32},       {Kind::F8, 128}};
  const int hidden = 200, vocab = 50;
  std::string text;
  for (size_t i = 0; i < formats.size(); ++i) {
    const std::string name = "E" + std::to_string(i);
    const cuda::EmbedShape embed{.hidden = hidden, .weights = {formats[i]}, .scale = 1.5f};
    text += declaration(name, embed) + "\nRETORT_KERNEL(k_" + name +
            ", kThreads, 1, const retort_cuda_step *step, const uint8_t *table, float *y) "
            "{ Cta cta(step); embed<" +
            name + ">(cta, cta.tokens(), table, y); }\n";
  }
  CUmodule module = loadProgram(text);
  ASSERT_TRUE(module);
  const std::vector<int32_t> tokens = {0, 49, 17, 8, 9};
  for (size_t i = 0; i < formats.size(); ++i) {
    const Packed table = packMatrix("mma16", formats[i], vocab, hidden, 3);
    makeRows(int(tokens.size()));
    step.tokens = pointer<const int32_t>(upload(tokens));
    const CUdeviceptr y = upload(std::vector<float>(tokens.size() * hidden)),
                      pt = upload(table.bytes);
    run(module, "k_E" + std::to_string(i), pt, y);
    const auto got = download<float>(y, tokens.size() * hidden);
    for (size_t r = 0; r < tokens.size(); ++r)
      for (int k = 0; k < hidden; ++k) {
        const float want = 1.5f * table.values[size_t(tokens[r] * hidden + k)];
        ASSERT_NEAR(got[r * hidden + size_t(k)], want, 1e-6 * std::fabs(want))
            << nameOf(formats[i]) << " token " << tokens[r] << " column " << k;
      }
  }
}

TEST_F(Rows, NormsGluResidualAngles) {
  open(80);
  CUmodule module = loadProgram(R"(
constexpr NormShape N = {.features = 96, .groups = 3, .normOffset = true, .eps = 1e-5f, .hasResidual = true};
constexpr LayerNormShape L = {.features = 96, .eps = 1e-5f};
constexpr GluShape G = {.channels = 40, .gateStride = 96, .gateAt = 8, .upStride = 96, .upAt = 50};
constexpr SumShape R = {.features = 96};
constexpr GluShape S = {.channels = 40, .gateStride = 96, .upStride = 96, .act = Activation::Sigmoid};
constexpr AnglesShape A = {.half = 8, .scale = 1.25f}, B = {.half = 8, .scale = 1.25f, .every = 9};
RETORT_CONSTANT float steps[3] = {1, 1.5f, 0.25f};
RETORT_CONSTANT float frequencies[8] = {1, 0.5f, 0.25f, 0.1f, 0.05f, 0.01f, 0.001f, 0.0001f};
RETORT_KERNEL(k_rows, kThreads, 1, const retort_cuda_step *step, const float *x, const float *gain, const float *z,
              float *normed, float *layered, float *gated, float *sum, float *turned, float *let,
              float *stepped) {
  Cta cta(step);
  norm<N>(cta, x, gain, z, normed);
  layerNorm<L>(cta, x, z, z + 96, layered);
  glu<G>(cta, x, z, gated);
  residual<R>(cta, x, z, sum);
  glu<S>(cta, x, z, let);
  prefill::angles<A>(cta, cta.positions(), frequencies, nullptr, turned);
  prefill::angles<B>(cta, cta.positions(), frequencies, steps, stepped);
})");
  ASSERT_TRUE(module);
  const int rows = 21;
  const auto x = randomValues(rows * 96, 1), z = randomValues(rows * 96, 2),
             gain = randomValues(32, 3);
  makeRows(rows);
  const CUdeviceptr px = upload(x), pz = upload(z), pg = upload(gain);
  const CUdeviceptr pn = upload(x), pl = upload(x), pglu = upload(std::vector<float>(rows * 40)),
                    ps = upload(x), pa = upload(std::vector<float>(rows * 16)),
                    plet = upload(std::vector<float>(rows * 40)),
                    pstep = upload(std::vector<float>(rows * 16));
  run(module, "k_rows", px, pg, pz, pn, pl, pglu, ps, pa, plet, pstep);
  const auto normed = download<float>(pn, rows * 96), layered = download<float>(pl, rows * 96),
             gated = download<float>(pglu, rows * 40), sum = download<float>(ps, rows * 96),
             turned = download<float>(pa, rows * 16), let = download<float>(plet, rows * 40),
             stepped = download<float>(pstep, rows * 16);
  const float steps[3] = {1, 1.5f, 0.25f};
  const float frequencies[8] = {1, 0.5f, 0.25f, 0.1f, 0.05f, 0.01f, 0.001f, 0.0001f};
  for (size_t r = 0; r < rows; ++r) {
    double mean = 0, variance = 0;
    for (size_t i = 0; i < 96; ++i)
      mean += double(x[r * 96 + i]) / 96;
    for (size_t i = 0; i < 96; ++i)
      variance += (x[r * 96 + i] - mean) * (x[r * 96 + i] - mean) / 96;
    for (size_t i = 0; i < 96; ++i) {
      // The first row of z is the gain, the second the bias.
      ASSERT_NEAR(layered[r * 96 + i],
                  z[i] * (x[r * 96 + i] - mean) / std::sqrt(variance + 1e-5) + z[96 + i], 1e-5);
      double squares = 0;
      for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j)
        squares += double(x[r * 96 + j]) * x[r * 96 + j];
      ASSERT_NEAR(normed[r * 96 + i],
                  z[r * 96 + i] +
                      x[r * 96 + i] * (1 + gain[i % 32]) / std::sqrt(squares / 32 + 1e-5),
                  1e-5);
      ASSERT_EQ(sum[r * 96 + i], x[r * 96 + i] + z[r * 96 + i]);
    }
    for (size_t i = 0; i < 40; ++i) {
      const float g = x[r * 96 + 8 + i];
      ASSERT_NEAR(gated[r * 40 + i], g / (1 + std::exp(-g)) * z[r * 96 + 50 + i], 1e-5);
      ASSERT_NEAR(let[r * 40 + i], z[r * 96 + i] / (1 + std::exp(-x[r * 96 + i])), 1e-5);
    }
    for (size_t i = 0; i < 16; ++i)
      ASSERT_NEAR(stepped[r * 16 + i], steps[r / 9] * turned[r * 16 + i], 1e-6);
    for (size_t i = 0; i < 8; ++i) {
      ASSERT_NEAR(turned[r * 16 + i], 1.25f * std::cos(float(r) * frequencies[i]), 1e-6);
      ASSERT_NEAR(turned[r * 16 + 8 + i], 1.25f * std::sin(float(r) * frequencies[i]), 1e-6);
    }
  }
}

} // namespace
} // namespace retort::test
