//===- Filters.cpp - Jinja's filters --------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Case.h"
#include "runtime/src/chat/Interpreter.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <list>

namespace retort::chat {
namespace {

/// The value as a text: what filters of texts work on.
Value soft(Interpreter &in, const Value &value) {
  return value.is(Kind::String) ? value : in.heap.string(toText(in.heap, value));
}

void needDefined(const Value &value) {
  if (value.is(Kind::Undefined))
    refuse(value.string ? value.bytes() : "a value is undefined");
}

//===----------------------------------------------------------------------===//
// Texts
//===----------------------------------------------------------------------===//

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

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && isSpace(uint8_t(text.front())) && uint8_t(text.front()) < 0x80)
    text.remove_prefix(1);
  while (!text.empty() && isSpace(uint8_t(text.back())) && uint8_t(text.back()) < 0x80)
    text.remove_suffix(1);
  return text;
}

/// Python's float(text).
bool parseFloat(std::string_view text, double &out) {
  text = trimmed(text);
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    auto digit = [&](size_t k) { return k < text.size() && text[k] >= '0' && text[k] <= '9'; };
    if (text[i] != '_')
      digits += text[i];
    else if (i == 0 || !digit(i - 1) || !digit(i + 1))
      return false;
  }
  const bool plus = digits.starts_with('+');
  if (plus && digits.size() > 1 && (digits[1] == '-' || digits[1] == '+'))
    return false;
  const char *begin = digits.data() + plus, *end = digits.data() + digits.size();
  auto [at, error] = std::from_chars(begin, end, out);
  if (error == std::errc::result_out_of_range) {
    out = std::strtod(digits.c_str(), nullptr); // an infinity, or a 0
    return true;
  }
  return error == std::errc() && at == end && begin != end && digits.find('(') == digits.npos;
}

Value floatOf(Interpreter &, const Value &value, const Arguments &args) {
  Parameters p(args, "float", {"default"});
  needDefined(value);
  double out = 0;
  if (value.isNumber())
    return Value::floating(value.asDouble());
  if (value.is(Kind::String) && parseFloat(value.bytes(), out))
    return Value::floating(out);
  return p.has(0) ? p.at(0) : Value::floating(0);
}

/// Python's int(text, base), for texts that fit.
bool parseWhole(std::string_view text, int base, int64_t &out) {
  text = trimmed(text);
  const bool minus = text.starts_with('-');
  if (minus || text.starts_with('+'))
    text.remove_prefix(1);
  for (auto [prefix, own] :
       {std::pair("0x", 16), {"0X", 16}, {"0o", 8}, {"0O", 8}, {"0b", 2}, {"0B", 2}})
    if (base == own && text.starts_with(prefix))
      text.remove_prefix(2);
  std::string digits(minus ? "-" : "");
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_')
      digits += text[i];
    else if (i == 0 || i + 1 == text.size() || text[i - 1] == '_')
      return false;
  }
  auto [at, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out, base);
  if (error == std::errc::result_out_of_range)
    unknown("a whole number beyond 64 bits");
  return error == std::errc() && at == digits.data() + digits.size() && !text.empty() &&
         !text.starts_with('-');
}

Value intOf(Interpreter &, const Value &value, const Arguments &args) {
  Parameters p(args, "int", {"default", "base"});
  needDefined(value);
  const int64_t base = p.whole(1, 10);
  if (base < 2 || base > 36)
    unknown("the filter int with this base");
  if (value.isWhole())
    return Value::integer(value.whole());
  double real = 0;
  int64_t whole = 0;
  if (value.is(Kind::String) && parseWhole(value.bytes(), int(base), whole))
    return Value::integer(whole);
  const bool isReal =
      value.is(Kind::Float) || (value.is(Kind::String) && parseFloat(value.bytes(), real));
  if (value.is(Kind::Float))
    real = value.real;
  if (!isReal || std::isnan(real) || std::isinf(real))
    return p.has(0) ? p.at(0) : Value::integer(0);
  if (std::abs(real) > 9e18)
    unknown("a whole number beyond 64 bits");
  return Value::integer(int64_t(real));
}

