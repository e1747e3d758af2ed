//===- JinjaLex.cpp - A chat template's tokens ----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/JinjaLex.h"
#include "runtime/base/Error.h"
#include "runtime/base/Utf8.h"
#include "runtime/src/chat/Case.h"

#include <algorithm>
#include <charconv>

namespace retort::jinja {

void failAt(uint32_t line, const std::string &what) {
  fail(ExitCode::Unsupported, "line " + std::to_string(line) + ": " + what);
}

namespace {

constexpr size_t kMaxTemplateBytes = 1 << 20;

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isNameChar(char c) {
  return isDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         uint8_t(c) >= 0x80;
}

class Lexer {
public:
  explicit Lexer(std::string_view source) {
    if (source.size() > kMaxTemplateBytes)
      failAt(1, "the template has " + std::to_string(source.size()) +
                    " bytes: at most 1048576 are allowed");
    if (validPrefix(source) != source.size())
      failAt(1, "the template is not UTF-8");
    for (size_t i = 0; i < source.size(); ++i)
      if (source[i] != '\r')
        text_ += source[i];
      else if (i + 1 == source.size() || source[i + 1] != '\n')
        text_ += '\n';
    if (text_.ends_with('\n'))
      text_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < text_.size())
      root();
    push(Token::End);
    return std::move(tokens_);
  }

private:
  Token &push(Token::Kind kind, std::string text = {}) {
    tokens_.push_back({kind, std::move(text), line_, 0, 0});
    return tokens_.back();
  }
  bool at(std::string_view what, size_t where) const {
    return std::string_view(text_).substr(where).starts_with(what);
  }
  /// Where white space that begins at `from` ends.
  size_t pastSpace(size_t from) const {
    while (from < text_.size()) {
      const char *begin = text_.data() + from, *p = begin;
      if (!chat::isSpace(nextCode(p)))
        break;
      from += size_t(p - begin);
    }
    return from;
  }
  /// Where white space that ends at `to` begins.
  size_t beforeSpace(size_t from, size_t to) const {
    size_t end = from;
    for (size_t i = from; i < to;) {
      const char *begin = text_.data() + i, *p = begin;
      const bool space = chat::isSpace(nextCode(p));
      i += size_t(p - begin);
      if (!space)
        end = i;
    }
    return end;
  }
  /// Goes on to `end`, counting lines.
  void moveTo(size_t end) {
    line_ += uint32_t(std::count(text_.begin() + long(at_), text_.begin() + long(end), '\n'));
    lineStarts_ = end > 0 && text_[end - 1] == '\n';
    at_ = end;
  }

  /// Text up to a tag at `tag`, less the space that the tag's sign takes away.
  void data(size_t tag, char sign, bool isOutput) {
    size_t end = tag;
    if (sign == '-')
      end = beforeSpace(at_, tag);
    else if (sign != '+' && !isOutput) {
      const size_t newline = std::string_view(text_).substr(at_, tag - at_).rfind('\n');
      const bool any = newline != std::string_view::npos;
      const size_t lineBegin = any ? at_ + newline + 1 : at_;
      if ((any || lineStarts_) && beforeSpace(lineBegin, tag) == lineBegin)
        end = lineBegin;
    }
    if (end > at_)
      push(Token::Data, text_.substr(at_, end - at_));
  }
  char signAt(size_t where) const {
    return where < text_.size() && (text_[where] == '-' || text_[where] == '+') ? text_[where] : 0;
  }

  void root() {
    size_t tag = at_;
    while ((tag = text_.find('{', tag)) != std::string::npos && !at("{%", tag) && !at("{{", tag) &&
           !at("{#", tag))
      ++tag;
    if (tag == std::string::npos) {
      push(Token::Data, text_.substr(at_));
      return moveTo(text_.size());
    }
    const char kind = text_[tag + 1], sign = signAt(tag + 2);
    const size_t inside = tag + 2 + (sign != 0);
    data(tag, sign, kind == '{');
    moveTo(inside);
    if (kind == '#')
      return comment();
    if (kind == '%')
      if (const size_t body = rawBegin(inside))
        return raw(body);
    push(kind == '%' ? Token::BlockBegin : Token::OutputBegin);
    while (!tagEnd(kind == '%'))
      token();
  }

