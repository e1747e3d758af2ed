//===- RoundingCosts.cpp - What a distill.probe finds ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Distill/RoundingCosts.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/base/Names.h"
#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace retort {
namespace {

using nlohmann::json;
constexpr const char *kFormat = "retort-probe-1";

bool isCost(double value) { return std::isfinite(value) && value >= 0; }

RoundingCosts::Group readGroup(const json &object, size_t formats) {
  RoundingCosts::Group group{object.at("params").get<std::vector<std::string>>(),
                             object.at("kl").get<std::vector<double>>()};
  if (group.params.empty() || group.kl.size() != formats || !std::ranges::all_of(group.kl, isCost))
    throw std::out_of_range("group");
  return group;
}

} // namespace

std::string RoundingCosts::toJson() const {
  json root = {{"format", kFormat},
               {"tokens", tokens},
               {"formats", json::array()},
               {"groups", json::array()}};
  for (const NumberFormat &format : formats)
    root["formats"].push_back(nameOf(format));
  for (const Group &group : groups) {
    if (!std::ranges::all_of(group.kl, isCost))
      fail(ExitCode::BadInput,
           "what rounding " + group.params.front() +
               " costs is no finite number: the weights are damaged or extreme");
    root["groups"].push_back({{"params", group.params}, {"kl", group.kl}});
  }
  return root.dump();
}

RoundingCosts RoundingCosts::fromJson(std::string_view text, const std::string &where) {
  const json root = parseJson(text, where, "make it again");
  if (!root.is_object() || root.value("format", json()) != kFormat)
    fail(ExitCode::BadInput, where + ": not of format " + kFormat);
  RoundingCosts costs;
  try {
    costs.tokens = root.at("tokens").get<int64_t>();
    for (const json &name : root.at("formats")) {
      const auto format = named<NumberFormat>(name.get<std::string>());
      if (!format || !format->quantised())
        throw std::out_of_range("format");
      costs.formats.push_back(*format);
    }
    if (costs.formats.empty())
      throw std::out_of_range("formats");
    for (const json &group : root.at("groups"))
      costs.groups.push_back(readGroup(group, costs.formats.size()));
  } catch (const std::exception &) {
    fail(ExitCode::BadInput, where + ": malformed formats or groups");
  }
  return costs;
}

} // namespace retort