Value absolute(Interpreter &, const Value &value, const Arguments &args) {
  Parameters(args, "abs", {});
  needDefined(value);
  if (!value.isNumber() || (value.isWhole() && value.whole() == INT64_MIN))
    refuse("bad operand type for abs(): '" + typeName(value) + "'");
  return value.is(Kind::Float) ? Value::floating(std::abs(value.real))
                               : Value::integer(std::abs(value.whole()));
}

Value round(Interpreter &, const Value &value, const Arguments &args) {
  Parameters p(args, "round", {"precision", "method"});
  needDefined(value);
  const int64_t precision = p.whole(0, 0);
  const std::string method = p.has(1) ? p.text(1).bytes() : "common";
  if (!value.isNumber())
    refuse("type " + typeName(value) + " doesn't define __round__ method");
  if (precision < 0 || precision > 15)
    unknown("the filter round with this precision");
  if (method == "common") {
    if (value.isWhole())
      return Value::integer(value.whole());
    if (!std::isfinite(value.real))
      return value;
    char buffer[400]; // the exact value, rounded half to even where it is a half
    const int size = std::snprintf(buffer, sizeof buffer, "%.*f", int(precision), value.real);
    double out = 0;
    std::from_chars(buffer, buffer + size, out);
    return Value::floating(out);
  }
  if (method != "ceil" && method != "floor")
    refuse("method must be common, ceil or floor");
  const double scale = std::pow(10.0, double(precision)), scaled = value.asDouble() * scale;
  return Value::floating((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
}

//===----------------------------------------------------------------------===//
// Lists
//===----------------------------------------------------------------------===//

/// What `attribute=` names: "a.b.0", or a number.
class Getter {
public:
  Getter(Interpreter &in, const Value *attribute) : in_(in) {
    if (!attribute || attribute->is(Kind::None))
      return;
    if (!attribute->is(Kind::String)) {
      keys_.push_back(*attribute);
      return;
    }
    const std::string &path = attribute->bytes();
    for (size_t at = 0; at <= path.size();) {
      const size_t dot = std::min(path.find('.', at), path.size());
      const std::string part = path.substr(at, dot - at);
      const bool isNumber =
          !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == part.npos;
      keys_.push_back(isNumber ? Value::integer(std::stol(part)) : in.heap.string(part));
      at = dot + 1;
    }
  }
  Value operator()(Value item, const Value *missing = nullptr) const {
    for (const Value &key : keys_) {
      item = in_.item(item, key);
      if (missing && item.is(Kind::Undefined))
        item = *missing;
    }
    return item;
  }

private:
  Interpreter &in_;
  std::vector<Value> keys_;
};

Value withoutCase(Interpreter &in, const Value &value, bool caseSensitive) {
  return value.is(Kind::String) && !caseSensitive ? callStringMethod(in, "lower", value, {})
                                                  : value;
}

/// Sorts items by keys, stable. Throws Error where keys have no order.
std::vector<Value> sortedBy(Interpreter &in, const std::vector<Value> &items,
                            const std::vector<std::vector<Value>> &keys, bool reverse) {
  std::list<size_t> order; // whose sort bears keys without an order, such as NaN
  for (size_t i = 0; i < items.size(); ++i)
    order.push_back(i);
  auto less = [&](size_t a, size_t b) {
    for (size_t k = 0; k < keys[a].size(); ++k)
      if (!equal(in.heap, keys[a][k], keys[b][k]))
        return compare(in.heap, keys[a][k], keys[b][k]) < 0;
    return false;
  };
  order.sort([&](size_t a, size_t b) { return reverse ? less(b, a) : less(a, b); });
  std::vector<Value> sorted;
  for (size_t i : order)
    sorted.push_back(items[i]);
  return sorted;
}

Value sort(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "sort", {"reverse", "case_sensitive", "attribute"});
  const std::vector<Value> items = in.walk(value);
  std::vector<Getter> getters;
  if (p.has(2) && p.at(2).is(Kind::String)) {
    const Value names = callStringMethod(in, "split", p.at(2), {{in.heap.string(",")}, {}});
    for (const Value &name : names.list->items)
      getters.emplace_back(in, &name);
  } else
    getters.emplace_back(in, p.has(2) ? &p.at(2) : nullptr);
  std::vector<std::vector<Value>> keys(items.size());
  for (size_t i = 0; i < items.size(); ++i)
    for (const Getter &getter : getters)
      keys[i].push_back(withoutCase(in, getter(items[i]), p.flag(1, false)));
  return in.heap.list(sortedBy(in, items, keys, p.flag(0, false)));
}

Value dictsort(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "dictsort", {"case_sensitive", "by", "reverse"});
  needDefined(value);
  const std::string by = p.has(1) ? p.text(1).bytes() : "key";
  if (by != "key" && by != "value")
    refuse("You can only sort by either \"key\" or \"value\"");
  if (!value.is(Kind::Dict))
    refuse("'" + typeName(value) + "' object has no attribute 'items'");
  std::vector<Value> items;
  std::vector<std::vector<Value>> keys;
  for (const auto &[key, item] : value.dict->items) {
    items.push_back(in.heap.list({key, item}, Kind::Tuple));
    keys.push_back({withoutCase(in, by == "key" ? key : item, p.flag(0, false))});
  }
  return in.heap.list(sortedBy(in, items, keys, p.flag(2, false)));
}

