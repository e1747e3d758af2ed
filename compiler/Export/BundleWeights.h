//===- BundleWeights.h - The numbers that a bundle's weights stand for -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/engine/BundleReader.h"
#include <cstdint>
#include <string>
#include <vector>

namespace retort {

/// Reads parameters of one target of a bundle back from its packed weights. Thread-safe.
class BundleWeights {
public:
  /// `part` is the target's weights ("weights.bin"). `bundle`, which is verified, is kept. Throws Error
  /// (BadInput).
  BundleWeights(const engine::BundleReader &bundle, const std::string &part);

  /// Rows [begin, begin + rows) of a matrix of `cols` columns, or that many numbers of a vector (`cols` is
  /// 1), as float32. Throws Error (BadInput) if the bundle has no such parameter or it has another shape.
  std::vector<float> read(const std::string &param, int64_t begin, int64_t rows,
                          int64_t cols) const;

private:
  const engine::BundleReader &bundle_;
  std::span<const uint8_t> bytes_;
  std::string part_;
};

} // namespace retort
