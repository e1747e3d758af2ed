//===- Tsv.h - Tables for other programs ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace retort {

/// `text` as a field of tab-separated values, where tabs and ends of lines have a meaning.
inline std::string tsvField(std::string_view text) {
  std::string field;
  for (char c : text)
    if (c == '\t' || c == '\n' || c == '\\')
      field += c == '\t' ? "\\t" : c == '\n' ? "\\n" : "\\\\";
    else
      field += c;
  return field;
}

} // namespace retort