Value groupby(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "groupby", {"attribute", "default", "case_sensitive"});
  const Getter getter(in, &p.at(0));
  const Value *missing = p.has(1) && !p.at(1).is(Kind::None) ? &p.at(1) : nullptr;
  const std::vector<Value> items = in.walk(value);
  std::vector<std::vector<Value>> keys;
  auto keyOf = [&](const Value &item) {
    return withoutCase(in, getter(item, missing), p.flag(2, false));
  };
  for (const Value &item : items)
    keys.push_back({keyOf(item)});
  std::vector<Value> groups, group;
  const std::vector<Value> sorted = sortedBy(in, items, keys, false);
  for (size_t i = 0; i < sorted.size(); ++i) {
    group.push_back(sorted[i]);
    if (i + 1 < sorted.size() && equal(in.heap, keyOf(sorted[i]), keyOf(sorted[i + 1])))
      continue;
    Value made = in.heap.list({getter(group[0], missing), in.heap.list(group)}, Kind::Tuple);
    made.list->view = "group";
    groups.push_back(made);
    group.clear();
  }
  return in.heap.list(std::move(groups));
}

Value unique(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "unique", {"case_sensitive", "attribute"});
  const Getter getter(in, p.has(1) ? &p.at(1) : nullptr);
  Value seen = in.heap.dict();
  std::vector<Value> kept;
  for (const Value &item : in.walk(value)) {
    const Value key = withoutCase(in, getter(item), p.flag(0, false));
    if (!hashable(key))
      refuse("unhashable type: '" + typeName(key) + "'");
    if (find(in.heap, seen, key))
      continue;
    in.heap.set(seen, key, Value::none());
    kept.push_back(item);
  }
  return in.heap.list(std::move(kept), Kind::Generator);
}

template <bool Max> Value extreme(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, Max ? "max" : "min", {"case_sensitive", "attribute"});
  const Getter getter(in, p.has(1) ? &p.at(1) : nullptr);
  const std::vector<Value> items = in.walk(value);
  if (items.empty())
    return in.heap.undefined("No aggregated item, sequence was empty.");
  size_t best = 0;
  Value bestKey;
  for (size_t i = 0; i < items.size(); ++i) {
    const Value key = withoutCase(in, getter(items[i]), p.flag(0, false));
    if (i > 0) {
      const int order = compare(in.heap, key, bestKey);
      if (Max ? order <= 0 : order >= 0)
        continue;
    }
    best = i;
    bestKey = key;
  }
  return items[best];
}

Value sum(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "sum", {"attribute", "start"});
  const Getter getter(in, p.has(0) ? &p.at(0) : nullptr);
  Value total = p.has(1) ? p.at(1) : Value::integer(0);
  if (total.is(Kind::String))
    refuse("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value &item : in.walk(value))
    total = in.add(total, getter(item));
  return total;
}

Value join(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "join", {"d", "attribute"});
  const Getter getter(in, p.has(1) ? &p.at(1) : nullptr);
  const Text separator = p.has(0) ? toText(in.heap, p.at(0)) : Text();
  Text out;
  bool first = true;
  for (const Value &item : in.walk(value)) {
    in.heap.charge(separator.size());
    if (!first)
      out.append(separator);
    out.append(toText(in.heap, getter(item)));
    first = false;
  }
  return in.heap.string(std::move(out));
}

