//===- Gate.h - What a specialist must reach ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Driver/Workspace.h"
#include "compiler/Report/Report.h"
#include "runtime/base/Error.h"
#include <string>
#include <vector>

namespace retort {

/// What `--gate` asks for; docs/eval.md has the grammar.
struct Gate {
  std::string text;       ///< as it was written
  std::string task;       ///< a task file; empty: held-out documents
  std::string metric;     ///< of distill.gate
  double bound = 0;       ///< times the teacher's figure if `ofTeacher`
  bool ofTeacher = false; ///< of the teacher as it came
  bool strict = false;    ///< equal is not enough

  /// Throws Error (Usage) that says what was expected where.
  static Gate parse(const std::string &text);
};

/// The gates of a compile, and the task files that they name.
class Gates {
public:
  /// Reads and checks the task files. Throws Error: what Gate::parse() and parseTask() throw.
  explicit Gates(const std::vector<std::string> &texts);

  /// Whether one of them is about held-out documents.
  bool needCorpus() const;
  std::vector<std::string> taskFiles() const;
  /// Puts the task files into `workspace`, where data work reads them.
  void putTasks(Workspace &workspace) const;
  /// `pipeline`, "builtin.module(...)", with the passes before and after it that score the teacher as
  /// it came and the final model, on `tokens` tokens of held-out text, and insert the gates.
  std::string around(const std::string &pipeline, const std::string &tokens) const;

private:
  struct Asked {
    Gate gate;
    std::string content, sha256; ///< of its task
  };
  std::vector<Asked> gates_;
};

/// The gates' outcomes in one line: what failed, and by how much. Empty if all passed.
std::string failureOf(const std::vector<GateOutcome> &outcomes);

} // namespace retort
