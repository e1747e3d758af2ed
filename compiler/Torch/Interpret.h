//===- Interpret.h - The pass that runs a model on a few tokens -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace retort::exec {

/// Registers `interpret`, which runs every lm.model of a module in f32 and prints what each op makes.
/// Its weights are weight.constant's: there is no checkpoint. It is retort-opt's, for tests and for
/// readers: running a model is no transformation, and it opens the executor's library.
void registerInterpretPass();

} // namespace retort::exec
