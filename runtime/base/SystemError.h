//===- SystemError.h - Failures of the system and of libraries -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/Error.h"
#include <cerrno>

namespace retort {

/// The class of an error number: Resources where something does not suffice (disk, memory, files,
/// threads), else Io.
ExitCode exitCodeOf(int error);

/// The system's reason, and what to do where that is known: "No space left on device: free some
/// space".
std::string reasonOf(int error);

/// Throws Error: "WHERE: WHAT: the reason", of the class of the error number.
[[noreturn]] void failSystem(const std::string &where, const std::string &what, int error = errno);

/// The exception that is being handled, as an Error. What a library throws because the system
/// refused has the system's reason; any other exception is a bug, and the message says so. Call it
/// in a catch block.
Error errorInFlight();

} // namespace retort
