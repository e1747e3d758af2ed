//===- Output.cpp - Standard output, every write of it checked -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Output.h"
#include "runtime/base/SystemError.h"

#include <cstdarg>
#include <cstdio>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <string>

namespace retort::output {
namespace {
bool written = false; ///< anything at all

void check(bool good) {
  if (!good)
    failSystem("standard output", "cannot be written");
  written = true;
}
} // namespace

void reserveStreams() {
  for (int stream = 0; stream < 3; ++stream)
    if (::fcntl(stream, F_GETFD) < 0 && errno == EBADF)
      ::open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY); // gets the lowest free number
}

void print(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int result = std::vprintf(format, arguments);
  va_end(arguments);
  check(result >= 0);
}

void write(std::string_view text) {
  check(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

void writeJson(const nlohmann::json &value) {
  write(value.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void flush() { check(std::fflush(stdout) == 0); }

void finish() {
  const bool good = std::fclose(stdout) == 0;
  if (written) // else nobody misses anything
    check(good);
}

} // namespace retort::output
