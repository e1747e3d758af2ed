//===- DataWork.cpp - Executing the ops of the distill dialect -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/DataWork.h"
#include "compiler/Data/Hash.h"
#include "compiler/Driver/Estimate.h"
#include "compiler/Torch/Checks.h"
#include "compiler/Torch/FromIR.h"
#include "compiler/Torch/Loader.h"
#include "runtime/base/Sha256.h"

#include "mlir/IR/AsmState.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

/// Part of every key: raised when data work gives other results for the same inputs.
constexpr const char *kWorkVersion = "retort-work-6";

/// Windows of packed rows as the executor takes them: the window's start token and all its targets.
std::vector<exec::Sequence> toSequences(const PackedSequences &packed) {
  std::vector<exec::Sequence> sequences;
  const uint64_t length = packed.sequenceTokens;
  for (uint64_t s = 0; s < packed.sequences(); ++s) {
    exec::Sequence sequence;
    for (uint64_t row = s * length; row < (s + 1) * length; ++row) {
      if (packed.document[row] < 0)
        break;
      if (packed.positions[row] == 0)
        sequence.documents.push_back(static_cast<int32_t>(sequence.tokens.size()));
      sequence.tokens.push_back(packed.tokens[row]);
      const bool last = row + 1 == (s + 1) * length || packed.positions[row + 1] == 0 ||
                        packed.document[row + 1] < 0;
      if (last)
        sequence.tokens.push_back(packed.targets[row]);
    }
    if (!sequence.tokens.empty())
      sequences.push_back(std::move(sequence));
  }
  return sequences;
}

/// Whether an op of data work needs more than counting tokens.
bool runsModel(mlir::Operation *op) {
  auto observe = llvm::dyn_cast<distill::ObserveOp>(op);
  return !observe || llvm::any_of(observe.getStatistics().getAsRange<distill::StatisticAttr>(),
                                  [](auto statistic) {
                                    return statistic.getValue() != distill::Statistic::Vocabulary;
                                  });
}

} // namespace

std::string wordsOf(llvm::StringRef symbol) {
  std::string words = symbol.str();
  std::replace(words.begin(), words.end(), '_', ' ');
  return words;
}

nlohmann::json readObject(const std::string &path) {
  std::ifstream file(path);
  nlohmann::json value = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object())
    fail(ExitCode::BadInput, path + ": is damaged: delete it and run again");
  return value;
}

DataWork::DataWork(Teacher &teacher, FieldCorpus &corpus, Workspace &workspace, Progress &progress,
                   DataWorkOptions options)
    : teacher_(teacher), corpus_(corpus), workspace_(workspace), progress_(progress),
      options_(options) {}
DataWork::~DataWork() = default;

void DataWork::run(mlir::ModuleOp module) {
  for (mlir::Operation &op : llvm::make_early_inc_range(module.getOps())) {
    if (Progress::interrupted())
      fail(ExitCode::Interrupted, "stopped: run the same command again to go on from here");
    llvm::TypeSwitch<mlir::Operation *>(&op)
        .Case<distill::ObserveOp, distill::ProbeOp, distill::FitOp, distill::TrainOp,
              distill::ScoreOp>([&](auto work) {
          if (!work.getResult())
            runOp(work);
        })
        .Case([&](distill::GateOp gate) { judge(gate); });
  }
}

exec::Executor &DataWork::executor() {
  if (!executor_)
    executor_ = exec::loadExecutor({.threads = static_cast<int>(options_.threads)});
  return *executor_;
}

lm::ModelOp DataWork::model(mlir::Operation *op, llvm::StringRef name) {
  return mlir::SymbolTable::lookupNearestSymbolFrom<lm::ModelOp>(
      op, mlir::StringAttr::get(op->getContext(), name));
}

std::string DataWork::keyOf(mlir::Operation *op, llvm::ArrayRef<lm::ModelOp> models) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << kWorkVersion << '\n' << op->getName().getStringRef() << '\n';
  for (mlir::NamedAttribute attribute : op->getAttrDictionary())
    // What draws documents draws by its name; a score is the same by any.
    if (attribute.getName() != "result" &&
        !(attribute.getName() == "sym_name" && llvm::isa<distill::ScoreOp>(op)))
      stream << attribute.getName().getValue() << " = " << attribute.getValue() << '\n';
  for (lm::ModelOp used : models)
    used->print(stream, mlir::OpPrintingFlags().useLocalScope());
  stream << teacher_.sha256() << '\n';
  if (!op->hasAttr("task"))
    stream << corpus_.get().identity() << '\n';
  if (runsModel(op)) // whose sums depend on the machine
    stream << exec::arithmetic() << '\n';
  return sha256Hex(std::string_view(text));
}

