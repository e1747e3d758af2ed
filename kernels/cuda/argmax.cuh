// Products whose results are scores to choose from: the logits, with their arg-max in the epilogue.
// SPDX-License-Identifier: Apache-2.0
//
// A step then moves a token a row and not a vocabulary of logits. A score and its index are one
// 64-bit key, larger for the larger score and for the lower index of two equal ones, so the maximum
// of keys, in whatever order they come, is what the host's sampler picks at temperature 0. Each CTA
// brings its best to the row's key in memory by one atomic maximum: no further phase, no wait, no
// counters, and the same bits every time. Nobody reads the keys before the step ends. Of two
// devices each has the keys of its part of the vocabulary, and the host compares them.
#pragma once
#include "kernels/cuda/matmul.cuh"
#include "kernels/cuda/prefill_matmul.cuh"
namespace retort::cuda {

/// The key of score y at `index`; 0, less than any other, for NaN and -infinity, which nobody
/// picks. -0 and 0 are equal.
RETORT_DEVICE uint64_t scoreKey(float y, int index) {
  const uint32_t key = sampling::keyOf(asBits(y));
  return key ? uint64_t(key) << 32 | (0xffffffffu - uint32_t(index)) : 0;
}
RETORT_DEVICE uint64_t maxKey(uint64_t a, uint64_t b) { return a > b ? a : b; }
/// The largest key of Width neighbouring lanes, in each of them. All lanes.
template <int Width> RETORT_DEVICE uint64_t warpMaxKey(uint64_t key) {
#pragma unroll
  for (int mask = Width / 2; mask > 0; mask /= 2) {
    const uint32_t high = shflXor(uint32_t(key >> 32), mask);
    const uint32_t low = shflXor(uint32_t(key), mask);
    key = maxKey(key, uint64_t(high) << 32 | low);
  }
  return key;
}

/// What becomes of a score: kept as a logit, compared, or both.
template <ProductShape P> struct Scores {
  float *logits;    ///< [rows][destStride], or null
  uint64_t *chosen; ///< [rows], or null
  int choose;       ///< scores to choose from: those below this index
  const float *bias;

  RETORT_DEVICE Scores(const Cta &cta, float *logits, const float *bias)
      : logits(logits), chosen(cta.step.chosen), choose(cta.step.num_choose), bias(bias) {}
  /// The key to compare; 0 if there is nothing to.
  RETORT_DEVICE uint64_t take(int r, int n, float y) const {
    y = biasedAndCapped<P>(y, bias, n);
    if (logits)
      logits[int64_t(r) * P.destStride + n] = y;
    return chosen && n < choose ? scoreKey(y, n) : 0;
  }
};

/// As matmul without a residual; dest may be null. A thread keeps the best of its row and of every
/// 16th weight row, the 16 threads of a row meet at the end.
template <ProductShape P>
RETORT_PHASE void matmulArgmax(Cta &cta, const float *source, const float *gain,
                               const uint8_t *weights, float *dest, const float *bias,
                               const int32_t *wanted, Partials partials = {}) {
  const Stage<P> stage = {source, gain, wanted, partials};
  const Scores<P> scores(cta, dest, bias);
  uint64_t best = 0;
  int row = 0; // a thread has elements of one row only: Product::tiles
  Product<P>::runRows(cta, stage, weights, [&](bool mine, int r, int n, const float(&sums)[1]) {
    if (!mine)
      return;
    row = r;
    best = maxKey(best, scores.take(r, n, sums[0]));
  });
  best = warpMaxKey<16>(best);
  row = int(shfl(uint32_t(row), int(laneIndex() & 16))); // column 0 of a tile is never past the end
  if (laneIndex() % 16 == 0 && best != 0)
    redMaxRelaxedGpu(scores.chosen + row, best);
}

namespace prefill {
/// As prefill::matmul without a residual; dest may be null. A thread keeps the best of a row until
/// it comes to another: one row is wanted of most prefills.
template <ProductShape P>
RETORT_PHASE void matmulArgmax(Cta &cta, const float *source, const float *gain,
                               const uint8_t *weights, float *dest, const float *bias,
                               const int32_t *wanted) {
  const Product<P> product = {source, gain, weights, wanted, Product<P>::numRows(cta)};
  const Scores<P> scores(cta, dest, bias);
  uint64_t best = 0;
  int row = 0;
  product.tiles([&](int r, int n, float y, float) {
    if (r != row && best != 0)
      redMaxRelaxedGpu(scores.chosen + row, best);
    const uint64_t key = scores.take(r, n, y);
    best = r == row ? maxKey(best, key) : key;
    row = r;
  });
  if (best != 0)
    redMaxRelaxedGpu(scores.chosen + row, best);
}
} // namespace prefill

} // namespace retort::cuda
