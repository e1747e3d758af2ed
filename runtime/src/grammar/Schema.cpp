//===- Schema.cpp - JSON Schema -------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// A rule for each schema that is a value's; equal ones share it. What a schema does not mention is not
// written, as vLLM has it: an object that names properties has no others unless additionalProperties
// says so.
//
//===----------------------------------------------------------------------===//
#include "runtime/src/grammar/Schema.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/base/Utf8.h"
#include "runtime/src/grammar/Numbers.h"
#include "runtime/src/grammar/Pattern.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>
#include <utility>

namespace retort::grammar {
namespace {

constexpr uint64_t kMostCount = 100'000; ///< of items or characters; more states than there may be

#define YEAR "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
#define LEAP "([0-9]{2}(0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26]|0[48])00)"
#define DATE                                                                                       \
  "(" YEAR "-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|"                    \
  "(0[13578]|1[02])-31)|" LEAP "-02-29)"
#define TIME                                                                                       \
  "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define BYTE "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
struct Format {
  const char *name, *pattern;
};
/// RFC 3339, 5322 (what people use of it), 1123, 2673, 4291 (without :: or dots), 9562.
constexpr std::array kFormats = {
    Format{"date", DATE},
    Format{"time", TIME},
    Format{"date-time", DATE "T" TIME},
    Format{"duration",
           "P([0-9]{1,6}W|([0-9]{1,6}D)(T[0-9]{1,6}H)?|T[0-9]{1,6}(H([0-9]{1,6}M)?|M|S))"},
    Format{"email", "[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+){0,2}@([A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-"
                    "z0-9])?\\.){1,3}"
                    "[A-Za-z]{2,16}"},
    Format{"hostname", "(" LABEL "\\.){0,3}[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"},
    Format{"ipv4", BYTE "(\\." BYTE "){3}"},
    Format{"ipv6", "[0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4}){7}"},
    Format{"uuid", "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"}};
#undef YEAR
#undef LEAP
#undef DATE
#undef TIME
#undef BYTE
#undef LABEL

uint64_t countOf(const Json &schema, const char *name, uint64_t otherwise,
                 const std::string &where) {
  if (!schema.contains(name))
    return otherwise;
  const Json &value = schema[name];
  const bool whole =
      value.is_number_unsigned() ||
      (value.is_number_float() && value.get<double>() >= 0 && value.get<double>() < 1e15 &&
       value.get<double>() == double(uint64_t(value.get<double>())));
  if (!whole)
    refuse(below(where, name), "is not a whole number from 0");
  if (value.get<uint64_t>() > kMostCount)
    refuse(below(where, name), "is over " + std::to_string(kMostCount));
  return value.get<uint64_t>();
}

std::string textOf(const Json &schema, const char *name, const std::string &where) {
  if (!schema[name].is_string())
    refuse(below(where, name), "is not a text");
  return schema[name];
}

/// Names, character by character.
struct NameTrie {
  struct Node {
    std::map<uint32_t, uint32_t> next;
    bool ends = false;
  };
  std::vector<Node> nodes = {{}};
  void add(const std::string &name) {
    uint32_t at = 0;
    for (const char *p = name.data(), *end = p + name.size(); p < end;) {
      const auto [found, isNew] = nodes[at].next.try_emplace(nextCode(p), uint32_t(nodes.size()));
      at = found->second;
      if (isNew)
        nodes.emplace_back();
    }
    nodes[at].ends = true;
  }
};

class Compiler {
public:
  Compiler(const Json &root, Budget &budget, AutomatonBuilder &builder)
      : merger_(root), budget_(budget), builder_(builder) {
    space_ = builder_.add();
    escaped_ = builder_.add();
    plain_ = builder_.add();
    defineSpace();
    defineEscaped();
    definePlain();
  }

  /// The rule of the schema's values.
  uint32_t compile(const Json &root) {
    const uint32_t values = rule({root, ""});
    for (; !todo_.empty(); todo_.pop_front())
      define(todo_.front().first, todo_.front().second);
    return values;
  }
  /// Between tokens: nothing, a space, or a new line with an indent. Bounded, so that no answer is lost
  /// in it.
  Expr space() const { return optional(call(space_)); }

private:
  /// The rule of a schema's values, which is defined in time.
  uint32_t rule(const Located &schema) {
    const std::string text = schema.schema.dump();
    budget_.takeWork(text.size());
    const auto [at, isNew] = rules_.try_emplace(text, 0);
    if (isNew) {
      at->second = builder_.add();
      todo_.emplace_back(at->second, schema);
    }
    return at->second;
  }

