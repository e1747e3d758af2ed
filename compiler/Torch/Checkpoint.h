//===- Checkpoint.h - Saving a training run ---------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Optimizer.h"

namespace retort::exec {

/// How far a run is. The data's order follows from the seed and the step.
struct RunState {
  int64_t step = 0;      ///< steps done
  int64_t rollbacks = 0; ///< the learning rate is halved for each
  std::vector<float> curve;
};

/// Writes checkpoints between steps, by way of a temporary file that is renamed: training waits, so
/// that no second copy of weights and moments (12 bytes a parameter) is held. A safetensors file:
/// NAME, NAME.mean, NAME.variance, kCurve and, as metadata, the key, the rollbacks and the SHA-256 of all
/// this.
class Checkpoints {
public:
  Checkpoints(const TrainOptions &options, std::vector<Trained> &params);

  /// Takes the run up from options.checkpointPath if that exists, is whole and has options.key and
  /// these parameters; else leaves everything as it is, and notes that it is damaged if it exists.
  bool resume(RunState &state);
  /// Writes a checkpoint if options.checkpointSeconds have passed since the last one, and writing
  /// takes no more than a twentieth of the time.
  void maybeSave(const RunState &state);
  /// Writes one.
  void save(const RunState &state);
  bool savedSinceResume() const { return saved_; }

private:
  bool take(RunState &state);

  const TrainOptions &options_;
  std::vector<Trained> &params_;
  double endedAt_; ///< when the last one was written, by the steady clock
  double tookSeconds_ = 0;
  bool saved_ = false; ///< since resume() took one up
};

/// Writes the float32 weights as safetensors, named as the parameters, whole or not at all.
void writeWeights(const std::vector<Trained> &params, const std::string &path);
/// The same with what is known of the training.
void writeWeights(const std::vector<Trained> &params, const TrainResult &result,
                  const std::string &path);

/// Seconds of the steady clock.
double nowSeconds();

} // namespace retort::exec
