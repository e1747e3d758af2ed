//===- ToolSyntax.cpp - How a model writes calls --------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Models write calls as their templates do, since they were trained on what those made. So a conversation
// with calls of known names and arguments is rendered, and what stands around them is the syntax.
//
//===----------------------------------------------------------------------===//
#include "runtime/server/ToolSyntax.h"
#include "runtime/server/Fields.h"

#include <algorithm>

namespace retort::server {
namespace {

constexpr const char *kNames[] = {"probe_alpha", "probe_beta", "probe_gamma"};
constexpr const char *kIds[] = {"callid001", "callid002",
                                "callid003"}; // Mistral wants nine characters
constexpr const char *kArguments[] = {"one", "two", "three"};

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isIdCharacter(char c) {
  return isDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

} // namespace

bool isNameCharacter(char c) { return isIdCharacter(c) || c == '_' || c == '-'; }

namespace {

/// The text up to its first such bracket, or all of it.
std::string throughBracket(const std::string &text, char bracket) {
  const size_t at = text.find(bracket);
  return text.substr(0, at == text.npos ? at : at + 1);
}

/// What stands in for calls.
class Probe {
public:
  Probe(const Model &model, size_t calls, bool results) : model_(model), calls_(calls) {
    Json tools = Json::array(), made = Json::array();
    for (const char *name : kNames)
      tools.push_back(
          {{"type", "function"},
           {"function",
            {{"name", name},
             {"description", "a probe"},
             {"parameters",
              {{"type", "object"}, {"properties", {{"key", {{"type", "string"}}}}}}}}}});
    for (size_t i = 0; i < calls; ++i)
      made.push_back(
          {{"id", kIds[i]},
           {"type", "function"},
           {"function", {{"name", kNames[i]}, {"arguments", {{"key", kArguments[i]}}}}}});
    tools_ = dumped(tools);
    const Json ask = {{"role", "user"}, {"content", "ask"}};
    Json history = Json::array(
        {ask, {{"role", "assistant"}, {"content", ""}, {"tool_calls", std::move(made)}}});
    for (size_t i = 0; results && i < calls; ++i)
      history.push_back({{"role", "tool"},
                         {"tool_call_id", kIds[i]},
                         {"name", kNames[i]},
                         {"content", "result"}});
    const std::vector<int32_t> tokens = tokensOf(history, RETORT_NO_ANSWER);
    text_ = shown(tokens);
    const size_t begin = findBegin(ask);
    cut(tokens, begin);
  }

  std::optional<ToolSyntax> syntax() const {
    ToolSyntax result;
    size_t end = 0;
    ToolText first;
    std::optional<ToolText> middle, between;
    for (size_t i = 0; i < calls_; ++i) {
      const size_t name = answer_.find(kNames[i], end);
      const auto [arguments, behind] = findArguments(name, i);
      if (arguments == answer_.npos)
        return std::nullopt;
      ToolText to = part(end, name);
      const ToolText inside = part(name + std::string_view(kNames[i]).size(), arguments);
      if (i == 0) {
        result.before = std::move(to);
        middle = first = inside;
      } else {
        const std::optional<ToolText> both = ToolText::merged(first, inside);
        if (!both || (i > 1 && both->pieces != middle->pieces))
          return std::nullopt;
        middle = both;
        between = i == 1 ? std::optional(std::move(to)) : ToolText::merged(*between, to);
        if (!between)
          return std::nullopt;
      }
      end = behind;
    }
    result.middle = *middle;
    result.between = std::move(between);
    result.after = part(end, answer_.find_last_not_of(kSpaces) + 1);
    return complete(std::move(result));
  }

private:
  struct Special {
    size_t begin, end;
    int32_t token;
  };
  std::string shown(const std::vector<int32_t> &tokens) const {
    return model_.detokenize(tokens, true);
  }
  std::vector<int32_t> tokensOf(const Json &messages, uint32_t flags) const {
    Conversation conversation{dumped(messages)};
    conversation.tools = tools_;
    return model_.chatTokens(conversation, flags);
  }

  /// Where the answer begins: behind what asks for one, or where another answer would begin.
  size_t findBegin(const Json &ask) const {
    const std::string asked = shown(tokensOf(Json::array({ask}), 0));
    if (text_.starts_with(asked))
      return asked.size();
    const std::string content = "an answer in words";
    const std::string other =
        shown(tokensOf(Json::array({ask, {{"role", "assistant"}, {"content", content}}}), 0));
    const size_t at = other.find(content);
    const bool same = at != other.npos && text_.starts_with(other.substr(0, at));
    return same ? at : text_.size();
  }
  /// Keeps what is between there and the token that ends the answer.
  void cut(const std::vector<int32_t> &tokens, size_t begin) {
    std::vector<int32_t> read;
    for (int32_t token : tokens) {
      const size_t from = shown(read).size();
      read.push_back(token);
      if (from < begin || !model_.detokenize({&token, 1}).empty())
        continue;
      if (model_.isStop(token)) {
        answer_ = text_.substr(begin, from - begin);
        return;
      }
      specials_.push_back({from - begin, shown(read).size() - begin, token});
    }
  }
  std::pair<size_t, size_t> findArguments(size_t name, size_t call) const {
    if (name == answer_.npos)
      return {name, name};
    for (const char *space : {" ", ""}) {
      const std::string text = std::string("{\"key\":") + space + "\"" + kArguments[call] + "\"}";
      const size_t at = answer_.find(text, name);
      if (at != answer_.npos && answer_[at - 1] != '{')
        return {at, at + text.size()};
    }
    return {answer_.npos, answer_.npos};
  }

