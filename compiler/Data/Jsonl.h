//===- Jsonl.h - Documents in lines of JSON -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace retort {

/// What a line gave.
struct JsonLine {
  std::string text;            ///< empty if `fault` is not, or if the document is
  const char *fault = nullptr; ///< why there is no text, to stand behind "the line"; null: there is
};

/// The string under "text", else under "content", of the JSON object that `line` is; of an empty one
/// the other. What else the object holds is looked at only as far as finding its end takes, so it may
/// be as deep as it likes, and may have what Python and others write beside the standard: NaN,
/// Infinity, a comma behind the object. In the text what is no character, a lone surrogate or a NUL,
/// becomes U+FFFD. Time is linear in the line, and memory is bounded by it.
JsonLine textOfJsonLine(std::string_view line);

} // namespace retort
