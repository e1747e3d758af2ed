//===- ReportTable.cpp - The table of models, in text and Markdown ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Report/ReportTable.h"
#include "compiler/Data/Numbers.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {
constexpr const char *missing = "-";

struct Column {
  const char *heading;
  std::string (*cell)(const ModelFigures &);
};

std::string bitsCell(const ModelFigures &model) {
  if (!model.bitsPerByte)
    return missing;
  std::string text = fixedDecimals(model.bitsPerByte->value, 3);
  if (std::isfinite(model.bitsPerByte->standardError))
    text += " ± " + fixedDecimals(model.bitsPerByte->standardError, 3);
  return text;
}

std::string megabytes(const std::optional<double> &bytes) {
  return bytes ? fixedDecimals(*bytes / 1e6, 2) + " MB" : missing;
}

std::string rate(const std::optional<double> &perSecond) {
  return perSecond && std::isfinite(*perSecond) && *perSecond >= 0
             ? withCommas(static_cast<uint64_t>(std::llround(*perSecond)))
             : missing;
}

constexpr Column columns[] = {
    {"model", [](const ModelFigures &m) { return m.name; }},
    {"bits/byte", bitsCell},
    {"on disk",
     [](const ModelFigures &m) { return m.diskBytes ? humanBytes(*m.diskBytes) : missing; }},
    {"weights/token",
     [](const ModelFigures &m) {
       return m.weightBytesPerToken ? humanBytes(*m.weightBytesPerToken) : missing;
     }},
    {"weights/text byte",
     [](const ModelFigures &m) { return megabytes(m.weightBytesPerTextByte()); }},
    {"tokens/s", [](const ModelFigures &m) { return rate(m.decodeTokensPerSecond); }},
    {"text bytes/s", [](const ModelFigures &m) { return rate(m.textBytesPerSecond()); }}};

/// Columns on a terminal: one for each code point.
size_t width(const std::string &text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string padded(const std::string &text, size_t columns, bool right) {
  const std::string space(columns - std::min(columns, width(text)), ' ');
  return right ? space + text : text + space;
}

/// Names come from files, and a table row is one line.
std::string oneLine(std::string text) {
  for (char &c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      c = ' ';
  return text;
}
} // namespace

std::vector<std::vector<std::string>> modelCells(const std::vector<ModelFigures> &models) {
  std::vector<std::vector<std::string>> rows(models.size() + 1);
  for (const Column &column : columns) {
    std::vector<std::string> cells = {column.heading};
    for (const ModelFigures &model : models)
      cells.push_back(oneLine(column.cell(model)));
    if (std::all_of(cells.begin() + 1, cells.end(), [](const auto &c) { return c == missing; }))
      continue;
    for (size_t row = 0; row < rows.size(); ++row)
      rows[row].push_back(cells[row]);
  }
  return rows;
}

std::string modelTable(const std::vector<ModelFigures> &models) {
  if (models.empty())
    return {};
  const auto rows = modelCells(models);
  std::vector<size_t> widths(rows[0].size());
  for (const auto &row : rows)
    for (size_t c = 0; c < row.size(); ++c)
      widths[c] = std::max(widths[c], width(row[c]));
  std::string table;
  for (const auto &row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c)
      line += (c ? "  " : "") + padded(row[c], widths[c], c > 0);
    line.erase(line.find_last_not_of(' ') + 1);
    table += line + "\n";
  }
  return table;
}

std::string modelTableMarkdown(const std::vector<ModelFigures> &models) {
  if (models.empty())
    return {};
  std::string table;
  const auto rows = modelCells(models);
  for (size_t r = 0; r < rows.size(); ++r) {
    table += "|";
    for (std::string cell : rows[r]) {
      for (size_t at = 0; (at = cell.find('|', at)) != std::string::npos; at += 2)
        cell.insert(at, 1, '\\');
      table += " " + cell + " |";
    }
    table += "\n";
    if (r == 0) {
      table += "|---|";
      for (size_t c = 1; c < rows[0].size(); ++c)
        table += "---:|";
      table += "\n";
    }
  }
  return table;
}

} // namespace retort
