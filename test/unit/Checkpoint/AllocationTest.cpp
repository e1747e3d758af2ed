//===- AllocationTest.cpp - What a small file can make the readers allocate ===//
// SPDX-License-Identifier: Apache-2.0
//
// Counts the bytes that operator new gives out while a file is parsed: at most a few times the
// file's size, whatever its counts say.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "runtime/base/Error.h"
#include "test/unit/Checkpoint/GgufBytes.h"
#include <atomic>
#include <cstdlib>
#include <gtest/gtest.h>
#include <new>

static std::atomic<uint64_t> allocated{0};

void *operator new(size_t size) {
  allocated += size;
  if (void *memory = std::malloc(size))
    return memory;
  throw std::bad_alloc();
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }

using namespace retort;
using retort::test::Bytes;

namespace {

constexpr uint64_t kTimes = 40, kAlways = 16384; // per byte of the file, and for messages

template <typename Parse> void expectFrugal(const Bytes &bytes, Parse parse) {
  const uint64_t before = allocated;
  try {
    parse(bytes);
  } catch (const Error &) {
  }
  EXPECT_LE(allocated - before, kTimes * bytes.data.size() + kAlways);
}

void parseGguf(const Bytes &bytes) {
  GgufFile file = GgufFile::parse(bytes.data, "m.gguf");
  for (const GgufFile::Value &value : file.values())
    if (value.isArray && value.type == GgufFile::Type::String)
      file.strings(value.key);
    else if (value.isArray)
      file.integers(value.key);
}
void parseSafetensors(const Bytes &bytes) { SafetensorsFile::parse(bytes.data, "m.safetensors"); }

TEST(Allocation, GgufCounts) {
  for (uint64_t count : {1ull << 20, 1ull << 31, 1ull << 40, 1ull << 61, 1ull << 63, ~0ull}) {
    expectFrugal(Bytes().header(count, 0).zeros(64), parseGguf);
    expectFrugal(Bytes().header(0, count).zeros(64), parseGguf);
    for (uint32_t type : {0u, 7u, 8u, 12u}) {
      Bytes array;
      array.header(0, 1).key("a", 9).put(type).put(count).zeros(64);
      expectFrugal(array, parseGguf);
    }
    expectFrugal(Bytes().header(0, 1).put(count).zeros(64), parseGguf);
  }
}

TEST(Allocation, GgufOfSmallThings) {
  Bytes values;
  values.header(0, 5000);
  for (int i = 0; i < 5000; ++i)
    values.key("k" + std::to_string(i), 0).put<uint8_t>(0);
  expectFrugal(values, parseGguf);
  Bytes strings;
  strings.header(0, 1).key("a", 9).put<uint32_t>(8).put<uint64_t>(10000).zeros(80000);
  expectFrugal(strings, parseGguf);
  Bytes tensors;
  tensors.header(2000, 0);
  for (uint64_t i = 0; i < 2000; ++i)
    tensors.tensor("t" + std::to_string(i), {1}, 0, i * 32);
  expectFrugal(tensors.align().zeros(64000), parseGguf);
}

TEST(Allocation, Safetensors) {
  for (uint64_t length : {100ull, 1ull << 30, 1ull << 63, ~0ull})
    expectFrugal(Bytes().put(length).raw("{\"a\":1}"), parseSafetensors);
  expectFrugal(Bytes().string("{\"a\":" + std::string(50000, '[')), parseSafetensors);
  expectFrugal(Bytes().string("{" + std::string(50000, '{')), parseSafetensors);
  std::string many = "{";
  for (int i = 0; i < 2000; ++i)
    many += "\"t" + std::to_string(i) + R"(":{"dtype":"F32","shape":[1],"data_offsets":[)" +
            std::to_string(4 * i) + "," + std::to_string(4 * i + 4) + "]},";
  many.back() = '}';
  expectFrugal(Bytes().string(many).zeros(8000), parseSafetensors);
}

} // namespace
