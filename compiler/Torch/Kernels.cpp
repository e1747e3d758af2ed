//===- Kernels.cpp - Fused loops of the executor, for one instruction set ----------===//
// SPDX-License-Identifier: Apache-2.0
//
// Compiled once with -march=x86-64-v3 and once with -march=x86-64-v4; RETORT_ISA is v3 or v4.
// Includes nothing that could put an inline function of this instruction set into other code.
//
//===------------------------------------------------------------------------------===//
#include "compiler/Torch/Kernels.h"

namespace retort::exec::RETORT_ISA {
namespace {

inline float load(float value) { return value; }
inline float load(Bf16 value) { return __builtin_bit_cast(float, uint32_t(value.bits) << 16); }
inline void store(float &place, float value) { place = value; }
inline void store(Bf16 &place, float value) {
  // Round to nearest even; a NaN keeps its sign and stays one.
  const uint32_t bits = __builtin_bit_cast(uint32_t, value);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  place.bits = uint16_t(value == value ? rounded : (bits >> 16) | 0x40);
}

/// e^x to about 1 ulp: 2^n * p(r), the polynomial of Cephes' expf. Below -87.3: 0.
inline float exponential(float x) {
  const float clamped = x > 88.3f ? 88.3f : x;
  const float n = __builtin_rintf(clamped * 1.44269504f);
  const float r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const float safe = n < -126.0f ? -126.0f : n;
  const float scale = __builtin_bit_cast(float, (int32_t(safe) + 127) << 23);
  return x < -87.3f ? 0.0f : p * scale;
}

/// log(x) of a normal number above 0, to about 1 ulp (Cephes' logf).
inline float logarithm(float x) {
  const uint32_t bits = __builtin_bit_cast(uint32_t, x);
  float e = float(int32_t(bits >> 23) - 126);
  float m = __builtin_bit_cast(float, (bits & 0x007fffff) | 0x3f000000);
  const bool low = m < 0.707106781f;
  e -= low ? 1.0f : 0.0f;
  m = (low ? m + m : m) - 1.0f;
  const float z = m * m;
  float p = 7.0376836292e-2f;
  p = p * m - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f;
  p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f;
  p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f;
  p = p * m + 3.3333331174e-1f;
  p = p * m * z + e * -2.12194440e-4f - 0.5f * z;
  return m + p + e * 0.693359375f;
}

/// Accurate near 0 too, where 1 - 2 / (e^2x + 1) loses its digits.
inline float hyperbolicTangent(float x) {
  const float magnitude = __builtin_fabsf(x);
  const float t = 1.0f - 2.0f / (exponential(2.0f * magnitude) + 1.0f);
  const float z = x * x;
  float p = -5.70498872745e-3f;
  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  return magnitude < 0.625f ? p * z * x + x : __builtin_copysignf(t, x);
}

/// The error function to 1.2e-7, from the incomplete gamma's fit (Numerical Recipes, 6.2).
inline float errorFunction(float x) {
  const float z = __builtin_fabsf(x), t = 1.0f / (1.0f + 0.5f * z);
  float p = 0.17087277f;
  p = p * t - 0.82215223f;
  p = p * t + 1.48851587f;
  p = p * t - 1.13520398f;
  p = p * t + 0.27886807f;
  p = p * t - 0.18628806f;
  p = p * t + 0.09678418f;
  p = p * t + 0.37409196f;
  p = p * t + 1.00002368f;
  p = p * t - 1.26551223f;
  return __builtin_copysignf(1.0f - t * exponential(-z * z + p), x);
}

/// The largest of value(i), i in [begin, end), in 64 lanes, as compilers do not reorder maxima.
template <typename Value> inline float largest(int64_t begin, int64_t end, Value value) {
  float lanes[64];
  for (float &lane : lanes)
    lane = -3.4e38f;
  int64_t i = begin;
  for (; i + 64 <= end; i += 64)
    for (int64_t j = 0; j < 64; ++j) {
      const float x = value(i + j);
      lanes[j] = x > lanes[j] ? x : lanes[j];
    }
  float top = -3.4e38f;
  for (; i < end; ++i)
    top = __builtin_fmaxf(top, value(i));
  for (const float lane : lanes)
    top = __builtin_fmaxf(top, lane);
  return top;
}

inline int64_t firstEqual(const float *values, int64_t count, float value) {
  int64_t i = 0;
  while (i + 1 < count && values[i] != value)
    ++i;
  return i;
}

struct Gate {
  float value, slope;
};
using enum Activation;

template <Activation Act> inline Gate gateOf(float x) {
  if constexpr (Act == Silu) {
    const float s = 1.0f / (1.0f + exponential(-x));
    return {x * s, s + x * s * (1.0f - s)};
  } else if constexpr (Act == Sigmoid) {
    const float s = 1.0f / (1.0f + exponential(-x));
    return {s, s * (1.0f - s)};
  } else if constexpr (Act == Gelu) {
    const float phi = 0.5f * (1.0f + errorFunction(x * 0.70710678f));
    return {x * phi, phi + x * 0.39894228f * exponential(-0.5f * x * x)};
  } else {
    const float t = hyperbolicTangent(0.79788456f * (x + 0.044715f * x * x * x));
    const float slope = 0.79788456f * (1.0f + 0.134145f * x * x);
    return {0.5f * x * (1.0f + t), 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope};
  }
}

template <typename In, typename T>
void norm(const In *in, const float *gain, T *out, float *rstd, int64_t begin, int64_t end,
          int64_t width, float eps, bool offset) {
  const float one = offset ? 1.0f : 0.0f;
  for (int64_t run = begin; run < end; ++run) {
    const In *x = in + run * width;
    T *y = out + run * width;
    float sum = 0;
#pragma clang loop vectorize(enable) interleave_count(4)
    for (int64_t i = 0; i < width; ++i)
      sum += load(x[i]) * load(x[i]);
    const float scale = 1.0f / __builtin_sqrtf(sum / float(width) + eps);
    rstd[run] = scale;
    for (int64_t i = 0; i < width; ++i)
      store(y[i], load(x[i]) * scale * (gain[i] + one));
  }
}

template <typename In, typename T>
void normBackward(const In *in, const float *gain, const float *rstd, const T *gradOut, In *gradIn,
                  float *gradGain, int64_t begin, int64_t end, int64_t width, bool offset) {
  const float one = offset ? 1.0f : 0.0f;
  for (int64_t run = begin; run < end; ++run) {
    const In *x = in + run * width;
    const T *dy = gradOut + run * width;
    In *dx = gradIn + run * width;
    const float scale = rstd[run];
    float dot = 0;
#pragma clang loop vectorize(enable) interleave_count(4)
    for (int64_t i = 0; i < width; ++i)
      dot += load(x[i]) * load(dy[i]) * (gain[i] + one);
    const float pull = dot * scale * scale * scale / float(width);
    for (int64_t i = 0; i < width; ++i) {
      const float xi = load(x[i]), di = load(dy[i]);
      gradGain[i] += di * xi * scale;
      store(dx[i], di * (gain[i] + one) * scale - xi * pull);
    }
  }
}

template <typename T>
void rope(const T *in, T *out, const int32_t *positions, const float *cosines, const float *sines,
          int64_t begin, int64_t end, int64_t heads, int64_t headDim, int64_t dims,
          float direction) {
  const int64_t half = dims / 2;
  for (int64_t row = begin; row < end; ++row) {
    const float *c = cosines + positions[row] * half, *s = sines + positions[row] * half;
    for (int64_t head = 0; head < heads; ++head) {
      const T *x = in + (row * heads + head) * headDim;
      T *y = out + (row * heads + head) * headDim;
      for (int64_t i = 0; i < half; ++i) {
        const float a = load(x[i]), b = load(x[i + half]), turn = direction * s[i];
        store(y[i], a * c[i] - b * turn);
        store(y[i + half], b * c[i] + a * turn);
      }
      for (int64_t i = dims; i < headDim; ++i)
        y[i] = x[i];
    }
  }
}

template <Activation Act, typename T>
void gluOf(const T *gate, const T *up, T *out, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i)
    store(out[i], gateOf<Act>(load(gate[i])).value * load(up[i]));
}

template <typename T>
void glu(const T *gate, const T *up, T *out, int64_t begin, int64_t end, Activation act) {
  act == Silu      ? gluOf<Silu>(gate, up, out, begin, end)
  : act == Gelu    ? gluOf<Gelu>(gate, up, out, begin, end)
  : act == Sigmoid ? gluOf<Sigmoid>(gate, up, out, begin, end)
                   : gluOf<GeluTanh>(gate, up, out, begin, end);
}

template <Activation Act, typename T>
void gluBackwardOf(const T *gate, const T *up, const T *gradOut, T *gradGate, T *gradUp,
                   int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const Gate g = gateOf<Act>(load(gate[i]));
    const float d = load(gradOut[i]);
    store(gradGate[i], d * load(up[i]) * g.slope);
    store(gradUp[i], d * g.value);
  }
}

