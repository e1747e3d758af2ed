//===- Json.h - JSON from untrusted files ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace retort {

/// The whole of a small text file. Throws Error (Io; BadInput if it has more than `limit` bytes).
std::string readTextFile(const std::string &path, uint64_t limit);

/// Parses a JSON document. Throws Error (BadInput: the file and the byte) if it is malformed,
/// nested deeper than 64, or has a key twice in one object. `path` is for messages.
nlohmann::json parseJson(std::string_view text, const std::string &path);

} // namespace retort
