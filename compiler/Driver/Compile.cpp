//===- Compile.cpp - `retort compile` ----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Codegen/Nvcc.h"
#include "compiler/Driver/Assemble.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Estimate.h"
#include "compiler/Driver/Recipe.h"
#include "compiler/Driver/Suggest.h"
#include "compiler/Import/Import.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace retort {
namespace {

/// Bytes of a bundle besides weights: code for two instruction sets, tokenizer, IR and report.
constexpr uint64_t kBundleOverheadBytes = 6'000'000;
/// Bytes of a GPU program for one architecture and, once, of its PTX and its text.
constexpr uint64_t kCudaArchBytes = 2'000'000;
/// Memory of one nvcc, of which two run at a time, and seconds that it takes for each distinct
/// shape of a phase, as measured on an EPYC 9004.
constexpr uint64_t kNvccBytes = 300'000'000;
constexpr double kNvccSecondsPerShape = 0.5;
/// Memory of a compile without data work: MLIR, code generation, and pieces of parameters.
constexpr uint64_t kCompileBytes = 500'000'000;
/// Shares of FFN channels that --budget chooses among, in percent.
constexpr int kLeastKeepPercent = 10;

/// A pipeline to be read and edited: --recipe takes it as it is printed.
std::string onePassALine(const std::string &pipeline) {
  std::string text;
  int depth = 0;
  for (const char c : pipeline) {
    depth += (c == '(' || c == '{') - (c == ')' || c == '}');
    if (!(c == ' ' && !text.empty() && text.back() == ' '))
      text += c;
    if ((c == ',' || c == '(') && depth == 1)
      text += "\n  ";
  }
  return text;
}

/// A compile under way.
class Compile {
public:
  explicit Compile(const CompileOptions &options)
      : options_(options), progress_(options.quiet),
        workspace_(options.workspace.empty() ? Workspace::defaultDir() : options.workspace),
        context_(workspace_), teacher_(options.teacher, workspace_),
        corpus_(options.corpus, progress_) {
    targets_ = parseTargets(options.target);
    checkDevices();
    checkCache();
    parameters_.cacheFormat = options.cache;
    parameters_.seed = options.seed;
    parameters_.baselines = options.baselines;
    if (options.distillTokens)
      parameters_.distillTokens = options.distillTokens;
    parameters_.checkpointType = mostWeights();
  }

  void run() {
    const std::string text = context_.normalise(pipeline());
    if (options_.printPipeline) {
      std::printf("%s\n", onePassALine(text).c_str());
      return;
    }
    if (options_.output.empty() && !options_.dryRun)
      fail(ExitCode::Usage, "name the bundle to write with -o OUT.retort");
    if (!options_.output.empty())
      BundleWriter::checkOutput(options_.output, options_.force);
    planned_ = plan();
    if (options_.budgetBytes)
      fitBudget();
    if (options_.dryRun)
      return printPlan();
    checkResources();
    make();
  }

private:
  /// Refuses what no plan is needed for.
  void checkDevices() {
    if (!options_.form.empty())
      form_ = parseCudaForm(options_.form);
    if (targets_.cuda.empty() && (options_.devices != 1 || !options_.form.empty()))
      fail(ExitCode::Usage, std::string(options_.form.empty() ? "--devices" : "--form") +
                                " is about GPUs: name one with --target, for example cuda:sm_90");
    if (options_.devices < 1 || options_.devices > 2)
      fail(ExitCode::Usage, "--devices " + std::to_string(options_.devices) + ": write 1 or 2");
  }

