//===- Serve.h - `retort serve` ---------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Api.h"
#include "runtime/server/Http.h"
#include "runtime/server/Served.h"

namespace retort::server {

struct ServeOptions {
  std::vector<ServedFile> models;
  std::string keyFile;
  HttpOptions http;
  ApiOptions api;             ///< its keys come from keyFile
  SchedulerOptions scheduler; ///< of each model
  std::chrono::seconds drainTime{30};
  bool insecure = false; ///< others than this machine may ask without a key
};

/// Bundles, each as FILE or NAME=FILE, with their names: `name`, or the file's without its ending. Throws
/// Error (Usage) for two of one name, a name that has no character, or `name` for several.
std::vector<ServedFile> namedFiles(const std::vector<std::string> &bundles,
                                   const std::string &name);

/// Serves until SIGTERM or SIGINT and until running answers are sent. Throws Error or Failure: of the
/// options, the bundle, the device, the port; Device if the device fails at work. A second signal
/// ends the process with ExitCode::Interrupted. After SIGHUP, bundles that were replaced are served.
void serve(ServeOptions options);

} // namespace retort::server
