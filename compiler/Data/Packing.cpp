//===- Packing.cpp - Documents as sequences of tokens -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Packing.h"
#include "compiler/Data/Hash.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <set>
#include <string>
#include <tuple>

namespace retort {
namespace {

struct TokenisedDocument {
  uint64_t key; ///< where it comes in the draw
  uint64_t textBytes;
  std::vector<int32_t> tokens;

  /// Bytes apportioned to the tokens before `index`; the document's bytes for the last.
  uint64_t bytesBefore(uint64_t index) const { return index * textBytes / tokens.size(); }
};

struct Window {
  uint64_t key;
  uint32_t document; ///< index of the TokenisedDocument
  uint32_t count;    ///< tokens
  uint64_t begin;    ///< first token
};

uint64_t totalTokens(const std::vector<TokenisedDocument> &documents) {
  uint64_t total = 0;
  for (const TokenisedDocument &document : documents)
    total += document.tokens.size();
  return total;
}

/// Documents by the hash of seed and content, as many as a fair draw of the budget needs.
std::vector<TokenisedDocument> tokenise(std::span<const Document *const> documents,
                                        const TokenizeFn &tokenize, const PackOptions &options) {
  std::vector<std::pair<uint64_t, const Document *>> order;
  for (const Document *document : documents)
    order.emplace_back(mix64(mix64(options.seed + 1) ^ leadingBits(document->sha256)), document);
  std::sort(order.begin(), order.end(), [](const auto &a, const auto &b) {
    return a.first != b.first ? a.first < b.first : a.second->sha256 < b.second->sha256;
  });
  constexpr uint64_t fairShare = 8, fairTokens = 4'000'000;
  const uint64_t enough =
      options.budgetTokens ? std::max(fairShare * options.budgetTokens, fairTokens) : ~0ull;
  std::vector<TokenisedDocument> result;
  for (uint64_t total = 0; const auto &[key, document] : order) {
    if (total >= enough)
      break;
    std::vector<int32_t> tokens = tokenize(document->text);
    total += tokens.size();
    if (!tokens.empty())
      result.push_back({key, document->text.size(), std::move(tokens)});
  }
  return result;
}

/// The windows of one epoch in the order of the draw, at most `budget` tokens.
std::vector<Window> drawWindows(const std::vector<TokenisedDocument> &documents,
                                const PackOptions &options, uint64_t epoch, uint64_t budget) {
  std::vector<Window> windows;
  for (uint32_t d = 0; d < documents.size(); ++d) {
    const uint64_t size = documents[d].tokens.size();
    for (uint64_t begin = 0; begin < size; begin += options.sequenceTokens) {
      const auto count =
          static_cast<uint32_t>(std::min<uint64_t>(options.sequenceTokens, size - begin));
      windows.push_back({mix64(documents[d].key ^ mix64(begin ^ mix64(epoch))), d, count, begin});
    }
  }
  std::sort(windows.begin(), windows.end(), [](const Window &a, const Window &b) {
    return std::tie(a.key, a.document, a.begin) < std::tie(b.key, b.document, b.begin);
  });
  for (size_t i = 0; i < windows.size(); ++i) {
    if (budget <= windows[i].count) {
      windows[i].count = static_cast<uint32_t>(budget);
      windows.resize(i + (budget > 0));
      break;
    }
    budget -= windows[i].count;
  }
  return windows;
}

/// Which windows share a sequence: best fit, the longest first.
std::vector<std::vector<Window>> fitWindows(std::vector<Window> windows, uint32_t sequenceTokens) {
  std::sort(windows.begin(), windows.end(), [](const Window &a, const Window &b) {
    return std::tie(b.count, a.key, a.document, a.begin) <
           std::tie(a.count, b.key, b.document, b.begin);
  });
  std::vector<std::vector<Window>> sequences;
  std::set<std::pair<uint32_t, size_t>> rooms; // rows left, sequence
  for (const Window &window : windows) {
    auto room = rooms.lower_bound({window.count, 0});
    uint32_t left = sequenceTokens;
    size_t sequence = sequences.size();
    if (room != rooms.end()) {
      std::tie(left, sequence) = *room;
      rooms.erase(room);
    } else {
      sequences.emplace_back();
    }
    sequences[sequence].push_back(window);
    if (left > window.count)
      rooms.insert({left - window.count, sequence});
  }
  std::sort(sequences.begin(), sequences.end(), [](const auto &a, const auto &b) {
    return std::tie(a[0].key, a[0].document, a[0].begin) <
           std::tie(b[0].key, b[0].document, b[0].begin);
  });
  return sequences;
}

/// Appends the rows of one sequence, padded to the full length.
void appendSequence(const std::vector<Window> &windows,
                    const std::vector<TokenisedDocument> &documents, const PackOptions &options,
                    PackedSequences &packed) {
  const size_t end = packed.tokens.size() + options.sequenceTokens;
  for (size_t w = 0; w < windows.size(); ++w) {
    const Window &window = windows[w];
    const TokenisedDocument &document = documents[window.document];
    for (uint32_t i = 0; i < window.count; ++i) {
      const uint64_t at = window.begin + i;
      packed.tokens.push_back(i ? document.tokens[at - 1] : options.startToken);
      packed.targets.push_back(document.tokens[at]);
      packed.document.push_back(static_cast<int32_t>(w));
      packed.positions.push_back(static_cast<int32_t>(i));
      const uint64_t bytes = document.bytesBefore(at + 1) - document.bytesBefore(at);
      packed.targetBytes.push_back(static_cast<uint32_t>(bytes));
      packed.textBytes += bytes;
    }
    packed.targetCount += window.count;
  }
  packed.tokens.resize(end, options.startToken);
  packed.targets.resize(end, -1);
  packed.document.resize(end, -1);
  packed.positions.resize(end, 0);
  packed.targetBytes.resize(end, 0);
}
} // namespace

PackedSequences packDocuments(std::span<const Document *const> documents,
                              const TokenizeFn &tokenize, const PackOptions &options) {
  if (options.sequenceTokens == 0 || options.startToken < 0 || options.maxEpochs == 0)
    fail(ExitCode::Usage, "sequences need at least one token, a start token and one epoch");
  const std::vector<TokenisedDocument> tokenised = tokenise(documents, tokenize, options);
  const uint64_t total = totalTokens(tokenised);
  if (total == 0)
    fail(ExitCode::BadInput, "the " + std::to_string(documents.size()) +
                                 " documents to pack have no tokens: give documents with text");
  PackedSequences packed;
  packed.sequenceTokens = options.sequenceTokens;
  uint64_t left = options.budgetTokens ? options.budgetTokens : total;
  for (unsigned epoch = 0; left && epoch < options.maxEpochs; ++epoch) {
    const std::vector<Window> windows = drawWindows(tokenised, options, epoch, left);
    for (const std::vector<Window> &sequence : fitWindows(windows, options.sequenceTokens))
      appendSequence(sequence, tokenised, options, packed);
    left -= std::min(left, total);
  }
  return packed;
}

std::vector<uint64_t> countTokens(std::span<const Document *const> documents,
                                  const TokenizeFn &tokenize, uint32_t vocab) {
  std::vector<uint64_t> counts(vocab);
  for (const Document *document : documents)
    for (int32_t token : tokenize(document->text)) {
      if (token < 0 || static_cast<uint32_t>(token) >= vocab)
        fail(ExitCode::Internal, document->name + ": token " + std::to_string(token) +
                                     " is outside the vocabulary of " + std::to_string(vocab));
      ++counts[static_cast<size_t>(token)];
    }
  return counts;
}

} // namespace retort
