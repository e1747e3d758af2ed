//===- Strings.cpp - The methods of str -----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Every result keeps the origin of each of its bytes (Text.h).
//
//===----------------------------------------------------------------------===//
#include "runtime/base/Utf8.h"
#include "runtime/src/chat/Case.h"
#include "runtime/src/chat/Interpreter.h"

#include <algorithm>
#include <set>

namespace retort::chat {

std::vector<size_t> charStarts(const Text &text) {
  std::vector<size_t> starts;
  const std::string &bytes = text.bytes();
  for (size_t i = 0; i < bytes.size(); ++i)
    if ((uint8_t(bytes[i]) & 0xC0) != 0x80)
      starts.push_back(i);
  starts.push_back(bytes.size());
  return starts;
}

size_t countChars(const Text &text) {
  return size_t(std::count_if(text.bytes().begin(), text.bytes().end(),
                              [](char c) { return (uint8_t(c) & 0xC0) != 0x80; }));
}

Text escapeHtml(const Text &text) {
  Text out;
  for (size_t i = 0; i < text.size(); ++i) {
    static constexpr std::pair<char, std::string_view> escapes[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'\'', "&#39;"}, {'"', "&#34;"}};
    auto it = std::find_if(std::begin(escapes), std::end(escapes),
                           [&](auto &e) { return e.first == text.bytes()[i]; });
    if (it == std::end(escapes))
      out.append(text, i, i + 1);
    else
      out.append(it->second, text.originAt(i));
  }
  return out;
}

namespace {

/// A character, where it is, and where the next one is.
struct Char {
  uint32_t code;
  size_t begin, end;
};
Char charAt(const Text &text, size_t at) {
  const char *begin = text.bytes().data() + at, *p = begin;
  const uint32_t code = nextCode(p);
  return {code, at, at + size_t(p - begin)};
}
Char charBefore(const Text &text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (uint8_t(text.bytes()[at]) & 0xC0) == 0x80)
    --at;
  return charAt(text, at);
}

void appendCased(Text &out, Case to, const Char &c, const Text &from) {
  const Cased cased = changeCase(to, c.code);
  if (!cased.many.empty())
    return out.append(cased.many, from.originAt(c.begin));
  std::string bytes;
  appendUtf8(bytes, cased.one);
  out.append(bytes, from.originAt(c.begin));
}

bool isCased(uint32_t code) {
  for (Case to : {Case::Upper, Case::Lower})
    if (const Cased cased = changeCase(to, code); cased.one != code || !cased.many.empty())
      return true;
  return false;
}

/// A capital sigma at a word's end becomes another letter than elsewhere.
bool isFinalSigma(const Text &text, const Char &c) {
  if (c.code != 0x3A3)
    return false;
  const bool before = c.begin > 0 && isCased(charBefore(text, c.begin).code);
  const bool after = c.end < text.size() && isCased(charAt(text, c.end).code);
  return before && !after;
}

void appendLower(Text &out, const Char &c, const Text &from) {
  if (isFinalSigma(from, c))
    out.append("\xCF\x82", from.originAt(c.begin));
  else
    appendCased(out, Case::Lower, c, from);
}

Value mapChars(Interpreter &in, const Text &text, auto each) {
  Text out;
  in.heap.step(text.size() / 4);
  for (size_t at = 0; at < text.size();) {
    const Char c = charAt(text, at);
    each(out, c);
    at = c.end;
  }
  return in.heap.string(std::move(out));
}

