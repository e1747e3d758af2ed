//===- SchemaMerge.cpp - JSON Schema: references, allOf, keywords ---------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Error.h"
#include "runtime/src/grammar/Schema.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace retort::grammar {
namespace {

constexpr int kMostHops = 64;    ///< references and allOf that lead to each other
constexpr int kMostCompared = 8; ///< properties below each other, of schemas that shall be apart

constexpr std::array kAnnotations = {
    "title",     "description", "default", "examples", "example",     "deprecated",   "readOnly",
    "writeOnly", "$comment",    "$schema", "$defs",    "definitions", "discriminator"};
struct Keyword {
  const char *name;
  const char *type; ///< that it says something of; null: any
};
constexpr std::array kKeywords = {Keyword{"type", nullptr},
                                  Keyword{"enum", nullptr},
                                  Keyword{"const", nullptr},
                                  Keyword{"anyOf", nullptr},
                                  Keyword{"oneOf", nullptr},
                                  Keyword{"properties", "object"},
                                  Keyword{"required", "object"},
                                  Keyword{"additionalProperties", "object"},
                                  Keyword{"items", "array"},
                                  Keyword{"prefixItems", "array"},
                                  Keyword{"minItems", "array"},
                                  Keyword{"maxItems", "array"},
                                  Keyword{"minLength", "string"},
                                  Keyword{"maxLength", "string"},
                                  Keyword{"pattern", "string"},
                                  Keyword{"format", "string"},
                                  Keyword{"minimum", "number"},
                                  Keyword{"maximum", "number"},
                                  Keyword{"exclusiveMinimum", "number"},
                                  Keyword{"exclusiveMaximum", "number"}};

template <class List> bool has(const List &list, const std::string &name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}
bool isKeyword(const std::string &name) {
  return std::any_of(kKeywords.begin(), kKeywords.end(),
                     [&](const Keyword &keyword) { return name == keyword.name; });
}

std::string unescaped(std::string step) {
  for (const auto &[code, meant] : {std::pair("~1", "/"), std::pair("~0", "~")})
    for (size_t at = 0; (at = step.find(code, at)) != step.npos; ++at)
      step.replace(at, 2, meant);
  return step;
}

/// Undoes the %XX of a URI.
std::string decoded(const std::string &text, const std::string &where) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const std::string digits = text.substr(i + 1, 2);
    if (digits.size() < 2 || digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos)
      refuse(where, "has a % without two hexadecimal digits");
    out += char(std::stoi(digits, nullptr, 16));
    i += 2;
  }
  return out;
}

/// The values that both lists have.
Json common(const Json &values, const Json &others) {
  Json kept = Json::array();
  for (const Json &value : values)
    for (const Json &other : others)
      if (nlohmann::json(value) == nlohmann::json(other)) { // whatever order their fields have
        kept.push_back(value);
        break;
      }
  return kept;
}

} // namespace

void refuse(const std::string &where, const std::string &what) {
  fail(ExitCode::Usage, where + (where.empty() ? "it " : " ") + what);
}

std::string below(const std::string &where, std::string_view name) {
  std::string step;
  for (char c : name)
    step += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return where + "/" + step;
}

Located SchemaMerger::resolve(const Json &reference, const std::string &where) const {
  const std::string at = below(where, "$ref");
  if (!reference.is_string())
    refuse(at, "is not a text");
  const std::string text = decoded(reference.get<std::string>(), at);
  if (text.empty() || text[0] != '#' || (text.size() > 1 && text[1] != '/'))
    refuse(at, "does not begin with #/: only references within the schema are supported");
  const Json *found = &root_;
  for (size_t begin = 2; begin <= text.size();) {
    const size_t end = std::min(text.find('/', begin), text.size());
    const std::string step = unescaped(text.substr(begin, end - begin));
    begin = end + 1;
    const Json *next = nullptr;
    if (found->is_object() && found->contains(step))
      next = &(*found)[step];
    else if (found->is_array() && !step.empty() && step.size() < 7 &&
             step.find_first_not_of("0123456789") == step.npos &&
             size_t(std::stoi(step)) < found->size())
      next = &(*found)[size_t(std::stoi(step))];
    if (!next)
      refuse(at, "leads nowhere");
    found = next;
  }
  return {*found, text.substr(1)};
}

