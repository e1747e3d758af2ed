//===- CudaDriverTest.cpp - Opening libcuda.so.1, choosing GPUs -----------===//
// SPDX-License-Identifier: Apache-2.0
//
// ctest runs it with a library path on which the simulated driver goes by the name libcuda.so.1,
// with two GPUs of architecture sm_89.
#include "retort.hpp"
#include "test/unit/Runtime/TestBundle.h"

#include <cstdlib>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::test {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

class CudaDriverTest : public testing::Test {
protected:
  void SetUp() override {
    if (!std::getenv("RETORT_TEST_LIBCUDA"))
      GTEST_SKIP() << "ctest gives this test its driver";
  }
  /// The device that a session got, or the failure.
  std::string deviceOf(const std::string &device) {
    try {
      Session session(Model(path), {.device = device});
      const std::vector<int32_t> tokens = {5, 3, 8, 1};
      std::vector<float> logits(kVocab);
      session.prefill(0, tokens, logits);
      EXPECT_EQ(logits, expectedLogits(tokens));
      return session.info().device;
    } catch (const Failure &failure) {
      return std::string(retort_status_name(failure.status())) + ": " + failure.what();
    }
  }
  TempFolder folder;
  std::string path = folder / "m.retort";
};

TEST_F(CudaDriverTest, AGpuIsTheDefault) {
  writeCudaBundle(path, {.cpu = true});
  EXPECT_THAT(deviceOf(""), HasSubstr("cuda:0 "));
  EXPECT_THAT(deviceOf("cuda"), HasSubstr("cuda:0 "));
  EXPECT_THAT(deviceOf("cuda:1"), HasSubstr("cuda:1 "));
  EXPECT_EQ(deviceOf("cpu"), "cpu x86-64-v3");
  writeTestBundle(path);
  EXPECT_EQ(deviceOf(""), "cpu x86-64-v3");
}

TEST_F(CudaDriverTest, AsManyGpusAsTheBundleIsFor) {
  writeCudaBundle(path, {.form = "graph", .devices = {1, 2}});
  EXPECT_THAT(deviceOf("cuda"), AllOf(HasSubstr("cuda:0 "), HasSubstr(" + cuda:1 ")));
  EXPECT_THAT(deviceOf("cuda:1"), AllOf(HasSubstr("cuda:1 "), Not(HasSubstr("cuda:0"))));
  EXPECT_THAT(deviceOf("cuda:1,0"), AllOf(HasSubstr("cuda:1 "), HasSubstr(" + cuda:0 ")));
}

TEST_F(CudaDriverTest, GpusThatAreNotThere) {
  writeCudaBundle(path, {.cpu = true});
  EXPECT_EQ(deviceOf("cuda:5"),
            "RETORT_E_UNSUPPORTED: " + path +
                ": there is no GPU 5: the driver has 2 GPUs, counted from 0; or run it on the "
                "CPU (device cpu)");
  EXPECT_THAT(deviceOf("cuda:0,1"),
              HasSubstr("the bundle has code for 1 GPU, and the device names 2 GPUs"));
}

/// Not a reason to use the CPU quietly.
TEST_F(CudaDriverTest, GpusThatTheCodeIsNotFor) {
  nlohmann::json patch;
  for (int entry : {0, 1}) {
    const std::string at = "/entries/" + std::to_string(entry);
    patch.push_back({{"op", "replace"}, {"path", at + "/arches"}, {"value", {"sm_90a", "sm_80a"}}});
    patch.push_back({{"op", "remove"}, {"path", at + "/ptx"}});
  }
  writeCudaBundle(path, {.patch = patch});
  EXPECT_THAT(deviceOf(""),
              AllOf(HasSubstr("RETORT_E_UNSUPPORTED: " + path + ": cuda:0 "),
                    HasSubstr("is of architecture sm_89 and the bundle has code for sm_90a, "
                              "sm_80a: compile the model with --target cuda:sm_89"),
                    EndsWith("; or compile the model for the CPU (--target cpu)")));
}

TEST(NoDriver, IsSaidWithTheWayOut) {
  if (void *library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
    ::dlclose(library);
    GTEST_SKIP() << "this machine has one";
  }
  TempFolder folder;
  const std::string path = folder / "m.retort";
  auto failure = [&](const char *device) -> std::string {
    try {
      Session session(Model(path), {.device = device});
      return session.info().device;
    } catch (const Failure &said) {
      return std::string(retort_status_name(said.status())) + ": " + said.what();
    }
  };
  writeCudaBundle(path);
  EXPECT_THAT(failure(""),
              AllOf(HasSubstr("RETORT_E_UNSUPPORTED: " + path +
                              ": this machine has no driver for NVIDIA GPUs (libcuda.so.1: "),
                    EndsWith("; or compile the model for the CPU (--target cpu)")));
  writeCudaBundle(path, {.cpu = true});
  EXPECT_EQ(failure(""), "cpu x86-64-v3");
  EXPECT_THAT(failure("cuda"), EndsWith("; or run it on the CPU (device cpu)"));
}

} // namespace
} // namespace retort::test
