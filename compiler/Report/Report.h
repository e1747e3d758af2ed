//===- Report.h - What a compile made, for people and programs -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
// report.json and report.html of a bundle. The keys of the JSON are documented in docs/report.md.
#pragma once
#include "compiler/Data/Scoring.h"
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace retort {

/// One model of the comparison. What was not measured is left empty and shown as "-".
struct ModelFigures {
  std::string name = {};                    ///< "teacher", "specialist"
  std::optional<Estimate> bitsPerByte = {}; ///< on held-out documents
  /// Less the first model's, and over it, where both were scored on the same text.
  std::optional<Estimate> difference = {}, ratio = {};
  std::vector<std::string> documents = {}; ///< SHA-256 of the held-out documents
  std::vector<DocumentScore> scores = {};  ///< of `documents`
  std::optional<double> kl = {}; ///< from the model that it was compared with, nats a token
  std::optional<uint64_t> weightBytesPerToken = {}; ///< read from memory to decode one token
  std::optional<double> textBytesPerToken = {};     ///< mean, on held-out documents

  /// weightBytesPerToken / textBytesPerToken.
  std::optional<double> weightBytesPerTextByte() const;
};

/// Loss of one training along its way.
struct LossCurve {
  std::string name; ///< "tuning the teacher", "distilling"
  struct Point {
    uint64_t tokens = 0; ///< targets trained on so far
    double loss = 0;     ///< nats a token
  };
  std::vector<Point> points; ///< by tokens, ascending
};

/// One parameter of the specialist.
struct ParameterRow {
  std::string name;                  ///< "blk.3.ffn_up.weight"
  std::vector<int64_t> shape;        ///< rows, columns
  std::vector<int64_t> teacherShape; ///< empty if the teacher has no such parameter
  std::string format;                ///< "int4 g32", "f32"
  uint64_t bytes = 0;                ///< packed
};

/// A block of the specialist or of its teacher, or a parameter outside of blocks, and what it is
/// made of. Heads and channels are 0 where there are none.
struct LayerShape {
  int64_t heads = 0, kvHeads = 0;            ///< of its attentions
  int64_t channels = 0;                      ///< of its gated units
  int64_t attention = 0, ffn = 0, other = 0; ///< weights
  int64_t weights() const { return attention + ffn + other; }
};

/// A layer of the comparison of shapes.
struct LayerRow {
  std::string name; ///< "blk.3", "token_embd.weight"
  /// What it is; empty where the teacher's was dropped, or where the teacher has none.
  std::optional<LayerShape> shape = {}, teacher = {};
  uint64_t attentionBytes = 0, ffnBytes = 0, otherBytes = 0; ///< as bundles for CPUs hold them
  uint64_t bytes() const { return attentionBytes + ffnBytes + otherBytes; }
};

/// Answers of one model to one task.
struct TaskFigures {
  std::string task, model; ///< what they are called
  uint64_t questions = 0;
  Estimate acc, accNorm;
};

/// What was asked of the specialist, and what it reached.
struct GateOutcome {
  std::string asked; ///< "bits_per_byte <= 0.85 * teacher"
  double reached = 0, limit = 0;
  bool passed = false;
};

/// Everything that report.json and report.html say. A bundle's report holds nothing that differs
/// between two runs with the same inputs (no clock, host name or speed), so that the same inputs
/// and seed give the same bytes.
struct Report {
  std::string title; ///< the model's name
  std::vector<ModelFigures> models;
  std::string specialist; ///< the name of the one that is in the bundle; empty if it was not scored
  std::vector<TaskFigures> tasks;
  std::vector<GateOutcome> gates;
  std::string heldOut; ///< what the figures were measured on, one line
  std::vector<LossCurve> curves;
  std::vector<LayerRow> layers; ///< in the teacher's order
  std::vector<ParameterRow> parameters;
  std::vector<std::pair<std::string, std::string>>
      provenance; ///< teacher, corpus, recipe, versions
  std::optional<CorpusCounts> corpus;

  /// "format": 2 and the fields; what was not measured is null.
  nlohmann::json toJson() const;
  /// A self-contained page: no scripts, nothing fetched, light and dark. All text is escaped.
  std::string toHtml() const;
};

/// `text` with & < > " ' replaced, fit for HTML text and quoted attributes. Control characters that
/// HTML forbids become U+FFFD, and so does each byte that is not UTF-8.
std::string escapeHtml(std::string_view text);

} // namespace retort