Value upper(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "upper", {});
  const Text &text = self.text();
  return mapChars(in, text,
                  [&](Text &out, const Char &c) { appendCased(out, Case::Upper, c, text); });
}
Value lower(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "lower", {});
  const Text &text = self.text();
  return mapChars(in, text, [&](Text &out, const Char &c) { appendLower(out, c, text); });
}
Value capitalize(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "capitalize", {});
  const Text &text = self.text();
  return mapChars(in, text, [&](Text &out, const Char &c) {
    c.begin == 0 ? appendCased(out, Case::Title, c, text) : appendLower(out, c, text);
  });
}
Value title(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "title", {});
  const Text &text = self.text();
  bool inWord = false;
  return mapChars(in, text, [&](Text &out, const Char &c) {
    inWord ? appendLower(out, c, text) : appendCased(out, Case::Title, c, text);
    inWord = isCased(c.code);
  });
}
Value swapcase(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "swapcase", {});
  const Text &text = self.text();
  return mapChars(in, text, [&](Text &out, const Char &c) {
    const Cased low = changeCase(Case::Lower, c.code);
    const bool isUpper = low.one != c.code || !low.many.empty();
    isUpper ? appendLower(out, c, text) : appendCased(out, Case::Upper, c, text);
  });
}

Value stripped(Interpreter &in, const Value &self, const Arguments &args, const char *name,
               bool left, bool right) {
  const Text &text = self.text();
  Parameters p(args, name, {"chars"});
  std::set<uint32_t> set;
  const bool given = p.has(0) && !p.at(0).is(Kind::None);
  if (given)
    for (size_t at = 0; at < p.text(0).size();) {
      const Char c = charAt(p.text(0), at);
      set.insert(c.code);
      at = c.end;
    }
  auto goes = [&](uint32_t code) { return given ? set.count(code) > 0 : isSpace(code); };
  size_t begin = 0, end = text.size();
  for (; left && begin < end && goes(charAt(text, begin).code);)
    begin = charAt(text, begin).end;
  for (; right && begin < end && goes(charBefore(text, end).code);)
    end = charBefore(text, end).begin;
  in.heap.step(text.size() / 16);
  return in.heap.string(text.slice(begin, end), self.string->safe);
}
Value strip(Interpreter &in, const Value &self, const Arguments &args) {
  return stripped(in, self, args, "strip", true, true);
}
Value lstrip(Interpreter &in, const Value &self, const Arguments &args) {
  return stripped(in, self, args, "lstrip", true, false);
}
Value rstrip(Interpreter &in, const Value &self, const Arguments &args) {
  return stripped(in, self, args, "rstrip", false, true);
}