  void checkCache() const {
    const std::string &cache = options_.cache;
    if (cache.empty())
      return;
    if (!named<CacheFormat>(cache)) {
      std::vector<std::string> names;
      for (CacheFormat format : all<CacheFormat>())
        names.push_back(nameOf(format));
      const std::string nearest = nearestName(cache, names);
      fail(ExitCode::Usage, "--cache " + cache + ": write " + allNames<CacheFormat>() +
                                (nearest.empty() ? "" : ": did you mean '" + nearest + "'?"));
    }
    if (!options_.passes.empty())
      fail(ExitCode::Usage, "--cache " + cache +
                                ": --passes says itself how keys and values are kept: write "
                                "cache-format{format=" +
                                cache + "} there");
  }

  std::string pipeline() {
    if (!options_.passes.empty())
      return options_.passes;
    return recipe().pipeline;
  }

  Recipe recipe() {
    std::string name = options_.recipe;
    if (name.empty())
      name = options_.corpus.empty() ? "none" : "specialist";
    Recipe recipe = loadRecipe(name, parameters_);
    if (recipe.needsCorpus && options_.corpus.empty())
      fail(ExitCode::Usage,
           "the recipe " + name + " works on documents: name them with --corpus DIR");
    return recipe;
  }

  /// "bf16" or "f16" if more than half of the checkpoint's bytes are that.
  std::string mostWeights() const {
    uint64_t bf16 = 0, f16 = 0, all = 0;
    for (const CheckpointTensor &tensor : teacher_.checkpoint().tensors()) {
      all += tensor.bytes.size();
      bf16 += tensor.type == DType::BF16 ? tensor.bytes.size() : 0;
      f16 += tensor.type == DType::F16 ? tensor.bytes.size() : 0;
    }
    return bf16 * 2 > all ? "bf16" : f16 * 2 > all ? "f16" : "";
  }

  /// What the compile will do and make, from shapes alone.
  struct Plan {
    std::vector<PlannedWork> work;
    uint64_t weightBytes = 0,
             bytesPerToken = 0; ///< weights of all targets; of one row of the first
    uint64_t codeBytes = 0;     ///< and all else that is no weight
    size_t cudaShapes = 0;      ///< distinct shapes of the phases for GPUs
    uint64_t bundleBytes() const { return weightBytes + codeBytes; }
  };

  Plan plan() {
    Progress silent(true);
    auto module = importModel(context_.mlir(), teacher_.checkpoint());
    DataWork work(teacher_, corpus_, workspace_, silent,
                  {.threads = options_.threads, .planOnly = true});
    context_.run(*module, pipeline(), &work);
    LoweredModel lowered = lowerModel(context_, finalModel(*module), targets_, options_.devices);
    const size_t cubins = targets_.cuda.empty() ? 0 : targets_.cuda.size() + 1;
    std::set<std::string> shapes;
    for (LoweredTarget &target : lowered.targets)
      for (kernel::ProgramOp program : target.programs)
        if (program.isCuda())
          for (const codegen::CudaPhase &phase : codegen::cudaPhases(program))
            shapes.insert(phase.kernel);
    return {work.plan(), lowered.weightBytes, lowered.bytesPerToken,
            kBundleOverheadBytes + cubins * kCudaArchBytes, shapes.size()};
  }

  /// Chooses the widest student that the budget holds, or explains why there is none.
  void fitBudget() {
    if (planned_.bundleBytes() <= options_.budgetBytes &&
        !(options_.passes.empty() && recipe().name == "specialist"))
      return;
    if (!options_.passes.empty() || recipe().name != "specialist")
      fail(ExitCode::Resources,
           "the bundle will take " + formatBytes(planned_.bundleBytes()) + ", over the budget of " +
               formatBytes(options_.budgetBytes) +
               ": raise --budget, or choose the recipe specialist, which prunes");
    int low = kLeastKeepPercent, high = 100;
    auto fits = [&](int percent) {
      parameters_.ffnKeep = percent / 100.0;
      planned_ = plan();
      return planned_.bundleBytes() <= options_.budgetBytes;
    };
    if (!fits(low))
      fail(ExitCode::Resources, "no shape meets the budget of " +
                                    formatBytes(options_.budgetBytes) +
                                    ": the smallest bundle of this teacher takes " +
                                    formatBytes(planned_.bundleBytes()) + ": raise --budget");
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (fits(middle))
        low = middle;
      else
        high = middle - 1;
    }
    fits(low);
    progress_.note("the budget keeps " + std::to_string(low) + " % of the FFN channels");
  }

