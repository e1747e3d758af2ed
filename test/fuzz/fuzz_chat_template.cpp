//===- fuzz_chat_template.cpp - Chat templates from anywhere --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Spec.h"
#include "runtime/base/Error.h"
#include <nlohmann/json.hpp>

// A template is recognised or refused, in bounded time and memory.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace retort;
  if (size > 1 << 14)
    return 0;
  try {
    std::string_view text(reinterpret_cast<const char *>(data), size);
    ChatFormat format = recogniseChatTemplate(text, "<s>", "</s>", "fuzz");
    if (ChatFormat::fromJson(nlohmann::json::parse(format.toJson().dump())) != format)
      __builtin_trap();
  } catch (const Error &) {
  } catch (const nlohmann::json::type_error &) { // a format that is not UTF-8 has no JSON
  }
  return 0;
}
