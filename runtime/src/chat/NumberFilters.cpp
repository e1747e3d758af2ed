//===- NumberFilters.cpp - Filters that make numbers ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Case.h"
#include "runtime/src/chat/FilterParts.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace retort::chat {
namespace {

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

constexpr FilterEntry kFilters[] = {
    {"abs", absolute},
    {"float", floatOf},
    {"int", intOf},
    {"round", round},
};

} // namespace

std::span<const FilterEntry> numberFilters() { return kFilters; }

} // namespace retort::chat
