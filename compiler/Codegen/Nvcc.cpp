//===- Nvcc.cpp - CUDA C++ text -> fat binary -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
// One nvcc an architecture, so that two run at a time and each has its own ptxas report; then
// `fatbinary`, nvcc's own last step. All paths on the command lines are relative to a folder of our
// own, since nvcc puts the source's path in what it makes.
#include "compiler/Codegen/Nvcc.h"
#include "compiler/Codegen/Processes.h"
#include "compiler/Codegen/TemporaryFolder.h"
#include "kernels/cuda/Headers.h"
#include "kernels/cuda/machine.h"
#include "runtime/base/Error.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include <charconv>
#include <cstdlib>

namespace retort {
namespace {

using llvm::StringRef;

constexpr int64_t kRegistersOfMultiprocessor = 65536; // every architecture since sm_30

/// The number in front of `what` in `line`: 40 for "Used 40 registers, ...", " registers".
int64_t numberBefore(StringRef line, StringRef what) {
  const size_t at = line.find(what);
  if (at == StringRef::npos)
    return 0;
  StringRef digits = line.take_front(at);
  digits = digits.substr(digits.find_last_not_of("0123456789") + 1);
  int64_t value = 0;
  std::from_chars(digits.begin(), digits.end(), value);
  return value;
}

/// "name" of "... function 'name' for 'sm_90a'".
StringRef quoted(StringRef line) { return line.split('\'').second.split('\'').first; }

bool isExecutable(const std::string &path) {
  return !path.empty() && llvm::sys::fs::can_execute(path);
}

/// The tool `name` beside nvcc.
std::string besideNvcc(const std::string &nvcc, const char *name) {
  llvm::SmallString<128> real;
  if (llvm::sys::fs::real_path(nvcc, real))
    real = nvcc;
  llvm::SmallString<128> tool(llvm::sys::path::parent_path(real));
  llvm::sys::path::append(tool, name);
  if (!isExecutable(tool.str().str()))
    if (auto found = llvm::sys::findProgramByName(name))
      return *found;
  return tool.str().str();
}

/// The first line of `text` that holds one of `words`; else the last that is not empty.
std::string firstLineWith(StringRef text, std::initializer_list<StringRef> words) {
  llvm::SmallVector<StringRef> lines;
  text.split(lines, '\n', -1, /*KeepEmpty=*/false);
  for (StringRef line : lines)
    for (StringRef word : words)
      if (line.contains(word))
        return line.trim().str();
  return lines.empty() ? "no message" : lines.back().trim().str();
}

/// Says why a job failed.
[[noreturn]] void explain(const codegen::Job &job, const std::string &output) {
  const std::string tool = llvm::sys::path::filename(job.command[0]).str();
  if (StringRef(output).contains("No space left"))
    fail(ExitCode::Resources,
         tool + ": the disk of temporary files is full: free some space or set TMPDIR");
  const std::string line = firstLineWith(output, {"nvcc fatal", "error", "fatal"});
  if (StringRef(line).contains("Unsupported gpu architecture") ||
      StringRef(line).contains("not defined for option 'gpu-"))
    fail(ExitCode::Unsupported,
         line + ": install a newer CUDA Toolkit, or name other architectures");
  if (StringRef(line).starts_with("nvcc fatal") || StringRef(line).contains("host compiler"))
    fail(ExitCode::Unsupported, line + ": nvcc needs a C++ compiler for the host, for example g++");
  fail(ExitCode::Internal,
       "compiling program.cu: " + line + " (exit code " + std::to_string(job.exitCode) + ")");
}

} // namespace

//===----------------------------------------------------------------------===//
// ptxas
//===----------------------------------------------------------------------===//

std::vector<CudaResources> parsePtxasReport(std::string_view text) {
  std::vector<CudaResources> result;
  llvm::StringMap<size_t> known;
  auto entry = [&](StringRef name) -> CudaResources & {
    auto [found, isNew] = known.try_emplace(name, result.size());
    if (isNew)
      result.push_back({name.str()});
    return result[found->second];
  };
  std::string kernel, function; // of the lines that follow
  llvm::SmallVector<StringRef> lines;
  StringRef(text.data(), text.size()).split(lines, '\n');
  for (StringRef line : lines) {
    if (line.contains("Compiling entry function")) {
      kernel = quoted(line).str();
      entry(kernel).isKernel = true;
    } else if (line.contains("Function properties for")) {
      function = line.split("Function properties for").second.trim().str();
      entry(function);
    } else if (line.contains("bytes stack frame") && !function.empty()) {
      CudaResources &about = entry(function);
      about.stackBytes = numberBefore(line, " bytes stack frame");
      about.spillStoreBytes = numberBefore(line, " bytes spill stores");
      about.spillLoadBytes = numberBefore(line, " bytes spill loads");
    } else if (line.contains("Used ") && line.contains(" registers") && !kernel.empty()) {
      CudaResources &about = entry(kernel);
      about.registers = static_cast<int>(numberBefore(line, " registers"));
      about.barriers = static_cast<int>(numberBefore(line, " barriers"));
      about.sharedBytes = numberBefore(line, " bytes smem");
    }
  }
  return result;
}

std::string residencyProblem(const CudaResources &function, const CudaArch &arch, int threads,
                             int64_t dynamicBytes) {
  const std::string where = function.function + " for " + arch.text();
  if (function.spillStoreBytes || function.spillLoadBytes)
    return where + " spills " + std::to_string(function.spillStoreBytes) + " bytes of registers";
  if (!function.isKernel)
    return {};
  // Registers are given out to warps, in units of 8 a thread.
  const int64_t registers = (function.registers + 7) / 8 * 8 * int64_t(threads);
  if (registers > kRegistersOfMultiprocessor)
    return where + " needs " + std::to_string(registers) + " registers for " +
           std::to_string(threads) + " threads, and a multiprocessor has " +
           std::to_string(kRegistersOfMultiprocessor);
  const int64_t bytes = function.sharedBytes + dynamicBytes;
  if (const int limit = cuda::architecture(arch.number).sharedBytes; bytes > limit)
    return where + " needs " + std::to_string(bytes) +
           " bytes of shared memory, and a CTA may have " + std::to_string(limit);
  return {};
}

//===----------------------------------------------------------------------===//
// nvcc
//===----------------------------------------------------------------------===//

std::string findNvcc() {
  if (const char *named = std::getenv("CUDACXX"); named && *named) {
    if (auto found = llvm::sys::findProgramByName(named); found && isExecutable(*found))
      return *found;
    fail(ExitCode::Unsupported, std::string("CUDACXX names '") + named +
                                    "', which is no program: set it to nvcc's path, or unset it");
  }
  if (auto found = llvm::sys::findProgramByName("nvcc"))
    return *found;
  if (const char *usual = "/usr/local/cuda/bin/nvcc"; isExecutable(usual))
    return usual;
  fail(ExitCode::Unsupported,
       "--target cuda needs nvcc, which is not in CUDACXX, on the PATH or in /usr/local/cuda/bin: "
       "install the CUDA Toolkit 12.8 or later (https://developer.nvidia.com/cuda-downloads)");
}

FatBinary compileFatBinary(const std::string &text, const NvccOptions &options) {
  const std::string nvcc = findNvcc();
  codegen::TemporaryFolder folder("retort-nvcc");
  for (const CudaHeader &header : cudaHeaders())
    folder.write(StringRef(header.path.data(), header.path.size()),
                 StringRef(header.text.data(), header.text.size()));
  folder.write("program.cu", text);
  std::vector<codegen::Job> jobs;
  auto add = [&](const std::string &name, std::vector<std::string> flags) {
    std::vector<std::string> command = {nvcc, "-std=c++20", "-O3", "-I."};
    command.insert(command.end(), flags.begin(), flags.end());
    command.insert(command.end(), {"program.cu", "-o", name});
    jobs.push_back({command, folder.file(name + ".txt")});
  };
  for (const CudaArch &arch : options.arches)
    add(arch.text() + ".cubin", {"-cubin", "-arch=" + arch.text(), "-Xptxas", "-v"});
  const CudaArch &newest = options.arches.back();
  add("newest.ptx",
      {"-ptx", "-DRETORT_PORTABLE", "-arch=" + newest.withoutSuffix().text("compute_")});
  codegen::runJobs(jobs, folder.file("."), options.jobs, options.interrupted);
  for (const codegen::Job &job : jobs)
    if (job.exitCode != 0)
      explain(job, folder.read(llvm::sys::path::filename(job.output)));

  FatBinary result;
  std::vector<std::string> fatbinary = {besideNvcc(nvcc, "fatbinary"), "--create=program.fatbin",
                                        "-64"};
  for (const CudaArch &arch : options.arches) {
    const std::string report = folder.read(arch.text() + ".cubin.txt");
    for (const CudaResources &function : result.resources[arch.text()] = parsePtxasReport(report))
      if (std::string problem =
              residencyProblem(function, arch, options.threads, cuda::sharedBytesOf(arch.number));
          !problem.empty())
        fail(ExitCode::Internal, "program.cu: " + problem);
    fatbinary.push_back("--image3=kind=elf,sm=" + arch.text().substr(3) + ",file=" + arch.text() +
                        ".cubin");
  }
  fatbinary.push_back("--image3=kind=ptx,sm=" + std::to_string(newest.number) + ",file=newest.ptx");
  const std::string said = "fatbinary.txt";
  std::vector<codegen::Job> last = {{fatbinary, folder.file(said)}};
  codegen::runJobs(last, folder.file("."), 1, options.interrupted);
  if (last[0].exitCode != 0)
    explain(last[0], folder.read(said));
  result.bytes = folder.read("program.fatbin");
  return result;
}

} // namespace retort
