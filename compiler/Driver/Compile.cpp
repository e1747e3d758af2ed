//===- Compile.cpp - `retort compile` ----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Compile.h"
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Codegen/Nvcc.h"
#include "compiler/Data/Task.h"
#include "compiler/Driver/Assemble.h"
#include "compiler/Driver/Explain.h"
#include "compiler/Driver/Gate.h"
#include "compiler/Driver/Inputs.h"
#include "compiler/Driver/Layers.h"
#include "compiler/Driver/Limits.h"
#include "compiler/Driver/Plan.h"
#include "compiler/Driver/Predict.h"
#include "compiler/Import/Import.h"
#include "runtime/base/Output.h"
#include "runtime/base/Sha256.h"
#include "runtime/base/Utf8.h"

#include "llvm/ADT/StringSet.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

namespace retort {
namespace {

/// A pipeline to be read and edited: --recipe takes it as it is printed.
std::string onePassALine(const std::string &pipeline) {
  std::string text;
  int depth = 0;
  for (size_t i = 0; i < pipeline.size(); ++i) {
    const char c = pipeline[i];
    depth += (c == '(' || c == '{') - (c == ')' || c == '}');
    if (!(c == ' ' && text.ends_with(' ')))
      text += c;
    const bool endsList = pipeline.substr(i + 1, 1) == ")";
    if ((c == ',' || c == '(') && depth == 1 && !endsList)
      text += "\n  ";
  }
  return text;
}

/// The recipe that the command line asks for, with its parameters set.
Recipe chosenRecipe(const CompileOptions &options) {
  Recipe recipe = !options.passes.empty()  ? Recipe::custom(options.passes)
                  : options.recipe.empty() ? Recipe::usual(!options.corpus.empty())
                                           : Recipe::open(options.recipe);
  for (const Setting &setting : options.settings)
    recipe.set(setting);
  return recipe;
}

/// "bf16" or "f16" if more than half of the checkpoint's bytes are that, else "".
std::string mostWeights(const Checkpoint &checkpoint) {
  uint64_t bf16 = 0, f16 = 0, all = 0;
  for (const CheckpointTensor &tensor : checkpoint.tensors()) {
    all += tensor.storedBytes();
    bf16 += tensor.format() == "BF16" ? tensor.bytes.size() : 0;
    f16 += tensor.format() == "F16" ? tensor.bytes.size() : 0;
  }
  return bf16 * 2 > all ? "bf16" : f16 * 2 > all ? "f16" : "";
}

/// A score's result; null if it has none.
nlohmann::json resultOf(distill::ScoreOp op, const Workspace &workspace) {
  if (!op.getResult())
    return {};
  return readObject(workspace.objectPath(op.getResult()->getSha256().str(), "json"));
}

std::optional<TaskFigures> answersOf(distill::ScoreOp op, const Workspace &workspace) {
  const nlohmann::json score = resultOf(op, workspace);
  if (!score.is_object())
    return std::nullopt;
  const std::vector<double> correct = score.at("correct"), correctNorm = score.at("correct_norm");
  return TaskFigures{.task = op.getTaskName()->str(),
                     .model = wordsOf(op.getModel()),
                     .questions = correct.size(),
                     .acc = accuracy(correct),
                     .accNorm = accuracy(correctNorm)};
}

/// Whether two models were scored on the same bytes: recipes may score one on fewer.
bool sameText(const ModelFigures &one, const ModelFigures &other) {
  return one.documents == other.documents &&
         std::ranges::equal(one.scores, other.scores, {}, &DocumentScore::textBytes,
                            &DocumentScore::textBytes);
}

/// A score's figures, compared with those of `first`, the first model of the report (null: this is
/// it); nothing if it has no result.
std::optional<ModelFigures> figuresOf(distill::ScoreOp op, const Workspace &workspace,
                                      const DataWork &work, const ModelFigures *first) {
  const nlohmann::json score = resultOf(op, workspace);
  if (!score.is_object())
    return std::nullopt;
  ModelFigures figures{.name = wordsOf(op.getSymName())};
  for (const nlohmann::json &document : score.at("documents")) {
    figures.documents.push_back(document.at("sha256"));
    figures.scores.push_back({document.at("text_bytes"), document.at("nll")});
  }
  figures.bitsPerByte = bitsPerByte(figures.scores);
  if (auto kl = score.find("kl"); kl != score.end())
    figures.kl = kl->get<double>();
  if (first && sameText(*first, figures)) {
    figures.difference = bitsPerByteDifference(figures.scores, first->scores);
    figures.ratio = bitsPerByteRatio(figures.scores, first->scores);
  }
  if (auto bytes = work.weightBytes().find(op.getSymName().str());
      bytes != work.weightBytes().end())
    figures.weightBytesPerToken = bytes->second;
  figures.textBytesPerToken =
      score.at("text_bytes").get<double>() / std::max(1.0, score.at("tokens").get<double>());
  return figures;
}

/// What the figures were measured on: "65,530 bytes of 32 held-out documents, ...".
std::string heldOutText(const ModelFigures &figures) {
  uint64_t bytes = 0;
  for (const DocumentScore &score : figures.scores)
    bytes += score.textBytes;
  return formatCount(bytes) + " bytes of " + formatCount(figures.scores.size()) +
         " held-out documents, never trained on";
}

/// The report of a compile of `module`, whose data work is done and whose specialist is `model`: its
/// scores, and what it was made from.
Report reportOf(const engine::Manifest::Provenance &made, mlir::ModuleOp module, lm::ModelOp model,
                const DataWork &work, const Workspace &workspace) {
  Report report;
  report.title = std::filesystem::path(made.teacherFile).stem().string() + ", " + made.recipe;
  llvm::StringSet<> listed; // results: gates score again what a recipe has scored
  for (auto op : module.getOps<distill::ScoreOp>()) {
    if (op.getResult() && !listed.insert(op.getResult()->getSha256()).second)
      continue;
    if (op.getTask()) {
      if (auto answers = answersOf(op, workspace))
        report.tasks.push_back(std::move(*answers));
      continue;
    }
    auto figures =
        figuresOf(op, workspace, work, report.models.empty() ? nullptr : &report.models.front());
    if (!figures)
      continue;
    report.heldOut = heldOutText(*figures);
    if (op.getModel() == model.getSymName())
      report.specialist = figures->name; // the last of its scores is of what it became
    report.models.push_back(std::move(*figures));
  }
  report.provenance = {{"teacher", made.teacherFile},
                       {"teacher sha256", made.teacherSha256},
                       {"recipe", made.recipe},
                       {"pipeline", made.pipeline},
                       {"seed", std::to_string(made.seed)},
                       {"retort", RETORT_VERSION}};
  return report;
}

/// Tokens of held-out text that gates are judged on where the recipe does not say.
constexpr const char *kGateTokens = "65536";

/// A compile under way.
class Compile {
public:
  explicit Compile(const CompileOptions &options)
      : options_(options), recipe_(chosenRecipe(options)), progress_(options.quiet),
        workspace_(options.workspace.empty() ? Workspace::defaultDir() : options.workspace),
        context_(workspace_), teacher_(options.teacher, workspace_, options.chat, options.adapter),
        corpus_(options.corpus, options.smallCorpus, progress_), gates_(options.gates) {
    for (const std::string &note : teacher_.notes())
      progress_.note(note);
    targets_ = parseTargets(options.target);
    checkDevices();
    if (gates_.needCorpus() && options.corpus.empty())
      fail(ExitCode::Usage, "--gate on bits_per_byte is about documents: name them with --corpus");
  }

