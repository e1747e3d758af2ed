//===- Recipe.cpp - What a compile does, as pass pipelines -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Recipe.h"
#include "compiler/Driver/Suggest.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace retort {
namespace {

/// Fills a template: every `{{name}}` becomes its value.
std::string fill(std::string text, const std::vector<std::pair<std::string, std::string>> &values) {
  for (const auto &[name, value] : values) {
    const std::string mark = "{{" + name + "}}";
    for (size_t at; (at = text.find(mark)) != std::string::npos;)
      text.replace(at, mark.size(), value);
  }
  return text;
}

std::string number(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

/// The vocabulary goes first, so that the teacher that is tuned, observed and learned from speaks
/// the student's tokens and their distributions can be compared. The student is trained unrounded,
/// then rounded by GPTQ on a copy, and trained a little more through the rounding: what GPTQ has
/// found would not outlast the large steps of a whole training.
constexpr const char *kSpecialist = R"(builtin.module(
  insert-observation{model=teacher statistics=vocabulary},
  insert-score{model=teacher name=teacher_as_it_came tokens={{score-tokens}}},
  run-data-work,
  prune-vocabulary{model=teacher max-tokens={{max-tokens}}},
  insert-tuning{model=teacher tokens={{tune-tokens}} batch-tokens=1024 learning-rate=2e-4 seed={{seed}}},
  run-data-work,
  apply-training{model=teacher},
  insert-score{model=teacher name=tuned_teacher tokens={{score-tokens}}},
  insert-observation{model=teacher statistics=ffn,influence tokens={{observe-tokens}}},
  run-data-work,
  derive-student{teacher=teacher student=unrounded},
  prune-depth{model=unrounded count={{drop-blocks}}},
  prune-ffn{model=unrounded keep={{ffn-keep}} multiple=64 uniform=true},
  insert-fit{teacher=teacher student=unrounded tokens={{observe-tokens}}},
  run-data-work,
  apply-training{model=unrounded},{{baseline-models}}
  insert-distillation{teacher=teacher student=unrounded tokens={{distill-tokens}} batch-tokens=1024 learning-rate=3e-4 seed={{seed}}},
  run-data-work,
  apply-training{model=unrounded},
  insert-score{model=unrounded name=specialist_unrounded tokens={{score-tokens}}},
  derive-student{teacher=unrounded student=student},
  insert-fit{teacher=unrounded student=student tokens={{observe-tokens}} {{format}}},
  run-data-work,
  apply-training{model=student},
  insert-distillation{teacher=teacher student=student tokens={{heal-tokens}} batch-tokens=1024 learning-rate=1e-4 seed={{seed}} {{format}}},
  run-data-work,
  apply-training{model=student},
  quantize-weights{model=student {{format}}},
  cache-format{model=student format={{cache}}},
  insert-score{model=student name=specialist tokens={{score-tokens}}},{{baselines}}
  run-data-work))";

/// Of the specialist's weights: 4 bits in groups of 64; the embedding, which loses most, of 32.
constexpr const char *kFormat = "format=i4g64s embedding=i4g32s";

/// The honest baselines: the teacher tuned on the tokens that the student is distilled on as well,
/// and the student trained on them without a teacher, rounded alike.
constexpr const char *kBaselineModels = R"(
  derive-student{teacher=unrounded student=alone},)";
constexpr const char *kBaselines = R"(
  derive-student{teacher=teacher student=longer},
  insert-tuning{model=longer tokens={{distill-tokens}} batch-tokens=1024 learning-rate=2e-4 seed={{seed}}},
  insert-distillation{student=alone tokens={{distill-tokens}} batch-tokens=1024 learning-rate=3e-4 seed={{seed}} kl-weight=0 ce-weight=1},
  run-data-work,
  apply-training{model=longer},
  apply-training{model=alone},
  derive-student{teacher=alone student=alone_rounded},
  insert-fit{teacher=alone student=alone_rounded tokens={{observe-tokens}} {{format}}},
  run-data-work,
  apply-training{model=alone_rounded},
  insert-distillation{student=alone_rounded tokens={{heal-tokens}} batch-tokens=1024 learning-rate=1e-4 seed={{seed}} kl-weight=0 ce-weight=1 {{format}}},
  run-data-work,
  apply-training{model=alone_rounded},
  quantize-weights{model=alone_rounded {{format}}},
  insert-score{model=longer name=teacher_tuned_longer tokens={{score-tokens}}},
  insert-score{model=alone_rounded name=student_without_teacher tokens={{score-tokens}}},)";

