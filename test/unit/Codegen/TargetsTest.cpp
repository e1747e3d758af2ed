//===- TargetsTest.cpp - What --target names ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/Targets.h"
#include "runtime/base/Error.h"
#include <gmock/gmock.h>

namespace retort {
namespace {

std::string codes(const CompileTargets &targets) {
  std::string text = targets.cpu == cpuIsas() ? "cpu" : "";
  if (text.empty())
    for (const std::string &isa : targets.cpu)
      text += " " + isa;
  for (const CudaArch &arch : targets.cuda)
    text += " " + arch.text();
  return text;
}

Error errorOf(const std::string &text) {
  try {
    parseTargets(text);
  } catch (const Error &error) {
    return error;
  }
  return {ExitCode::Ok, "accepted"};
}

TEST(Targets, ListsTargetsAndArchitectures) {
  EXPECT_EQ(codes(parseTargets("cpu")), "cpu");
  EXPECT_EQ(codes(parseTargets("cuda:sm_80")), " sm_80");
  EXPECT_EQ(codes(parseTargets("cuda:sm_120,sm_80,sm_89")), " sm_80 sm_89 sm_120");
  EXPECT_EQ(codes(parseTargets("cpu,cuda:sm_86")), "cpu sm_86");
  EXPECT_EQ(codes(parseTargets("cuda:sm_86,cpu,cuda:sm_100a")), "cpu sm_86 sm_100a");
}

TEST(Targets, ListsInstructionSets) {
  EXPECT_EQ(codes(parseTargets("cpu:x86-64-v3")), " x86-64-v3");
  EXPECT_EQ(codes(parseTargets("cuda:sm_80,cpu:x86-64-v4")), " x86-64-v4 sm_80");
  EXPECT_EQ(codes(parseTargets("cpu:x86-64-v4,x86-64-v3,cuda:sm_80")), "cpu sm_80");
  EXPECT_EQ(codes(parseTargets("cpu:x86-64-v3,cpu")), "cpu");
}

TEST(Targets, NineZeroHasItsOwnFeatures) {
  EXPECT_EQ(codes(parseTargets("cuda:sm_90,sm_90a")), " sm_90a");
  EXPECT_EQ(parseTargets("cuda:sm_90").cuda[0].withoutSuffix().text("compute_"), "compute_90");
}

TEST(Targets, RefusesWhatIsNoTarget) {
  for (const char *text : {"", "gpu", "cpu,", "sm_90", "cpu,sm_90", "cuda", "cuda:", "cuda:90",
                           "cuda:sm_", "cuda:sm_90x", "cuda:sm_9", "cuda:sm_90,", "cuda:sm_99999",
                           "cpu:", "cpu:x86-64-v2", "cpu:x86-64-v3,sm_80", "cuda:sm_80,x86-64-v3"})
    EXPECT_EQ(errorOf(text).code, ExitCode::Usage) << text << ": " << errorOf(text).message;
  EXPECT_THAT(errorOf("cuda:sm_90,gpu").message,
              testing::HasSubstr("'gpu' is no GPU architecture: write for example sm_90"));
  EXPECT_THAT(errorOf("cpu:neon").message, testing::HasSubstr("'neon' is no instruction set"));
}

TEST(Targets, RefusesOldCardsWithBothNumbers) {
  const Error error = errorOf("cuda:sm_75,sm_90");
  EXPECT_EQ(error.code, ExitCode::Unsupported);
  EXPECT_THAT(error.message,
              testing::HasSubstr("has compute capability 7.5, and the kernels need 8.0"));
}

} // namespace
} // namespace retort
