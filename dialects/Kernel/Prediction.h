//===- Prediction.h - How long a step would take on a GPU ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Kernel/Devices.h"
#include "dialects/Kernel/KernelCost.h"

namespace retort::kernel {

/// A step whose time is asked for.
struct StepShape {
  int64_t rows = 1;      ///< decode: each of a sequence of its own; prefill: of one sequence
  int64_t context = 128; ///< positions that a row attends to; prefill: the last row
  bool graph = false;    ///< a kernel a phase in place of one a step
};

/// Time of one phase, microseconds. `us` is what it adds to the step.
struct PhaseTime {
  std::string name;
  PhaseKind kind = PhaseKind::Rows;
  int64_t tiles = 0;       ///< in this step, of one device
  int64_t memoryBytes = 0; ///< from device memory, of one device: weights and cache
  int64_t weightBytes = 0; ///< of them
  int64_t l2Bytes = 0;     ///< rows that CTAs read of each other's results
  int64_t flops = 0;
  double us = 0;
  double waitUs = 0;      ///< the wait (or the launch) before it
  bool exchanges = false; ///< what the other device sends comes before it
  double exchangeUs = 0;  ///< by which that comes later than the wait ends
  double weightUs = 0;    ///< weight bytes at the achievable bandwidth
  double excessUs = 0;    ///< by which L2, instructions or tensor cores take longer than weights
  double hiddenUs = 0;    ///< of its memory time, what passed before its input was ready
  const char *bound = ""; ///< what its time is made of most: memory, l2, issue, tensor, latency
};

struct StepTime {
  std::vector<PhaseTime> phases;
  double us = 0;          ///< of the step: the sum, and `startUs`
  double startUs = 0;     ///< the launch
  PhaseTime sample;       ///< of tokens, for a step that asks for it: not in `us`. us 0: none
  double waitUs = 0;      ///< all waits, also what is hidden of them
  double exchangeUs = 0;  ///< all exchanges, likewise
  double attentionUs = 0; ///< attention without its waits
  double weightUs = 0;    ///< weight bytes at the achievable bandwidth
  double excessUs = 0;    ///< by which L2, instructions or tensor cores take longer than weights
  double hiddenUs = 0;    ///< of weightUs, what passed during waits, exchanges and attention
  int64_t memoryBytes = 0, weightBytes = 0; ///< of one device

  /// What is none of the above: staging, first bytes, last sums.
  double otherUs() const {
    return us - startUs - waitUs - exchangeUs - attentionUs - weightUs - excessUs + hiddenUs;
  }
  double gigabytesPerSecond() const { return memoryBytes / us * 1e-3; }
};

/// What the program of `costs` (a decode or prefill program for CUDA) takes on `device`, if it need
/// not wait for another device. The model, its constants and their sources are in
/// docs/cuda-cost.md. Nothing of it was measured on hardware by us.
StepTime predict(llvm::ArrayRef<PhaseCost> costs, const Device &device, const StepShape &step);

/// The step of two devices, from what each takes alone: between exchanges, which make them wait for
/// each other, the slower one counts. The programs have the same exchanges (kernel.program).
StepTime together(const StepTime &first, const StepTime &second);

/// A line a phase, then the sums, then what drawing tokens would add. `title` says of what: "device
/// 0 of 2", or nothing.
void printTimes(const StepTime &time, const Device &device, const StepShape &step,
                llvm::StringRef title, llvm::raw_ostream &os);

} // namespace retort::kernel
