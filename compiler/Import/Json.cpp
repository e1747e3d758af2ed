//===- Json.cpp - JSON from untrusted files ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/Json.h"
#include "compiler/Import/Cursor.h"
#include "runtime/src/base/MappedFile.h"
#include <set>
#include <vector>

namespace retort {

constexpr int kMaxDepth = 64;

std::string readTextFile(const std::string &path, uint64_t limit) {
  MappedFile file = MappedFile::open(path);
  if (file.bytes().size() > limit)
    fail(ExitCode::BadInput, path + ": has " + std::to_string(file.bytes().size()) +
                                 " bytes, more than the " + std::to_string(limit) +
                                 " that such a file may have: check that it is the right file");
  return {reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()};
}

nlohmann::json parseJson(std::string_view text, const std::string &path) {
  std::vector<std::set<std::string>> keys; // of the objects that are open
  auto check = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json &value) {
    using Event = nlohmann::json::parse_event_t;
    if (depth > kMaxDepth)
      fail(ExitCode::BadInput, path + ": JSON is nested deeper than " + std::to_string(kMaxDepth) +
                                   ": the file is damaged");
    if (event == Event::object_start)
      keys.emplace_back();
    if (event == Event::object_end)
      keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second)
      fail(ExitCode::BadInput, path + ": key " + quote(value.get<std::string>()) +
                                   " is there twice: the file is damaged");
    return true;
  };
  if (size_t nul = text.find('\0'); nul != text.npos) // where the library would stop reading
    fail(ExitCode::BadInput, path + ": byte " + std::to_string(nul + 1) +
                                 ": is not valid JSON: the file is damaged, download it again");
  try {
    return nlohmann::json::parse(text.begin(), text.end(), check);
  } catch (const nlohmann::json::parse_error &error) {
    fail(ExitCode::BadInput, path + ": byte " + std::to_string(error.byte) +
                                 ": is not valid JSON: the file is damaged, download it again");
  } catch (const nlohmann::json::exception &) { // a number out of range, invalid UTF-8
    fail(ExitCode::BadInput,
         path + ": holds a JSON value that cannot be represented: the file is damaged");
  }
}

} // namespace retort