Located SchemaMerger::flatten(const Located &given) const { return flatten(given, 0); }

Located SchemaMerger::flatten(const Located &given, int depth) const {
  const auto &[schema, where] = given;
  if (depth > kMostHops)
    refuse(where, "refers to itself where a value begins, or through too many references");
  if (schema.is_boolean())
    return {schema.get<bool>() ? Json::object() : Json{{"enum", Json::array()}}, where};
  if (!schema.is_object())
    refuse(where, "is not a schema: that is an object, true or false");
  Located result = {Json::object(), where};
  for (const auto &[name, value] : schema.items()) {
    if (isKeyword(name))
      result.schema[name] = value;
    else if (name != "$ref" && name != "allOf" && !has(kAnnotations, name) &&
             !(where.empty() && name == "$id") && !(name == "uniqueItems" && value == false))
      refuse(below(where, name), "is not supported (docs/serve.md lists what is)");
  }
  if (schema.contains("$ref"))
    result = merge(result, flatten(resolve(schema["$ref"], where), depth + 1));
  if (schema.contains("allOf")) {
    const std::string at = below(where, "allOf");
    if (!schema["allOf"].is_array())
      refuse(at, "is not a list");
    for (size_t i = 0; i < schema["allOf"].size(); ++i)
      result =
          merge(result, flatten({schema["allOf"][i], below(at, std::to_string(i))}, depth + 1));
  }
  return result;
}

/// Both are flat.
Located SchemaMerger::merge(const Located &a, const Located &b) const {
  if (a.schema.empty() || b.schema.empty() || a.schema == b.schema)
    return a.schema.empty() ? b : a;
  Located result = a;
  Json &out = result.schema;
  for (const auto *side : {&a, &b}) {
    const auto &other = side == &a ? b : a;
    if (side->schema.contains("additionalProperties") &&
        side->schema["additionalProperties"] != true && other.schema.contains("properties"))
      for (const auto &[name, value] : other.schema["properties"].items())
        if (!side->schema.contains("properties") || !side->schema["properties"].contains(name))
          refuse(side->where, "has additionalProperties and is put together with properties that "
                              "it does not name, which is not supported");
  }
  for (const auto &[name, value] : b.schema.items()) {
    if (!out.contains(name) || out[name] == value) {
      out[name] = value;
    } else if (name == "required" && out[name].is_array() && value.is_array()) {
      for (const Json &property : value)
        if (!has(out[name], property))
          out[name].push_back(property);
    } else if (name == "properties" && out[name].is_object() && value.is_object()) {
      for (const auto &[property, schema] : value.items()) {
        Json &mine = out[name][property];
        mine = mine.is_null() ? schema : Json{{"allOf", {mine, schema}}};
      }
    } else if (name == "type") {
      Json kept = Json::array();
      for (const std::string &type : typesOf(b.schema, b.where))
        for (const std::string &own : typesOf(a.schema, a.where))
          if (type == own || (type == "integer" && own == "number"))
            kept.push_back(type);
          else if (type == "number" && own == "integer")
            kept.push_back(own);
      out[name] = kept;
    } else if (name == "enum" && out[name].is_array() && value.is_array()) {
      out[name] = common(out[name], value);
    } else if (name == "const") {
      out["enum"] = Json::array();
    } else if ((name.starts_with("min") || name == "exclusiveMinimum") && value.is_number() &&
               out[name].is_number()) {
      out[name] = std::max(out[name], value);
    } else if ((name.starts_with("max") || name == "exclusiveMaximum") && value.is_number() &&
               out[name].is_number()) {
      out[name] = std::min(out[name], value);
    } else {
      refuse(below(b.where, name), "is said of the same value at " + below(a.where, name) +
                                       " too: of both together is not supported");
    }
  }
  return result;
}

