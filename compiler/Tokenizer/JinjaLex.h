//===- JinjaLex.h - A chat template's tokens --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace retort::jinja {

struct Token {
  enum Kind {
    Data,
    OutputBegin,
    OutputEnd,
    BlockBegin,
    BlockEnd,
    Name,
    String,
    Int,
    Float,
    Operator,
    End
  } kind;
  std::string text; ///< of Data, Name and String: what it stands for; of Operator: itself
  uint32_t line = 1;
  int64_t number = 0;
  double real = 0;
};

/// Splits a template as Jinja's lexer does with transformers' settings: trim_blocks, lstrip_blocks, and
/// no newline at the end. Ends with an End. Throws Error (Unsupported) with the line.
std::vector<Token> lex(std::string_view source);

/// Throws Error (Unsupported): "line 3: ...".
[[noreturn]] void failAt(uint32_t line, const std::string &what);

} // namespace retort::jinja
