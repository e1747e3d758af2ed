//===- Inputs.h - What a command must not write over ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

namespace retort {

/// Throws Error (Usage) if writing `output` would replace one of the files or folders `inputs`, which
/// the command reads, or a file in such a folder that is no bundle. Empty names are passed over.
void checkNotInput(const std::string &output, const std::vector<std::string> &inputs);

} // namespace retort
