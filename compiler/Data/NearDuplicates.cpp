//===- NearDuplicates.cpp - Texts that are almost the same ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/NearDuplicates.h"
#include "compiler/Data/Hash.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <bit>
#include <string>
#include <unicode/bytestream.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

namespace retort {
namespace {

bool isWordByte(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// FNV-1a over the word with ASCII in lower case, mixed so that every bit counts.
uint64_t hashWord(std::string_view word) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (unsigned char c : word) {
    hash ^= c >= 'A' && c <= 'Z' ? c + 32u : c;
    hash *= 0x100000001b3ull;
  }
  return mix64(hash);
}

/// The text as a reader sees it (UAX #31, NFKC_Casefold): composed and decomposed letters are the
/// same, as are upper and lower case, wide and narrow; any space is a space; what is not shown, as
/// a zero-width space, is not there.
std::string folded(std::string_view text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2 *form = icu::Normalizer2::getNFKCCasefoldInstance(error);
  std::string result;
  icu::StringByteSink<std::string> sink(&result);
  if (U_SUCCESS(error))
    form->normalizeUTF8(0, {text.data(), static_cast<int32_t>(text.size())}, sink, nullptr, error);
  if (U_FAILURE(error))
    fail(ExitCode::Internal, std::string("ICU cannot fold a text: ") + u_errorName(error));
  return result;
}

bool isWordCharacter(UChar32 c) {
  return c == '_' || (U_GET_GC_MASK(c) & (U_GC_L_MASK | U_GC_M_MASK | U_GC_N_MASK)) != 0;
}
/// Whether words of the character's script stand without spaces between them: Chinese, Thai, ...
bool standsAlone(UChar32 c) {
  UErrorCode error = U_ZERO_ERROR;
  return uscript_breaksBetweenLetters(uscript_getScript(c, &error));
}

std::vector<uint64_t> asciiWords(std::string_view text) {
  std::vector<uint64_t> words;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && isWordByte(static_cast<unsigned char>(text[end])))
      ++end;
    if (end > i)
      words.push_back(hashWord(text.substr(i, end - i)));
    i = end + (end == i);
  }
  return words;
}

/// Each character that is not white space, where a text has no words: signs tell such texts apart.
std::vector<uint64_t> signsOf(std::string_view text) {
  std::vector<uint64_t> signs;
  for (int32_t i = 0, size = static_cast<int32_t>(text.size()); i < size;) {
    const int32_t begin = i;
    UChar32 c = 0;
    U8_NEXT(text.data(), i, size, c);
    if (c < 0 || !u_isUWhiteSpace(c))
      signs.push_back(
          hashWord(text.substr(static_cast<size_t>(begin), static_cast<size_t>(i - begin))));
  }
  return signs;
}

std::vector<uint64_t> unicodeWords(const std::string &text) {
  std::vector<uint64_t> words;
  int32_t begin = -1; // of the word that is open
  const auto close = [&](int32_t end) {
    if (begin >= 0)
      words.push_back(hashWord(std::string_view(text).substr(static_cast<size_t>(begin),
                                                             static_cast<size_t>(end - begin))));
    begin = -1;
  };
  for (int32_t i = 0, size = static_cast<int32_t>(text.size()); i < size;) {
    const int32_t at = i;
    UChar32 c = 0;
    U8_NEXT(text.data(), i, size, c);
    const bool word = c >= 0 && isWordCharacter(c), alone = word && standsAlone(c);
    if (!word || alone)
      close(at);
    if (word && begin < 0)
      begin = at;
    if (alone)
      close(i);
  }
  close(static_cast<int32_t>(text.size()));
  return words;
}

std::vector<uint64_t> wordsOf(std::string_view text) {
  const bool ascii = std::all_of(text.begin(), text.end(),
                                 [](char c) { return static_cast<signed char>(c) >= 0; });
  std::vector<uint64_t> words = ascii ? asciiWords(text) : unicodeWords(folded(text));
  return words.empty() ? signsOf(text) : words;
}
} // namespace

std::vector<uint64_t> shinglesOf(std::string_view text, unsigned shingleWords) {
  const std::vector<uint64_t> words = wordsOf(text);
  const size_t width = std::min<size_t>(std::max(shingleWords, 1u), words.size());
  std::vector<uint64_t> shingles;
  for (size_t begin = 0; width && begin + width <= words.size(); ++begin) {
    uint64_t hash = width;
    for (size_t i = begin; i < begin + width; ++i)
      hash = mix64(hash ^ words[i]) + 0x9e3779b97f4a7c15ull;
    shingles.push_back(hash);
  }
  std::sort(shingles.begin(), shingles.end());
  shingles.erase(std::unique(shingles.begin(), shingles.end()), shingles.end());
  return shingles;
}

