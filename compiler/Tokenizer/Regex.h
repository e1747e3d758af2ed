//===- Regex.h - Pre-tokeniser patterns to automata -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Compiles the regular expressions of pre-tokenisers to deterministic automata over classes of code
// points, with the meaning that a backtracking engine (Oniguruma) gives them: leftmost, and the
// first alternative that matches rather than the longest.
//
// A state is the ordered list of places where the pattern may be, best first; a place that has
// matched cuts off those behind it (Cox, "Regular Expression Matching: the Virtual Machine
// Approach"). A lookahead at one character is decided when that character is read, so a match is
// reported one character after its end, or at the end of the text.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Tokenizer/Unicode.h"

namespace retort {

struct Automaton {
  static constexpr uint16_t kMatched = 0x8000; ///< a match ends before the character just read
  static constexpr uint16_t kDead = 0;         ///< the state from which nothing follows
  uint32_t classes = 0;                        ///< of code points; the end of the text is one more
  uint32_t start = 0;
  std::vector<uint8_t> classOf; ///< [kCodePoints]
  std::vector<uint16_t> next;   ///< [states][classes + 1]: state | kMatched
  uint32_t states() const { return static_cast<uint32_t>(next.size() / (classes + 1)); }
};

/// Throws Error (Unsupported) for syntax that is not known exactly, a pattern that matches the
/// empty text, or one that grows too large; the message holds the pattern and the place in it.
Automaton compilePattern(std::string_view pattern, bool isRegex);
/// Matches one character of the set.
Automaton compileSet(const CodeSet &set);

/// Ends of the match that starts at `begin`, or npos; for tests (the runtime walks the tables
/// itself).
size_t matchAt(const Automaton &automaton, std::span<const uint32_t> text, size_t begin);

} // namespace retort
