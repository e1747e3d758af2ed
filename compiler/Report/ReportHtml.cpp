//===- ReportHtml.cpp - The report as a page --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Numbers.h"
#include "compiler/Report/Report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

constexpr const char *style = R"(
:root { color-scheme: light dark; --line: #8886; --accent: #0b62c4; }
@media (prefers-color-scheme: dark) { :root { --accent: #7ab8ff; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
.text td { text-align: left; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: .15rem 0; }
svg { width: 100%; height: auto; max-width: 46rem; }
svg text { fill: currentColor; font-size: 12px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .curve { fill: none; stroke: var(--accent); stroke-width: 1.8; }
code { font-size: .92em; }
)";

using Row = std::vector<std::string>;

std::string table(const std::vector<Row> &rows, const char *cssClass = "") {
  std::string html = "<div class=\"scroll\"><table class=\"" + std::string(cssClass) + "\">\n";
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::string tag = r ? "td" : "th";
    html += "<tr>";
    for (const std::string &cell : rows[r])
      html += "<" + tag + ">" + escapeHtml(cell) + "</" + tag + ">";
    html += "</tr>\n";
  }
  return html + "</table></div>\n";
}

std::string bitsCell(const ModelFigures &model) {
  if (!model.bitsPerByte)
    return "-";
  std::string text = fixedDecimals(model.bitsPerByte->value, 3);
  if (std::isfinite(model.bitsPerByte->standardError))
    text += " ± " + fixedDecimals(model.bitsPerByte->standardError, 3);
  return text;
}

/// A row a model.
std::string modelsHtml(const std::vector<ModelFigures> &models) {
  std::vector<Row> rows = {{"model", "bits/byte", "weights/token", "weights/text byte"}};
  for (const ModelFigures &model : models) {
    const std::optional<double> perByte = model.weightBytesPerTextByte();
    rows.push_back({model.name, bitsCell(model),
                    model.weightBytesPerToken ? humanBytes(*model.weightBytesPerToken) : "-",
                    perByte ? fixedDecimals(*perByte / 1e6, 2) + " MB" : "-"});
  }
  return table(rows);
}

std::string gatesHtml(const std::vector<GateOutcome> &gates) {
  std::vector<Row> rows = {{"asked", "reached", "limit", ""}};
  for (const GateOutcome &gate : gates)
    rows.push_back({gate.asked, fixedDecimals(gate.reached, 4), fixedDecimals(gate.limit, 4),
                    gate.passed ? "passed" : "failed"});
  return gates.empty() ? std::string() : "<h2>Gates</h2>\n" + table(rows);
}

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : " × ") + std::to_string(size);
  return text.empty() ? "-" : text;
}

/// A step of 1, 2 or 5 times a power of ten that divides `span` into about four parts.
double niceStep(double span) {
  const double power = std::pow(10, std::floor(std::log10(span / 4)));
  for (double factor : {1.0, 2.0, 5.0})
    if (factor * power >= span / 4)
      return factor * power;
  return 10 * power;
}

using Points = std::vector<std::pair<double, double>>;

/// Where the plot lies in its picture, and what it shows.
struct Frame {
  static constexpr double width = 720, height = 260, left = 56, right = 12, top = 12, bottom = 40;
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

std::string axes(const Frame &f) {
  std::string svg;
  const double stepY = niceStep(f.maxY - f.minY), stepX = niceStep(f.maxX - f.minX);
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(stepY))), 0, 9);
  for (double y = std::ceil(f.minY / stepY) * stepY; y <= f.maxY + stepY * 1e-9; y += stepY) {
    svg += line(f, f.minX, y, f.maxX, y);
    svg += label(Frame::left - 8, f.y(y) + 4, "end", fixedDecimals(y, decimals));
  }
  for (double x = std::ceil(f.minX / stepX) * stepX; x <= f.maxX + stepX * 1e-9; x += stepX)
    svg += label(f.x(x), Frame::height - Frame::bottom + 18, "middle",
                 withCommas(static_cast<uint64_t>(std::llround(std::max(x, 0.0)))));
  return svg + label(Frame::width - Frame::right, Frame::height - 4, "end", "tokens");
}

/// One curve as an inline SVG; empty if there are fewer than two points to join.
std::string chart(const std::string &what, Points points) {
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
  return "<p>" + escapeHtml(what) +
         "</p>\n<svg viewBox=\"0 0 720 260\" role=\"img\" aria-label=\"" + escapeHtml(what) +
         "\">\n" + axes(f) + "<polyline class=\"curve\" points=\"" + path + "\"/>\n</svg>\n";
}

