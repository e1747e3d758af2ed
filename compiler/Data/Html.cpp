//===- Html.cpp - The text of a web page ------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
// One pass over the bytes. The scanner below looks at tags, the writer above it decides what white
// space text is set in; neither ever looks back, so time is linear in the page.
#include "compiler/Data/Html.h"
#include "compiler/Data/HtmlEntities.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace retort {
namespace {

bool isSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool isLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool isDigit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

template <size_t N>
bool isOneOf(std::string_view name, const std::array<std::string_view, N> &names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Content that is not markup and that nobody reads.
constexpr std::array<std::string_view, 5> rawElements = {"script", "style", "iframe", "noframes",
                                                         "noembed"};
// Markup that is not shown as text.
constexpr std::array<std::string_view, 4> hiddenElements = {"svg", "template", "noscript",
                                                            "object"};
// A blank line before and after.
constexpr std::array<std::string_view, 16> paragraphElements = {
    "p",  "h1", "h2",    "h3",         "h4",  "h5",    "h6",     "ul",
    "ol", "dl", "table", "blockquote", "pre", "title", "figure", "hr"};
// A line of their own.
constexpr std::array<std::string_view, 22> lineElements = {
    "div",    "section", "article", "aside",  "header",  "footer",     "nav",  "main",
    "dt",     "dd",      "tr",      "form",   "address", "figcaption", "body", "fieldset",
    "legend", "details", "summary", "option", "caption", "center"};

/// Sets text: knows what white space is wanted before the next visible character.
class Writer {
public:
  void space() { space_ = true; }
  void lines(unsigned count) {
    if (!afterMarker_)
      newlines_ = std::max(newlines_, count);
  }
  void lineBreak() {
    // Each <br> counts, unlike the edges of blocks, which merge.
    newlines_ = std::min(newlines_ + 1, 2u);
  }
  void visible(std::string_view bytes) {
    if (newlines_ && !out_.empty())
      out_.append(newlines_, '\n');
    else if (space_ && !out_.empty() && out_.back() != '\n' && out_.back() != '\t')
      out_ += ' ';
    newlines_ = 0;
    space_ = afterMarker_ = false;
    out_ += bytes;
  }
  /// "- ", after which a paragraph does not begin a line.
  void listMarker() {
    visible("-");
    space_ = afterMarker_ = true;
  }
  /// A table cell that is not the first of its line.
  void cell() {
    if (!newlines_ && !out_.empty() && out_.back() != '\n') {
      out_ += '\t';
      space_ = false;
    }
  }
  std::string finish() {
    while (!out_.empty() && isSpace(out_.back()))
      out_.pop_back();
    if (!out_.empty())
      out_ += '\n';
    return std::move(out_);
  }

private:
  std::string out_;
  unsigned newlines_ = 0;
  bool space_ = false, afterMarker_ = false;
};

void appendUtf8(std::string &out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  const unsigned more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
  static constexpr uint32_t leads[] = {0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(leads[more] | c >> (6 * more));
  for (unsigned i = more; i-- > 0;)
    out += static_cast<char>(0x80 | (c >> (6 * i) & 0x3F));
}

/// The code point of a numeric reference, with the standard's repairs: 0x80 to 0x9F mean Windows'
/// code page 1252, and what is no character means U+FFFD.
uint32_t repairCodePoint(uint64_t c) {
  static constexpr uint16_t windows1252[32] = {
      0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
      0x2039, 0x0152, 0x8D,   0x017D, 0x8F,   0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
      0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
  if (c >= 0x80 && c < 0xA0)
    return windows1252[c - 0x80];
  if (c == 0 || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
    return 0xFFFD;
  return static_cast<uint32_t>(c);
}

class Scanner {
public:
  explicit Scanner(std::string_view html) : html_(html) {}

  std::string run() {
    while (at_ < html_.size()) {
      if (html_[at_] == '<' && markup())
        continue;
      if (html_[at_] == '&')
        reference();
      else
        text(html_.substr(at_++, 1));
    }
    return writer_.finish();
  }

private:
  bool startsWith(std::string_view prefix) const {
    return html_.substr(at_, prefix.size()) == prefix;
  }
  /// Moves behind the next `mark`, or to the end of the page.
  void skipPast(std::string_view mark) {
    const size_t found = html_.find(mark, at_);
    at_ = found == std::string_view::npos ? html_.size() : found + mark.size();
  }

  void text(std::string_view bytes) {
    if (!hidden_.empty())
      return;
    if (bytes.size() > 1 || !isSpace(bytes[0])) {
      skipNewline_ = false;
      writer_.visible(bytes);
    } else if (!preformatted_) {
      writer_.space();
    } else if (bytes[0] != '\r') {
      // The newline right after <pre> is not part of its text.
      if (bytes[0] != '\n' || !skipNewline_)
        writer_.visible(bytes);
      skipNewline_ = false;
    }
  }

  /// At '<': handles a comment, a declaration or a tag. False if it is just a character.
  bool markup() {
    if (startsWith("<!--")) {
      at_ += 2; // "<!-->" is a whole comment
      skipPast("-->");
      return true;
    }
    if (startsWith("<!") || startsWith("<?")) {
      skipPast(">");
      return true;
    }
    const bool closing = startsWith("</");
    const size_t begin = at_ + 1 + closing;
    if (begin >= html_.size() || !isLetter(html_[begin]))
      return false;
    std::string name;
    for (at_ = begin; at_ < html_.size() && !isSpace(html_[at_]) && html_[at_] != '>' &&
                      html_[at_] != '/' && html_[at_] != '<';
         ++at_)
      if (name.size() < 16) // longer than any name that matters
        name += lower(html_[at_]);
    const bool selfClosing = skipAttributes();
    if (closing)
      closeTag(name);
    else
      openTag(name, selfClosing);
    return true;
  }

  /// Moves behind the tag's '>'. A '>' inside quotes does not end the tag. True for "/>".
  bool skipAttributes() {
    char quote = 0, previous = 0;
    for (; at_ < html_.size(); ++at_) {
      const char c = html_[at_];
      if (quote) {
        if (c == quote)
          quote = 0;
      } else if (c == '>') {
        ++at_;
        return previous == '/';
      } else if ((c == '"' || c == '\'') && previous == '=') {
        quote = c; // elsewhere a quote is a stray character
      }
      if (!isSpace(c))
        previous = c;
    }
    return false;
  }

  void openTag(const std::string &name, bool selfClosing) {
    if (isOneOf(name, hiddenElements) && !selfClosing && (hidden_.empty() || hidden_ == name)) {
      hidden_ = name;
      ++hiddenDepth_;
    }
    if (isOneOf(name, rawElements) && !selfClosing)
      return skipRaw(name);
    if (!hidden_.empty())
      return;
    if (name == "br")
      writer_.lineBreak();
    else if (name == "td" || name == "th")
      writer_.cell();
    else
      edge(name);
    if (name == "li") {
      writer_.lines(1);
      writer_.listMarker();
    } else if (name == "pre") {
      ++preformatted_;
      skipNewline_ = true;
    }
  }

  void closeTag(const std::string &name) {
    if (!hidden_.empty()) {
      if (name == hidden_ && --hiddenDepth_ == 0)
        hidden_.clear();
      return;
    }
    edge(name);
    if (name == "pre" && preformatted_)
      --preformatted_;
  }

  void edge(const std::string &name) {
    if (isOneOf(name, paragraphElements))
      writer_.lines(2);
    else if (isOneOf(name, lineElements))
      writer_.lines(1);
  }

  /// Moves to the closing tag of a raw element; its content may hold anything but that.
  void skipRaw(const std::string &name) {
    for (size_t found = html_.find("</", at_); found != std::string_view::npos;
         found = html_.find("</", found + 2)) {
      const std::string_view candidate = html_.substr(found + 2, name.size());
      if (std::equal(name.begin(), name.end(), candidate.begin(), candidate.end(),
                     [](char wanted, char c) { return wanted == lower(c); })) {
        at_ = found;
        return;
      }
    }
    at_ = html_.size();
  }

  /// At '&': a character reference, or else the character itself.
  void reference() {
    constexpr size_t longest = 10; // of the names we know, and of sensible numbers
    const size_t end = std::min(html_.size(), at_ + 1 + longest + 1);
    size_t stop = at_ + 1;
    if (stop < end && html_[stop] == '#')
      ++stop;
    while (stop < end && (isLetter(html_[stop]) || isDigit(html_[stop])))
      ++stop;
    const std::string_view name = html_.substr(at_ + 1, stop - at_ - 1);
    const bool ended = stop < html_.size() && html_[stop] == ';';
    const uint32_t c = codePointOf(name, ended);
    if (!c)
      return text(html_.substr(at_++, 1));
    at_ = stop + ended;
    std::string bytes;
    if (c == 0xA0)
      bytes = " "; // the non-breaking space: text wants a plain one
    else
      appendUtf8(bytes, c);
    text(bytes);
  }

  /// 0 if `name` is no reference. Old pages leave out the ';' of a few.
  static uint32_t codePointOf(std::string_view name, bool ended) {
    if (name.size() < 2)
      return 0;
    if (name[0] != '#')
      return ended || name == "amp" || name == "lt" || name == "gt" || name == "quot" ||
                     name == "nbsp"
                 ? namedCharacter(name)
                 : 0;
    const bool hexadecimal = lower(name[1]) == 'x';
    uint64_t value = 0;
    for (char c : name.substr(hexadecimal ? 2 : 1)) {
      const int digit = isDigit(c)                       ? c - '0'
                        : hexadecimal && lower(c) <= 'f' ? lower(c) - 'a' + 10
                                                         : -1;
      if (digit < 0)
        return 0;
      value = value * (hexadecimal ? 16 : 10) + static_cast<uint64_t>(digit);
    }
    return name.size() == 1u + hexadecimal ? 0 : repairCodePoint(value);
  }

  std::string_view html_;
  size_t at_ = 0;
  Writer writer_;
  std::string hidden_; ///< the hidden element that we are in, or empty
  unsigned hiddenDepth_ = 0, preformatted_ = 0;
  bool skipNewline_ = false;
};
} // namespace

std::string htmlToText(std::string_view html) { return Scanner(html).run(); }

} // namespace retort
