//===- Numbers.cpp - Figures as people write them ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Numbers.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>

namespace retort {

std::string withCommas(uint64_t count) {
  std::string text = std::to_string(count);
  for (size_t i = text.size(); i > 3; i -= 3)
    text.insert(i - 3, 1, ',');
  return text;
}

std::string humanBytes(uint64_t bytes) {
  static constexpr const char *units[] = {" kB", " MB", " GB", " TB", " PB", " EB"};
  if (bytes < 1000)
    return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  for (; value >= 999.95 && unit + 1 < std::size(units); ++unit)
    value /= 1000;
  return fixedDecimals(value, 1) + units[unit];
}

std::string fixedDecimals(double value, int decimals) {
  if (!std::isfinite(value))
    return "-";
  char buffer[512]; // the longest finite double has 309 digits before the point
  const auto result = std::to_chars(std::begin(buffer), std::end(buffer), value,
                                    std::chars_format::fixed, std::min(decimals, 100));
  return {buffer, result.ptr};
}

} // namespace retort
