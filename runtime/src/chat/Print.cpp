//===- Print.cpp - Values as Python and JSON write them -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Utf8.h"
#include "runtime/src/chat/Case.h"
#include "runtime/src/chat/Value.h"

#include <charconv>
#include <cmath>
#include <list>

namespace retort::chat {

std::string floatText(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value < 0 ? "-inf" : "inf";
  // The shortest digits that read back, in Python's choice of notation.
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string digits(buffer, end.ptr), sign;
  if (digits[0] == '-') {
    sign = "-";
    digits.erase(0, 1);
  }
  const size_t e = digits.find('e');
  const int exponent = std::stoi(digits.substr(e + 1));
  digits.resize(e);
  if (digits.size() > 1)
    digits.erase(1, 1);
  if (exponent < -4 || exponent >= 16) {
    std::string power = std::to_string(std::abs(exponent));
    return sign + digits.substr(0, 1) + (digits.size() > 1 ? "." + digits.substr(1) : "") + "e" +
           (exponent < 0 ? "-" : "+") + (power.size() < 2 ? "0" : "") + power;
  }
  if (exponent < 0)
    return sign + "0." + std::string(size_t(-exponent - 1), '0') + digits;
  if (digits.size() <= size_t(exponent) + 1)
    return sign + digits + std::string(size_t(exponent) + 1 - digits.size(), '0') + ".0";
  return sign + digits.substr(0, size_t(exponent) + 1) + "." + digits.substr(size_t(exponent) + 1);
}

namespace {

void appendHex(std::string &out, const char *prefix, uint32_t code, int digits) {
  out += prefix;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
    out += "0123456789abcdef"[code >> shift & 15];
}

std::string reprText(std::string_view text) {
  const bool quotes = text.find('\'') != text.npos && text.find('"') == text.npos;
  const char quote = quotes ? '"' : '\'';
  std::string out(1, quote);
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const char *begin = p;
    const uint32_t code = nextCode(p);
    if (code == uint32_t(quote) || code == '\\')
      (out += '\\') += char(code);
    else if (code == '\n')
      out += "\\n";
    else if (code == '\r')
      out += "\\r";
    else if (code == '\t')
      out += "\\t";
    else if (!isUnprintable(code))
      out.append(begin, p);
    else if (code < 0x100)
      appendHex(out, "\\x", code, 2);
    else if (code < 0x10000)
      appendHex(out, "\\u", code, 4);
    else
      appendHex(out, "\\U", code, 8);
  }
  return out + quote;
}

class Repr {
public:
  explicit Repr(Heap &heap) : heap_(heap) {}
  std::string take() { return std::move(out_); }

  void value(const Value &v) {
    heap_.step();
    const size_t before = out_.size();
    switch (v.kind) {
    case Kind::None:
      out_ += "None";
      break;
    case Kind::Bool:
      out_ += v.flag ? "True" : "False";
      break;
    case Kind::Int:
      out_ += std::to_string(v.number);
      break;
    case Kind::Float:
      out_ += floatText(v.real);
      break;
    case Kind::Undefined:
      out_ += "Undefined";
      break;
    case Kind::String:
      out_ += reprText(v.bytes());
      break;
    case Kind::List:
      return items(v, "[", "]");
    case Kind::Tuple:
      return items(v, "(", v.list->items.size() == 1 ? ",)" : ")");
    case Kind::View:
      out_ += v.list->view;
      return items(v, "([", "])");
    case Kind::Dict:
      return dict(v);
    default:
      unknown("writing a value of the type '" + typeName(v) + "'");
    }
    heap_.charge(out_.size() - before);
  }

private:
  void items(const Value &v, const char *open, const char *close) {
    out_ += open;
    for (size_t i = 0; i < v.list->items.size(); ++i) {
      out_ += i ? ", " : "";
      value(v.list->items[i]);
    }
    out_ += close;
  }
  void dict(const Value &v) {
    out_ += '{';
    for (size_t i = 0; i < v.dict->items.size(); ++i) {
      out_ += i ? ", " : "";
      value(v.dict->items[i].first);
      out_ += ": ";
      value(v.dict->items[i].second);
    }
    out_ += '}';
  }
  Heap &heap_;
  std::string out_;
};

class Json {
public:
  Json(Heap &heap, const JsonStyle &style) : heap_(heap), style_(style) {}
  std::string take() { return std::move(out_); }

