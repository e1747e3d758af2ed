//===- Scoring.h - Bits per byte on documents -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Packing.h"

namespace retort {

/// Most bytes of one document that are scored, so that no document decides a figure.
inline constexpr uint64_t kScoredDocumentBytes = 8192;
/// Most bytes of text in a window. Windows are cut by bytes, so that every model predicts a byte with
/// the same text before it, whatever its vocabulary.
inline constexpr uint64_t kScoredWindowBytes = 4096;
/// A limit on the text is shared among at least so many documents.
inline constexpr uint64_t kLeastScoredDocuments = 32;

/// Tokens to score in one pass: rows read startToken and all of `tokens` but the last, and predict
/// `tokens`, each exactly once.
struct EvalWindow {
  uint32_t document; ///< index into EvalWindows::documents
  std::vector<int32_t> tokens;
};

/// A document as far as it is scored.
struct EvalDocument {
  std::string name, sha256; ///< of the whole document
  uint64_t textBytes = 0;   ///< scored
};

/// The windows of some documents, cut to the same text whatever the tokeniser, so that models with
/// different vocabularies are scored on the same bytes.
struct EvalWindows {
  int32_t startToken = 0;
  std::vector<EvalWindow> windows; ///< document by document
  std::vector<EvalDocument> documents;
  uint64_t tokens = 0, totalBytes = 0;
};

/// Cuts the beginning of each document, up to kScoredDocumentBytes, into even windows of up to
/// kScoredWindowBytes, at ends of lines where there are any; a window of more than `windowTokens`
/// tokens, for which the model has no context, is cut again. With maxTextBytes (0: all) documents
/// are taken by hash until there is enough, and each gives at most a part of it
/// (kLeastScoredDocuments). Independent of the order of `documents`.
EvalWindows evalWindows(std::span<const Document *const> documents, const TokenizeFn &tokenize,
                        int32_t startToken, uint32_t windowTokens, uint64_t maxTextBytes = 0);

/// What a model scored on one document: nll is the sum over its tokens of -ln p.
struct DocumentScore {
  uint64_t textBytes = 0;
  double nll = 0;

  double bits() const;
};

/// Throws Error (BadInput) if a score of `what` is NaN or infinite: no figure is made of it.
void requireFinite(double score, const std::string &what);

/// The documents of `windows` with the sums of their windows' `nll`, which must be finite.
std::vector<DocumentScore> documentScores(const EvalWindows &windows, std::span<const double> nll);

/// A figure with its standard error and a 95 % confidence interval, each NaN if fewer than two
/// documents were scored.
struct Estimate {
  double value = 0, standardError = 0, low = 0, high = 0;
};

/// sum(numerators) / sum(denominators), one pair a document. Documents, not tokens, are the
/// independent samples. The standard error is that of a ratio of sums:
/// sqrt(n / (n - 1) * sum (numerator_d - value * denominator_d)^2) / sum denominator_d
/// (Cochran, Sampling Techniques, 3rd edition, section 6.3). The interval is the bootstrap's over
/// documents, bias-corrected and accelerated (Efron, "Better bootstrap confidence intervals", 1987):
/// documents differ in length and their errors are skewed, which a symmetric interval ignores. Made
/// from kResamples resamples with a fixed seed, so the same scores give the same interval.
Estimate ratioOfSums(std::span<const double> numerators, std::span<const double> denominators);
inline constexpr unsigned kResamples = 10'000;

/// Total bits / total bytes.
Estimate bitsPerByte(std::span<const DocumentScore> scores);

/// bitsPerByte(a) - bitsPerByte(b) of two models on the same documents in the same order. Paired:
/// what both find hard cancels. Throws Error (Internal) if bytes differ.
Estimate bitsPerByteDifference(std::span<const DocumentScore> a, std::span<const DocumentScore> b);

/// bitsPerByte(a) / bitsPerByte(b), likewise.
Estimate bitsPerByteRatio(std::span<const DocumentScore> a, std::span<const DocumentScore> b);

/// (sum of bytes)^2 / sum of their squares: how many documents of equal size would tell as much
/// (Kish, Survey Sampling, 1965, section 11.7). The number of documents if all are as long.
double effectiveDocuments(std::span<const DocumentScore> scores);

} // namespace retort