  /// Where the text of {% raw %} begins; 0 if it is another tag.
  size_t rawBegin(size_t inside) const {
    size_t i = pastSpace(inside);
    if (!at("raw", i))
      return 0;
    i = pastSpace(i + 3);
    return at("-%}", i) ? pastSpace(i + 3) : at("%}", i) ? i + 2 : 0;
  }

  /// The end of a tag's closing "-%}", "+%}" or "%}" at i, with the white space it takes; 0 if none.
  size_t closing(std::string_view close, size_t i) const {
    if (at("-", i) && at(close, i + 1))
      return pastSpace(i + 1 + close.size());
    if (at("+", i) && at(close, i + 1))
      return i + 1 + close.size();
    if (!at(close, i))
      return 0;
    return i + close.size() + at("\n", i + close.size());
  }

  void comment() {
    for (size_t i = at_; i < text_.size(); ++i)
      if (const size_t end = closing("#}", i))
        return moveTo(end);
    failAt(line_, "Missing end of comment tag");
  }

  void raw(size_t body) {
    moveTo(body);
    for (size_t i = body; (i = text_.find("{%", i)) != std::string::npos; ++i) {
      const char sign = signAt(i + 2);
      size_t end = pastSpace(i + 2 + (sign != 0));
      if (!at("endraw", end))
        continue;
      end = closing("%}", pastSpace(end + 6));
      if (end == 0)
        continue;
      data(i, sign, false);
      return moveTo(end);
    }
    failAt(line_, "Missing end of raw directive");
  }

  bool tagEnd(bool isBlock) {
    if (!open_.empty())
      return false;
    size_t end = 0;
    if (isBlock)
      end = closing("%}", at_);
    else if (at("-}}", at_))
      end = pastSpace(at_ + 3);
    else if (at("}}", at_))
      end = at_ + 2;
    if (end == 0)
      return false;
    push(isBlock ? Token::BlockEnd : Token::OutputEnd);
    moveTo(end);
    return true;
  }

  void token() {
    if (at_ >= text_.size())
      failAt(line_, "unexpected end of template");
    if (const size_t end = pastSpace(at_); end > at_)
      return moveTo(end);
    const char c = text_[at_];
    if (isDigit(c))
      return number();
    if (isNameChar(c)) {
      size_t end = at_;
      while (end < text_.size() && isNameChar(text_[end]))
        ++end;
      push(Token::Name, text_.substr(at_, end - at_));
      return moveTo(end);
    }
    if (c == '\'' || c == '"')
      return string(c);
    operatorToken();
  }

  void operatorToken() {
    static constexpr std::string_view two[] = {"//", "**", "==", "!=", ">=", "<="};
    std::string_view op = std::string_view(text_).substr(at_, 1);
    for (std::string_view candidate : two)
      if (at(candidate, at_))
        op = candidate;
    if (op.size() == 1 &&
        std::string_view("+-/*%~[](){}><=.:|,;").find(op[0]) == std::string_view::npos)
      failAt(line_, "unexpected char '" + std::string(op) + "'");
    if (op == "(" || op == "[" || op == "{")
      open_ += op == "(" ? ')' : op == "[" ? ']' : '}';
    else if (op == ")" || op == "]" || op == "}") {
      if (open_.empty() || open_.back() != op[0])
        failAt(line_, "unexpected '" + std::string(op) + "'");
      open_.pop_back();
    }
    push(Token::Operator, std::string(op));
    moveTo(at_ + op.size());
  }

  /// Digits with single underscores between them.
  size_t digits(size_t from, std::string_view allowed = "0123456789") const {
    auto is = [&](size_t i) {
      return i < text_.size() &&
             allowed.find(char(text_[i] | (text_[i] >= 'A' ? 0x20 : 0))) != std::string_view::npos;
    };
    while (is(from) || (from < text_.size() && text_[from] == '_' && is(from + 1)))
      ++from;
    return from;
  }