template <typename T>
void gluBackward(const T *gate, const T *up, const T *gradOut, T *gradGate, T *gradUp,
                 int64_t begin, int64_t end, Activation act) {
  act == Silu      ? gluBackwardOf<Silu>(gate, up, gradOut, gradGate, gradUp, begin, end)
  : act == Gelu    ? gluBackwardOf<Gelu>(gate, up, gradOut, gradGate, gradUp, begin, end)
  : act == Sigmoid ? gluBackwardOf<Sigmoid>(gate, up, gradOut, gradGate, gradUp, begin, end)
                   : gluBackwardOf<GeluTanh>(gate, up, gradOut, gradGate, gradUp, begin, end);
}

template <typename T>
void residual(const float *stream, const T *output, float *out, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i)
    out[i] = stream[i] + load(output[i]);
}

template <bool Capped> inline float scoreOf(float product, ScoreRule rule) {
  const float score = product * rule.scale;
  if constexpr (Capped)
    return rule.softCap * hyperbolicTangent(score / rule.softCap);
  return score;
}

template <bool Capped, typename T>
float softmaxOf(T *row, int64_t keys, int64_t lo, int64_t hi, ScoreRule rule) {
  const float most =
      largest(lo, hi, [&](int64_t i) { return scoreOf<Capped>(load(row[i]), rule); });
  const float top = most > rule.sink ? most : rule.sink;
  float sum = exponential(rule.sink - top);
#pragma clang loop vectorize(enable) interleave_count(4)
  for (int64_t i = lo; i < hi; ++i)
    sum += exponential(scoreOf<Capped>(load(row[i]), rule) - top);
  const float scale = 1.0f / sum;
  for (int64_t i = lo; i < hi; ++i)
    store(row[i], exponential(scoreOf<Capped>(load(row[i]), rule) - top) * scale);
  for (int64_t i = 0; i < lo; ++i)
    store(row[i], 0.0f);
  for (int64_t i = hi; i < keys; ++i)
    store(row[i], 0.0f);
  return top + logarithm(sum);
}

