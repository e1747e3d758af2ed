//===- Predict.h - The cost model in commands ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Codegen/CudaEmitter.h"
#include "compiler/Codegen/Targets.h"
#include "dialects/Kernel/Prediction.h"
#include <nlohmann/json_fwd.hpp>

namespace retort {

/// The device that `--on` names. Throws Error (Usage) with the nearest name, or all of them.
const kernel::Device &deviceNamed(const std::string &name);

/// What `inspect --phases --on` asks for.
struct PredictOptions {
  std::string on;      ///< a device; empty: nothing is predicted
  int64_t rows = 0;    ///< of a step; 0: one to decode, the most to prefill
  int64_t context = 0; ///< positions attended to; 0: 128, or the rows to prefill
  int64_t devices = 0; ///< that share the model; 0: as many as the programs are for, one first
  std::vector<std::string> assume; ///< numbers in the place of the device's: "wait_us:0.5"
};

/// `--on` with what `--assume` puts in its place. Throws Error (Usage).
kernel::Device assumedDevice(const PredictOptions &options);

/// Whether the program makes steps of that many rows on a GPU.
bool predicts(kernel::ProgramOp program, const PredictOptions &options);

/// A step of one program, or of the two that two devices run together: "phases", the slower
/// device's between exchanges, and the sums. Times in microseconds.
nlohmann::json predictionOf(llvm::ArrayRef<kernel::ProgramOp> programs,
                            const PredictOptions &options);

/// The form in which decoding a token takes less time, by the cost model, over the GPUs that stand
/// for the architectures.
CudaForm fasterForm(llvm::ArrayRef<kernel::ProgramOp> programs, llvm::ArrayRef<CudaArch> arches);

} // namespace retort
