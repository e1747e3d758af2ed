//===- Scoring.h - Bits per byte on documents -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Packing.h"

namespace retort {

/// Tokens to score in one pass: rows read startToken and all of `tokens` but the last, and predict
/// `tokens`, each exactly once.
struct EvalWindow {
  uint32_t document; ///< index into EvalWindows::textBytes
  std::vector<int32_t> tokens;
};

/// The windows of some documents, cut to the same text whatever the tokeniser, so that models with
/// different vocabularies are scored on the same bytes.
struct EvalWindows {
  int32_t startToken = 0;
  std::vector<EvalWindow> windows; ///< document by document
  std::vector<uint64_t> textBytes; ///< bytes of text scored of each document
  std::vector<std::string> sha256; ///< of each document
  uint64_t tokens = 0, totalBytes = 0;
};

/// Cuts documents into windows of `windowTokens` tokens. With maxTextBytes (0: all) documents are
/// taken by hash until there is enough, each giving at most an eighth of it, cut at the end of a
/// line, so that at least eight documents are heard. Independent of the order of `documents`.
EvalWindows evalWindows(std::span<const Document *const> documents, const TokenizeFn &tokenize,
                        int32_t startToken, uint32_t windowTokens, uint64_t maxTextBytes = 0);

/// What a model scored on one document: nll is the sum over its tokens of -ln p.
struct DocumentScore {
  uint64_t textBytes = 0;
  double nll = 0;
};

/// A figure with its standard error, which is NaN if fewer than two documents were scored.
struct Estimate {
  double value = 0, standardError = 0;
};

/// Total nll / ln 2 / total bytes. Documents, not tokens, are the independent samples, so the
/// standard error is that of a ratio of sums over documents:
/// sqrt(n / (n - 1) * sum (nll_d / ln 2 - value * bytes_d)^2) / sum bytes_d
/// (Cochran, Sampling Techniques, 3rd edition, section 6.3).
Estimate bitsPerByte(std::span<const DocumentScore> scores);

/// bitsPerByte(a) - bitsPerByte(b) of two models on the same documents in the same order, with the
/// paired standard error: what both find hard cancels. Throws Error (Internal) if bytes differ.
Estimate bitsPerByteDifference(std::span<const DocumentScore> a, std::span<const DocumentScore> b);

} // namespace retort
