//===- CudaDevice.h - Steps on GPUs -----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/abi/cuda_program.h"
#include "runtime/src/device/CudaProgram.h"
#include "runtime/src/device/Device.h"

namespace retort::engine {

/// A session on the GPUs of a CudaProgram. Each GPU has its own part of the cache, its own copy
/// of the step and its inputs, and its own stream; a step is one copy, one launch and the copy of
/// the logits, or of tokens, on each, all GPUs at once. When tokens are to be drawn, the first
/// GPU launches one more kernel that does it, once the others' steps are done.
class CudaDevice final : public Device {
public:
  CudaDevice(std::shared_ptr<const Model> model, std::shared_ptr<CudaProgram> program);
  ~CudaDevice() override;

  const std::string &name() const override { return name_; }
  const DeviceLimits &limits() const override { return limits_; }
  void allocate(const KvCache &cache) override;
  void reserve(size_t wanted) override;
  bool samples() const override { return samples_; }
  bool draws() const override { return draws_; }
  void run(const KvCache &cache, const StepRows &rows, const StepResults &results) override;
  void copyPage(int32_t from, int32_t to) override;
  double stepSeconds() const override { return stepSeconds_; }
  std::string takeCounters() const override;

private:
  /// Where things are in the copy that a GPU gets before each step. Choices, which few steps have,
  /// end where the step begins; the table comes last, so that it can stay when it has not changed.
  struct Layout {
    uint64_t step, tokens, slots, positions, wanted, chosen, table, bytes;
  };
  /// A step's code and what it alone uses on one GPU.
  struct Step {
    const CudaStepCode *code;
    CUdeviceptr sync;                                     ///< its words
    retort_cuda_peer peers[RETORT_CUDA_MAX_DEVICES] = {}; ///< in the addresses of this GPU
    CUgraphExec graph = nullptr;
  };
  struct Gpu {
    const CudaGpu *shared = nullptr; ///< what all sessions have on it
    CudaStream stream;
    CudaEvent begin, end; ///< of the step's kernels
    CudaEvent copied;     ///< the step's end, logits and all
    CudaMemory cache, activations, sync, inputs, logits;
    CudaMemory otherLogits;         ///< the first of two GPUs: where the other one's are drawn from
    PinnedMemory pinnedOtherLogits; ///< in its place without peer access
    PinnedMemory pinnedInputs, pinnedLogits;
    PinnedMemory received; ///< what others send without peer access; activations, then sync
    std::vector<Step> steps;
    uint32_t logitsBegin = 0, logitsCount = 0;
    uint64_t tableVersion = 0; ///< of the table that the GPU has
  };

  template <class Call> void named(Call call) const;
  void allocateAll(const KvCache &cache);
  void growLogits(size_t wanted);
  void makeOtherLogits(size_t rows, CudaMemory &memory, PinnedMemory &pinned) const;
  float *otherLogits() const;
  void checkMemory(const KvCache &cache) const;
  uint64_t workBytes(size_t gpu) const;
  void allocateGpu(Gpu &gpu, const KvCache &cache);
  void setPeers();
  void nextGeneration();
  void capture(Gpu &gpu, Step &step);
  void fill(Gpu &gpu, size_t index, const Step &step, const KvCache &cache, const StepRows &rows,
            const StepResults &results);
  void launchSample(const Step &step, size_t wanted);
  void launch(Gpu &gpu, const Step &step);
  void launchKernel(const Gpu &gpu, const Step &step, const CudaStepCode::Kernel &kernel,
                    bool dependent);
  void wait();
  void download(size_t wanted, float *logits);
  void downloadTokens(size_t wanted, const StepResults &results);
  size_t stepFor(size_t rows) const;

  const CudaDriver &cuda() const { return *program_->driver(); }
  std::string failing(const Gpu &gpu) const;

  std::shared_ptr<const Model> model_;
  std::shared_ptr<CudaProgram> program_;
  std::string name_;
  DeviceLimits limits_;
  Layout layout_ = {};
  std::vector<Gpu> gpus_;
  size_t logitRows_ = 0; ///< for which the GPUs have room
  double stepSeconds_ = 0;
  /// Of the last step. It begins near the end, so that what happens there happens in every session,
  /// however short.
  uint32_t generation_ = RETORT_CUDA_GENERATIONS - 2;
  bool samples_ = true; ///< all entries do
  bool draws_ = true;   ///< all entries of the first GPU do
  bool stuck_ = false;  ///< a step failed while other GPUs may wait for it for ever
};

} // namespace retort::engine
