//===- Recipe.cpp - What a compile does, as pass pipelines -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Recipe.h"
#include "compiler/Driver/Suggest.h"
#include "runtime/base/Error.h"
#include "runtime/base/Names.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

namespace fs = std::filesystem;

namespace retort {
namespace {

constexpr const char *kSuffix = ".pipeline";

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos)
    return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin));
}

/// The text before `mark`, which is taken off `rest` with it; nothing if the mark is not there.
std::optional<std::string> cut(std::string &rest, std::string_view mark) {
  const size_t at = rest.find(mark);
  if (at == std::string::npos)
    return std::nullopt;
  std::string before = trimmed(std::string_view(rest).substr(0, at));
  rest = trimmed(std::string_view(rest).substr(at + mark.size()));
  return before;
}

/// All of `text` as a T; nothing if it is not a finite number.
template <class T> std::optional<T> numberOf(const std::string &text) {
  T value{};
  const char *end = text.data() + text.size();
  if (auto [at, error] = std::from_chars(text.data(), end, value);
      error != std::errc() || at != end || !std::isfinite(static_cast<double>(value)))
    return std::nullopt;
  return value;
}

template <class T> bool isBetween(const std::string &text, const RecipeParameter &parameter) {
  const std::optional<T> value = numberOf<T>(text);
  return value && *value >= *numberOf<T>(parameter.least) && *value <= *numberOf<T>(parameter.most);
}

/// "f16, bf16 or f32".
std::string anyOf(const std::vector<std::string> &words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i)
    text += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  return text;
}

std::string didYouMean(const std::string &word, const std::vector<std::string> &names) {
  const std::string nearest = nearestName(word, names);
  return nearest.empty() ? "" : ": did you mean '" + nearest + "'?";
}

template <class T> std::vector<std::string> namesOf() {
  std::vector<std::string> names;
  for (const T &value : all<T>())
    names.push_back(nameOf(value));
  return names;
}

[[noreturn]] void failUnknown(const std::string &name) {
  const std::vector<std::string> names = Recipe::names();
  std::string list;
  for (const std::string &known : names)
    list += (list.empty() ? "" : ", ") + known;
  const std::string nearest = didYouMean(name, names);
  fail(ExitCode::Usage, "--recipe " + name + ": neither a file nor a built-in recipe: " +
                            (!nearest.empty() ? nearest.substr(2)
                             : list.empty()   ? Recipe::folder() + " holds none"
                                              : "there are " + list));
}

/// Replaces `${name}` by what `valueOf` gives, and drops what stands between `${if name}` and
/// `${end}` if that is "" or "false".
class Substitution {
public:
  using ValueOf = std::function<std::string(const std::string &name)>;
  Substitution(const std::string &where, ValueOf valueOf)
      : where_(where), valueOf_(std::move(valueOf)) {}

  std::string apply(const std::string &text) {
    std::string result;
    size_t at = 0;
    for (size_t mark; (mark = text.find("${", at)) != std::string::npos;) {
      if (!skips())
        result += text.substr(at, mark - at);
      const size_t end = text.find('}', mark);
      if (end == std::string::npos)
        bad("has a '${' without its '}'");
      result += replace(text.substr(mark + 2, end - mark - 2));
      at = end + 1;
    }
    if (!conditions_.empty())
      bad("has an ${if} without its ${end}");
    return result + text.substr(at);
  }

private:
  [[noreturn]] void bad(const std::string &what) const {
    fail(ExitCode::Usage, where_ + ": the pipeline " + what);
  }
  bool skips() const {
    return std::find(conditions_.begin(), conditions_.end(), false) != conditions_.end();
  }
  std::string replace(const std::string &word) {
    if (word == "end") {
      if (conditions_.empty())
        bad("has an ${end} without its ${if}");
      conditions_.pop_back();
      return {};
    }
    if (word.starts_with("if ")) {
      const std::string value = valueOf_(trimmed(word.substr(3)));
      conditions_.push_back(!value.empty() && value != "false");
      return {};
    }
    const std::string value = valueOf_(word);
    return skips() ? std::string() : value;
  }

  const std::string &where_;
  ValueOf valueOf_;
  std::vector<bool> conditions_; ///< of the ${if}s around, outermost first
};

/// Drops white space before a closing parenthesis, and the comma that the last pass may end with:
/// MLIR's pipelines allow neither.
std::string withoutLastCommas(const std::string &text) {
  std::string result;
  for (const char c : text) {
    if (c == ')') {
      result.erase(result.find_last_not_of(" \t\r\n") + 1);
      if (result.ends_with(','))
        result.pop_back();
    }
    result += c;
  }
  return result;
}

} // namespace

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

Setting Setting::parse(const std::string &text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    fail(ExitCode::Usage, "--set " + text + ": write NAME=VALUE");
  return {"--set " + text, text.substr(0, equals), text.substr(equals + 1), {}};
}

