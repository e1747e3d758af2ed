//===- SampleTest.cpp - A GPU draws the tokens that the host draws -------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Rows of logits of many kinds, each with a choice of its own, against engine::drawToken(), which
// finds by selection what the kernel finds by bins: the same token, without exception. That the
// definition they share is right is SamplerTest's to say.
#include "runtime/src/engine/Sampler.h"
#include "test/unit/CudaKernels/Kernels.h"
#include <bit>

namespace retort::test {
namespace {

/// A launch: the vocabulary's parts on two devices (the second may be empty), and its rows.
struct Rows {
  int first, second, pickable;
  std::vector<std::vector<float>> logits;
  std::vector<retort_choice> choices;

  int tokens() const { return first + second; }
  void add(std::vector<float> row, float temperature, uint32_t topK, float topP, float minP,
           uint64_t random) {
    logits.push_back(std::move(row));
    engine::Sampler sampler({temperature, topP, topK, 0, minP});
    choices.push_back(sampler.next());
    choices.back().random = random;
  }
};

std::string programText(const Rows &rows) {
  const cuda::SampleShape shape{.first = rows.first, .second = rows.second};
  return declaration("P", shape) + "\nRETORT_KERNEL(k, kSampleThreads, 1, const retort_cuda_step "
                                   "*step) { sample<P>(*step); }\n";
}

class SampleKernel : public CudaKernels {
protected:
  std::vector<int32_t> drawOnDevice(const Rows &rows, unsigned ctas) {
    std::vector<float> first, second{0};
    std::vector<uint64_t> keys;
    for (const auto &row : rows.logits) {
      first.insert(first.end(), row.begin(), row.begin() + rows.first);
      second.insert(second.end(), row.begin() + rows.first, row.end());
      const int32_t best =
          engine::largestLogit({row.data(), size_t(std::min(rows.first, rows.pickable))});
      const uint64_t key =
          best < 0 ? 0 : sampling::keyOf(std::bit_cast<uint32_t>(row[size_t(best)]));
      keys.push_back(best < 0 ? 0 : key << 32 | (0xffffffffu - uint32_t(best)));
    }
    second.erase(second.begin());
    second.push_back(0); // upload() wants something
    CUmodule module = loadProgram(programText(rows));
    if (!module)
      return {};
    step = {};
    step.logits = pointer<float>(upload(first));
    step.other_logits = pointer<const float>(upload(second));
    const CUdeviceptr chosen = upload(keys);
    step.chosen = pointer<uint64_t>(chosen);
    step.choices = pointer<const retort_choice>(upload(rows.choices));
    step.num_wanted = int32_t(rows.logits.size());
    step.num_sample = rows.pickable;
    const CUdeviceptr memory = upload(std::vector<retort_cuda_step>{step});
    EXPECT_EQ(launch(function(module, "k"), ctas, retort::cuda::kSampleThreads,
                     retort::cuda::kSampleSharedBytes, false, memory),
              CUDA_SUCCESS)
        << library().error();
    EXPECT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS) << report().dump(1).substr(0, 4000);
    std::vector<int32_t> tokens;
    for (size_t r = 0; r < keys.size(); ++r) {
      const uint64_t key = download<uint64_t>(chosen, keys.size())[r];
      tokens.push_back(key ? int32_t(0xffffffffu - uint32_t(key)) : -1);
      if (key && tokens.back() < rows.pickable)
        EXPECT_EQ(uint32_t(key >> 32),
                  sampling::keyOf(std::bit_cast<uint32_t>(rows.logits[r][size_t(tokens.back())])))
            << "row " << r;
    }
    return tokens;
  }
  void check(const Rows &rows, unsigned ctas) {
    const auto got = drawOnDevice(rows, ctas);
    ASSERT_EQ(got.size(), rows.logits.size());
    std::vector<engine::Candidate> room;
    for (size_t r = 0; r < got.size(); ++r) {
      const retort_choice &c = rows.choices[r];
      EXPECT_EQ(got[r], engine::drawToken({rows.logits[r].data(), size_t(rows.pickable)}, c, room))
          << "row " << r << ": " << rows.tokens() << " tokens, scale " << c.scale << " top_k "
          << c.top_k << " top_p " << c.top_p << " random " << c.random;
    }
    EXPECT_EQ(report()["findings"].size(), 0u) << report()["findings"].dump(1).substr(0, 2000);
  }
};

enum class Kind { Normal, Peaked, Flat, Equal, Levels, Holes, Wide, Tiny, Count };

std::vector<float> someLogits(Kind kind, int tokens, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> row;
  for (int i = 0; i < tokens; ++i) {
    const float z = normal(random);
    switch (kind) {
    case Kind::Normal:
      row.push_back(3 * z);
      break;
    case Kind::Peaked: // as of a model that knows what comes
      row.push_back(random() % 50 == 0 ? 12 + z : -10 + 2 * z);
      break;
    case Kind::Flat:
      row.push_back(1 + 1e-4f * z);
      break;
    case Kind::Equal:
      row.push_back(-0.7f);
      break;
    case Kind::Levels: // ties everywhere, zeros of both signs among them
      row.push_back(std::round(z) * (random() % 2 ? 0.5f : -0.5f));
      break;
    case Kind::Holes:
      row.push_back(random() % 4 == 0 ? NAN : random() % 4 == 0 ? -INFINITY : 2 * z);
      break;
    case Kind::Wide:
      row.push_back(z * std::exp2(float(random() % 200) - 100));
      break;
    default: // denormal numbers
      row.push_back(std::bit_cast<float>(uint32_t(random() % 5000 | random() % 2 << 31)));
    }
  }
  return row;
}

/// `count` rows of all kinds with all sorts of choices.
void addRows(Rows &rows, int count, unsigned seed) {
  std::mt19937_64 random(seed);
  auto one = [&](auto... values) {
    const std::array<double, sizeof...(values)> list = {double(values)...};
    return list[random() % list.size()];
  };
  for (int r = 0; r < count; ++r) {
    const auto kind = Kind(r % int(Kind::Count));
    const float temperature = float(one(1e-30, 0.01, 0.3, 0.7, 1, 1, 2, 10, 100));
    const auto topK = uint32_t(one(0, 0, 1, 2, 40, 700, rows.tokens() - 1, rows.tokens(), 4e9));
    const float topP = float(one(0, 0, 1, 1e-12, 0.1, 0.5, 0.9, 0.95, 0.999999));
    const float minP = float(one(0, 0, 0, 1e-9, 1e-5, 0.05, 0.5, 1));
    const uint64_t spread = random();
    rows.add(someLogits(kind, rows.tokens(), unsigned(random())), temperature, topK, topP, minP,
             one(0, 1, 1, 1, 1) == 0 ? (spread % 2 ? ~uint64_t(0) : 0) : random());
  }
}

TEST_F(SampleKernel, SmallVocabularies) {
  open(90, 3, /*check=*/true);
  for (const auto [first, second, pickable] :
       {std::array{1, 0, 1}, {2, 0, 2}, {33, 0, 30}, {187, 0, 187}, {16, 9, 25}, {64, 60, 100}}) {
    Rows rows{first, second, pickable, {}, {}};
    addRows(rows, 32, unsigned(first + pickable));
    check(rows, 3);
  }
}

/// More tokens than the list has room for, so bins and ranges are cut, on one device and two.
TEST_F(SampleKernel, LargeVocabularies) {
  open(80, 4, /*check=*/false);
  for (const auto [first, second, pickable] :
       {std::array{9000, 0, 9000}, {49152, 0, 49152}, {20000, 12345, 32000}}) {
    Rows rows{first, second, pickable, {}, {}};
    addRows(rows, 40, unsigned(first));
    check(rows, 5);
  }
}

TEST_F(SampleKernel, ChecksFindNothing) {
  for (int seed : {1, 2}) {
    set("seed", seed);
    open(90, 2, /*check=*/true);
    Rows rows{4000, 3000, 6500, {}, {}};
    addRows(rows, 8, unsigned(seed));
    check(rows, seed == 1 ? 2 : 8);
  }
  set("seed", 0);
}

/// Rows without a token to draw, with an infinite logit, and greedy ones among others.
TEST_F(SampleKernel, RowsThatAreNotDrawn) {
  open(90, 2, /*check=*/true);
  for (int second : {0, 20}) {
    const int first = 50;
    Rows rows{first, second, first + second, {}, {}};
    const size_t n = size_t(first + second);
    rows.add(std::vector<float>(n, NAN), 1, 0, 1, 0, 5);
    rows.add(std::vector<float>(n, -INFINITY), 1, 3, 0.5f, 0, 5);
    auto row = someLogits(Kind::Normal, int(n), 1);
    row[n - 5] = row[n - 3] = INFINITY;
    rows.add(row, 1, 0, 1, 0, ~uint64_t(0));
    row = someLogits(Kind::Normal, int(n), 2);
    row[n - 4] = 100;
    rows.add(row, 0, 0, 1, 0, ~uint64_t(0));
    rows.add(row, 100, 0, 1, 0, ~uint64_t(0));
    check(rows, 1);
    const auto got = drawOnDevice(rows, 5);
    EXPECT_EQ(got[0], -1);
    EXPECT_EQ(got[1], -1);
    EXPECT_EQ(got[2], int(n) - 5);
    EXPECT_EQ(got[3], int(n) - 4);
    EXPECT_NE(got[4], int(n) - 4);
  }
}

} // namespace
} // namespace retort::test
