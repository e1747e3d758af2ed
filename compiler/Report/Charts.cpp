//===- Charts.cpp - The report's pictures ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Report/Charts.h"
#include "compiler/Data/Numbers.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

/// A step of 1, 2 or 5 times a power of ten that divides `span` into about four parts.
double niceStep(double span) {
  const double power = std::pow(10, std::floor(std::log10(span / 4)));
  for (double factor : {1.0, 2.0, 5.0})
    if (factor * power >= span / 4)
      return factor * power;
  return 10 * power;
}

/// Where the plot lies in its picture, and what it shows.
struct Frame {
  static constexpr double width = 720, height = 260, left = 56, right = 30, top = 12, bottom = 40;
  double minX, maxX, minY, maxY;

  double x(double value) const {
    return left + (value - minX) / (maxX - minX) * (width - left - right);
  }
  double y(double value) const {
    return height - bottom - (value - minY) / (maxY - minY) * (height - top - bottom);
  }
};

std::string line(const Frame &f, double x1, double y1, double x2, double y2) {
  return "<line class=\"grid\" x1=\"" + fixedDecimals(f.x(x1), 1) + "\" y1=\"" +
         fixedDecimals(f.y(y1), 1) + "\" x2=\"" + fixedDecimals(f.x(x2), 1) + "\" y2=\"" +
         fixedDecimals(f.y(y2), 1) + "\"/>\n";
}

std::string label(double x, double y, const char *anchor, const std::string &text) {
  return "<text x=\"" + fixedDecimals(x, 1) + "\" y=\"" + fixedDecimals(y, 1) +
         "\" text-anchor=\"" + anchor + "\">" + escapeHtml(text) + "</text>\n";
}

/// As many decimals as tell values of this step apart.
int decimalsOf(double step) {
  return std::clamp(static_cast<int>(std::ceil(-std::log10(step))), 0, 9);
}

std::string gridY(const Frame &f) {
  std::string svg;
  const double stepY = niceStep(f.maxY - f.minY);
  for (double y = std::ceil(f.minY / stepY) * stepY; y <= f.maxY + stepY * 1e-9; y += stepY) {
    svg += line(f, f.minX, y, f.maxX, y);
    svg += label(Frame::left - 8, f.y(y) + 4, "end",
                 fixedDecimals(std::abs(y) < 1e-9 * stepY ? 0 : y, decimalsOf(stepY)));
  }
  return svg;
}

/// What a number on the horizontal axis is called.
using Name = std::string (*)(double value, double step);

std::string axes(const Frame &f, const char *unit, Name name) {
  std::string svg = gridY(f);
  const double stepX = niceStep(f.maxX - f.minX);
  for (double x = std::ceil(f.minX / stepX) * stepX; x <= f.maxX + stepX * 1e-9; x += stepX)
    svg += label(f.x(x), Frame::height - Frame::bottom + 18, "middle", name(x, stepX));
  return svg + label(Frame::width - Frame::right, Frame::height - 4, "end", unit);
}

std::string wholeNumber(double value, double) {
  return withCommas(static_cast<uint64_t>(std::llround(std::max(value, 0.0))));
}
std::string megabytes(double value, double step) { return fixedDecimals(value, decimalsOf(step)); }

/// A picture and what it shows, for those who see it and those who have it read.
std::string picture(const std::string &what, const std::string &drawn) {
  return "<p>" + escapeHtml(what) +
         "</p>\n<div class=\"scroll\"><svg viewBox=\"0 0 720 260\" role=\"img\" aria-label=\"" +
         escapeHtml(what) + "\">\n" + drawn + "</svg></div>\n";
}

/// A model in the front's picture.
struct Mark {
  std::string name;
  double x, y, low, high;
};

std::string drawn(const Frame &f, const Mark &mark, bool labelLeft) {
  const std::string x = fixedDecimals(f.x(mark.x), 1);
  std::string svg;
  if (std::isfinite(mark.low + mark.high))
    svg += "<line class=\"interval\" x1=\"" + x + "\" y1=\"" + fixedDecimals(f.y(mark.low), 1) +
           "\" x2=\"" + x + "\" y2=\"" + fixedDecimals(f.y(mark.high), 1) + "\"/>\n";
  svg += "<circle class=\"mark\" cx=\"" + x + "\" cy=\"" + fixedDecimals(f.y(mark.y), 1) +
         "\" r=\"4\"/>\n";
  return svg + label(f.x(mark.x) + (labelLeft ? -9 : 9), f.y(mark.y) + 4,
                     labelLeft ? "end" : "start", mark.name);
}

} // namespace

