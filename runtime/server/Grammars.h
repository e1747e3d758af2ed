//===- Grammars.h - Grammars that requests ask for --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "retort.hpp"
#include "runtime/server/Request.h"
#include <list>
#include <mutex>

namespace retort::server {

/// Compiles what requests ask for, and keeps the last ones: a service asks for the same few again and
/// again. Any thread.
class Grammars {
public:
  /// Throws Failure as Grammar.
  Grammar find(const Model &model, const Constraint &constraint);
  /// Whether find() has it at hand.
  bool knows(const Constraint &constraint) { return known(constraint).has_value(); }

private:
  struct Entry {
    retort_grammar_kind kind;
    std::string text;
    Grammar grammar;
  };
  std::optional<Grammar> known(const Constraint &constraint);
  std::mutex mutex_;
  std::list<Entry> entries_; ///< the last used first
};

} // namespace retort::server
