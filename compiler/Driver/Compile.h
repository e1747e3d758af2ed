//===- Compile.h - Compiles that other commands run -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Driver/Commands.h"
#include "compiler/Report/Report.h"

namespace retort {

/// Refuses what a compile would refuse before it works on data, and prints nothing. Throws Error.
void planCompile(const CompileOptions &options);

/// Compiles, writes the bundle and returns its report.
Report compileBundle(const CompileOptions &options);

} // namespace retort
