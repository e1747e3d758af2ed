//===- TestText.h - Seeded texts for the tests of data work ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Corpus.h"
#include "runtime/base/Sha256.h"

#include <random>
#include <string>
#include <vector>

namespace retort::test {

/// `count` words drawn from a vocabulary of 5,000.
inline std::vector<std::string> randomWords(std::mt19937_64 &random, size_t count) {
  std::vector<std::string> words;
  for (size_t i = 0; i < count; ++i)
    words.push_back("w" + std::to_string(random() % 5000));
  return words;
}

inline std::string joined(const std::vector<std::string> &words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i)
    text += words[i] + (i % 12 == 11 ? "\n" : " ");
  return text;
}

inline Document documentOf(std::string text) {
  std::string hash = sha256Hex(text);
  return {"document", std::move(text), hash, hash, Split::Train};
}

inline std::vector<const Document *> pointersTo(const std::vector<Document> &documents) {
  std::vector<const Document *> pointers;
  for (const Document &document : documents)
    pointers.push_back(&document);
  return pointers;
}

} // namespace retort::test
