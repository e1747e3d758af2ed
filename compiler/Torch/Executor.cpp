//===- Executor.cpp - libretort_torch.so's export ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Executor.h"
#include "compiler/Torch/Fit.h"
#include "compiler/Torch/Kernels.h"
#include "compiler/Torch/Probe.h"
#include "compiler/Torch/Streaming.h"
#include "compiler/Torch/Train.h"
#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

namespace retort::exec {
namespace {

/// As guarded(), but says what libtorch's errors mean.
template <typename Work> Status guardedTorch(Work &&work) {
  return guarded([&] {
    try {
      work();
    } catch (const c10::Error &error) {
      std::string message = error.what_without_backtrace();
      const bool memory = message.find("alloc") != std::string::npos;
      message = message.substr(0, message.find('\n'));
      fail(memory ? ExitCode::Resources : ExitCode::Internal, "executor: " + message);
    }
  });
}

class TorchExecutor final : public Executor {
public:
  explicit TorchExecutor(const ExecutorOptions &options) : threads_(options.threads) {
    kernels<float>(); // refuses a CPU that is too old
  }

  Status logits(const Model &model, const std::vector<Sequence> &sequences, Precision precision,
                std::vector<std::vector<float>> &logits) override {
    return with([&] { exec::logits(model, sequences, precision, logits); });
  }
  Status interpret(const Model &model, const Sequence &sequence,
                   std::vector<std::vector<float>> &values) override {
    return with([&] { exec::interpret(model, sequence, values); });
  }
  Status score(const Model &model, const Model *reference, const std::vector<Sequence> &sequences,
               const ScoreOptions &options, const OnProgress &progress, Scores &scores) override {
    return with([&] { exec::score(model, reference, sequences, options, progress, scores); });
  }
  Status observe(const Model &model, const std::vector<Sequence> &sequences,
                 const OnProgress &progress, Statistics &statistics) override {
    return with([&] { exec::observe(model, sequences, progress, statistics); });
  }
  Status probe(const Model &model, const std::vector<Sequence> &sequences,
               const ProbeOptions &options, const OnProgress &progress,
               RoundingCosts &costs) override {
    return with([&] { exec::probe(model, sequences, options, progress, costs); });
  }
  Status fit(const Model &student, const Model &teacher, const std::vector<Sequence> &sequences,
             const FitOptions &options, const OnProgress &progress, FitResult &result) override {
    return with([&] { exec::fit(student, teacher, sequences, options, progress, result); });
  }
  Status train(const Model &student, const Model *teacher, const std::vector<Sequence> &sequences,
               const TrainOptions &options, const OnProgress &progress,
               TrainResult &result) override {
    return with([&] { exec::train(student, teacher, sequences, options, progress, result); });
  }

private:
  template <typename Work> Status with(Work &&work) {
    at::set_num_threads(threads_);
    return guardedTorch(work);
  }
  int threads_;
};

} // namespace
} // namespace retort::exec

extern "C" __attribute__((visibility("default"))) retort::exec::Executor *
retort_torch_create(const retort::exec::ExecutorOptions *options, retort::exec::Status *status) {
  retort::exec::Executor *executor = nullptr;
  *status = retort::exec::guarded([&] { executor = new retort::exec::TorchExecutor(*options); });
  return executor;
}