  void value(const Value &v, size_t level) {
    heap_.step();
    const size_t before = out_.size();
    switch (v.kind) {
    case Kind::None:
      out_ += "null";
      break;
    case Kind::Bool:
      out_ += v.flag ? "true" : "false";
      break;
    case Kind::Int:
      out_ += std::to_string(v.number);
      break;
    case Kind::Float:
      out_ += number(v.real);
      break;
    case Kind::String:
      string(v.bytes());
      break;
    case Kind::List:
    case Kind::Tuple:
      return list(v, level);
    case Kind::Dict:
      return dict(v, level);
    default:
      refuse("Object of type " + typeName(v) + " is not JSON serializable");
    }
    heap_.charge(out_.size() - before);
  }

private:
  static std::string number(double value) {
    if (std::isnan(value))
      return "NaN";
    if (std::isinf(value))
      return value < 0 ? "-Infinity" : "Infinity";
    return floatText(value);
  }

  void string(std::string_view text) {
    out_ += '"';
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const char *begin = p;
      const uint32_t code = nextCode(p);
      static constexpr std::string_view kShort = "\"\\\b\f\n\r\t", kLetter = "\"\\bfnrt";
      const size_t at = code < 0x80 ? kShort.find(char(code)) : kShort.npos;
      if (at != kShort.npos)
        (out_ += '\\') += kLetter[at];
      else if (code < 0x20 || (style_.ascii && code > 0x7F && code < 0x10000))
        appendHex(out_, "\\u", code, 4);
      else if (style_.ascii && code >= 0x10000) {
        appendHex(out_, "\\u", 0xD800 + ((code - 0x10000) >> 10), 4);
        appendHex(out_, "\\u", 0xDC00 + ((code - 0x10000) & 0x3FF), 4);
      } else
        out_.append(begin, p);
    }
    out_ += '"';
  }

  void key(const Value &k) {
    switch (k.kind) {
    case Kind::String:
      return string(k.bytes());
    case Kind::None:
      return void(out_ += "\"null\"");
    case Kind::Bool:
      return void(out_ += k.flag ? "\"true\"" : "\"false\"");
    case Kind::Int:
      return void(out_ += '"' + std::to_string(k.number) + '"');
    case Kind::Float:
      return void(out_ += '"' + number(k.real) + '"');
    default:
      refuse("keys must be str, int, float, bool or None, not " + typeName(k));
    }
  }

  void newline(size_t level) {
    if (!style_.pretty)
      return;
    heap_.charge(level * style_.indent.size());
    out_ += '\n';
    for (size_t i = 0; i < level; ++i)
      out_ += style_.indent;
  }

  void list(const Value &v, size_t level) {
    if (v.list->items.empty())
      return void(out_ += "[]");
    out_ += '[';
    for (size_t i = 0; i < v.list->items.size(); ++i) {
      out_ += i ? style_.itemSeparator : "";
      newline(level + 1);
      value(v.list->items[i], level + 1);
    }
    newline(level);
    out_ += ']';
  }

  void dict(const Value &v, size_t level) {
    if (v.dict->items.empty())
      return void(out_ += "{}");
    std::list<std::pair<Value, Value>> items(v.dict->items.begin(), v.dict->items.end());
    if (style_.sortKeys)
      items.sort(
          [&](const auto &a, const auto &b) { return compare(heap_, a.first, b.first) < 0; });
    out_ += '{';
    bool first = true;
    for (const auto &[own, item] : items) {
      out_ += first ? "" : style_.itemSeparator;
      first = false;
      newline(level + 1);
      key(own);
      out_ += style_.keySeparator;
      value(item, level + 1);
    }
    newline(level);
    out_ += '}';
  }

  Heap &heap_;
  const JsonStyle &style_;
  std::string out_;
};

} // namespace

std::string repr(Heap &heap, const Value &value) {
  Repr printer(heap);
  printer.value(value);
  return printer.take();
}

Text toText(Heap &heap, const Value &value) {
  if (value.is(Kind::String)) {
    heap.charge(value.text().size());
    heap.step(value.text().size() / 32);
    return value.text();
  }
  return value.is(Kind::Undefined) ? Text() : Text(repr(heap, value), Origin::Data);
}

std::string toJson(Heap &heap, const Value &value, const JsonStyle &style) {
  Json printer(heap, style);
  printer.value(value, 0);
  return printer.take();
}

} // namespace retort::chat
