//===- Limits.cpp - What a specialist must keep within --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Limits.h"
#include "compiler/Driver/Plan.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Driver/Recipe.h"
#include "runtime/base/Error.h"

#include <cmath>
#include <sstream>

namespace retort {
namespace {

/// "2.35 ms".
std::string formatUs(double us) {
  char text[32];
  std::snprintf(text, sizeof text, us < 1000 ? "%.3g us" : "%.3g ms", us < 1000 ? us : us / 1000);
  return text;
}

bool breaksBudget(const Limits &limits, const Plan &plan) {
  return limits.bundleBytes && plan.bundleBytes() > limits.bundleBytes;
}

/// The option whose limit the plan breaks.
std::string optionOf(const Limits &limits, const Plan &plan) {
  return breaksBudget(limits, plan) ? "--budget" : "--latency";
}

} // namespace

std::string Limits::brokenBy(const Plan &plan) const {
  if (breaksBudget(*this, plan))
    return "the bundle will take " + formatBytes(plan.bundleBytes()) + ", over the budget of " +
           formatBytes(bundleBytes);
  if (decodeUs > 0 && !(plan.decodeUs <= decodeUs))
    return "a token will take " + formatUs(plan.decodeUs) + " on " + on +
           " by the cost model, over the latency of " + formatUs(decodeUs);
  return {};
}

int64_t largestThat(llvm::function_ref<bool(int64_t)> fits, int64_t low, int64_t high) {
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (fits(middle))
      low = middle;
    else
      high = middle - 1;
  }
  fits(low);
  return low;
}

std::string recipesThat(llvm::function_ref<bool(const Recipe &)> have) {
  std::string names;
  for (const Recipe &recipe : Recipe::all())
    if (have(recipe))
      names += (names.empty() ? "" : ", ") + recipe.name();
  return names;
}

std::string fitLimits(const Limits &limits, Recipe &recipe,
                      llvm::function_ref<const Plan &()> plan) {
  const std::optional<Recipe::Budget> free = recipe.budget();
  const Plan *last = nullptr;
  if (!free) {
    last = &plan();
    const std::string broken = limits.brokenBy(*last);
    if (broken.empty())
      return {};
    const std::string parameter = recipe.budgetParameter();
    fail(ExitCode::Resources,
         broken + ": raise " + optionOf(limits, *last) +
             (parameter.empty()
                  ? ", or choose a recipe that makes models smaller: " +
                        recipesThat([](const Recipe &r) { return !r.budgetParameter().empty(); })
                  : ", or leave " + parameter + " to it"));
  }
  auto fits = [&](int64_t steps) {
    std::ostringstream value;
    value << free->least + static_cast<double>(steps) * free->step;
    recipe.vary(free->parameter, value.str());
    last = &plan();
    return limits.brokenBy(*last).empty();
  };
  if (!fits(0)) {
    const std::string option = optionOf(limits, *last);
    const bool bytes = option == "--budget";
    fail(ExitCode::Resources,
         "no shape meets the " +
             (bytes ? "budget of " + formatBytes(limits.bundleBytes) +
                          ": the smallest bundle of this teacher takes " +
                          formatBytes(last->bundleBytes())
                    : "latency of " + formatUs(limits.decodeUs) +
                          ": the smallest model of this teacher takes " + formatUs(last->decodeUs) +
                          " a token on " + limits.on + " by the cost model") +
             ": raise " + option);
  }
  largestThat(fits, 0, std::llround((free->most - free->least) / free->step));
  const char *whose = !limits.bundleBytes    ? "latency"
                      : limits.decodeUs <= 0 ? "budget"
                                             : "budget and the latency";
  return std::string("the ") + whose +
         (limits.bundleBytes && limits.decodeUs > 0 ? " set " : " sets ") + free->parameter + "=" +
         recipe.valueOr(free->parameter, "") +
         (limits.decodeUs > 0
              ? ": " + formatUs(last->decodeUs) + " a token on " + limits.on + ", predicted"
              : "");
}

} // namespace retort
