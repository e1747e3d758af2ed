//===- Schema.h - JSON Schema -----------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/grammar/Automaton.h"
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace retort::grammar {

using Json = nlohmann::ordered_json; // properties are written in the schema's order

/// The JSON texts that a schema allows, or some of them: docs/serve.md says which. Throws Error (Usage)
/// for what is wrong, not supported or cannot be met, with the place as a JSON pointer.
Automaton compileSchema(std::string_view text, Budget &budget, const ByteSet &alphabet);

/// Adds the rules of a schema's values, and returns the one of all of them. Throws as compileSchema().
uint32_t addSchema(const Json &root, Budget &budget, AutomatonBuilder &builder);

/// A schema, and where it stands.
struct Located {
  Json schema;
  std::string where; ///< a JSON pointer
};

/// Throws Error (Usage): "WHERE WHAT".
[[noreturn]] void refuse(const std::string &where, const std::string &what);
/// A step of a JSON pointer.
std::string below(const std::string &where, std::string_view name);

/// Takes references and allOf out of schemas of one document.
class SchemaMerger {
public:
  explicit SchemaMerger(const Json &root) : root_(root) {}
  /// The keywords that say what is allowed, with what $ref and allOf say beside them. Of anyOf and oneOf,
  /// each branch is left as it is. Throws Error (Usage) for a keyword that is not supported, or where two
  /// schemas say what cannot be put in one.
  Located flatten(const Located &given) const;
  /// What both allow.
  Located merge(const Located &a, const Located &b) const;
  /// Whether it is plain that nothing meets both.
  bool apart(const Located &a, const Located &b) const;

private:
  bool apart(const Located &a, const Located &b, int depth) const;
  Located flatten(const Located &given, int depth) const;
  Located resolve(const Json &reference, const std::string &where) const;
  const Json &root_;
};

/// The types of JSON that a flat schema allows, by their names in schemas.
std::vector<std::string> typesOf(const Json &flat, const std::string &where);
/// Whether a value is of one of those types.
bool isOfType(const Json &value, const std::vector<std::string> &types);

} // namespace retort::grammar
