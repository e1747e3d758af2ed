//===- StepTimes.h - What steps take ----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

namespace retort::engine {

/// What a step of so many rows takes on this machine beside what else it does, by the steps that ran.
/// Steps of about as many rows (1, 2, 3 to 4, 5 to 8, ...) share a mean in which the last ones weigh most;
/// between means it is a line.
class StepTimes {
public:
  void add(size_t rows, double seconds) {
    Mean &mean = means_[size_t(std::bit_width(rows - 1))];
    const double weight = mean.rows == 0 ? 1 : kWeight;
    mean.rows += weight * (double(rows) - mean.rows);
    mean.seconds += weight * (seconds - mean.seconds);
  }

  /// In seconds; 0 before the first step. Beyond what ran, twice the rows take twice the time.
  double expected(size_t rows) const {
    const Mean *below = nullptr, *above = nullptr;
    for (const Mean &mean : means_) {
      if (mean.rows == 0)
        continue;
      if (mean.rows <= double(rows))
        below = &mean;
      else if (!above)
        above = &mean;
    }
    if (!below)
      return above ? above->seconds : 0;
    if (!above)
      return below->seconds * double(rows) / below->rows;
    const double part = (double(rows) - below->rows) / (above->rows - below->rows);
    return below->seconds + part * std::max(0.0, above->seconds - below->seconds);
  }

private:
  static constexpr double kWeight = 0.125;
  struct Mean {
    double rows = 0, seconds = 0;
  };
  std::array<Mean, 65> means_;
};

} // namespace retort::engine
