//===- Html.cpp - The text of a web page ------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
// One pass over the bytes. The scanner below looks at tags, the writer above it decides what white
// space text is set in; neither ever looks back, so time is linear in the page.
#include "compiler/Data/Html.h"
#include "compiler/Data/HtmlEntities.h"
#include "runtime/base/Utf8.h"

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
constexpr std::array<std::string_view, 6> hiddenElements = {
    "svg", "template", "noscript", "object", "annotation", "annotation-xml"};
// Text in which only the end tag is markup.
constexpr std::array<std::string_view, 2> plainElements = {"textarea", "title"};
// Elements without content, which no end tag follows.
constexpr std::array<std::string_view, 13> voidElements = {
    "area",  "base", "br",   "col",    "embed", "hr", "img",
    "input", "link", "meta", "source", "track", "wbr"};
// Elements whose end tag may be left out: what follows ends them.
constexpr std::array<std::string_view, 9> unclosedElements = {"p",  "li", "dt",     "dd",  "tr",
                                                              "td", "th", "option", "body"};
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

  /// At "<!--": moves behind "-->" or, as browsers do, "--!>". "<!-->" is a whole comment.
  void skipComment() {
    const size_t begin = at_ + 4;
    for (at_ += 2;; ++at_) {
      at_ = html_.find("--", at_);
      if (at_ == std::string_view::npos) {
        at_ = html_.size();
        return;
      }
      const size_t length = html_.substr(at_ + 2, 1) == ">"                    ? 3
                            : at_ >= begin && html_.substr(at_ + 2, 2) == "!>" ? 4
                                                                               : 0;
      at_ += length;
      if (length)
        return;
    }
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
    if (plain_.empty() && startsWith("<!--")) {
      skipComment();
      return true;
    }
    if (plain_.empty() && (startsWith("<!") || startsWith("<?"))) {
      skipPast(">");
      return true;
    }
    const bool closing = startsWith("</");
    const size_t begin = at_ + 1 + closing;
    if (begin >= html_.size() || !isLetter(html_[begin]))
      return false;
    if (!plain_.empty() && !(closing && isTag(begin, plain_)))
      return false;
    plain_.clear();
    std::string name;
    for (at_ = begin; at_ < html_.size() && !isSpace(html_[at_]) && html_[at_] != '>' &&
                      html_[at_] != '/' && html_[at_] != '<';
         ++at_)
      if (name.size() < 16) // longer than any name that matters
        name += lower(html_[at_]);
    const Attributes attributes = readAttributes();
    if (closing)
      closeTag(name);
    else
      openTag(name, attributes);
    return true;
  }

  /// Whether a tag's name at `begin` is `name`.
  bool isTag(size_t begin, std::string_view name) const {
    const std::string_view candidate = html_.substr(begin, name.size());
    const size_t end = begin + name.size();
    return std::equal(name.begin(), name.end(), candidate.begin(), candidate.end(),
                      [](char wanted, char c) { return wanted == lower(c); }) &&
           (end >= html_.size() || isSpace(html_[end]) || html_[end] == '>' || html_[end] == '/');
  }

  struct Attributes {
    bool selfClosing = false; ///< "/>"
    bool hidden = false;      ///< one is named so, whatever its value
  };

  /// Moves behind the tag's '>'. A '>' inside quotes does not end the tag.
  Attributes readAttributes() {
    Attributes attributes;
    char quote = 0, previous = ' ';
    std::string name; // of an attribute, as far as it was read; longer ones do not matter
    bool inValue = false;
    for (; at_ < html_.size(); ++at_) {
      const char c = html_[at_];
      if (quote) {
        if (c == quote)
          quote = 0;
        previous = c;
        continue;
      }
      const bool ends = isSpace(c) || c == '>' || c == '/' || c == '=';
      attributes.hidden |= ends && !inValue && name == "hidden";
      if (c == '>') {
        ++at_;
        attributes.selfClosing = previous == '/';
        return attributes;
      }
      if ((c == '"' || c == '\'') && previous == '=')
        quote = c; // elsewhere a quote is a stray character
      if (c == '=')
        inValue = true;
      else if (isSpace(c) && previous != '=')
        inValue = false;
      if (ends)
        name.clear();
      else if (!inValue && name.size() < 16)
        name += lower(c);
      if (!isSpace(c))
        previous = c;
    }
    return attributes;
  }

  /// Whether the start tag `name`, or, as `closing`, the end tag, ends the element that the attribute
  /// `hidden` hides though its own end tag, which may be left out, has not come.
  bool endsHidden(const std::string &name, bool closing) const {
    if (!byAttribute_ || !isOneOf(hidden_, unclosedElements))
      return false;
    if (closing)
      return hiddenBlocks_ == 0 && name != hidden_ && isBlock(name);
    return hiddenBlocks_ == 0 && (name == hidden_ || (hidden_ == "p" && isBlock(name)));
  }
  static bool isBlock(const std::string &name) {
    return isOneOf(name, paragraphElements) || isOneOf(name, lineElements) || name == "select";
  }
  void show() {
    hidden_.clear();
    hiddenDepth_ = hiddenBlocks_ = 0;
    byAttribute_ = false;
  }

  void openTag(const std::string &name, const Attributes &attributes) {
    if (!hidden_.empty() && endsHidden(name, false))
      show();
    const bool empty = attributes.selfClosing || isOneOf(name, voidElements);
    const bool hides = isOneOf(name, hiddenElements) || (attributes.hidden && hidden_.empty());
    if (!empty && (hides || hidden_ == name) && (hidden_.empty() || hidden_ == name)) {
      byAttribute_ |= hidden_.empty() && !isOneOf(name, hiddenElements);
      hidden_ = name;
      ++hiddenDepth_;
    } else if (!empty && !hidden_.empty() && isBlock(name) && !isOneOf(name, unclosedElements)) {
      ++hiddenBlocks_;
    }
    if (isOneOf(name, rawElements) && !attributes.selfClosing)
      return skipRaw(name);
    if (isOneOf(name, plainElements) && !attributes.selfClosing)
      plain_ = name;
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
    if (!hidden_.empty() && endsHidden(name, true))
      show();
    if (!hidden_.empty()) {
      if (name == hidden_ && --hiddenDepth_ == 0)
        show();
      else if (hiddenBlocks_ && isBlock(name) && !isOneOf(name, unclosedElements))
        --hiddenBlocks_;
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
      if (isTag(found + 2, name)) {
        at_ = found;
        return;
      }
    }
    at_ = html_.size();
  }

  /// At '&': a character reference, or else the character itself.
  void reference() {
    size_t used = 0;
    std::string bytes;
    if (html_.substr(at_ + 1, 1) == "#")
      bytes = numericReference(used);
    else
      bytes = namedCharacters(html_.substr(at_ + 1), used);
    if (bytes.empty())
      return text(html_.substr(at_++, 1));
    at_ += 1 + used;
    // Text wants a plain space for the non-breaking one.
    text(bytes == "\u00a0" ? std::string_view(" ") : std::string_view(bytes));
  }

  /// The character of "#65;" or "#x41;" behind the '&'; old pages leave out the ';'.
  std::string numericReference(size_t &used) const {
    size_t at = at_ + 2;
    const bool hexadecimal = at < html_.size() && lower(html_[at]) == 'x';
    at += hexadecimal;
    const size_t digits = at;
    uint64_t value = 0;
    for (; at < html_.size(); ++at) {
      const char c = lower(html_[at]);
      const int digit = isDigit(c)                            ? c - '0'
                        : hexadecimal && c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                              : -1;
      if (digit < 0)
        break;
      value = std::min<uint64_t>(value * (hexadecimal ? 16 : 10) + static_cast<uint64_t>(digit),
                                 0x110000);
    }
    std::string bytes;
    if (at == digits)
      return bytes;
    used = at - at_ - 1 + (at < html_.size() && html_[at] == ';');
    appendUtf8(bytes, repairCodePoint(value));
    return bytes;
  }

  std::string_view html_;
  size_t at_ = 0;
  Writer writer_;
  std::string hidden_; ///< the hidden element that we are in, or empty
  std::string plain_;  ///< the element without markup that we are in, or empty
  unsigned hiddenDepth_ = 0, hiddenBlocks_ = 0; ///< elements like it, and others, open within it
  bool byAttribute_ = false;                    ///< it is hidden by its attribute, not by its name
  unsigned preformatted_ = 0;
  bool skipNewline_ = false;
};
} // namespace

std::string htmlToText(std::string_view html) { return Scanner(html).run(); }

} // namespace retort
