//===- Runtime.h - The tools' side of libretort ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/include/retort.h"
#include "runtime/src/base/Error.h"
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// Throws the Error of a failed call: the library's message and the exit code of its status.
inline void check(retort_status status, const char *message) {
  switch (status) {
  case RETORT_OK:
    return;
  case RETORT_E_ARGUMENT:
    fail(ExitCode::Usage, message);
  case RETORT_E_BAD_INPUT:
    fail(ExitCode::BadInput, message);
  case RETORT_E_UNSUPPORTED:
    fail(ExitCode::Unsupported, message);
  case RETORT_E_RESOURCES:
  case RETORT_E_CONTEXT:
    fail(ExitCode::Resources, message);
  case RETORT_E_IO:
  case RETORT_E_DEVICE:
    fail(ExitCode::Io, message);
  default:
    fail(ExitCode::Internal, message);
  }
}
inline void check(const retort_session *session, retort_status status) {
  check(status, retort_session_error(session));
}

struct RuntimeDeleter {
  void operator()(retort_model *model) const { retort_model_destroy(model); }
  void operator()(retort_session *session) const { retort_session_destroy(session); }
};
using ModelPointer = std::unique_ptr<retort_model, RuntimeDeleter>;
using SessionPointer = std::unique_ptr<retort_session, RuntimeDeleter>;

inline ModelPointer openModel(const std::string &path) {
  retort_model *model = nullptr;
  retort_error error;
  check(retort_model_open(path.c_str(), nullptr, &model, &error), error.message);
  return ModelPointer(model);
}

inline SessionPointer openSession(const retort_model *model, unsigned threads,
                                  unsigned maxContext = 0) {
  retort_session_options options = {};
  options.struct_bytes = sizeof options;
  options.threads = threads;
  options.max_context = maxContext;
  retort_session *session = nullptr;
  retort_error error;
  check(retort_session_create(model, &options, &session, &error), error.message);
  return SessionPointer(session);
}

inline retort_model_info modelInfo(const retort_model *model) {
  retort_model_info info = {};
  info.struct_bytes = sizeof info;
  check(retort_model_get_info(model, &info), "the model's facts cannot be read");
  return info;
}

inline std::vector<int32_t> tokenize(const retort_model *model, std::string_view text,
                                     uint32_t flags) {
  std::vector<int32_t> tokens(text.size() / 2 + 16);
  size_t count = 0;
  retort_error error;
  retort_status status = retort_tokenize(model, text.data(), text.size(), flags, tokens.data(),
                                         tokens.size(), &count, &error);
  if (status == RETORT_E_CAPACITY) {
    tokens.resize(count);
    status = retort_tokenize(model, text.data(), text.size(), flags, tokens.data(), tokens.size(),
                             &count, &error);
  }
  check(status, error.message);
  tokens.resize(count);
  return tokens;
}

} // namespace retort
