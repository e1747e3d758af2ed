//===- KernelCost.h - What the phases of a program move and compute -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Kernel/KernelOps.h"
#include <string>
#include <vector>

namespace llvm {
class raw_ostream;
}

namespace retort::kernel {

/// What the ops of a phase are to a model of time.
enum class PhaseKind {
  Rows,      ///< a few vectors a row: embedding, angles, norm, gate, residual, append
  Product,   ///< rows times a matrix
  Attend,    ///< decode: rope, append and attention
  Attention, ///< prefill, or a CPU's
  Sample,    ///< of tokens: a launch of its own, in steps that ask for it
};

/// What a phase costs for a step of one row (decoding), apart from the cache, which grows with the
/// position. Multiply the flops and activation bytes by the rows of a larger step; weights are read
/// once.
struct PhaseCost {
  std::string name;                  ///< the phase's symbol
  std::string label;                 ///< its layer
  int64_t tiles = 0;                 ///< in a step of one row
  int64_t weightBytes = 0;           ///< read from weights.bin
  int64_t activationBytes = 0;       ///< read and written in the activation arena
  int64_t cacheBytesPerPosition = 0; ///< read for each position attended to
  int64_t flops = 0;                 ///< multiplications and additions
  bool waits = false;                ///< a kernel.wait, or an exchange, stands right before it
  bool exchanges = false; ///< an exchange does; a draw: of logits that another device has too

  PhaseKind kind = PhaseKind::Rows;
  int64_t rowTile = 0; ///< rows of the step that a tile has; 1: tiles are of a row, 0: of any rows
  int64_t tokens = 0;  ///< of a draw: logits of a row
  // A product: rows and columns of its matrix, 1 or, gated, 2 matrices, and its format.
  int64_t out = 0, in = 0, matrices = 1;
  NumberFormat format;
  bool wanted = false; ///< only of the wanted rows: logits
  bool sends = false;  ///< its result, to the other device
  bool sums = false;   ///< its rows are sums of a residual and both devices' partial sums
  // Attention.
  int64_t heads = 0, kvHeads = 0, dims = 0, splits = 1, window = 0, cacheValueBytes = 2;
};

/// The phases of `program`, in order; last the one that draws, if there is one.
std::vector<PhaseCost> phaseCosts(ProgramOp program);

/// Weight bytes read to decode one token: the sum over the phases, where the embedding table counts
/// with what one row of it takes.
int64_t bytesPerToken(ProgramOp program);

/// Bytes that 16 rows ("rows16" block) of a weights buffer take.
int64_t tileBytes(BufferOp weights);

/// Prints a line a phase and the sums, which leave out the drawing of tokens.
void printCosts(ProgramOp program, llvm::raw_ostream &os);

} // namespace retort::kernel
