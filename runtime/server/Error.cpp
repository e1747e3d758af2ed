//===- Error.cpp - What a client is told ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Error.h"
#include "runtime/server/Fields.h"

namespace retort::server {

std::string ApiError::toJson() const {
  const char *type = status == 401                    ? "authentication_error"
                     : status == 403                  ? "permission_error"
                     : status == 404                  ? "not_found_error"
                     : status == 429                  ? "rate_limit_error"
                     : status == 504                  ? "timeout_error"
                     : status >= 500 && status != 501 ? "server_error"
                                                      : "invalid_request_error";
  Json error = {{"message", message}, {"type", type}, {"param", nullptr}, {"code", code}};
  if (!param.empty())
    error["param"] = param;
  return dumped({{"error", error}});
}

void refuseField(const std::string &field, const std::string &what, const char *code) {
  throw ApiError{400, code, field + " " + what, field};
}

} // namespace retort::server
