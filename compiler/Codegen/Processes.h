//===- Processes.h - Running tools, a few at a time ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>
#include <vector>

namespace retort::codegen {

/// A command that is to run, and then what it left.
struct Job {
  std::vector<std::string> command; ///< the program's path first
  std::string output;               ///< file that its stdout and stderr go to
  int exitCode = 0;                 ///< 128 plus the signal if one ended it, as a shell has it
};

/// Runs `jobs` in `folder`, `atOnce` at a time, started in order, until all have ended. When
/// `interrupted` (asked now and then; may be null) is true, stops them and throws retort::Error
/// (Interrupted). Throws Error (Io) if a program cannot be started.
void runJobs(std::vector<Job> &jobs, const std::string &folder, unsigned atOnce,
             const std::function<bool()> &interrupted);

} // namespace retort::codegen
