//===- PruneVocabulary.cpp - Keep the tokens that the corpus needs --------===//
// SPDX-License-Identifier: Apache-2.0
//
// Byte-pair encoding reaches a token by joining pairs, always the most preferred pair there is. A
// kept token is still reached after pruning if every token on its way is kept: then each of
// its joins is still there, and among fewer merges each is still the most preferred. So for each
// token its encoding is run once, and the tokens on the way are kept with it.
#include "passes/Prune/Passes.h"
#include "passes/Prune/Statistics.h"
#include "passes/Prune/Take.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/DenseMap.h"
#include <algorithm>
#include <numeric>

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_PRUNEVOCABULARY
#include "passes/Prune/Passes.h.inc"
namespace {

/// The merges of a byte-pair encoding, and how each token is reached by them.
class Merges {
public:
  explicit Merges(const Statistics &statistics) : madeBy(statistics.counts.size(), {-1, -1}) {
    for (auto [rank, merge] : llvm::enumerate(statistics.merges)) {
      auto [left, right, result] = merge;
      byPair.try_emplace({left, right}, int32_t(rank), result);
      if (madeBy[result].first < 0)
        madeBy[result] = {left, right};
    }
  }

  /// The tokens on the way to `token`, itself excluded; none if merges do not reach it. Fails if
  /// the merges make a token out of itself.
  FailureOr<std::vector<int32_t>> wayTo(int32_t token) const;

private:
  /// More pieces than any real token has.
  static constexpr size_t maxPieces = 1 << 14;

  llvm::DenseMap<std::pair<int32_t, int32_t>, std::pair<int32_t, int32_t>> byPair; // rank, result
  std::vector<std::pair<int32_t, int32_t>> madeBy; ///< the token's first merge, or -1, -1
};

FailureOr<std::vector<int32_t>> Merges::wayTo(int32_t token) const {
  // Down to pieces that no merge makes: bytes or characters.
  std::vector<int32_t> pieces, stack{token};
  for (size_t steps = 0; !stack.empty(); ++steps) {
    if (steps > maxPieces)
      return failure();
    int32_t piece = stack.back();
    stack.pop_back();
    if (auto [left, right] = madeBy[piece]; left < 0) {
      pieces.push_back(piece);
    } else {
      stack.push_back(right);
      stack.push_back(left);
    }
  }
  // Up again as the encoder goes.
  std::vector<int32_t> way;
  while (pieces.size() > 1) {
    std::pair<int32_t, int32_t> best{-1, -1};
    size_t at = 0;
    for (size_t i = 0; i + 1 < pieces.size(); ++i)
      if (auto found = byPair.find({pieces[i], pieces[i + 1]});
          found != byPair.end() && (best.first < 0 || found->second.first < best.first)) {
        best = found->second;
        at = i;
      }
    if (best.first < 0)
      return std::vector<int32_t>{};
    way.push_back(pieces[at]);
    way.push_back(pieces[at + 1]);
    pieces[at] = best.second;
    pieces.erase(pieces.begin() + long(at) + 1);
  }
  if (pieces.front() != token)
    way.clear();
  return way;
}

/// The tokens to keep, chosen one after another.
class Choice {
public:
  Choice(const Merges &merges, size_t vocab) : merges(merges), kept(vocab) {}

  /// The tokens that keeping `token` would add, itself included.
  FailureOr<std::vector<int32_t>> needs(int32_t token) const {
    auto way = merges.wayTo(token);
    if (failed(way))
      return failure();
    way->push_back(token);
    llvm::erase_if(*way, [&](int32_t id) { return kept.test(id); });
    llvm::sort(*way);
    way->erase(std::unique(way->begin(), way->end()), way->end());
    return way;
  }
  void keep(ArrayRef<int32_t> tokens) {
    for (int32_t token : tokens)
      kept.set(token);
    size += int64_t(tokens.size());
  }
  bool has(int32_t token) const { return kept.test(token); }
  int64_t getSize() const { return size; }
  std::vector<int32_t> tokens() const {
    auto ids = kept.set_bits();
    return {ids.begin(), ids.end()};
  }

private:
  const Merges &merges;
  llvm::BitVector kept;
  int64_t size = 0;
};

struct PruneVocabulary : impl::PruneVocabularyBase<PruneVocabulary> {
  using PruneVocabularyBase::PruneVocabularyBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    auto tokens = choose(*model);
    if (failed(tokens) || failed(prune(*model, *tokens)))
      return signalPassFailure();
  }

private:
  FailureOr<std::vector<int32_t>> choose(lm::ModelOp model);
  LogicalResult fill(Choice &choice, ArrayRef<int32_t> order, int64_t limit, lm::ModelOp model);
  LogicalResult prune(lm::ModelOp model, ArrayRef<int32_t> tokens);
};

