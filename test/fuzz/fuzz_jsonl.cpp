//===- fuzz_jsonl.cpp - Lines of JSON against a whole parse ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Jsonl.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

using nlohmann::json;

/// What textOfJsonLine must give, from a tree of the whole line.
static std::optional<std::string> expectedText(std::string_view line) {
  bool tooDeep = false;
  const json tree = json::parse(
      line.begin(), line.end(),
      [&](int depth, json::parse_event_t event, json &) {
        tooDeep |= depth >= 64 && (event == json::parse_event_t::object_start ||
                                   event == json::parse_event_t::array_start);
        return true;
      },
      /*allow_exceptions=*/false);
  if (tree.is_discarded() || tooDeep || !tree.is_object())
    return std::nullopt;
  for (const char *key : {"text", "content"})
    if (tree.contains(key) && tree[key].is_string())
      return tree[key].get<std::string>();
  return std::nullopt;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view line(reinterpret_cast<const char *>(data), size);
  const std::optional<std::string> text = retort::textOfJsonLine(line);
  // Where a key is there twice, the tree keeps one value and the reader the last string.
  if (text != expectedText(line) && line.find("\"text\"") == line.rfind("\"text\"") &&
      line.find('\\') == line.npos && line.find("\"content\"") == line.rfind("\"content\""))
    std::abort();
  return 0;
}
