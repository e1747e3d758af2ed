//===- Structure.h - Grammars put together ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/grammar/Vocabulary.h"

namespace retort::grammar {

/// The texts of a structure, in JSON, of which each part is
///   "TEXT"                            that text;
///   {"token": "NAME"}                 the special token of that name;
///   {"schema": {...}}                 JSON that the schema allows;
///   {"regex": "..."}                  a text that the regular expression matches;
///   [PART, ...]                       all of them, in order;
///   {"any": [PART, ...]}              one of them;
///   {"repeat": PART}                  any number of them, or none;
///   {"until": MARK, "then": PART}     any text, special tokens included, that does not hold MARK (a text or
///                                     a token); or that, MARK, and the part;
///   {"unless": "TEXT", "then": PART}  any text that does not begin with TEXT; or TEXT and the part.
/// Throws Error (Usage) for what is wrong, with the place as a JSON pointer.
Automaton compileStructure(std::string_view text, Budget &budget, const Vocabulary &vocabulary);

} // namespace retort::grammar
