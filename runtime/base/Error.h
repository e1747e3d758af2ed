//===- Error.h - How Retort's own code reports failure ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <utility>

namespace retort {

/// Exit codes of every tool, and the class of every error. docs/errors.md is their manual.
enum class ExitCode : int {
  Ok = 0,
  Internal = 1, ///< a bug of Retort's
  Usage = 2,    ///< the command line, a recipe or a pipeline is wrong
  BadInput = 3, ///< a file is damaged, malicious or not what it should be
  Unsupported =
      4, ///< a valid file that Retort does not handle: architecture, pre-tokeniser, template
  Resources = 5,  ///< memory, disk, files, threads or budget do not suffice
  Io = 6,         ///< the operating system refused: not found, not writable
  Device = 7,     ///< a GPU failed while it worked
  GateFailed = 8, ///< the specialist does not reach what was asked: a result, not a fault
  Interrupted = 130
};

/// The one exception type. `message` is one line: what is wrong, where (file and byte, or line and
/// column), what to do. It is thrown by parsers and data work, caught at the C API, in passes and
/// in tools/, and never crosses MLIR's or a shared library's frames.
struct Error {
  ExitCode code;
  std::string message;
};

[[noreturn]] inline void fail(ExitCode code, std::string message) {
  throw Error{code, std::move(message)};
}

} // namespace retort