/// [begin, end) of the pieces between separators, the first `most` of them from one end.
using Pieces = std::vector<std::pair<size_t, size_t>>;
Pieces splitAt(const std::string &text, const std::string &separator, uint64_t most,
               bool fromRight) {
  Pieces pieces;
  if (!fromRight) {
    size_t at = 0;
    for (size_t hit; pieces.size() < most && (hit = text.find(separator, at)) != text.npos;
         at = hit + separator.size())
      pieces.emplace_back(at, hit);
    pieces.emplace_back(at, text.size());
    return pieces;
  }
  size_t end = text.size();
  while (pieces.size() < most && end >= separator.size()) {
    const size_t hit = text.rfind(separator, end - separator.size());
    if (hit == text.npos)
      break;
    pieces.emplace_back(hit + separator.size(), end);
    end = hit;
  }
  pieces.emplace_back(0, end);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

Pieces splitAtSpace(const Text &text, uint64_t most, bool fromRight) {
  Pieces pieces;
  size_t begin = 0, end = text.size();
  auto skipLeft = [&] {
    while (begin < end && isSpace(charAt(text, begin).code))
      begin = charAt(text, begin).end;
  };
  auto skipRight = [&] {
    while (begin < end && isSpace(charBefore(text, end).code))
      end = charBefore(text, end).begin;
  };
  fromRight ? skipRight() : skipLeft();
  while (begin < end) {
    if (pieces.size() >= most) { // the rest, with the space at its other side
      pieces.emplace_back(begin, end);
      break;
    }
    if (fromRight) {
      size_t at = end;
      while (at > begin && !isSpace(charBefore(text, at).code))
        at = charBefore(text, at).begin;
      pieces.emplace_back(at, end);
      end = at;
      skipRight();
    } else {
      size_t at = begin;
      while (at < end && !isSpace(charAt(text, at).code))
        at = charAt(text, at).end;
      pieces.emplace_back(begin, at);
      begin = at;
      skipLeft();
    }
  }
  if (fromRight)
    std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

Value splitBy(Interpreter &in, const Value &self, const Arguments &args, const char *name,
              bool fromRight) {
  Parameters p(args, name, {"sep", "maxsplit"});
  const int64_t given = p.whole(1, -1);
  const uint64_t most = given < 0 ? UINT64_MAX : uint64_t(given);
  const Text &text = self.text();
  in.heap.step(text.size() / 16);
  Pieces pieces;
  if (!p.has(0) || p.at(0).is(Kind::None))
    pieces = splitAtSpace(text, most, fromRight);
  else if (p.text(0).empty())
    refuse("empty separator");
  else
    pieces = splitAt(text.bytes(), p.text(0).bytes(), most, fromRight);
  std::vector<Value> items;
  for (auto [begin, end] : pieces)
    items.push_back(in.heap.string(text.slice(begin, end)));
  return in.heap.list(std::move(items));
}
Value split(Interpreter &in, const Value &self, const Arguments &args) {
  return splitBy(in, self, args, "split", false);
}
Value rsplit(Interpreter &in, const Value &self, const Arguments &args) {
  return splitBy(in, self, args, "rsplit", true);
}

Value partitionAt(Interpreter &in, const Value &self, const Arguments &args, const char *name,
                  bool fromRight) {
  Parameters p(args, name, {"sep"});
  const Text &text = self.text(), &separator = p.text(0);
  if (separator.empty())
    refuse("empty separator");
  in.heap.step(text.size() / 16);
  const size_t hit =
      fromRight ? text.bytes().rfind(separator.bytes()) : text.bytes().find(separator.bytes());
  Text none;
  std::vector<Text> parts{text, none, none};
  if (hit != std::string::npos)
    parts = {text.slice(0, hit), text.slice(hit, hit + separator.size()),
             text.slice(hit + separator.size(), text.size())};
  else if (fromRight)
    std::swap(parts[0], parts[2]);
  std::vector<Value> items;
  for (Text &part : parts)
    items.push_back(in.heap.string(std::move(part)));
  return in.heap.list(std::move(items), Kind::Tuple);
}
Value partition(Interpreter &in, const Value &self, const Arguments &args) {
  return partitionAt(in, self, args, "partition", false);
}
Value rpartition(Interpreter &in, const Value &self, const Arguments &args) {
  return partitionAt(in, self, args, "rpartition", true);
}

Value splitlines(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters p(args, "splitlines", {"keepends"});
  const bool keep = p.flag(0, false);
  const Text &text = self.text();
  in.heap.step(text.size() / 4);
  std::vector<Value> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    Char c = charAt(text, at);
    at = c.end;
    if (!isLineEnd(c.code))
      continue;
    if (c.code == '\r' && at < text.size() && text.bytes()[at] == '\n')
      ++at;
    lines.push_back(in.heap.string(text.slice(begin, keep ? at : c.begin)));
    begin = at;
  }
  if (begin < text.size())
    lines.push_back(in.heap.string(text.slice(begin, text.size())));
  return in.heap.list(std::move(lines));
}

/// The part of the text that `start` and `end` (in characters) leave.
std::pair<size_t, size_t> window(const Text &text, const Parameters &p, size_t first) {
  if (!p.has(first) && !p.has(first + 1))
    return {0, text.size()};
  const std::vector<size_t> starts = charStarts(text);
  const int64_t size = int64_t(starts.size()) - 1;
  auto bound = [&](size_t i, int64_t missing) {
    const int64_t at = p.has(i) && p.at(i).is(Kind::None) ? missing : p.whole(i, missing);
    return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size);
  };
  const int64_t begin = bound(first, 0), end = bound(first + 1, size);
  return {starts[size_t(begin)], std::max(starts[size_t(begin)], starts[size_t(end)])};
}