std::string curveChart(const std::string &what, Points points) {
  std::erase_if(points, [](const auto &p) { return !std::isfinite(p.second); });
  if (points.size() < 2)
    return {};
  Frame f{points.front().first, points.back().first, points[0].second, points[0].second};
  for (const auto &[x, y] : points) {
    f.minY = std::min(f.minY, y);
    f.maxY = std::max(f.maxY, y);
  }
  if (!(f.maxX > f.minX) || !std::isfinite(f.maxY - f.minY))
    return {};
  if (f.maxY - f.minY <= 1e-9 * std::abs(f.maxY))
    f.maxY = f.minY + 1e-3 + std::abs(f.minY) * 1e-3; // a flat line still has a height to lie in
  std::string path;
  for (const auto &[x, y] : points)
    path += (path.empty() ? "" : " ") + fixedDecimals(f.x(x), 1) + "," + fixedDecimals(f.y(y), 1);
  return picture(what, axes(f, "tokens", wholeNumber) + "<polyline class=\"curve\" points=\"" +
                           path + "\"/>\n");
}

std::string frontChart(const std::vector<ModelFigures> &models) {
  std::vector<Mark> marks;
  for (const ModelFigures &model : models)
    if (auto perByte = model.weightBytesPerTextByte();
        perByte && model.bitsPerByte && std::isfinite(model.bitsPerByte->value))
      marks.push_back({model.name, *perByte / 1e6, model.bitsPerByte->value, model.bitsPerByte->low,
                       model.bitsPerByte->high});
  if (marks.size() < 2)
    return {};
  Frame f{0, 0, marks[0].y, marks[0].y};
  for (const Mark &mark : marks) {
    f.maxX = std::max(f.maxX, 1.1 * mark.x);
    f.minY = std::min({f.minY, mark.y, std::isfinite(mark.low) ? mark.low : mark.y});
    f.maxY = std::max({f.maxY, mark.y, std::isfinite(mark.high) ? mark.high : mark.y});
  }
  const double margin = 0.05 * (f.maxY - f.minY) + 1e-3;
  f.minY -= margin;
  f.maxY += margin;
  if (!(f.maxX > 0) || !std::isfinite(f.maxY - f.minY))
    return {};
  std::string svg = axes(f, "MB of weights read for a byte of text", megabytes);
  for (const Mark &mark : marks)
    svg += drawn(f, mark, mark.x > 0.6 * f.maxX);
  return picture(
      "Bits per byte, with 95 % intervals, against what is read for it: left and down is "
      "better",
      svg);
}

std::string documentsChart(const ModelFigures &first, const ModelFigures &model) {
  if (first.documents != model.documents || first.scores.size() != model.scores.size())
    return {};
  std::vector<double> differences;
  for (size_t d = 0; d < model.scores.size(); ++d) {
    const double bytes = static_cast<double>(model.scores[d].textBytes);
    differences.push_back((model.scores[d].bits() - first.scores[d].bits()) / bytes);
    if (!std::isfinite(differences.back()))
      return {};
  }
  if (differences.size() < 2)
    return {};
  std::sort(differences.begin(), differences.end());
  const auto better = std::count_if(differences.begin(), differences.end(),
                                    [](double difference) { return difference < 0; });
  Frame f{0, static_cast<double>(differences.size()), std::min(0.0, differences.front()),
          std::max(0.0, differences.back())};
  if (f.maxY - f.minY < 1e-6)
    return {};
  std::string svg = gridY(f);
  const double width = f.x(1) - f.x(0);
  for (size_t d = 0; d < differences.size(); ++d) {
    const double top = f.y(std::max(0.0, differences[d])),
                 bottom = f.y(std::min(0.0, differences[d]));
    svg += std::string("<rect class=\"") + (differences[d] < 0 ? "better" : "worse") + "\" x=\"" +
           fixedDecimals(f.x(static_cast<double>(d)) + 0.1 * width, 1) + "\" y=\"" +
           fixedDecimals(top, 1) + "\" width=\"" + fixedDecimals(0.8 * width, 1) + "\" height=\"" +
           fixedDecimals(bottom - top, 1) + "\"/>\n";
  }
  return picture(model.name + " less " + first.name + ", bits per byte, a bar a document: " +
                     withCommas(static_cast<uint64_t>(better)) + " of " +
                     withCommas(differences.size()) + " are better",
                 svg);
}

} // namespace retort
