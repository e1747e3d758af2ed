//===- Grammars.cpp - Grammars that requests ask for ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Grammars.h"

#include <algorithm>

namespace retort::server {
namespace {
constexpr size_t kMostEntries = 32;
}

std::optional<Grammar> Grammars::known(const Constraint &constraint) {
  std::lock_guard lock(mutex_);
  const auto at = std::find_if(entries_.begin(), entries_.end(), [&](const Entry &entry) {
    return entry.kind == constraint.kind && entry.text == constraint.text;
  });
  if (at == entries_.end())
    return std::nullopt;
  entries_.splice(entries_.begin(), entries_, at);
  return at->grammar;
}

Grammar Grammars::find(const Model &model, const Constraint &constraint) {
  if (std::optional<Grammar> grammar = known(constraint))
    return *grammar;
  Grammar made(model, constraint.kind, constraint.text); // others need not wait for it
  std::lock_guard lock(mutex_);
  entries_.push_front({constraint.kind, constraint.text, made});
  if (entries_.size() > kMostEntries)
    entries_.pop_back();
  return made;
}

} // namespace retort::server
