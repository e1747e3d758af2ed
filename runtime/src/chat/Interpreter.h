//===- Interpreter.h - Running a chat template ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Walks a Program. It recurses through the program only, which is shallow, and through calls of macros,
// which are counted: kMaxNesting bounds both together. Steps and memory are bounded by the Heap.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/chat/Date.h"
#include "runtime/src/chat/Filters.h"
#include "runtime/src/chat/Program.h"

namespace retort::chat {

struct Scope : Object {
  Scope *parent = nullptr;
  std::vector<std::pair<uint32_t, Value>> values; ///< by the name's text
};

class Interpreter {
public:
  Interpreter(const Program &program, Heap &heap, const Date &date)
      : heap(heap), date(date), program_(program) {}

  /// What the template writes. Throws Error with the template's line.
  Text run(const std::vector<std::pair<std::string, Value>> &variables);

  Value attribute(const Value &object, std::string_view name);
  Value item(const Value &object, const Value &key);
  Value call(const Value &callee, const Arguments &args);
  /// What a `for` would walk. Throws Error if the value cannot be walked.
  std::vector<Value> walk(const Value &value);
  bool contains(const Value &container, const Value &value);
  Value add(const Value &a, const Value &b);
  bool compareBy(Op op, const Value &a, const Value &b);

  Heap &heap;
  const Date &date;

private:
  enum class Flow { Next, Break, Continue };
  class Nest;

  Value eval(uint32_t id);
  Value evalName(const Node &n);
  Value evalList(const Node &n);
  Value evalDict(const Node &n);
  Value evalSlice(const Node &n);
  Value evalCompare(const Node &n);
  Value evalConcat(const Node &n);
  Value evalFilter(const Node &n);
  Value negate(const Value &value);
  Value arithmetic(Op op, const Value &a, const Value &b);
  Value wholes(Op op, int64_t a, int64_t b);
  Value floats(Op op, double a, double b);
  Value multiply(const Value &a, const Value &b);
  Value slice(const Value &object, const Value &start, const Value &stop, const Value &step);
  Arguments arguments(std::span<const uint32_t> parts);
  Value callMacro(const MacroObject &macro, const Arguments &args);
  Value loopAttribute(const Value &loop, std::string_view name);

  Flow exec(uint32_t id);
  Flow execIf(const Node &n);
  Flow execFor(uint32_t id);
  void runFor(uint32_t id, std::vector<Value> items, size_t depth);
  void execCallBlock(const Node &n);
  Flow execWith(const Node &n);
  void assign(uint32_t target, const Value &value);
  void set(uint32_t name, const Value &value);
  const Value *lookup(uint32_t name) const;
  void write(const Text &text);
  /// What the statement writes, in a scope of its own. `flow`: whether it leaves a loop around it, which
  /// only a statement of that loop can.
  Text capture(uint32_t block, Scope *parent, Flow *flow = nullptr);
  Scope *scope(Scope *parent);
  const std::string &textOf(uint32_t i) const { return program_.texts[i]; }

  const Program &program_;
  Scope *scope_ = nullptr;
  Text *out_ = nullptr;
  Value captured_;
  unsigned nesting_ = 0;
  uint32_t line_ = 0;
  uint32_t loopName_ = kNone, callerName_ = kNone, varargsName_ = kNone, kwargsName_ = kNone;
};

} // namespace retort::chat
