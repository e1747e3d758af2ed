//===- HtmlEntities.cpp - Named character references ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/HtmlEntities.h"

#include <algorithm>
#include <iterator>

namespace retort {
namespace {
struct Entity {
  std::string_view name, characters;
};

/// Sorted by name, bytewise.
constexpr Entity entities[] = {
#include "compiler/Data/HtmlEntities.inc"
};

constexpr size_t longestName = [] {
  size_t longest = 0;
  for (const Entity &entity : entities)
    longest = std::max(longest, entity.name.size());
  return longest;
}();

bool isNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
} // namespace

std::string_view namedCharacters(std::string_view text, size_t &used) {
  size_t length = 0;
  while (length < text.size() && length < longestName && isNameByte(text[length]))
    ++length;
  if (length < text.size() && text[length] == ';')
    ++length;
  for (; length >= 2; --length) {
    const std::string_view name = text.substr(0, length);
    const auto *found = std::lower_bound(
        std::begin(entities), std::end(entities), name,
        [](const Entity &entity, std::string_view wanted) { return entity.name < wanted; });
    if (found != std::end(entities) && found->name == name) {
      used = length;
      return found->characters;
    }
  }
  return {};
}

} // namespace retort
