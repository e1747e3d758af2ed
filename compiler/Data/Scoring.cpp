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

/// `size` in as few parts of at most `most` as there can be, as even as can be: the first's size.
/// An even cut leaves no sliver, whose tokens would be predicted from next to nothing.
size_t evenPart(size_t size, size_t most) {
  const size_t parts = (size + most - 1) / most;
  return (size + parts - 1) / parts;
}

void addWindows(std::string_view text, uint32_t document, const TokenizeFn &tokenize,
                uint32_t windowTokens, EvalWindows &result) {
  while (!text.empty()) {
    const size_t most = evenPart(text.size(), kScoredWindowBytes);
    const size_t cut = most == text.size() ? most : cutPoint(text, most);
    const std::vector<int32_t> tokens = tokenize(text.substr(0, cut));
    text.remove_prefix(cut);
    result.tokens += tokens.size();
    for (size_t begin = 0; begin < tokens.size();) {
      const size_t count = evenPart(tokens.size() - begin, windowTokens);
      const auto first = tokens.begin() + static_cast<std::ptrdiff_t>(begin);
      result.windows.push_back({document, {first, first + static_cast<std::ptrdiff_t>(count)}});
      begin += count;
    }
  }
}

/// The chance that a standard normal variable is at most `z`.
double normalCdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

/// Its inverse for 0 < p < 1, by bisection.
double normalQuantile(double p) {
  double low = -40, high = 40;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (normalCdf(middle) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

/// The ratio of sums of each resample, ascending.
std::vector<double> resampledRatios(std::span<const double> numerators,
                                    std::span<const double> denominators) {
  std::vector<double> ratios(kResamples);
  const size_t documents = numerators.size();
  uint64_t draw = 0;
  for (double &ratio : ratios) {
    double numerator = 0, denominator = 0;
    for (size_t i = 0; i < documents; ++i) {
      // SplitMix64; the high half of the product is uniform below `documents`.
      const uint64_t random = mix64(draw += 0x9e3779b97f4a7c15ull);
      const auto d = static_cast<size_t>((static_cast<__uint128_t>(random) * documents) >> 64);
      numerator += numerators[d];
      denominator += denominators[d];
    }
    ratio = numerator / denominator;
  }
  std::sort(ratios.begin(), ratios.end());
  return ratios;
}

/// The quantile of sorted values, between the two that are nearest.
double quantile(const std::vector<double> &sorted, double share) {
  const double at = std::clamp(share, 0.0, 1.0) * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], at - static_cast<double>(below));
}

/// The skewness that the interval corrects for, from leaving out one document at a time.
double acceleration(std::span<const double> numerators, std::span<const double> denominators,
                    double numerator, double denominator) {
  const auto n = static_cast<double>(numerators.size());
  std::vector<double> left;
  double mean = 0;
  for (size_t i = 0; i < numerators.size(); ++i) {
    left.push_back((numerator - numerators[i]) / (denominator - denominators[i]));
    mean += left.back() / n;
  }
  double squares = 0, cubes = 0;
  for (double value : left) {
    squares += (mean - value) * (mean - value);
    cubes += (mean - value) * (mean - value) * (mean - value);
  }
  return squares > 0 ? cubes / (6 * std::pow(squares, 1.5)) : 0;
}

void addInterval(std::span<const double> numerators, std::span<const double> denominators,
                 double numerator, double denominator, Estimate &estimate) {
  const std::vector<double> ratios = resampledRatios(numerators, denominators);
  const auto below = std::lower_bound(ratios.begin(), ratios.end(), estimate.value);
  const auto above = std::upper_bound(below, ratios.end(), estimate.value);
  // Ties count half; a share of 0 or 1 has no quantile.
  const double least = 0.5 / kResamples;
  const double share =
      static_cast<double>((below - ratios.begin()) + (above - ratios.begin())) / (2.0 * kResamples);
  const double bias = normalQuantile(std::clamp(share, least, 1 - least));
  const double a = acceleration(numerators, denominators, numerator, denominator);
  const auto end = [&](double z) {
    return quantile(ratios, normalCdf(bias + (bias + z) / (1 - a * (bias + z))));
  };
  const double z = normalQuantile(0.975);
  estimate.low = end(-z);
  estimate.high = end(z);
}

/// Bits of each document, and its bytes.
struct Columns {
  std::vector<double> bits, bytes;

