//===- JinjaParser.h - The parser of chat templates --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The functions are those of jinja2/parser.py, in its order.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Tokenizer/JinjaLex.h"
#include "runtime/src/chat/Program.h"

#include <algorithm>
#include <map>

namespace retort::jinja {

using chat::kNone;
using chat::Op;

using Ids = std::vector<uint32_t>;
using Names = std::initializer_list<std::string_view>;

constexpr unsigned kMaxDepth = 100; // of the parser; the program's own limit is higher

class Parser {
public:
  explicit Parser(std::string_view source) : tokens_(lex(source)) {}

  chat::Program run() {
    statements({}); // the root is the node that is made last
    return std::move(p_);
  }

private:
  //===--- Tokens -----------------------------------------------------------===//

  const Token &now() const { return tokens_[at_]; }
  const Token &look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return tokens_[now().kind == Token::End ? at_ : at_++]; }
  bool isOp(std::string_view op) const { return now().kind == Token::Operator && now().text == op; }
  bool isName(std::string_view name) const {
    return now().kind == Token::Name && now().text == name;
  }
  bool isOneOf(Names names) const {
    return std::any_of(names.begin(), names.end(), [&](auto name) { return isName(name); });
  }
  bool skipOp(std::string_view op) { return isOp(op) && (++at_, true); }
  bool skipName(std::string_view name) { return isName(name) && (++at_, true); }
  [[noreturn]] void bad(const std::string &what) const { failAt(now().line, what); }
  [[noreturn]] void unknown(uint32_t line, const std::string &what) const {
    failAt(line, what + " is not known to Retort");
  }
  std::string shown() const {
    switch (now().kind) {
    case Token::End:
      return "the end of the template";
    case Token::BlockEnd:
      return "the end of a statement";
    case Token::OutputEnd:
      return "the end of an expression";
    default:
      return "'" + now().text.substr(0, 40) + "'";
    }
  }
  void expectOp(std::string_view op) {
    if (!skipOp(op))
      bad("expected '" + std::string(op) + "', got " + shown());
  }
  void expect(Token::Kind kind, const char *what) {
    if (now().kind != kind)
      bad("expected " + std::string(what) + ", got " + shown());
    ++at_;
  }
  std::string expectName() {
    if (now().kind != Token::Name)
      bad("expected a name, got " + shown());
    return take().text;
  }

  //===--- Nodes ------------------------------------------------------------===//

  uint32_t text(const std::string &value) {
    auto [it, fresh] = texts_.try_emplace(value, uint32_t(p_.texts.size()));
    if (fresh)
      p_.texts.push_back(value);
    return it->second;
  }
  uint32_t add(Op op, uint32_t line, const Ids &parts = {}, uint32_t a = 0, uint32_t b = 0) {
    uint32_t depth = 0;
    for (uint32_t part : parts)
      if (part != kNone)
        depth = std::max(depth, depth_[part] + 1);
    if (depth >= chat::kMaxProgramDepth)
      failAt(line, "expressions nested deeper than " + std::to_string(chat::kMaxProgramDepth) +
                       " are not known to Retort");
    if (p_.nodes.size() + parts.size() >= chat::kMaxProgramSize / 2)
      failAt(line, "a template of this size is not known to Retort");
    depth_.push_back(depth);
    p_.nodes.push_back({op, line, a, b, uint32_t(p_.parts.size()), uint32_t(parts.size())});
    p_.parts.insert(p_.parts.end(), parts.begin(), parts.end());
    return uint32_t(p_.nodes.size() - 1);
  }
  uint32_t named(Op op, uint32_t line, const std::string &name, const Ids &parts = {}) {
    return add(op, line, parts, text(name));
  }

  /// Counts how deep the parser is; templates are untrusted.
  class Deeper {
  public:
    explicit Deeper(Parser &parser) : depth_(parser.deep_) {
      if (++depth_ > kMaxDepth)
        parser.unknown(parser.now().line, "a nesting of more than " + std::to_string(kMaxDepth));
    }
    ~Deeper() { --depth_; }

  private:
    unsigned &depth_;
  };

  //===--- Statements -------------------------------------------------------===//

  /// Up to a block that begins with one of `ends`, whose name is the next token then.
  uint32_t statements(Names ends);
  uint32_t bodyUntil(Names ends);
  /// A body whose end is passed over. `apart`: it cannot break a loop around it.
  uint32_t wholeBody(std::string_view end, bool apart = false);
  void statement(Ids &body);
  uint32_t forLoop(uint32_t line);
  uint32_t ifElse(uint32_t line);
  uint32_t set(uint32_t line);
  uint32_t with(uint32_t line);
  Ids parameters();

  /// A macro of these parameters; which of the special names its body reads decides what it takes.
  uint32_t macroNode(uint32_t line, const std::string &name, Ids parts, std::string_view end);
  uint32_t macro(uint32_t line);
  uint32_t callBlock(uint32_t line);

  //===--- Targets ----------------------------------------------------------===//

  std::string assignable(std::string name, uint32_t line) const;
  uint32_t target(bool spaces, Names ends = {});
  uint32_t oneTarget(bool spaces);

  //===--- Expressions ------------------------------------------------------===//

  bool tupleEnds(Names ends) const;
  uint32_t tuple(bool choices, Names ends = {}, bool parentheses = false);
  uint32_t expression();
  uint32_t orExpr();
  uint32_t andExpr();
  uint32_t notExpr();
  uint32_t comparison();
  uint32_t sum();
  uint32_t concat();
  uint32_t product();
  uint32_t power();
  uint32_t unary(bool withFilters);
  uint32_t primary();
  /// What stands between brackets; of a dictionary, keys and values in turn.
  Ids listed(std::string_view close, bool pairs);
  uint32_t postfix(uint32_t value);
  uint32_t filterExpr(uint32_t value);
  uint32_t subscript(uint32_t value);
  void arguments(Ids &parts);
  uint32_t call(uint32_t callee);
  uint32_t filters(uint32_t value, bool inlineStart = false);
  uint32_t test(uint32_t value);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  chat::Program p_;
  std::map<std::string, uint32_t> texts_;
  std::vector<uint32_t> depth_; ///< of each node
  unsigned deep_ = 0, loops_ = 0;
};

} // namespace retort::jinja
