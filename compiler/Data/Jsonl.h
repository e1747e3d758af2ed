//===- Jsonl.h - Documents in lines of JSON -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace retort {

/// The string under "text", else under "content", of the JSON object that `line` is; nothing if the
/// line is no JSON object, is nested deeper than 64, or has neither. What else the object holds is
/// parsed and dropped as it goes, so memory is bounded by the line.
std::optional<std::string> textOfJsonLine(std::string_view line);

} // namespace retort
