//===- Fields.cpp - The fields of a JSON object, each accounted for --------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Fields.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace retort::server {
namespace {

/// 0.5, 100, 1e+20.
std::string shortest(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

} // namespace

std::string dumped(const Json &value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string shown(const Json &value) {
  if (value.is_array())
    return "a list";
  if (value.is_object())
    return "an object";
  std::string text = value.is_string() ? Json(value.get_ref<const std::string &>().substr(0, 40))
                                             .dump(-1, ' ', true, Json::error_handler_t::replace)
                                       : dumped(value);
  return text;
}

Json parseBody(std::string_view body) {
  try {
    checkJson(body, "the body", "send one JSON object");
  } catch (const Error &error) {
    throw ApiError{400, "invalid_json", error.message, {}};
  }
  Json object = Json::parse(body.begin(), body.end());
  if (!object.is_object())
    throw ApiError{400, "invalid_json", "the body is " + shown(object) + ", not a JSON object", {}};
  return object;
}

Fields::Fields(const Json &object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object()) {
    const std::string name = where_.substr(0, where_.empty() ? 0 : where_.size() - 1);
    refuseField(name, "is " + shown(object) + ", not an object");
  }
}

const Json *Fields::find(const char *name) {
  known_.push_back(name);
  const auto field = object_.find(name);
  return field == object_.end() || field->is_null() ? nullptr : &*field;
}

const Json &Fields::require(const char *name) {
  const Json *field = find(name);
  if (!field)
    refuseField(path(name), "is missing", "missing_required_parameter");
  return *field;
}

bool Fields::boolean(const char *name, bool fallback) {
  const Json *field = find(name);
  if (field && !field->is_boolean())
    refuseField(path(name), "is " + shown(*field) + ", not true or false");
  return field ? field->get<bool>() : fallback;
}

std::optional<uint64_t> Fields::whole(const char *name, uint64_t least, uint64_t most) {
  const Json *field = find(name);
  if (!field)
    return std::nullopt;
  if (!field->is_number_unsigned() || field->get<uint64_t>() < least ||
      field->get<uint64_t>() > most)
    refuseField(path(name), "is " + shown(*field) + ", not a whole number from " +
                                std::to_string(least) + " to " + std::to_string(most));
  return field->get<uint64_t>();
}

std::optional<double> Fields::number(const char *name, double least, double most) {
  const Json *field = find(name);
  if (!field)
    return std::nullopt;
  if (!field->is_number() || !(field->get<double>() >= least && field->get<double>() <= most))
    refuseField(path(name), "is " + shown(*field) + ", not a number from " + shortest(least) +
                                " to " + shortest(most));
  return field->get<double>();
}

std::optional<std::string> Fields::text(const char *name) {
  const Json *field = find(name);
  if (field && !field->is_string())
    refuseField(path(name), "is " + shown(*field) + ", not a string");
  return field ? std::optional(field->get<std::string>()) : std::nullopt;
}

void Fields::unsupported(const char *name, const Json &neutral, const std::string &instead) {
  const Json *field = find(name);
  if (field && *field != neutral)
    refuseField(path(name), "is " + shown(*field) + ", which is not supported: " + instead,
                "unsupported_parameter");
}

void Fields::finish() const {
  for (const auto &[name, value] : object_.items())
    if (std::find(known_.begin(), known_.end(), name) == known_.end()) {
      const std::string short_ =
          Json(name.substr(0, 64)).dump(-1, ' ', true, Json::error_handler_t::replace);
      const std::string spelled = where_ + short_.substr(1, short_.size() - 2);
      refuseField(spelled, "is not known: leave it out (docs/serve.md lists what is)",
                  "unknown_parameter");
    }
}

} // namespace retort::server
