//===- fuzz_jsonl.cpp - Lines of JSON against a whole parse ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Jsonl.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

using nlohmann::json;

/// Whether textOfJsonLine gives what a tree of the whole line says; true where the line is no JSON by
/// the standard, which the reader does not insist on.
static bool isAsExpected(std::string_view line, const retort::JsonLine &read) {
  const json tree = json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  if (tree.is_discarded())
    return true;
  if (!tree.is_object())
    return read.fault != nullptr;
  bool any = false;
  for (const char *key : {"text", "content"})
    if (tree.contains(key) && tree[key].is_string()) {
      any = true;
      if (!tree[key].get<std::string>().empty())
        return !read.fault && read.text == tree[key].get<std::string>();
    }
  return any ? !read.fault && read.text.empty() : read.fault != nullptr;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view line(reinterpret_cast<const char *>(data), size);
  const retort::JsonLine read = retort::textOfJsonLine(line);
  // Where a key is there twice, the tree keeps one value and the reader the last string; escapes may
  // spell a key or a NUL, which ends the text for the tree.
  if (!isAsExpected(line, read) && line.find("\"text\"") == line.rfind("\"text\"") &&
      line.find('\\') == line.npos && line.find('\0') == line.npos &&
      line.find("\"content\"") == line.rfind("\"content\""))
    std::abort();
  return 0;
}
