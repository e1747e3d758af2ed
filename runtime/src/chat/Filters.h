//===- Filters.h - What expressions can call --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/chat/Value.h"
#include <initializer_list>

namespace retort::chat {

class Interpreter;

struct Arguments {
  std::vector<Value> list;
  std::vector<std::pair<std::string_view, Value>> named;
};

/// Arguments by the names that a function gives them. Throws Error for those it does not have.
class Parameters {
public:
  Parameters(const Arguments &args, std::string_view function,
             std::initializer_list<std::string_view> names);
  bool has(size_t i) const { return i < values_.size() && values_[i]; }
  /// None counts as given. Throws Error if it is missing.
  const Value &at(size_t i) const;
  int64_t whole(size_t i, int64_t missing) const;
  bool flag(size_t i, bool missing) const;
  /// Throws Error unless it is a text.
  const Text &text(size_t i) const;

private:
  [[noreturn]] void bad(size_t i, const char *what) const;
  std::string_view function_;
  std::vector<std::string_view> names_;
  std::vector<const Value *> values_;
};

struct FilterEntry {
  const char *name;
  Value (*run)(Interpreter &, const Value &, const Arguments &);
  bool keepsSafe = false; ///< a text marked as safe may be its input
};
struct TestEntry {
  const char *name;
  bool (*run)(Interpreter &, const Value &, const Arguments &);
};
/// A method of a type of value.
struct MethodEntry {
  Kind kind;
  const char *name;
  Value (*run)(Interpreter &, const Value &, const Arguments &);
};

/// Null for a name that is not known.
const FilterEntry *findFilter(std::string_view name);
const TestEntry *findTest(std::string_view name);
const MethodEntry *findMethod(const Value &self, std::string_view name);
const MethodEntry *findStringMethod(std::string_view name);
/// A filter that does what the method without arguments does.
Value callStringMethod(Interpreter &interpreter, const char *name, const Value &self,
                       const Arguments &args);
/// Of the functions that templates see: range, dict, namespace, ...; -1 if there is none.
int findFunction(std::string_view name);
Value callFunction(Interpreter &interpreter, int function, const Arguments &args);

/// The `%` operator of a text.
Value formatPercent(Interpreter &interpreter, const Value &format, const Value &argument);
/// A text as HTML writes it.
Text escapeHtml(const Text &text);
/// Characters of a text.
size_t countChars(const Text &text);
/// Where each character begins, and the end.
std::vector<size_t> charStarts(const Text &text);

} // namespace retort::chat
