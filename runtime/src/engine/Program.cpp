//===- Program.cpp - A bundle's code, loaded ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Program.h"
#include "runtime/base/Sha256.h"
#include "runtime/base/SystemError.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
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

/// An anonymous file that code may be run from. Kernels before 6.3 know no MFD_EXEC, later ones may ask
/// for it (vm.memfd_noexec).
int codeFile() {
  constexpr unsigned kExec = 0x0010; // MFD_EXEC, which Debian 12's headers lack
  const int fd = ::memfd_create("retort-program", MFD_CLOEXEC | MFD_ALLOW_SEALING | kExec);
  return fd >= 0 || errno != EINVAL
             ? fd
             : ::memfd_create("retort-program", MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

std::string pathOf(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

/// Moves `fd` to a number whose path the loader does not know: it takes a library that was loaded under a
/// path for the one that is there now.
void makePathNew(int &fd, const std::string &where) {
  while (void *known = ::dlopen(pathOf(fd).c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD)) {
    ::dlclose(known);
    const int other = ::fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);
    if (other < 0)
      failSystem(where, "no file number for program.so");
    ::close(std::exchange(fd, other));
  }
}

/// Compares what will run, which nobody can change any more, with its hash.
void verifySealed(int fd, uint64_t bytes, const std::string &sha256, const std::string &where) {
  if (::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    failSystem(where, "program.so cannot be sealed");
  void *code = bytes ? ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
  if (code == MAP_FAILED)
    failSystem(where, "program.so cannot be mapped");
  const std::string found = sha256Hex(std::string_view(static_cast<const char *>(code), bytes));
  if (code)
    ::munmap(code, bytes);
  if (found != sha256)
    fail(ExitCode::BadInput, where + ": program.so was changed while it was read: leave the bundle "
                                     "alone while it is opened");
}

/// dlopen() says in words alone why. The code is whole: the process may lack a file or memory, or the
/// machine may not let it run code of its own.
[[noreturn]] void failLoading(const std::string &reason, const std::string &where) {
  for (int error : {EMFILE, ENFILE, ENOMEM})
    if (reason.find(std::strerror(error)) != reason.npos)
      failSystem(where, "program.so cannot be loaded", error);
  for (int error : {EPERM, EACCES})
    if (reason.find(std::strerror(error)) != reason.npos)
      fail(ExitCode::Unsupported,
           where + ": this machine does not let the process run the bundle's code (" + reason +
               "): allow it to map code from memory files (SELinux, AppArmor, vm.memfd_noexec)");
  fail(ExitCode::BadInput,
       where + ": program.so cannot be loaded: " + reason + ": compile the model again");
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

Program Program::load(std::span<const uint8_t> sharedObject, const std::string &sha256,
                      const Manifest &manifest, const std::string &isa, const std::string &where) {
  const Manifest::Entry &entry = chooseEntry(manifest, isa, where);
  struct Closed {
    int fd;
    ~Closed() {
      if (fd >= 0)
        ::close(fd);
    }
  } file{codeFile()};
  if (file.fd < 0)
    failSystem(where, "no anonymous file for program.so");
  writeAll(file.fd, sharedObject, where);
  verifySealed(file.fd, sharedObject.size(), sha256, where);
  makePathNew(file.fd, where);
  Program program;
  program.isa_ = entry.isa;
  program.handle_ = ::dlopen(pathOf(file.fd).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!program.handle_)
    failLoading(::dlerror(), where);
  program.entry_ =
      reinterpret_cast<retort_cpu_entry>(::dlsym(program.handle_, entry.symbol.c_str()));
  if (!program.entry_)
    fail(ExitCode::BadInput, where + ": program.so has no entry '" + entry.symbol +
                                 "', which the manifest names: compile the model again");
  return program;
}

Program::Program(Program &&other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), entry_(other.entry_),
      isa_(std::move(other.isa_)) {}

Program::~Program() {
  if (handle_)
    ::dlclose(handle_);
}

} // namespace retort::engine
