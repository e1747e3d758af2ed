//===- TemporaryFolder.h - Files for tools that we run ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "llvm/ADT/SmallString.h"
#include <string>

namespace retort::codegen {

/// A folder of our own under the system's temporary one, removed with all in it. Every member
/// throws retort::Error (Io), with TMPDIR as what to do.
class TemporaryFolder {
public:
  explicit TemporaryFolder(llvm::StringRef prefix);
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;

  /// The path of `name`, which may have folders in it.
  std::string file(llvm::StringRef name) const;
  /// Writes a file, and the folders that `name` has, and returns its path.
  std::string write(llvm::StringRef name, llvm::StringRef content) const;
  std::string read(llvm::StringRef name) const;

private:
  llvm::SmallString<128> path;
};

} // namespace retort::codegen
