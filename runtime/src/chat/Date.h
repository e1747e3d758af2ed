//===- Date.h - The date that a template writes -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace retort::chat {

struct Date {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0;

  /// Now, in this machine's time zone.
  static Date now();
  /// "2026-11-30" or "2026-11-30T08:15:00". Throws Error (Usage).
  static Date parse(std::string_view text);
  /// Python's datetime.strftime() in the C locale. Throws Error (Unsupported) for letters that it
  /// does not know.
  std::string format(std::string_view form) const;
};

} // namespace retort::chat
