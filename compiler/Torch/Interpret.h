//===- Interpret.h - The pass that runs a model on a few tokens -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace retort::exec {

/// Registers `interpret`, which runs every lm.model of a module in f32 and prints what each op makes.
/// Weights must be weight.constant ops, since there is no checkpoint. Only retort-opt has this pass,
/// for tests and readers: it transforms nothing, and it loads the executor's library.
void registerInterpretPass();

} // namespace retort::exec
