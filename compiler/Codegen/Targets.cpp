//===- Targets.cpp - What --target names ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/Targets.h"
#include "kernels/cuda/machine.h"
#include "runtime/base/Error.h"
#include <algorithm>

namespace retort {
namespace {

constexpr const char *kExample = "write cpu, cpu:x86-64-v3, cuda:sm_80,sm_90 or cpu,cuda:sm_90";

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

const std::string &parseIsa(std::string_view text) {
  static const std::vector<std::string> known = cpuIsas();
  const auto isa = std::ranges::find(known, text);
  if (isa == known.end()) {
    std::string names;
    for (const std::string &name : known)
      names += (names.empty() ? "" : " or ") + name;
    fail(ExitCode::Usage, "--target: '" + std::string(text) +
                              "' is no instruction set that there are kernels for: write " + names);
  }
  return *isa;
}

} // namespace

std::vector<std::string> cpuIsas() { return {"x86-64-v3", "x86-64-v4"}; }

CompileTargets parseTargets(std::string_view text) {
  CompileTargets targets;
  enum { Neither, Cpu, Cuda } listed = Neither; // what an architecture belongs to
  while (true) {
    const size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    if (word == "cpu") {
      targets.cpu = cpuIsas();
      listed = Neither;
    } else if (word.starts_with("cpu:")) {
      listed = Cpu;
      targets.cpu.push_back(parseIsa(word.substr(4)));
    } else if (word.starts_with("cuda:")) {
      listed = Cuda;
      targets.cuda.push_back(parseArch(word.substr(5)));
    } else if (listed == Cpu) {
      targets.cpu.push_back(parseIsa(word));
    } else if (listed == Cuda) {
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
  const auto sortOnce = [](auto &list) {
    std::ranges::sort(list);
    const auto repeated = std::ranges::unique(list);
    list.erase(repeated.begin(), repeated.end());
  };
  sortOnce(targets.cpu); // whose names ascend as cpuIsas()
  sortOnce(targets.cuda);
  return targets;
}

} // namespace retort
