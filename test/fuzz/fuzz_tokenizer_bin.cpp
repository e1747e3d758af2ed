//===- fuzz_tokenizer_bin.cpp - Tokenizer tables from anywhere ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Error.h"
#include "runtime/src/tokenizer/TableFormat.h"
#include "runtime/src/tokenizer/Tokenizer.h"
#include <cstring>

// The input is a list of changes (where, what) to good tables, and then a text: damage that random
// bytes would hardly make.
namespace {
std::vector<uint8_t> seedTables();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  using namespace retort;
  static const std::vector<uint8_t> good = seedTables();
  std::vector<uint8_t> tables = good;
  size_t changes = size ? data[0] % 16 : 0, at = 1;
  for (; changes > 0 && at + 5 <= size; --changes, at += 5) {
    uint32_t where;
    std::memcpy(&where, data + at, 4);
    // Half of the changes hit the header, the directory and the first sections.
    tables[where & 1 ? where % tables.size() : where % 1024] = data[at + 4];
  }
  if (size > at && data[0] & 0x80)
    tables.resize(tables.size() * data[at] / 256);
  try {
    Tokenizer tokenizer = Tokenizer::open(tables, "fuzz");
    std::string_view text(reinterpret_cast<const char *>(data), size);
    std::vector<int32_t> ids = tokenizer.encode(text.substr(0, 4096));
    tokenizer.decode(ids);
    StreamDecoder stream(tokenizer);
    for (int32_t id : ids)
      stream.push(id);
    stream.finish();
  } catch (const Error &) {
  }
  return 0;
}

#include "test/unit/Tokenizer/Tiny.h"
namespace {
/// Every kind of section: NFC, words of their own, a split by pattern.
std::vector<uint8_t> seedTables() {
  retort::TokenizerSpec spec = retort::test::tinyByteLevel();
  spec.normalizers.push_back({retort::NormalizerStep::Nfc, "", ""});
  spec.normalizers.push_back({retort::NormalizerStep::Replace, "q", "the"});
  spec.added[0].singleWord = true;
  spec.added[1].normalized = true;
  return retort::compileTokenizer(spec);
}
} // namespace
