//===- Json.h - JSON from untrusted files -----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace retort {

/// Checks a JSON document in time linear in its length. Throws Error (BadInput: `where` and the
/// byte) if it is malformed, nested deeper than 64, has a key twice in one object, or a number that
/// no double holds. `remedy` ends the message: "the file is damaged, download it again".
void checkJson(std::string_view text, const std::string &where, const std::string &remedy);

/// checkJson(), and the document.
nlohmann::json parseJson(std::string_view text, const std::string &where,
                         const std::string &remedy = "the file is damaged, download it again");

} // namespace retort
