//===- Jit.cpp - Device code to a shared object ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Driver.h"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

extern "C" char **environ;

namespace retort::sim {
namespace fs = std::filesystem;

namespace {
std::string error;

std::string read(const fs::path &path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Two FNV-1a hashes from different starts: names a cache entry, guards against nothing else.
struct Hash {
  uint64_t a = 0xcbf29ce484222325u, b = 0x84222325cbf29ce4u;
  void add(const std::string &text) {
    for (const unsigned char c : text) {
      a = (a ^ c) * 0x100000001b3u;
      b = (b ^ c) * 0x100000001b3u + 1;
    }
    a = (a ^ text.size()) * 0x100000001b3u;
  }
  std::string hex() const {
    char text[33];
    snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(a), static_cast<unsigned long long>(b));
    return text;
  }
};

fs::path ownPath() {
  Dl_info info;
  return dladdr(reinterpret_cast<void *>(&compileModule), &info) ? fs::weakly_canonical(info.dli_fname) : fs::path();
}

/// The folder that holds kernels/cuda/wrap.cuh: RETORT_SIM_INCLUDE, the installed one beside this library, the source tree.
fs::path headers() {
  std::vector<fs::path> places;
  if (const char *set = getenv("RETORT_SIM_INCLUDE"))
    places.emplace_back(set);
  places.push_back(RETORT_SIM_SOURCE_DIR);
  for (fs::path up = ownPath().parent_path(); up.has_relative_path(); up = up.parent_path())
    places.push_back(up / "share/retort");
  for (const fs::path &place : places)
    if (fs::exists(place / "kernels/cuda/wrap.cuh"))
      return place;
  return {};
}

fs::path cacheFolder() {
  if (const char *set = getenv("RETORT_SIM_CACHE"))
    return set;
  if (const char *set = getenv("XDG_CACHE_HOME"))
    return fs::path(set) / "retort/sim";
  if (const char *home = getenv("HOME"))
    return fs::path(home) / ".cache/retort/sim";
  return fs::temp_directory_path() / "retort-sim";
}

int runTool(const std::vector<std::string> &arguments, const fs::path &log) {
  std::vector<char *> argv;
  for (const std::string &a : arguments)
    argv.push_back(const_cast<char *>(a.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  pid_t child;
  const int spawned = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (spawned != 0)
    return -1;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
} // namespace

void setError(const std::string &message) { error = message; }
const std::string &lastError() { return error; }

void *compileModule(const char *text, std::string &path) {
  const fs::path include = headers();
  if (include.empty()) {
    setError("simulated device: kernels/cuda/wrap.cuh is not found: set RETORT_SIM_INCLUDE to the folder above kernels");
    return nullptr;
  }
  const char *set = getenv("RETORT_SIM_CXX");
  const std::string compiler = set ? set : RETORT_SIM_CXX_PATH;
  std::vector<std::string> flags = {"-x", "c++", "-std=c++20", "-O2", "-g1", "-fPIC", "-shared", "-DRETORT_SIM",
                                    "-DRETORT_SIM_ARCH=" + std::to_string(settings.arch), "-I" + include.string(),
                                    "-Wno-unknown-pragmas", "-Wno-pass-failed", "-fno-exceptions", "-fno-stack-protector",
                                    "-fvisibility=hidden", "-fno-math-errno", "-Wl,-z,now"};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") && __builtin_cpu_supports("fma"))
    flags.insert(flags.end(), {"-mavx2", "-mf16c", "-mfma"});
#endif
  // One load in the source is one in the trace: nothing is merged into vectors of several.
  if (settings.instrumented())
    flags.insert(flags.end(), {"-fsanitize-coverage=func,trace-loads,trace-stores", "-fno-sanitize-link-runtime",
                               "-fno-vectorize", "-fno-slp-vectorize",
                               "-fno-builtin-memcpy", "-fno-builtin-memset"});
  Hash hash;
  hash.add(compiler);
  hash.add(ownPath().string());
  for (const std::string &flag : flags)
    hash.add(flag);
  std::vector<fs::path> files;
  for (const char *folder : {"kernels/cuda", "kernels/sim", "runtime/src/abi"})
    if (fs::exists(include / folder))
      for (const auto &entry : fs::recursive_directory_iterator(include / folder))
        if (entry.path().extension() == ".cuh" || entry.path().extension() == ".h")
          files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path &file : files)
    hash.add(read(file));
  hash.add(text);

  std::error_code code;
  const fs::path folder = cacheFolder();
  fs::create_directories(folder, code);
  const fs::path source = folder / (hash.hex() + ".cu"), object = folder / (hash.hex() + ".so");
  if (!fs::exists(object)) {
    const std::string mark = "." + std::to_string(getpid());
    const fs::path made = object.string() + mark, log = object.string() + mark + ".log", part = source.string() + mark;
    std::ofstream(part, std::ios::binary) << text;
    fs::rename(part, source, code);
    std::vector<std::string> command = {compiler};
    command.insert(command.end(), flags.begin(), flags.end());
    command.insert(command.end(), {source.string(), "-o", made.string(), "-x", "none", ownPath().string()});
    const int status = runTool(command, log);
    if (status != 0) {
      std::string said = read(log);
      setError(status < 0 ? "simulated device: cannot run " + compiler + ": set RETORT_SIM_CXX to clang++ 16 or later"
                          : "simulated device: " + compiler + " does not compile the program:\n" + said);
      fs::remove(made, code);
      fs::remove(log, code);
      return nullptr;
    }
    fs::remove(log, code);
    fs::rename(made, object, code);
  }
  void *handle = dlopen(object.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    setError(std::string("simulated device: ") + dlerror());
  path = object.string();
  return handle;
}

} // namespace retort::sim
