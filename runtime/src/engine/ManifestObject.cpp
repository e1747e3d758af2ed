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

void ManifestObject::bad(const std::string &path, const std::string &what) const {
  fail(ExitCode::BadInput,
       where_ + ": " + path + " " + what + ": the bundle is damaged, make or copy it again");
}

const Json &ManifestObject::at(const char *key) const {
  auto found = value_.find(key);
  if (found == value_.end())
    bad(pathOf(key), "is missing");
  return *found;
}

const Json &ManifestObject::array(const char *key, size_t most, const char *noun) const {
  const Json &value = at(key);
  if (!value.is_array())
    bad(pathOf(key), "is " + shown(value) + ", not a list");
  if (value.size() > most)
    bad(pathOf(key), "has " + std::to_string(value.size()) + " " + noun);
  return value;
}

void ManifestObject::text(const char *key, std::string &value) const {
  const Json &found = at(key);
  if (!found.is_string())
    bad(pathOf(key), "is " + shown(found) + ", not a text");
  value = found.get<std::string>();
}

void ManifestObject::flag(const char *key, bool &value) const {
  if (!has(key))
    return;
  const Json &found = at(key);
  if (!found.is_boolean())
    bad(pathOf(key), "is " + shown(found) + ", not true or false");
  value = found.get<bool>();
}

void ManifestObject::choice(const char *key, bool &value, const char *yes, const char *no) const {
  std::string found;
  text(key, found);
  if (found != yes && found != no)
    bad(pathOf(key), "is " + shown(found) + ", neither \"" + yes + "\" nor \"" + no + "\"");
  value = found == yes;
}

void ManifestObject::texts(const char *key, std::vector<std::string> &values) const {
  for (const Json &value : array(key, kMaxManifestBytes, "texts")) {
    if (!value.is_string())
      bad(pathOf(key), "holds " + shown(value) + ", which is no text");
    values.push_back(value.get<std::string>());
  }
}

void ManifestObject::sizes(const char *key, std::vector<int64_t> &values) const {
  for (const Json &value : array(key, 64, "sizes")) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > INT64_MAX)
      bad(pathOf(key), "holds " + shown(value));
    values.push_back(value.get<int64_t>());
  }
}

uint64_t ManifestObject::read(const char *key, uint64_t low, uint64_t high) const {
  const Json &value = at(key);
  // A negative number is number_integer and not number_unsigned.
  if (!value.is_number_unsigned() || value.get<uint64_t>() < low || value.get<uint64_t>() > high)
    bad(pathOf(key), "is " + shown(value) + ", not a whole number from " + std::to_string(low) +
                         " to " + std::to_string(high));
  return value.get<uint64_t>();
}

uint64_t ManifestObject::readMultiple(const char *key, uint64_t unit, uint64_t low,
                                      uint64_t high) const {
  uint64_t value = read(key, low, high);
  if (value % unit != 0)
    bad(pathOf(key), "is " + std::to_string(value) + ", not a multiple of " + std::to_string(unit));
  return value;
}

} // namespace retort::engine
