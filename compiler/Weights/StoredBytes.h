//===- StoredBytes.h - What decoding a token reads of a model ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/LMOps.h"
#include <cstdint>
#include <optional>

namespace retort {

/// Bytes of `param` as it is kept: rounded, as the kernels' layout for CPUs holds it; else as the
/// checkpoint stores it. None if it is a matrix that comes out of a training and is not rounded yet:
/// nobody would keep it so.
std::optional<uint64_t> storedBytes(lm::ParamOp param);

/// Bytes of weights that are read to decode one token, as they are kept; of a table that is only
/// looked up, one row. None if those of a parameter are not known.
std::optional<uint64_t> storedBytesPerToken(lm::ModelOp model);

} // namespace retort
