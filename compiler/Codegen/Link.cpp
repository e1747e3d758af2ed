//===- Link.cpp - Objects -> program.so, by LLD in this process -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/Object.h"
#include "compiler/Codegen/TemporaryFolder.h"
#include "lld/Common/Driver.h"
#include "runtime/base/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <mutex>

LLD_HAS_DRIVER(elf)

namespace retort::codegen {
namespace {

std::string oneLine(std::string text) {
  while (!text.empty() && text.back() == '\n')
    text.pop_back();
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}
} // namespace

std::string linkShared(const std::vector<std::string> &objects,
                       const std::vector<std::string> &entries) {
  static std::mutex once; // LLD keeps global state.
  std::lock_guard<std::mutex> lock(once);
  TemporaryFolder folder("retort-link");
  std::string script = "{ global:";
  for (const std::string &entry : entries)
    script += " " + entry + ";";
  std::vector<std::string> arguments = {"ld.lld",
                                        "-shared",
                                        "-nostdlib",
                                        "--no-undefined",
                                        "--build-id=none",
                                        "--strip-all",
                                        "--gc-sections",
                                        "-Bsymbolic",
                                        "--threads=1",
                                        "-znoexecstack",
                                        "-zrelro",
                                        "-znow",
                                        "--soname=program.so",
                                        "--version-script=" +
                                            folder.write("exports", script + " local: *; };"),
                                        "-o",
                                        folder.file("program.so")};
  for (size_t i = 0; i < objects.size(); ++i)
    arguments.push_back(folder.write("object" + std::to_string(i) + ".o", objects[i]));
  std::vector<const char *> argv;
  for (const std::string &argument : arguments)
    argv.push_back(argument.c_str());
  std::string out, err;
  llvm::raw_string_ostream outStream(out), errStream(err);
  lld::Result result = lld::lldMain(argv, outStream, errStream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0) {
    bool full = err.find("No space left") != std::string::npos;
    fail(full ? ExitCode::Resources : ExitCode::Internal,
         "linking program.so: " + oneLine(err) + (full ? ": free some space or set TMPDIR" : ""));
  }
  return folder.read("program.so");
}

} // namespace retort::codegen
