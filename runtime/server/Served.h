//===- Served.h - Models at work --------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Grammars.h"
#include "runtime/server/Scheduler.h"
#include "runtime/server/ToolSyntax.h"
#include <ctime>

namespace retort::server {

/// A bundle and its name for clients.
struct ServedFile {
  std::string name, path;
  int32_t weights = RETORT_WEIGHTS_MAPPED; ///< how its bytes are had
};

/// A model that is served: what belongs to one bundle. Whoever asks for an answer keeps it until the
/// scheduler has the job.
class Served {
public:
  /// Opens the bundle. Throws Failure as Model and Session, or Error (Unsupported) for one without a
  /// tokenizer.
  Served(const ServedFile &file, const SchedulerOptions &options, ModelMetrics &metrics);

  /// How it writes the calls of functions; null: in no way that is known here. Learned when it is first
  /// asked for.
  std::shared_ptr<const ToolSyntax> toolSyntax();
  /// The same; null, too, as long as nobody has asked for it.
  std::shared_ptr<const ToolSyntax> knownToolSyntax() {
    return toolsLearned_ ? toolSyntax() : nullptr;
  }

  const std::string name;
  const Model model;
  const retort_model_info info;
  const int64_t created = std::time(nullptr);
  ModelMetrics &metrics;
  Grammars grammars;
  Scheduler scheduler; ///< its thread is yet to be started

private:
  std::once_flag toolsAsked_;
  std::atomic<bool> toolsLearned_{false};
  std::shared_ptr<const ToolSyntax> toolSyntax_;
};

using ServedModel = std::shared_ptr<Served>;

/// The models that are served, by name. Any thread.
class ServedModels {
public:
  /// Throws ApiError: 404 if there is no such model, 400 if there are several and none is named.
  ServedModel find(const std::string &name) const;
  /// In the order in which they came first.
  std::vector<ServedModel> all() const;
  /// Adds a model, or puts it in the place of the one of the same name, which is returned.
  ServedModel put(ServedModel model);

private:
  mutable std::mutex mutex_;
  std::vector<ServedModel> models_;
};

} // namespace retort::server
