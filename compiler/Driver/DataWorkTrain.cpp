//===- DataWorkTrain.cpp - Executing distill.fit and distill.train -------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Safetensors.h"
#include "compiler/Driver/DataWork.h"
#include "compiler/Driver/Estimate.h"
#include "compiler/Torch/Checks.h"
#include "compiler/Torch/FromIR.h"
#include "passes/Quantize/Matrices.h"
#include "runtime/base/Machine.h"

#include <algorithm>
#include <cstring>

namespace retort {
namespace {

/// A model whose matrices are meant to be stored in the formats that `op` names, if it does.
template <typename OpT> exec::Graph quantisedGraph(lm::ModelOp model, OpT op) {
  exec::Graph graph = exec::graphFromModel(model);
  if (!op.getQuantizeAttr())
    return graph;
  const MatrixFormats formats = {op.getQuantizeAttr(), op.getEmbeddingAttr(), op.getLogitsAttr()};
  auto matrices = matricesOf(model, "distill");
  if (mlir::failed(matrices))
    fail(ExitCode::Internal, "a model that the executor runs has a matrix that nothing describes");
  for (Matrix &matrix : *matrices) {
    const auto param = llvm::find_if(graph.params, [&](const exec::Param &param) {
      return matrix.param.getSymName() == param.name;
    });
    if (param != graph.params.end())
      param->format = formats.of(matrix).getValue();
  }
  return graph;
}

std::vector<std::string> paramsOf(distill::FitOp op) {
  std::vector<std::string> names;
  for (auto param : op.getParams().getAsRange<mlir::StringAttr>())
    names.push_back(param.str());
  return names;
}

} // namespace

void DataWork::runOp(distill::ProbeOp op) {
  lm::ModelOp probed = model(op, op.getModel());
  std::string key = keyOf(op, probed);
  const exec::Graph graph = exec::graphFromModel(probed);
  exec::checkModel(graph);
  checkDocuments(probed, Split::Train);
  std::vector<std::vector<std::string>> groups;
  for (const std::vector<exec::ParamId> &group : exec::probeGroups(graph)) {
    groups.emplace_back();
    for (const exec::ParamId id : group)
      groups.back().push_back(graph.params[size_t(id)].name);
  }
  const std::string name = "probe the " + wordsOf(op.getModel());
  const bool cached = workspace_.has(key, "json");
  plan_.push_back(estimateProbe(probed, op, groups.size(), name, cached));
  if (options_.planOnly && !cached) {
    key = putStandIn(key, plannedCosts(probed, op, groups).toJson());
  } else {
    workspace_.getOrMake(key, "json", [&](const std::string &path) {
      progress_.begin(name);
      exec::ProbeOptions options;
      for (auto format : op.getFormats().getAsRange<weight::FormatAttr>())
        options.formats.push_back(format.getValue());
      const std::vector<exec::Sequence> sequences =
          packTrain(op, probed, op.getTokens() + op.getMeasured(), op.getSequenceLength(), 0);
      // Whole sequences, as near as can be to the share that was asked for.
      const int64_t count = static_cast<int64_t>(sequences.size());
      options.measured = std::clamp<int64_t>((count * op.getMeasured() + op.getTokens()) /
                                                 (op.getTokens() + op.getMeasured()),
                                             1, std::max<int64_t>(1, count - 1));
      RoundingCosts costs;
      exec::check(executor().probe({&graph, teacher_.readRows(probed, graph)}, sequences, options,
                                   onProgress(), costs));
      writeFileAtomically(path, costs.toJson());
      progress_.end(std::to_string(costs.groups.size()) + " groups of matrices");
    });
  }
  setResult(op, key);
}

void DataWork::runOp(distill::FitOp op) {
  lm::ModelOp student = model(op, op.getStudent()), teacher = model(op, op.getTeacher());
  const std::string key = keyOf(op, {student, teacher});
  const std::string name = "fit the " + wordsOf(op.getStudent());
  exec::checkFit(quantisedGraph(student, op), exec::graphFromModel(teacher), paramsOf(op));
  checkDocuments(student, Split::Train);
  plan_.push_back(estimateFit(student, teacher, op, name, workspace_.has(key, "safetensors")));
  if (!options_.planOnly)
    workspace_.getOrMake(key, "safetensors", [&](const std::string &path) {
      progress_.begin(name);
      const exec::Graph graph = quantisedGraph(student, op);
      const exec::Graph guide = exec::graphFromModel(teacher);
      exec::FitOptions options;
      options.params = paramsOf(op);
      options.damping = op.getDamping();
      options.outputPath = path;
      exec::FitResult result;
      exec::check(executor().fit({&graph, teacher_.readRows(student, graph)},
                                 {&guide, teacher_.readRows(teacher, guide)},
                                 packTrain(op, student, op.getTokens(), op.getSequenceLength(), 0),
                                 options, onProgress(), result));
      char line[96];
      std::snprintf(line, sizeof line, "%zu layers, the last block's stream lacks %.1f %%",
                    options.params.size(), 100 * result.lacking.back());
      progress_.end(line);
    });
  setResult(op, key);
}

void DataWork::runOp(distill::TrainOp op) {
  lm::ModelOp student = model(op, op.getStudent());
  llvm::SmallVector<lm::ModelOp> models{student};
  lm::ModelOp guide;
  if (op.getTeacher())
    models.push_back(guide = model(op, *op.getTeacher()));
  const std::string key = keyOf(op, models);
  const std::string name = (guide ? "distil the " : "train the ") + wordsOf(op.getStudent());
  const auto guideGraph = guide ? std::optional(exec::graphFromModel(guide)) : std::nullopt;
  exec::checkTraining(quantisedGraph(student, op), guideGraph ? &*guideGraph : nullptr,
                      trainOptions(op).losses);
  checkDocuments(student, Split::Train);
  const bool cached = workspace_.has(key, "safetensors");
  plan_.push_back(estimateTrain(student, guide, op, name, cached, availableMemoryBytes()));
  if (!options_.planOnly)
    workspace_.getOrMake(
        key, "safetensors",
        [&](const std::string &path) {
          progress_.begin(name);
          train(op, key, path);
        },
        [&] { progress_.note("waiting for another compile that does the same training"); });
  if (!options_.planOnly)
    readCurve(op, key);
  setResult(op, key);
}

void DataWork::train(distill::TrainOp op, const std::string &key, const std::string &output) {
  lm::ModelOp student = model(op, op.getStudent());
  const exec::Graph graph = quantisedGraph(student, op);
  exec::Model studentModel{&graph, teacher_.readRows(student, graph)};
  std::optional<exec::Graph> guideGraph;
  std::optional<exec::Model> guide;
  if (op.getTeacher()) {
    lm::ModelOp teacher = model(op, *op.getTeacher());
    guideGraph = exec::graphFromModel(teacher);
    guide = exec::Model{&*guideGraph, teacher_.readRows(teacher, *guideGraph)};
  }
  exec::TrainOptions options = trainOptions(op);
  options.seed = op.getSeed();
  options.recompute = plan_.back().recompute;
  options.checkpointPath = workspace_.partialPath(key);
  options.outputPath = output;
  options.key = key;
  options.note = [this](const std::string &line) { progress_.note(line); };
  exec::TrainResult result;
  exec::check(
      executor().train(studentModel, guide ? &*guide : nullptr,
                       packTrain(op, student, op.getTokens(), op.getSequenceLength(), op.getSeed()),
                       options, onProgress(), result));
  std::string text = formatCount(result.tokens) + " tokens";
  char line[96];
  std::snprintf(line, sizeof line, ", loss %.3f to %.3f, %.0f tokens/s",
                result.curve.empty() ? 0 : result.curve.front(),
                result.curve.empty() ? 0 : result.curve.back(), result.tokensPerSecond);
  text += line;
  if (result.rollbacks)
    text += ", learning rate " + std::string(result.rollbacks == 1 ? "halved" : "quartered") +
            " after steps that were not finite";
  progress_.end(text);
}

void DataWork::readCurve(distill::TrainOp op, const std::string &key) {
  const SafetensorsFile file = SafetensorsFile::open(workspace_.objectPath(key, "safetensors"));
  const SafetensorsTensor *curve = file.find(exec::kCurve);
  const auto trained = file.metadata().find(exec::kTokens);
  if (!curve || trained == file.metadata().end())
    fail(ExitCode::Internal, file.path() + ": has no loss curve");
  std::vector<float> loss(curve->bytes.size() / sizeof(float));
  std::memcpy(loss.data(), curve->bytes.data(), curve->bytes.size());
  const double tokens = std::stod(trained->second);
  LossCurve points{(op.getTeacher() ? "distil the " : "train the ") + wordsOf(op.getStudent()), {}};
  for (size_t i = 0; i < loss.size(); ++i)
    points.points.push_back(
        {static_cast<uint64_t>(tokens * double(i + 1) / double(loss.size())), loss[i]});
  curves_.push_back(std::move(points));
}

} // namespace retort
