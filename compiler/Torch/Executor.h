//===- Executor.h - Runs, observes, scores and trains models on libtorch -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The interface of libretort_torch.so, which Loader.h opens when a stage needs it. It names no
// torch and no MLIR type. Nothing throws across it, in either direction: calls and callbacks return
// a Status. Calls take as many threads as the options say and are made one at a time.
//
// For the same arguments and kind of machine the results are the same bits, whatever the threads.
//
//===-----------------------------------------------------------------------------------------===//
#pragma once
#include "compiler/Torch/Graph.h"
#include "dialects/Distill/RoundingCosts.h"
#include "dialects/Distill/Schedule.h"
#include "dialects/Distill/Statistics.h"
#include "runtime/base/SystemError.h"
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace retort::exec {

/// How a call ended; `message` is one line if it is not Ok.
struct Status {
  ExitCode code = ExitCode::Ok;
  std::string message;
  bool ok() const { return code == ExitCode::Ok; }
};

/// Runs `work`, and turns what it throws into a Status: for the bodies of callbacks.
template <typename Work> Status guarded(Work &&work) {
  try {
    work();
    return {};
  } catch (...) {
    const Error error = errorInFlight();
    return {error.code, error.message};
  }
}

/// Throws what `status` says unless it is Ok: for the driver's side.
inline void check(const Status &status) {
  if (!status.ok())
    fail(status.code, status.message);
}

/// Writes rows [begin, end) of graph.params[param] to `out` as [end - begin][cols] float32,
/// dequantised where the parameter is quantised. Called from one thread, rows in ascending order
/// within a parameter; parameters in any order, and again each time the executor needs them.
using ReadRows = std::function<Status(ParamId param, int64_t begin, int64_t end, float *out)>;

/// A model and where its weights come from. Both must live until the call returns.
struct Model {
  const Graph *graph = nullptr;
  ReadRows read;
};

/// Tokens that are run together. Attention and loss stay within a document, whose first token has
/// position 0. `documents` holds the index of each document's first token, ascending, the first 0;
/// empty means that the sequence is one document.
struct Sequence {
  std::vector<int32_t> tokens;
  std::vector<int32_t> documents;
};

/// Arithmetic of activations and of matrix products. Bf16 accumulates in f32 and keeps norms, softmax
/// and losses in f32.
enum class Precision : uint8_t { F32, Bf16 };
/// The faster one here: Bf16 is three times as fast as F32 where the CPU has AVX512_BF16, and takes
/// five times as long where it has not.
inline Precision fastPrecision() {
  return __builtin_cpu_supports("avx512bf16") ? Precision::Bf16 : Precision::F32;
}

struct Progress {
  int64_t step = 0, totalSteps = 0;
  double loss = 0; ///< train: mean over the step's tokens, in nats, of the weighted losses
  double tokensPerSecond = 0; ///< since the call began (train: since it began or resumed)
};
/// Called after each step from the calling thread; false cancels the call, which then returns
/// Interrupted (a training run writes its checkpoint first).
using OnProgress = std::function<bool(const Progress &)>;

/// KL(reference || model) per predicted token in nats, and how often the two agree on the
/// likeliest.
struct KlStatistics {
  double mean = 0, p99 = 0, max = 0, top1Agreement = 0;
};

struct ScoreOptions {
  Precision precision = fastPrecision();
  bool tokenNll = false; ///< fill SequenceScore::tokenNll
};

/// Of one sequence. A document's first token is given, not predicted.
struct SequenceScore {
  double nll = 0;              ///< sum over the predicted tokens, nats
  int64_t predicted = 0;       ///< how many they are
  std::vector<float> tokenNll; ///< [tokens], 0 for a document's first token
};
struct Scores {
  std::vector<SequenceScore> sequences; ///< as given
  double nll = 0;                       ///< their sum
  int64_t predicted = 0;
  std::optional<KlStatistics> kl; ///< with a reference only
};

/// Weights of the losses, summed per predicted token. p is the teacher's distribution, q the
/// student's, both at `temperature` t; the divergences are multiplied by t^2 (arXiv:1503.02531).
struct Losses {
  double crossEntropy = 0;   ///< -log q(next token), at temperature 1
  double forwardKl = 0;      ///< KL(p || q)
  double reverseKl = 0;      ///< KL(q || p) (MiniLLM, arXiv:2306.08543, without sampling)
  double jensenShannon = 0;  ///< (KL(p || m) + KL(q || m)) / 2, m = (p + q) / 2
  double hiddenMatching = 0; ///< mean over blocks of both (same label) of |s - t|^2 / |t|^2 per row
  double temperature = 1;
  bool needTeacher() const {
    return forwardKl > 0 || reverseKl > 0 || jensenShannon > 0 || hiddenMatching > 0;
  }
};

struct TrainOptions {
  Losses losses{.crossEntropy = 1};
  int64_t batchTokens = 2048; ///< rows of an optimiser step, at least; whole sequences
  int64_t microTokens = 2048; ///< rows of one forward and backward pass, at most (but one sequence)
  double learningRate = 5e-4; ///< at the peak, after `warmupFraction` of the steps
  Schedule schedule = Schedule::Cosine;
  double warmupFraction = 0.05;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double weightDecay = 0.0; ///< decoupled (AdamW, arXiv:1711.05101), on matrices
  double clipNorm = 1.0;    ///< of the whole gradient; 0 turns it off
  Precision precision = fastPrecision();
  /// Quantised parameters are run with the values that packing stores (round to nearest), and their
  /// gradients go to the f32 weights unchanged (straight-through, arXiv:1308.3432).
  bool quantisationAware = false;
  /// With `quantisationAware`: codes stay as they are, and the scales of their groups are trained
  /// (ScaledCodes.h). The learning rate is then a share of the scale.
  bool freezeCodes = false;
  /// Keep only each block's input for the backward pass and run the block again there (Chen et al.,
  /// arXiv:1604.06174): a forward pass more, the same bits, and activations of one block.
  bool recompute = false;
  /// Parameters that keep their values: they have no gradient, no moments and no part in the output.
  std::vector<std::string> frozen;
  uint64_t seed = 0;          ///< of the order of the sequences
  std::string checkpointPath; ///< empty: no checkpoints
  double checkpointSeconds = 30;
  /// Safetensors, written whole or not at all: f32, named as the params, with the curve as kCurve and the
  /// tokens as the metadata kTokens.
  std::string outputPath;
  /// What the checkpoint must have been made from; a checkpoint with another key is not resumed.
  std::string key;
  /// Gets what the user should know, a line each.
  std::function<void(const std::string &)> note;
};

/// The tensor that holds each step's loss, in a checkpoint and in what a training made; and, there, the
/// number of tokens trained on.
inline constexpr const char *kCurve = "training.curve", *kTokens = "retort.tokens";

struct TrainResult {
  int64_t steps = 0, tokens = 0;
  int64_t resumedAt = 0;    ///< the step of the checkpoint that was found, or 0
  int64_t rollbacks = 0;    ///< times that a step was not finite and the rate was halved
  std::vector<float> curve; ///< each step's loss
  double tokensPerSecond = 0;
};

struct FitOptions {
  /// The student's matrices to work on: linear layers of its blocks. Those with a format are
  /// rounded to it; every matrix with a format is read as it will be stored.
  std::vector<std::string> params;
  double damping = 1e-2; ///< ridge, as a share of the mean square of a layer's inputs; above 0
  Precision precision = fastPrecision();
  std::string outputPath; ///< safetensors, f32, named as the params; written whole or not at all
};

struct FitResult {
  std::vector<std::string> blocks; ///< labels of the student's
  /// Mean square of what the student's stream lacks after each block, over that of the teacher's.
  std::vector<double> lacking;
};

struct ProbeOptions {
  std::vector<NumberFormat> formats; ///< to round to, quantised; at least one
  /// How many of the last sequences divergences are measured on; by the others matrices are rounded,
  /// since GPTQ does better on what it has seen.
  int64_t measured = 1;
  double damping = 1e-2; ///< as of FitOptions
  /// In bf16 the noise of activations is as large as what rounding costs.
  Precision precision = Precision::F32;
};

/// What an Executor needs to know of the machine.
struct ExecutorOptions {
  int threads = 0; ///< 0: as many as CPUs this process may use; the library gets the number
};

class Executor {
public:
  virtual ~Executor() = default;

  /// The logits of every row: logits[s] is [tokens of s][vocab] float32. For tests and small
  /// inputs.
  virtual Status logits(const Model &model, const std::vector<Sequence> &sequences,
                        Precision precision, std::vector<std::vector<float>> &logits) = 0;

  /// Every value of the graph, in f32: values[v] is [tokens][graph.features[v]]. For tests and
  /// readers.
  virtual Status interpret(const Model &model, const Sequence &sequence,
                           std::vector<std::vector<float>> &values) = 0;

  /// Negative log-likelihoods; with `reference`, of the same vocabulary, the divergence from it
  /// too. Works block by block: memory holds one block's weights and the residual stream of all
  /// sequences (4 * hidden bytes a token).
  virtual Status score(const Model &model, const Model *reference,
                       const std::vector<Sequence> &sequences, const ScoreOptions &options,
                       const OnProgress &progress, Scores &scores) = 0;

  /// Every statistic of blocks, in fastPrecision(), block by block as `score`.
  virtual Status observe(const Model &model, const std::vector<Sequence> &sequences,
                         const OnProgress &progress, Statistics &statistics) = 0;

  /// What rounding each group of matrices alone costs at the output (distill.probe): of linear layers
  /// of blocks that read the same value, and of the logits' matrix; those that are read twice are left
  /// out. Works block by block; memory holds one block of the model and of a rounded copy, what a fit
  /// holds and, of each group, a residual stream of the measured sequences (4 * hidden bytes a token).
  virtual Status probe(const Model &model, const std::vector<Sequence> &sequences,
                       const ProbeOptions &options, const OnProgress &progress,
                       RoundingCosts &costs) = 0;

  /// Solves layers of `student` by least squares, block by block, so that its residual stream is
  /// the teacher's (distill.fit). Memory holds one block of both, their streams and what the
  /// student's block computes: about 32 * hidden bytes a token.
  virtual Status fit(const Model &student, const Model &teacher,
                     const std::vector<Sequence> &sequences, const FitOptions &options,
                     const OnProgress &progress, FitResult &result) = 0;

  /// Trains the parameters of `student` that are not frozen on each sequence once and writes them to
  /// options.outputPath. If options.checkpointPath exists and fits, goes on from there with the same
  /// bits as if it had not stopped; a damaged one is said and begun anew; removing it is the caller's, once the output is safe. A step whose
  /// loss or gradient is not finite is never taken: the run goes back to its checkpoint (or its
  /// beginning) at half the learning rate, twice, then fails with Usage. `teacher` (null unless
  /// options.losses asks for one) has the student's vocabulary, or the one that
  /// student.graph->vocabKept points into; then its distribution is that over the kept tokens.
  virtual Status train(const Model &student, const Model *teacher,
                       const std::vector<Sequence> &sequences, const TrainOptions &options,
                       const OnProgress &progress, TrainResult &result) = 0;
};

} // namespace retort::exec

/// libretort_torch.so's only export. The caller owns the result; null if it cannot be made, and
/// then *status says why.
extern "C" retort::exec::Executor *retort_torch_create(const retort::exec::ExecutorOptions *options,
                                                       retort::exec::Status *status);
