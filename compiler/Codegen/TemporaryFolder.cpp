//===- TemporaryFolder.cpp - Files for tools that we run ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/TemporaryFolder.h"
#include "runtime/base/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

namespace retort::codegen {

TemporaryFolder::TemporaryFolder(llvm::StringRef prefix) {
  if (std::error_code code = llvm::sys::fs::createUniqueDirectory(prefix, path))
    fail(ExitCode::Io, "cannot make a temporary folder: " + code.message() + ": set TMPDIR");
}

TemporaryFolder::~TemporaryFolder() { llvm::sys::fs::remove_directories(path); }

std::string TemporaryFolder::file(llvm::StringRef name) const {
  llvm::SmallString<128> result = path;
  llvm::sys::path::append(result, name);
  return result.str().str();
}

std::string TemporaryFolder::write(llvm::StringRef name, llvm::StringRef content) const {
  std::string target = file(name);
  std::error_code code = llvm::sys::fs::create_directories(llvm::sys::path::parent_path(target));
  if (!code) {
    llvm::raw_fd_ostream os(target, code);
    if (!code) {
      os << content;
      os.close();
      code = os.error();
      os.clear_error();
    }
  }
  if (code)
    fail(ExitCode::Io, target + ": " + code.message() + ": free some space or set TMPDIR");
  return target;
}

std::string TemporaryFolder::read(llvm::StringRef name) const {
  auto content = llvm::MemoryBuffer::getFile(file(name), false, false);
  if (!content)
    fail(ExitCode::Io, file(name) + ": " + content.getError().message());
  return (*content)->getBuffer().str();
}

} // namespace retort::codegen