std::string DataWork::putStandIn(const std::string &key, const std::string &text) {
  const std::string own = sha256Hex(std::string_view("plan " + key));
  workspace_.put(own, "json", text);
  return own;
}

exec::OnProgress DataWork::onProgress() {
  return [this](const exec::Progress &at) {
    char note[64] = "";
    if (at.loss != 0)
      std::snprintf(note, sizeof note, "loss %.3f, %.0f tokens/s", at.loss, at.tokensPerSecond);
    progress_.update(at.step, at.totalSteps, note);
    return !Progress::interrupted();
  };
}

void DataWork::checkDocuments(lm::ModelOp model, Split split) {
  if (model.getContext() < 2)
    fail(ExitCode::Unsupported,
         "'" + model.getSymName().str() + "' has a context of one token, so none can be predicted");
  teacher_.tokenizerOf(model).startToken();
  corpus_.get().require(split);
}

std::vector<exec::Sequence> DataWork::packTrain(mlir::Operation *op, lm::ModelOp model,
                                                int64_t tokens, int64_t sequenceTokens,
                                                uint64_t seed) {
  const llvm::StringRef name = mlir::SymbolTable::getSymbolName(op).getValue();
  const uint64_t salt = leadingBits(sha256Hex(std::string_view(name)));
  const LoadedTokenizer &tokenizer = teacher_.tokenizerOf(model);
  std::vector<const Document *> documents = corpus_.get().require(Split::Train);
  // A window's start token and its targets.
  const int64_t longest = static_cast<int64_t>(model.getContext()) - 1;
  if (sequenceTokens > longest)
    progress_.note("the model's context is shorter than sequences of " +
                   formatCount(sequenceTokens) + " tokens: they have " + formatCount(longest));
  const PackedSequences packed =
      packDocuments(documents, tokenizer.tokenizeDocument(),
                    {.sequenceTokens = static_cast<uint32_t>(std::min(sequenceTokens, longest)),
                     .startToken = tokenizer.startToken(),
                     .budgetTokens = static_cast<uint64_t>(tokens),
                     .seed = mix64(seed) ^ salt});
  // Each document is seen at most PackOptions::maxEpochs times.
  if (packed.targetCount < static_cast<uint64_t>(tokens) * 9 / 10)
    progress_.note(formatCount(packed.targetCount) + " tokens of the " + formatCount(tokens) +
                   " asked for: the corpus has no more");
  return toSequences(packed);
}

//===----------------------------------------------------------------------===//
// Observations
//===----------------------------------------------------------------------===//

void DataWork::runOp(distill::ObserveOp op) {
  lm::ModelOp observed = model(op, op.getModel());
  std::string key = keyOf(op, observed);
  const bool models = runsModel(op);
  if (models) {
    exec::checkModel(exec::graphFromModel(observed));
    checkDocuments(observed, Split::Train);
  }
  const std::string name = models ? "observe the teacher" : "count the vocabulary";
  if (models)
    plan_.push_back(estimateObserve(observed, op.getTokens(), name, workspace_.has(key, "json")));
  if (options_.planOnly && models && !workspace_.has(key, "json")) {
    key = putStandIn(key, plannedStatistics(observed).toJson());
  } else {
    workspace_.getOrMake(key, "json", [&](const std::string &path) {
      progress_.begin(name);
      writeFileAtomically(path, observe(op, observed));
      progress_.end();
    });
  }
  setResult(op, key);
}

std::string DataWork::observe(distill::ObserveOp op, lm::ModelOp observed) {
  Statistics result;
  for (auto statistic : op.getStatistics().getAsRange<distill::StatisticAttr>()) {
    if (statistic.getValue() != distill::Statistic::Vocabulary)
      continue;
    const LoadedTokenizer &tokenizer = teacher_.tokenizerOf(observed);
    std::vector<const Document *> documents = corpus_.get().require(Split::Train);
    const auto counts = countTokens(documents, tokenizer.tokenizeDocument(),
                                    static_cast<uint32_t>(observed.getVocab()));
    result.counts.assign(counts.begin(), counts.end());
    result.merges = tokenizer.spec.merges;
    result.keep = keepAlways(tokenizer.spec);
  }
  if (runsModel(op)) {
    const exec::Graph graph = exec::graphFromModel(observed);
    exec::check(executor().observe(
        {&graph, teacher_.readRows(observed, graph)},
        packTrain(op, observed, op.getTokens(), op.getSequenceLength(), 0), onProgress(), result));
  }
  result.tokens = op.getTokens();
  return result.toJson();
}

} // namespace retort
