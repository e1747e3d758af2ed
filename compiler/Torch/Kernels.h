//===- Kernels.h - Fused loops of the executor, for the CPU ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// What libtorch would do in several passes over memory, in one. Plain loops on raw pointers that
// the compiler vectorises; Kernels.cpp is compiled once for each instruction set, and kernels<T>()
// picks at run time. T is the type of activations (float or Bf16); the residual stream, gains,
// statistics and gradients of weights are float. Each call works on rows or elements
// [begin, end), so that callers may share them out among threads; no result depends on how.
//
//===------------------------------------------------------------------------------------------===//
#pragma once
#include "runtime/base/Activation.h"
#include <cstdint>

namespace retort::exec {

/// bfloat16 as stored; the same bits as c10::BFloat16.
struct Bf16 {
  uint16_t bits;
};

/// How scores are made of products, and the score of a key without a value beside them.
struct ScoreRule {
  float scale;
  float softCap; ///< 0: none
  float sink;    ///< kNoSink: none
};
constexpr float kNoSink = -1e30f;

/// What the loss of one row is made of; see Losses in Executor.h.
struct LossRule {
  float crossEntropy, forwardKl, reverseKl, jensenShannon, temperature;
  float studentSoftCap, teacherSoftCap; ///< of the logits; 0: none
};

/// Figures of one row of logits.
struct RowFigures {
  float loss;    ///< as LossRule weighs it
  float nll;     ///< -log q(target) at temperature 1
  float kl;      ///< KL(p || q) at the rule's temperature; with a teacher only
  int32_t agree; ///< whether p and q have the same likeliest token; with a teacher, no gradient
};

template <typename T> struct KernelTable {
  /// RMS norm of runs of `width` features. rstd[run] = 1 / sqrt(mean(x^2) + eps).
  void (*normStream)(const float *in, const float *gain, T *out, float *rstd, int64_t begin,
                     int64_t end, int64_t width, float eps, bool offset);
  void (*norm)(const T *in, const float *gain, T *out, float *rstd, int64_t begin, int64_t end,
               int64_t width, float eps, bool offset);
  /// Gradients of it. Adds to gradGain [width].
  void (*normStreamBackward)(const float *in, const float *gain, const float *rstd,
                             const T *gradOut, float *gradIn, float *gradGain, int64_t begin,
                             int64_t end, int64_t width, bool offset);
  void (*normBackward)(const T *in, const float *gain, const float *rstd, const T *gradOut,
                       T *gradIn, float *gradGain, int64_t begin, int64_t end, int64_t width,
                       bool offset);
  /// Rotates rows; cosines and sines are [position][dims / 2]. `direction` -1 undoes it.
  void (*rope)(const T *in, T *out, const int32_t *positions, const float *cosines,
               const float *sines, int64_t begin, int64_t end, int64_t heads, int64_t headDim,
               int64_t dims, float direction);
  /// act(gate) * up, element by element.
  void (*glu)(const T *gate, const T *up, T *out, int64_t begin, int64_t end, Activation act);
  void (*gluBackward)(const T *gate, const T *up, const T *gradOut, T *gradGate, T *gradUp,
                      int64_t begin, int64_t end, Activation act);
  /// out = stream + output.
  void (*residual)(const float *stream, const T *output, float *out, int64_t begin, int64_t end);
  /// One row of attention scores over `keys` keys, of which [lo, hi) are seen: products in,
  /// probabilities out, 0 for keys not seen. Returns log(sum(exp(score))), the sink's with it.
  float (*softmaxRow)(T *row, int64_t keys, int64_t lo, int64_t hi, ScoreRule rule);
  /// From products and the gradients of probabilities to probabilities and the gradients of
  /// products. `delta` is the sum over features of output * gradient of output.
  void (*softmaxRowBackward)(T *row, T *gradRow, int64_t keys, int64_t lo, int64_t hi, float logSum,
                             float delta, ScoreRule rule);
  /// Loss of a row of logits, whose place its gradient takes if `gradient`. `teacher` may be null.
  /// `scratch` is [2 * vocab].
  RowFigures (*lossRow)(T *student, const T *teacher, int64_t vocab, int64_t target, LossRule rule,
                        bool gradient, float *scratch);
  /// sum (+)= grad.
  void (*accumulate)(const T *grad, float *sum, int64_t begin, int64_t end, bool add);
  /// One AdamW update (arXiv:1711.05101) of float weights, and their copy as T (null: none).
  /// step1 = 1 / (1 - beta1^t), step2 = 1 / (1 - beta2^t).
  void (*adamw)(float *weight, float *mean, float *variance, const float *grad, T *copy,
                int64_t begin, int64_t end, float rate, float decay, float beta1, float beta2,
                float epsilon, float step1, float step2, float gradScale);
};

/// The sum of squares, in double, in an order that depends on the range only.
double sumOfSquares(const float *values, int64_t begin, int64_t end);

/// The loops for this CPU. Throws Error (Unsupported) if it is older than x86-64-v3.
template <typename T> const KernelTable<T> &kernels();

namespace v3 {
template <typename T> const KernelTable<T> &table();
double sumOfSquares(const float *values, int64_t begin, int64_t end);
} // namespace v3
namespace v4 {
template <typename T> const KernelTable<T> &table();
double sumOfSquares(const float *values, int64_t begin, int64_t end);
} // namespace v4

} // namespace retort::exec
