//===- JinjaParse.h - From a chat template to its program -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/chat/Program.h"

namespace retort::jinja {

/// Compiles a template with the grammar of Jinja 3.1. Throws Error (Unsupported): what is no Jinja, or
/// not known to Retort, with its line.
chat::Program compile(std::string_view source);

} // namespace retort::jinja
