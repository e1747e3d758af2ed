//===- Scoring.cpp - Bits per byte on documents -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Scoring.h"
#include "compiler/Data/CorpusFiles.h"
#include "compiler/Data/Hash.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

namespace retort {
namespace {

/// The order in which documents are heard: by a hash that the split does not use.
std::vector<const Document *> hearingOrder(std::span<const Document *const> documents) {
  std::vector<const Document *> order(documents.begin(), documents.end());
  const auto key = [](const Document *document) {
    return mix64(mix64(0x7265746f7274) ^ leadingBits(document->sha256));
  };
  std::sort(order.begin(), order.end(), [&](const Document *a, const Document *b) {
    return key(a) != key(b) ? key(a) < key(b) : a->sha256 < b->sha256;
  });
  return order;
}

void addDocument(std::string_view text, const std::string &sha256, const TokenizeFn &tokenize,
                 uint32_t windowTokens, EvalWindows &result) {
  const std::vector<int32_t> tokens = tokenize(text);
  if (tokens.empty())
    return;
  const auto index = static_cast<uint32_t>(result.textBytes.size());
  for (size_t begin = 0; begin < tokens.size(); begin += windowTokens) {
    const size_t end = std::min<size_t>(tokens.size(), begin + windowTokens);
    result.windows.push_back({index,
                              {tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                               tokens.begin() + static_cast<std::ptrdiff_t>(end)}});
  }
  result.textBytes.push_back(text.size());
  result.sha256.push_back(sha256);
  result.tokens += tokens.size();
  result.totalBytes += text.size();
}

/// The ratio of sums total / bytes with its standard error; `residual(i, ratio)` is document i's
/// total less ratio times its bytes.
template <typename Residual>
Estimate ratioEstimate(double total, double bytes, size_t documents, const Residual &residual) {
  Estimate estimate{total / bytes, std::numeric_limits<double>::quiet_NaN()};
  if (documents < 2)
    return estimate;
  double squares = 0;
  for (size_t i = 0; i < documents; ++i)
    squares += residual(i, estimate.value) * residual(i, estimate.value);
  const auto n = static_cast<double>(documents);
  estimate.standardError = std::sqrt(n / (n - 1) * squares) / bytes;
  return estimate;
}
} // namespace

EvalWindows evalWindows(std::span<const Document *const> documents, const TokenizeFn &tokenize,
                        int32_t startToken, uint32_t windowTokens, uint64_t maxTextBytes) {
  if (windowTokens == 0)
    fail(ExitCode::Usage, "a window to score needs at least one token");
  EvalWindows result;
  result.startToken = startToken;
  for (const Document *document : hearingOrder(documents)) {
    std::string_view text = document->text;
    if (maxTextBytes) {
      // The last percent is not worth a sliver of another document.
      if (result.totalBytes + maxTextBytes / 100 >= maxTextBytes)
        break;
      const uint64_t most =
          std::max<uint64_t>(4, std::min(maxTextBytes / 8, maxTextBytes - result.totalBytes));
      if (text.size() > most)
        text = text.substr(0, cutPoint(text, most));
    }
    addDocument(text, document->sha256, tokenize, windowTokens, result);
  }
  return result;
}

Estimate bitsPerByte(std::span<const DocumentScore> scores) {
  double bits = 0, bytes = 0;
  for (const DocumentScore &score : scores) {
    bits += score.nll / std::numbers::ln2;
    bytes += static_cast<double>(score.textBytes);
  }
  return ratioEstimate(bits, bytes, scores.size(), [&](size_t i, double ratio) {
    return scores[i].nll / std::numbers::ln2 - ratio * static_cast<double>(scores[i].textBytes);
  });
}

Estimate bitsPerByteDifference(std::span<const DocumentScore> a, std::span<const DocumentScore> b) {
  double bits = 0, bytes = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a.size() != b.size() || a[i].textBytes != b[i].textBytes)
      fail(ExitCode::Internal, "two models were scored on different text");
    bits += (a[i].nll - b[i].nll) / std::numbers::ln2;
    bytes += static_cast<double>(a[i].textBytes);
  }
  return ratioEstimate(bits, bytes, a.size(), [&](size_t i, double ratio) {
    return (a[i].nll - b[i].nll) / std::numbers::ln2 - ratio * static_cast<double>(a[i].textBytes);
  });
}

} // namespace retort