Value first(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "first", {});
  if (value.is(Kind::Generator) && !value.list->walked && !value.list->items.empty()) {
    const Value item = value.list->items[0]; // the others are still there
    value.list->items.erase(value.list->items.begin());
    return item;
  }
  const std::vector<Value> items = in.walk(value);
  return items.empty() ? in.heap.undefined("No first item, sequence was empty.") : items[0];
}
Value last(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "last", {});
  needDefined(value);
  if (value.is(Kind::Generator))
    refuse("'generator' object is not reversible");
  const std::vector<Value> items = in.walk(value);
  return items.empty() ? in.heap.undefined("No last item, sequence was empty.") : items.back();
}

Value length(Interpreter &, const Value &value, const Arguments &args) {
  Parameters(args, "length", {});
  switch (value.kind) {
  case Kind::Undefined:
    return Value::integer(0);
  case Kind::String:
    return Value::integer(int64_t(countChars(value.text())));
  case Kind::List:
  case Kind::Tuple:
  case Kind::View:
    return Value::integer(int64_t(value.list->items.size()));
  case Kind::Dict:
    return Value::integer(int64_t(value.dict->items.size()));
  case Kind::Loop:
    return Value::integer(int64_t(value.loop->items.size()));
  default:
    refuse("object of type '" + typeName(value) + "' has no len()");
  }
}

Value list(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "list", {});
  return in.heap.list(in.walk(value));
}

Value reverse(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "reverse", {});
  if (value.is(Kind::String)) {
    const std::vector<size_t> starts = charStarts(value.text());
    Text out;
    for (size_t i = starts.size() - 1; i-- > 0;)
      out.append(value.text(), starts[i], starts[i + 1]);
    return in.heap.string(std::move(out));
  }
  const bool isList =
      value.is(Kind::Generator) || value.is(Kind::Undefined); // Python reverses no generator
  std::vector<Value> items = in.walk(value);
  std::reverse(items.begin(), items.end());
  return in.heap.list(std::move(items), isList ? Kind::List : Kind::Generator);
}

Value items(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters(args, "items", {});
  std::vector<Value> pairs;
  if (value.is(Kind::Dict))
    for (const auto &[key, item] : value.dict->items)
      pairs.push_back(in.heap.list({key, item}, Kind::Tuple));
  else if (!value.is(Kind::Undefined))
    refuse("Can only get item pairs from a mapping.");
  return in.heap.list(std::move(pairs), Kind::Generator);
}

Value batch(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "batch", {"linecount", "fill_with"});
  const int64_t count = p.whole(0, 0);
  if (count < 1 || count > 1 << 20)
    refuse("batch() needs a count of at least 1");
  std::vector<Value> lines, line;
  for (const Value &item : in.walk(value)) {
    if (int64_t(line.size()) == count) {
      lines.push_back(in.heap.list(line));
      line.clear();
    }
    line.push_back(item);
  }
  if (!line.empty()) {
    if (p.has(1) && !p.at(1).is(Kind::None))
      line.resize(size_t(count), p.at(1));
    lines.push_back(in.heap.list(line));
  }
  return in.heap.list(std::move(lines), Kind::Generator);
}

Value sliceInto(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "slice", {"slices", "fill_with"});
  const int64_t slices = p.whole(0, 0);
  if (slices < 1 || slices > 1 << 20)
    refuse("slice() needs a count of at least 1");
  const std::vector<Value> all = in.walk(value);
  const size_t each = all.size() / size_t(slices), more = all.size() % size_t(slices);
  std::vector<Value> made;
  size_t at = 0;
  for (size_t i = 0; i < size_t(slices); ++i) {
    const size_t end = at + each + (i < more);
    std::vector<Value> part(all.begin() + long(at), all.begin() + long(end));
    if (p.has(1) && !p.at(1).is(Kind::None) && i >= more)
      part.push_back(p.at(1));
    made.push_back(in.heap.list(std::move(part)));
    at = end;
  }
  return in.heap.list(std::move(made), Kind::Generator);
}

//===----------------------------------------------------------------------===//
// Choosing
//===----------------------------------------------------------------------===//

