//===- CApi.h - From C++ to the C API ---------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// What the calls of retort.h share: the handles, and how an exception becomes a status.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/base/SystemError.h"
#include "runtime/include/retort.h"
#include "runtime/src/engine/Session.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <string>

struct retort_model {
  std::shared_ptr<const retort::engine::Model> model;
};
struct retort_grammar {
  std::shared_ptr<const retort::grammar::Grammar> grammar;
};
struct retort_session {
  retort::engine::Session session;
  std::string counters = {}; ///< what retort_session_counters() returned last
};

namespace retort::engine::capi {

/// A one-line message goes to one of these.
inline void put(retort_error *error, const std::string &message) noexcept {
  if (!error)
    return;
  const size_t size = std::min(message.size(), sizeof error->message - 1);
  std::memcpy(error->message, message.data(), size);
  error->message[size] = 0;
  std::replace(error->message, error->message + size, '\n', ' ');
}
inline void put(retort_session *session, const std::string &message) noexcept {
  if (!session)
    return;
  try {
    session->session.error = message;
  } catch (const std::bad_alloc &) {
    session->session.error.clear();
  }
}

inline retort_status statusOf(ExitCode code) {
  switch (code) {
  case ExitCode::Ok:
  case ExitCode::Usage:
    return RETORT_E_ARGUMENT;
  case ExitCode::BadInput:
    return RETORT_E_BAD_INPUT;
  case ExitCode::Unsupported:
    return RETORT_E_UNSUPPORTED;
  case ExitCode::Resources:
    return RETORT_E_RESOURCES;
  case ExitCode::Io:
    return RETORT_E_IO;
  case ExitCode::Device:
    return RETORT_E_DEVICE;
  case ExitCode::Internal:
  case ExitCode::GateFailed:
  case ExitCode::Interrupted:
    break;
  }
  return RETORT_E_INTERNAL;
}

/// Runs a call's body; whatever it throws becomes a status and a message. A body returns nothing or
/// a status.
template <class Where, class Body> retort_status guard(Where *where, Body &&body) noexcept {
  try {
    try {
      put(where, std::string());
      if constexpr (std::is_void_v<decltype(body())>) {
        body();
        return RETORT_OK;
      } else {
        return body();
      }
    } catch (const ContextError &error) {
      put(where, error.message);
      return RETORT_E_CONTEXT;
    } catch (const PagesError &error) {
      put(where, error.message);
      return RETORT_E_PAGES;
    } catch (const std::bad_alloc &) {
      put(where, "no memory");
      return RETORT_E_RESOURCES;
    } catch (...) {
      const Error error = errorInFlight();
      put(where, error.message);
      return statusOf(error.code);
    }
  } catch (...) { // no memory for the message itself
    return RETORT_E_RESOURCES;
  }
}

inline void require(bool good, const char *what) {
  if (!good)
    fail(ExitCode::Usage, what);
}

/// The caller's options: what its version of the struct has, the rest zero. NULL: all zero. What a newer
/// caller asks for and this library does not know is refused.
template <class T> T optionsOr(const T *given, const char *what) {
  T options = {};
  if (!given)
    return options;
  require(given->struct_bytes >= sizeof given->struct_bytes && given->struct_bytes <= 4096, what);
  const auto *bytes = reinterpret_cast<const unsigned char *>(given);
  for (size_t i = sizeof options; i < given->struct_bytes; ++i)
    require(bytes[i] == 0, "an option is set that this version of libretort does not know: use a "
                           "newer one");
  std::memcpy(static_cast<void *>(&options), given, std::min(given->struct_bytes, sizeof options));
  return options;
}

/// Fills the caller's struct as far as its version of it goes.
template <class T> void fillInfo(T *out, T values, const char *what) {
  require(out && out->struct_bytes >= sizeof out->struct_bytes && out->struct_bytes <= 4096, what);
  values.struct_bytes = out->struct_bytes;
  std::memcpy(static_cast<void *>(out), &values, std::min(out->struct_bytes, sizeof values));
}

} // namespace retort::engine::capi