  /// Compiling for GPUs runs an nvcc an architecture and one for PTX, two at a time.
  uint64_t emitMemory() const {
    return kCompileBytes + (targets_.cuda.empty() ? 0 : 2 * kNvccBytes);
  }
  double emitSeconds() const {
    if (targets_.cuda.empty())
      return 10;
    return 10 + kNvccSecondsPerShape * planned_.cudaShapes * (targets_.cuda.size() + 1) / 2;
  }

  uint64_t peakMemory() const {
    uint64_t peak = emitMemory();
    for (const PlannedWork &work : planned_.work)
      if (!work.cached)
        peak = std::max(peak, work.memoryBytes);
    return peak;
  }

  uint64_t workspaceBytes() const {
    uint64_t bytes = 0;
    for (const PlannedWork &work : planned_.work)
      bytes += work.cached ? 0 : work.diskBytes;
    return bytes;
  }

  /// Stops a compile that cannot fit before it starts.
  void checkResources() const {
    if (!targets_.cuda.empty())
      findNvcc();
    if (uint64_t free = availableMemoryBytes(); peakMemory() > free)
      fail(ExitCode::Resources,
           "the compile needs about " + formatBytes(peakMemory()) + " of memory but " +
               formatBytes(free) +
               " are free: see --dry-run for which stage, close other programs or use a smaller "
               "teacher");
    if (uint64_t free = freeDiskBytes(workspace_.dir()); workspaceBytes() > free)
      fail(ExitCode::Resources, workspace_.dir() + ": the workspace needs " +
                                    formatBytes(workspaceBytes()) + " but " + formatBytes(free) +
                                    " are free: name another with --workspace");
    if (uint64_t free = freeDiskBytes(options_.output); planned_.bundleBytes() > free)
      fail(ExitCode::Resources, options_.output + ": the bundle needs " +
                                    formatBytes(planned_.bundleBytes()) + " but " +
                                    formatBytes(free) + " are free on that disk");
  }

  void printPlan() const {
    const std::string emit = "emit and write the bundle";
    size_t width = emit.size();
    for (const PlannedWork &work : planned_.work)
      width = std::max(width, work.name.size());
    const int columns = static_cast<int>(width);
    std::printf("%-*s %10s %10s %10s\n", columns, "stage", "time", "memory", "disk");
    double seconds = 0;
    for (const PlannedWork &work : planned_.work) {
      std::printf("%-*s %10s %10s %10s  %s\n", columns, work.name.c_str(),
                  work.cached ? "-" : ("~" + formatSeconds(work.seconds)).c_str(),
                  formatBytes(work.memoryBytes).c_str(), formatBytes(work.diskBytes).c_str(),
                  work.cached ? "cached" : "");
      seconds += work.cached ? 0 : work.seconds;
    }
    std::printf("%-*s %10s %10s %10s\n", columns, emit.c_str(),
                ("~" + formatSeconds(emitSeconds())).c_str(), formatBytes(emitMemory()).c_str(),
                formatBytes(planned_.bundleBytes()).c_str());
    std::printf("\nin all about %s, peak memory %s (free: %s), bundle %s, %s of weights a token\n",
                formatSeconds(seconds + emitSeconds()).c_str(), formatBytes(peakMemory()).c_str(),
                formatBytes(availableMemoryBytes()).c_str(),
                formatBytes(planned_.bundleBytes()).c_str(),
                formatBytes(planned_.bytesPerToken).c_str());
  }

