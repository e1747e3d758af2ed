//===- fuzz_task.cpp - Task files: questions that hold, or a line that is named ---===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Task.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view text(reinterpret_cast<const char *>(data), size);
  try {
    for (const retort::TaskItem &item : retort::parseTask(text, "task.jsonl")) {
      const bool choice = item.kind == retort::TaskKind::MultipleChoice;
      // What scoring relies on: an answer among the choices, and lengths that can be divided by.
      if (item.answer >= item.continuations.size() || (!choice && item.continuations.size() != 1) ||
          (choice && item.continuations.size() < 2) ||
          (choice && item.lengths.size() != item.continuations.size()) ||
          std::ranges::any_of(item.lengths, [](double length) { return !(length > 0); }))
        std::abort();
      if (choice)
        retort::isChosen(item, std::vector<double>(item.continuations.size(), -1.0), true);
    }
  } catch (const retort::Error &error) {
    // One line, which names the file and, but for an empty one, the line.
    const std::string_view what = error.message;
    if (error.code != retort::ExitCode::BadInput || !what.starts_with("task.jsonl:") ||
        what.find('\n') != what.npos)
      std::abort();
  }
  return 0;
}
