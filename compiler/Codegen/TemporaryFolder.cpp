//===- TemporaryFolder.cpp - Files for tools that we run ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/TemporaryFolder.h"
#include "runtime/base/SystemError.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

namespace retort::codegen {

TemporaryFolder::TemporaryFolder(llvm::StringRef prefix) {
  if (std::error_code code = llvm::sys::fs::createUniqueDirectory(prefix, path))
    fail(exitCodeOf(code.value()),
         "cannot make a temporary folder: " + code.message() + ": set TMPDIR");
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
    fail(exitCodeOf(code.value()),
         target + ": cannot be written: " + reasonOf(code.value()) + ", or set TMPDIR");
  return target;
}

std::string TemporaryFolder::read(llvm::StringRef name) const {
  auto content = llvm::MemoryBuffer::getFile(file(name), false, false);
  if (!content)
    failSystem(file(name), "cannot be read", content.getError().value());
  return (*content)->getBuffer().str();
}

} // namespace retort::codegen
