//===- Structure.cpp - Grammars put together ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/grammar/Structure.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/src/grammar/Pattern.h"
#include "runtime/src/grammar/Schema.h"

namespace retort::grammar {
namespace {

class StructureCompiler {
public:
  StructureCompiler(Budget &budget, const Vocabulary &vocabulary)
      : budget_(budget), vocabulary_(vocabulary), builder_(budget, vocabulary.alphabet()) {}

  Automaton compile(const Json &root) {
    const uint32_t start = builder_.add();
    Nfa nfa(budget_);
    const uint32_t end = emit(nfa, nfa.add(), root, "");
    builder_.define(start, nfa, end, true);
    return builder_.finish(start);
  }

private:
  /// Returns where the part's texts end.
  uint32_t emit(Nfa &nfa, uint32_t from, const Json &part, const std::string &where) {
    if (part.is_string())
      return nfa.emit(from, literal(part.get_ref<const std::string &>()));
    if (part.is_array()) {
      for (size_t i = 0; i < part.size(); ++i)
        from = emit(nfa, from, part[i], below(where, std::to_string(i)));
      return from;
    }
    if (!part.is_object() || part.empty())
      refuse(where, "is not a part of a structure");
    const std::string kind = part.begin().key();
    const Json &value = part.begin().value();
    const std::string inside = below(where, kind);
    const bool searches = kind == "until" || kind == "unless";
    if (part.size() != (searches ? 2 : 1) || (searches && !part.contains("then")))
      refuse(where, "has not the keys of one part");
    if (searches)
      return emitSearch(nfa, from, markOf(value, inside), kind == "unless", part["then"],
                        below(where, "then"));
    if (kind == "token")
      return nfa.emit(from, literal(markOf(part, where)));
    if (kind == "regex")
      return nfa.emit(from, patternOf(value, inside));
    if (kind == "schema")
      return nfa.emit(from, call(schemaOf(value, inside)));
    if (kind == "any")
      return emitAny(nfa, from, value, inside);
    if (kind == "repeat")
      return emitRepeat(nfa, from, value, inside);
    refuse(where, "has the key " + Json(kind).dump() + ", which no part has");
  }

  /// A text, or the bytes of a special token.
  std::string markOf(const Json &mark, const std::string &where) const {
    if (mark.is_string() && !mark.get_ref<const std::string &>().empty())
      return mark;
    if (!mark.is_object() || mark.size() != 1 || !mark.contains("token") ||
        !mark["token"].is_string())
      refuse(where, "is neither a text nor a token");
    const std::string_view bytes = vocabulary_.special(mark["token"]);
    if (bytes.empty())
      refuse(where, "names no special token that an answer may hold");
    return std::string(bytes);
  }

  static Expr patternOf(const Json &pattern, const std::string &where) {
    if (!pattern.is_string())
      refuse(where, "is not a text");
    try {
      return compilePattern(pattern.get_ref<const std::string &>(), Spelling::Plain);
    } catch (const Error &error) {
      refuse(where, error.message);
    }
  }

  uint32_t schemaOf(const Json &schema, const std::string &where) {
    try {
      return addSchema(schema, budget_, builder_);
    } catch (const Error &error) {
      if (error.code != ExitCode::Usage || !error.message.starts_with('/'))
        throw;
      throw Error{error.code, where + error.message};
    }
  }

  uint32_t emitAny(Nfa &nfa, uint32_t from, const Json &parts, const std::string &where) {
    if (!parts.is_array() || parts.empty())
      refuse(where, "is not a list of parts");
    const uint32_t end = nfa.add();
    for (size_t i = 0; i < parts.size(); ++i) {
      const uint32_t begin = nfa.add(); // no branch comes back to another's
      nfa.empty(from, begin);
      nfa.empty(emit(nfa, begin, parts[i], below(where, std::to_string(i))), end);
    }
    return end;
  }

  uint32_t emitRepeat(Nfa &nfa, uint32_t from, const Json &part, const std::string &where) {
    const uint32_t loop = nfa.add(), begin = nfa.add();
    nfa.empty(from, loop);
    nfa.empty(loop, begin);
    nfa.empty(emit(nfa, begin, part, where), loop);
    return loop;
  }

  /// Text that goes on freely until it holds the mark, or unless it begins with it. One state for each
  /// byte of the mark that was read, as Knuth, Morris and Pratt have it.
  uint32_t emitSearch(Nfa &nfa, uint32_t from, const std::string &mark, bool beginning,
                      const Json &then, const std::string &where) {
    const uint32_t end = nfa.add(), found = nfa.add(), free = nfa.add();
    std::vector<uint32_t> states;
    for (size_t i = 0; i < mark.size(); ++i) {
      states.push_back(nfa.add());
      nfa.empty(states[i], end);
    }
    nfa.empty(from, states[0]);
    nfa.empty(free, end);
    nfa.empty(emit(nfa, found, then, where), end);
    addEdges(nfa, free, [&](uint8_t) { return free; });
    for (size_t i = 0; i < mark.size(); ++i)
      addEdges(nfa, states[i], [&](uint8_t byte) {
        if (byte == uint8_t(mark[i]))
          return i + 1 == mark.size() ? found : states[i + 1];
        return beginning ? free : states[matched(mark, i, char(byte))];
      });
    return end;
  }
  /// How much of the mark a text ends with that ended with `count` bytes of it before `byte`.
  static size_t matched(const std::string &mark, size_t count, char byte) {
    const std::string text = mark.substr(0, count) + byte;
    size_t length = count;
    while (length > 0 && !std::string_view(text).ends_with(mark.substr(0, length)))
      --length;
    return length;
  }
  template <class Target> static void addEdges(Nfa &nfa, uint32_t state, Target target) {
    for (int low = 0, high; low < 256; low = high + 1) {
      const uint32_t to = target(uint8_t(low));
      for (high = low; high < 255 && target(uint8_t(high + 1)) == to;)
        ++high;
      nfa.states[state].edges.push_back({uint8_t(low), uint8_t(high), to});
    }
  }

  Budget &budget_;
  const Vocabulary &vocabulary_;
  AutomatonBuilder builder_;
};

} // namespace

Automaton compileStructure(std::string_view text, Budget &budget, const Vocabulary &vocabulary) {
  checkJson(text, "the structure", "give a JSON document");
  return StructureCompiler(budget, vocabulary).compile(Json::parse(text.begin(), text.end()));
}

} // namespace retort::grammar
