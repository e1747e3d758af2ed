//===- TextFilters.cpp - Filters that make texts -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Case.h"
#include "runtime/src/chat/FilterParts.h"

#include <algorithm>

namespace retort::chat {
namespace {

/// The value as a text: what filters of texts work on.
Value soft(Interpreter &in, const Value &value) {
  return value.is(Kind::String) ? value : in.heap.string(toText(in.heap, value));
}

Value upper(Interpreter &in, const Value &value, const Arguments &args) {
  return callStringMethod(in, "upper", soft(in, value), args);
}
Value lower(Interpreter &in, const Value &value, const Arguments &args) {
  return callStringMethod(in, "lower", soft(in, value), args);
}
Value capitalize(Interpreter &in, const Value &value, const Arguments &args) {
  return callStringMethod(in, "capitalize", soft(in, value), args);
}
Value trim(Interpreter &in, const Value &value, const Arguments &args) {
  return callStringMethod(in, "strip", soft(in, value), args);
}
Value center(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "center", {"width"});
  return callStringMethod(in, "center", soft(in, value), {{Value::integer(p.whole(0, 80))}, {}});
}
Value replace(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "replace", {"old", "new", "count"});
  Arguments texts{{soft(in, p.at(0)), soft(in, p.at(1))}, {}};
  if (p.has(2) && !p.at(2).is(Kind::None))
    texts.list.push_back(p.at(2));
  return callStringMethod(in, "replace", soft(in, value), texts);
}

/// Words begin after space and opening brackets.
Value title(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "title", {});
  const Value whole = soft(in, value);
  const Text &text = whole.text();
  const std::vector<size_t> starts = charStarts(text);
  auto separates = [&](size_t i) {
    const std::string_view c =
        std::string_view(text.bytes()).substr(starts[i], starts[i + 1] - starts[i]);
    if (c.size() == 1)
      return std::string_view("-({[<").find(c[0]) != std::string_view::npos ||
             isSpace(uint8_t(c[0]));
    return c == "\xC2\x85" || c == "\xC2\xA0" || c == "\xE1\x9A\x80" || c == "\xE3\x80\x80" ||
           (c.starts_with("\xE2\x80") &&
            (uint8_t(c[2]) <= 0x8A || c[2] == '\xA8' || c[2] == '\xA9' || c[2] == '\xAF')) ||
           c == "\xE2\x81\x9F";
  };
  Text out;
  for (size_t i = 0; i + 1 < starts.size();) {
    size_t end = i + 1;
    while (end + 1 < starts.size() && separates(end) == separates(i))
      ++end;
    const Value first = in.heap.string(text.slice(starts[i], starts[i + 1]));
    const Value rest = in.heap.string(text.slice(starts[i + 1], starts[end]));
    out.append(callStringMethod(in, "upper", first, {}).text());
    out.append(callStringMethod(in, "lower", rest, {}).text());
    i = end;
  }
  return in.heap.string(std::move(out));
}

Value indent(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "indent", {"width", "first", "blank"});
  needDefined(value);
  if (!value.is(Kind::String))
    refuse("unsupported operand type(s) for +=: '" + typeName(value) + "' and 'str'");
  Text margin;
  if (p.has(0) && p.at(0).is(Kind::String))
    margin = p.text(0);
  else {
    const int64_t width = std::max<int64_t>(p.whole(0, 4), 0);
    in.heap.charge(uint64_t(width));
    margin = Text(std::string(size_t(width), ' '), Origin::Data);
  }
  Text text = value.text();
  text.append("\n", text.originBefore(text.size()));
  const Value whole = in.heap.string(std::move(text));
  const Value lines = callStringMethod(in, "splitlines", whole, {});
  const bool blank = p.flag(2, false);
  in.heap.charge(lines.list->items.size() * margin.size());
  Text out;
  if (p.flag(1, false))
    out.append(margin);
  for (size_t i = 0; i < lines.list->items.size(); ++i) {
    const Text &line = lines.list->items[i].text();
    if (i > 0) {
      out.append("\n", out.originBefore(out.size()));
      if (blank || !line.empty())
        out.append(margin);
    }
    out.append(line);
  }
  return in.heap.string(std::move(out));
}

