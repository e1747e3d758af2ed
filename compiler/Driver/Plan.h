//===- Plan.h - What a compile will do and take ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Driver/DataWork.h"
#include "compiler/Driver/Lowered.h"

namespace retort {

/// What a compile will do and make, from shapes alone. Seconds and bytes are estimates.
struct Plan {
  std::vector<PlannedWork> work;
  uint64_t weightBytes = 0;   ///< of all targets
  uint64_t bytesPerToken = 0; ///< weights that one row of the first target reads
  uint64_t codeBytes = 0;     ///< of the bundle, and all else in it that is no weight
  uint64_t emitMemory = 0;    ///< to emit code and write the bundle
  double emitSeconds = 0;
  double decodeUs = 0; ///< to decode a token, predicted; 0: not asked

  uint64_t bundleBytes() const { return weightBytes + codeBytes; }
  uint64_t peakMemory() const;
  /// Seconds of all stages, were none in the workspace already.
  double wholeSeconds() const;
  uint64_t workspaceBytes() const;

  /// A line a stage, and a line of sums, on stdout.
  void print() const;
  /// Throws Error (Resources) if memory or a disk does not suffice.
  void check(const std::string &workspace, const std::string &output) const;
};

/// The plan of a compile whose data work and final model are known. `tokenizerBytes` are those of its
/// tokenizer in the bundle.
Plan planOf(const std::vector<PlannedWork> &work, LoweredModel &lowered,
            const CompileTargets &targets, uint64_t tokenizerBytes);

} // namespace retort
