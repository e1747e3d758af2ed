//===- HtmlEntities.h - Named character references ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string_view>

namespace retort {

/// The code point that `name` stands for ("amp", without '&' and ';'), or 0.
uint32_t namedCharacter(std::string_view name);

} // namespace retort
