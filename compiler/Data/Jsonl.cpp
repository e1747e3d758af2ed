//===- Jsonl.cpp - Documents in lines of JSON -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Jsonl.h"
#include "compiler/Data/CorpusFiles.h"
#include "runtime/base/Utf8.h"

#include <cctype>
#include <cstdint>
#include <optional>

namespace retort {
namespace {

constexpr const char *kNotUtf8 = "is not UTF-8", *kNoObject = "is no JSON object",
                     *kNoJson = "is no JSON",
                     *kNoText = "has no string under \"text\" or \"content\"";

class LineParser {
public:
  explicit LineParser(std::string_view line) : line_(line) {}

  JsonLine run() {
    if (line_.starts_with("\xEF\xBB\xBF"))
      line_.remove_prefix(3);
    if (findInvalidUtf8(line_) != std::string_view::npos)
      return {{}, kNotUtf8};
    space();
    if (!take('{'))
      return {{}, kNoObject};
    if (!object())
      return {{}, kNoJson};
    space();
    take(',');
    space();
    if (at_ != line_.size())
      return {{}, kNoJson};
    for (std::optional<std::string> *found : {&text_, &content_})
      if (*found && !(*found)->empty())
        return {std::move(**found)};
    return {{}, text_ || content_ ? nullptr : kNoText};
  }

private:
  bool isAt(char c) const { return at_ < line_.size() && line_[at_] == c; }
  bool take(char c) {
    const bool there = isAt(c);
    at_ += there;
    return there;
  }
  void space() {
    while (at_ < line_.size() && std::string_view(" \t\r\n").find(line_[at_]) != line_.npos)
      ++at_;
  }

  /// Behind the '{' of the outermost object, to behind its '}'.
  bool object() {
    space();
    if (take('}'))
      return true;
    std::string name;
    do {
      space();
      name.clear();
      if (!string(&name))
        return false;
      space();
      if (!take(':'))
        return false;
      space();
      std::optional<std::string> *wanted = name == "text"      ? &text_
                                           : name == "content" ? &content_
                                                               : nullptr;
      if (wanted && isAt('"')) {
        wanted->emplace();
        if (!string(&**wanted))
          return false;
      } else if (!value()) {
        return false;
      }
      space();
    } while (take(','));
    return take('}');
  }

  /// Passes over a value, with a stack of its own for what it nests.
  bool value() {
    std::string open; // what closes each array and object that is open
    while (true) {
      space();
      if (take('{')) {
        open += '}';
        space();
        if (!isAt('}')) {
          if (!member())
            return false;
          continue;
        }
      } else if (take('[')) {
        open += ']';
        space();
        if (!isAt(']'))
          continue;
      } else if (isAt('"') ? !string(nullptr) : !literal()) {
        return false;
      }
      space();
      while (!open.empty() && take(open.back())) {
        open.pop_back();
        space();
      }
      if (open.empty())
        return true;
      if (!take(',') || (open.back() == '}' && !member()))
        return false;
    }
  }

  /// "name":
  bool member() {
    space();
    if (!string(nullptr))
      return false;
    space();
    return take(':');
  }

  /// A number, true, false, null, NaN or Infinity: what they say does not matter here.
  bool literal() {
    const size_t begin = at_;
    while (at_ < line_.size() && (std::isalnum(static_cast<unsigned char>(line_[at_])) ||
                                  line_[at_] == '-' || line_[at_] == '+' || line_[at_] == '.'))
      ++at_;
    return at_ > begin;
  }

  /// A string, decoded into `out` unless that is null.
  bool string(std::string *out) {
    if (!take('"'))
      return false;
    while (true) {
      const size_t stop = line_.find_first_of("\"\\", at_);
      if (stop == std::string_view::npos)
        return false;
      if (out)
        appendText(*out, line_.substr(at_, stop - at_));
      at_ = stop + 1;
      if (line_[stop] == '"')
        return true;
      if (at_ == line_.size() || !escape(out))
        return false;
    }
  }

  static void appendText(std::string &out, std::string_view text) {
    for (size_t nul; (nul = text.find('\0')) != std::string_view::npos;
         text.remove_prefix(nul + 1)) {
      out += text.substr(0, nul);
      appendUtf8(out, 0xFFFD);
    }
    out += text;
  }

  /// Behind a backslash.
  bool escape(std::string *out) {
    static constexpr std::string_view names = "\"\\/bfnrt", meant = "\"\\/\b\f\n\r\t";
    const char c = line_[at_++];
    if (const size_t found = names.find(c); found != std::string_view::npos) {
      if (out)
        *out += meant[found];
      return true;
    }
    uint32_t unit = 0, second = 0;
    if (c != 'u' || !hex(unit))
      return false;
    if (unit >= 0xD800 && unit < 0xDC00 && line_.substr(at_, 2) == "\\u") {
      const size_t before = at_;
      at_ += 2;
      if (!hex(second))
        return false;
      if (second >= 0xDC00 && second < 0xE000)
        unit = 0x10000 + ((unit - 0xD800) << 10) + (second - 0xDC00);
      else
        at_ = before; // of its own
    }
    if (out)
      appendUtf8(*out, unit == 0 || (unit >= 0xD800 && unit < 0xE000) ? 0xFFFD : unit);
    return true;
  }

  bool hex(uint32_t &unit) {
    unit = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      if (at_ == line_.size() || !std::isxdigit(static_cast<unsigned char>(line_[at_])))
        return false;
      const char c = line_[at_];
      unit = unit * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    return true;
  }

  std::string_view line_;
  size_t at_ = 0;
  std::optional<std::string> text_, content_;
};
} // namespace

JsonLine textOfJsonLine(std::string_view line) { return LineParser(line).run(); }

} // namespace retort
