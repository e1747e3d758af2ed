//===- ReportTable.h - The columns of the table of models -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Report/Report.h"

namespace retort {

/// The table of models as text, row by row, the heading first: what the terminal, Markdown and HTML
/// all show. Columns that no model has a figure for are left out.
std::vector<std::vector<std::string>> modelCells(const std::vector<ModelFigures> &models);

} // namespace retort