/// Others' fp8 checkpoints have a scale a row or a matrix; docs/formats.md says why 64 columns.
constexpr const char *kFp8 =
    "builtin.module(quantize-weights{format=f8g64},cache-format{format={{cache}}})";
constexpr const char *kInt8 =
    "builtin.module(quantize-weights{format=i8g32},cache-format{format={{cache}}})";
constexpr const char *kInt4 =
    "builtin.module(quantize-weights{format=i4g32s},cache-format{format={{cache}}})";

/// `none`: the checkpoint's precision, and its cache unless another was asked for.
std::string asItIs(const RecipeParameters &p) {
  std::string passes =
      p.checkpointType.empty() ? "" : "cast-weights{type=" + p.checkpointType + "}";
  if (!p.cacheFormat.empty())
    passes += std::string(passes.empty() ? "" : ",") + "cache-format{format={{cache}}}";
  return "builtin.module(" + passes + ")";
}

[[noreturn]] void failUnknown(const std::string &name) {
  std::vector<std::string> names;
  std::string list;
  for (const auto &[known, summary] : builtinRecipes()) {
    list += (list.empty() ? "" : ", ") + known;
    names.push_back(known);
  }
  const std::string nearest = nearestName(name, names);
  fail(ExitCode::Usage,
       "--recipe " + name + ": neither a file nor a built-in recipe" +
           (nearest.empty() ? ": there are " + list : ": did you mean '" + nearest + "'?"));
}

} // namespace

std::vector<std::pair<std::string, std::string>> builtinRecipes() {
  return {{"none", "compile the teacher as it is, unquantised"},
          {"fp8", "quantise the teacher's weights to 8-bit floats (e4m3) in groups of 64"},
          {"int8", "quantise the teacher's weights to 8 bits in groups of 32"},
          {"int4", "quantise the teacher's weights to 4 bits in groups of 32"},
          {"specialist", "prune, distil on the corpus and quantise to 4 bits"}};
}

Recipe loadRecipe(const std::string &nameOrFile, const RecipeParameters &p) {
  Recipe recipe{nameOrFile, {}, false};
  if (nameOrFile == "none")
    recipe.pipeline = asItIs(p);
  else if (nameOrFile == "fp8")
    recipe.pipeline = kFp8;
  else if (nameOrFile == "int8")
    recipe.pipeline = kInt8;
  else if (nameOrFile == "int4")
    recipe.pipeline = kInt4;
  else if (nameOrFile == "specialist")
    recipe.pipeline = kSpecialist;
  else {
    std::error_code error;
    if (!std::filesystem::is_regular_file(nameOrFile, error))
      failUnknown(nameOrFile);
    if (!p.cacheFormat.empty())
      fail(ExitCode::Usage, "--cache " + p.cacheFormat + ": " + nameOrFile +
                                " says itself how keys and values are kept: write "
                                "cache-format{format=" +
                                p.cacheFormat + "} there");
    std::ifstream file(nameOrFile);
    for (std::string line; std::getline(file, line);)
      recipe.pipeline += line.substr(0, line.find("//")) + "\n";
    if (!file.eof() || recipe.pipeline.find_first_not_of(" \n\t\r") == std::string::npos)
      fail(ExitCode::Io, nameOrFile + ": holds no pipeline: write one as `retort compile "
                                      "--print-pipeline` prints it");
  }
  recipe.pipeline = fill(recipe.pipeline, {{"baseline-models", p.baselines ? kBaselineModels : ""},
                                           {"baselines", p.baselines ? kBaselines : ""},
                                           {"format", kFormat},
                                           {"cache", p.cacheFormat.empty() ? "f16" : p.cacheFormat},
                                           {"heal-tokens", std::to_string(p.healTokens)},
                                           {"score-tokens", std::to_string(p.scoreTokens)},
                                           {"max-tokens", std::to_string(p.maxVocabulary)},
                                           {"tune-tokens", std::to_string(p.tuneTokens)},
                                           {"observe-tokens", std::to_string(p.observeTokens)},
                                           {"distill-tokens", std::to_string(p.distillTokens)},
                                           {"drop-blocks", std::to_string(p.dropBlocks)},
                                           {"ffn-keep", number(p.ffnKeep)},
                                           {"seed", std::to_string(p.seed)}});
  recipe.needsCorpus = recipe.pipeline.find("run-data-work") != std::string::npos;
  return recipe;
}

} // namespace retort