  void printPipeline() {
    output::print("%s\n", onePassALine(context_.normalise(pipeline())).c_str());
  }

  void printPlan() { planned_.print(); }

  /// Everything that can be refused before work on data.
  void prepare() {
    context_.normalise(pipeline());
    workspace_.create();
    gates_.putTasks(workspace_);
    if (options_.output.empty() && !options_.dryRun)
      fail(ExitCode::Usage, "name the bundle to write with -o OUT.retort");
    if (!options_.output.empty()) {
      BundleWriter::checkOutput(options_.output, options_.force);
      checkNotInput(options_.output, inputs());
    }
    if (!teacher_.chatNote().empty())
      progress_.note(teacher_.chatNote());
    // Which refuses what a bundle cannot hold.
    const LoadedTokenizer &tokenizer = teacher_.tokenizer();
    tokenizerBytesPerToken_ =
        static_cast<double>(writeTokenizerJson(tokenizer.spec).size() + tokenizer.tables.size()) /
        std::max(1, tokenizer.spec.vocabSize());
    if (options_.limits.any()) {
      const std::string note =
          fitLimits(options_.limits, recipe_, [&]() -> const Plan & { return planned_ = plan(); });
      if (!note.empty())
        progress_.note(note);
    } else {
      planned_ = plan();
    }
    if (options_.minutes > 0)
      fitMinutes();
    if (options_.dryRun)
      return;
    if (!targets_.cuda.empty())
      findNvcc();
    planned_.check(workspace_.dir(), options_.output);
  }

