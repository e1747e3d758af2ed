//===- SystemError.cpp - Failures of the system and of libraries -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/SystemError.h"

#include <cstring>
#include <filesystem>
#include <new>
#include <system_error>

namespace retort {

ExitCode exitCodeOf(int error) {
  switch (error) {
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
  case ENOMEM:
  case EMFILE:
  case ENFILE:
  case EAGAIN:
    return ExitCode::Resources;
  default:
    return ExitCode::Io;
  }
}

std::string reasonOf(int error) {
  const std::string reason = std::strerror(error);
  switch (error) {
  case ENOSPC:
  case EDQUOT:
    return reason + ": free some space";
  case EFBIG:
    return reason + ": raise the limit of `ulimit -f`";
  case EMFILE:
    return reason + ": close some, or raise the limit of `ulimit -n`";
  default:
    return reason;
  }
}

void failSystem(const std::string &where, const std::string &what, int error) {
  fail(exitCodeOf(error), where + ": " + what + ": " + reasonOf(error));
}

Error errorInFlight() {
  try {
    throw;
  } catch (const Error &error) {
    return error;
  } catch (const std::bad_alloc &) {
    return {ExitCode::Resources, "out of memory: close other programs, or see `retort compile "
                                 "--dry-run` for what a compile needs"};
  } catch (const std::filesystem::filesystem_error &error) {
    const int number = error.code().value();
    return {exitCodeOf(number), error.path1().string() + ": " + reasonOf(number)};
  } catch (const std::system_error &error) {
    return {exitCodeOf(error.code().value()), reasonOf(error.code().value())};
  } catch (const std::exception &error) {
    return {ExitCode::Internal,
            std::string("a bug: ") + error.what() + ": report it, with the command"};
  } catch (...) {
    return {ExitCode::Internal,
            "a bug: an exception of no known type: report it, with the command"};
  }
}

} // namespace retort
