//===- NvccTest.cpp - ptxas reports, and finding nvcc ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/Nvcc.h"
#include "compiler/Codegen/Processes.h"
#include "compiler/Codegen/TemporaryFolder.h"
#include "kernels/cuda/Headers.h"
#include "runtime/base/Error.h"
#include <chrono>
#include <cstdlib>
#include <gmock/gmock.h>
#include <regex>
#include <set>

namespace retort {
namespace {

using testing::HasSubstr;

// As ptxas 13.0 writes it.
constexpr const char *kReport =
    "ptxas info    : 24 bytes gmem\n"
    "ptxas info    : Compiling entry function 'retort_decode' for 'sm_90a'\n"
    "ptxas info    : Function properties for retort_decode\n"
    "    176 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n"
    "ptxas info    : Used 202 registers, used 3 barriers, 176 bytes cumulative stack size, 4096 "
    "bytes "
    "smem, 368 bytes cmem[0]\n"
    "ptxas info    : Compile time = 1697.321 ms\n"
    "ptxas info    : Function properties for _ZN6retort6matmulEv\n"
    "    0 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads\n"
    "ptxas info    : Compiling entry function 'retort_prefill' for 'sm_90a'\n"
    "ptxas info    : Function properties for retort_prefill\n"
    "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
    "ptxas info    : Used 40 registers, used 0 barriers\n";

TEST(Ptxas, ReportsKernelsAndFunctions) {
  const std::vector<CudaResources> functions = parsePtxasReport(kReport);
  ASSERT_EQ(functions.size(), 3u);
  EXPECT_EQ(functions[0].function, "retort_decode");
  EXPECT_TRUE(functions[0].isKernel);
  EXPECT_EQ(functions[0].registers, 202);
  EXPECT_EQ(functions[0].barriers, 3);
  EXPECT_EQ(functions[0].stackBytes, 176);
  EXPECT_EQ(functions[0].spillStoreBytes, 8);
  EXPECT_EQ(functions[0].spillLoadBytes, 12);
  EXPECT_EQ(functions[0].sharedBytes, 4096);
  EXPECT_EQ(functions[1].function, "_ZN6retort6matmulEv");
  EXPECT_FALSE(functions[1].isKernel);
  EXPECT_EQ(functions[1].spillStoreBytes, 4);
  EXPECT_EQ(functions[2].function, "retort_prefill");
  EXPECT_EQ(functions[2].registers, 40);
  EXPECT_EQ(functions[2].sharedBytes, 0);
}

TEST(Ptxas, PassesOverWhatItDoesNotKnow) {
  EXPECT_TRUE(parsePtxasReport("").empty());
  EXPECT_TRUE(parsePtxasReport("program.cu(3): warning #177-D: variable\n\n").empty());
  EXPECT_TRUE(parsePtxasReport("    8 bytes stack frame, 8 bytes spill stores\n").empty());
}

TEST(Ptxas, FindsWhatKeepsAKernelFromAMultiprocessor) {
  const CudaArch sm80{80}, sm86{86};
  CudaResources kernel{.function = "retort_decode", .isKernel = true, .registers = 255};
  EXPECT_EQ(residencyProblem(kernel, sm80, 256, 99 * 1024), "");
  EXPECT_THAT(residencyProblem(kernel, sm80, 512, 0),
              testing::AllOf(HasSubstr("131072 registers"), HasSubstr("65536")));
  EXPECT_EQ(residencyProblem(kernel, sm80, 256, 163 * 1024), "");
  EXPECT_THAT(residencyProblem(kernel, sm86, 256, 163 * 1024), HasSubstr("a CTA may have 101376"));
  kernel.sharedBytes = 1;
  EXPECT_THAT(residencyProblem(kernel, sm86, 256, 99 * 1024), HasSubstr("101377 bytes"));
  const CudaResources function{.function = "f", .spillStoreBytes = 4};
  EXPECT_THAT(residencyProblem(function, sm80, 256, 0), HasSubstr("f for sm_80 spills 4 bytes"));
}

/// Sets an environment variable, and back.
class Environment {
public:
  Environment(const char *name, const char *value) : name_(name) {
    if (const char *old = std::getenv(name))
      old_ = old;
    set(value);
  }
  ~Environment() { set(old_ ? old_->c_str() : nullptr); }

private:
  void set(const char *value) { value ? ::setenv(name_, value, 1) : ::unsetenv(name_); }
  const char *name_;
  std::optional<std::string> old_;
};

TEST(Nvcc, IsWhatCudacxxNames) {
  Environment named("CUDACXX", "/bin/sh");
  EXPECT_EQ(findNvcc(), "/bin/sh");
}

TEST(Nvcc, SaysThatCudacxxIsWrong) {
  Environment named("CUDACXX", "/nowhere/nvcc");
  try {
    findNvcc();
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(error.code, ExitCode::Unsupported);
    EXPECT_THAT(error.message, HasSubstr("'/nowhere/nvcc', which is no program"));
  }
}

TEST(Nvcc, IsOnThePath) {
  codegen::TemporaryFolder folder("retort-test");
  const std::string tool = folder.write("nvcc", "#!/bin/sh\n");
  ASSERT_EQ(std::system(("chmod +x " + tool).c_str()), 0);
  Environment unnamed("CUDACXX", nullptr), path("PATH", folder.file("").c_str());
  EXPECT_EQ(findNvcc(), tool);
}

/// A compiler that does what `script` says, in nvcc's place.
std::string messageOf(const char *script, ExitCode code) {
  codegen::TemporaryFolder folder("retort-test");
  const std::string tool = folder.write("nvcc", std::string("#!/bin/sh\n") + script);
  EXPECT_EQ(std::system(("chmod +x " + tool).c_str()), 0);
  Environment named("CUDACXX", tool.c_str());
  NvccOptions options{.arches = {{80}}, .threads = 256};
  try {
    compileFatBinary("", options);
  } catch (const Error &error) {
    EXPECT_EQ(error.code, code) << error.message;
    return error.message;
  }
  return "compiled";
}

TEST(Nvcc, ExplainsFailures) {
  EXPECT_THAT(
      messageOf("echo \"nvcc fatal   : Unsupported gpu architecture 'compute_80'\"; exit 1\n",
                ExitCode::Unsupported),
      HasSubstr("install a newer CUDA Toolkit"));
  EXPECT_THAT(
      messageOf("echo 'sh: 1: gcc: not found'; echo 'nvcc fatal   : Failed to preprocess host "
                "compiler properties.'; exit 1\n",
                ExitCode::Unsupported),
      HasSubstr("a C++ compiler for the host"));
  EXPECT_THAT(messageOf("echo 'a.cuh(3): error: no'; exit 2\n", ExitCode::Internal),
              HasSubstr("compiling program.cu: a.cuh(3): error: no (exit code 2)"));
  EXPECT_THAT(messageOf("echo 'x: No space left on device' >&2; exit 1\n", ExitCode::Resources),
              HasSubstr("the disk of temporary files is full"));
  EXPECT_THAT(messageOf("kill -9 $$\n", ExitCode::Internal), HasSubstr("exit code 137"));
}

TEST(Nvcc, GetsEveryHeaderThatHeadersInclude) {
  std::set<std::string> carried;
  for (const CudaHeader &header : cudaHeaders())
    carried.insert(std::string(header.path));
  EXPECT_TRUE(carried.contains("kernels/cuda/program.cuh"));
  for (const CudaHeader &header : cudaHeaders()) {
    const std::string text(header.text);
    const std::regex include("#include \"([^\"]+)\"");
    for (std::sregex_iterator found(text.begin(), text.end(), include), end; found != end; ++found)
      if (const std::string path = (*found)[1]; !path.starts_with("kernels/sim/"))
        EXPECT_TRUE(carried.contains(path))
            << header.path << " includes " << path << ": add it to kernels/cuda/CMakeLists.txt";
  }
}

TEST(Nvcc, RefusesKernelsThatSpill) {
  const std::string script = "cat <<'END'\n" + std::string(kReport) +
                             "END\nfor last; do :; done; "
                             "touch \"$last\"\n";
  EXPECT_THAT(messageOf(script.c_str(), ExitCode::Internal),
              HasSubstr("retort_decode for sm_80 spills 8 bytes"));
}

TEST(Processes, RunTwoAtATimeAndStop) {
  using Clock = std::chrono::steady_clock;
  codegen::TemporaryFolder folder("retort-test");
  std::vector<codegen::Job> jobs;
  for (int i = 0; i < 4; ++i)
    jobs.push_back({{"/bin/sh", "-c", "sleep 0.2; pwd; exit " + std::to_string(i)},
                    folder.file("out" + std::to_string(i))});
  const auto begin = Clock::now();
  codegen::runJobs(jobs, "/", 2, {});
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  EXPECT_GE(seconds, 0.4);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(jobs[i].exitCode, i);
    EXPECT_EQ(folder.read("out" + std::to_string(i)), "/\n");
  }
  jobs.assign(2, {{"/bin/sh", "-c", "sleep 60 & sleep 60; wait"}, folder.file("out")});
  try {
    codegen::runJobs(jobs, "/", 2, [] { return true; });
    FAIL();
  } catch (const Error &error) {
    EXPECT_EQ(error.code, ExitCode::Interrupted);
    EXPECT_EQ(error.message, "stopped: what was computed is kept, run again to go on");
  }
  EXPECT_LT(std::chrono::duration<double>(Clock::now() - begin).count(), 30);
}

} // namespace
} // namespace retort