  void defineSpace() {
    Nfa nfa(budget_);
    const uint32_t end = nfa.emit(
        nfa.add(),
        choice({literal(" "), sequence({literal("\n"), choice({repeat(literal(" "), 0, 40),
                                                               repeat(literal("\t"), 0, 20)})})}));
    builder_.define(space_, nfa, end);
  }
  /// Characters of strings that are more than a byte: UTF-8 and escapes.
  void defineEscaped() {
    const Expr hex = choice({bytes('0', '9'), bytes('a', 'f'), bytes('A', 'F')});
    const Expr d = choice({literal("d"), literal("D")}),
               notD = choice({bytes('0', '9'), bytes('a', 'c'), bytes('A', 'C'), bytes('e', 'f'),
                              bytes('E', 'F')});
    const Expr unit =
        choice({sequence({notD, hex, hex, hex}), sequence({d, bytes('0', '7'), hex, hex})});
    const Expr high =
        sequence({d, choice({bytes('8', '9'), bytes('a', 'b'), bytes('A', 'B')}), hex, hex});
    const Expr low = sequence({d, choice({bytes('c', 'f'), bytes('C', 'F')}), hex, hex});
    std::vector<Expr> shorts;
    for (char c : std::string_view("\"\\/bfnrt"))
      shorts.push_back(bytes(uint8_t(c), uint8_t(c)));
    Nfa nfa(budget_);
    const uint32_t end = nfa.emit(
        nfa.add(),
        choice(
            {utf8({{0x80, 0x10FFFF}}), sequence({literal("\\"), choice(std::move(shorts))}),
             sequence({literal("\\u"), choice({unit, sequence({high, literal("\\u"), low})})})}));
    builder_.define(escaped_, nfa, end);
  }
  /// Those of keys.
  void definePlain() {
    Nfa nfa(budget_);
    const uint32_t end =
        nfa.emit(nfa.add(),
                 spelled({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}, {0x80, 0x10FFFF}}, Spelling::Json));
    builder_.define(plain_, nfa, end);
  }
  Expr character() const {
    return choice({bytes(0x20, 0x21), bytes(0x23, 0x5B), bytes(0x5D, 0x7F), call(escaped_)});
  }
  static Expr quoted(Expr inside) {
    return sequence({literal("\""), std::move(inside), literal("\"")});
  }

  void define(uint32_t rule, const Located &given) {
    const Located flat = merger_.flatten(given);
    Nfa nfa(budget_);
    const uint32_t begin = nfa.add(), end = nfa.add();
    const Json &schema = flat.schema;
    if (schema.contains("anyOf") || schema.contains("oneOf"))
      nfa.empty(nfa.emit(begin, branches(flat)), end);
    else if (schema.contains("enum") || schema.contains("const"))
      nfa.empty(nfa.emit(begin, values(flat)), end);
    else
      for (const std::string &type : typesOf(schema, flat.where))
        nfa.empty(emitType(nfa, begin, type, flat), end);
    builder_.define(rule, nfa, end);
  }

  /// anyOf, or oneOf where no value can meet two of its branches.
  Expr branches(const Located &flat) {
    const bool one = flat.schema.contains("oneOf");
    const std::string where = below(flat.where, one ? "oneOf" : "anyOf");
    if (one && flat.schema.contains("anyOf"))
      refuse(where, "beside anyOf is not supported");
    const Json &list = flat.schema[one ? "oneOf" : "anyOf"];
    if (!list.is_array() || list.empty())
      refuse(where, "is not a list of schemas");
    Located beside = flat;
    beside.schema.erase(one ? "oneOf" : "anyOf");
    std::vector<Located> all;
    std::vector<Expr> choices;
    for (size_t i = 0; i < list.size(); ++i) {
      const Located branch = {list[i], below(where, std::to_string(i))};
      all.push_back(beside.schema.empty() ? branch
                                          : merger_.merge(beside, merger_.flatten(branch)));
      for (size_t j = 0; one && j < i; ++j)
        if (!merger_.apart(all[j], all[i]))
          refuse(where, "has branches " + std::to_string(j) + " and " + std::to_string(i) +
                            " that may both be met: let a required property with const tell them "
                            "apart, or use anyOf");
      choices.push_back(call(this->rule(all[i])));
    }
    return choice(std::move(choices));
  }