template <bool AtEnd>
Value startsOrEnds(Interpreter &in, const Value &self, const Arguments &args) {
  const char *name = AtEnd ? "endswith" : "startswith";
  Parameters p(args, name, {"prefix", "start", "end"});
  auto [begin, end] = window(self.text(), p, 1);
  const std::string_view text = std::string_view(self.bytes()).substr(begin, end - begin);
  in.heap.step(text.size() / 64);
  auto matches = [&](const Value &what) {
    if (!what.is(Kind::String))
      refuse(std::string(name) + " first arg must be str or a tuple of str, not " + typeName(what));
    return AtEnd ? text.ends_with(what.bytes()) : text.starts_with(what.bytes());
  };
  const Value &what = p.at(0);
  bool any = false;
  if (what.is(Kind::Tuple))
    for (const Value &one : what.list->items)
      any |= matches(one);
  else
    any = matches(what);
  return Value::boolean(any);
}

/// -1 if it is not there, else the character where it begins.
int64_t findIn(Interpreter &in, const Value &self, const Arguments &args, const char *name,
               bool last) {
  Parameters p(args, name, {"sub", "start", "end"});
  auto [begin, end] = window(self.text(), p, 1);
  const std::string_view text = std::string_view(self.bytes()).substr(begin, end - begin);
  in.heap.step(self.text().size() / 16);
  const size_t hit = last ? text.rfind(p.text(0).bytes()) : text.find(p.text(0).bytes());
  return hit == text.npos ? -1 : int64_t(countChars(self.text().slice(0, begin + hit)));
}
Value find(Interpreter &in, const Value &self, const Arguments &args) {
  return Value::integer(findIn(in, self, args, "find", false));
}
Value rfind(Interpreter &in, const Value &self, const Arguments &args) {
  return Value::integer(findIn(in, self, args, "rfind", true));
}
Value index(Interpreter &in, const Value &self, const Arguments &args) {
  const int64_t at = findIn(in, self, args, "index", false);
  if (at < 0)
    refuse("substring not found");
  return Value::integer(at);
}
Value rindex(Interpreter &in, const Value &self, const Arguments &args) {
  const int64_t at = findIn(in, self, args, "rindex", true);
  if (at < 0)
    refuse("substring not found");
  return Value::integer(at);
}
Value count(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters p(args, "count", {"sub", "start", "end"});
  auto [begin, end] = window(self.text(), p, 1);
  const Text part = self.text().slice(begin, end);
  in.heap.step(part.size() / 16);
  if (p.text(0).empty())
    return Value::integer(int64_t(countChars(part)) + 1);
  return Value::integer(
      int64_t(splitAt(part.bytes(), p.text(0).bytes(), UINT64_MAX, false).size()) - 1);
}

Value replace(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters p(args, "replace", {"old", "new", "count"});
  const Text &text = self.text(), &from = p.text(0), &to = p.text(1);
  const int64_t given = p.whole(2, -1);
  uint64_t left = given < 0 ? UINT64_MAX : uint64_t(given);
  in.heap.step(text.size() / 16);
  Text out;
  if (from.empty()) { // before every character, and at the end
    const std::vector<size_t> starts = charStarts(text);
    for (size_t i = 0; i < starts.size(); ++i) {
      if (left > 0) {
        --left;
        in.heap.charge(to.size());
        out.append(to);
      }
      if (i + 1 < starts.size())
        out.append(text, starts[i], starts[i + 1]);
    }
    return in.heap.string(std::move(out));
  }
  const Pieces pieces = splitAt(text.bytes(), from.bytes(), left, false);
  in.heap.charge(pieces.size() * to.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0)
      out.append(to);
    out.append(text, pieces[i].first, pieces[i].second);
  }
  return in.heap.string(std::move(out));
}

Value join(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters p(args, "join", {"iterable"});
  Text out;
  bool first = true;
  for (const Value &item : in.walk(p.at(0))) {
    if (!item.is(Kind::String))
      refuse("sequence item: expected str instance, " + typeName(item) + " found");
    in.heap.charge(item.text().size() + self.text().size());
    if (!first)
      out.append(self.text());
    out.append(item.text());
    first = false;
  }
  return in.heap.string(std::move(out));
}