std::string curvesHtml(const std::vector<LossCurve> &curves) {
  std::string html;
  for (const LossCurve &curve : curves) {
    Points loss;
    for (const LossCurve::Point &point : curve.points)
      loss.emplace_back(static_cast<double>(point.tokens), point.loss);
    html += chart(curve.name + ": training loss, nats a token", loss);
  }
  return html.empty() ? html : "<h2>Training</h2>\n" + html;
}

/// "blk.3" of "blk.3.ffn_up.weight"; parameters outside blocks are together.
std::string groupOf(const std::string &name) {
  if (!name.starts_with("blk."))
    return "outside the blocks";
  return name.substr(0, name.find('.', 4));
}

/// One parameter's cells, "teacher's" shape only where the table has that column.
Row parameterCells(const ParameterRow &row, bool withTeacher) {
  Row cells = {row.name, shapeText(row.shape), row.format, withCommas(row.bytes)};
  if (withTeacher)
    cells.insert(cells.begin() + 2, shapeText(row.teacherShape));
  return cells;
}

std::string parametersHtml(const std::vector<ParameterRow> &parameters) {
  if (parameters.empty())
    return {};
  const bool withTeacher =
      std::any_of(parameters.begin(), parameters.end(),
                  [](const ParameterRow &row) { return !row.teacherShape.empty(); });
  uint64_t total = 0;
  std::vector<std::string> groups; // in the order of their first parameter
  for (const ParameterRow &row : parameters) {
    total += row.bytes;
    if (std::find(groups.begin(), groups.end(), groupOf(row.name)) == groups.end())
      groups.push_back(groupOf(row.name));
  }
  std::string html = "<h2>Shapes and formats</h2>\n<p>" + withCommas(parameters.size()) +
                     " parameters, " + humanBytes(total) + ".</p>\n";
  for (const std::string &group : groups) {
    std::vector<Row> rows = {{"parameter", "shape", "format", "bytes"}};
    if (withTeacher)
      rows[0].insert(rows[0].begin() + 2, "teacher's");
    uint64_t bytes = 0;
    for (const ParameterRow &row : parameters)
      if (groupOf(row.name) == group) {
        bytes += row.bytes;
        rows.push_back(parameterCells(row, withTeacher));
      }
    html += "<details><summary>" + escapeHtml(group) + ", " + humanBytes(bytes) + "</summary>\n" +
            table(rows) + "</details>\n";
  }
  return html;
}

std::string corpusHtml(const CorpusCounts &counts) {
  std::vector<Row> kept = {{"part", "documents", "bytes of text"}};
  for (Split split : {Split::Train, Split::HeldOut}) {
    const auto i = static_cast<size_t>(split);
    kept.push_back({std::string(splitName(split)), withCommas(counts.documents[i]),
                    withCommas(counts.textBytes[i])});
  }
  std::vector<Row> dropped = {{"dropped", "count"}};
  const nlohmann::json json = counts.toJson();
  for (const char *kind : {"files", "documents"})
    for (const auto &[reason, count] : json.at("dropped_" + std::string(kind)).items()) {
      std::string words = reason;
      std::replace(words.begin(), words.end(), '_', ' ');
      if (count.get<uint64_t>())
        dropped.push_back({std::string(kind) + ": " + words, withCommas(count.get<uint64_t>())});
    }
  return "<h2>Corpus</h2>\n" + table(kept) + (dropped.size() > 1 ? table(dropped) : std::string());
}
} // namespace

std::string Report::toHtml() const {
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                     "<title>" +
                     escapeHtml(title) + "</title>\n<style>" + style +
                     "</style>\n</head>\n<body>\n<h1>" + escapeHtml(title) + "</h1>\n";
  if (!models.empty()) {
    html += modelsHtml(models);
    if (!heldOut.empty())
      html += "<p>" + escapeHtml(heldOut) + "</p>\n";
  }
  html += gatesHtml(gates) + curvesHtml(curves) + parametersHtml(parameters);
  if (corpus)
    html += corpusHtml(*corpus);
  if (!provenance.empty()) {
    std::vector<Row> rows = {{"made from", ""}};
    for (const auto &[key, value] : provenance)
      rows.push_back({key, value});
    html += "<h2>Provenance</h2>\n" + table(rows, "text");
  }
  return html + "</body>\n</html>\n";
}

} // namespace retort
