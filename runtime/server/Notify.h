//===- Notify.h - Telling the service manager ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

namespace retort::server {

/// Sends a state, as "READY=1", to the service manager that started the process (sd_notify(3): a datagram
/// to the socket that NOTIFY_SOCKET names). Does nothing where there is none, and never fails: a manager
/// that does not hear it says so itself.
void notifyManager(const std::string &state);

} // namespace retort::server