  nlohmann::json provenance(const std::string &pipelineText) {
    nlohmann::json result = {
        {"teacher",
         {{"file", std::filesystem::path(options_.teacher).filename().string()},
          {"sha256", teacher_.sha256()}}},
        {"recipe", options_.passes.empty() ? recipe().name : "custom"},
        {"pipeline", pipelineText},
        {"seed", options_.seed},
        {"retort", RETORT_VERSION}};
    if (const Corpus *corpus = corpus_.known())
      result["corpus"] = {{"identity", corpus->identity()}, {"counts", corpus->counts().toJson()}};
    return result;
  }

  /// A score's result as a line of the report; nothing if the module has no such score.
  void addScores(Report &report, mlir::ModuleOp module, uint64_t bytesPerToken) const {
    for (auto op : module.getOps<distill::ScoreOp>()) {
      if (!op.getResult())
        continue;
      auto text = workspace_.read(op.getResult()->getSha256().str(), "json");
      auto score = nlohmann::json::parse(text.value_or("{}"), nullptr, false);
      if (!score.is_object() || !score.contains("bits_per_byte") ||
          !score["bits_per_byte"].is_number())
        continue;
      ModelFigures figures{.name = wordsOf(op.getSymName())};
      figures.bitsPerByte = Estimate{score["bits_per_byte"].get<double>(),
                                     score["bits_per_byte_stderr"].is_number()
                                         ? score["bits_per_byte_stderr"].get<double>()
                                         : NAN};
      const double tokens = score["tokens"].get<double>();
      figures.textBytesPerToken = score["text_bytes"].get<double>() / std::max(1.0, tokens);
      if (op.getModel() == "student")
        figures.weightBytesPerToken = bytesPerToken;
      report.heldOut = formatCount(score["text_bytes"].get<uint64_t>()) +
                       " bytes of held-out documents, never trained on";
      report.models.push_back(std::move(figures));
    }
  }

  void make() {
    auto module = importModel(context_.mlir(), teacher_.checkpoint());
    const std::string text = pipeline();
    auto original = mlir::OwningOpRef<mlir::ModuleOp>(module->clone());
    DataWork work(teacher_, corpus_, workspace_, progress_, {.threads = options_.threads});
    context_.run(*module, text, &work);
    lm::ModelOp model = finalModel(*module);
    LoweredModel lowered = lowerModel(context_, model, targets_, options_.devices);
    Report report;
    const std::string stem = std::filesystem::path(options_.teacher).stem().string();
    report.title = stem + ", " + (options_.passes.empty() ? recipe().name : "custom");
    nlohmann::json facts = provenance(context_.normalise(text));
    // What was made, not what was planned: a plan prunes by stand-in statistics.
    addScores(report, *module, lowered.bytesPerToken);
    report.curves = work.curves();
    if (const Corpus *corpus = corpus_.known())
      report.corpus = corpus->counts();
    report.provenance = {{"teacher", facts["teacher"]["file"].get<std::string>()},
                         {"teacher sha256", teacher_.sha256()},
                         {"recipe", facts["recipe"].get<std::string>()},
                         {"pipeline", facts["pipeline"].get<std::string>()},
                         {"seed", std::to_string(options_.seed)},
                         {"retort", RETORT_VERSION}};
    BundleInfo info{report.title, &facts, &report, finalModel(*original)};
    if (options_.form.empty() && !targets_.cuda.empty())
      form_ = fasterForm(lowered.targets.back().programs, targets_.cuda);
    writeBundle(options_.output, lowered, teacher_, targets_, form_, info, progress_);
  }

  const CompileOptions &options_;
  CompileTargets targets_;
  CudaForm form_ = CudaForm::Persistent;
  Progress progress_;
  Workspace workspace_;
  CompilerContext context_;
  Teacher teacher_;
  FieldCorpus corpus_;
  RecipeParameters parameters_;
  Plan planned_;
};

} // namespace

void compileCommand(const CompileOptions &options) {
  Progress::handleSignals();
  Compile(options).run();
}

} // namespace retort