std::vector<std::string> typesOf(const Json &flat, const std::string &where) {
  static const std::vector<std::string> all = {"null",   "boolean", "number",
                                               "string", "object",  "array"};
  std::vector<std::string> types;
  if (flat.contains("type")) {
    const Json list = flat["type"].is_array() ? flat["type"] : Json::array({flat["type"]});
    for (const Json &type : list)
      if (type.is_string() && (has(all, type) || type == "integer"))
        types.push_back(type);
      else
        refuse(below(where, "type"), "is not null, boolean, integer, number, string, array or "
                                     "object, or a list of those");
    return types;
  }
  // Whoever speaks of a type's values only means those.
  for (const Keyword &keyword : kKeywords)
    if (keyword.type && flat.contains(keyword.name) && !has(types, keyword.type))
      types.push_back(keyword.type);
  return types.empty() ? all : types;
}

bool isOfType(const Json &value, const std::vector<std::string> &types) {
  const char *type = value.is_null()      ? "null"
                     : value.is_boolean() ? "boolean"
                     : value.is_number()  ? "number"
                     : value.is_string()  ? "string"
                     : value.is_array()   ? "array"
                                          : "object";
  const bool whole =
      value.is_number_integer() ||
      (value.is_number_float() && value.get<double>() == std::trunc(value.get<double>()));
  return has(types, type) || (whole && has(types, "integer"));
}

bool SchemaMerger::apart(const Located &a, const Located &b) const { return apart(a, b, 0); }

bool SchemaMerger::apart(const Located &first, const Located &second, int depth) const {
  if (depth > kMostCompared)
    return false;
  const Located a = flatten(first), b = flatten(second);
  const auto valuesOf = [](const Json &s) {
    return s.contains("const") ? Json::array({s["const"]}) : s.value("enum", Json()); // null: any
  };
  const auto types = std::pair(typesOf(a.schema, a.where), typesOf(b.schema, b.where));
  const Json some = valuesOf(a.schema), others = valuesOf(b.schema);
  if (some.is_array() && others.is_array())
    return common(some, others).empty();
  const auto noneOf = [](const Json &values, const std::vector<std::string> &allowed) {
    return std::none_of(values.begin(), values.end(),
                        [&](const Json &value) { return isOfType(value, allowed); });
  };
  if (some.is_array() || others.is_array())
    return some.is_array() ? noneOf(some, types.second) : noneOf(others, types.first);
  const auto covers = [](const std::string &x, const std::string &y) {
    return x == y || (x == "number" && y == "integer") || (x == "integer" && y == "number");
  };
  const bool sameType = std::any_of(types.first.begin(), types.first.end(), [&](const auto &x) {
    return std::any_of(types.second.begin(), types.second.end(),
                       [&](const auto &y) { return covers(x, y); });
  });
  if (!sameType)
    return true;
  const auto onlyObjects = [](const std::vector<std::string> &list) {
    return list == std::vector<std::string>{"object"};
  };
  if (!onlyObjects(types.first) || !onlyObjects(types.second))
    return false;
  // A property that both must have, and that cannot be the same.
  const Json required = a.schema.value("required", Json::array()),
             alsoRequired = b.schema.value("required", Json::array());
  const auto propertyOf = [](const Located &s, const std::string &name) -> Located {
    const Json properties = s.schema.value("properties", Json::object());
    return {properties.contains(name) ? properties[name] : Json(true),
            below(below(s.where, "properties"), name)};
  };
  return std::any_of(required.begin(), required.end(), [&](const Json &name) {
    return name.is_string() && has(alsoRequired, name) &&
           apart(propertyOf(a, name), propertyOf(b, name), depth + 1);
  });
}

} // namespace retort::grammar