Value truncate(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "truncate", {"length", "killwords", "end", "leeway"});
  const Value whole = soft(in, value);
  const Text end = p.has(2) ? p.text(2) : Text("...", Origin::Template);
  const int64_t length = p.whole(0, 255), leeway = p.whole(3, 5), own = int64_t(countChars(end));
  if (length < own || leeway < 0)
    refuse("expected length >= " + std::to_string(own));
  const std::vector<size_t> starts = charStarts(whole.text());
  if (int64_t(starts.size()) - 1 - leeway <= length)
    return whole;
  Text out = whole.text().slice(0, starts[size_t(length - own)]);
  if (!p.flag(1, false))
    if (const size_t space = out.bytes().rfind(' '); space != std::string::npos)
      out = out.slice(0, space);
  out.append(end);
  return in.heap.string(std::move(out));
}

Value wordcount(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "wordcount", {});
  const Value whole = soft(in, value);
  int64_t words = 0;
  bool inWord = false;
  for (char c : whole.bytes()) {
    if (uint8_t(c) >= 0x80)
      unknown("wordcount of other text than ASCII");
    const bool letter =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    words += letter && !inWord;
    inWord = letter;
  }
  return Value::integer(words);
}

Value urlencode(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "urlencode", {});
  auto quoted = [&](const Value &part, bool slash) {
    std::string out;
    for (char c : soft(in, part).bytes())
      if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
          std::string_view("_.-~").find(c) != std::string_view::npos || (slash && c == '/'))
        out += c;
      else if (c == ' ' && !slash)
        out += '+';
      else
        ((out += '%') += "0123456789ABCDEF"[uint8_t(c) >> 4]) += "0123456789ABCDEF"[c & 15];
    in.heap.charge(out.size());
    return out;
  };
  if (!value.is(Kind::Dict))
    return in.heap.string(quoted(value, true));
  std::string out;
  for (const auto &[key, item] : value.dict->items)
    out += (out.empty() ? "" : "&") + quoted(key, false) + "=" + quoted(item, false);
  return in.heap.string(out);
}

Value format(Interpreter &in, const Value &value, const Arguments &args) {
  if (!args.list.empty() && !args.named.empty())
    refuse("can't handle positional and keyword arguments at the same time");
  Value argument = in.heap.list(args.list, Kind::Tuple);
  if (!args.named.empty()) {
    argument = in.heap.dict();
    for (const auto &[key, item] : args.named)
      in.heap.set(argument, in.heap.string(key), item);
  }
  return formatPercent(in, soft(in, value), argument);
}

Value toString(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "string", {});
  return soft(in, value);
}
Value safe(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "safe", {});
  return in.heap.string(soft(in, value).text(), true);
}
Value forceEscape(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "forceescape", {});
  const Value whole = soft(in, value);
  in.heap.charge(whole.text().size() * 5);
  return in.heap.string(escapeHtml(whole.text()), true);
}
Value escape(Interpreter &in, const Value &value, const Arguments &args) {
  return value.is(Kind::String) && value.string->safe ? value : forceEscape(in, value, args);
}

Value tojson(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = p.flag(0, false);
  style.sortKeys = p.flag(3, false);
  if (p.has(1) && !p.at(1).is(Kind::None)) {
    style.pretty = true;
    style.itemSeparator = ",";
    if (p.at(1).is(Kind::String))
      style.indent = p.text(1).bytes();
    else {
      const int64_t width = std::max<int64_t>(p.whole(1, 0), 0);
      in.heap.charge(uint64_t(width));
      style.indent.assign(size_t(width), ' ');
    }
  }
  if (p.has(2) && !p.at(2).is(Kind::None)) {
    const std::vector<Value> both = in.walk(p.at(2));
    if (both.size() != 2 || !both[0].is(Kind::String) || !both[1].is(Kind::String))
      refuse("separators is no pair of texts");
    style.itemSeparator = both[0].bytes();
    style.keySeparator = both[1].bytes();
  }
  return in.heap.string(toJson(in.heap, value, style));
}

constexpr FilterEntry kFilters[] = {
    {"capitalize", capitalize},
    {"center", center},
    {"e", escape, true},
    {"escape", escape, true},
    {"forceescape", forceEscape, true},
    {"format", format},
    {"indent", indent},
    {"lower", lower},
    {"replace", replace},
    {"safe", safe, true},
    {"string", toString, true},
    {"title", title},
    {"tojson", tojson, true},
    {"trim", trim, true},
    {"truncate", truncate},
    {"upper", upper},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
};

} // namespace

std::span<const FilterEntry> textFilters() { return kFilters; }

} // namespace retort::chat
