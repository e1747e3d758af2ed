//===- Statistics.cpp - What a distill.observe finds -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Distill/Statistics.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include <algorithm>
#include <cmath>

namespace retort {
namespace {

using nlohmann::json;
constexpr const char *kFormat = "retort-stats-1";

[[noreturn]] void bad(const std::string &where, const std::string &what) {
  fail(ExitCode::BadInput, where + ": " + what);
}

/// Token ids must be below `tokens`.
int32_t tokenOf(const json &value, size_t tokens) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= tokens)
    throw std::out_of_range("token");
  return value.get<int32_t>();
}

void readVocabulary(const json &object, Statistics &out) {
  for (const json &count : object.value("counts", json::array())) {
    if (!count.is_number_unsigned() || count.get<uint64_t>() > INT64_MAX)
      throw std::out_of_range("count");
    out.counts.push_back(count.get<int64_t>());
  }
  for (const json &id : object.value("keep", json::array()))
    out.keep.push_back(tokenOf(id, out.counts.size()));
  for (const json &merge : object.value("merges", json::array())) {
    if (!merge.is_array() || merge.size() != 3)
      throw std::out_of_range("merge");
    std::array<int32_t, 3> &made = out.merges.emplace_back();
    for (size_t i = 0; i < 3; ++i)
      made[i] = tokenOf(merge[i], out.counts.size());
  }
}

void readBlock(const json &object, Statistics::Block &block) {
  if (!object.is_object())
    throw std::out_of_range("block");
  for (const StatisticInfo &info : kStatistics) {
    auto found = object.find(info.name);
    if (info.each == Observed::Vocabulary || found == object.end())
      continue;
    block[info.statistic] = info.each == Observed::Block ? std::vector{found->get<double>()}
                                                         : found->get<std::vector<double>>();
  }
}

} // namespace

std::optional<distill::Statistic> statisticNamed(std::string_view name) {
  for (const StatisticInfo &info : kStatistics)
    if (info.name == name)
      return info.statistic;
  return std::nullopt;
}

std::string statisticNames() {
  std::string text;
  for (const StatisticInfo &info : kStatistics)
    text += (text.empty()                          ? ""
             : &info == &*std::rbegin(kStatistics) ? " and "
                                                   : ", ") +
            std::string(info.name);
  return text;
}

std::string Statistics::toJson() const {
  json root = {{"format", kFormat}, {"tokens", tokens}};
  if (!counts.empty())
    root["vocabulary"] = {{"counts", counts}, {"merges", merges}, {"keep", keep}};
  for (const auto &[label, block] : blocks) {
    json &object = root["blocks"][label] = json::object();
    for (const StatisticInfo &info : kStatistics)
      if (const std::vector<double> &values = block[info.statistic]; !values.empty()) {
        if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }))
          bad("block " + label, std::string("what was observed of its ") + info.noun +
                                    " is no finite number: the weights are damaged or extreme");
        object[info.name] = info.each == Observed::Block ? json(values[0]) : json(values);
      }
  }
  return root.dump();
}

Statistics Statistics::fromJson(std::string_view text, const std::string &where) {
  const json root = parseJson(text, where, "make it again");
  if (!root.is_object() || root.value("format", json()) != kFormat)
    bad(where, std::string("not of format ") + kFormat);
  Statistics out;
  if (const json tokens = root.value("tokens", json()); tokens.is_number_unsigned())
    out.tokens = tokens.get<int64_t>();
  try {
    readVocabulary(root.value("vocabulary", json::object()), out);
  } catch (const std::exception &) {
    bad(where, "malformed or out-of-range 'vocabulary'");
  }
  try {
    const json blocks = root.value("blocks", json::object());
    for (const auto &[label, object] : blocks.items())
      readBlock(object, out.blocks[label]);
  } catch (const std::exception &) {
    bad(where, "malformed 'blocks'");
  }
  return out;
}

} // namespace retort
