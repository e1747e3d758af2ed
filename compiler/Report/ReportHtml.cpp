//===- ReportHtml.cpp - The report as a page --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Numbers.h"
#include "compiler/Report/Charts.h"
#include "compiler/Report/Report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

constexpr const char *style = R"(
:root { color-scheme: light dark; --line: #8886; --accent: #0b62c4; --second: #b4540a; --third: #5b6770; }
@media (prefers-color-scheme: dark) { :root { --accent: #7ab8ff; --second: #ffb37a; --third: #a9b4bd; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
td { white-space: nowrap; } .text td { white-space: normal; }
.text td { text-align: left; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: .15rem 0; }
svg { width: 100%; height: auto; min-width: 34rem; max-width: 46rem; }
svg text { fill: currentColor; font-size: 12px; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .curve { fill: none; stroke: var(--accent); stroke-width: 1.8; }
svg .interval { stroke: var(--accent); stroke-width: 1.8; opacity: .6; }
svg .mark, svg .better { fill: var(--accent); } svg .worse { fill: var(--second); }
.bar { display: flex; min-width: 12rem; height: .8rem; margin-top: .35rem; }
.bar b { border: 1px solid var(--line); border-left: 0; }
.key { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 .8rem; }
.attention { background: var(--accent); } .ffn { background: var(--second); } .other { background: var(--third); }
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

/// "0.795 [0.760, 0.841]", the interval where there is one.
std::string estimateText(const std::optional<Estimate> &estimate) {
  if (!estimate)
    return "-";
  std::string text = fixedDecimals(estimate->value, 3);
  if (std::isfinite(estimate->low) && std::isfinite(estimate->high))
    text += " [" + fixedDecimals(estimate->low, 3) + ", " + fixedDecimals(estimate->high, 3) + "]";
  return text;
}

/// A row a model; documents are compared for the one called `specialist`.
std::string modelsHtml(const std::vector<ModelFigures> &models, const std::string &specialist) {
  std::vector<Row> rows = {
      {"model", "bits/byte", "less " + models.front().name, "weights/token", "weights/text byte"}};
  for (const ModelFigures &model : models) {
    const std::optional<double> perByte = model.weightBytesPerTextByte();
    rows.push_back({model.name, estimateText(model.bitsPerByte), estimateText(model.difference),
                    model.weightBytesPerToken ? humanBytes(*model.weightBytesPerToken) : "-",
                    perByte ? fixedDecimals(*perByte / 1e6, 2) + " MB" : "-"});
  }
  std::string html =
      table(rows) + "<p>In brackets: 95 % confidence intervals over documents.</p>\n";
  html += frontChart(models);
  for (size_t m = 1; m < models.size(); ++m)
    if (models[m].name == specialist)
      html += documentsChart(models.front(), models[m]);
  return html;
}

std::string tasksHtml(const std::vector<TaskFigures> &tasks) {
  std::vector<Row> rows = {{"task", "model", "questions", "acc", "acc_norm"}};
  for (const TaskFigures &task : tasks)
    rows.push_back({task.task, task.model, withCommas(task.questions), estimateText(task.acc),
                    estimateText(task.accNorm)});
  return tasks.empty() ? std::string() : "<h2>Tasks</h2>\n" + table(rows);
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

std::string curvesHtml(const std::vector<LossCurve> &curves) {
  std::string html;
  for (const LossCurve &curve : curves) {
    Points loss;
    for (const LossCurve::Point &point : curve.points)
      loss.emplace_back(static_cast<double>(point.tokens), point.loss);
    html += curveChart(curve.name + ": training loss, nats a token", loss);
  }
  return html.empty() ? html : "<h2>Training</h2>\n" + html;
}

/// "832 of 1,536", one number where both are the same, "-" where there is none.
std::string ofText(const std::string &mine, const std::string &teachers) {
  if (mine.empty() || teachers.empty() || mine == teachers)
    return !mine.empty() ? mine : teachers.empty() ? "-" : "0 of " + teachers;
  return mine + " of " + teachers;
}

std::string headsText(const std::optional<LayerShape> &shape) {
  return shape && shape->heads
             ? std::to_string(shape->heads) + " / " + std::to_string(shape->kvHeads)
             : std::string();
}
std::string channelsText(const std::optional<LayerShape> &shape) {
  return shape && shape->channels ? withCommas(static_cast<uint64_t>(shape->channels))
                                  : std::string();
}

double bitsPerWeight(const LayerRow &row) {
  return row.shape && row.shape->weights()
             ? 8.0 * static_cast<double>(row.bytes()) / static_cast<double>(row.shape->weights())
             : 0;
}

/// What the teacher's layer would take at as many bits a weight.
double teacherBytes(const LayerRow &row) {
  return row.teacher ? bitsPerWeight(row) / 8 * static_cast<double>(row.teacher->weights()) : 0;
}

std::string barPiece(const char *cssClass, double part, double whole) {
  return "<i class=\"" + std::string(cssClass) +
         "\" style=\"width:" + fixedDecimals(whole > 0 ? 100 * part / whole : 0, 2) + "%\"></i>";
}

/// Bytes of a layer, and an outline up to what the teacher's would take.
std::string barOf(const LayerRow &row, double whole) {
  const auto size = [](uint64_t bytes) { return static_cast<double>(bytes); };
  std::string html =
      "<div class=\"bar\">" + barPiece("attention", size(row.attentionBytes), whole) +
      barPiece("ffn", size(row.ffnBytes), whole) + barPiece("other", size(row.otherBytes), whole);
  const double gone = teacherBytes(row) - size(row.bytes());
  if (gone > 0.001 * whole)
    html += "<b style=\"width:" + fixedDecimals(100 * gone / whole, 2) + "%\"></b>";
  return html + "</div>";
}

/// A row a layer: its shape beside the teacher's, bits, bytes and a bar.
std::string layersHtml(const std::vector<LayerRow> &layers) {
  if (layers.empty())
    return {};
  double widest = 0, all = 0;
  LayerRow sum;
  for (const LayerRow &row : layers) {
    if (row.shape && (row.attentionBytes || row.ffnBytes))
      widest = std::max({widest, static_cast<double>(row.bytes()), teacherBytes(row)});
    sum.attentionBytes += row.attentionBytes;
    sum.ffnBytes += row.ffnBytes;
    sum.otherBytes += row.otherBytes;
    all += static_cast<double>(row.bytes());
  }
  const auto share = [&](uint64_t bytes) {
    return humanBytes(bytes) + ", " +
           fixedDecimals(all > 0 ? 100 * static_cast<double>(bytes) / all : 0, 1) + " %";
  };
  std::string html =
      "<h2>Layers</h2>\n" + barOf(sum, all) + "<p><span class=\"key attention\"></span>attention " +
      share(sum.attentionBytes) + "<span class=\"key ffn\"></span>feed-forward " +
      share(sum.ffnBytes) + "<span class=\"key other\"></span>embedding, logits and norms " +
      share(sum.otherBytes) +
      "</p>\n<p>Heads are query / key-value heads. An outline is what the teacher's layer "
      "would take at as many bits.</p>\n<div class=\"scroll\"><table>\n<tr>";
  for (const char *title : {"layer", "heads", "channels", "bits/weight", "bytes", ""})
    html += "<th>" + std::string(title) + "</th>";
  html += "</tr>\n";
  for (const LayerRow &row : layers) {
    html += "<tr>";
    for (const std::string &cell :
         {row.name, ofText(headsText(row.shape), headsText(row.teacher)),
          ofText(channelsText(row.shape), channelsText(row.teacher)),
          row.shape ? fixedDecimals(bitsPerWeight(row), 2) : std::string("dropped"),
          withCommas(row.bytes())})
      html += "<td>" + escapeHtml(cell) + "</td>";
    // What lies outside of blocks may be many times as large as a block, and has no shape to compare.
    html += "<td>" + (row.attentionBytes || row.ffnBytes ? barOf(row, widest) : std::string()) +
            "</td></tr>\n";
  }
  return html + "</table></div>\n";
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
  std::string html = "<h2>Parameters</h2>\n<p>" + withCommas(parameters.size()) + " parameters, " +
                     humanBytes(total) + ".</p>\n";
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
    html += modelsHtml(models, specialist);
    if (!heldOut.empty())
      html += "<p>" + escapeHtml(heldOut) + "</p>\n";
  }
  html += tasksHtml(tasks) + gatesHtml(gates) + curvesHtml(curves) + layersHtml(layers) +
          parametersHtml(parameters);
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
