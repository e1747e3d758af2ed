//===- AttentionTest.cpp - Appending to the paged cache and attending over it -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "Kernels.h"
#include <cmath>

using namespace retort;
using namespace retort::test;

namespace {

struct Shape {
  int64_t heads, kvHeads, dim, length, window;
  float softCap;
  enum { F32, F16, BF16, F8 } cache = F32;
  bool hasSinks = false;
  /// Of query heads, from far below the scores to above them.
  std::vector<float> sinks() const {
    std::vector<float> result;
    for (int64_t h = 0; hasSinks && h < heads; ++h)
      result.push_back(float(h) - 3);
    return result;
  }
};

/// The kernels of the shape's cache, and what a value becomes in it.
#define RETORT_OF_CACHE(kernels, name, s)                                                          \
  ((s).cache == Shape::F16    ? (kernels).name##_f16                                               \
   : (s).cache == Shape::BF16 ? (kernels).name##_bf16                                              \
   : (s).cache == Shape::F8   ? (kernels).name##_f8e4m3                                            \
                              : (kernels).name##_f32)
float rounded(const Shape &s, float v) {
  return s.cache == Shape::F16    ? fromHalf(toHalf(v))
         : s.cache == Shape::BF16 ? fromBFloat16(toBFloat16(v))
         : s.cache == Shape::F8   ? fromE4m3(toE4m3(v))
                                  : v;
}

class AttentionTest : public KernelTest {
protected:
  /// A slot whose `length` positions are in pages in random order, amid pages full of NaN.
  struct Slot {
    std::vector<float> keys, values; // [length][kvHeads*dim], as the cache holds them
    Bytes cache{0};
    std::vector<int32_t> pages;
    int64_t pageBytes, layerOffset;
  };

  Slot fill(const Shape &s) {
    int64_t width = s.kvHeads * s.dim, numPages = (s.length + 15) / 16;
    Slot slot{floats(s.length * width), floats(s.length * width), Bytes(0), {}, 0, 0};
    int64_t layer = v3::rk_cache_layer_bytes(s.kvHeads, s.dim,
                                             s.cache == Shape::F32  ? 4
                                             : s.cache == Shape::F8 ? 1
                                                                    : 2);
    slot.pageBytes = 3 * layer, slot.layerOffset = layer;
    slot.cache = Bytes(2 * numPages * slot.pageBytes);
    std::ranges::fill(slot.cache.span(), uint8_t(0xff)); // NaN in all formats
    for (int64_t p = 0; p < 2 * numPages; ++p)
      slot.pages.push_back(int32_t(p));
    std::ranges::shuffle(slot.pages, random);
    for (int64_t t = 0; t < s.length; ++t)
      RETORT_OF_CACHE(isa(), rk_cache_append,
                      s)(&slot.keys[t * width], &slot.values[t * width], s.kvHeads, s.dim,
                         slot.cache.data(), slot.pages.data(), slot.pageBytes, slot.layerOffset, t);
    for (auto *stored : {&slot.keys, &slot.values})
      for (float &v : *stored)
        v = rounded(s, v);
    return slot;
  }

  std::vector<float> attend(const Shape &s, const Slot &slot, const std::vector<float> &q,
                            int64_t position, int64_t step) {
    std::vector<float> out(q.size(), NAN);
    int64_t group = s.heads / s.kvHeads;
    const std::vector<float> sinks = s.sinks();
    for (int64_t h = 0; h < s.heads;) {
      int64_t end = std::min({s.heads, h + step, (h / group + 1) * group});
      RETORT_OF_CACHE(isa(), rk_attention,
                      s)(q.data(), s.heads, s.kvHeads, s.dim, slot.cache.data(), slot.pages.data(),
                         slot.pageBytes, slot.layerOffset, position, s.window, 0.17f, s.softCap,
                         s.hasSinks ? sinks.data() : nullptr, h, end, out.data());
      h = end;
    }
    return out;
  }
};

/// Attention of one query head in double precision.
std::vector<double> reference(const Shape &s, const float *q, const float *keys,
                              const float *values, int64_t head, int64_t position) {
  const int64_t kvHead = head / (s.heads / s.kvHeads);
  int64_t width = s.kvHeads * s.dim,
          begin = s.window ? std::max<int64_t>(0, position - s.window + 1) : 0;
  std::vector<double> scores, out(s.dim);
  double most = -INFINITY, total = 0;
  for (int64_t t = begin; t <= position; ++t) {
    double score = 0;
    for (int64_t d = 0; d < s.dim; ++d)
      score += double(q[d]) * keys[t * width + kvHead * s.dim + d];
    score *= double(0.17f);
    if (s.softCap != 0)
      score = s.softCap * std::tanh(score / s.softCap);
    scores.push_back(score);
    most = std::max(most, score);
  }
  if (s.hasSinks) {
    most = std::max(most, double(s.sinks()[size_t(head)]));
    total = std::exp(s.sinks()[size_t(head)] - most);
  }
  for (double score : scores)
    total += std::exp(score - most);
  for (int64_t t = begin; t <= position; ++t)
    for (int64_t d = 0; d < s.dim; ++d)
      out[d] += std::exp(scores[t - begin] - most) / total * values[t * width + kvHead * s.dim + d];
  return out;
}

const Shape kShapes[] = {
    {9, 3, 64, 70, 0, 0, Shape::F32},        {9, 3, 64, 70, 0, 0, Shape::F16},
    {4, 4, 16, 33, 0, 0, Shape::F32},        {8, 1, 32, 100, 17, 0, Shape::F32},
    {14, 2, 64, 49, 16, 30, Shape::F16},     {2, 1, 256, 40, 5, 50, Shape::F32},
    {5, 1, 80, 16, 1, 0, Shape::F16},        {3, 3, 48, 1, 0, 0, Shape::F32},
    {9, 3, 64, 70, 0, 0, Shape::BF16},       {9, 3, 64, 70, 0, 0, Shape::F8},
    {6, 2, 48, 100, 17, 20, Shape::F8},      {9, 3, 64, 70, 0, 0, Shape::F32, true},
    {7, 1, 32, 100, 17, 5, Shape::F16, true}};

TEST_P(AttentionTest, MatchesDoublePrecision) {
  for (const Shape &s : kShapes) {
    Slot slot = fill(s);
    for (int64_t position = 0; position < s.length; position += 1 + position / 5) {
      std::vector<float> q = floats(s.heads * s.dim);
      std::vector<float> out = attend(s, slot, q, position, s.heads);
      for (int64_t h = 0; h < s.heads; ++h) {
        std::vector<double> exact =
            reference(s, &q[h * s.dim], slot.keys.data(), slot.values.data(), h, position);
        for (int64_t d = 0; d < s.dim; ++d)
          ASSERT_NEAR(out[h * s.dim + d], exact[d], 3e-6)
              << "heads " << s.heads << " dim " << s.dim << " position " << position << " head "
              << h;
      }
    }
  }
}

TEST_P(AttentionTest, AHeadsBitsDoNotDependOnTheSplit) {
  for (const Shape &s : kShapes) {
    Slot slot = fill(s);
    std::vector<float> q = floats(s.heads * s.dim);
    std::vector<float> all = attend(s, slot, q, s.length - 1, s.heads);
    for (int64_t step : {1, 2, 3, 5})
      EXPECT_EQ(attend(s, slot, q, s.length - 1, step), all) << "step " << step;
  }
}

TEST_P(AttentionTest, LargeScoresNeitherOverflowNorVanish) {
  Shape s{1, 1, 16, 40, 0, 0, Shape::F32};
  Slot slot = fill(s);
  std::vector<float> q(16, 3000.0f);
  std::vector<float> out = attend(s, slot, q, 39, 1);
  std::vector<double> exact = reference(s, q.data(), slot.keys.data(), slot.values.data(), 0, 39);
  for (int64_t d = 0; d < 16; ++d)
    EXPECT_NEAR(out[d], exact[d], 1e-4);
}

// One position has a weight of 1, so what was stored comes back: numbers of every size, ties, both
// sides of every border of e4m3, and what is beyond it.
TEST_P(AttentionTest, AppendRoundsToNearestEven) {
  for (auto cache : {Shape::F16, Shape::BF16, Shape::F8}) {
    Shape s{1, 1, 1024, 1, 0, 0, cache};
    std::vector<float> edges = {0, -0.0f, 448, 464, 480, 1e4f, -500, 0x1p-10f, 0x3p-10f, 0x1p-6f};
    for (int code = 0; code < 126; ++code) {
      const float tie = (fromE4m3(uint8_t(code)) + fromE4m3(uint8_t(code + 1))) / 2;
      edges.insert(edges.end(), {tie, -tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 1e9f)});
    }
    edges.resize(1024);
    Bytes cacheBytes(v3::rk_cache_layer_bytes(1, 1024, 2));
    const int32_t page = 0;
    std::vector<float> out(1024), q(1024, 0.0f);
    RETORT_OF_CACHE(isa(), rk_cache_append, s)
    (edges.data(), edges.data(), 1, 1024, cacheBytes.data(), &page, 65536, 0, 0);
    RETORT_OF_CACHE(isa(), rk_attention, s)
    (q.data(), 1, 1, 1024, cacheBytes.data(), &page, 65536, 0, 0, 0, 1, 0, nullptr, 0, 1,
     out.data());
    for (size_t i = 0; i < edges.size(); ++i)
      ASSERT_EQ(out[i], rounded(s, edges[i])) << "format " << cache << " of " << edges[i];
  }
}

RETORT_BOTH_ISAS(AttentionTest);

} // namespace
