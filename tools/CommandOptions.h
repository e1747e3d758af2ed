//===- CommandOptions.h - What options of commands hold ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/Error.h"
#include "runtime/include/retort.h"
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace retort {

/// "100MB", "1.5 GiB", "4096": decimal units and binary ones.
inline uint64_t parseSize(const std::string &text) {
  size_t used = 0;
  double value = -1;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception &) {
  }
  std::string unit = text.substr(std::min(used, text.size()));
  unit.erase(std::remove(unit.begin(), unit.end(), ' '), unit.end());
  const std::vector<std::pair<std::string, double>> units = {{"", 1},
                                                             {"B", 1},
                                                             {"kB", 1e3},
                                                             {"KB", 1e3},
                                                             {"MB", 1e6},
                                                             {"GB", 1e9},
                                                             {"TB", 1e12},
                                                             {"KiB", 1024},
                                                             {"MiB", 1048576},
                                                             {"GiB", 1073741824.0},
                                                             {"TiB", 1099511627776.0}};
  for (const auto &[name, factor] : units)
    if (unit == name && value > 0 && value * factor < 9e18)
      return static_cast<uint64_t>(value * factor);
  fail(ExitCode::Usage, "'" + text + "' is not a size: write for example 100MB or 1.5GiB");
}

/// "2ms", "800us", "0.01s": in microseconds.
inline double parseTime(const std::string &text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string unit(end, text.data() + text.size());
  for (const auto &[name, factor] : {std::pair("us", 1.0), {"ms", 1e3}, {"s", 1e6}})
    if (error == std::errc() && unit == name && value > 0 && value * factor < 1e12)
      return value * factor;
  fail(ExitCode::Usage, "'" + text + "' is no time: write for example 2ms or 800us");
}

/// A whole number from `least` to `most`, in decimal: CLI11 alone takes "-5" for an unsigned one and
/// the largest for one that is too large.
inline CLI::Validator whole(uint64_t least, uint64_t most) {
  const auto check = [=](std::string &text) -> std::string {
    uint64_t value = 0;
    const char *end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stopped != end || value < least || value > most)
      return "Value " + text + " not in range " + std::to_string(least) + " to " +
             std::to_string(most);
    text = std::to_string(value); // CLI11 reads leading zeros as octal
    return {};
  };
  return CLI::Validator(check, "");
}

/// The exit code of a call of libretort that failed.
inline ExitCode exitCodeOf(retort_status status) {
  switch (status) {
  case RETORT_E_ARGUMENT:
    return ExitCode::Usage;
  case RETORT_E_BAD_INPUT:
    return ExitCode::BadInput;
  case RETORT_E_UNSUPPORTED:
    return ExitCode::Unsupported;
  case RETORT_E_RESOURCES:
  case RETORT_E_PAGES:
  case RETORT_E_CONTEXT:
    return ExitCode::Resources;
  case RETORT_E_IO:
    return ExitCode::Io;
  case RETORT_E_DEVICE:
    return ExitCode::Device;
  default:
    return ExitCode::Internal;
  }
}

} // namespace retort
