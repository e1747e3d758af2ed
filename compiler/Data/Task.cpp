//===- Task.cpp - Questions with answers ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Task.h"
#include "compiler/Data/CorpusFiles.h"
#include "runtime/base/SystemError.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace retort {
namespace {
using Json = nlohmann::json;

/// Questions stay in memory, and so do their tokens.
constexpr uint64_t kMostTaskBytes = 64u << 20;

bool isSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// Characters as Python counts them, which is how the harness normalises: code points.
double characters(std::string_view text) {
  return static_cast<double>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

/// Reads one line; what is wrong with it is said with the line's number.
class LineParser {
public:
  explicit LineParser(const std::string &where) : where_(where) {}

  TaskItem parse(std::string_view line) {
    object_ = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    if (!object_.is_object())
      bad("is no JSON object");
    TaskItem item;
    if (object_.contains("choices"))
      readChoices(item);
    else if (object_.contains("text"))
      readCloze(item);
    else
      readExactMatch(item);
    return item;
  }

private:
  [[noreturn]] void bad(const std::string &what) const { fail(ExitCode::BadInput, where_ + what); }

  std::string text(const char *key) const {
    const auto found = object_.find(key);
    if (found == object_.end() || !found->is_string() || found->get<std::string>().empty())
      bad(std::string("needs \"") + key + "\", a text that is not empty");
    return *found;
  }

  /// "prompt" as it is, or "question" as the harness's ARC asks it.
  std::string context() const {
    if (object_.contains("prompt") == object_.contains("question"))
      bad("needs either \"prompt\" or \"question\", and beside it \"choices\" with the index of "
          "the "
          "\"answer\" or a text as \"answer\", or \"text\" for a cloze");
    return object_.contains("prompt") ? text("prompt")
                                      : "Question: " + text("question") + "\nAnswer:";
  }

  void readChoices(TaskItem &item) {
    item.kind = TaskKind::MultipleChoice;
    item.context = context();
    const Json &choices = object_["choices"];
    if (!choices.is_array() || choices.size() < 2)
      bad("needs at least two \"choices\"");
    for (const Json &choice : choices) {
      if (!choice.is_string() || choice.get<std::string>().empty())
        bad("has a choice that is no text, or empty");
      item.continuations.push_back(joined(item.context, choice));
      item.lengths.push_back(characters(choice.get<std::string>()));
    }
    const auto answer = object_.find("answer");
    if (answer == object_.end() || !answer->is_number_unsigned() ||
        answer->get<uint64_t>() >= choices.size())
      bad("needs \"answer\", the index of a choice from 0 to " +
          std::to_string(choices.size() - 1));
    item.answer = answer->get<uint32_t>();
  }

  void readCloze(TaskItem &item) {
    item.kind = TaskKind::Cloze;
    std::string whole = text("text");
    while (!whole.empty() && isSpace(whole.back()))
      whole.pop_back();
    size_t begin; // of what is predicted
    if (object_.contains("answer")) {
      const std::string answer = text("answer");
      if (!whole.ends_with(answer))
        bad("has a \"text\" that does not end with its \"answer\"");
      begin = whole.size() - answer.size();
    } else {
      begin = whole.find_last_of(" \t\n\r\v\f") + 1;
    }
    // The space before a word is a part of its first token.
    while (begin > 0 && isSpace(whole[begin - 1]))
      --begin;
    if (begin == 0)
      bad("has a \"text\" with nothing before what is to be predicted");
    item.context = whole.substr(0, begin);
    item.continuations = {whole.substr(begin)};
  }

  void readExactMatch(TaskItem &item) {
    item.kind = TaskKind::ExactMatch;
    item.context = context();
    item.continuations = {text("answer")};
  }

  /// A continuation is joined to its context by a space unless one of them has it, as the harness's
  /// target_delimiter does.
  static std::string joined(const std::string &context, const std::string &choice) {
    return isSpace(context.back()) || isSpace(choice.front()) ? choice : " " + choice;
  }

  const std::string &where_;
  Json object_;
};

} // namespace

std::vector<TaskItem> parseTask(std::string_view text, const std::string &name) {
  std::vector<TaskItem> items;
  uint64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string where = name + ":" + std::to_string(++number) + ": the line ";
    if (std::all_of(line.begin(), line.end(), isSpace))
      continue;
    if (findInvalidUtf8(line) != std::string_view::npos)
      fail(ExitCode::BadInput, where + "is not UTF-8");
    items.push_back(LineParser(where).parse(line));
  }
  if (items.empty())
    fail(ExitCode::BadInput, name + ": has no questions: write one JSON object a line");
  return items;
}

std::string readTaskFile(const std::string &path) {
  if (std::filesystem::is_directory(path))
    fail(ExitCode::Io, path + ": is a folder: name a task file, of JSON lines");
  std::ifstream file(path, std::ios::binary);
  if (!file)
    failSystem(path, "the task cannot be read");
  std::ostringstream content;
  content << file.rdbuf();
  if (content.str().size() > kMostTaskBytes)
    fail(ExitCode::BadInput, path + ": a task of more than 64 MiB: give a part of it");
  return content.str();
}

bool isChosen(const TaskItem &item, const std::vector<double> &logLikelihoods, bool normalised) {
  std::vector<double> values = logLikelihoods;
  for (size_t i = 0; normalised && i < values.size(); ++i)
    values[i] /= item.lengths[i];
  return std::max_element(values.begin(), values.end()) - values.begin() == item.answer;
}

Estimate accuracy(const std::vector<double> &correct) {
  return ratioOfSums(correct, std::vector<double>(correct.size(), 1));
}

Estimate accuracyDifference(const std::vector<double> &a, const std::vector<double> &b) {
  std::vector<double> difference;
  for (size_t i = 0; i < a.size(); ++i)
    difference.push_back(a[i] - b[i]);
  return accuracy(difference);
}

} // namespace retort