  /// enum and const: the values that meet both and the type.
  Expr values(const Located &flat) {
    const Json &schema = flat.schema;
    for (const auto &[name, value] : schema.items())
      if (name != "enum" && name != "const" && name != "type")
        refuse(below(flat.where, name), "beside enum or const is not supported");
    const Json list = schema.contains("enum") ? schema["enum"] : Json::array({schema["const"]});
    if (!list.is_array())
      refuse(below(flat.where, "enum"), "is not a list");
    const std::vector<std::string> types =
        schema.contains("type") ? typesOf(schema, flat.where) : typesOf(Json::object(), flat.where);
    std::vector<Expr> choices;
    for (const Json &value : list)
      if (isOfType(value, types) && (!schema.contains("const") || value == schema["const"]))
        choices.push_back(constant(value));
    return choice(std::move(choices));
  }
  Expr constant(const Json &value) {
    if (!value.is_structured())
      return literal(value.dump());
    std::vector<Expr> parts = {literal(value.is_array() ? "[" : "{"), space()};
    bool first = true;
    for (const auto &[name, inner] : value.items()) {
      if (!std::exchange(first, false))
        parts.insert(parts.end(), {space(), literal(","), space()});
      if (value.is_object())
        parts.insert(parts.end(), {literal(Json(name).dump()), space(), literal(":"), space()});
      parts.push_back(constant(inner));
    }
    parts.insert(parts.end(), {space(), literal(value.is_array() ? "]" : "}")});
    return sequence(std::move(parts));
  }

  /// Returns where the values of the type end.
  uint32_t emitType(Nfa &nfa, uint32_t begin, const std::string &type, const Located &flat) {
    if (type == "object")
      return emitObject(nfa, begin, flat);
    if (type == "array")
      return emitArray(nfa, begin, flat);
    return nfa.emit(begin, type == "null"      ? literal("null")
                           : type == "boolean" ? choice({literal("true"), literal("false")})
                           : type == "string"  ? string(flat)
                                               : number(flat, type == "integer"));
  }

  Expr number(const Located &flat, bool isInteger) {
    const auto bound = [&](const char *name, const char *exclusive) {
      std::optional<Bound> found;
      for (const char *keyword : {name, exclusive}) {
        if (!flat.schema.contains(keyword))
          continue;
        const Json &value = flat.schema[keyword];
        if (!value.is_number())
          refuse(below(flat.where, keyword), "is not a number");
        const Bound given = {value.is_number_unsigned()  ? (long double)value.get<uint64_t>()
                             : value.is_number_integer() ? (long double)value.get<int64_t>()
                                                         : (long double)value.get<double>(),
                             keyword == exclusive};
        if (found)
          refuse(below(flat.where, keyword), std::string("beside ") + name + " is not supported");
        found = given;
      }
      return found;
    };
    const auto low = bound("minimum", "exclusiveMinimum"),
               high = bound("maximum", "exclusiveMaximum");
    try {
      return isInteger ? integerBetween(low, high) : numberBetween(low, high);
    } catch (const Error &error) {
      refuse(flat.where, error.message);
    }
  }

  Expr string(const Located &flat) {
    const Json &schema = flat.schema;
    const bool counted = schema.contains("minLength") || schema.contains("maxLength");
    if (int(counted) + schema.contains("pattern") + schema.contains("format") > 1)
      refuse(flat.where, "has more than one of pattern, format, and minLength or maxLength: say it "
                         "all in the pattern");
    if (schema.contains("pattern"))
      return quoted(
          pattern(textOf(schema, "pattern", flat.where), below(flat.where, "pattern"), true));
    if (schema.contains("format")) {
      const std::string name = textOf(schema, "format", flat.where);
      std::string known;
      for (const Format &format : kFormats) {
        if (name == format.name)
          return quoted(pattern(format.pattern, flat.where, false));
        known += std::string(known.empty() ? "" : ", ") + format.name;
      }
      refuse(below(flat.where, "format"), "is not one of those supported: " + known);
    }
    const uint64_t least = countOf(schema, "minLength", 0, flat.where);
    const uint64_t most = countOf(schema, "maxLength", kMany, flat.where);
    if (most < least)
      return choice({});
    return quoted(repeat(character(), uint32_t(least), uint32_t(most)));
  }
  static Expr pattern(const std::string &text, const std::string &where, bool search) {
    try {
      return compilePattern(text, Spelling::Json, search);
    } catch (const Error &error) {
      refuse(where, "is no pattern that is supported: " + error.message);
    }
  }