  explicit Columns(std::span<const DocumentScore> scores) {
    for (const DocumentScore &score : scores) {
      bits.push_back(score.bits());
      bytes.push_back(static_cast<double>(score.textBytes));
    }
  }
};

void checkSameText(std::span<const DocumentScore> a, std::span<const DocumentScore> b) {
  const auto sameBytes = [](const DocumentScore &x, const DocumentScore &y) {
    return x.textBytes == y.textBytes;
  };
  if (!std::equal(a.begin(), a.end(), b.begin(), b.end(), sameBytes))
    fail(ExitCode::Internal, "two models were scored on different text");
}
} // namespace

EvalWindows evalWindows(std::span<const Document *const> documents, const TokenizeFn &tokenize,
                        int32_t startToken, uint32_t windowTokens, uint64_t maxTextBytes) {
  if (windowTokens == 0)
    fail(ExitCode::Internal, "a window to score needs at least one token");
  EvalWindows result;
  result.startToken = startToken;
  for (const Document *document : hearingOrder(documents)) {
    std::string_view text = document->text;
    uint64_t most = kScoredDocumentBytes;
    if (maxTextBytes) {
      // The last percent is not worth a sliver of another document.
      if (result.totalBytes + maxTextBytes / 100 >= maxTextBytes)
        break;
      most = std::max<uint64_t>(4, std::min({most, maxTextBytes / kLeastScoredDocuments,
                                             maxTextBytes - result.totalBytes}));
    }
    if (text.size() > most)
      text = text.substr(0, cutPoint(text, most));
    const uint64_t before = result.tokens;
    addWindows(text, static_cast<uint32_t>(result.documents.size()), tokenize, windowTokens,
               result);
    if (result.tokens == before)
      continue;
    result.documents.push_back({document->name, document->sha256, text.size()});
    result.totalBytes += text.size();
  }
  return result;
}

double DocumentScore::bits() const { return nll / std::numbers::ln2; }

std::vector<DocumentScore> documentScores(const EvalWindows &windows, std::span<const double> nll) {
  std::vector<DocumentScore> scores;
  for (const EvalDocument &document : windows.documents)
    scores.push_back({document.textBytes, 0});
  for (size_t w = 0; w < windows.windows.size(); ++w)
    scores[windows.windows[w].document].nll += nll[w];
  for (size_t d = 0; d < scores.size(); ++d)
    requireFinite(scores[d].nll, windows.documents[d].name);
  return scores;
}

void requireFinite(double score, const std::string &what) {
  if (!std::isfinite(score))
    fail(ExitCode::BadInput, what + ": the model's score is no finite number: its weights are "
                                    "damaged, or its arithmetic overflows");
}

Estimate ratioOfSums(std::span<const double> numerators, std::span<const double> denominators) {
  double numerator = 0, denominator = 0;
  for (size_t i = 0; i < numerators.size(); ++i) {
    numerator += numerators[i];
    denominator += denominators[i];
  }
  constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  Estimate estimate{numerator / denominator, unknown, unknown, unknown};
  if (numerators.size() < 2)
    return estimate;
  double squares = 0;
  for (size_t i = 0; i < numerators.size(); ++i) {
    const double residual = numerators[i] - estimate.value * denominators[i];
    squares += residual * residual;
  }
  const auto n = static_cast<double>(numerators.size());
  estimate.standardError = std::sqrt(n / (n - 1) * squares) / denominator;
  addInterval(numerators, denominators, numerator, denominator, estimate);
  return estimate;
}

Estimate bitsPerByte(std::span<const DocumentScore> scores) {
  const Columns columns(scores);
  return ratioOfSums(columns.bits, columns.bytes);
}

Estimate bitsPerByteDifference(std::span<const DocumentScore> a, std::span<const DocumentScore> b) {
  checkSameText(a, b);
  Columns columns(a);
  for (size_t i = 0; i < b.size(); ++i)
    columns.bits[i] -= b[i].bits();
  return ratioOfSums(columns.bits, columns.bytes);
}

Estimate bitsPerByteRatio(std::span<const DocumentScore> a, std::span<const DocumentScore> b) {
  checkSameText(a, b);
  return ratioOfSums(Columns(a).bits, Columns(b).bits);
}

double effectiveDocuments(std::span<const DocumentScore> scores) {
  double sum = 0, squares = 0;
  for (const DocumentScore &score : scores) {
    const auto bytes = static_cast<double>(score.textBytes);
    sum += bytes;
    squares += bytes * bytes;
  }
  return squares > 0 ? sum * sum / squares : 0;
}

} // namespace retort
