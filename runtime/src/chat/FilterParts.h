//===- FilterParts.h - What files of filters share ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/chat/Interpreter.h"

#include <span>

namespace retort::chat {

/// The filters of each file; findFilter() looks through them all.
std::span<const FilterEntry> textFilters();
std::span<const FilterEntry> numberFilters();
std::span<const FilterEntry> listFilters();

/// Throws Error for what is not there.
void needDefined(const Value &value);

/// What `attribute=` names: "a.b.0", or a number.
class Getter {
public:
  Getter(Interpreter &in, const Value *attribute);
  /// `missing`, if given, stands for what an item has not.
  Value operator()(Value item, const Value *missing = nullptr) const;

private:
  Interpreter &in_;
  std::vector<Value> keys_;
};

} // namespace retort::chat
