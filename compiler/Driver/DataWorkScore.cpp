//===- DataWorkScore.cpp - Executing distill.score and distill.gate ------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Numbers.h"
#include "compiler/Driver/DataWork.h"
#include "compiler/Driver/Estimate.h"
#include "compiler/Driver/TaskScorer.h"
#include "compiler/Torch/Checks.h"
#include "compiler/Torch/FromIR.h"
#include "compiler/Weights/StoredBytes.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

/// Bytes of held-out text that stand for one token of `tokens` in distill.score: models with
/// different vocabularies are scored on the same text.
constexpr uint64_t kBytesPerScoredToken = 4;

} // namespace

void DataWork::runOp(distill::ScoreOp op) {
  lm::ModelOp scored = model(op, op.getModel());
  llvm::SmallVector<lm::ModelOp> models{scored};
  if (op.getAgainst())
    models.push_back(model(op, *op.getAgainst()));
  const std::string key = keyOf(op, models);
  const std::string name = "score the " + wordsOf(op.getSymName());
  exec::checkModel(exec::graphFromModel(scored));
  if (!op.getTask())
    checkDocuments(scored, Split::HeldOut);
  if (const std::optional<uint64_t> bytes = storedBytesPerToken(scored))
    weightBytes_[op.getSymName().str()] = *bytes;
  PlannedWork work =
      estimateScore(scored, op.getTokens().value_or(0), name, workspace_.has(key, "json"));
  if (op.getAgainst())
    work.seconds += estimateScore(models[1], op.getTokens().value_or(0), name, false).seconds;
  plan_.push_back(std::move(work));
  if (!options_.planOnly)
    workspace_.getOrMake(key, "json", [&](const std::string &path) {
      progress_.begin(name);
      const nlohmann::json result = op.getTask() ? answer(op, scored) : score(op, scored);
      writeFileAtomically(path, result.dump() + "\n");
      progress_.end(op.getTask() ? fixedDecimals(100 * result["acc"].get<double>(), 1) + " % of " +
                                       op.getTaskName()->str()
                                 : fixedDecimals(result["bits_per_byte"].get<double>(), 3) +
                                       " bits per byte held out");
    });
  setResult(op, key);
}

nlohmann::json DataWork::score(distill::ScoreOp op, lm::ModelOp scored) {
  const LoadedTokenizer &tokenizer = teacher_.tokenizerOf(scored);
  const EvalWindows windows =
      evalWindows(corpus_.get().require(Split::HeldOut), tokenizer.tokenizeDocument(),
                  tokenizer.startToken(), static_cast<uint32_t>(scored.getContext() - 1),
                  op.getTokens().value_or(0) * kBytesPerScoredToken);
  if (const uint64_t asked = op.getTokens().value_or(0) * kBytesPerScoredToken;
      windows.totalBytes < asked / 10 * 9)
    progress_.note("scored on " + formatBytes(windows.totalBytes) + " of the " +
                   formatBytes(asked) + " of text asked for: the corpus holds out no more");
  const exec::Graph graph = exec::graphFromModel(scored);
  std::optional<exec::Graph> otherGraph;
  std::optional<exec::Model> other;
  if (op.getAgainst()) {
    lm::ModelOp against = model(op, *op.getAgainst());
    otherGraph = exec::graphFromModel(against);
    other = exec::Model{&*otherGraph, teacher_.readRows(against, *otherGraph)};
  }
  exec::Scores scores;
  exec::check(executor().score({&graph, teacher_.readRows(scored, graph)},
                               other ? &*other : nullptr, windowSequences(windows),
                               {.precision = exec::Precision::F32}, onProgress(), scores));
  std::vector<double> nll;
  for (const exec::SequenceScore &sequence : scores.sequences)
    nll.push_back(sequence.nll);
  const std::vector<DocumentScore> documents = documentScores(windows, nll);
  nlohmann::json result = {{"bits_per_byte", bitsPerByte(documents).value},
                           {"text_bytes", windows.totalBytes},
                           {"tokens", windows.tokens},
                           {"documents", nlohmann::json::array()}};
  if (scores.kl)
    result["kl"] = scores.kl->mean;
  for (size_t d = 0; d < documents.size(); ++d)
    result["documents"].push_back({{"sha256", windows.documents[d].sha256},
                                   {"text_bytes", documents[d].textBytes},
                                   {"nll", documents[d].nll}});
  return result;
}

nlohmann::json DataWork::answer(distill::ScoreOp op, lm::ModelOp scored) {
  const std::string name = op.getTaskName()->str();
  const auto content = workspace_.read(op.getTask()->getSha256().str(), "jsonl");
  if (!content)
    fail(ExitCode::BadInput, name + ": the workspace does not hold this task: name its file with "
                                    "--gate");
  const std::vector<TaskItem> items = parseTask(*content, name);
  const std::unique_ptr<Scorer> scorer = modelScorer(teacher_, scored, executor());
  const TaskScore answers = scoreTask(items, *scorer, progress_);
  return {{"acc", accuracy(answers.acc).value},
          {"acc_norm", accuracy(answers.accNorm).value},
          {"correct", answers.acc},
          {"correct_norm", answers.accNorm}};
}

void DataWork::judge(distill::GateOp op) {
  if (options_.planOnly)
    return;
  const std::string metric = stringifyMetric(op.getMetric()).str();
  const auto scoreOf = [&](llvm::StringRef name) {
    return mlir::SymbolTable::lookupNearestSymbolFrom<distill::ScoreOp>(
        op, mlir::StringAttr::get(op.getContext(), name));
  };
  const auto figureOf = [&](distill::ScoreOp score) {
    const std::string key = score.getResult()->getSha256().str();
    return readObject(workspace_.objectPath(key, "json")).value(metric, double(NAN));
  };
  distill::ScoreOp score = scoreOf(op.getScore());
  const bool lower = op.getMetric() == distill::Metric::BitsPerByte, strict = op.getStrict();
  char bound[32];
  std::snprintf(bound, sizeof bound, "%.6g", op.getBound());
  GateOutcome outcome;
  outcome.asked = lower ? metric : "task:" + score.getTaskName()->str();
  outcome.asked += op.getMetric() == distill::Metric::AccNorm ? " acc_norm" : "";
  outcome.asked += std::string(lower ? " <" : " >") + (strict ? " " : "= ") + bound;
  outcome.reached = figureOf(score);
  outcome.limit = op.getBound();
  if (op.getAgainst()) {
    distill::ScoreOp other = scoreOf(*op.getAgainst());
    outcome.asked += " * " + wordsOf(other.getModel());
    outcome.limit *= figureOf(other);
  }
  // What is not finite passes no gate.
  outcome.passed = lower ? outcome.reached < outcome.limit : outcome.reached > outcome.limit;
  outcome.passed |= !strict && outcome.reached == outcome.limit;
  gates_.push_back(outcome);
}

} // namespace retort