  /// The answer's text from `begin` to `end`.
  ToolText part(size_t begin, size_t end) const {
    ToolText result;
    for (const Special &special : specials_) {
      if (special.begin < begin || special.end > end)
        continue;
      addText(result, answer_.substr(begin, special.begin - begin));
      result.add(ToolText::Piece::Token,
                 answer_.substr(special.begin, special.end - special.begin));
      begin = special.end;
    }
    addText(result, answer_.substr(begin, end - begin));
    return result;
  }
  static void addText(ToolText &result, std::string_view text) {
    for (size_t at = 0; at < text.size();) {
      size_t id = text.npos;
      for (const char *one : kIds)
        id = std::min(id, text.find(one, at));
      result.add(ToolText::Piece::Text, std::string(text.substr(at, id - at)));
      if (id == text.npos)
        return;
      result.add(ToolText::Piece::Id, {});
      at = id + std::string_view(kIds[0]).size();
    }
  }

  /// Finds the mark.
  std::optional<ToolSyntax> complete(ToolSyntax syntax) const {
    std::vector<ToolText::Piece> &before = syntax.before.pieces;
    if (!before.empty() && before[0].kind == ToolText::Piece::Text) {
      before[0].text.erase(0, before[0].text.find_first_not_of(kSpaces));
      if (before[0].text.empty())
        before.erase(before.begin());
    }
    if (before.empty() || before[0].kind == ToolText::Piece::Id)
      return std::nullopt;
    syntax.mark = before[0];
    if (before[0].kind == ToolText::Piece::Text) {
      const char first = before[0].text[0];
      if (first == '<' || first == '[')
        syntax.mark.text = throughBracket(syntax.mark.text, first == '<' ? '>' : ']');
      else if (first == '{')
        syntax.onlyFirst = true;
      else
        return std::nullopt; // text may hold anything else, too
    }
    const std::vector<ToolText::Piece> &middle = syntax.middle.pieces;
    if (!middle.empty() && middle[0].kind != ToolText::Piece::Token &&
        (middle[0].text.empty() || isNameCharacter(middle[0].text[0])))
      return std::nullopt; // nobody could say where the name ends
    for (const ToolText *text : {&syntax.before, &syntax.middle, &syntax.after,
                                 syntax.between ? &*syntax.between : &syntax.after})
      for (const ToolText::Piece &piece : text->pieces)
        syntax.hasIds |= piece.kind == ToolText::Piece::Id;
    for (const Special &special : specials_)
      if (std::find(syntax.tokens.begin(), syntax.tokens.end(), special.token) ==
          syntax.tokens.end())
        syntax.tokens.push_back(special.token);
    return syntax;
  }

  const Model &model_;
  const size_t calls_;
  std::string tools_, text_, answer_;
  std::vector<Special> specials_; ///< of answer_
};

} // namespace

void ToolText::add(Piece::Kind kind, std::string text) {
  if (kind != Piece::Text || !text.empty())
    pieces.push_back({kind, std::move(text)});
}

ToolText::Match ToolText::match(std::string_view text, size_t &size) const {
  size_t at = 0;
  for (const Piece &piece : pieces) {
    const std::string_view rest = text.substr(at);
    size_t length = piece.text.size();
    if (piece.kind == Piece::Text || piece.kind == Piece::Token) {
      if (rest.size() < length && piece.text.starts_with(rest))
        return Match::Begun;
      if (!rest.starts_with(piece.text))
        return Match::No;
    } else {
      const auto end = std::find_if_not(rest.begin(), rest.end(),
                                        piece.kind == Piece::Digits ? isDigit : isIdCharacter);
      if (end == rest.end())
        return Match::Begun;
      length = size_t(end - rest.begin());
      if (length == 0)
        return Match::No;
    }
    at += length;
  }
  size = at;
  return Match::Whole;
}

std::optional<ToolText> ToolText::merged(const ToolText &a, const ToolText &b) {
  ToolText result;
  if (a.pieces.size() != b.pieces.size())
    return std::nullopt;
  for (size_t i = 0; i < a.pieces.size(); ++i) {
    const Piece &one = a.pieces[i], &other = b.pieces[i];
    if (one == other) {
      result.pieces.push_back(one);
      continue;
    }
    if (one.kind != Piece::Text || other.kind != Piece::Text)
      return std::nullopt;
    const std::string_view x = one.text, y = other.text;
    const size_t head =
        size_t(std::mismatch(x.begin(), x.end(), y.begin(), y.end()).first - x.begin());
    const size_t xEnd = std::min(x.find_first_not_of("0123456789", head), x.size());
    const size_t yEnd = std::min(y.find_first_not_of("0123456789", head), y.size());
    if (xEnd == head || yEnd == head || x.substr(xEnd) != y.substr(yEnd))
      return std::nullopt;
    result.add(Piece::Text, std::string(x.substr(0, head)));
    result.add(Piece::Digits, {});
    result.add(Piece::Text, std::string(x.substr(xEnd)));
  }
  return result;
}

std::optional<ToolSyntax> findToolSyntax(const Model &model) {
  // A template may refuse several calls, or results.
  for (const size_t calls : {std::size(kNames), size_t(1)})
    for (const bool results : {true, false})
      try {
        if (std::optional<ToolSyntax> syntax = Probe(model, calls, results).syntax())
          return syntax;
      } catch (const Failure &) {
        continue;
      }
  return std::nullopt;
}

} // namespace retort::server
