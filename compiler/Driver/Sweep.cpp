//===- Sweep.cpp - `retort sweep` ---------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Compiles that differ in their budget share a workspace, whose objects are keyed by what they are made
// of: scoring and tuning of the teacher, and observations of it, are done once.
//
//===----------------------------------------------------------------------===//
#include "compiler/Data/Numbers.h"
#include "compiler/Driver/Compile.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Driver/Workspace.h"
#include "runtime/base/Error.h"
#include "runtime/base/Output.h"
#include "runtime/base/SystemError.h"
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

namespace fs = std::filesystem;

/// A folder that goes again, if it was made here and is empty, where the sweep is refused.
class Folder {
public:
  explicit Folder(const std::string &path) : path_(path) {
    std::error_code code;
    isNew_ = fs::create_directory(path, code);
    if (code || !fs::is_directory(path)) {
      errno = code ? code.value() : ENOTDIR;
      failSystem(path, "cannot be made");
    }
  }
  ~Folder() {
    std::error_code ignored;
    if (isNew_)
      fs::remove(path_, ignored); // which removes no folder that holds something
  }
  Folder(const Folder &) = delete;
  Folder &operator=(const Folder &) = delete;

private:
  std::string path_;
  bool isNew_ = false;
};

struct Point {
  std::string budget;
  CompileOptions options;
  Report report = {};
};

const ModelFigures *find(const Report &report, const std::string &name) {
  const auto found = std::ranges::find(report.models, name, &ModelFigures::name);
  return found == report.models.end() ? nullptr : &*found;
}

/// Whether all reports have this model with the same scores: then the budget does not change it.
bool isCommon(const ModelFigures &model, const std::vector<Point> &points) {
  return std::ranges::all_of(points, [&](const Point &point) {
    const ModelFigures *own = find(point.report, model.name);
    return own && model.name != point.report.specialist &&
           std::ranges::equal(own->scores, model.scores,
                              [](const DocumentScore &a, const DocumentScore &b) {
                                return a.textBytes == b.textBytes && a.nll == b.nll;
                              });
  });
}

/// The models that all compiles share, then each one's specialist.
Report frontOf(const std::vector<Point> &points) {
  const Report &first = points.front().report;
  Report front;
  front.title = first.title + ", budgets";
  front.heldOut = first.heldOut;
  front.corpus = first.corpus;
  std::string budgets;
  for (const ModelFigures &model : first.models)
    if (isCommon(model, points))
      front.models.push_back(model);
  for (const Point &point : points) {
    budgets += (budgets.empty() ? "" : ", ") + point.budget;
    if (const ModelFigures *specialist = find(point.report, point.report.specialist)) {
      front.models.push_back(*specialist);
      front.models.back().name += ", " + point.budget;
    }
    for (const GateOutcome &gate : point.report.gates) {
      front.gates.push_back(gate);
      front.gates.back().asked = point.budget + ": " + gate.asked;
    }
  }
  for (const auto &[key, value] : first.provenance)
    if (key != "pipeline")
      front.provenance.emplace_back(key, value);
  front.provenance.emplace_back("budgets", budgets);
  return front;
}

void printTable(const std::vector<Point> &points) {
  output::print("%-12s %12s %12s  %s\n", "budget", "bundle", "bits/byte", "file");
  for (const Point &point : points) {
    const ModelFigures *specialist = find(point.report, point.report.specialist);
    const std::string bits = specialist && specialist->bitsPerByte
                                 ? fixedDecimals(specialist->bitsPerByte->value, 4)
                                 : "-";
    output::print("%-12s %12s %12s  %s\n", point.budget.c_str(),
                  formatBytes(fs::file_size(point.options.output)).c_str(), bits.c_str(),
                  point.options.output.c_str());
  }
}

} // namespace

void sweepCommand(const SweepOptions &options) {
  Progress::handleSignals();
  std::vector<Point> points;
  for (const auto &[text, bytes] : options.budgets) {
    CompileOptions each = options.compile;
    each.limits.bundleBytes = bytes;
    each.output = (fs::path(options.compile.output) / (text + ".retort")).string();
    points.push_back({text, std::move(each)});
  }
  std::ranges::sort(points, {},
                    [](const Point &point) { return point.options.limits.bundleBytes; });
  for (size_t i = 1; i < points.size(); ++i)
    if (points[i].options.limits.bundleBytes == points[i - 1].options.limits.bundleBytes)
      fail(ExitCode::Usage, "--budgets: " + points[i - 1].budget + " and " + points[i].budget +
                                " are the same: name each once");
  const Folder folder(options.compile.output);
  const std::string page = (fs::path(options.compile.output) / "report.html").string();
  if (fs::exists(page) && !options.compile.force)
    fail(ExitCode::Usage, page + " exists: give --force to replace it");
  for (const Point &point : points) // what cannot be is refused before hours of work
    planCompile(point.options);
  Progress progress(options.compile.quiet);
  for (Point &point : points) {
    progress.note("budget " + point.budget + ", " + std::to_string(&point - points.data() + 1) +
                  " of " + std::to_string(points.size()));
    point.report = compileBundle(point.options);
  }
  const Report front = frontOf(points);
  writeFileAtomically((fs::path(options.compile.output) / "report.json").string(),
                      front.toJson().dump(1) + "\n");
  writeFileAtomically(page, front.toHtml());
  printTable(points);
}

} // namespace retort