template <typename T>
float softmaxRow(T *row, int64_t keys, int64_t lo, int64_t hi, ScoreRule rule) {
  return rule.softCap > 0 ? softmaxOf<true>(row, keys, lo, hi, rule)
                          : softmaxOf<false>(row, keys, lo, hi, rule);
}

template <bool Capped, typename T>
void softmaxBackwardOf(T *row, T *gradRow, int64_t keys, int64_t lo, int64_t hi, float logSum,
                       float delta, ScoreRule rule) {
  for (int64_t i = lo; i < hi; ++i) {
    const float score = scoreOf<Capped>(load(row[i]), rule);
    const float p = exponential(score - logSum);
    float slope = rule.scale;
    if constexpr (Capped)
      slope *= 1.0f - score * score / (rule.softCap * rule.softCap);
    store(row[i], p);
    store(gradRow[i], p * (load(gradRow[i]) - delta) * slope);
  }
  for (int64_t i = 0; i < lo; ++i)
    store(row[i], 0.0f), store(gradRow[i], 0.0f);
  for (int64_t i = hi; i < keys; ++i)
    store(row[i], 0.0f), store(gradRow[i], 0.0f);
}

template <typename T>
void softmaxRowBackward(T *row, T *gradRow, int64_t keys, int64_t lo, int64_t hi, float logSum,
                        float delta, ScoreRule rule) {
  rule.softCap > 0 ? softmaxBackwardOf<true>(row, gradRow, keys, lo, hi, logSum, delta, rule)
                   : softmaxBackwardOf<false>(row, gradRow, keys, lo, hi, logSum, delta, rule);
}

/// A row of logits as log-probabilities at a temperature.
struct LogRow {
  float logSum;  ///< of exp(logit / temperature)
  float logSum1; ///< of exp(logit)
  float top;     ///< the largest logit
};

