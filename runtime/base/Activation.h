//===- Activation.h - Non-linearities of gated units -----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <stdint.h>

namespace retort {

/// The non-linearity of a gated unit (arXiv:2002.05202). Device code includes this; the CPU
/// kernels, which are C, have the same numbers as RK_ACT_*.
enum class Activation : uint8_t {
  Silu,     ///< x / (1 + e^-x)
  GeluTanh, ///< Gelu's approximation by tanh
  Gelu,     ///< x / 2 * (1 + erf(x / sqrt(2)))
  Sigmoid,  ///< 1 / (1 + e^-x)
};

} // namespace retort
