//===- JinjaParse.cpp - From a chat template to its program ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/JinjaParse.h"
#include "compiler/Tokenizer/JinjaParser.h"

namespace retort::jinja {

uint32_t Parser::statements(Names ends) {
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

uint32_t Parser::bodyUntil(Names ends) {
  skipOp(":");
  expect(Token::BlockEnd, "the end of the statement");
  return statements(ends);
}

uint32_t Parser::wholeBody(std::string_view end, bool apart) {
  const unsigned loops = loops_;
  if (apart)
    loops_ = 0;
  const uint32_t body = bodyUntil({end});
  loops_ = loops;
  ++at_;
  return body;
}

void Parser::statement(Ids &body) {
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

uint32_t Parser::forLoop(uint32_t line) {
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

uint32_t Parser::ifElse(uint32_t line) {
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

uint32_t Parser::set(uint32_t line) {
  const uint32_t to = target(true);
  if (skipOp("="))
    return add(Op::Set, line, {to, tuple(true)});
  const uint32_t value = filters(add(Op::Captured, line));
  return add(Op::SetBlock, line, {to, wholeBody("endset"), value});
}

uint32_t Parser::with(uint32_t line) {
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

Ids Parser::parameters() {
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

uint32_t Parser::macroNode(uint32_t line, const std::string &name, Ids parts,
                           std::string_view end) {
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

uint32_t Parser::macro(uint32_t line) {
  const std::string name = assignable(expectName(), line);
  return macroNode(line, name, parameters(), "endmacro");
}

uint32_t Parser::callBlock(uint32_t line) {
  const Ids params = isOp("(") ? parameters() : Ids();
  const uint32_t call = expression();
  if (p_.nodes[call].op != Op::Call)
    failAt(line, "expected call");
  return add(Op::CallBlock, line, {call, macroNode(line, "caller", params, "endcall")});
}

chat::Program compile(std::string_view source) { return Parser(source).run(); }

} // namespace retort::jinja
