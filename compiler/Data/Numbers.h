//===- Numbers.h - Figures as people write them ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>

namespace retort {

/// "1,234,567"
std::string withCommas(uint64_t count);
/// "94.0 MB": decimal units, as disks count.
std::string humanBytes(uint64_t bytes);
/// `value` with this many decimals, whatever the locale; "-" if it is no finite number.
std::string fixedDecimals(double value, int decimals);

} // namespace retort
