//===- Numbers.cpp - Numbers between bounds -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/grammar/Numbers.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

namespace retort::grammar {
namespace {

constexpr int64_t kLargestInteger = 999'999'999'999'999'999;
constexpr int64_t kLargestWhole = 999'999'999; ///< before the point of a number with bounds
constexpr uint32_t kFraction = 6;              ///< digits behind it

Expr digits(char low, char high) { return bytes(uint8_t(low), uint8_t(high)); }
Expr anyDigits(size_t count) { return repeat(digits('0', '9'), uint32_t(count), uint32_t(count)); }

/// The rest of two numbers with as many digits, from a digit on; `low` or `high`: whether all digits
/// before were those of the bound.
Expr between(std::string_view low, std::string_view high, bool atLow, bool atHigh) {
  if (low.empty())
    return sequence({});
  if (!atLow && !atHigh)
    return anyDigits(low.size());
  const char first = atLow ? low[0] : '0', last = atHigh ? high[0] : '9';
  const auto rest = [&](char digit) {
    return sequence(
        {digits(digit, digit), between(low.substr(1), high.substr(1), atLow && digit == low[0],
                                       atHigh && digit == high[0])});
  };
  std::vector<Expr> parts = {rest(first)};
  if (last > first)
    parts.push_back(rest(last));
  if (last > first + 1)
    parts.push_back(sequence({digits(char(first + 1), char(last - 1)), anyDigits(low.size() - 1)}));
  return choice(std::move(parts));
}

/// Whole numbers from `low`, at least 0, to `high`; none if that is less.
Expr wholeBetween(int64_t low, int64_t high) {
  std::vector<Expr> parts;
  for (int64_t begin = 0, end = 9; begin <= high && low <= high;
       begin = end + 1, end = end * 10 + 9) {
    if (end >= low)
      parts.push_back(between(std::to_string(std::max(low, begin)),
                              std::to_string(std::min(high, end)), true, true));
    if (end >= high)
      break;
  }
  return choice(std::move(parts));
}

/// A bound without its sign.
struct Magnitude {
  int64_t whole;
  std::string fraction; ///< kFraction digits
  bool exclusive;
};

Magnitude magnitudeOf(const Bound &bound) {
  char text[400];
  const auto end = std::to_chars(text, text + sizeof text, std::abs(double(bound.value)),
                                 std::chars_format::fixed)
                       .ptr;
  const std::string_view decimal(text, size_t(end - text));
  const size_t point = std::min(decimal.find('.'), decimal.size());
  std::string fraction(decimal.substr(std::min(point + 1, decimal.size())));
  if (point > 9 || fraction.size() > kFraction)
    fail(ExitCode::Usage, "has a bound with more than 9 digits before the point or " +
                              std::to_string(kFraction) + " behind it, which is not supported");
  fraction.resize(kFraction, '0');
  return {std::stoll(std::string(decimal.substr(0, point))), std::move(fraction), bound.exclusive};
}

bool isZero(std::string_view digits) { return digits.find_first_not_of('0') == digits.npos; }

/// What may follow the point or a digit behind it; a bound is null where it holds already.
Expr fraction(size_t at, const Magnitude *low, const Magnitude *high, bool begun) {
  const auto rest = [&](const Magnitude *m) { return std::string_view(m->fraction).substr(at); };
  const bool mayEnd = begun && (!low || (isZero(rest(low)) && !low->exclusive)) &&
                      (!high || !isZero(rest(high)) || !high->exclusive);
  std::vector<Expr> parts;
  if (mayEnd)
    parts.push_back(sequence({}));
  if (at == kFraction)
    return choice(std::move(parts));
  if (!low && !high)
    return repeat(digits('0', '9'), begun ? 0 : 1, uint32_t(kFraction - at));
  const char first = low ? low->fraction[at] : '0', last = high ? high->fraction[at] : '9';
  for (char digit = first; digit <= last; ++digit)
    parts.push_back(
        sequence({digits(digit, digit), fraction(at + 1, low && digit == first ? low : nullptr,
                                                 high && digit == last ? high : nullptr, true)}));
  return choice(std::move(parts));
}

/// Whole parts from `first` to `last`, each with a fraction or none within the bounds.
Expr withFraction(int64_t first, int64_t last, const Magnitude *low, const Magnitude *high) {
  if (last < first)
    return choice({});
  std::vector<Expr> tails = {sequence({digits('.', '.'), fraction(0, low, high, false)})};
  if ((!low || (isZero(low->fraction) && !low->exclusive)) &&
      (!high || !isZero(high->fraction) || !high->exclusive))
    tails.push_back(sequence({}));
  return sequence({wholeBetween(first, last), choice(std::move(tails))});
}

/// Numbers from `low` on, at least 0, up to `high` or without limit.
Expr magnitudes(const Magnitude &low, const Magnitude *high) {
  if (!high)
    return choice({withFraction(low.whole, low.whole, &low, nullptr),
                   withFraction(low.whole + 1, kLargestWhole, nullptr, nullptr)});
  if (high->whole < low.whole || (high->whole == low.whole && high->fraction < low.fraction))
    return choice({});
  if (high->whole == low.whole)
    return withFraction(low.whole, low.whole, &low, high);
  return choice({withFraction(low.whole, low.whole, &low, nullptr),
                 withFraction(low.whole + 1, high->whole - 1, nullptr, nullptr),
                 withFraction(high->whole, high->whole, nullptr, high)});
}

/// The first or last whole number within a bound, of those that may be written.
int64_t wholeBound(const Bound &bound, bool isLow) {
  const long double most = kLargestInteger;
  const long double rounded = isLow ? std::ceil(bound.value) : std::floor(bound.value);
  const bool off = bound.exclusive && rounded == bound.value;
  const long double first = rounded + (off ? (isLow ? 1 : -1) : 0);
  if (isLow ? first > most : first < -most)
    fail(ExitCode::Usage, "leaves only numbers of more than 18 digits, which is not supported");
  return int64_t(std::clamp(first, -most, most));
}

} // namespace

Expr anyNumber() {
  const Expr digit = digits('0', '9'), one = digits('1', '9');
  const Expr whole = choice({literal("0"), sequence({one, repeat(digit, 0, 18)})});
  // With 19 digits before the point, what is below e280 is a double.
  const Expr size = choice({repeat(digit, 1, 2), sequence({literal("1"), digit, digit}),
                            sequence({literal("2"), digits('0', '7'), digit})});
  const Expr exponent = sequence(
      {choice({literal("e"), literal("E")}), optional(choice({literal("+"), literal("-")})), size});
  return sequence({optional(literal("-")), whole,
                   optional(sequence({literal("."), repeat(digit, 1, 24)})), optional(exponent)});
}

Expr anyInteger() { return integerBetween({}, {}); }

Expr integerBetween(std::optional<Bound> low, std::optional<Bound> high) {
  const int64_t least = low ? wholeBound(*low, true) : -kLargestInteger;
  const int64_t most = high ? wholeBound(*high, false) : kLargestInteger;
  std::vector<Expr> parts = {wholeBetween(std::max<int64_t>(least, 0), most)};
  if (least < 0)
    parts.push_back(sequence({literal("-"), wholeBetween(std::max<int64_t>(-most, 1), -least)}));
  return choice(std::move(parts));
}

Expr numberBetween(std::optional<Bound> low, std::optional<Bound> high) {
  if (!low && !high)
    return anyNumber();
  const Magnitude zero = {0, std::string(kFraction, '0'), false};
  Magnitude negativeZero = zero;
  negativeZero.exclusive = high && high->value == 0 && high->exclusive;
  if (high && high->value > kLargestWhole) // beyond what is written
    high.reset();
  if (low && low->value < -kLargestWhole)
    low.reset();
  const std::optional<Magnitude> least = low ? std::optional(magnitudeOf(*low)) : std::nullopt;
  const std::optional<Magnitude> most = high ? std::optional(magnitudeOf(*high)) : std::nullopt;
  std::vector<Expr> parts;
  if (!high || high->value >= 0)
    parts.push_back(magnitudes(low && low->value >= 0 ? *least : zero, most ? &*most : nullptr));
  if (!low || low->value < 0)
    parts.push_back(
        sequence({literal("-"), magnitudes(high && high->value < 0 ? *most : negativeZero,
                                           least ? &*least : nullptr)}));
  return choice(std::move(parts));
}

} // namespace retort::grammar
