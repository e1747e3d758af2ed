//===- Error.h - What a client is told --------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace retort::server {

/// A request that is not answered: its HTTP status, and the fields of OpenAI's error object.
struct ApiError {
  int status;          ///< of HTTP
  const char *code;    ///< for programs: "unknown_parameter"
  std::string message; ///< for people: one line, what is wrong and what to do
  std::string param;   ///< the field that is wrong; empty: none is

  /// {"error": {"message", "type", "param", "code"}}.
  std::string toJson() const;
};

/// Throws a 400 about a field: "FIELD WHAT".
[[noreturn]] void refuseField(const std::string &field, const std::string &what,
                              const char *code = "invalid_value");

} // namespace retort::server
