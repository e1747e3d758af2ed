//===- Date.cpp - The date that a template writes -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Date.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <ctime>

namespace retort::chat {
namespace {

constexpr std::string_view kDays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};
constexpr std::string_view kMonths[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};

bool isLeap(int year) { return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0; }

int daysIn(int year, int month) {
  constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && isLeap(year) ? 29 : days[month - 1];
}

int dayOfYear(const Date &date) { // from 1
  int day = date.day;
  for (int month = 1; month < date.month; ++month)
    day += daysIn(date.year, month);
  return day;
}

int weekday(const Date &date) { // Sunday is 0
  const int before = date.year - 1;
  return (before * 365 + before / 4 - before / 100 + before / 400 + dayOfYear(date)) % 7;
}

std::string padded(int value, int width, char fill = '0') {
  std::string digits = std::to_string(value);
  return std::string(size_t(width) > digits.size() ? size_t(width) - digits.size() : 0, fill) +
         digits;
}

/// A letter of strftime(); `form` is the other letters that it stands for, if any.
std::string letter(const Date &d, char c, std::string_view &form) {
  const int hour12 = d.hour % 12 ? d.hour % 12 : 12, day = weekday(d), year = dayOfYear(d);
  switch (c) {
  case 'a':
    return std::string(kDays[day].substr(0, 3));
  case 'A':
    return std::string(kDays[day]);
  case 'b':
  case 'h':
    return std::string(kMonths[d.month - 1].substr(0, 3));
  case 'B':
    return std::string(kMonths[d.month - 1]);
  case 'C':
    return padded(d.year / 100, 2);
  case 'd':
    return padded(d.day, 2);
  case 'e':
    return padded(d.day, 2, ' ');
  case 'f':
    return "000000";
  case 'H':
    return padded(d.hour, 2);
  case 'I':
    return padded(hour12, 2);
  case 'j':
    return padded(year, 3);
  case 'm':
    return padded(d.month, 2);
  case 'M':
    return padded(d.minute, 2);
  case 'n':
    return "\n";
  case 'p':
    return d.hour < 12 ? "AM" : "PM";
  case 'S':
    return padded(d.second, 2);
  case 't':
    return "\t";
  case 'u':
    return std::to_string(day ? day : 7);
  case 'U':
    return padded((year + 6 - day) / 7, 2);
  case 'w':
    return std::to_string(day);
  case 'W':
    return padded((year + 6 - (day + 6) % 7) / 7, 2);
  case 'y':
    return padded(d.year % 100, 2);
  case 'Y':
    return std::to_string(d.year);
  case 'z':
  case 'Z':
    return "";
  case '%':
    return "%";
  case 'c':
    form = "%a %b %e %H:%M:%S %Y";
    return "";
  case 'D':
  case 'x':
    form = "%m/%d/%y";
    return "";
  case 'F':
    form = "%Y-%m-%d";
    return "";
  case 'r':
    form = "%I:%M:%S %p";
    return "";
  case 'R':
    form = "%H:%M";
    return "";
  case 'T':
  case 'X':
    form = "%H:%M:%S";
    return "";
  default:
    fail(ExitCode::Unsupported,
         std::string("%") + c + " in the form of a date is not known to Retort");
  }
}

} // namespace

Date Date::now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm tm{};
  localtime_r(&seconds, &tm);
  return {tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
          tm.tm_hour,        tm.tm_min,     tm.tm_sec < 60 ? tm.tm_sec : 59};
}

Date Date::parse(std::string_view text) {
  auto refuse = [&]() {
    fail(ExitCode::Usage, "the date is none: write it as 2026-11-30 or 2026-11-30T08:15:00");
  };
  constexpr std::string_view form = "0000-00-00T00:00:00";
  if (text.size() != 10 && text.size() != form.size())
    refuse();
  for (size_t i = 0; i < text.size(); ++i)
    if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
      refuse();
  auto number = [&](size_t at, size_t digits) {
    int value = 0;
    for (size_t i = at; i < at + digits && i < text.size(); ++i)
      value = value * 10 + (text[i] - '0');
    return value;
  };
  Date d{number(0, 4), number(5, 2), number(8, 2), number(11, 2), number(14, 2), number(17, 2)};
  if (d.year < 1 || d.month < 1 || d.month > 12 || d.day < 1 || d.day > daysIn(d.year, d.month) ||
      d.hour > 23 || d.minute > 59 || d.second > 59)
    refuse();
  return d;
}

std::string Date::format(std::string_view form) const {
  std::string out;
  for (size_t i = 0; i < form.size(); ++i) {
    if (form[i] != '%' || i + 1 == form.size()) {
      out += form[i];
      continue;
    }
    const bool bare = form[i + 1] == '-' && i + 2 < form.size(); // glibc: no padding
    i += bare ? 2 : 1;
    std::string_view inner;
    std::string part = letter(*this, form[i], inner);
    if (!inner.empty())
      part = format(inner);
    if (bare && part.size() > 1)
      part.erase(0, std::min(part.find_first_not_of("0 "), part.size() - 1));
    out += part;
  }
  return out;
}

} // namespace retort::chat