FailureOr<std::vector<int32_t>> PruneVocabulary::choose(lm::ModelOp model) {
  if (maxTokens < 0 || minCount < 0 || multiple < 1)
    return model.emitError("prune-vocabulary: max-tokens and min-count must be at least 0, "
                           "multiple at least 1");
  auto statistics =
      readStatistics(getOperation(), "prune-vocabulary", stats, distill::Statistic::Vocabulary);
  if (failed(statistics))
    return failure();
  const std::vector<int64_t> &counts = statistics->counts;
  int64_t vocab = model.getVocab();
  if (int64_t(counts.size()) != vocab)
    return model.emitError() << "prune-vocabulary: the model has " << vocab
                             << " tokens, the statistics count " << counts.size();
  int64_t limit = maxTokens > 0 ? std::min<int64_t>(maxTokens, vocab) : vocab;
  Merges merges(*statistics);
  Choice choice(merges, counts.size());
  std::vector<int32_t> order(vocab);
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](int32_t a, int32_t b) {
    return std::pair(-counts[a], a) < std::pair(-counts[b], b);
  });

  auto circular = [&](int32_t token) {
    return model.emitError() << "prune-vocabulary: the merges make token " << token
                             << " out of itself";
  };
  for (int32_t token : statistics->keep) {
    auto needed = choice.needs(token);
    if (failed(needed))
      return circular(token);
    choice.keep(*needed);
  }
  if (choice.getSize() > limit)
    return model.emitError() << "prune-vocabulary: cannot keep " << limit
                             << " tokens: " << choice.getSize()
                             << " must stay (bytes and special tokens)";
  for (int32_t token : order) {
    if (counts[token] < minCount)
      break;
    auto needed = choice.needs(token);
    if (failed(needed))
      return circular(token);
    if (choice.getSize() + int64_t(needed->size()) <= limit)
      choice.keep(*needed);
  }
  if (failed(fill(choice, order, limit, model)))
    return failure();
  return choice.tokens();
}

/// Keeps further tokens, most frequent first, until their number is a multiple of `multiple` or the
/// limit is reached.
LogicalResult PruneVocabulary::fill(Choice &choice, ArrayRef<int32_t> order, int64_t limit,
                                    lm::ModelOp model) {
  int64_t target = std::min((choice.getSize() + multiple - 1) / multiple * multiple, limit);
  for (int32_t token : order) {
    if (choice.getSize() >= target)
      break;
    auto needed = choice.needs(token);
    if (failed(needed))
      return model.emitError() << "prune-vocabulary: the merges make token " << token
                               << " out of itself";
    if (choice.getSize() + int64_t(needed->size()) <= target)
      choice.keep(*needed);
  }
  return success();
}

/// Takes the kept tokens' rows of every parameter that has a row a token.
LogicalResult PruneVocabulary::prune(lm::ModelOp model, ArrayRef<int32_t> tokens) {
  if (int64_t(tokens.size()) == model.getVocab())
    return success();
  struct Table {
    lm::ParamOp param;
    weight::Axis axis;
  };
  SmallVector<Table> tables;
  SmallVector<Value> logits;
  const auto &readers = getChildAnalysis<lm::ParamReaders>(model);
  for (auto param : model.getBody()->getOps<lm::ParamOp>()) {
    std::optional<weight::Axis> tokenAxis;
    for (const auto &[op, use] : readers.of(param)) {
      if (use.role == lm::ParamRole::Opaque)
        return op->emitError() << "prune-vocabulary: '" << op->getName()
                               << "' does not say whether @" << param.getSymName()
                               << " has rows of tokens";
      for (auto [index, axis] : llvm::enumerate(use.axes))
        if (axis.kind == lm::ParamAxis::Kind::Tokens) {
          tokenAxis = index == 0 ? weight::Axis::Rows : weight::Axis::Columns;
          if (axis.rows)
            logits.push_back(axis.rows);
        }
    }
    if (tokenAxis)
      tables.push_back({param, *tokenAxis});
  }
  for (Table table : tables)
    if (!weight::isWeightTensor(table.param.getType()))
      return table.param.emitError() << "prune-vocabulary: @" << table.param.getSymName()
                                     << " is quantised: prune before quantising";
  for (Table table : tables)
    takeParam(table.param, table.axis, tokens);
  for (Value scored : logits)
    lm::setFeatures(scored, int64_t(tokens.size()));
  SmallVector<int32_t> kept(tokens);
  if (auto before = model.getVocabKept()) // ids of this model's tokens in the teacher's vocabulary
    for (int32_t &token : kept)
      token = (*before)[token];
  numDropped += model.getVocab() - int64_t(tokens.size());
  model.setVocabKept(kept);
  model.setVocab(int64_t(tokens.size()));
  return success();
}

} // namespace
} // namespace retort
