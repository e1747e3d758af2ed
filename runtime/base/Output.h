//===- Output.h - Standard output, every write of it checked ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
// The only way in which commands write on standard output. Each function throws Error if the text
// cannot be written: Resources on a full disk, else Io. A reader that goes away ends the process by
// SIGPIPE, as it does other tools; where that signal is ignored it is an Error too.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace retort::output {

/// Gives descriptors 0 to 2 that are closed a file that can be neither read nor written, so that no
/// file that is opened later gets their numbers and what is meant for a stream. First thing in main.
void reserveStreams();

void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void write(std::string_view text);
/// One value and the end of its line. What is no UTF-8 in it is written as U+FFFD.
void writeJson(const nlohmann::json &value);
/// What was written so far reaches its reader now.
void flush();
/// The last flush: after it the stream is closed.
void finish();

} // namespace retort::output
