//===- Recipe.h - What a compile does, as pass pipelines ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// A recipe is a .pipeline file: a header of comments that says what it does and declares its
// parameters, and an MLIR pass pipeline that names them. docs/recipes.md describes the syntax.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace retort {

/// `--set NAME=VALUE`, or an option that stands for one, as `--seed 3`.
struct Setting {
  std::string option;      ///< as it was typed: begins messages
  std::string name, value; ///< of the parameter
  std::string instead;     ///< what to do where a recipe has no such parameter; may be empty

  /// Of `--set`'s NAME=VALUE. Throws Error (Usage) if there is no '='.
  static Setting parse(const std::string &text);
};

/// What a recipe lets the command line choose.
struct RecipeParameter {
  enum class Kind { Whole, Real, Choice, Flag };
  std::string name, value; ///< the value is the declared default until it is set
  Kind kind = Kind::Flag;
  std::string least, most;          ///< inclusive bounds of a number
  std::vector<std::string> choices; ///< the words of a choice
  std::string unit, help;           ///< `unit`, or which table has the choices, may be empty
  bool isSet = false;               ///< by the user

  /// Whether `text` is a value; else what it ought to be: "not a number from 0.1 to 1".
  std::optional<std::string> refuse(const std::string &text) const;
  /// "0.1 to 1, share", "a cache format" or "low or high".
  std::string range() const;
};

/// A pass pipeline over the module that import made, with parameters.
class Recipe {
public:
  /// The recipe of this name in folder(), or that of the file of this path. Throws Error (Usage)
  /// with the nearest name, or with the line of a file's header that is wrong; (Io).
  static Recipe open(const std::string &nameOrFile);
  /// A pipeline as `--passes` gives it: its name is "custom", and it has no parameters.
  static Recipe custom(std::string pipeline);
  /// The recipe that is meant where none is named.
  static Recipe usual(bool hasCorpus);
  /// The recipes that come with Retort, by name.
  static std::vector<Recipe> all();
  static std::vector<std::string> names();
  /// share/retort/recipes beside the folder of the running program.
  static std::string folder();

  const std::string &name() const { return name_; } ///< of a file, without folder and suffix
  const std::string &summary() const { return summary_; }
  const std::string &description() const { return description_; }
  /// "with a corpus": when the recipe is meant where none is named; empty: never.
  const std::string &usualFor() const { return usualFor_; }
  const std::vector<RecipeParameter> &parameters() const { return parameters_; }
  /// The parameter's value; `fallback` if there is no such parameter.
  std::string valueOr(const std::string &name, const std::string &fallback) const;

  /// Throws Error (Usage) for a name that the recipe does not declare, or a value out of bounds.
  void set(const Setting &setting);

  /// A number that makes the bundle larger and slower, which --budget and --latency may therefore
  /// choose, and in which steps.
  struct Budget {
    std::string parameter;
    double least, most, step;
  };
  /// The first that the recipe declares and the user has not set; empty if there is none.
  std::optional<Budget> budget() const;
  /// Gives a parameter another value, as --budget does.
  void vary(const std::string &name, const std::string &value) { find(name)->value = value; }
  /// The name of the first, whoever sets it; empty if the recipe declares none.
  std::string budgetParameter() const { return budgets_.empty() ? "" : budgets_[0].first; }

  /// Whether it has numbers of tokens which --minutes may choose.
  bool hasMinutes() const { return !minutes_.empty(); }
  /// Gives each of them, unless the user has set it, its default times `factor`, rounded to two digits
  /// and within its bounds.
  void multiplyMinutes(double factor);

  /// The pipeline with values in the place of names. `facts` are values that every recipe may name
  /// and none declares. Throws Error (Usage) for a name that is neither.
  std::string pipeline(const std::map<std::string, std::string> &facts) const;

private:
  Recipe(std::string name, std::string where) : name_(std::move(name)), where_(std::move(where)) {}
  void readHeaderLine(const std::string &line, const std::string &at);
  void readParameter(const std::string &text, const std::string &at);
  void readBudget(const std::string &text, const std::string &at);
  void readMinutes(const std::string &text, const std::string &at);
  RecipeParameter *find(const std::string &name);
  const RecipeParameter *find(const std::string &name) const;
  std::vector<std::string> parameterNames() const;

  std::string name_, where_; ///< `where_` names it in messages: its path, or --passes
  std::string summary_, description_, text_, usualFor_;
  std::vector<RecipeParameter> parameters_;
  std::vector<std::pair<std::string, double>> budgets_; ///< parameters and steps
  std::vector<std::pair<std::string, double>> minutes_; ///< parameters and their defaults
};

} // namespace retort
