//===- ToolCalls.cpp - Calls of functions in answers ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/ToolCalls.h"
#include "runtime/server/Fields.h"

#include <random>
#include <utility>

namespace retort::server {
namespace {

using Piece = ToolText::Piece;

Json partOf(const Piece &piece) {
  switch (piece.kind) {
  case Piece::Text:
    return piece.text;
  case Piece::Token:
    return {{"token", piece.text}};
  case Piece::Digits:
    return {{"regex", "[0-9]{1,4}"}};
  case Piece::Id:
    break;
  }
  return {{"regex", "[A-Za-z0-9]{9}"}};
}

Json partOf(const ToolText &text) {
  Json parts = Json::array();
  for (const Piece &piece : text.pieces)
    parts.push_back(partOf(piece));
  return parts;
}

Json partOf(const Constraint &constraint) {
  switch (constraint.kind) {
  case RETORT_GRAMMAR_JSON_SCHEMA:
    return {{"schema", Json::parse(constraint.text)}};
  case RETORT_GRAMMAR_CHOICE:
    return {{"any", Json::parse(constraint.text)}};
  default:
    return {{"regex", constraint.text}};
  }
}

/// What follows the mark.
Json behindMark(const ToolSyntax &syntax, const ToolUse &tools) {
  Json one = Json::array();
  for (const ToolFunction &function : tools.functions)
    one.push_back(
        {function.name, partOf(syntax.middle), {{"schema", Json::parse(function.schema)}}});
  const Json call = {{"any", one}};
  Json parts = partOf(syntax.before);
  const std::string &first = syntax.before.pieces[0].text;
  parts[0] = first.substr(syntax.mark.text.size()); // what is left of the piece
  parts.push_back(call);
  if (syntax.between && tools.parallel)
    parts.push_back({{"repeat", {partOf(*syntax.between), call}}});
  parts.push_back(partOf(syntax.after));
  return parts;
}

} // namespace

Constraint callsGrammar(const ToolSyntax &syntax, const ToolUse &tools,
                        const std::optional<Constraint> &otherwise) {
  const Json mark = partOf(syntax.mark), behind = behindMark(syntax, tools);
  Json whole;
  if (tools.required)
    whole = {mark, behind};
  else if (otherwise)
    whole = {{"any", {partOf(*otherwise), {mark, behind}}}};
  else
    whole = {{syntax.onlyFirst ? "unless" : "until", mark}, {"then", behind}};
  return {RETORT_GRAMMAR_STRUCTURE, dumped(whole), "tools"};
}

std::string newCallId(const ToolSyntax &syntax) {
  std::random_device device;
  std::string id;
  for (size_t i = 0; i < (syntax.hasIds ? 9 : 24); ++i)
    id += "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[device() % 62];
  return syntax.hasIds ? id : "call_" + id;
}

void ToolParser::push(std::string_view text, std::string &content, std::vector<ToolPiece> &calls) {
  pending_ += text;
  while (step(content, calls))
    ;
}

void ToolParser::finish(std::string &content) {
  if (calls_ == 0 && (state_ == State::First || state_ == State::Text || state_ == State::Before))
    content += std::exchange(pending_, {});
}

/// False: more text is needed.
bool ToolParser::step(std::string &content, std::vector<ToolPiece> &calls) {
  size_t size = 0;
  switch (state_) {
  case State::First:
  case State::Text:
    return stepText(content);
  case State::Before:
    if (syntax_.before.match(pending_, size) != ToolText::Match::Whole)
      return false;
    take(size);
    state_ = State::Name;
    return true;
  case State::Name:
    while (size < pending_.size() && isNameCharacter(pending_[size]))
      ++size;
    name_ += pending_.substr(0, size);
    take(size);
    if (pending_.empty())
      return false;
    state_ = State::Middle;
    return true;
  case State::Middle:
    if (syntax_.middle.match(pending_, size) != ToolText::Match::Whole)
      return false;
    take(size);
    calls.push_back({std::exchange(name_, {}), {}});
    ++calls_;
    state_ = State::Arguments;
    return true;
  case State::Arguments:
    return stepArguments(calls);
  case State::Behind:
    return stepBehind();
  case State::Done:
    pending_.clear();
    return false;
  }
  return false;
}

/// Text, of which what may begin a call is kept, and the white space before it.
bool ToolParser::stepText(std::string &content) {
  const std::string &mark = syntax_.mark.text;
  if (syntax_.onlyFirst) {
    if (state_ == State::First && mark.starts_with(pending_))
      return false;
    if (state_ == State::First && pending_.starts_with(mark)) {
      state_ = State::Before;
      return true;
    }
    state_ = State::Text;
    content += std::exchange(pending_, {});
    return false;
  }
  state_ = State::Text;
  const size_t at = pending_.find(mark);
  size_t kept = at == pending_.npos ? pending_.size() : at;
  if (at == pending_.npos) // its end may begin the mark
    for (size_t length = std::min(mark.size(), pending_.size()); length > 0; --length)
      if (pending_.ends_with(mark.substr(0, length))) {
        kept = pending_.size() - length;
        break;
      }
  const size_t last = kept == 0 ? pending_.npos : pending_.find_last_not_of(kSpaces, kept - 1);
  content += pending_.substr(0, last == pending_.npos ? 0 : last + 1);
  if (at != pending_.npos) {
    take(at);
    state_ = State::Before;
    return true;
  }
  take(last == pending_.npos ? 0 : last + 1);
  return false;
}

bool ToolParser::stepArguments(std::vector<ToolPiece> &calls) {
  size_t size = 0;
  while (size < pending_.size()) {
    const char c = pending_[size++];
    if (quoted_) {
      quoted_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '"') {
      quoted_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      state_ = State::Behind;
      break;
    }
  }
  if (size == 0)
    return false;
  calls.push_back({{}, pending_.substr(0, size)});
  take(size);
  return true;
}

bool ToolParser::stepBehind() {
  size_t size = 0;
  const ToolText::Match next =
      syntax_.between ? syntax_.between->match(pending_, size) : ToolText::Match::No;
  if (next == ToolText::Match::Begun)
    return false;
  state_ = next == ToolText::Match::Whole ? State::Name : State::Done;
  take(size);
  return true;
}

} // namespace retort::server