/// Widens a row of logits into `wide`, soft cap applied, and finds its normalisers.
template <typename T>
LogRow widen(const T *logits, float *wide, int64_t vocab, float softCap, float temperature) {
  if (softCap > 0)
    for (int64_t i = 0; i < vocab; ++i)
      wide[i] = softCap * hyperbolicTangent(load(logits[i]) / softCap);
  else
    for (int64_t i = 0; i < vocab; ++i)
      wide[i] = load(logits[i]);
  const float top = largest(0, vocab, [&](int64_t i) { return wide[i]; });
  float sum = 0, sum1 = 0;
  const float inverse = 1.0f / temperature;
#pragma clang loop vectorize(enable) interleave_count(4)
  for (int64_t i = 0; i < vocab; ++i)
    sum += exponential((wide[i] - top) * inverse);
  if (temperature != 1.0f)
#pragma clang loop vectorize(enable) interleave_count(4)
    for (int64_t i = 0; i < vocab; ++i)
      sum1 += exponential(wide[i] - top);
  else
    sum1 = sum;
  return {top * inverse + logarithm(sum), top + logarithm(sum1), top};
}

struct Divergences {
  float forward, reverse, toMean, fromMean; ///< KL(p|q), KL(q|p), KL(q|m), KL(p|m)
};

/// At the temperature of s and t's normalisers.
Divergences diverge(const float *s, const float *t, int64_t vocab, float sSum, float tSum,
                    float inverse, bool both) {
  float forward = 0, reverse = 0, toMean = 0, fromMean = 0;
  if (!both) {
#pragma clang loop vectorize(enable) interleave_count(4)
    for (int64_t i = 0; i < vocab; ++i) {
      const float lq = s[i] * inverse - sSum, lp = t[i] * inverse - tSum;
      forward += exponential(lp) * (lp - lq);
    }
    return {forward, 0, 0, 0};
  }
#pragma clang loop vectorize(enable) interleave_count(2)
  for (int64_t i = 0; i < vocab; ++i) {
    const float lq = s[i] * inverse - sSum, lp = t[i] * inverse - tSum;
    const float q = exponential(lq), p = exponential(lp);
    const float lm = logarithm(0.5f * (p + q) + 1e-37f);
    forward += p * (lp - lq);
    reverse += q * (lq - lp);
    toMean += q * (lq - lm);
    fromMean += p * (lp - lm);
  }
  return {forward, reverse, toMean, fromMean};
}

template <typename T>
void lossGradient(T *out, const float *s, const float *t, int64_t vocab, int64_t target,
                  const LossRule &rule, const LogRow &ls, const LogRow &lt, const Divergences &d) {
  const float inverse = 1.0f / rule.temperature, heat = rule.temperature;
  const bool rare = rule.reverseKl != 0 || rule.jensenShannon != 0;
  const float cap = rule.studentSoftCap > 0 ? 1.0f / rule.studentSoftCap : 0.0f;
  const float ceShift = ls.logSum1, sSum = ls.logSum, tSum = lt.logSum;
  const float ce = rule.crossEntropy, fkl = t ? rule.forwardKl * heat : 0.0f;
  const float rkl = rule.reverseKl * heat, jsd = 0.5f * rule.jensenShannon * heat;
  auto each = [&](int64_t i, float g) {
    const float capped = s[i] * cap;
    store(out[i], g * (1.0f - capped * capped));
  };
  if (!t) {
    for (int64_t i = 0; i < vocab; ++i)
      each(i, ce * exponential(s[i] - ceShift));
  } else if (!rare && (ce == 0 || heat == 1.0f)) {
    for (int64_t i = 0; i < vocab; ++i)
      each(i, (ce + fkl) * exponential(s[i] * inverse - sSum) -
                  fkl * exponential(t[i] * inverse - tSum));
  } else {
    for (int64_t i = 0; i < vocab; ++i) {
      const float lq = s[i] * inverse - sSum, lp = t[i] * inverse - tSum;
      const float q = exponential(lq), p = exponential(lp);
      const float lm = logarithm(0.5f * (p + q) + 1e-37f);
      each(i, ce * exponential(s[i] - ceShift) + fkl * (q - p) + rkl * q * (lq - lp - d.reverse) +
                  jsd * q * (lq - lm - d.toMean));
    }
  }
  if (ce != 0) {
    const float capped = s[target] * cap;
    // The target's element again: its probability less one.
    const float lq = s[target] * inverse - sSum, q = exponential(lq);
    float g = ce * (exponential(s[target] - ceShift) - 1.0f);
    if (t) {
      const float lp = t[target] * inverse - tSum, p = exponential(lp);
      const float lm = logarithm(0.5f * (p + q) + 1e-37f);
      g += fkl * (q - p) + rkl * q * (lq - lp - d.reverse) + jsd * q * (lq - lm - d.toMean);
    }
    store(out[target], g * (1.0f - capped * capped));
  }
}