  void number() {
    const bool afterDot = at_ > 0 && text_[at_ - 1] == '.';
    size_t end = digits(at_);
    bool isFloat = false;
    if (!afterDot) {
      size_t more = end;
      if (more + 1 < text_.size() && text_[more] == '.' && isDigit(text_[more + 1])) {
        more = digits(more + 1);
        isFloat = true;
      }
      size_t power = more;
      if (power < text_.size() && (text_[power] == 'e' || text_[power] == 'E')) {
        power += 1;
        power += power < text_.size() && (text_[power] == '+' || text_[power] == '-');
        if (power < text_.size() && isDigit(text_[power])) {
          more = digits(power);
          isFloat = true;
        }
      }
      if (isFloat)
        end = more;
    }
    int base = 10;
    if (!isFloat && text_[at_] == '0') {
      static constexpr std::pair<std::string_view, std::pair<int, std::string_view>> bases[] = {
          {"x", {16, "0123456789abcdef"}}, {"o", {8, "01234567"}}, {"b", {2, "01"}}};
      for (const auto &[letter, own] : bases)
        if (at_ + 1 < text_.size() && char(text_[at_ + 1] | 0x20) == letter[0] &&
            digits(at_ + 2, own.second) > at_ + 2) {
          base = own.first;
          end = digits(at_ + 2, own.second);
        }
      if (base == 10)
        end = digits(at_, "0");
    }
    std::string text = text_.substr(at_, end - at_);
    std::erase(text, '_');
    Token &token = push(isFloat ? Token::Float : Token::Int, text);
    const char *begin = text.data() + (base == 10 ? 0 : 2), *stop = text.data() + text.size();
    const auto error = isFloat ? std::from_chars(begin, stop, token.real).ec
                               : std::from_chars(begin, stop, token.number, base).ec;
    if (error != std::errc())
      failAt(line_, "the number " + text + " is not known to Retort");
    moveTo(end);
  }

  void string(char quote) {
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote)
      end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size())
      failAt(line_, std::string("unexpected char '") + quote + "'");
    push(Token::String, unescape(std::string_view(text_).substr(at_ + 1, end - at_ - 1)));
    moveTo(end + 1);
  }

  /// Python's unicode-escape.
  std::string unescape(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 == text.size()) {
        out += text[i];
        continue;
      }
      static constexpr std::string_view letters = "\\'\"abfnrtv", values = "\\'\"\a\b\f\n\r\t\v";
      const char c = text[++i];
      if (const size_t known = letters.find(c); known != letters.npos)
        out += values[known];
      else if (c == '\n')
        ;
      else if (c == 'x' || c == 'u' || c == 'U')
        i += code(out, text.substr(i + 1), c == 'x' ? 2 : c == 'u' ? 4 : 8, 16);
      else if (c >= '0' && c <= '7') {
        size_t count = 1;
        while (count < 3 && i + count < text.size() && text[i + count] >= '0' &&
               text[i + count] <= '7')
          ++count;
        i += code(out, text.substr(i, count), count, 8) - 1;
      } else if (c == 'N')
        failAt(line_, "the escape \\N is not known to Retort");
      else
        (out += '\\') += c;
    }
    return out;
  }
  size_t code(std::string &out, std::string_view digits, size_t count, int base) const {
    uint32_t value = 0;
    const char *end = digits.data() + std::min(count, digits.size());
    auto [stop, error] = std::from_chars(digits.data(), end, value, base);
    if (error != std::errc() || stop != digits.data() + count || value > 0x10FFFF)
      failAt(line_, "a string with a broken escape");
    if (value >= 0xD800 && value < 0xE000)
      failAt(line_, "an escape of half a character is not known to Retort");
    appendUtf8(out, value);
    return count;
  }

  std::string text_;
  std::vector<Token> tokens_;
  std::string open_; ///< brackets that are open, by what closes them
  size_t at_ = 0;
  uint32_t line_ = 1;
  bool lineStarts_ = true;
};

} // namespace

std::vector<Token> lex(std::string_view source) { return Lexer(source).run(); }

} // namespace retort::jinja
