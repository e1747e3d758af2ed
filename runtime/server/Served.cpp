//===- Served.cpp - Models at work ----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Served.h"
#include "runtime/base/Error.h"
#include "runtime/server/Fields.h"

#include <algorithm>

namespace retort::server {
namespace {

Model opened(const ServedFile &file) {
  Model model(file.path, {}, 0, file.weights);
  if (model.info().tokenizer_vocab == 0)
    fail(ExitCode::Unsupported, file.path +
                                    ": has no tokenizer, and a server reads text: compile it "
                                    "from a checkpoint with one");
  return model;
}

} // namespace

Served::Served(const ServedFile &file, const SchedulerOptions &options, ModelMetrics &metrics)
    : name(file.name), model(opened(file)), info(model.info()), metrics(metrics),
      scheduler(model, options, metrics) {}

std::shared_ptr<const ToolSyntax> Served::toolSyntax() {
  std::call_once(toolsAsked_, [&] {
    if (std::optional<ToolSyntax> found = findToolSyntax(model))
      toolSyntax_ = std::make_shared<const ToolSyntax>(std::move(*found));
    toolsLearned_ = true;
  });
  return toolSyntax_;
}

ServedModel ServedModels::find(const std::string &name) const {
  std::lock_guard lock(mutex_);
  if (name.empty() && models_.size() == 1)
    return models_[0];
  std::string names;
  for (const ServedModel &model : models_) {
    if (model->name == name)
      return model;
    names += (names.empty() ? "'" : ", '") + model->name + "'";
  }
  if (name.empty())
    refuseField("model", "is missing, and several are served here: " + names,
                "missing_required_parameter");
  throw ApiError{404, "model_not_found",
                 "model " + shown(name) + " is not served here: " +
                     (models_.size() == 1 ? "this is " : "these are ") + names,
                 "model"};
}

std::vector<ServedModel> ServedModels::all() const {
  std::lock_guard lock(mutex_);
  return models_;
}

ServedModel ServedModels::put(ServedModel model) {
  std::lock_guard lock(mutex_);
  const auto at = std::find_if(models_.begin(), models_.end(), [&](const ServedModel &known) {
    return known->name == model->name;
  });
  if (at != models_.end())
    return std::exchange(*at, std::move(model));
  models_.push_back(std::move(model));
  return nullptr;
}

} // namespace retort::server
