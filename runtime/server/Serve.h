//===- Serve.h - `retort serve` ---------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Api.h"
#include "runtime/server/Http.h"
#include "runtime/server/Scheduler.h"

namespace retort::server {

struct ServeOptions {
  std::string bundle, keyFile;
  int32_t weights = RETORT_WEIGHTS_MAPPED; ///< how the bundle's bytes are had
  HttpOptions http;
  ApiOptions api; ///< its keys come from keyFile, an empty name from the bundle's file
  SchedulerOptions scheduler;
  std::chrono::seconds drainTime{30};
  bool insecure = false; ///< others than this machine may ask without a key
};

/// Serves until SIGTERM or SIGINT and until running answers are sent. Throws Error or Failure: of the
/// options, the bundle, the device, the port; Device if the device fails at work. A second signal
/// ends the process with ExitCode::Interrupted.
void serve(ServeOptions options);

} // namespace retort::server
