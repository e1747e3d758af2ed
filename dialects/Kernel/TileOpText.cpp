//===- TileOpText.cpp - What tile ops do, in words ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/KernelOps.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
namespace retort::kernel {

/// "489 kB", "1.5 MB": three digits.
static std::string bytesText(int64_t bytes) {
  if (bytes < 1000)
    return std::to_string(bytes) + " bytes";
  double value = static_cast<double>(bytes) / 1000;
  const char *unit = "kB";
  for (const char *larger : {"MB", "GB"})
    if (value >= 999.5) {
      value /= 1000;
      unit = larger;
    }
  char text[32];
  std::snprintf(text, sizeof text,
                value < 9.995   ? "%.2f %s"
                : value < 99.95 ? "%.1f %s"
                                : "%.0f %s",
                value, unit);
  return text;
}

static std::string formatText(BufferOp weights) {
  const NumberFormat format = *weights.getFormat();
  return format.traits().words + (format.quantised()
                                      ? std::string(format.minima ? " asymmetric" : "") +
                                            " in groups of " + std::to_string(format.group)
                                      : "");
}

/// "576 -> 2 x 1536", "int4 in groups of 64".
static void addProduct(BufferOp weights, int64_t matrices, Words &words) {
  ArrayRef<int64_t> shape = weights.getTensor().getShape();
  words.push_back(std::to_string(shape[1]) + " -> " + (matrices == 2 ? "2 x " : "") +
                  std::to_string(shape[0] / matrices));
  words.push_back(formatText(weights));
}

template <typename Op> static void addHeads(Op op, Words &words) {
  words.push_back(std::to_string(op.getHeads()) + " heads on " + std::to_string(op.getKvHeads()) +
                  " of " + std::to_string(op.getDims()) + " dims");
}

/// What becomes of the heads before they are used.
template <typename Op> static void addHeadPrologue(Op op, Words &words) {
  addHeads(op, words);
  const bool norms = op.getQNorm() || op.getKNorm();
  if (norms && !op.getNormLast())
    words.push_back("head norms");
  if (op.getAngles())
    words.push_back("rope");
  if (norms && op.getNormLast())
    words.push_back("head norms");
  words.push_back("append");
}

/// Which keys are seen, and what stands beside them.
template <typename Op> static void addKeys(Op op, Words &words) {
  if (op.getWindow())
    words.push_back("window " + std::to_string(*op.getWindow()));
  if (op.getSinks())
    words.push_back("sinks");
}

void EmbedOp::describe(const Buffers &buffers, Words &words) {
  BufferOp table = buffers[getTableAttr()];
  ArrayRef<int64_t> shape = table.getTensor().getShape();
  words.push_back("rows of " + std::to_string(shape[0]) + "x" + std::to_string(shape[1]));
  words.push_back(formatText(table));
}

void AnglesOp::describe(const Buffers &, Words &words) { words.push_back("cosines and sines"); }

void StageOp::describe(const Buffers &, Words &words) {
  if (getReceived())
    words.push_back("partial sums");
  if (getGain())
    words.push_back("norm");
  if (getRows())
    words.push_back("wanted rows");
}

void MatmulOp::describe(const Buffers &buffers, Words &words) {
  addProduct(buffers[getWeightsAttr()], 1, words);
  if (getBias())
    words.push_back("bias");
  if (getResidual())
    words.push_back("residual");
  if (getSoftCap())
    words.push_back("soft cap");
  if (getSend())
    words.push_back("sent");
}

void MatmulGluOp::describe(const Buffers &buffers, Words &words) {
  addProduct(buffers[getWeightsAttr()], 2, words);
  words.push_back(nameOf(getAct()));
}

void SumOp::describe(const Buffers &buffers, Words &words) {
  words.push_back("partial sums of " + std::to_string(buffers.columns(getDestAttr())));
  if (getResidual())
    words.push_back("residual");
}

void ArgmaxOp::describe(const Buffers &, Words &words) { words.push_back("arg-max"); }

void SampleOp::describe(const Buffers &buffers, Words &words) {
  words.push_back("tokens of " + std::to_string((*this)->getParentOfType<ProgramOp>().getVocab()));
  if (getOtherLogits())
    words.push_back(std::to_string(buffers.columns(getOtherLogitsAttr())) + " of them device 1's");
  words.push_back("in steps that ask for it");
}

void AttendOp::describe(const Buffers &, Words &words) {
  addHeadPrologue(*this, words);
  words.push_back(std::to_string(getSplits()) + " splits");
  addKeys(*this, words);
}

void RopeAppendOp::describe(const Buffers &, Words &words) { addHeadPrologue(*this, words); }

void AttentionOp::describe(const Buffers &, Words &words) {
  addHeads(*this, words);
  addKeys(*this, words);
}

void NormOp::describe(const Buffers &buffers, Words &words) {
  words.push_back("norm of " + std::to_string(buffers.columns(getDestAttr())));
  if (getResidual())
    words.push_back("residual");
}

void LayerNormOp::describe(const Buffers &buffers, Words &words) {
  words.push_back("layer norm of " + std::to_string(buffers.columns(getDestAttr())));
}

void GluOp::describe(const Buffers &buffers, Words &words) {
  words.push_back("gated product of " + std::to_string(buffers.columns(getDestAttr())));
  words.push_back(nameOf(getAct()));
}

void ResidualOp::describe(const Buffers &buffers, Words &words) {
  words.push_back("sum of " + std::to_string(buffers.columns(getDestAttr())));
}

std::string describe(PhaseOp phase, const Buffers &buffers) {
  SmallVector<std::string> words;
  int64_t bytes = 0; // of matrices read whole: a phase with tiles of a row reads rows of them
  for (auto op : phase.getBody().getOps<TileOpInterface>()) {
    op.describe(buffers, words);
    for (const Access &access : op.getAccesses()) {
      BufferOp buffer = buffers[access.buffer];
      if (buffer.getLayout() && !phase.getPerRow())
        bytes += buffer.sizeInBytes();
    }
  }
  std::string text = llvm::join(words, ", ");
  if (bytes)
    text += "; " + bytesText(bytes) + " of weights";
  text += "; " + std::to_string(phase.getTiles()) + (phase.getTiles() == 1 ? " tile" : " tiles");
  if (phase.getPerRow())
    text += " a row";
  if (phase.getRowTile())
    text +=
        " for each " + std::to_string(*phase.getRowTile()) +
        (phase.getRowParts() ? " parts of rows, " + std::to_string(*phase.getRowParts()) + " a row"
                             : std::string(" rows"));
  return text;
}

} // namespace retort::kernel
