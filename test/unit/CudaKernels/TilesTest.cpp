//===- TilesTest.cpp - Kernels have the tiles that their shapes say ----------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// The simulator counts the tiles that a launch goes through. Results are other tests' to judge.
#include "test/unit/CudaKernels/Kernels.h"

namespace retort::test {
namespace {

using cuda::ProductShape;
using cuda::TileSpace;
using Kind = NumberFormat::Kind;

/// A kernel's calls, and the tiles that its shape says it has.
struct Case {
  std::string declarations, calls;
  TileSpace tiles;
};
template <class Shape> Case caseOf(const Shape &shape, TileSpace tiles, const std::string &calls) {
  return {declaration("NAME", shape), calls, tiles};
}
std::string replaced(std::string text, const std::string &name) {
  for (size_t at; (at = text.find("NAME")) != std::string::npos;)
    text.replace(at, 4, name);
  return text;
}

class Tiles : public CudaKernels {
protected:
  void SetUp() override {
    CudaKernels::SetUp();
    if (library().isHardware)
      GTEST_SKIP() << "a GPU does not count tiles";
  }
  uint64_t counted(const std::string &kernel) {
    const auto counters = report();
    for (const auto &k : counters["kernels"])
      if (k["name"] == kernel)
        return k["tiles"];
    return 0;
  }
  void makeStepOf(int rows) {
    std::vector<int32_t> slots(size_t(rows), 0), positions(slots);
    for (int r = 0; r < rows; ++r)
      positions[size_t(r)] = r;
    makeStep(slots, positions, positions, kPageBytes, (rows + 15) / 16);
    step.tokens = pointer<const int32_t>(upload(slots));
    step.sync = pointer<uint32_t>(upload(std::vector<uint32_t>(1 << 14)));
  }
  /// x, y and weights are zeros.
  void check(int arch, const std::vector<Case> &cases, const std::vector<int> &rows) {
    open(arch, 3);
    std::string text = "RETORT_CONSTANT float frequencies[24] = {};\n";
    for (size_t i = 0; i < cases.size(); ++i) {
      const std::string kernel =
          "\nRETORT_KERNEL(k_NAME, kThreads, 1, const retort_cuda_step *step, float *x, float *y, "
          "const uint8_t *w) {\n  Cta cta(step);\n  const float *f = nullptr;\n  " +
          cases[i].calls + "\n}\n";
      text += replaced(cases[i].declarations + kernel, "C" + std::to_string(i));
    }
    CUmodule module = loadProgram(text);
    ASSERT_TRUE(module);
    const CUdeviceptr x = upload(std::vector<float>(1 << 19)),
                      y = upload(std::vector<float>(1 << 20)),
                      w = upload(std::vector<uint8_t>(1 << 18));
    for (size_t i = 0; i < cases.size(); ++i)
      for (int r : rows) {
        SCOPED_TRACE(cases[i].declarations + " " + std::to_string(r) + " rows");
        makeStepOf(r);
        library().clear();
        run(module, "k_C" + std::to_string(i), x, y, w);
        EXPECT_EQ(counted("k_C" + std::to_string(i)), uint64_t(cases[i].tiles.of(r)));
      }
  }
  static constexpr int kPageBytes = 1 << 14;
};

ProductShape product(int out, const NumberFormat &format, bool gated = false) {
  return {.in = 96,
          .out = out,
          .weights = {format},
          .gated = gated,
          .maxRows = 16,
          .sourceStride = 96,
          .destStride = out};
}
const std::vector<ProductShape> kProducts = {
    product(16, {Kind::I4, 32}), product(33, {Kind::F16}), product(300, {Kind::I8, 32}),
    product(150, {Kind::I4, 32}, true), product(130, {Kind::F32})};

std::vector<Case> products(const std::string &space, TileSpace (*tiles)(const ProductShape &)) {
  const std::string fetch = space + "matmulFetch<NAME>(cta, w); cta.wait(); " + space;
  std::vector<Case> cases;
  for (const ProductShape &shape : kProducts)
    cases.push_back(
        caseOf(shape, tiles(shape),
               fetch + (shape.gated ? "matmulGlu<NAME>(cta, x, f, w, y);"
                                    : "matmul<NAME>(cta, x, f, w, y, f, f, nullptr);")));
  ProductShape logits = kProducts[1];
  logits.wanted = true;
  cases.push_back(caseOf(logits, tiles(logits),
                         fetch + "matmulArgmax<NAME>(cta, x, f, w, y, f, cta.wanted());"));
  return cases;
}
TEST_F(Tiles, DecodeProducts) {
  const auto cases = products("", [](const ProductShape &shape) { return shape.decodeTiles(); });
  check(80, cases, {1, 7, 16});
  EXPECT_EQ(cases[2].tiles.of(7), 19);
}
TEST_F(Tiles, PrefillProducts) {
  const auto cases =
      products("prefill::", [](const ProductShape &shape) { return shape.prefillTiles(false); });
  check(80, cases, {1, 64, 130});
  EXPECT_EQ(cases[2].tiles.of(130), 3 * 3);
  EXPECT_EQ(cases[3].tiles.of(64), 3);
}
TEST_F(Tiles, PrefillProductsByWgmma) {
  const auto cases =
      products("prefill::", [](const ProductShape &shape) { return shape.prefillTiles(true); });
  check(90, cases, {1, 64, 130});
  EXPECT_EQ(cases[2].tiles.of(130), 2 * 3);
  EXPECT_EQ(cases[4].tiles.of(64), 2) << "f32 has no wgmma";
}

cuda::AppendShape heads(int heads, int kvHeads, int dims) {
  const int stride = (heads + 2 * kvHeads) * dims;
  return {.heads = heads,
          .cache = {.kvHeads = kvHeads, .dims = dims, .pageBytes = 1 << 14},
          .qStride = stride,
          .kStride = stride,
          .kAt = heads * dims,
          .vStride = stride,
          .vAt = (heads + kvHeads) * dims};
}
TEST_F(Tiles, Attend) {
  std::vector<Case> cases;
  for (const cuda::AppendShape &append : {heads(9, 3, 16), heads(16, 1, 16), heads(14, 2, 32)}) {
    const cuda::AttendShape shape{.append = append, .splits = 4, .maxRows = 16};
    cases.push_back(caseOf(shape, shape.tiles(),
                           "attend<NAME>(cta, x, x, x, f, f, f, f, 0, f, y, y + 65536);"));
  }
  check(90, cases, {1, 5, 16});
  EXPECT_EQ(cases[0].tiles.of(5), 5 * 3 * 4);
  EXPECT_EQ(cases[1].tiles.of(1), 2 * 4) << "a tile has at most 8 query heads";
}
TEST_F(Tiles, PrefillAttention) {
  std::vector<Case> cases;
  for (const cuda::AppendShape &append : {heads(9, 3, 16), heads(4, 4, 8), heads(16, 2, 16)}) {
    const cuda::AttentionShape shape{
        .heads = append.heads, .cache = append.cache, .qStride = append.qStride};
    cases.push_back(caseOf(shape, shape.tiles(), "prefill::attention<NAME>(cta, x, 0, f, y);"));
  }
  check(90, cases, {1, 64, 100, 512});
  EXPECT_EQ(cases[0].tiles.of(512), 36);
}
TEST_F(Tiles, Append) {
  std::vector<Case> cases;
  for (const cuda::AppendShape &shape : {heads(9, 3, 16), heads(4, 4, 8)})
    cases.push_back(
        caseOf(shape, shape.tiles(), "prefill::ropeAppend<NAME>(cta, x, x, x, f, f, f, f, 0);"));
  check(80, cases, {1, 30});
}
TEST_F(Tiles, Rows) {
  const cuda::EmbedShape embed{.hidden = 200};
  const cuda::AnglesShape angles{.half = 24};
  const cuda::NormShape norm{.features = 96, .groups = 3, .eps = 1};
  const cuda::LayerNormShape layerNorm{.features = 96, .eps = 1};
  const cuda::GluShape glu{.channels = 300, .gateStride = 600, .upStride = 600, .upAt = 300};
  const cuda::SumShape sum{.features = 301};
  check(80,
        {caseOf(embed, embed.tiles(), "embed<NAME>(cta, cta.tokens(), w, y);"),
         caseOf(angles, angles.tiles(), "angles<NAME>(cta, cta.positions(), frequencies, f, y);"),
         caseOf(norm, norm.tiles(), "norm<NAME>(cta, x, x, f, y);"),
         caseOf(layerNorm, layerNorm.tiles(), "layerNorm<NAME>(cta, x, x, x, y);"),
         caseOf(glu, glu.tiles(), "glu<NAME>(cta, x, x, y);"),
         caseOf(sum, sum.tiles(), "residual<NAME>(cta, x, x, y);"),
         caseOf(sum, sum.tiles(), "sum<NAME>(cta, x, x, f, y);"),
         // Words of zeros carry flag 0.
         caseOf(sum, sum.wordTiles(),
                "sum<NAME>(cta, x, Inbox{reinterpret_cast<uint32_t *>(y), nullptr, 0}, f, x);")},
        {1, 7, 100});
}
TEST_F(Tiles, Sample) {
  open(90, 3);
  const cuda::SampleShape shape{.first = 50};
  CUmodule module = loadProgram(declaration("P", shape) +
                                "\nRETORT_KERNEL(k, kSampleThreads, 1, const retort_cuda_step "
                                "*step) { sample<P>(*step); }\n");
  ASSERT_TRUE(module);
  for (int rows : {1, 5}) {
    makeStepOf(rows);
    step.logits = pointer<float>(upload(std::vector<float>(size_t(rows * shape.first))));
    step.chosen = pointer<uint64_t>(upload(std::vector<uint64_t>(size_t(rows))));
    step.choices = pointer<const retort_choice>(upload(std::vector<retort_choice>(size_t(rows))));
    step.num_sample = shape.first;
    library().clear();
    ASSERT_EQ(launch(function(module, "k"), 3, cuda::kSampleThreads, cuda::kSampleSharedBytes,
                     false, upload(std::vector<retort_cuda_step>{step})),
              CUDA_SUCCESS);
    ASSERT_EQ(this->cuda.cuCtxSynchronize(), CUDA_SUCCESS) << report().dump(1).substr(0, 2000);
    EXPECT_EQ(counted("k"), uint64_t(shape.tiles().of(rows)));
  }
}

} // namespace
} // namespace retort::test