  /// The beginning of a list of values, and its end.
  struct List {
    uint32_t open, end;
  };
  List emitList(Nfa &nfa, uint32_t begin, const char *opening) {
    const uint32_t open = nfa.emit(begin, sequence({literal(opening), space()}));
    return {open, nfa.add()};
  }
  void close(Nfa &nfa, uint32_t from, uint32_t end, const char *closing) {
    nfa.empty(nfa.emit(from, sequence({space(), literal(closing)})), end);
  }
  uint32_t comma(Nfa &nfa, uint32_t from) {
    return nfa.emit(from, sequence({space(), literal(","), space()}));
  }

  uint32_t emitArray(Nfa &nfa, uint32_t begin, const Located &flat) {
    const auto &[schema, where] = flat;
    const uint64_t least = countOf(schema, "minItems", 0, where);
    const uint64_t most = countOf(schema, "maxItems", kMany, where);
    const Json prefix = schema.value("prefixItems", Json::array());
    if (!prefix.is_array())
      refuse(below(where, "prefixItems"), "is not a list");
    const Located items = {schema.value("items", Json(true)), below(where, "items")};
    const uint64_t single = std::max<uint64_t>(least, prefix.size()); // items of their own states
    const List list = emitList(nfa, begin, "[");
    if (least == 0)
      nfa.empty(nfa.emit(list.open, literal("]")), list.end);
    uint32_t behind = list.open; // the item before
    for (uint64_t i = 0; i < most && (most != kMany || i <= single); ++i) {
      const Located item =
          i < prefix.size()
              ? Located{prefix[i], below(below(where, "prefixItems"), std::to_string(i))}
              : items;
      if (item.schema == false)
        break;
      const uint32_t entry = nfa.add();
      nfa.empty(i == 0 ? list.open : comma(nfa, behind), entry);
      behind = nfa.emit(entry, call(rule(item)));
      if (i + 1 >= least)
        close(nfa, behind, list.end, "]");
      if (most == kMany && i == single) // and so on
        nfa.empty(comma(nfa, behind), entry);
    }
    return list.end;
  }

  struct Property {
    std::string name;
    Located schema;
    bool required;
  };
  std::vector<Property> propertiesOf(const Located &flat) const {
    const auto &[schema, where] = flat;
    const Json named = schema.value("properties", Json::object()),
               required = schema.value("required", Json::array());
    if (!named.is_object())
      refuse(below(where, "properties"), "is not an object");
    if (!required.is_array() || std::any_of(required.begin(), required.end(),
                                            [](const Json &name) { return !name.is_string(); }))
      refuse(below(where, "required"), "is not a list of texts");
    std::vector<Property> result;
    for (const auto &[name, value] : named.items())
      result.push_back({name,
                        {value, below(below(where, "properties"), name)},
                        std::find(required.begin(), required.end(), Json(name)) != required.end()});
    for (const Json &name : required)
      if (std::none_of(result.begin(), result.end(), [&](const Property &p) {
            return p.name == name.get_ref<const std::string &>();
          }))
        result.push_back({name,
                          {schema.value("additionalProperties", Json(true)),
                           below(where, "additionalProperties")},
                          true});
    return result;
  }

