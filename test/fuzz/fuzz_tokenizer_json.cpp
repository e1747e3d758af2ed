//===- fuzz_tokenizer_json.cpp - tokenizer.json, compiled and used --------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Spec.h"
#include "runtime/base/Error.h"
#include "runtime/src/tokenizer/Tokenizer.h"

// What is read can be compiled, written, read again, and gives the same ids.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace retort;
  if (size > 1 << 16)
    return 0;
  try {
    std::string_view text(reinterpret_cast<const char *>(data), size);
    TokenizerSpec spec = parseTokenizerJson(text, "", "", {}, "fuzz");
    std::vector<uint8_t> tables = compileTokenizer(spec);
    Tokenizer tokenizer = Tokenizer::open(tables, "fuzz");
    std::vector<int32_t> ids = tokenizer.encode(text.substr(0, 512));
    tokenizer.decode(ids);
    pruneVocabulary(spec, keepAlways(spec));
    TokenizerSpec again = parseTokenizerJson(writeTokenizerJson(spec), "", "", {}, "fuzz");
    std::vector<uint8_t> tablesAgain = compileTokenizer(again);
    if (Tokenizer::open(tablesAgain, "fuzz").encode(text.substr(0, 512)) != ids)
      __builtin_trap();
  } catch (const Error &) {
  }
  return 0;
}
