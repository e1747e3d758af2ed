//===- Checkpoint.h - Saving a training run ---------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Optimizer.h"
#include <thread>

namespace retort::exec {

/// How far a run is. The data's order follows from the seed and the step.
struct RunState {
  int64_t step = 0; ///< steps done
  std::vector<float> curve;
};

/// Writes checkpoints beside the training: the weights are copied, a thread writes them to a
/// temporary file and renames it. A safetensors file: NAME, NAME.mean, NAME.variance, the loss
/// curve and, as metadata, the key and the step.
class Checkpoints {
public:
  Checkpoints(const TrainOptions &options, std::vector<Trained> &params);
  ~Checkpoints();

  /// Takes the run up from options.checkpointPath if that exists, is whole and has options.key and
  /// these parameters; else leaves everything as it is.
  bool resume(RunState &state);
  /// Starts to write a checkpoint if options.checkpointSeconds have passed since the last one
  /// ended, and it would not take up more than a tenth of the time.
  void maybeSave(const RunState &state);
  /// Writes one and waits for it.
  void save(const RunState &state);
  /// Waits for the writer, and throws what went wrong there.
  void wait();
  void remove();

private:
  void start(const RunState &state);

  const TrainOptions &options_;
  std::vector<Trained> &params_;
  std::thread writer_;
  std::optional<Error> failure_; ///< of the writer; read after it ended
  std::atomic<bool> writing_ = false;
  std::atomic<double> endedAt_; ///< when the last one was written, by the steady clock
  std::atomic<double> tookSeconds_ = 0;
};

/// Writes the float32 weights as safetensors, named as the parameters, whole or not at all.
void writeWeights(const std::vector<Trained> &params, const std::string &path);

/// Seconds of the steady clock.
double nowSeconds();

} // namespace retort::exec
