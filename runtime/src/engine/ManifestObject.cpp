//===- ManifestObject.cpp - Checked reading of a manifest's JSON ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/ManifestObject.h"
#include "runtime/base/Error.h"

namespace retort::engine {

using Json = nlohmann::json;

std::string shown(const Json &value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  return text.size() > 40 ? text.substr(0, 40) + "..." : text;
}

ManifestObject::ManifestObject(const Json &value, std::string path, const std::string &where)
    : value_(value), path_(std::move(path)), where_(where) {
  if (!value.is_object())
    bad(path_.empty() ? "it" : path_, "is " + shown(value) + ", not an object");
}

void ManifestObject::bad(const std::string &key, const std::string &what) const {
  fail(ExitCode::BadInput,
       where_ + ": " + key + " " + what + ": the bundle is damaged, make or copy it again");
}

const Json &ManifestObject::at(const std::string &key) const {
  auto found = value_.find(key);
  if (found == value_.end())
    bad(pathOf(key), "is missing");
  return *found;
}

const Json &ManifestObject::array(const std::string &key) const {
  const Json &value = at(key);
  if (!value.is_array())
    bad(pathOf(key), "is " + shown(value) + ", not a list");
  return value;
}

std::string ManifestObject::text(const std::string &key) const {
  const Json &value = at(key);
  if (!value.is_string())
    bad(pathOf(key), "is " + shown(value) + ", not a text");
  return value.get<std::string>();
}

bool ManifestObject::flagOr(const std::string &key, bool fallback) const {
  if (!has(key))
    return fallback;
  const Json &value = at(key);
  if (!value.is_boolean())
    bad(pathOf(key), "is " + shown(value) + ", not true or false");
  return value.get<bool>();
}

uint64_t ManifestObject::number(const std::string &key, uint64_t low, uint64_t high) const {
  const Json &value = at(key);
  // A negative number is number_integer and not number_unsigned.
  if (!value.is_number_unsigned() || value.get<uint64_t>() < low || value.get<uint64_t>() > high)
    bad(pathOf(key), "is " + shown(value) + ", not a whole number from " + std::to_string(low) +
                         " to " + std::to_string(high));
  return value.get<uint64_t>();
}

uint64_t ManifestObject::multiple(const std::string &key, uint64_t unit, uint64_t low,
                                  uint64_t high) const {
  uint64_t value = number(key, low, high);
  if (value % unit != 0)
    bad(pathOf(key), "is " + std::to_string(value) + ", not a multiple of " + std::to_string(unit));
  return value;
}

} // namespace retort::engine