Value removeprefix(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters p(args, "removeprefix", {"prefix"});
  const Text &text = self.text();
  const bool there = text.bytes().starts_with(p.text(0).bytes());
  return in.heap.string(text.slice(there ? p.text(0).size() : 0, text.size()));
}
Value removesuffix(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters p(args, "removesuffix", {"suffix"});
  const Text &text = self.text();
  const bool there = text.bytes().ends_with(p.text(0).bytes());
  return in.heap.string(text.slice(0, text.size() - (there ? p.text(0).size() : 0)));
}

/// How str.center() and its like share out what is missing: before, after.
Value padded(Interpreter &in, const Value &self, const Arguments &args, const char *name,
             int side) {
  Parameters p(args, name, {"width", "fillchar"});
  const int64_t width = p.whole(0, 0), size = int64_t(countChars(self.text()));
  Text fill(" ", Origin::Template);
  if (p.has(1))
    fill = p.text(1);
  if (countChars(fill) != 1)
    refuse("The fill character must be exactly one character long");
  if (width <= size)
    return self;
  in.heap.charge(uint64_t(width));
  const int64_t missing = width - size;
  const int64_t before = side < 0 ? 0 : side > 0 ? missing : missing / 2 + (missing & width & 1);
  Text out;
  for (int64_t i = 0; i < before; ++i)
    out.append(fill);
  out.append(self.text());
  for (int64_t i = before; i < missing; ++i)
    out.append(fill);
  return in.heap.string(std::move(out));
}
Value center(Interpreter &in, const Value &self, const Arguments &args) {
  return padded(in, self, args, "center", 0);
}
Value ljust(Interpreter &in, const Value &self, const Arguments &args) {
  return padded(in, self, args, "ljust", -1);
}
Value rjust(Interpreter &in, const Value &self, const Arguments &args) {
  return padded(in, self, args, "rjust", 1);
}
Value zfill(Interpreter &in, const Value &self, const Arguments &args) {
  const int64_t width = Parameters(args, "zfill", {"width"}).whole(0, 0);
  const Text &text = self.text();
  const int64_t size = int64_t(countChars(text));
  if (width <= size)
    return self;
  in.heap.charge(uint64_t(width));
  const size_t sign = text.bytes().starts_with('-') || text.bytes().starts_with('+');
  Text out = text.slice(0, sign);
  out.append(std::string(size_t(width - size), '0'), Origin::Data);
  out.append(text, sign, text.size());
  return in.heap.string(std::move(out));
}

/// A question about all characters of a text that is not empty; only ASCII's are known.
template <int (*Is)(char)> Value allAre(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "is...", {});
  bool all = !self.text().empty();
  in.heap.step(self.text().size() / 16);
  for (char c : self.bytes()) {
    if (uint8_t(c) >= 0x80)
      unknown("a question such as isdigit() about other text than ASCII");
    all = all && Is(c);
  }
  return Value::boolean(all);
}
int isDigit(char c) { return c >= '0' && c <= '9'; }
int isAlpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
int isAlnum(char c) { return isDigit(c) || isAlpha(c); }
Value isspace(Interpreter &, const Value &self, const Arguments &args) {
  Parameters(args, "isspace", {});
  for (size_t at = 0; at < self.text().size(); at = charAt(self.text(), at).end)
    if (!isSpace(charAt(self.text(), at).code))
      return Value::boolean(false);
  return Value::boolean(!self.text().empty());
}
template <Case Own> Value allInCase(Interpreter &in, const Value &self, const Arguments &args) {
  Parameters(args, "islower or isupper", {});
  const Text &text = self.text();
  in.heap.step(text.size() / 8);
  bool any = false;
  for (size_t at = 0; at < text.size(); at = charAt(text, at).end) {
    const uint32_t code = charAt(text, at).code;
    const Cased own = changeCase(Own, code);
    if (own.one != code || !own.many.empty())
      return Value::boolean(false);
    any |= isCased(code);
  }
  return Value::boolean(any);
}