  /// Does the work that prepare() planned, writes the bundle and returns its report.
  Report make() {
    auto module = importModel(context_.mlir(), teacher_.checkpoint());
    auto original = mlir::OwningOpRef<mlir::ModuleOp>(module->clone());
    DataWork work(teacher_, corpus_, workspace_, progress_, {.threads = options_.threads});
    context_.run(*module, pipeline(), &work);
    lm::ModelOp model = context_.finalModel(*module);
    LoweredModel lowered = lowerModel(context_, model, targets_, options_.devices);
    BundleInfo info;
    info.provenance = provenance();
    info.teacher = context_.finalModel(*original);
    // What was made, not what was planned: a plan prunes by stand-in statistics.
    Report report = reportOf(info.provenance, *module, model, work, workspace_);
    info.name = report.title;
    info.report = &report;
    report.curves = work.curves();
    report.layers = layersOf(model, info.teacher);
    if (const Corpus *corpus = corpus_.known())
      report.corpus = corpus->counts();
    report.gates = work.gates();
    checkGates(report);
    if (options_.form.empty() && options_.limits.on.empty() && !targets_.cuda.empty())
      form_ = fasterForm(lowered.targets.back().programs, targets_.cuda);
    teacher_.checkUnchanged();
    if (options_.explain)
      output::print("%s", explain(*module, model, workspace_).c_str());
    writeBundle(options_.output, lowered, teacher_, targets_, form_, info, progress_);
    return report;
  }

private:
  /// Refuses what no plan is needed for.
  void checkDevices() {
    if (!options_.form.empty())
      form_ = parseCudaForm(options_.form);
    if (targets_.cuda.empty() && (options_.devices != 1 || !options_.form.empty()))
      fail(ExitCode::Usage, std::string(options_.form.empty() ? "--devices" : "--form") +
                                " is about GPUs: name one with --target, for example cuda:sm_90");
    if (!options_.limits.on.empty())
      checkOn(deviceNamed(options_.limits.on));
    if (options_.devices < 1 || options_.devices > 2)
      fail(ExitCode::Usage, "--devices " + std::to_string(options_.devices) + ": write 1 or 2");
  }

  /// Refuses a device that the bundle will have no code for.
  void checkOn(const kernel::Device &device) const {
    const std::string arch = "sm_" + std::to_string(device.arch);
    if (std::ranges::none_of(targets_.cuda,
                             [&](const CudaArch &a) { return a.number == device.arch; }))
      fail(ExitCode::Usage, "--on " + options_.limits.on + ": its code is " + arch +
                                ", which --target does not name: give --target cuda:" + arch);
  }

  /// Everything that the compile reads.
  std::vector<std::string> inputs() const {
    std::vector<std::string> paths = options_.corpus;
    paths.insert(paths.end(), {options_.teacher, options_.adapter, options_.recipe});
    for (const std::string &path : gates_.taskFiles())
      paths.push_back(path);
    return paths;
  }

  std::string pipeline() const {
    return gates_.around(
        recipe_.pipeline({{"checkpoint-type", mostWeights(teacher_.checkpoint())}}),
        recipe_.valueOr("score-tokens", kGateTokens));
  }

  Plan plan() {
    Progress silent(true);
    auto module = importModel(context_.mlir(), teacher_.checkpoint());
    DataWork work(teacher_, corpus_, workspace_, silent,
                  {.threads = options_.threads, .planOnly = true});
    context_.run(*module, pipeline(), &work);
    lm::ModelOp model = context_.finalModel(*module);
    LoweredModel lowered = lowerModel(context_, model, targets_, options_.devices);
    const double tokens = std::min<double>(static_cast<double>(model.getVocab()),
                                           teacher_.tokenizer().spec.vocabSize());
    Plan plan = planOf(work.plan(), lowered, targets_,
                       static_cast<uint64_t>(tokens * tokenizerBytesPerToken_));
    if (!options_.limits.on.empty())
      plan.decodeUs = predictedDecode(lowered);
    return plan;
  }

