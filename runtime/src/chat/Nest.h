//===- Nest.h - Counting how deep a run is ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/Error.h"
#include "runtime/src/chat/Interpreter.h"

namespace retort::chat {

/// One expression, statement or call inside another.
class Interpreter::Nest {
public:
  explicit Nest(Interpreter &interpreter) : nesting_(interpreter.nesting_) {
    if (++nesting_ > kMaxNesting)
      fail(ExitCode::Resources, "macros call each other deeper than " +
                                    std::to_string(kMaxNesting) +
                                    " expressions: give a template that does less");
  }
  ~Nest() { --nesting_; }
  Nest(const Nest &) = delete;

private:
  unsigned &nesting_;
};

} // namespace retort::chat
