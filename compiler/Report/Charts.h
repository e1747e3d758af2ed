//===- Charts.h - The report's pictures -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Inline SVG in the colours of the page. All text is escaped. A chart is empty text where there are
// too few points for one.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Report/Report.h"
#include <string>
#include <utility>
#include <vector>

namespace retort {

using Points = std::vector<std::pair<double, double>>;

/// Points joined by a line over tokens; points that are no numbers are left out.
std::string curveChart(const std::string &what, Points points);

/// Bits per byte, with intervals, over weight bytes for a byte of text: each model that has both.
std::string frontChart(const std::vector<ModelFigures> &models);

/// How much each held-out document's bits per byte differ between `model` and `first`, sorted.
std::string documentsChart(const ModelFigures &first, const ModelFigures &model);

} // namespace retort
