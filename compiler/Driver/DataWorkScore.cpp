//===- DataWorkScore.cpp - Executing distill.score and distill.gate ------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Scoring.h"
#include "compiler/Driver/DataWork.h"
#include "compiler/Driver/Estimate.h"
#include "compiler/Driver/Scorer.h"
#include "compiler/Torch/FromIR.h"

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
  const std::string key = keyOf(op, scored);
  const std::string name = "score the " + wordsOf(op.getSymName());
  plan_.push_back(
      estimateScore(scored, op.getTokens().value_or(0), name, workspace_.has(key, "json")));
  if (!options_.planOnly)
    workspace_.getOrMake(key, "json", [&](const std::string &path) {
      progress_.begin(name);
      const std::string text = score(op, scored);
      writeFileAtomically(path, text);
      char line[64];
      std::snprintf(line, sizeof line, "%.3f bits per byte held out",
                    nlohmann::json::parse(text)["bits_per_byte"].get<double>());
      progress_.end(line);
    });
  setResult(op, key);
}

std::string DataWork::score(distill::ScoreOp op, lm::ModelOp scored) {
  const LoadedTokenizer &tokenizer = teacher_.tokenizerOf(scored);
  const EvalWindows windows =
      evalWindows(corpus_.get().require(Split::HeldOut), tokenizer.tokenizeDocument(),
                  tokenizer.startToken(), static_cast<uint32_t>(scored.getContext() - 1),
                  op.getTokens().value_or(0) * kBytesPerScoredToken);
  const exec::Graph graph = exec::graphFromModel(scored);
  exec::Scores scores;
  exec::check(executor().score({&graph, teacher_.readRows(scored, graph)}, nullptr,
                               windowSequences(windows), {.precision = exec::Precision::F32},
                               onProgress(), scores));
  std::vector<double> nll;
  for (const exec::SequenceScore &sequence : scores.sequences)
    nll.push_back(sequence.nll);
  const std::vector<DocumentScore> documents = documentScores(windows, nll);
  nlohmann::json result = {{"bits_per_byte", bitsPerByte(documents).value},
                           {"text_bytes", windows.totalBytes},
                           {"tokens", windows.tokens},
                           {"documents", nlohmann::json::array()}};
  for (size_t d = 0; d < documents.size(); ++d)
    result["documents"].push_back({{"sha256", windows.documents[d].sha256},
                                   {"text_bytes", documents[d].textBytes},
                                   {"nll", documents[d].nll}});
  return result.dump() + "\n";
}

void DataWork::checkGate(distill::GateOp op) {
  if (options_.planOnly)
    return;
  auto bits = [&](llvm::StringRef name) {
    auto score = mlir::SymbolTable::lookupNearestSymbolFrom<distill::ScoreOp>(
        op, mlir::StringAttr::get(op.getContext(), name));
    return readObject(workspace_.objectPath(score.getResult()->getSha256().str(), "json"))
        .value("bits_per_byte", NAN);
  };
  const double reached = bits(op.getScore());
  char text[160];
  if (op.getMaximum() && !(reached <= op.getMaximumAttr().getValueAsDouble())) {
    std::snprintf(text, sizeof text,
                  "the specialist reaches %.4f bits per byte on held-out text, not the %.4f asked "
                  "for: distil on more tokens or prune less",
                  reached, op.getMaximumAttr().getValueAsDouble());
    fail(ExitCode::Resources, text);
  }
  if (op.getAgainst() && !(reached < bits(*op.getAgainst()))) {
    std::snprintf(text, sizeof text,
                  "the specialist reaches %.4f bits per byte on held-out text, no better than its "
                  "teacher's %.4f: distil on more tokens or prune less",
                  reached, bits(*op.getAgainst()));
    fail(ExitCode::Resources, text);
  }
}

} // namespace retort
