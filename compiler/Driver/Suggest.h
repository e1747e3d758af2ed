//===- Suggest.h - "did you mean" ------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

namespace retort {

/// The name that `word` is most likely a typo of (edit distance at most 2), or "".
std::string nearestName(const std::string &word, const std::vector<std::string> &names);

} // namespace retort
