//===- Fields.h - The fields of a JSON object, each accounted for -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Error.h"
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace retort::server {

using Json = nlohmann::ordered_json; // templates see the client's order of keys

/// Reads the fields of one object. A field that is null counts as absent, as clients write it. What
/// was never asked for is refused by finish(). Every function throws ApiError (400).
class Fields {
public:
  /// The body of a request. `where` is put before names: "stream_options.".
  explicit Fields(const Json &object, std::string where = {});

  /// Null if the field is absent.
  const Json *find(const char *name);
  /// find(), or a 400 that says that it is missing.
  const Json &require(const char *name);
  bool boolean(const char *name, bool fallback);
  std::optional<uint64_t> whole(const char *name, uint64_t least, uint64_t most);
  std::optional<double> number(const char *name, double least, double most);
  std::optional<std::string> text(const char *name);

  /// The field is known and not built: only `neutral`, which asks for nothing, is taken. `instead`
  /// says what to do.
  void unsupported(const char *name, const Json &neutral, const std::string &instead);
  /// Refuses fields that were not asked for.
  void finish() const;

  std::string path(const char *name) const { return where_ + name; }

private:
  const Json &object_;
  std::string where_;
  std::vector<std::string_view> known_;
};

/// The JSON object that `body` is, within the limits of runtime/base/Json.h.
Json parseBody(std::string_view body);
/// A value for a message: short, printable, one line.
std::string shown(const Json &value);
/// A string field's bytes as JSON writes them.
std::string dumped(const Json &value);

} // namespace retort::server
