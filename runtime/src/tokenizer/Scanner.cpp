//===- Scanner.cpp - Walking a pre-tokeniser's automaton ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Utf8.h"
#include "runtime/src/tokenizer/Encoder.h"

namespace retort::tok {
namespace {
constexpr uint32_t kMatched = 0x8000;
constexpr int kQuick = 64; ///< characters after the last match before places are remembered
} // namespace

uint32_t Scanner::entryAt(size_t at, uint32_t state, size_t &after) const {
  uint32_t cls = a_.width - 1; // the end of the text
  after = at;
  if (at < text_.size()) {
    const char *p = text_.data() + at;
    uint32_t code = nextCode(p);
    cls = code < 128 ? a_.asciiClass[code] : a_.classOf[code];
    after = p - text_.data();
  }
  return a_.next[size_t(state) * a_.width + cls];
}

size_t Scanner::match(size_t begin) {
  size_t at = begin, last = std::string_view::npos;
  uint32_t state = a_.start;
  for (int budget = kQuick;;) {
    size_t after;
    uint32_t entry = entryAt(at, state, after);
    if (entry & kMatched) {
      last = at;
      budget = kQuick;
    }
    state = entry & ~kMatched;
    if (state == 0 || after == at)
      return last;
    at = after;
    if (--budget == 0) {
      if (!longScan(at, state, last))
        return last;
      budget = kQuick;
    }
  }
}

bool Scanner::longScan(size_t &at, uint32_t &state, size_t &last) {
  path_.clear();
  bool alive = false;
  while (!futile(state, at)) {
    if (path_.empty() || path_.back().first != state)
      path_.push_back({state, {at, at}});
    size_t after;
    uint32_t entry = entryAt(at, state, after);
    path_.back().second.end = at + 1;
    if (entry & kMatched) {
      last = at;
      alive = true;
    }
    state = entry & ~kMatched;
    if (state == 0 || after == at)
      break;
    at = after;
    if (alive)
      return true;
  }
  if (!alive)
    for (auto &[visited, range] : path_)
      futile_[{visited, range.begin}] = range.end;
  return false;
}

bool Scanner::futile(uint32_t state, size_t at) const {
  if (futile_.empty())
    return false;
  auto it = futile_.upper_bound({state, at});
  if (it == futile_.begin())
    return false;
  --it;
  return it->first.first == state && at < it->second;
}

} // namespace retort::tok
