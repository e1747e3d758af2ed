//===- SafetensorsTest.cpp - The safetensors reader and writer ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Safetensors.h"
#include "runtime/base/Error.h"
#include "test/unit/Checkpoint/GgufBytes.h"
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace retort;
using retort::test::Bytes;
using testing::HasSubstr;

namespace {

Bytes file(std::string_view header, size_t data) { return Bytes().string(header).zeros(data); }

std::string messageOf(const Bytes &bytes) {
  try {
    SafetensorsFile::parse(bytes.data, "m.safetensors");
  } catch (const Error &error) {
    EXPECT_EQ(error.message.find('\n'), std::string::npos) << error.message;
    EXPECT_TRUE(error.message.starts_with("m.safetensors: ")) << error.message;
    EXPECT_EQ(error.code, error.message.find("is stored as") == std::string::npos
                              ? ExitCode::BadInput
                              : ExitCode::Unsupported);
    return error.message;
  }
  ADD_FAILURE() << "was read";
  return "";
}
std::string messageOf(std::string_view header, size_t data = 8) {
  return messageOf(file(header, data));
}

TEST(Safetensors, Reads) {
  Bytes b = file(R"({"__metadata__":{"format":"pt"},)"
                 R"("b":{"dtype":"F16","shape":[2,3],"data_offsets":[4,16]},)"
                 R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )",
                 16);
  SafetensorsFile read = SafetensorsFile::parse(b.data, "m.safetensors");
  EXPECT_EQ(read.metadata().at("format"), "pt");
  ASSERT_EQ(read.tensors().size(), 2u);
  EXPECT_EQ(read.tensors()[0].name, "a");
  EXPECT_EQ(read.find("b")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(read.find("b")->bytes.size(), 12u);
  EXPECT_EQ(read.find("c"), nullptr);
}

TEST(Safetensors, RefusesHeaders) {
  EXPECT_THAT(messageOf(Bytes()), HasSubstr("byte 0"));
  EXPECT_THAT(messageOf(Bytes().put<uint64_t>(~0ull).raw("{}")), HasSubstr("the header has"));
  EXPECT_THAT(messageOf(Bytes().put<uint64_t>(3).raw("{}")), HasSubstr("the header has 3 bytes"));
  EXPECT_THAT(messageOf(""), HasSubstr("does not start with '{'"));
  EXPECT_THAT(messageOf(" {}"), HasSubstr("does not start with '{'"));
  EXPECT_THAT(messageOf("{"), HasSubstr("the header is not valid JSON: "));
  EXPECT_THAT(messageOf(std::string_view("{}\0\0", 4), 0),
              HasSubstr("the header is not valid JSON (a NUL byte)"));
  EXPECT_THAT(messageOf("{} {}", 0), HasSubstr("the header is not valid JSON: "));
  EXPECT_THAT(messageOf("{\"\xff\":1}", 0), HasSubstr("the header is not valid JSON: "));
  EXPECT_THAT(messageOf("{" + std::string(100000, '[')),
              HasSubstr("the header is not valid JSON: "));
  EXPECT_THAT(messageOf("{\"a\":true}"), HasSubstr("key 'a' holds a boolean"));
  EXPECT_THAT(messageOf("{\"a\\n\":{}}"), HasSubstr("is not visible ASCII"));
  EXPECT_THAT(messageOf("{\"a\":" + std::string(100000, '[')), HasSubstr("holds a list"));
  EXPECT_THAT(messageOf("{\"a\":{\"b\":{\"c\":{}}}}"), HasSubstr("holds an object"));
}

TEST(Safetensors, RefusesTensors) {
  auto tensor = [](std::string fields) { return "{\"w\":{" + fields + "}}"; };
  const std::string type = R"("dtype":"F32")", shape = R"("shape":[2])",
                    range = R"("data_offsets":[0,8])";
  EXPECT_NO_THROW(SafetensorsFile::parse(file(tensor(type + "," + shape + "," + range), 8).data,
                                         "m.safetensors"));
  EXPECT_THAT(messageOf(tensor(shape + "," + range)), HasSubstr("lacks its dtype"));
  EXPECT_THAT(messageOf(tensor(type + "," + range)), HasSubstr("lacks its shape"));
  EXPECT_THAT(messageOf(tensor(type + "," + shape)), HasSubstr("lacks its data_offsets"));
  EXPECT_THAT(messageOf(tensor(type + "," + type)), HasSubstr("'dtype' twice"));
  EXPECT_THAT(messageOf(tensor(type + ",\"x\":[1]")),
              HasSubstr("tensor 'w' has the unknown field 'x'"));
  EXPECT_THAT(messageOf(tensor(R"("dtype":"F99")")),
              HasSubstr("tensor 'w' has the unknown dtype 'F99'"));
  EXPECT_THAT(messageOf(tensor(R"("dtype":"F8_E5M2")")), HasSubstr("is stored as F8_E5M2"));
  EXPECT_THAT(messageOf(tensor(R"("shape":[-1])")), HasSubstr("a negative number"));
  EXPECT_THAT(messageOf(tensor(R"("shape":[1.5])")), HasSubstr("a fraction"));
  EXPECT_THAT(messageOf(tensor(R"("shape":[1e30])")), HasSubstr("a fraction"));
  EXPECT_THAT(messageOf(tensor(R"("shape":[99999999999999999999])")), HasSubstr("a fraction"));
  EXPECT_THAT(messageOf(tensor(R"("shape":[0])")),
              HasSubstr("tensor 'w' has an impossible dimension 0"));
  EXPECT_THAT(messageOf(tensor(R"("shape":[4294967296,4294967296])")), HasSubstr("impossible"));
  EXPECT_THAT(messageOf(tensor(R"("shape":[1,1,1,1,1,1,1,1,1])")),
              HasSubstr("tensor 'w' has a list of more than 8 numbers"));
  EXPECT_THAT(messageOf(tensor(type + "," + shape + R"(,"data_offsets":[8,0])")),
              HasSubstr("no range"));
  EXPECT_THAT(messageOf(tensor(type + "," + shape + R"(,"data_offsets":[0,4])")),
              HasSubstr("tensor 'w' has 4 bytes, but its shape and dtype need 8"));
  EXPECT_THAT(messageOf(tensor(type + "," + shape + "," + range), 4), HasSubstr("ends at byte 8"));
  EXPECT_THAT(messageOf(tensor(type + "," + shape + R"(,"data_offsets":[0,18446744073709551615])")),
              HasSubstr("ends at byte 18446744073709551615"));
}

TEST(Safetensors, RefusesWhatIsNotCovered) {
  const std::string w = R"("w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  auto with = [&](std::string other) { return "{" + w + "," + other + "}"; };
  EXPECT_THAT(messageOf(with(w), 16), HasSubstr("tensor 'w' is there twice"));
  EXPECT_THAT(messageOf(with(R"("v":{"dtype":"F32","shape":[2],"data_offsets":[4,12]})"), 12),
              HasSubstr("tensor 'v' overlaps the tensor before it"));
  EXPECT_THAT(messageOf(with(R"("v":{"dtype":"F32","shape":[1],"data_offsets":[12,16]})"), 16),
              HasSubstr("tensor 'v' leaves a gap to the tensor before it"));
  EXPECT_THAT(messageOf("{" + w + "}", 9), HasSubstr("1 bytes follow the last tensor"));
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  const std::string path = testing::TempDir() + "writer-test.safetensors";
  auto write = [&] {
    SafetensorsWriter writer(path);
    writer.addTensor("z.first", DType::F32, {2, 2});
    writer.addTensor("a.second", DType::BF16, {3});
    writer.setMetadata("format", "pt");
    writer.begin();
    const std::vector<float> values = {1, 2, 3, 4};
    writer.append(std::span<const float>(values).first(1));
    writer.append(std::span<const float>(values).subspan(1));
    const uint8_t bytes[6] = {1, 2, 3, 4, 5, 6};
    writer.append(std::span<const uint8_t>(bytes));
    writer.finish();
  };
  write();
  SafetensorsFile first = SafetensorsFile::open(path);
  float value;
  std::memcpy(&value, first.find("z.first")->bytes.data() + 12, 4);
  EXPECT_EQ(value, 4.0f);
  EXPECT_EQ(first.find("a.second")->bytes[5], 6);
  EXPECT_EQ(first.find("z.first")->offset % 8, 0u);
  const std::vector<uint8_t> before(first.file().bytes().begin(), first.file().bytes().end());
  write();
  SafetensorsFile again = SafetensorsFile::open(path);
  EXPECT_TRUE(std::ranges::equal(before, again.file().bytes()));
  std::filesystem::remove(path);
}

TEST(SafetensorsWriter, RefusesWhatDoesNotAddUp) {
  const std::string path = testing::TempDir() + "writer-errors.safetensors";
  SafetensorsWriter writer(path);
  writer.addTensor("w", DType::F32, {2});
  EXPECT_THROW(writer.addTensor("w", DType::F32, {2}), Error);
  EXPECT_THROW(writer.addTensor("q", DType::Q4_0, {32}), Error);
  writer.begin();
  EXPECT_THROW(writer.finish(), Error);
  EXPECT_THROW(writer.append(std::vector<float>(3)), Error);
  EXPECT_THROW(SafetensorsWriter("/nonexistent/x"), Error);
  std::filesystem::remove(path);
}

} // namespace
