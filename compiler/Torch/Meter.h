//===- Meter.h - How far a call is -------------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Checkpoint.h"
#include <algorithm>

namespace retort::exec {

/// Counts the steps of a call: each is one block of one run of rows.
class Meter {
public:
  Meter(const char *what, const OnProgress &progress, int64_t total)
      : what_(what), progress_(progress), total_(total), begun_(nowSeconds()) {}
  /// `tokens` is the share of the text that the step stands for.
  void step(double tokens) {
    tokens_ += tokens;
    ++done_;
    if (progress_ &&
        !progress_({done_, total_, 0, tokens_ / std::max(1e-9, nowSeconds() - begun_)}))
      fail(ExitCode::Interrupted, std::string(what_) + " was interrupted");
  }

private:
  const char *what_;
  const OnProgress &progress_;
  int64_t total_, done_ = 0;
  double tokens_ = 0, begun_;
};

} // namespace retort::exec
