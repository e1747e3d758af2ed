//===- Recipes.cpp - `retort recipes` ----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Commands.h"
#include "runtime/base/Output.h"

#include <algorithm>
#include <cstdio>

namespace retort {
namespace {

void list() {
  size_t width = 0;
  const std::vector<Recipe> recipes = Recipe::all();
  for (const Recipe &recipe : recipes)
    width = std::max(width, recipe.name().size());
  for (const Recipe &recipe : recipes)
    output::print(
        "%-*s  %s%s\n", static_cast<int>(width), recipe.name().c_str(), recipe.summary().c_str(),
        recipe.usualFor().empty() ? "" : (" (the default " + recipe.usualFor() + ")").c_str());
}

/// A line for a parameter's name, default and range, and one for what it is.
void describe(const Recipe &recipe) {
  output::print("%s: %s\n", recipe.name().c_str(), recipe.summary().c_str());
  if (!recipe.description().empty())
    output::print("\n%s\n", recipe.description().c_str());
  if (!recipe.parameters().empty())
    output::print("\nparameters, set by --set NAME=VALUE:\n");
  for (const RecipeParameter &parameter : recipe.parameters())
    output::print("  %s%s%s (%s)\n      %s\n", parameter.name.c_str(),
                  parameter.value.empty() ? "" : "=", parameter.value.c_str(),
                  parameter.range().c_str(), parameter.help.c_str());
}

} // namespace

void recipesCommand(const std::string &nameOrFile) {
  if (nameOrFile.empty())
    list();
  else
    describe(Recipe::open(nameOrFile));
}

} // namespace retort
