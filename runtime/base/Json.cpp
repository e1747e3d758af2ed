//===- Json.cpp - JSON from untrusted files -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Json.h"
#include "runtime/base/Error.h"

#include <unordered_set>
#include <vector>

namespace retort {
namespace {

constexpr size_t kMaxDepth = 64;
constexpr int kNumberOutOfRange = 406; // of the library's exceptions

/// A key for a message: short, printable, on one line.
std::string spelled(const std::string &key) {
  std::string text = nlohmann::json(key.substr(0, 64))
                         .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return "'" + text.substr(1, text.size() - 2) + "'" + (key.size() > 64 ? "..." : "");
}

/// Checks what nlohmann's parser does not, before a document is built. (Its parse callbacks could
/// do that too, but take time quadratic in the length of a list of objects.)
class Checker {
public:
  using json = nlohmann::json;
  Checker(const std::string &where, const std::string &remedy) : where_(where), remedy_(remedy) {}

  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(json::number_integer_t) { return true; }
  bool number_unsigned(json::number_unsigned_t) { return true; }
  bool number_float(json::number_float_t, const std::string &) { return true; }
  bool string(std::string &) { return true; }
  bool binary(json::binary_t &) { return true; }
  bool start_array(size_t) { return open(); }
  bool end_array() { return close(); }
  bool start_object(size_t) { return open(); }
  bool end_object() { return close(); }
  bool key(std::string &text) {
    if (!keys_.back().insert(text).second)
      bad("key " + spelled(text) + " is there twice");
    return true;
  }
  bool parse_error(size_t byte, const std::string &, const nlohmann::detail::exception &error) {
    bad("byte " + std::to_string(byte) + ": " +
        (error.id == kNumberOutOfRange ? "is a number that is out of range" : "is not valid JSON"));
  }
  [[noreturn]] void bad(const std::string &what) const {
    fail(ExitCode::BadInput, where_ + ": " + what + ": " + remedy_);
  }

private:
  bool open() {
    keys_.emplace_back();
    if (keys_.size() > kMaxDepth)
      bad("JSON is nested deeper than " + std::to_string(kMaxDepth));
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }

  const std::string &where_, &remedy_;
  std::vector<std::unordered_set<std::string>> keys_; // of each object (or list) that is open
};

} // namespace

void checkJson(std::string_view text, const std::string &where, const std::string &remedy) {
  Checker checker(where, remedy);
  if (size_t nul = text.find('\0'); nul != text.npos) // where the library would stop reading
    checker.bad("byte " + std::to_string(nul + 1) + ": is not valid JSON");
  nlohmann::json::sax_parse(text.begin(), text.end(), &checker);
}

nlohmann::json parseJson(std::string_view text, const std::string &where,
                         const std::string &remedy) {
  checkJson(text, where, remedy);
  return nlohmann::json::parse(text.begin(), text.end());
}

} // namespace retort