Value defaultTo(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "default", {"default_value", "boolean"});
  if (value.is(Kind::Undefined) || (p.flag(1, false) && !truthy(value)))
    return p.has(0) ? p.at(0) : in.heap.string("");
  return value;
}

Value attribute(Interpreter &in, const Value &value, const Arguments &args) {
  Parameters p(args, "attr", {"name"});
  needDefined(value);
  if (value.is(Kind::Dict) && !findMethod(value, p.text(0).bytes()))
    return in.heap.undefined("'dict object' has no attribute '" + p.text(0).bytes() + "'");
  return in.attribute(value, p.text(0).bytes());
}

Arguments rest(const Arguments &args, size_t from) {
  return {{args.list.begin() + long(std::min(from, args.list.size())), args.list.end()},
          args.named};
}

Value map(Interpreter &in, const Value &value, const Arguments &args) {
  std::vector<Value> made;
  if (!truthy(value))
    return in.heap.list({}, Kind::Generator);
  if (args.list.empty() && !args.named.empty()) {
    Parameters p(args, "map", {"attribute", "default"});
    const Getter getter(in, &p.at(0));
    const Value *missing = p.has(1) && !p.at(1).is(Kind::None) ? &p.at(1) : nullptr;
    for (const Value &item : in.walk(value))
      made.push_back(getter(item, missing));
    return in.heap.list(std::move(made), Kind::Generator);
  }
  if (args.list.empty() || !args.list[0].is(Kind::String))
    refuse("map requires a filter argument");
  const FilterEntry *filter = findFilter(args.list[0].bytes());
  if (!filter)
    unknown("the filter " + args.list[0].bytes());
  const Arguments own = rest(args, 1);
  for (const Value &item : in.walk(value))
    made.push_back(filter->run(in, item, own));
  return in.heap.list(std::move(made), Kind::Generator);
}

template <bool Keep, bool ByAttribute>
Value select(Interpreter &in, const Value &value, const Arguments &args) {
  if (!truthy(value))
    return in.heap.list({}, Kind::Generator);
  if (ByAttribute && args.list.empty())
    refuse("Missing parameter for attribute name");
  const Getter getter(in, ByAttribute ? &args.list[0] : nullptr);
  constexpr size_t off = ByAttribute;
  const TestEntry *test = nullptr;
  if (args.list.size() > off) {
    if (!args.list[off].is(Kind::String) || !(test = findTest(args.list[off].bytes())))
      unknown("the test " + (args.list[off].is(Kind::String) ? args.list[off].bytes() : "given"));
  }
  const Arguments own = rest(args, off + 1);
  std::vector<Value> kept;
  for (const Value &item : in.walk(value)) {
    const Value what = getter(item);
    if ((test ? test->run(in, what, own) : truthy(what)) == Keep)
      kept.push_back(item);
  }
  return in.heap.list(std::move(kept), Kind::Generator);
}

constexpr FilterEntry kFilters[] = {
    {"abs", absolute},
    {"attr", attribute},
    {"batch", batch},
    {"capitalize", capitalize},
    {"center", center},
    {"count", length, true},
    {"d", defaultTo, true},
    {"default", defaultTo, true},
    {"dictsort", dictsort},
    {"e", escape, true},
    {"escape", escape, true},
    {"first", first},
    {"float", floatOf},
    {"forceescape", forceEscape, true},
    {"format", format},
    {"groupby", groupby},
    {"indent", indent},
    {"int", intOf},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length, true},
    {"list", list},
    {"lower", lower},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"replace", replace},
    {"reverse", reverse},
    {"round", round},
    {"safe", safe, true},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
    {"slice", sliceInto},
    {"sort", sort},
    {"string", toString, true},
    {"sum", sum},
    {"title", title},
    {"tojson", tojson, true},
    {"trim", trim, true},
    {"truncate", truncate},
    {"unique", unique},
    {"upper", upper},
    {"urlencode", urlencode},
    {"wordcount", wordcount},
};

} // namespace

const FilterEntry *findFilter(std::string_view name) {
  for (const FilterEntry &filter : kFilters)
    if (name == filter.name)
      return &filter;
  return nullptr;
}

} // namespace retort::chat
