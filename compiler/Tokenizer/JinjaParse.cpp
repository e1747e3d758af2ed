//===- JinjaParse.cpp - From a chat template to its program ---------------===//
// SPDX-License-Identifier: Apache-2.0
//
// The functions are those of jinja2/parser.py, in its order.
//
//===----------------------------------------------------------------------===//
#include "compiler/Tokenizer/JinjaParse.h"
#include "compiler/Tokenizer/JinjaLex.h"

#include <algorithm>
#include <bit>
#include <map>

namespace retort::jinja {
namespace {
using chat::kNone;
using chat::Op;

using Ids = std::vector<uint32_t>;
using Names = std::initializer_list<std::string_view>;

constexpr unsigned kMaxDepth = 100; // of the parser; the program's own limit is higher

class Parser {
public:
  explicit Parser(std::string_view source) : tokens_(lex(source)) {}

  chat::Program run() {
    const uint32_t whole = statements({});
    if (whole + 1 != p_.nodes.size())
      failAt(1, "the template is broken"); // the whole is made last
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
  uint32_t statements(Names ends) {
    Deeper deeper(*this);
    const uint32_t line = now().line;
    Ids body;
    while (true) {
      const Token &token = now();
      if (token.kind == Token::Data) {
        body.push_back(named(Op::Write, token.line, token.text));
        ++at_;
      } else if (token.kind == Token::OutputBegin) {
        ++at_;
        const uint32_t value = tuple(true);
        body.push_back(add(Op::Output, token.line, {value}));
        expect(Token::OutputEnd, "the end of the expression");
      } else if (token.kind == Token::BlockBegin) {
        ++at_;
        if (isOneOf(ends))
          break;
        statement(body);
        expect(Token::BlockEnd, "the end of the statement");
      } else if (token.kind == Token::End) {
        if (ends.size() > 0)
          bad("the template ends before '" + std::string(*ends.begin()) + "'");
        break;
      } else
        bad("unexpected " + shown());
    }
    return add(Op::Block, line, body);
  }
  uint32_t bodyUntil(Names ends) {
    skipOp(":");
    expect(Token::BlockEnd, "the end of the statement");
    return statements(ends);
  }
  /// A body whose end is passed over. `apart`: it cannot break a loop around it.
  uint32_t wholeBody(std::string_view end, bool apart = false) {
    const unsigned loops = loops_;
    if (apart)
      loops_ = 0;
    const uint32_t body = bodyUntil({end});
    loops_ = loops;
    ++at_;
    return body;
  }

  void statement(Ids &body) {
    const uint32_t line = now().line;
    const std::string name = expectName();
    if (name == "for")
      body.push_back(forLoop(line));
    else if (name == "if")
      body.push_back(ifElse(line));
    else if (name == "set")
      body.push_back(set(line));
    else if (name == "macro")
      body.push_back(macro(line));
    else if (name == "call")
      body.push_back(callBlock(line));
    else if (name == "filter") {
      const uint32_t input = filters(add(Op::Captured, line), true);
      body.push_back(add(Op::FilterBlock, line, {wholeBody("endfilter"), input}));
    } else if (name == "with")
      body.push_back(with(line));
    else if (name == "generation")
      body.push_back(add(Op::Scope, line, {wholeBody("endgeneration", true)}));
    else if (name == "break" || name == "continue") {
      if (loops_ == 0)
        failAt(line, "'" + name + "' outside of a loop");
      body.push_back(add(name == "break" ? Op::Break : Op::Continue, line));
    } else if (name == "print") {
      do
        body.push_back(add(Op::Output, line, {expression()}));
      while (skipOp(","));
    } else
      unknown(line, "{% " + name.substr(0, 40) + " %}");
  }

  uint32_t forLoop(uint32_t line) {
    const uint32_t over = target(false, {"in"});
    if (!skipName("in"))
      bad("expected 'in', got " + shown());
    const uint32_t list = tuple(false, {"recursive"});
    const uint32_t test = skipName("if") ? expression() : kNone;
    const uint32_t recursive = skipName("recursive");
    ++loops_;
    const uint32_t body = bodyUntil({"endfor", "else"});
    --loops_;
    const uint32_t otherwise = take().text == "else" ? wholeBody("endfor", true) : kNone;
    return add(Op::For, line, {over, list, test, body, otherwise}, recursive);
  }

  uint32_t ifElse(uint32_t line) {
    Ids parts;
    while (true) {
      parts.push_back(tuple(false));
      parts.push_back(bodyUntil({"elif", "else", "endif"}));
      const std::string next = take().text;
      if (next == "elif")
        continue;
      if (next == "else")
        parts.push_back(wholeBody("endif"));
      return add(Op::If, line, parts);
    }
  }

  uint32_t set(uint32_t line) {
    const uint32_t to = target(true);
    if (skipOp("="))
      return add(Op::Set, line, {to, tuple(true)});
    const uint32_t value = filters(add(Op::Captured, line));
    return add(Op::SetBlock, line, {to, wholeBody("endset"), value});
  }

  uint32_t with(uint32_t line) {
    Ids parts;
    while (now().kind != Token::BlockEnd) {
      if (!parts.empty())
        expectOp(",");
      parts.push_back(target(false));
      expectOp("=");
      parts.push_back(expression());
    }
    parts.push_back(wholeBody("endwith"));
    return add(Op::With, line, parts);
  }

  Ids parameters() {
    Ids made;
    bool defaults = false;
    expectOp("(");
    while (!isOp(")")) {
      if (!made.empty())
        expectOp(",");
      const uint32_t line = now().line;
      const std::string name = assignable(expectName(), line);
      const uint32_t missing = skipOp("=") ? expression() : kNone;
      if (missing == kNone && defaults)
        bad("non-default argument follows default argument");
      defaults |= missing != kNone;
      made.push_back(named(Op::Parameter, line, name, {missing}));
    }
    expectOp(")");
    return made;
  }

  /// A macro of these parameters; which of the special names its body reads decides what it takes.
  uint32_t macroNode(uint32_t line, const std::string &name, Ids parts, std::string_view end) {
    const size_t before = p_.nodes.size();
    const size_t count = parts.size();
    parts.push_back(wholeBody(end, true));
    uint32_t takes = 0;
    for (auto [special, bit] :
         {std::pair("varargs", 1u), std::pair("kwargs", 2u), std::pair("caller", 4u)}) {
      auto it = texts_.find(special);
      bool own = false, read = false;
      for (size_t i = 0; i < count; ++i)
        own |= it != texts_.end() && p_.nodes[parts[i]].a == it->second;
      for (size_t i = before; i < p_.nodes.size(); ++i)
        read |= it != texts_.end() && p_.nodes[i].op == Op::Name && p_.nodes[i].a == it->second;
      takes |= read && !own ? bit : 0;
    }
    return add(Op::Macro, line, parts, text(name), takes);
  }
  uint32_t macro(uint32_t line) {
    const std::string name = assignable(expectName(), line);
    return macroNode(line, name, parameters(), "endmacro");
  }
  uint32_t callBlock(uint32_t line) {
    const Ids params = isOp("(") ? parameters() : Ids();
    const uint32_t call = expression();
    if (p_.nodes[call].op != Op::Call)
      failAt(line, "expected call");
    return add(Op::CallBlock, line, {call, macroNode(line, "caller", params, "endcall")});
  }

  //===--- Targets ----------------------------------------------------------===//

  std::string assignable(std::string name, uint32_t line) const {
    for (std::string_view constant : {"true", "false", "none", "True", "False", "None"})
      if (name == constant)
        failAt(line, "can't assign to '" + name + "'");
    return name;
  }

  uint32_t target(bool spaces, Names ends = {}) {
    Deeper deeper(*this);
    const uint32_t line = now().line;
    Ids parts;
    bool isTuple = false;
    do {
      if (isTuple && (isOneOf(ends) || now().kind == Token::BlockEnd || isOp(")") || isOp("=")))
        break;
      parts.push_back(oneTarget(spaces));
    } while (isOp(",") && (isTuple = true, skipOp(",")));
    return isTuple ? add(Op::Tuple, line, parts) : parts[0];
  }
  uint32_t oneTarget(bool spaces) {
    const uint32_t line = now().line;
    if (skipOp("(")) {
      const uint32_t inner = target(spaces);
      expectOp(")");
      return inner;
    }
    const std::string name = assignable(expectName(), line);
    if (spaces && skipOp("."))
      return add(Op::SpaceAttribute, line, {}, text(name), text(expectName()));
    return named(Op::Name, line, name);
  }

  //===--- Expressions ------------------------------------------------------===//

  bool tupleEnds(Names ends) const {
    return now().kind == Token::OutputEnd || now().kind == Token::BlockEnd || isOp(")") ||
           isOneOf(ends);
  }
  uint32_t tuple(bool choices, Names ends = {}, bool parentheses = false) {
    const uint32_t line = now().line;
    Ids parts;
    bool isTuple = false;
    while (true) {
      if (!parts.empty())
        expectOp(",");
      if (tupleEnds(ends))
        break;
      parts.push_back(choices ? expression() : orExpr());
      if (!isOp(","))
        break;
      isTuple = true;
    }
    if (!isTuple && !parts.empty())
      return parts[0];
    if (!isTuple && !parentheses)
      bad("Expected an expression, got " + shown());
    return add(Op::Tuple, line, parts);
  }

  uint32_t expression() {
    Deeper deeper(*this);
    uint32_t line = now().line, value = orExpr();
    while (skipName("if")) {
      const uint32_t test = orExpr();
      const uint32_t otherwise = skipName("else") ? expression() : kNone;
      value = add(Op::Choose, line, {test, value, otherwise});
      line = now().line;
    }
    return value;
  }
  uint32_t orExpr() {
    const uint32_t line = now().line;
    uint32_t left = andExpr();
    while (skipName("or")) {
      const uint32_t right = andExpr();
      left = add(Op::Or, line, {left, right});
    }
    return left;
  }
  uint32_t andExpr() {
    const uint32_t line = now().line;
    uint32_t left = notExpr();
    while (skipName("and")) {
      const uint32_t right = notExpr();
      left = add(Op::And, line, {left, right});
    }
    return left;
  }
  uint32_t notExpr() {
    Deeper deeper(*this);
    const uint32_t line = now().line;
    if (skipName("not"))
      return add(Op::Not, line, {notExpr()});
    return comparison();
  }
  uint32_t comparison() {
    static constexpr std::pair<std::string_view, Op> ops[] = {
        {"==", Op::Equal},     {"!=", Op::NotEqual}, {"<", Op::Less},
        {"<=", Op::LessEqual}, {">", Op::Greater},   {">=", Op::GreaterEqual}};
    const uint32_t line = now().line;
    Ids parts{sum()};
    while (true) {
      const uint32_t here = now().line;
      Op op = Op::Count;
      for (auto [sign, own] : ops)
        if (isOp(sign))
          op = own;
      if (op != Op::Count)
        ++at_;
      else if (skipName("in"))
        op = Op::In;
      else if (isName("not") && look().kind == Token::Name && look().text == "in") {
        at_ += 2;
        op = Op::NotIn;
      } else
        break;
      parts.push_back(add(op, here, {sum()}));
    }
    return parts.size() == 1 ? parts[0] : add(Op::Compare, line, parts);
  }
  uint32_t sum() {
    const uint32_t line = now().line;
    uint32_t left = concat();
    while (isOp("+") || isOp("-")) {
      const Op op = take().text == "+" ? Op::Add : Op::Subtract;
      const uint32_t right = concat();
      left = add(op, line, {left, right});
    }
    return left;
  }
  uint32_t concat() {
    const uint32_t line = now().line;
    Ids parts{product()};
    while (skipOp("~"))
      parts.push_back(product());
    return parts.size() == 1 ? parts[0] : add(Op::Concat, line, parts);
  }
  uint32_t product() {
    static constexpr std::pair<std::string_view, Op> ops[] = {
        {"*", Op::Multiply}, {"/", Op::Divide}, {"//", Op::FloorDivide}, {"%", Op::Remainder}};
    const uint32_t line = now().line;
    uint32_t left = power();
    while (true) {
      Op op = Op::Count;
      for (auto [sign, own] : ops)
        if (isOp(sign))
          op = own;
      if (op == Op::Count)
        return left;
      ++at_;
      const uint32_t right = power();
      left = add(op, line, {left, right});
    }
  }
  uint32_t power() {
    const uint32_t line = now().line;
    uint32_t left = unary(true);
    while (skipOp("**")) {
      const uint32_t right = unary(true);
      left = add(Op::Power, line, {left, right});
    }
    return left;
  }
  uint32_t unary(bool withFilters) {
    Deeper deeper(*this);
    const uint32_t line = now().line;
    uint32_t value;
    if (skipOp("-"))
      value = add(Op::Negate, line, {unary(false)});
    else if (skipOp("+"))
      value = add(Op::Plus, line, {unary(false)});
    else
      value = primary();
    value = postfix(value);
    return withFilters ? filterExpr(value) : value;
  }

  uint32_t primary() {
    const Token token = take();
    switch (token.kind) {
    case Token::Name: {
      static constexpr std::pair<std::string_view, Op> constants[] = {
          {"true", Op::True},   {"True", Op::True}, {"false", Op::False},
          {"False", Op::False}, {"none", Op::None}, {"None", Op::None}};
      for (auto [name, op] : constants)
        if (token.text == name)
          return add(op, token.line);
      return named(Op::Name, token.line, token.text);
    }
    case Token::String: {
      std::string value = token.text;
      while (now().kind == Token::String)
        value += take().text;
      return named(Op::String, token.line, value);
    }
    case Token::Int:
      return add(Op::Int, token.line, {}, uint32_t(uint64_t(token.number)),
                 uint32_t(uint64_t(token.number) >> 32));
    case Token::Float: {
      const uint64_t bits = std::bit_cast<uint64_t>(token.real);
      return add(Op::Float, token.line, {}, uint32_t(bits), uint32_t(bits >> 32));
    }
    case Token::Operator:
      if (token.text == "(") {
        const uint32_t inner = tuple(true, {}, true);
        expectOp(")");
        return inner;
      }
      if (token.text == "[")
        return add(Op::List, token.line, listed("]", false));
      if (token.text == "{")
        return add(Op::Dict, token.line, listed("}", true));
      [[fallthrough]];
    default:
      --at_;
      bad("unexpected " + shown());
    }
  }
  /// What stands between brackets; of a dictionary, keys and values in turn.
  Ids listed(std::string_view close, bool pairs) {
    Ids parts;
    while (!isOp(close)) {
      if (!parts.empty())
        expectOp(",");
      if (isOp(close))
        break;
      parts.push_back(expression());
      if (pairs) {
        expectOp(":");
        parts.push_back(expression());
      }
    }
    expectOp(close);
    return parts;
  }

  uint32_t postfix(uint32_t value) {
    while (true) {
      if (isOp(".") || isOp("["))
        value = subscript(value);
      else if (isOp("("))
        value = call(value);
      else
        return value;
    }
  }
  uint32_t filterExpr(uint32_t value) {
    while (true) {
      if (isOp("|"))
        value = filters(value);
      else if (isName("is"))
        value = test(value);
      else if (isOp("("))
        value = call(value);
      else
        return value;
    }
  }
  uint32_t subscript(uint32_t value) {
    const uint32_t line = now().line;
    if (skipOp(".")) {
      const Token token = take();
      if (token.kind == Token::Name)
        return named(Op::Attribute, line, token.text, {value});
      if (token.kind != Token::Int)
        failAt(token.line, "expected name or number");
      return add(Op::Item, line, {value, add(Op::Int, line, {}, uint32_t(token.number), 0)});
    }
    expectOp("[");
    Ids bounds;
    bool isSlice = false;
    for (; !isOp("]");) {
      if (isOp(","))
        unknown(line, "more than one index");
      if (skipOp(":")) {
        isSlice = true;
        bounds.resize(std::max<size_t>(bounds.size(), 1), kNone);
        bounds.push_back(kNone);
        if (bounds.size() > 3)
          bad("unexpected ':'");
      } else {
        if (!bounds.empty() && bounds.back() != kNone)
          bad("expected ']', got " + shown());
        const uint32_t bound = expression();
        bounds.empty() ? bounds.push_back(bound) : void(bounds.back() = bound);
      }
    }
    expectOp("]");
    if (isSlice) {
      bounds.insert(bounds.begin(), value);
      bounds.resize(4, kNone);
      return add(Op::Slice, line, bounds);
    }
    if (bounds.empty())
      failAt(line, "expected an index");
    return add(Op::Item, line, {value, bounds[0]});
  }

  void arguments(Ids &parts) {
    expectOp("(");
    bool first = true, keywords = false;
    while (!isOp(")")) {
      if (!first) {
        expectOp(",");
        if (isOp(")"))
          break;
      }
      first = false;
      const uint32_t line = now().line;
      if (isOp("*") || isOp("**")) {
        const bool isDict = take().text == "**";
        parts.push_back(add(Op::Spread, line, {expression()}, isDict));
        keywords |= isDict;
      } else if (now().kind == Token::Name && look().kind == Token::Operator &&
                 look().text == "=") {
        const std::string name = take().text;
        ++at_;
        parts.push_back(named(Op::Keyword, line, name, {expression()}));
        keywords = true;
      } else {
        if (keywords)
          bad("invalid syntax for function call expression");
        parts.push_back(expression());
      }
    }
    expectOp(")");
  }
  uint32_t call(uint32_t callee) {
    const uint32_t line = now().line;
    Ids parts{callee};
    arguments(parts);
    return add(Op::Call, line, parts);
  }
  uint32_t filters(uint32_t value, bool inlineStart = false) {
    while (inlineStart || skipOp("|")) {
      inlineStart = false;
      const uint32_t line = now().line;
      const std::string name = expectName();
      Ids parts{value};
      if (isOp("("))
        arguments(parts);
      value = named(Op::Filter, line, name, parts);
    }
    return value;
  }
  uint32_t test(uint32_t value) {
    const uint32_t line = now().line;
    ++at_;
    const bool negated = skipName("not");
    const std::string name = expectName();
    Ids parts{value};
    const bool begins = now().kind == Token::Name || now().kind == Token::String ||
                        now().kind == Token::Int || now().kind == Token::Float || isOp("[") ||
                        isOp("{");
    if (isOp("("))
      arguments(parts);
    else if (begins && !isOneOf({"else", "or", "and"})) {
      if (isName("is"))
        bad("You cannot chain multiple tests with is");
      parts.push_back(postfix(primary()));
    }
    const uint32_t made = named(Op::Test, line, name, parts);
    return negated ? add(Op::Not, line, {made}) : made;
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  chat::Program p_;
  std::map<std::string, uint32_t> texts_;
  std::vector<uint32_t> depth_; ///< of each node
  unsigned deep_ = 0, loops_ = 0;
};

} // namespace

chat::Program compile(std::string_view source) { return Parser(source).run(); }

} // namespace retort::jinja
