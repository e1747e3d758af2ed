//===- CudaProgram.h - A model on one or more GPUs --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// What all sessions of a model on the same GPUs share: contexts, code and weights.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/device/CudaDriver.h"
#include "runtime/src/engine/Manifest.h"
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace retort::engine {

class Model;

/// Why a GPU of compute capability major.minor cannot run an entry; "" if it can. A cubin runs on
/// its own and later minor versions of its major one, PTX on everything later (CudaArch).
std::string whyNotOn(const Manifest::CudaEntry &entry, int major, int minor);

/// A step's kernels, ready to be launched on a GPU.
struct CudaStepCode {
  const Manifest::CudaEntry *entry = nullptr;
  uint32_t sharedBytes = 0; ///< dynamic, of each kernel, on this GPU
  struct Kernel {
    CUfunction function;
    unsigned grid;
    int32_t phase;
  };
  std::vector<Kernel> kernels;
  CUfunction sample = nullptr; ///< null: the entry has none
};

/// One of the GPUs that a program runs on.
class CudaGpu {
public:
  /// Checks that the GPU can run its entries, by numbers alone; then takes its primary context.
  /// Throws Error (Unsupported; Device).
  CudaGpu(CudaDriverPointer driver, int ordinal, std::vector<const Manifest::CudaEntry *> entries);
  ~CudaGpu();
  CudaGpu(const CudaGpu &) = delete;

  const std::string &name() const { return name_; } ///< "cuda:0 NVIDIA H100 80GB HBM3"
  CUdevice device() const { return device_; }
  CUcontext context() const { return context_; }
  bool hasPdl() const { return major_ >= 9; }
  uint64_t freeBytes() const;
  /// Loads the code and finds its kernels. `image` is a fat binary, or, for the simulator, text
  /// that ends with NUL.
  void loadCode(const void *image);
  /// Copies the weights through pinned memory: while a piece is on its way, the next is read.
  void loadWeights(std::span<const uint8_t> weights);
  /// Of decode and prefill those that the bundle has, decode first. Valid after loadCode().
  const std::vector<CudaStepCode> &code() const { return code_; }
  const uint8_t *weights() const { return weights_.as<const uint8_t>(); }
  /// Makes the destructor leave what the GPU holds: to free it would wait for a kernel that never
  /// ends.
  void abandon() { abandoned_ = true; }

private:
  CudaStepCode findCode(const Manifest::CudaEntry &entry) const;
  CUfunction findKernel(const std::string &symbol, unsigned threads, unsigned sharedBytes,
                        int &ctas) const;
  void requireShared(const std::string &symbol, uint32_t bytes) const;
  int attribute(CUdevice_attribute which) const;

  CudaDriverPointer driver_;
  int major_ = 0, minor_ = 0;
  std::string name_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  std::vector<const Manifest::CudaEntry *> entries_;
  CUmodule module_ = nullptr;
  std::vector<CudaStepCode> code_;
  CudaMemory weights_;
  bool abandoned_ = false;
};

/// Made for the first session on these GPUs (Model::shared()), gone with the last. Sessions may
/// call it from any thread.
class CudaProgram {
public:
  /// `ordinals` are the driver's numbers of the GPUs: one for each device of the bundle's entries.
  CudaProgram(CudaDriverPointer driver, const Model &model, std::span<const int> ordinals);

  const CudaDriverPointer &driver() const { return driver_; }
  size_t size() const { return gpus_.size(); }
  const CudaGpu &gpu(size_t i) const { return *gpus_[i]; }
  /// Whether each GPU can address each other's memory.
  bool hasPeerAccess() const { return peerAccess_; }
  /// Of the weights, those that are not yet on GPU `i`.
  uint64_t missingWeightBytes(size_t i) const;
  /// Loads code and weights unless they are there. Throws Error.
  void load();
  /// CudaGpu::abandon() for all; load() fails from now on.
  void abandon();

private:
  void enablePeerAccess();

  CudaDriverPointer driver_;
  std::vector<std::unique_ptr<CudaGpu>> gpus_;
  std::vector<std::span<const uint8_t>> weights_; ///< of each GPU, in the bundle
  std::span<const uint8_t> image_;
  bool peerAccess_ = false, loaded_ = false, abandoned_ = false;
  mutable std::mutex mutex_;
};

} // namespace retort::engine
