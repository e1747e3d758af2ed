//===- JinjaExpressions.cpp - Expressions of chat templates ----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/JinjaParser.h"

#include <bit>

namespace retort::jinja {

std::string Parser::assignable(std::string name, uint32_t line) const {
  for (std::string_view constant : {"true", "false", "none", "True", "False", "None"})
    if (name == constant)
      failAt(line, "can't assign to '" + name + "'");
  return name;
}

uint32_t Parser::target(bool spaces, Names ends) {
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

uint32_t Parser::oneTarget(bool spaces) {
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

bool Parser::tupleEnds(Names ends) const {
  return now().kind == Token::OutputEnd || now().kind == Token::BlockEnd || isOp(")") ||
         isOneOf(ends);
}

uint32_t Parser::tuple(bool choices, Names ends, bool parentheses) {
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

uint32_t Parser::expression() {
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

uint32_t Parser::orExpr() {
  const uint32_t line = now().line;
  uint32_t left = andExpr();
  while (skipName("or")) {
    const uint32_t right = andExpr();
    left = add(Op::Or, line, {left, right});
  }
  return left;
}

uint32_t Parser::andExpr() {
  const uint32_t line = now().line;
  uint32_t left = notExpr();
  while (skipName("and")) {
    const uint32_t right = notExpr();
    left = add(Op::And, line, {left, right});
  }
  return left;
}

uint32_t Parser::notExpr() {
  Deeper deeper(*this);
  const uint32_t line = now().line;
  if (skipName("not"))
    return add(Op::Not, line, {notExpr()});
  return comparison();
}

uint32_t Parser::comparison() {
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

uint32_t Parser::sum() {
  const uint32_t line = now().line;
  uint32_t left = concat();
  while (isOp("+") || isOp("-")) {
    const Op op = take().text == "+" ? Op::Add : Op::Subtract;
    const uint32_t right = concat();
    left = add(op, line, {left, right});
  }
  return left;
}

uint32_t Parser::concat() {
  const uint32_t line = now().line;
  Ids parts{product()};
  while (skipOp("~"))
    parts.push_back(product());
  return parts.size() == 1 ? parts[0] : add(Op::Concat, line, parts);
}

uint32_t Parser::product() {
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

uint32_t Parser::power() {
  const uint32_t line = now().line;
  uint32_t left = unary(true);
  while (skipOp("**")) {
    const uint32_t right = unary(true);
    left = add(Op::Power, line, {left, right});
  }
  return left;
}

uint32_t Parser::unary(bool withFilters) {
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

uint32_t Parser::primary() {
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

Ids Parser::listed(std::string_view close, bool pairs) {
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

uint32_t Parser::postfix(uint32_t value) {
  while (true) {
    if (isOp(".") || isOp("["))
      value = subscript(value);
    else if (isOp("("))
      value = call(value);
    else
      return value;
  }
}

uint32_t Parser::filterExpr(uint32_t value) {
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

uint32_t Parser::subscript(uint32_t value) {
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

void Parser::arguments(Ids &parts) {
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
    } else if (now().kind == Token::Name && look().kind == Token::Operator && look().text == "=") {
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

uint32_t Parser::call(uint32_t callee) {
  const uint32_t line = now().line;
  Ids parts{callee};
  arguments(parts);
  return add(Op::Call, line, parts);
}

uint32_t Parser::filters(uint32_t value, bool inlineStart) {
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

uint32_t Parser::test(uint32_t value) {
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

} // namespace retort::jinja
