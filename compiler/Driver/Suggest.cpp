//===- Suggest.cpp - "did you mean" -----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Suggest.h"

#include "llvm/ADT/StringRef.h"

namespace retort {
std::string nearestName(const std::string &word, const std::vector<std::string> &names) {
  std::string nearest;
  unsigned best = 3;
  for (const std::string &name : names)
    if (unsigned distance = llvm::StringRef(word).edit_distance(name); distance < best) {
      best = distance;
      nearest = name;
    }
  return nearest;
}

} // namespace retort