/// str.format() with {}, {0} and {name}; the sandbox allows attributes too, which are not known here.
Value format(Interpreter &in, const Value &self, const Arguments &args) {
  const Text &text = self.text();
  const std::string &bytes = text.bytes();
  Text out;
  size_t next = 0;
  bool numbered = false;
  for (size_t at = 0; at < bytes.size(); ++at) {
    const char c = bytes[at];
    if (c != '{' && c != '}') {
      out.append(text, at, at + 1);
      continue;
    }
    if (at + 1 < bytes.size() && bytes[at + 1] == c) {
      out.append(text, at, at + 1);
      ++at;
      continue;
    }
    const size_t end = bytes.find('}', at);
    if (c == '}' || end == bytes.npos)
      refuse("Single '" + std::string(1, c) + "' encountered in format string");
    const std::string name = bytes.substr(at + 1, end - at - 1);
    at = end;
    const bool isNumber =
        !name.empty() && name.size() < 6 && name.find_first_not_of("0123456789") == name.npos;
    if (name.find_first_of("!:.[") != name.npos)
      unknown("format() with {" + name + "}");
    if (name.empty() || isNumber) {
      if (name.empty() ? numbered : next > 0)
        refuse("format() mixes numbered fields with others");
      numbered |= isNumber;
      const size_t i = name.empty() ? next++ : size_t(std::stoul(name));
      if (i >= args.list.size())
        refuse("Replacement index " + std::to_string(i) +
               " out of range for positional args tuple");
      out.append(toText(in.heap, args.list[i]));
      continue;
    }
    auto it = std::find_if(args.named.begin(), args.named.end(),
                           [&](auto &a) { return a.first == name; });
    if (it == args.named.end())
      refuse("format() has no argument '" + name + "'");
    out.append(toText(in.heap, it->second));
  }
  return in.heap.string(std::move(out));
}

constexpr MethodEntry kMethods[] = {
    {Kind::String, "capitalize", capitalize},
    {Kind::String, "center", center},
    {Kind::String, "count", count},
    {Kind::String, "endswith", startsOrEnds<true>},
    {Kind::String, "find", find},
    {Kind::String, "format", format},
    {Kind::String, "index", index},
    {Kind::String, "isalnum", allAre<isAlnum>},
    {Kind::String, "isalpha", allAre<isAlpha>},
    {Kind::String, "isdecimal", allAre<isDigit>},
    {Kind::String, "isdigit", allAre<isDigit>},
    {Kind::String, "islower", allInCase<Case::Lower>},
    {Kind::String, "isnumeric", allAre<isDigit>},
    {Kind::String, "isspace", isspace},
    {Kind::String, "isupper", allInCase<Case::Upper>},
    {Kind::String, "join", join},
    {Kind::String, "ljust", ljust},
    {Kind::String, "lower", lower},
    {Kind::String, "lstrip", lstrip},
    {Kind::String, "partition", partition},
    {Kind::String, "removeprefix", removeprefix},
    {Kind::String, "removesuffix", removesuffix},
    {Kind::String, "replace", replace},
    {Kind::String, "rfind", rfind},
    {Kind::String, "rindex", rindex},
    {Kind::String, "rjust", rjust},
    {Kind::String, "rpartition", rpartition},
    {Kind::String, "rsplit", rsplit},
    {Kind::String, "rstrip", rstrip},
    {Kind::String, "split", split},
    {Kind::String, "splitlines", splitlines},
    {Kind::String, "startswith", startsOrEnds<false>},
    {Kind::String, "strip", strip},
    {Kind::String, "swapcase", swapcase},
    {Kind::String, "title", title},
    {Kind::String, "upper", upper},
    {Kind::String, "zfill", zfill},
};

} // namespace

const MethodEntry *findStringMethod(std::string_view name) {
  for (const MethodEntry &method : kMethods)
    if (name == method.name)
      return &method;
  return nullptr;
}

Value callStringMethod(Interpreter &interpreter, const char *name, const Value &self,
                       const Arguments &args) {
  return findStringMethod(name)->run(interpreter, self, args);
}

} // namespace retort::chat
