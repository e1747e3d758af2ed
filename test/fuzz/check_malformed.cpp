//===- check_malformed.cpp - No damaged checkpoint may be read ------------===//
// SPDX-License-Identifier: Apache-2.0
//
// check-malformed DIR: reads every file and folder of DIR (made by make_regression_corpus.py) as a
// checkpoint. Each must end in an Error of one line that names it, of the right class, without
// taking more than a few MB of memory.
//
//===----------------------------------------------------------------------===//
#include "compiler/Import/Config.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <sys/resource.h>
#include <vector>

using namespace retort;

/// What is wrong with how `path` was refused; empty if nothing.
static std::string complaint(const std::string &path) {
  try {
    readModelConfig(Checkpoint::open(path));
  } catch (const Error &error) {
    std::printf("%d %s\n", static_cast<int>(error.code), error.message.c_str());
    if (error.code != ExitCode::BadInput && error.code != ExitCode::Unsupported &&
        error.code != ExitCode::Io)
      return "has the exit code " + std::to_string(static_cast<int>(error.code));
    if (!error.message.starts_with(path))
      return "is not named at the start of its message";
    if (error.message.size() > path.size() + 400)
      return "has a message of " + std::to_string(error.message.size()) + " characters";
    for (unsigned char c : error.message)
      if (c < 0x20 || c > 0x7e)
        return "has a message with unprintable characters";
    return "";
  }
  return "was read";
}

int main(int argc, char **argv) {
  if (argc != 2)
    return std::fprintf(stderr, "usage: check-malformed DIR\n"), 2;
  std::vector<std::string> paths;
  for (const auto &entry : std::filesystem::directory_iterator(argv[1]))
    paths.push_back(entry.path());
  std::ranges::sort(paths);
  rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  int failures = 0;
  for (const std::string &path : paths)
    if (std::string what = complaint(path); !what.empty()) {
      std::printf("FAILED: %s %s\n", path.c_str(), what.c_str());
      ++failures;
    }
  getrusage(RUSAGE_SELF, &after);
  const long grown = after.ru_maxrss - before.ru_maxrss;
  if (grown > 64 * 1024) {
    std::printf("FAILED: memory grew by %ld KB\n", grown);
    ++failures;
  }
  std::printf("%zu damaged checkpoints, %d failures\n", paths.size(), failures);
  return failures != 0 || paths.empty();
}
