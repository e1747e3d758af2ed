//===- ChatVariables.h - --chat-var NAME=VALUE ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

namespace retort {

/// The JSON object of variables given as "name=value": a value that is JSON (false, 3, "a", [1]) is
/// what it says, any other is a text. Empty if there are none. Throws Error (Usage).
std::string chatVariables(const std::vector<std::string> &given);

} // namespace retort
