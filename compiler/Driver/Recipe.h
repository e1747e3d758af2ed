//===- Recipe.h - What a compile does, as pass pipelines ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace retort {

/// What the command line may vary in a built-in recipe. Every field has the recipe's default.
struct RecipeParameters {
  std::string checkpointType;       ///< of most weights: "bf16", "f16", else empty; `none` keeps it
  uint64_t tuneTokens = 60'000;     ///< tokens that the teacher is adapted on
  uint64_t distillTokens = 180'000; ///< tokens that the student is trained on, unrounded
  uint64_t healTokens = 24'000;     ///< tokens that the rounded student is trained on
  uint64_t observeTokens = 16'384;  ///< tokens that activations are observed and layers fitted on
  uint64_t scoreTokens = 16'384;    ///< tokens' worth of held-out text that models are scored on
  double ffnKeep = 0.54;            ///< share of FFN channels that the student keeps
  unsigned dropBlocks = 0;          ///< blocks that the student loses
  unsigned maxVocabulary = 9'728;   ///< most tokens of the student's vocabulary
  uint64_t seed = 0;
  bool baselines = false;
  std::string cacheFormat; ///< of keys and values, checked; empty: f16, of `none` as imported
};

/// A recipe: an MLIR pass pipeline over the module that import made.
struct Recipe {
  std::string name;
  std::string pipeline; ///< textual, "builtin.module(...)"
  bool needsCorpus = false;
};

/// The names of the built-in recipes with a line on each.
std::vector<std::pair<std::string, std::string>> builtinRecipes();

/// The recipe of this name, or, if it names a file, that file's pipeline ('//' comments allowed).
/// Throws Error (Usage) with the nearest name, or if a file's pipeline should be varied, or (Io).
Recipe loadRecipe(const std::string &nameOrFile, const RecipeParameters &parameters);

} // namespace retort
