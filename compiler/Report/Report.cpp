//===- Report.cpp - The report as JSON --------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Report/Report.h"
#include "runtime/base/Utf8.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace retort {
namespace {
using Json = nlohmann::json;

template <typename T> Json orNull(const std::optional<T> &value) {
  return value ? Json(*value) : Json();
}

Json finite(double value) { return std::isfinite(value) ? Json(value) : Json(); }

/// NAME, NAME_stderr and NAME_interval: null where not measured.
void addEstimate(Json &json, const std::string &name, const std::optional<Estimate> &estimate) {
  json[name] = estimate ? finite(estimate->value) : Json();
  json[name + "_stderr"] = estimate ? finite(estimate->standardError) : Json();
  json[name + "_interval"] =
      estimate && std::isfinite(estimate->low) ? Json({estimate->low, estimate->high}) : Json();
}

Json modelJson(const ModelFigures &model) {
  Json json = {{"name", repaired(model.name)},
               {"effective_documents", nullptr},
               {"documents", Json::array()},
               {"weight_bytes_per_token", orNull(model.weightBytesPerToken)},
               {"kl", orNull(model.kl)},
               {"text_bytes_per_token", orNull(model.textBytesPerToken)},
               {"weight_bytes_per_text_byte", orNull(model.weightBytesPerTextByte())}};
  addEstimate(json, "bits_per_byte", model.bitsPerByte);
  addEstimate(json, "bits_per_byte_difference", model.difference);
  addEstimate(json, "bits_per_byte_ratio", model.ratio);
  if (!model.scores.empty())
    json["effective_documents"] = effectiveDocuments(model.scores);
  for (size_t d = 0; d < model.scores.size(); ++d)
    json["documents"].push_back({{"sha256", model.documents[d]},
                                 {"text_bytes", model.scores[d].textBytes},
                                 {"bits", finite(model.scores[d].bits())}});
  return json;
}

Json taskJson(const TaskFigures &task) {
  Json json = {{"task", repaired(task.task)},
               {"model", repaired(task.model)},
               {"questions", task.questions}};
  addEstimate(json, "acc", task.acc);
  addEstimate(json, "acc_norm", task.accNorm);
  return json;
}

Json gateJson(const GateOutcome &gate) {
  return {{"asked", repaired(gate.asked)},
          {"reached", finite(gate.reached)},
          {"limit", finite(gate.limit)},
          {"passed", gate.passed}};
}

Json curveJson(const LossCurve &curve) {
  Json points = Json::array();
  for (const LossCurve::Point &point : curve.points)
    points.push_back({{"tokens", point.tokens}, {"loss", finite(point.loss)}});
  return {{"name", repaired(curve.name)}, {"points", std::move(points)}};
}

Json shapeJson(const std::optional<LayerShape> &shape) {
  return shape ? Json{{"heads", shape->heads},       {"kv_heads", shape->kvHeads},
                      {"channels", shape->channels}, {"attention_weights", shape->attention},
                      {"ffn_weights", shape->ffn},   {"other_weights", shape->other}}
               : Json();
}

Json layerJson(const LayerRow &row) {
  return {{"name", repaired(row.name)},
          {"shape", shapeJson(row.shape)},
          {"teacher_shape", shapeJson(row.teacher)},
          {"attention_bytes", row.attentionBytes},
          {"ffn_bytes", row.ffnBytes},
          {"other_bytes", row.otherBytes}};
}

Json parameterJson(const ParameterRow &row) {
  return {{"name", repaired(row.name)},
          {"shape", row.shape},
          {"teacher_shape", row.teacherShape.empty() ? Json() : Json(row.teacherShape)},
          {"format", repaired(row.format)},
          {"bytes", row.bytes}};
}
} // namespace

std::optional<double> ModelFigures::weightBytesPerTextByte() const {
  if (!weightBytesPerToken || !textBytesPerToken || *textBytesPerToken <= 0)
    return std::nullopt;
  return static_cast<double>(*weightBytesPerToken) / *textBytesPerToken;
}

nlohmann::json Report::toJson() const {
  Json json = {{"format", 2},
               {"title", repaired(title)},
               {"held_out", repaired(heldOut)},
               {"models", Json::array()},
               {"specialist", specialist.empty() ? Json() : Json(repaired(specialist))},
               {"tasks", Json::array()},
               {"gates", Json::array()},
               {"loss_curves", Json::array()},
               {"layers", Json::array()},
               {"parameters", Json::array()},
               {"provenance", Json::object()},
               {"corpus", corpus ? corpus->toJson() : Json()}};
  for (const ModelFigures &model : models)
    json["models"].push_back(modelJson(model));
  for (const TaskFigures &task : tasks)
    json["tasks"].push_back(taskJson(task));
  for (const GateOutcome &gate : gates)
    json["gates"].push_back(gateJson(gate));
  for (const LossCurve &curve : curves)
    json["loss_curves"].push_back(curveJson(curve));
  for (const LayerRow &row : layers)
    json["layers"].push_back(layerJson(row));
  for (const ParameterRow &row : parameters)
    json["parameters"].push_back(parameterJson(row));
  for (const auto &[key, value] : provenance)
    json["provenance"][repaired(key)] = repaired(value);
  return json;
}

std::string escapeHtml(std::string_view text) {
  std::string result;
  for (char c : repaired(text)) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
    case '&':
      result += "&amp;";
      break;
    case '<':
      result += "&lt;";
      break;
    case '>':
      result += "&gt;";
      break;
    case '"':
      result += "&quot;";
      break;
    case '\'':
      result += "&#39;";
      break;
    default:
      if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F)
        result += kReplacement;
      else
        result += c;
    }
  }
  return result;
}

} // namespace retort
