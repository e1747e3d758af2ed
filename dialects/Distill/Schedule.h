//===- Schedule.h - How a training's learning rate goes ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/Names.h"

namespace retort {

/// How the learning rate goes after the warm-up: to zero along half a cosine or along a line, or
/// not at all.
enum class Schedule : uint8_t { Cosine, Linear, Constant };

/// "cosine", "linear", "constant".
inline std::string nameOf(Schedule schedule) {
  constexpr const char *names[] = {"cosine", "linear", "constant"};
  return names[size_t(schedule)];
}
template <> inline const std::vector<Schedule> &all() {
  static const std::vector<Schedule> schedules = {Schedule::Cosine, Schedule::Linear,
                                                  Schedule::Constant};
  return schedules;
}

} // namespace retort
