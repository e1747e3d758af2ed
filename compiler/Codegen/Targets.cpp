//===- Targets.cpp - What --target names ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/Targets.h"
#include "kernels/cuda/machine.h"
#include "runtime/base/Error.h"
#include <algorithm>

namespace retort {
namespace {

constexpr const char *kExample = "write cpu, cuda:sm_80,sm_90 or cpu,cuda:sm_90";

/// "8.0" of 80, "12.0" of 120.
std::string capability(int number) {
  return std::to_string(number / 10) + "." + std::to_string(number % 10);
}

CudaArch parseArch(std::string_view text) {
  std::optional<CudaArch> arch = CudaArch::parse(text);
  if (!arch)
    fail(ExitCode::Usage,
         "--target: '" + std::string(text) + "' is no GPU architecture: write for example sm_90");
  if (arch->number < cuda::kOldestArchitecture)
    fail(ExitCode::Unsupported, "--target: " + arch->text() + " has compute capability " +
                                    capability(arch->number) + ", and the kernels need " +
                                    capability(cuda::kOldestArchitecture) +
                                    " (sm_80) or later: compile "
                                    "for cpu in its place");
  if (!arch->suffix && cuda::architecture(arch->number).wgmma)
    arch->suffix = 'a';
  return *arch;
}

} // namespace

CompileTargets parseTargets(std::string_view text) {
  CompileTargets targets;
  bool inCuda = false;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    if (word == "cpu") {
      targets.cpu = true;
      inCuda = false;
    } else if (word.starts_with("cuda:")) {
      inCuda = true;
      targets.cuda.push_back(parseArch(word.substr(5)));
    } else if (inCuda) {
      targets.cuda.push_back(parseArch(word));
    } else if (word == "cuda") {
      fail(ExitCode::Usage, "--target cuda: name the architectures, for example cuda:sm_80,sm_90");
    } else {
      fail(ExitCode::Usage, "--target: '" + std::string(word) + "' is no target: " + kExample);
    }
    if (comma == std::string_view::npos)
      break;
    text.remove_prefix(comma + 1);
  }
  std::ranges::sort(targets.cuda);
  const auto repeated = std::ranges::unique(targets.cuda);
  targets.cuda.erase(repeated.begin(), repeated.end());
  return targets;
}

} // namespace retort