std::optional<std::string> RecipeParameter::refuse(const std::string &text) const {
  switch (kind) {
  case Kind::Whole:
    if (!isBetween<int64_t>(text, *this))
      return "not a whole number from " + least + " to " + most;
    break;
  case Kind::Real:
    if (!isBetween<double>(text, *this))
      return "not a number from " + least + " to " + most;
    break;
  case Kind::Choice:
    if (std::find(choices.begin(), choices.end(), text) == choices.end())
      return "write " + anyOf(choices) + didYouMean(text, choices);
    break;
  case Kind::Flag:
    if (text != "true" && text != "false")
      return "write true or false";
  }
  return std::nullopt;
}

std::string RecipeParameter::range() const {
  if (kind == Kind::Flag)
    return "true or false";
  if (kind == Kind::Choice)
    return unit.empty() ? anyOf(choices) : "a " + unit;
  return least + " to " + most + (unit.empty() ? "" : ", " + unit);
}

RecipeParameter *Recipe::find(const std::string &name) {
  auto found = std::find_if(parameters_.begin(), parameters_.end(),
                            [&](const RecipeParameter &p) { return p.name == name; });
  return found == parameters_.end() ? nullptr : &*found;
}

const RecipeParameter *Recipe::find(const std::string &name) const {
  return const_cast<Recipe *>(this)->find(name);
}

std::string Recipe::valueOr(const std::string &name, const std::string &fallback) const {
  const RecipeParameter *parameter = find(name);
  return parameter ? parameter->value : fallback;
}

std::vector<std::string> Recipe::parameterNames() const {
  std::vector<std::string> names;
  for (const RecipeParameter &parameter : parameters_)
    names.push_back(parameter.name);
  return names;
}

void Recipe::set(const Setting &setting) {
  RecipeParameter *parameter = find(setting.name);
  if (!parameter)
    fail(ExitCode::Usage, setting.option + ": " + where_ + " has no parameter '" + setting.name +
                              "'" + didYouMean(setting.name, parameterNames()) +
                              (setting.instead.empty() ? "" : ": " + setting.instead));
  if (std::optional<std::string> why = parameter->refuse(setting.value))
    fail(ExitCode::Usage, setting.option + ": " + *why);
  parameter->value = setting.value;
  parameter->isSet = true;
}

