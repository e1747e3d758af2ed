//===- Devices.h - What the cost model knows of GPUs -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace retort::kernel {

/// A GPU as the cost model sees it. Each number's source is in docs/cuda-cost.md; those with none
/// say "assumed" there.
struct Device {
  const char *name;  ///< "h100": what `--on` takes
  const char *title; ///< "NVIDIA H100 SXM 80 GB"
  int arch;          ///< 90: ten times the compute capability
  int multiprocessors;
  double clockGHz;    ///< boost
  double memoryGBs;   ///< of the data sheet
  double memoryShare; ///< of it that a kernel that only reads gets
  double l2MB, l2GBs;
  double l2LatencyUs, memoryLatencyUs; ///< of a load that nothing queues before
  double tensorTflops;                 ///< f16 products, f32 sums, dense
  double mmaShare;                     ///< of it that mma.sync can reach
  double fp32Tflops;
  double waitUs;            ///< a grid barrier with no skew before it
  double startUs;           ///< launching a cooperative kernel, or a graph
  double launchUs;          ///< a kernel of a graph after another
  double launchDependentUs; ///< the same with programmatic dependent launch; 0: the GPU has none
  bool peerAccess;          ///< two reach each other's memory, by the maker's driver
  double peerUs;            ///< a value with its flag, stored and seen at the link's other end
  double peerGBs;           ///< over the link, one way
  double issue = 2.0; ///< warp instructions a cycle and multiprocessor that main loops reach, of 4

  /// Replaces a field's number by one's own, "wait_us:0.5": memory_share, l2_gbs,
  /// issue, wait_us, launch_us, launch_dependent_us, peer_us, peer_gbs, peer_access (1),
  /// multiprocessors. False if the text says nothing of the kind.
  bool assume(llvm::StringRef text);

  double achievableGBs() const { return memoryGBs * memoryShare; }
};

llvm::ArrayRef<Device> devices();

/// Null if there is none of this name.
const Device *findDevice(llvm::StringRef name);

/// The GPU that stands for an architecture (90: h100); the newest known one before it if none
/// does.
const Device &deviceOfArch(int arch);

/// "a100, h100, ...": for messages.
std::string deviceNames();

} // namespace retort::kernel
