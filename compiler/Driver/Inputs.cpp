//===- Inputs.cpp - What a command must not write over ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Inputs.h"
#include "compiler/Bundle/BundleWriter.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <filesystem>

namespace fs = std::filesystem;

namespace retort {
namespace {

bool isInside(const fs::path &path, const fs::path &folder) {
  std::error_code ignored;
  const fs::path whole = fs::canonical(path, ignored), above = fs::canonical(folder, ignored);
  return std::mismatch(above.begin(), above.end(), whole.begin(), whole.end()).first == above.end();
}

} // namespace

void checkNotInput(const std::string &output, const std::vector<std::string> &inputs) {
  std::error_code ignored;
  if (!fs::exists(output, ignored))
    return;
  for (const std::string &input : inputs)
    if (fs::equivalent(output, input, ignored) ||
        (fs::is_directory(input, ignored) && isInside(output, input) && !isBundle(output)))
      fail(ExitCode::Usage, output + ": is read by this command" +
                                (output == input ? "" : " (" + input + ")") +
                                ", so it is not replaced: name another output");
}

} // namespace retort