std::optional<Recipe::Budget> Recipe::budget() const {
  for (const auto &[name, step] : budgets_)
    if (const RecipeParameter *parameter = find(name); !parameter->isSet)
      return Budget{name, *numberOf<double>(parameter->least), *numberOf<double>(parameter->most),
                    step};
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

namespace {
[[noreturn]] void badHeader(const std::string &at, const std::string &text, const char *form) {
  fail(ExitCode::Usage, at + ": '" + text + "' declares nothing: write " + form);
}
} // namespace

/// NAME = DEFAULT: RANGE: HELP
void Recipe::readParameter(const std::string &text, const std::string &at) {
  constexpr const char *form =
      "parameter NAME = DEFAULT: whole|real from A to B[, UNIT]|one of WORDS|cache format|number "
      "format|flag: HELP";
  RecipeParameter parameter;
  std::string rest = text;
  const auto name = cut(rest, "="), value = cut(rest, ":"), kind = cut(rest, ":");
  if (!name || !value || !kind || name->empty() || find(*name))
    badHeader(at, text, form);
  parameter.name = *name;
  parameter.value = *value;
  parameter.help = rest;
  std::string range = *kind;
  if (range == "flag") {
    parameter.kind = RecipeParameter::Kind::Flag;
  } else if (range == "cache format" || range == "number format") {
    parameter.kind = RecipeParameter::Kind::Choice;
    parameter.choices = range == "cache format" ? namesOf<CacheFormat>() : namesOf<NumberFormat>();
    parameter.unit = range;
  } else if (range.starts_with("one of ")) {
    parameter.kind = RecipeParameter::Kind::Choice;
    std::istringstream words(range.substr(7));
    for (std::string word; words >> word;)
      parameter.choices.push_back(word);
  } else {
    const auto number = cut(range, " from ");
    if (!number || (*number != "whole" && *number != "real"))
      badHeader(at, text, form);
    parameter.kind =
        *number == "whole" ? RecipeParameter::Kind::Whole : RecipeParameter::Kind::Real;
    parameter.least = cut(range, " to ").value_or("");
    const auto most = cut(range, ",");
    parameter.most = most ? *most : range;
    parameter.unit = most ? range : "";
    auto isNumber = [&](const std::string &bound) {
      return *number == "whole" ? numberOf<int64_t>(bound).has_value()
                                : numberOf<double>(bound).has_value();
    };
    if (!isNumber(parameter.least) || !isNumber(parameter.most))
      badHeader(at, text, form);
  }
  const bool isLeftOpen = parameter.kind != RecipeParameter::Kind::Flag && parameter.value.empty();
  if (auto why = parameter.refuse(parameter.value); why && !isLeftOpen)
    fail(ExitCode::Usage, at + ": the default of '" + parameter.name + "' is " + *why);
  parameters_.push_back(std::move(parameter));
}

/// NAME in steps of STEP
void Recipe::readBudget(const std::string &text, const std::string &at) {
  std::string rest = text;
  const std::string name = cut(rest, " in steps of ").value_or("");
  const RecipeParameter *parameter = find(name);
  const std::optional<double> step = numberOf<double>(rest);
  if (!parameter || parameter->kind != RecipeParameter::Kind::Real || !step || !(*step > 0))
    badHeader(at, text, "budget: NAME in steps of STEP, after the real parameter NAME");
  budgets_.emplace_back(name, *step);
}

/// NAME, NAME, ...
void Recipe::readMinutes(const std::string &text, const std::string &at) {
  std::istringstream names(text);
  for (std::string name; std::getline(names, name, ',');) {
    const RecipeParameter *parameter = find(trimmed(name));
    if (!parameter || parameter->kind != RecipeParameter::Kind::Whole)
      badHeader(at, text, "minutes: NAME, NAME, ..., after the whole parameters of these names");
    minutes_.emplace_back(parameter->name, *numberOf<double>(parameter->value));
  }
}

void Recipe::multiplyMinutes(double factor) {
  for (const auto &[name, usual] : minutes_) {
    RecipeParameter &parameter = *find(name);
    if (parameter.isSet)
      continue;
    const double wanted = std::max(1.0, factor * usual);
    const double unit = std::max(1.0, std::pow(10, std::floor(std::log10(wanted)) - 1));
    const double value =
        std::clamp(std::round(wanted / unit) * unit, *numberOf<double>(parameter.least),
                   *numberOf<double>(parameter.most));
    parameter.value = std::to_string(std::llround(value));
  }
}

void Recipe::readHeaderLine(const std::string &line, const std::string &at) {
  const std::string text = trimmed(line);
  if (text.starts_with("SPDX-License-Identifier:"))
    return;
  if (text.starts_with("parameter "))
    return readParameter(text.substr(10), at);
  if (text.starts_with("budget: "))
    return readBudget(text.substr(8), at);
  if (text.starts_with("minutes: "))
    return readMinutes(text.substr(9), at);
  if (text.starts_with("default: "))
    usualFor_ = text.substr(9);
  else if (summary_.empty())
    summary_ = text;
  else if (!description_.empty() || !text.empty())
    description_ += (line.starts_with(' ') ? line.substr(1) : line) + "\n";
}

Recipe Recipe::open(const std::string &nameOrFile) {
  const std::vector<std::string> known = names();
  const bool isName = std::find(known.begin(), known.end(), nameOrFile) != known.end();
  const std::string path = isName ? folder() + "/" + nameOrFile + kSuffix : nameOrFile;
  std::error_code error;
  if (!fs::is_regular_file(path, error))
    failUnknown(nameOrFile);
  Recipe recipe(fs::path(path).stem().string(), isName ? "the recipe " + nameOrFile : path);
  std::ifstream file(path);
  bool inHeader = true;
  size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    inHeader = inHeader && line.starts_with("//");
    if (inHeader)
      recipe.readHeaderLine(line.substr(2), path + ":" + std::to_string(number));
    else
      recipe.text_ += line.substr(0, line.find("//")) + "\n";
  }
  if (!file.eof() || trimmed(recipe.text_).empty())
    fail(ExitCode::Usage, path + ": holds no pipeline: write one as `retort compile "
                                 "--print-pipeline` prints it");
  recipe.description_ = trimmed(recipe.description_);
  return recipe;
}

Recipe Recipe::custom(std::string pipeline) {
  Recipe recipe("custom", "--passes");
  recipe.text_ = std::move(pipeline);
  return recipe;
}

Recipe Recipe::usual(bool hasCorpus) {
  const std::string wanted = hasCorpus ? "with a corpus" : "without a corpus";
  for (Recipe &recipe : all())
    if (recipe.usualFor_ == wanted)
      return std::move(recipe);
  fail(ExitCode::Usage, folder() + ": has no recipe for a compile " + wanted +
                            ": name a recipe or a file with --recipe");
}

std::string Recipe::folder() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  return (self.parent_path().parent_path() / "share/retort/recipes").string();
}

std::vector<std::string> Recipe::names() {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder(), error))
    if (entry.path().extension() == kSuffix)
      names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<Recipe> Recipe::all() {
  std::vector<Recipe> recipes;
  for (const std::string &name : names())
    recipes.push_back(open(name));
  return recipes;
}

std::string Recipe::pipeline(const std::map<std::string, std::string> &facts) const {
  if (parameters_.empty() && text_.find("${") == std::string::npos)
    return text_;
  std::vector<std::string> names = parameterNames();
  for (const auto &[name, value] : facts)
    names.push_back(name);
  return withoutLastCommas(Substitution(where_, [&](const std::string &name) {
                             if (const RecipeParameter *parameter = find(name))
                               return parameter->value;
                             if (auto fact = facts.find(name); fact != facts.end())
                               return fact->second;
                             fail(ExitCode::Usage, where_ + ": the pipeline names '" + name +
                                                       "', which is no parameter" +
                                                       didYouMean(name, names));
                           }).apply(text_));
}

} // namespace retort