  uint32_t emitObject(Nfa &nfa, uint32_t begin, const Located &flat) {
    const auto &[schema, where] = flat;
    const std::vector<Property> properties = propertiesOf(flat);
    const Located others = {
        schema.value("additionalProperties", Json(schema.value("properties", Json()).empty())),
        below(where, "additionalProperties")};
    const List list = emitList(nfa, begin, "{");
    const Expr colon = sequence({space(), literal(":"), space()});
    size_t lastRequired = 0; // behind it, or 0
    for (size_t i = 0; i < properties.size(); ++i)
      if (properties[i].required)
        lastRequired = i + 1;
    if (lastRequired == 0)
      nfa.empty(nfa.emit(list.open, literal("}")), list.end);
    // open: before the first that is there; before: after a comma.
    uint32_t open = list.open, before = nfa.add();
    for (size_t i = 0; i < properties.size(); ++i) {
      const auto &[name, value, required] = properties[i];
      const uint32_t key = nfa.add(), nextOpen = nfa.add(), nextBefore = nfa.add();
      nfa.empty(open, key);
      nfa.empty(before, key);
      if (!required) {
        nfa.empty(open, nextOpen);
        nfa.empty(before, nextBefore);
      }
      const uint32_t behind =
          nfa.emit(key, sequence({literal(Json(name).dump()), colon, call(rule(value))}));
      nfa.empty(comma(nfa, behind), nextBefore);
      if (i + 1 >= lastRequired)
        close(nfa, behind, list.end, "}");
      open = nextOpen, before = nextBefore;
    }
    if (others.schema != false) {
      const uint32_t key = nfa.add();
      nfa.empty(open, key);
      nfa.empty(before, key);
      const uint32_t behind =
          nfa.emit(emitOtherKey(nfa, key, properties), sequence({colon, call(rule(others))}));
      nfa.empty(comma(nfa, behind), key);
      close(nfa, behind, list.end, "}");
    }
    return list.end;
  }

  /// A key that is none of the properties' names. Keys are spelt as short as they can be, so that no other
  /// spelling is one of them either.
  uint32_t emitOtherKey(Nfa &nfa, uint32_t from, const std::vector<Property> &properties) {
    NameTrie names;
    for (const Property &property : properties)
      names.add(property.name);
    const uint32_t end = nfa.add(), free = nfa.add(); // free: what was read begins no name
    const Expr quote = literal("\""),
               any =
                   choice({bytes(0x20, 0x21), bytes(0x23, 0x5B), bytes(0x5D, 0x7F), call(plain_)});
    nfa.empty(nfa.emit(free, sequence({repeat(any, 0), quote})), end);
    std::vector<uint32_t> states = {nfa.emit(from, quote)};
    while (states.size() < names.nodes.size())
      states.push_back(nfa.add());
    for (size_t i = 0; i < states.size(); ++i) {
      CharSet taken;
      bool simple = true; // none of them is more than a byte
      for (const auto &[code, next] : names.nodes[i].next) {
        taken.emplace_back(code, code);
        simple &= code >= 0x20 && code < 0x80 && code != '"' && code != '\\';
        nfa.empty(nfa.emit(states[i], spelled(CharSet{{code, code}}, Spelling::Json)),
                  states[next]);
      }
      const CharSet rest = complement(normalised(std::move(taken)));
      const Expr others =
          simple ? choice({spelled(intersection(rest, {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x7F}}),
                                   Spelling::Json),
                           call(plain_)})
                 : spelled(rest, Spelling::Json);
      nfa.empty(nfa.emit(states[i], others), free);
      if (!names.nodes[i].ends)
        nfa.empty(nfa.emit(states[i], quote), end);
    }
    return end;
  }

  SchemaMerger merger_;
  Budget &budget_;
  AutomatonBuilder &builder_;
  uint32_t space_, escaped_, plain_;
  std::map<std::string, uint32_t> rules_; ///< by the schema
  std::deque<std::pair<uint32_t, Located>> todo_;
};

} // namespace

Automaton compileSchema(std::string_view text, Budget &budget, const ByteSet &alphabet) {
  checkJson(text, "the schema", "give a JSON Schema");
  const Json root = Json::parse(text.begin(), text.end());
  AutomatonBuilder builder(budget, alphabet);
  Compiler compiler(root, budget, builder);
  const uint32_t start = builder.add();
  Nfa nfa(budget);
  const uint32_t end =
      nfa.emit(nfa.add(), sequence({compiler.space(), call(compiler.compile(root))}));
  builder.define(start, nfa, end, true);
  return builder.finish(start);
}

uint32_t addSchema(const Json &root, Budget &budget, AutomatonBuilder &builder) {
  return Compiler(root, budget, builder).compile(root);
}

} // namespace retort::grammar
