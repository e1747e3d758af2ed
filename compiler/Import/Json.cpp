//===- Json.cpp - JSON from untrusted files ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/Json.h"
#include "compiler/Import/Cursor.h"
#include "runtime/src/base/MappedFile.h"
#include <unordered_set>
#include <vector>

namespace retort {

constexpr size_t kMaxDepth = 64;

std::string readTextFile(const std::string &path, uint64_t limit) {
  MappedFile file = MappedFile::open(path);
  if (file.bytes().size() > limit)
    fail(ExitCode::BadInput, path + ": has " + std::to_string(file.bytes().size()) +
                                 " bytes, more than the " + std::to_string(limit) +
                                 " that such a file may have: check that it is the right file");
  return {reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()};
}

namespace {

/// Checks what nlohmann's parser does not, before a document is built. (Its parse callbacks could
/// do that too, but take time quadratic in the length of a list of objects.)
class Checker {
public:
  using json = nlohmann::json;
  explicit Checker(const std::string &path) : path_(path) {}

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
      fail(ExitCode::BadInput,
           path_ + ": key " + quote(text) + " is there twice: the file is damaged");
    return true;
  }
  bool parse_error(size_t byte, const std::string &, const nlohmann::detail::exception &) {
    fail(ExitCode::BadInput, path_ + ": byte " + std::to_string(byte) +
                                 ": is not valid JSON: the file is damaged, download it again");
  }

private:
  bool open() {
    keys_.emplace_back();
    if (keys_.size() > kMaxDepth)
      fail(ExitCode::BadInput, path_ + ": JSON is nested deeper than " + std::to_string(kMaxDepth) +
                                   ": the file is damaged");
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }

  const std::string &path_;
  std::vector<std::unordered_set<std::string>> keys_; // of each object (or list) that is open
};

} // namespace

nlohmann::json parseJson(std::string_view text, const std::string &path) {
  if (size_t nul = text.find('\0'); nul != text.npos) // where the library would stop reading
    fail(ExitCode::BadInput, path + ": byte " + std::to_string(nul + 1) +
                                 ": is not valid JSON: the file is damaged, download it again");
  Checker checker(path);
  nlohmann::json::sax_parse(text.begin(), text.end(), &checker);
  return nlohmann::json::parse(text.begin(), text.end());
}

} // namespace retort