template <typename T>
RowFigures lossRow(T *student, const T *teacher, int64_t vocab, int64_t target, LossRule rule,
                   bool gradient, float *scratch) {
  float *s = scratch, *t = teacher ? scratch + vocab : nullptr;
  const LogRow ls = widen(student, s, vocab, rule.studentSoftCap, rule.temperature);
  RowFigures figures{0, ls.logSum1 - s[target], 0, 0};
  figures.loss = rule.crossEntropy * figures.nll;
  LogRow lt{};
  Divergences d{};
  if (t) {
    lt = widen(teacher, t, vocab, rule.teacherSoftCap, rule.temperature);
    const bool both = rule.reverseKl != 0 || rule.jensenShannon != 0;
    d = diverge(s, t, vocab, ls.logSum, lt.logSum, 1.0f / rule.temperature, both);
    if (!gradient)
      figures.agree = firstEqual(s, vocab, ls.top) == firstEqual(t, vocab, lt.top);
    figures.kl = d.forward;
    const float heat = rule.temperature * rule.temperature;
    figures.loss += heat * (rule.forwardKl * d.forward + rule.reverseKl * d.reverse +
                            rule.jensenShannon * 0.5f * (d.toMean + d.fromMean));
  }
  if (gradient)
    lossGradient(student, s, t, vocab, target, rule, ls, lt, d);
  return figures;
}

template <typename T>
void accumulate(const T *grad, float *sum, int64_t begin, int64_t end, bool add) {
  if (add)
    for (int64_t i = begin; i < end; ++i)
      sum[i] += load(grad[i]);
  else
    for (int64_t i = begin; i < end; ++i)
      sum[i] = load(grad[i]);
}

template <bool Copy, typename T>
void adamwOf(float *weight, float *mean, float *variance, const float *grad, T *copy, int64_t begin,
             int64_t end, float rate, float decay, float beta1, float beta2, float epsilon,
             float step1, float step2, float gradScale) {
  const float keep = 1.0f - rate * decay;
  for (int64_t i = begin; i < end; ++i) {
    const float g = grad[i] * gradScale;
    const float m = beta1 * mean[i] + (1.0f - beta1) * g;
    const float v = beta2 * variance[i] + (1.0f - beta2) * g * g;
    const float w = weight[i] * keep - rate * (m * step1) / (__builtin_sqrtf(v * step2) + epsilon);
    mean[i] = m;
    variance[i] = v;
    weight[i] = w;
    if constexpr (Copy)
      store(copy[i], w);
  }
}

template <typename T>
void adamw(float *weight, float *mean, float *variance, const float *grad, T *copy, int64_t begin,
           int64_t end, float rate, float decay, float beta1, float beta2, float epsilon,
           float step1, float step2, float gradScale) {
  copy ? adamwOf<true>(weight, mean, variance, grad, copy, begin, end, rate, decay, beta1, beta2,
                       epsilon, step1, step2, gradScale)
       : adamwOf<false>(weight, mean, variance, grad, copy, begin, end, rate, decay, beta1, beta2,
                        epsilon, step1, step2, gradScale);
}

template <typename T>
constexpr KernelTable<T> kTable{norm<float, T>,
                                norm<T, T>,
                                normBackward<float, T>,
                                normBackward<T, T>,
                                rope<T>,
                                glu<T>,
                                gluBackward<T>,
                                residual<T>,
                                softmaxRow<T>,
                                softmaxRowBackward<T>,
                                lossRow<T>,
                                accumulate<T>,
                                adamw<T>};
} // namespace

template <> const KernelTable<float> &table<float>() { return kTable<float>; }
template <> const KernelTable<Bf16> &table<Bf16>() { return kTable<Bf16>; }

double sumOfSquares(const float *values, int64_t begin, int64_t end) {
  double sum = 0;
#pragma clang loop vectorize(enable) interleave_count(4)
  for (int64_t i = begin; i < end; ++i)
    sum += double(values[i]) * double(values[i]);
  return sum;
}

} // namespace retort::exec::RETORT_ISA
