//===- Jsonl.cpp - Documents in lines of JSON -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Jsonl.h"

#include <nlohmann/json.hpp>

namespace retort {
namespace {
using Json = nlohmann::json;

constexpr int maxDepth = 64;

/// Keeps the two strings of the outermost object and nothing else. Returning false ends the parse.
class TextHandler : public Json::json_sax_t {
public:
  std::optional<std::string> text, content;

  bool null() override { return inObject(); }
  bool boolean(bool) override { return inObject(); }
  bool number_integer(number_integer_t) override { return inObject(); }
  bool number_unsigned(number_unsigned_t) override { return inObject(); }
  bool number_float(number_float_t, const string_t &) override { return inObject(); }
  bool binary(binary_t &) override { return inObject(); }
  bool string(string_t &value) override {
    if (depth_ == 1 && wanted_)
      *wanted_ = std::move(value);
    return inObject();
  }
  bool key(string_t &name) override {
    if (depth_ == 1)
      wanted_ = name == "text" ? &text : name == "content" ? &content : nullptr;
    return true;
  }
  bool start_object(std::size_t) override { return ++depth_ <= maxDepth; }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t) override { return depth_ > 0 && ++depth_ <= maxDepth; }
  bool end_array() override { return leave(); }
  bool parse_error(std::size_t, const std::string &, const Json::exception &) override {
    return false;
  }

private:
  bool inObject() const { return depth_ > 0; }
  bool leave() {
    --depth_;
    return true;
  }

  int depth_ = 0;
  std::optional<std::string> *wanted_ = nullptr;
};
} // namespace

std::optional<std::string> textOfJsonLine(std::string_view line) {
  TextHandler handler;
  if (!Json::sax_parse(line.begin(), line.end(), &handler))
    return std::nullopt;
  return handler.text ? std::move(handler.text) : std::move(handler.content);
}

} // namespace retort
