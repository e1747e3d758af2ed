//===- Device.h - What runs a session's steps -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The engine keeps slots, pages and sampling; a device keeps memory and runs steps. Each session
// has its own. Nothing above this interface knows of threads or of CUDA.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/abi/sampling.h"
#include "runtime/src/engine/KvCache.h"
#include "runtime/src/engine/Model.h"
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace retort::engine {

/// What a device makes of a bundle's cache and steps; it may differ between targets of one bundle.
struct DeviceLimits {
  uint32_t maxRows = 0;   ///< most rows of a step
  uint32_t pageRows = 0;  ///< positions in a page of the KV cache
  uint64_t pageBytes = 0; ///< of a page, all layers, on all of a device's GPUs together
};

/// The rows of a step, checked: 1 to maxRows, their pages in the cache.
struct StepRows {
  std::span<const int32_t> tokens, slots, positions; ///< [rows]
  std::span<const int32_t> wanted;                   ///< rows whose logits are wanted, ascending
};

/// What a step gives: one of the two, where rows are wanted.
struct StepResults {
  float *logits = nullptr;   ///< [wanted][vocab]
  int32_t *tokens = nullptr; ///< [wanted] of what may be picked; -1: none can be
  /// Of tokens: [wanted], how each is drawn (Device::draws()); empty: all as largestLogit()
  /// (Device::samples()).
  std::span<const retort_choice> choices = {};
};

/// One thread at a time. Calls throw Error; after ExitCode::Device only the destructor may follow.
class Device {
public:
  virtual ~Device() = default;
  /// For people: "cpu x86-64-v4", "cuda:0 NVIDIA H100 80GB HBM3".
  virtual const std::string &name() const = 0;
  virtual const DeviceLimits &limits() const = 0;
  /// Host threads that compute.
  virtual unsigned threads() const { return 1; }
  /// Takes the memory that the cache and every step need. Called once, before any step. Throws
  /// Error (Resources) with the sizes.
  virtual void allocate(const KvCache &cache) = 0;
  /// Makes sure that a step with so many rows of logits will find its memory.
  virtual void reserve(size_t wanted) {}
  /// Whether run() can give the largest logits' tokens; whether it can draw tokens too.
  virtual bool samples() const { return false; }
  virtual bool draws() const { return false; }
  /// Runs a step: its results are there when it returns.
  virtual void run(const KvCache &cache, const StepRows &rows, const StepResults &results) = 0;
  /// Copies a page of the cache, all layers.
  virtual void copyPage(int32_t from, int32_t to) = 0;
  /// How long the last step took on the device itself, in seconds; 0: not measured.
  virtual double stepSeconds() const { return 0; }
  /// What the device counted since the last call, as JSON; "": it counts nothing.
  virtual std::string takeCounters() const { return {}; }
};

/// The device that `choice` names ("" lets the bundle and the machine decide; see retort.h), with
/// nothing allocated yet. `threads` (0: one a core) are the CPU's. Throws Error: Usage for a choice
/// that means nothing or threads out of range; Unsupported, with the reason, if it cannot run this
/// bundle.
std::unique_ptr<Device> openDevice(std::shared_ptr<const Model> model, const std::string &choice,
                                   uint32_t threads);

} // namespace retort::engine
