//===- HtmlEntities.h - Named character references ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <string_view>

namespace retort {

/// The characters (UTF-8) that the longest name at the beginning of `text`, which follows an '&',
/// stands for, and in `used` its bytes, a ';' that belongs to it among them; empty if none does.
std::string_view namedCharacters(std::string_view text, size_t &used);

} // namespace retort
