//===- Packing.h - Documents as sequences of tokens -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Corpus.h"
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace retort {

/// Token ids of a text, without beginning or end tokens.
using TokenizeFn = std::function<std::vector<int32_t>(std::string_view)>;

struct PackOptions {
  uint32_t sequenceTokens = 512; ///< rows of a sequence
  int32_t startToken = 0;        ///< precedes every window; never a target
  uint64_t budgetTokens = 0;     ///< most targets in all; 0: each token of the documents once
  unsigned maxEpochs = 4; ///< times the documents may be repeated to fill the budget; more is
                          ///< worth little (Muennighoff et al. 2023, arXiv:2305.16264)
  uint64_t seed = 0;
};

/// Sequences of fixed length, row-major [sequences][sequenceTokens]. Row r of a sequence reads
/// tokens[r] and predicts targets[r]; rows attend to earlier rows of the same `document` only.
struct PackedSequences {
  uint32_t sequenceTokens = 0;
  std::vector<int32_t> tokens;       ///< inputs; the start token at each window's first row
  std::vector<int32_t> targets;      ///< the next token; -1: no loss (padding)
  std::vector<int32_t> document;     ///< window number within the sequence, from 0; -1: padding
  std::vector<int32_t> positions;    ///< 0 at each window's first row
  std::vector<uint32_t> targetBytes; ///< bytes of text that the target stands for; 0 in padding

  uint64_t sequences() const { return sequenceTokens ? tokens.size() / sequenceTokens : 0; }
  uint64_t targetCount = 0; ///< rows with a target
  uint64_t textBytes = 0;   ///< sum of targetBytes
};

/// Packs documents into sequences.
///
/// Each document is tokenised whole and cut into windows of up to `sequenceTokens` tokens; a window
/// of n tokens takes n rows (start token and the first n - 1 as inputs, all n as targets). Windows
/// are drawn by a hash of seed, document and window, so a budget smaller than the corpus is spread
/// evenly over documents and over their parts; of a corpus much larger than the budget only enough
/// documents for a fair draw are tokenised (8 times the budget, at least 4 million tokens). Windows
/// share a sequence by best fit (Ding et al. 2024, arXiv:2404.10830), never cut again; sequences
/// are then shuffled. A window is never split between epochs, and the last one is cut to the
/// budget.
///
/// A document's bytes are apportioned evenly over its tokens, so that they add up exactly.
/// The same documents, tokeniser and options give the same sequences, in whatever order documents
/// are. Throws Error (BadInput) if the documents have no token, (Usage) for impossible options.
PackedSequences packDocuments(std::span<const Document *const> documents,
                              const TokenizeFn &tokenize, const PackOptions &options);

/// How often each token id occurs in the documents: [vocab]. Throws Error (Internal) for an id out
/// of range.
std::vector<uint64_t> countTokens(std::span<const Document *const> documents,
                                  const TokenizeFn &tokenize, uint32_t vocab);

} // namespace retort
