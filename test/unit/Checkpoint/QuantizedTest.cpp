//===- QuantizedTest.cpp - Quantised folders and adapters that are not read -===//
// SPDX-License-Identifier: Apache-2.0
//
// test/e2e/test_quantized.py and test_adapter.py compare what is read with the libraries that wrote it;
// here is what is not read, and how the message says so.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Adapter.h"
#include "compiler/Checkpoint/Checkpoint.h"
#include "runtime/base/Error.h"
#include "test/unit/Checkpoint/GgufBytes.h"
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace retort;
using testing::HasSubstr;

namespace {

/// A file of tensors of one F32 number each.
SafetensorsFile numbers(std::initializer_list<const char *> names) {
  std::string header = "{";
  size_t at = 0;
  for (const char *name : names) {
    header += (at ? ",\"" : "\"") + std::string(name) +
              R"(":{"dtype":"F32","shape":[1],"data_offsets":[)" + std::to_string(at) + "," +
              std::to_string(at + 4) + "]}";
    at += 4;
  }
  static test::Bytes bytes; // the file is a view of them
  bytes = test::Bytes().string(header + "}").zeros(at);
  return SafetensorsFile::parse(bytes.data, "m");
}

std::string unsupported(const std::function<void()> &action) {
  try {
    action();
  } catch (const Error &error) {
    EXPECT_EQ(error.code, ExitCode::Unsupported) << error.message;
    return error.message;
  }
  ADD_FAILURE() << "was read";
  return "";
}

TEST(Quantized, RefusesByName) {
  const std::pair<const char *, const char *> cases[] = {
      {R"("quant_method":"aqlm")",
       "a checkpoint quantised by 'aqlm' ('quantization_config') is not supported"},
      {R"("bits":4)",
       "a checkpoint quantised by 'an unnamed method' ('quantization_config') is not supported"},
      {R"("quant_method":"gptq","format":"marlin")",
       "GPTQ matrices in the format 'marlin' are not supported"},
      {R"("quant_method":"awq","version":"gemv")",
       "AWQ matrices in the format 'gemv' are not supported"},
      {R"("quant_method":"compressed-tensors","format":"sparse")",
       "compressed-tensors in the format 'sparse' are not supported"},
      {R"("quant_method":"compressed-tensors","transform_config":{"a":1})",
       "compressed-tensors with a 'transform_config' are not supported"},
      {R"("quant_method":"quark","export":{"weight_format":"fake"})",
       "Quark's weights in the format 'fake' are not supported"},
      {R"("quant_method":"modelopt","quant_algo":"W4A8")", "ModelOpt's 'W4A8' is not supported"},
      {R"("quant_method":"modelopt","quant_algo":"FP8")",
       "matrix 'w.weight' of F32 codes is not supported"},
  };
  for (auto [config, words] : cases)
    EXPECT_THAT(unsupported([&] {
                  Checkpoint::of(numbers({"w.weight", "w.weight_scale"}),
                                 std::string(R"({"quantization_config":{)") + config + "}}");
                }),
                HasSubstr(words + std::string(": use the model's F32, F16 or BF16")))
        << config;
  EXPECT_THAT(unsupported([] {
                Checkpoint::of(numbers({"w.weight", "w.weight_scale", "w.weight_zero_point"}),
                               R"({"quantization_config":{"quant_method":"quark"}})");
              }),
              HasSubstr("matrix 'w.weight' with a tensor '.weight_zero_point' is not supported"));
}

TEST(Adapter, RefusesWhatChangesTheBase) {
  EXPECT_THAT(unsupported([] {
                Adapter::of(R"({"peft_type":"LORA","init_lora_weights":"pissa_niter_4"})",
                            numbers({}), "a");
              }),
              HasSubstr("a LoRA that begins as 'pissa_niter_4' is not supported"));
}

} // namespace