double jaccard(const std::vector<uint64_t> &a, const std::vector<uint64_t> &b) {
  size_t both = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    both += a[i] == b[j];
    const bool stepA = a[i] <= b[j], stepB = b[j] <= a[i];
    i += stepA;
    j += stepB;
  }
  const size_t either = a.size() + b.size() - both;
  return either ? static_cast<double>(both) / static_cast<double>(either) : 1.0;
}

ShingleSet::ShingleSet(const std::vector<std::string_view> &texts, unsigned shingleWords)
    : shingleWords_(shingleWords) {
  size_t count = 0;
  for (std::string_view text : texts)
    count += shinglesOf(text, shingleWords).size();
  slots_.resize(std::bit_ceil(2 * count + 1));
  marked_.resize(slots_.size());
  for (std::string_view text : texts)
    for (uint64_t shingle : shinglesOf(text, shingleWords))
      slots_[slotOf(shingle)] = shingle;
}

/// Where `shingle` is, or the free slot where it belongs. Shingles are mixed hashes, so that their
/// low bits spread them.
size_t ShingleSet::slotOf(uint64_t shingle) const {
  size_t slot = shingle & (slots_.size() - 1);
  while (slots_[slot] != 0 && slots_[slot] != shingle)
    slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void ShingleSet::mark(std::string_view text) {
  for (uint64_t shingle : shinglesOf(text, shingleWords_))
    if (const size_t slot = slotOf(shingle); slots_[slot] == shingle)
      marked_[slot] = 1;
}

double ShingleSet::markedShare(std::string_view text) const {
  const std::vector<uint64_t> shingles = shinglesOf(text, shingleWords_);
  size_t marked = 0;
  for (uint64_t shingle : shingles)
    marked += marked_[slotOf(shingle)];
  return shingles.empty() ? 0.0
                          : static_cast<double>(marked) / static_cast<double>(shingles.size());
}

NearDuplicateIndex::NearDuplicateIndex(double threshold, unsigned shingleWords)
    : threshold_(threshold), shingleWords_(shingleWords) {
  // Fixed for ever: signatures depend on them, and through them which documents are kept.
  for (unsigned i = 0; i < permutations; ++i) {
    multipliers_[i] = mix64(2 * i + 1) | 1;
    increments_[i] = mix64(2 * i + 2);
  }
}

/// The high half of the least value of each of 128 hash functions h(x) = a x + b mod 2^64, a odd
/// (Dietzfelbinger's multiply-shift), which stand in for permutations.
NearDuplicateIndex::Signature
NearDuplicateIndex::signatureOf(const std::vector<uint64_t> &shingles) const {
  std::array<uint64_t, permutations> least;
  least.fill(~0ull);
  for (uint64_t shingle : shingles)
    for (unsigned i = 0; i < permutations; ++i)
      least[i] = std::min(least[i], shingle * multipliers_[i] + increments_[i]);
  Signature signature;
  for (unsigned i = 0; i < permutations; ++i)
    signature[i] = static_cast<uint32_t>(least[i] >> 32);
  return signature;
}

int64_t NearDuplicateIndex::findOrAdd(std::string_view text) {
  const std::vector<uint64_t> shingles = shinglesOf(text, shingleWords_);
  const Signature signature = signatureOf(shingles);
  std::array<uint64_t, bands> keys;
  std::vector<uint32_t> candidates;
  for (unsigned band = 0; band < bands; ++band) {
    uint64_t key = band;
    for (unsigned row = 0; row < bandRows; ++row)
      key = mix64(key ^ signature[band * bandRows + row]) + 0x9e3779b97f4a7c15ull;
    keys[band] = key;
    const auto [first, last] = buckets_.equal_range(key);
    for (auto it = first; it != last; ++it)
      candidates.push_back(it->second);
  }
  std::sort(candidates.begin(), candidates.end());
  candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());

  for (uint32_t candidate : candidates) {
    unsigned equal = 0;
    for (unsigned i = 0; i < permutations; ++i)
      equal += signature[i] == signatures_[candidate][i];
    // The estimate's standard deviation is at most 0.045, so this leaves out no pair that matters
    // and spares reading most candidates again.
    if (equal < (threshold_ - 0.25) * permutations)
      continue;
    if (jaccard(shingles, shinglesOf(texts_[candidate], shingleWords_)) >= threshold_)
      return candidate;
  }
  const auto index = static_cast<uint32_t>(texts_.size());
  for (uint64_t key : keys)
    buckets_.emplace(key, index);
  texts_.push_back(text);
  signatures_.push_back(signature);
  return -1;
}

} // namespace retort
