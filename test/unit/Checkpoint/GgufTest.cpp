//===- GgufTest.cpp - The GGUF reader on files made by hand ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Gguf.h"
#include "runtime/base/Error.h"
#include "test/unit/Checkpoint/GgufBytes.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace retort;
using retort::test::Bytes;
using testing::HasSubstr;

namespace {

constexpr uint32_t kString = 8, kArray = 9, kF32 = 6, kI32 = 5, kBool = 7, kU64 = 10;

Error errorOf(const Bytes &bytes) {
  try {
    GgufFile::parse(bytes.data, "m.gguf");
  } catch (const Error &error) {
    EXPECT_EQ(error.message.find('\n'), std::string::npos) << error.message;
    EXPECT_TRUE(error.message.starts_with("m.gguf: ")) << error.message;
    return error;
  }
  ADD_FAILURE() << "was read";
  return {ExitCode::Ok, ""};
}

TEST(Gguf, ReadsValuesOfEveryKind) {
  Bytes b;
  b.header(0, 7).u32("a", 7);
  b.key("b", kString).string("text");
  b.key("c", kArray).put(kString).put<uint64_t>(2).string("x").string("");
  b.key("d", kArray).put(kF32).put<uint64_t>(2).put(1.5f).put(-2.0f);
  b.key("e", kBool).put<uint8_t>(1);
  b.key("f", kU64).put<uint64_t>(1ull << 63);
  b.key("g", kArray).put(kI32).put<uint64_t>(1).put<int32_t>(-3);
  GgufFile file = GgufFile::parse(b.data, "m.gguf");
  EXPECT_EQ(file.integer("a"), 7);
  EXPECT_EQ(file.number("a"), 7.0);
  EXPECT_EQ(file.string("b"), "text");
  EXPECT_EQ(*file.strings("c"), (std::vector<std::string_view>{"x", ""}));
  EXPECT_EQ(*file.floats("d"), (std::vector<float>{1.5f, -2.0f}));
  EXPECT_EQ(file.boolean("e"), true);
  EXPECT_EQ(*file.int32s("g"), std::vector<int32_t>{-3});
  EXPECT_EQ(*file.integers("g"), std::vector<int64_t>{-3});
  const auto refused = [](auto read) {
    try {
      read();
    } catch (const Error &error) {
      EXPECT_EQ(error.code, ExitCode::BadInput);
      return error.message;
    }
    return std::string();
  };
  EXPECT_THAT(refused([&] { file.integer("f"); }),
              HasSubstr("key 'f' is not an integer that fits 63 bits"));
  EXPECT_THAT(refused([&] { file.integer("c"); }), HasSubstr("key 'c' is not an integer"));
  EXPECT_THAT(refused([&] { file.boolean("a"); }), HasSubstr("key 'a' is not a boolean"));
  EXPECT_THAT(refused([&] { file.string("a"); }), HasSubstr("key 'a' is not a string"));
  EXPECT_THAT(refused([&] { file.strings("d"); }), HasSubstr("key 'd' is not an array of strings"));
  EXPECT_EQ(file.integer("none"), std::nullopt);
  EXPECT_EQ(file.values().size(), 7u);
}

TEST(Gguf, ReadsTensorsSlowestFirst) {
  Bytes b;
  b.header(2, 0, 2).tensor("w", {64, 3}, 2, 0).tensor("v", {5}, 0, 128);
  b.align().zeros(128 + 20);
  GgufFile file = GgufFile::parse(b.data, "m.gguf");
  ASSERT_EQ(file.tensors().size(), 2u);
  const GgufTensor &w = file.tensors()[0], &v = file.tensors()[1];
  EXPECT_EQ(w.name, "w");
  EXPECT_EQ(w.shape, (std::vector<int64_t>{3, 64}));
  EXPECT_EQ(w.type, DType::Q4_0);
  EXPECT_EQ(w.bytes.size(), 3u * 2 * 18);
  EXPECT_EQ(v.bytes.data(), w.bytes.data() + 128);
}

TEST(Gguf, RefusesHeaders) {
  EXPECT_THAT(errorOf(Bytes()).message, HasSubstr("byte 0"));
  EXPECT_THAT(errorOf(Bytes().raw("PK\x03\x04zzzzzzzzzzzzzzzzzzzzzzz")).message,
              HasSubstr("is not a GGUF file"));
  EXPECT_EQ(errorOf(Bytes().header(0, 0, 1)).code, ExitCode::Unsupported);
  EXPECT_EQ(errorOf(Bytes().header(0, 0, 99)).code, ExitCode::Unsupported);
  EXPECT_THAT(errorOf(Bytes().header(0, 0, 3u << 24)).message, HasSubstr("big-endian"));
  EXPECT_THAT(errorOf(Bytes().header(~0ull, 0)).message, HasSubstr("tensors, more than"));
  EXPECT_THAT(errorOf(Bytes().header(0, ~0ull)).message, HasSubstr("metadata values, more than"));
}

TEST(Gguf, RefusesValues) {
  EXPECT_THAT(errorOf(Bytes().header(0, 1).put<uint64_t>(~0ull).zeros(20)).message,
              HasSubstr("a key needs 18446744073709551615 bytes but the file has 20 more"));
  EXPECT_THAT(errorOf(Bytes().header(0, 1).key("", 4).zeros(20)).message,
              HasSubstr("a key '' is not 1 to 4096 visible ASCII characters"));
  EXPECT_THAT(errorOf(Bytes().header(0, 1).key("a", 13).zeros(20)).message,
              HasSubstr("key 'a' has the unknown type 13"));
  EXPECT_THAT(errorOf(Bytes().header(0, 2).u32("a", 1).u32("a", 2)).message, HasSubstr("twice"));
  Bytes nested;
  nested.header(0, 1).key("a", kArray).put(kArray).put<uint64_t>(1).zeros(30);
  EXPECT_THAT(errorOf(nested).message, HasSubstr("array of arrays"));
  for (uint64_t count : {1ull << 62, 1ull << 63, ~0ull, 100ull}) {
    Bytes numbers, strings;
    numbers.header(0, 1).key("a", kArray).put(kU64).put(count).zeros(40);
    EXPECT_THAT(errorOf(numbers).message, HasSubstr("elements but 40 bytes are left"));
    strings.header(0, 1).key("a", kArray).put(kString).put(count).zeros(40);
    EXPECT_THAT(errorOf(strings).message, HasSubstr("strings but 40 bytes are left"));
  }
}

TEST(Gguf, RefusesTensors) {
  auto with = [](std::vector<uint64_t> shape, uint32_t type, uint64_t offset) {
    return Bytes().header(1, 0).tensor("w", std::move(shape), type, offset).align().zeros(64);
  };
  EXPECT_THAT(errorOf(with({}, 0, 0)).message,
              HasSubstr("tensor 'w' has 0 dimensions, not 1 to 4"));
  EXPECT_THAT(errorOf(with({1, 1, 1, 1, 1}, 0, 0)).message,
              HasSubstr("tensor 'w' has 5 dimensions, not 1 to 4"));
  EXPECT_THAT(errorOf(with({0}, 0, 0)).message,
              HasSubstr("tensor 'w' has an impossible dimension 0"));
  EXPECT_THAT(errorOf(with({1ull << 32, 1ull << 32}, 0, 0)).message, HasSubstr("impossible"));
  EXPECT_THAT(errorOf(with({1ull << 62, 4}, 0, 0)).message, HasSubstr("impossible"));
  EXPECT_THAT(errorOf(with({~0ull}, 0, 0)).message, HasSubstr("impossible"));
  EXPECT_THAT(errorOf(with({1ull << 55}, 0, 0)).message, HasSubstr("ends after the file's 64"));
  EXPECT_THAT(errorOf(with({33}, 2, 0)).message, HasSubstr("not a multiple of the 32"));
  EXPECT_THAT(errorOf(with({16}, 0, 16)).message,
              HasSubstr("tensor 'w' lies at offset 16, not a multiple of 32"));
  EXPECT_THAT(errorOf(with({16}, 0, 32)).message, HasSubstr("ends after"));
  EXPECT_THAT(errorOf(with({16}, 0, ~0ull - 31)).message, HasSubstr("ends after"));
  EXPECT_THAT(errorOf(with({16}, 4, 0)).message, HasSubstr("Q4_2"));
  EXPECT_EQ(errorOf(with({16}, 22, 0)).code, ExitCode::Unsupported);
  EXPECT_THAT(errorOf(with({16}, 22, 0)).message, HasSubstr("IQ2_S"));
  EXPECT_THAT(errorOf(with({16}, 0xffffffff, 0)).message,
              HasSubstr("tensor 'w' has the unknown type 4294967295"));
}

TEST(Gguf, RefusesTwinsAndOverlaps) {
  Bytes twins;
  twins.header(2, 0).tensor("w", {8}, 0, 0).tensor("w", {8}, 0, 32).align().zeros(64);
  EXPECT_THAT(errorOf(twins).message, HasSubstr("tensor 'w' is there twice"));
  Bytes overlap;
  overlap.header(2, 0).tensor("w", {9}, 0, 0).tensor("v", {8}, 0, 32).align().zeros(64);
  EXPECT_THAT(errorOf(overlap).message, HasSubstr("'w' and 'v' overlap"));
}

TEST(Gguf, ChecksAlignment) {
  auto with = [](uint32_t alignment) {
    return Bytes().header(1, 1).u32("general.alignment", alignment).tensor("w", {8}, 0, 0);
  };
  for (uint32_t bad : {0u, 13u, 1u << 21, ~0u})
    EXPECT_THAT(errorOf(with(bad).align().zeros(64)).message, HasSubstr("power of two"));
  EXPECT_NO_THROW(GgufFile::parse(with(1).zeros(32).data, "m.gguf"));
  EXPECT_NO_THROW(GgufFile::parse(with(64).align(64).zeros(32).data, "m.gguf"));
  EXPECT_THAT(errorOf(with(1 << 20)).message, HasSubstr("ends before its tensors' data"));
  Bytes text;
  text.header(1, 1).key("general.alignment", kString).string("32").tensor("w", {8}, 0, 0);
  EXPECT_THAT(errorOf(text.align().zeros(64)).message, HasSubstr("is not a u32"));
}

TEST(Gguf, EveryTruncationIsAnError) {
  Bytes b;
  b.header(1, 2).u32("a", 7).key("b", kArray).put(kString).put<uint64_t>(1).string("x");
  b.tensor("w", {64, 3}, 2, 0).align().zeros(108);
  ASSERT_NO_THROW(GgufFile::parse(b.data, "m.gguf"));
  for (size_t size = 0; size < b.data.size(); ++size) {
    Bytes cut;
    cut.data.assign(b.data.begin(), b.data.begin() + static_cast<ptrdiff_t>(size));
    errorOf(cut);
  }
}

} // namespace
