//===- Nfc.cpp - Canonical composition ------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Unicode Standard Annex 15. O(n log n): marks are sorted by class, not moved one by one.
//
//===----------------------------------------------------------------------===//
#include "runtime/base/Utf8.h"
#include "runtime/src/tokenizer/Encoder.h"
#include <algorithm>

namespace retort::tok {
namespace {

// Hangul syllables are composed by arithmetic (the Unicode Standard, section 3.12).
constexpr uint32_t kS = 0xAC00, kL = 0x1100, kV = 0x1161, kT = 0x11A7;
constexpr uint32_t kLs = 19, kVs = 21, kTs = 28, kSs = kLs * kVs * kTs;

struct Marked {
  uint32_t code;
  uint8_t combiningClass;
};

class Composer {
public:
  explicit Composer(const Tables &tables) : t_(tables) {}

  const NfcRecord &record(uint32_t code) const {
    return t_.nfcRecords[t_.nfcIndex[kStageOne + t_.nfcIndex[code >> 7] * 128 + (code & 127)]];
  }

  void decompose(std::string_view text) {
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      uint32_t code = nextCode(p);
      if (code - kS < kSs) {
        uint32_t s = code - kS;
        codes_.push_back({kL + s / (kVs * kTs), 0});
        codes_.push_back({kV + s % (kVs * kTs) / kTs, 0});
        if (s % kTs)
          codes_.push_back({kT + s % kTs, 0});
        continue;
      }
      const NfcRecord &r = record(code);
      if (r.length == 0)
        codes_.push_back({code, r.combiningClass});
      for (uint32_t i = 0; i < r.length; ++i) {
        uint32_t part = t_.nfcDecomposed[r.decomposed + i];
        codes_.push_back({part, record(part).combiningClass});
      }
    }
  }

  void order() {
    auto isMark = [](const Marked &m) { return m.combiningClass != 0; };
    for (auto it = codes_.begin(); it != codes_.end();) {
      auto first = std::find_if(it, codes_.end(), isMark);
      it = std::find_if_not(first, codes_.end(), isMark);
      // Equal classes keep their order.
      std::vector<uint64_t> keys;
      for (auto mark = first; mark != it; ++mark)
        keys.push_back(uint64_t(mark->combiningClass) << 56 | uint64_t(mark - first) << 24 |
                       mark->code);
      std::sort(keys.begin(), keys.end());
      for (uint64_t key : keys)
        *first++ = {uint32_t(key & 0xFFFFFF), uint8_t(key >> 56)};
    }
  }

  /// Composes in place: `starter` is the last character of class 0 that was kept.
  void compose() {
    size_t kept = 0, starter = SIZE_MAX;
    uint8_t lastClass = 0;
    for (Marked m : codes_) {
      bool adjacent = kept > 0 && starter == kept - 1;
      // A mark is blocked by one of its own class or a higher one behind the starter.
      bool free =
          starter != SIZE_MAX && (adjacent || (lastClass != 0 && lastClass < m.combiningClass));
      uint32_t joined = free ? pair(codes_[starter].code, m.code) : kNone;
      if (joined != kNone) {
        codes_[starter].code = joined;
        continue;
      }
      codes_[kept] = m;
      if (m.combiningClass == 0)
        starter = kept;
      lastClass = m.combiningClass;
      ++kept;
    }
    codes_.resize(kept);
  }

  void write(std::string &out) const {
    for (const Marked &m : codes_)
      appendUtf8(out, m.code);
  }

private:
  uint32_t pair(uint32_t first, uint32_t second) const {
    if (first - kL < kLs && second - kV < kVs)
      return kS + ((first - kL) * kVs + (second - kV)) * kTs;
    if (first - kS < kSs && (first - kS) % kTs == 0 && second - kT - 1 < kTs - 1)
      return first + (second - kT);
    if (t_.nfcPairs.empty())
      return kNone;
    uint64_t at = hashPair(first, second);
    for (uint32_t probe = 0; probe <= t_.config.nfcProbes; ++probe, ++at) {
      const NfcPair &slot = t_.nfcPairs[at & (t_.nfcPairs.size() - 1)];
      if (slot.first == first && slot.second == second)
        return slot.composed;
      if (slot.first == kNone)
        return kNone;
    }
    return kNone;
  }

  const Tables &t_;
  std::vector<Marked> codes_;
};

} // namespace

std::string_view composeNfc(const Tables &tables, std::string_view text, std::string &buffer) {
  Composer composer(tables);
  bool inert = true;
  for (const char *p = text.data(), *end = p + text.size(); p < end && inert;)
    inert = uint8_t(*p) < 0x80 ? (++p, true) : composer.record(nextCode(p)).inert;
  if (inert)
    return text;
  composer.decompose(text);
  composer.order();
  composer.compose();
  buffer.clear();
  composer.write(buffer);
  return buffer;
}

} // namespace retort::tok
