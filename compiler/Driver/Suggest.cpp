//===- Suggest.cpp - "did you mean" -----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Suggest.h"

#include <algorithm>

namespace retort {
namespace {

size_t editDistance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row[b.size()];
}

} // namespace

std::string nearestName(const std::string &word, const std::vector<std::string> &names) {
  std::string nearest;
  size_t best = 3;
  for (const std::string &name : names)
    if (size_t distance = editDistance(word, name); distance < best) {
      best = distance;
      nearest = name;
    }
  return nearest;
}

} // namespace retort
