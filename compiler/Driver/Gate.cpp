//===- Gate.cpp - What a specialist must reach ----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Gate.h"
#include "compiler/Data/Numbers.h"
#include "compiler/Data/Task.h"
#include "runtime/base/Error.h"
#include "runtime/base/Sha256.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <set>

namespace retort {
namespace {

constexpr const char *kForm =
    "write for example \"bits_per_byte <= 0.85 * teacher\" or \"task:faq.jsonl >= 0.8\"";

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos)
    return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t") + 1 - begin));
}

class GateParser {
public:
  explicit GateParser(const std::string &text) { gate_.text = trimmed(text); }

  Gate parse() {
    const size_t relation = gate_.text.find_first_of("<>=");
    if (relation == std::string::npos)
      bad("compares nothing");
    gate_.strict = gate_.text.substr(relation + 1, 1) != "=";
    parseFigure(trimmed(gate_.text.substr(0, relation)));
    parseRelation(gate_.text[relation]);
    parseBound(trimmed(gate_.text.substr(relation + (gate_.strict ? 1 : 2))));
    return gate_;
  }

private:
  [[noreturn]] void bad(const std::string &what) const {
    fail(ExitCode::Usage, "--gate \"" + gate_.text + "\": " + what + ": " + kForm);
  }

  /// bits_per_byte, or task:FILE with the accuracy's name if it is not acc.
  void parseFigure(const std::string &figure) {
    if (figure == "bits_per_byte") {
      gate_.metric = figure;
      return;
    }
    if (!figure.starts_with("task:"))
      bad("'" + figure + "' is no figure: there are bits_per_byte and task:FILE");
    gate_.task = trimmed(figure.substr(5));
    gate_.metric = "acc";
    for (const std::string metric : {"acc", "acc_norm"})
      if (gate_.task.ends_with(" " + metric)) {
        gate_.metric = metric;
        gate_.task = trimmed(gate_.task.substr(0, gate_.task.size() - metric.size()));
        break;
      }
    if (gate_.task.empty())
      bad("names no task file");
  }

  void parseRelation(char relation) {
    const bool lower = gate_.task.empty();
    if (relation == '=')
      bad("'=' is no limit");
    if ((relation == '<') != lower)
      bad(lower ? "fewer bits per byte are better, so the limit is <="
                : "the limit of an accuracy is >=");
  }

  /// NUMBER, teacher, or NUMBER * teacher.
  void parseBound(std::string text) {
    if (text.ends_with("teacher")) {
      gate_.ofTeacher = true;
      text = trimmed(text.substr(0, text.size() - 7));
      if (text.ends_with("*"))
        text = trimmed(text.substr(0, text.size() - 1));
      else if (!text.empty())
        bad("expected '*' before teacher");
      else
        text = "1";
    }
    const char *end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, gate_.bound);
    if (error != std::errc() || at != end || !std::isfinite(gate_.bound) || gate_.bound <= 0)
      bad("'" + text + "' is no number above 0");
    if (!gate_.task.empty() && !gate_.ofTeacher && gate_.bound > 1)
      bad("no accuracy is above 1");
  }

  Gate gate_;
};

/// A file's name as an option of a pass takes it.
std::string plainName(const std::string &path) {
  std::string name = std::filesystem::path(path).filename().string();
  for (char &c : name)
    if (!(std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '-' || c == '_'))
      c = '_';
  return name;
}

std::string numberText(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}
} // namespace

Gate Gate::parse(const std::string &text) { return GateParser(text).parse(); }

Gates::Gates(const std::vector<std::string> &texts) {
  for (const std::string &text : texts) {
    Asked asked{Gate::parse(text), {}, {}};
    if (!asked.gate.task.empty()) {
      asked.content = readTaskFile(asked.gate.task);
      asked.sha256 = sha256Hex(std::string_view(asked.content));
      parseTask(asked.content, asked.gate.task);
    }
    gates_.push_back(std::move(asked));
  }
}

bool Gates::needCorpus() const {
  for (const Asked &asked : gates_)
    if (asked.gate.task.empty())
      return true;
  return false;
}

std::vector<std::string> Gates::taskFiles() const {
  std::vector<std::string> files;
  for (const Asked &asked : gates_)
    files.push_back(asked.gate.task);
  return files;
}

void Gates::putTasks(Workspace &workspace) const {
  for (const Asked &asked : gates_)
    if (!asked.content.empty())
      workspace.put(asked.sha256, "jsonl", asked.content);
}

std::string Gates::around(const std::string &pipeline, const std::string &tokens) const {
  if (gates_.empty())
    return pipeline;
  std::string before, after;
  std::set<std::string> teachers, specialists; // scores that are there already: gates share them
  for (const Asked &asked : gates_) {
    const Gate &gate = asked.gate;
    const std::string number = gate.task.empty() ? "" : "_" + asked.sha256.substr(0, 8);
    const std::string what = gate.task.empty()
                                 ? " tokens=" + tokens
                                 : " task=" + asked.sha256 + " task-name=" + plainName(gate.task);
    const std::string teacher = "teacher_as_it_came" + number;
    const std::string specialist = "specialist_at_gate" + number;
    if (gate.ofTeacher && teachers.insert(teacher).second)
      before += "insert-score{name=" + teacher + what + "},";
    if (specialists.insert(specialist).second)
      after += ",insert-score{name=" + specialist + what + "}";
    after += ",insert-gate{score=" + specialist + " metric=" + gate.metric +
             " bound=" + numberText(gate.bound) + (gate.ofTeacher ? " of=" + teacher : "") +
             (gate.strict ? " strict=true" : "") + "}";
  }
  // The teacher is scored before passes change it.
  if (!before.empty())
    before += "run-data-work,";
  const size_t begin = pipeline.find('(') + 1, end = pipeline.rfind(')');
  std::string middle = pipeline.substr(begin, end - begin);
  if (middle.find_first_not_of(" \t\r\n") == std::string::npos)
    middle = "run-data-work"; // a pipeline of no passes
  return pipeline.substr(0, begin) + before + middle + after + ",run-data-work" +
         pipeline.substr(end);
}

std::string failureOf(const std::vector<GateOutcome> &outcomes) {
  std::string line;
  for (const GateOutcome &outcome : outcomes)
    if (!outcome.passed)
      line += (line.empty() ? "" : "; ") + outcome.asked + ": reached " +
              fixedDecimals(outcome.reached, 4) + ", the limit is " +
              fixedDecimals(outcome.limit, 4);
  return line;
}

} // namespace retort
