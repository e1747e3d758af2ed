//===- ArgmaxTest.cpp - The logits' product and its arg-max -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/CudaKernels/Kernels.h"
#include <bit>

namespace retort::test {
namespace {

using Kind = NumberFormat::Kind;

/// Tiles and CTAs end in the middle of something.
constexpr int kIn = 64, kOut = 187;

std::string programText(bool prefill) {
  const std::string space = prefill ? "prefill::" : "";
  const cuda::ProductShape product{.in = kIn,
                                   .out = kOut,
                                   .weights = {{NumberFormat::Kind::BF16}},
                                   .maxRows = prefill ? 128 : 16,
                                   .sourceStride = kIn,
                                   .destStride = kOut,
                                   .hasBias = true,
                                   .wanted = true};
  return declaration("S", product) +
         "\n"
         "RETORT_KERNEL(k, kThreads, 1, const retort_cuda_step *step, const float *x, const "
         "uint8_t *w, const float *bias) {\n  Cta cta(step);\n  " +
         space + "matmulFetch<S>(cta, w);\n  cta.wait();\n  " + space +
         "matmulArgmax<S>(cta, x, nullptr, w, cta.logits(), bias, cta.wanted());\n}\n" +
         // A score a thread, on its own.
         "RETORT_KERNEL(keys, kThreads, 1, const retort_cuda_step *step, const float *scores, "
         "uint64_t *to) { to[threadIndex()] = scoreKey(scores[threadIndex()], "
         "int(threadIndex())); }\n";
}

class Sample : public CudaKernels {
protected:
  /// What the step leaves for each wanted row: a token, or -1.
  std::vector<int32_t> sample(CUmodule module, const std::vector<float> &x,
                              const std::vector<float> &bias, int rows,
                              const std::vector<int32_t> &wanted, int choose, bool logits) {
    const Packed w = packMatrix("mma16", {Kind::BF16}, kOut, kIn, 3);
    makeRows(rows, wanted);
    keys = upload(std::vector<uint64_t>(wanted.size() + 1));
    dest = upload(std::vector<float>(wanted.size() * kOut + 1, NAN));
    step.chosen = pointer<uint64_t>(keys);
    step.num_choose = choose;
    step.logits = logits ? pointer<float>(dest) : nullptr;
    run(module, "k", upload(x), upload(w.bytes), upload(bias));
    std::vector<int32_t> tokens;
    for (uint64_t key : download<uint64_t>(keys, wanted.size()))
      tokens.push_back(key ? int32_t(0xffffffffu - uint32_t(key)) : -1);
    EXPECT_EQ(download<uint64_t>(keys, wanted.size() + 1).back(), 0u); // not a row too many
    return tokens;
  }
  void check(int arch, bool prefill, int rows, const std::vector<int32_t> &wanted) {
    SCOPED_TRACE(std::to_string(rows) + (prefill ? " rows of prefill" : " rows of decode"));
    for (const auto [sms, choose] : {std::pair(3, kOut), std::pair(5, 150), std::pair(16, 1)}) {
      open(arch, sms, /*check=*/true);
      CUmodule module = loadProgram(programText(prefill));
      ASSERT_TRUE(module);
      const auto x = randomValues(size_t(rows * kIn), unsigned(rows + sms));
      const auto bias = randomValues(kOut, 8, 2);
      const auto got = sample(module, x, bias, rows, wanted, choose, true);
      const auto values = download<float>(dest, wanted.size() * kOut);
      for (size_t r = 0; r < wanted.size(); ++r) {
        const float *row = &values[r * kOut];
        EXPECT_EQ(got[r], std::max_element(row, row + choose) - row) << "row " << r;
      }
      EXPECT_EQ(sample(module, x, bias, rows, wanted, choose, false), got) << "without logits";
      EXPECT_EQ(report()["findings"].size(), 0u) << report()["findings"].dump(1).substr(0, 2000);
    }
  }
  CUdeviceptr keys = 0, dest = 0; ///< of the last step
};

TEST_F(Sample, DecodeFindsTheLargestLogit) {
  check(90, false, 1, {0});
  check(80, false, 5, {0, 2, 4});
  check(90, false, 16, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  check(90, false, 3, {});
}
TEST_F(Sample, PrefillFindsTheLargestLogit) {
  check(80, true, 20, {19});
  check(80, true, 70, {0, 1, 33, 63, 64, 65, 69});
}

// Rows of zeros: the logits are the biases, whose ties are of the lowest index.
TEST_F(Sample, TiesNaNsAndInfinities) {
  for (bool prefill : {false, true}) {
    open(90, 4);
    CUmodule module = loadProgram(programText(prefill));
    ASSERT_TRUE(module);
    const std::vector<float> x(2 * kIn);
    auto best = [&](const std::vector<std::pair<int, float>> &values, float rest,
                    int choose = kOut) {
      std::vector<float> bias(kOut, rest);
      for (auto [at, value] : values)
        bias[size_t(at)] = value;
      const auto tokens = sample(module, x, bias, 2, {0, 1}, choose, false);
      EXPECT_EQ(tokens[0], tokens[1]);
      return tokens[0];
    };
    EXPECT_EQ(best({}, 1), 0);
    EXPECT_EQ(best({{186, 2}, {31, 2}, {32, 2}, {100, 2}}, -1), 31);
    EXPECT_EQ(best({{186, -1}, {100, -1}}, -2), 100);
    EXPECT_EQ(best({{40, -0.0f}, {90, 0.0f}}, -1), 40);
    EXPECT_EQ(best({{40, 0.0f}, {90, -0.0f}}, -1), 40);
    EXPECT_EQ(best({{0, NAN}, {50, 3}}, NAN), 50);
    EXPECT_EQ(best({{70, INFINITY}, {50, 3}}, NAN), 70);
    EXPECT_EQ(best({{70, -3e38f}}, -INFINITY), 70);
    EXPECT_EQ(best({}, -INFINITY), -1);
    EXPECT_EQ(best({}, NAN), -1);
    EXPECT_EQ(best({{150, 5}, {149, 4}}, 0, 150), 149); // nothing beyond what may be chosen
    EXPECT_EQ(best({{0, 5}}, 0, 0), -1);
  }
}

// Keys order as floats do, whatever their signs and exponents.
TEST_F(Sample, KeysOrderAsScores) {
  open(90, 1);
  CUmodule module = loadProgram(programText(false));
  ASSERT_TRUE(module);
  std::mt19937 random(1);
  std::vector<float> scores(256);
  for (float &score : scores)
    score = std::bit_cast<float>(uint32_t(random()));
  scores[3] = scores[200] = 1;
  scores[4] = INFINITY, scores[5] = -INFINITY, scores[6] = NAN, scores[7] = -0.0f, scores[8] = 0;
  makeRows(1);
  const CUdeviceptr to = upload(std::vector<uint64_t>(256));
  multiprocessors = 1;
  run(module, "keys", upload(scores), to);
  const auto got = download<uint64_t>(to, 256);
  for (size_t i = 0; i < 256; ++i) {
    const bool valid = scores[i] > -INFINITY;
    EXPECT_EQ(got[i] != 0, valid) << scores[i];
    for (size_t j = 0; j < 256 && valid; ++j)
      if (scores[j] > -INFINITY && i != j)
        EXPECT_EQ(got[i] > got[j], scores[i] > scores[j] || (scores[i] == scores[j] && i < j))
            << scores[i] << " " << scores[j];
  }
}

} // namespace
} // namespace retort::test