  /// Microseconds to decode a token on the device of --on, by the cost model.
  double predictedDecode(const LoweredModel &lowered) {
    std::vector<kernel::ProgramOp> together;
    for (const LoweredTarget &target : lowered.targets)
      for (kernel::ProgramOp program : target.programs)
        if (program.isCuda() && program.isDecode())
          together.push_back(program);
    const nlohmann::json predicted = predictionOf(together, {.on = options_.limits.on});
    const double persistent = predicted["us"], graph = predicted["graph_us"];
    if (options_.form.empty())
      form_ = graph < persistent ? CudaForm::Graph : CudaForm::Persistent;
    return form_ == CudaForm::Graph ? graph : persistent;
  }

  /// Multiplies the recipe's numbers of tokens by the largest factor with which the compile takes no
  /// longer than it may. Work that is done already counts as if it were not: a compile that was killed
  /// goes on with the same numbers.
  void fitMinutes() {
    if (!recipe_.hasMinutes())
      fail(ExitCode::Usage,
           "--minutes says how long to train, and the recipe '" + recipe_.name() +
               "' does not train: choose one that does: " +
               recipesThat([](const Recipe &recipe) { return recipe.hasMinutes(); }));
    auto fits = [&](int64_t eighths) {
      recipe_.multiplyMinutes(std::exp2(double(eighths) / 8));
      planned_ = plan();
      return planned_.wholeSeconds() <= 60 * options_.minutes;
    };
    constexpr int64_t kLeast = -8 * 10, kMost = 8 * 20;
    if (!fits(kLeast))
      fail(ExitCode::Resources,
           "this compile takes " + formatSeconds(planned_.wholeSeconds()) +
               " on this machine with next to no training: give it more --minutes");
    const double factor = std::exp2(double(largestThat(fits, kLeast, kMost)) / 8);
    char line[96];
    std::snprintf(line, sizeof line, "%.3g times the recipe's tokens are trained on: about %s",
                  factor, formatSeconds(planned_.wholeSeconds()).c_str());
    progress_.note(line);
  }

  engine::Manifest::Provenance provenance() {
    // A manifest is UTF-8, a file's name any bytes.
    return {.teacherFile = repaired(std::filesystem::path(options_.teacher).filename().string()),
            .teacherSha256 = teacher_.sha256(),
            .recipe = repaired(recipe_.name()),
            .pipeline = context_.normalise(pipeline()),
            .seed = std::stoull(recipe_.valueOr("seed", "0")),
            .corpus = corpus_.known() ? corpus_.known()->identity() : ""};
  }

  /// Fails if a gate did; the report, which no bundle carries then, stays in the workspace.
  void checkGates(const Report &report) {
    const std::string failures = failureOf(report.gates);
    if (failures.empty())
      return;
    const std::string key = sha256Hex(std::string_view(report.toJson().dump()));
    workspace_.put(key, "report.json", report.toJson().dump(1) + "\n");
    workspace_.put(key, "report.html", report.toHtml());
    fail(ExitCode::GateFailed, failures + ": no bundle is written; the report is " +
                                   workspace_.objectPath(key, "report.html"));
  }

  const CompileOptions &options_;
  Recipe recipe_;
  CompileTargets targets_;
  CudaForm form_ = CudaForm::Persistent;
  Progress progress_;
  Workspace workspace_;
  CompilerContext context_;
  Teacher teacher_;
  FieldCorpus corpus_;
  Gates gates_;
  double tokenizerBytesPerToken_ = 0;
  Plan planned_;
};

} // namespace

void compileCommand(const CompileOptions &options) {
  Progress::handleSignals();
  Compile compile(options);
  if (options.printPipeline)
    return compile.printPipeline();
  compile.prepare();
  if (options.dryRun)
    return compile.printPlan();
  compile.make();
}

void planCompile(const CompileOptions &options) {
  CompileOptions silent = options;
  silent.quiet = true;
  Compile(silent).prepare();
}

Report compileBundle(const CompileOptions &options) {
  Compile compile(options);
  compile.prepare();
  return compile.make();
}

} // namespace retort
