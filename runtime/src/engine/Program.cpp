//===- Program.cpp - A bundle's code, loaded ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Program.h"
#include "runtime/base/SystemError.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace retort::engine {
namespace {

/// Instruction sets from the least to the best.
constexpr const char *kIsas[] = {"x86-64-v3", "x86-64-v4"};

int rankOf(const std::string &isa) {
  for (int i = 0; i < int(std::size(kIsas)); ++i)
    if (isa == kIsas[i])
      return i;
  return -1;
}

const Manifest::Entry &chooseEntry(const Manifest &manifest, const std::string &isa,
                                   const std::string &where) {
  const Manifest::Entry *best = nullptr;
  std::string offered;
  for (const Manifest::Entry &entry : manifest.entries) {
    offered += (offered.empty() ? "" : ", ") + entry.isa;
    bool wanted = isa.empty() || entry.isa == isa;
    if (wanted && cpuRuns(entry.isa) && (!best || rankOf(entry.isa) > rankOf(best->isa)))
      best = &entry;
  }
  if (!best)
    fail(ExitCode::Unsupported,
         where + ": has code for " + (offered.empty() ? "no CPU" : offered) + ", and this CPU " +
             (isa.empty() || !cpuRuns(isa) ? "does not run " + (isa.empty() ? "it" : isa)
                                           : "runs " + isa) +
             ": compile the model for this machine");
  return *best;
}

void writeAll(int fd, std::span<const uint8_t> bytes, const std::string &where) {
  while (!bytes.empty()) {
    ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0)
      failSystem(where,
                 "no memory for program.so (" + std::to_string(bytes.size()) + " bytes left)");
    bytes = bytes.subspan(size_t(written));
  }
}

} // namespace

bool cpuRuns(const std::string &isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                  __builtin_cpu_supports("f16c");
  if (isa == "x86-64-v3")
    return v3;
  if (isa == "x86-64-v4")
    return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
#endif
  return false;
}

bool hasCodeForCpu(const Manifest &manifest) {
  return std::any_of(manifest.entries.begin(), manifest.entries.end(),
                     [](const Manifest::Entry &entry) { return cpuRuns(entry.isa); });
}

Program Program::load(std::span<const uint8_t> sharedObject, const Manifest &manifest,
                      const std::string &isa, const std::string &where) {
  const Manifest::Entry &entry = chooseEntry(manifest, isa, where);
  Program program;
  program.isa_ = entry.isa;
  program.fd_ = ::memfd_create("retort-program", MFD_CLOEXEC);
  if (program.fd_ < 0)
    failSystem(where, "no anonymous file for program.so");
  writeAll(program.fd_, sharedObject, where);
  const std::string path = "/proc/self/fd/" + std::to_string(program.fd_);
  program.handle_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!program.handle_) {
    const char *reason = ::dlerror();
    // The code is whole, its hash was compared: this process may lack a file or memory. dlopen says
    // so in words alone.
    for (int error : {EMFILE, ENFILE, ENOMEM})
      if (reason && std::strstr(reason, std::strerror(error)))
        failSystem(where, "program.so cannot be loaded", error);
    fail(ExitCode::BadInput,
         where + ": program.so cannot be loaded: " + (reason ? reason : "unknown reason") +
             ": compile the model again");
  }
  program.entry_ =
      reinterpret_cast<retort_cpu_entry>(::dlsym(program.handle_, entry.symbol.c_str()));
  if (!program.entry_)
    fail(ExitCode::BadInput, where + ": program.so has no entry '" + entry.symbol +
                                 "', which the manifest names: compile the model again");
  return program;
}

Program::Program(Program &&other) noexcept
    : fd_(std::exchange(other.fd_, -1)), handle_(std::exchange(other.handle_, nullptr)),
      entry_(other.entry_), isa_(std::move(other.isa_)) {}

Program::~Program() {
  if (handle_)
    ::dlclose(handle_);
  if (fd_ >= 0)
    ::close(fd_);
}

} // namespace retort::engine
