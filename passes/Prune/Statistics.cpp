//===- Statistics.cpp - Reading what a distill.observe found --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Prune/Statistics.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>

using namespace mlir;

namespace retort {
namespace {
namespace json = llvm::json;

/// The file's path: as given, or of the last finished observation of `wanted`.
FailureOr<std::string> findFile(ModuleOp module, StringRef pass, StringRef path,
                                distill::Statistic wanted) {
  if (!path.empty())
    return path.str();
  distill::ObserveOp last;
  for (auto op : module.getOps<distill::ObserveOp>())
    if (op.getResult() &&
        llvm::any_of(op.getStatistics().getAsRange<distill::StatisticAttr>(),
                     [&](distill::StatisticAttr s) { return s.getValue() == wanted; }))
      last = op;
  if (!last)
    return module.emitError() << pass << ": no finished distill.observe of "
                              << stringifyStatistic(wanted) << ": give stats=FILE, or run "
                              << "insert-observation and execute it first";
  auto *dialect = module.getContext()->getLoadedDialect<distill::DistillDialect>();
  std::string found = dialect->resolveFile(last.getResult()->getSha256());
  if (found.empty())
    return last.emitOpError() << "result is not in the workspace, needed by " << pass;
  return found;
}

/// Whether brackets nest no deeper than a statistics file's do: the JSON parser recurses.
bool isShallow(StringRef text) {
  int depth = 0;
  for (char c : text) {
    if ((c == '[' || c == '{') && ++depth > 64)
      return false;
    if (c == ']' || c == '}')
      --depth;
  }
  return true;
}

/// Reads an array of `T`s; absent is empty. False if it is not an array of them.
template <typename T>
bool readArray(const json::Object &object, StringRef name, std::vector<T> &out) {
  const json::Value *value = object.get(name);
  if (!value)
    return true;
  const json::Array *array = value->getAsArray();
  if (!array)
    return false;
  for (const json::Value &element : *array) {
    if constexpr (std::is_integral_v<T>) {
      auto number = element.getAsInteger();
      if (!number || *number < 0 || *number > std::numeric_limits<T>::max())
        return false;
      out.push_back(T(*number));
    } else {
      auto number = element.getAsNumber();
      if (!number)
        return false;
      out.push_back(*number);
    }
  }
  return true;
}

/// Token ids of a merge must be in range, as must the ids to keep.
bool readVocabulary(const json::Object &object, Statistics &out) {
  if (!readArray(object, "counts", out.counts) || !readArray(object, "keep", out.keep))
    return false;
  auto inRange = [&](int32_t id) { return size_t(id) < out.counts.size(); };
  if (!llvm::all_of(out.keep, inRange))
    return false;
  const json::Value *merges = object.get("merges");
  if (!merges)
    return true;
  if (!merges->getAsArray())
    return false;
  for (const json::Value &value : *merges->getAsArray()) {
    const json::Array *triple = value.getAsArray();
    if (!triple || triple->size() != 3)
      return false;
    std::array<int32_t, 3> merge;
    for (unsigned i = 0; i < 3; ++i) {
      auto id = (*triple)[i].getAsInteger();
      if (!id || *id < 0 || *id >= int64_t(out.counts.size()))
        return false;
      merge[i] = int32_t(*id);
    }
    out.merges.push_back(merge);
  }
  return true;
}

bool readBlocks(const json::Object &object, Statistics &out) {
  for (const auto &[label, value] : object) {
    const json::Object *fields = value.getAsObject();
    Statistics::Block &block = out.blocks[StringRef(label)];
    if (!fields || !readArray(*fields, "ffn", block.ffn) ||
        !readArray(*fields, "heads", block.heads))
      return false;
    if (fields->get("influence") && !(block.influence = fields->getNumber("influence")))
      return false;
  }
  return true;
}

} // namespace

FailureOr<Statistics> readStatistics(ModuleOp module, StringRef pass, StringRef path,
                                     distill::Statistic wanted) {
  auto file = findFile(module, pass, path, wanted);
  if (failed(file))
    return failure();
  auto buffer = llvm::MemoryBuffer::getFile(*file);
  if (!buffer)
    return module.emitError() << pass << ": " << *file << ": " << buffer.getError().message();
  StringRef text = (*buffer)->getBuffer();
  if (!isShallow(text))
    return module.emitError() << pass << ": " << *file << ": nests deeper than statistics do";
  auto parsed = json::parse(text);
  if (!parsed)
    return module.emitError() << pass << ": " << *file << ": "
                              << llvm::toString(parsed.takeError());
  const json::Object *root = parsed->getAsObject();
  if (!root || root->getString("format") != StringRef("retort-stats-1"))
    return module.emitError() << pass << ": " << *file << ": not of format retort-stats-1";
  Statistics out;
  out.tokens = root->getInteger("tokens").value_or(0);
  const json::Object *vocabulary = root->getObject("vocabulary");
  if (vocabulary && !readVocabulary(*vocabulary, out))
    return module.emitError() << pass << ": " << *file
                              << ": malformed or out-of-range 'vocabulary'";
  const json::Object *blocks = root->getObject("blocks");
  if (blocks && !readBlocks(*blocks, out))
    return module.emitError() << pass << ": " << *file << ": malformed 'blocks'";
  return out;
}

FailureOr<std::vector<double>> importances(Operation *op, const Statistics &statistics,
                                           StringRef pass, StringRef label, distill::Statistic what,
                                           int64_t count) {
  auto found = statistics.blocks.find(label);
  std::vector<double> values;
  if (found != statistics.blocks.end())
    values = what == distill::Statistic::FFN ? found->second.ffn : found->second.heads;
  if (int64_t(values.size()) != count)
    return op->emitError() << pass << ": block \"" << label << "\" has " << count << " "
                           << (what == distill::Statistic::FFN ? "channels" : "key/value heads")
                           << ", the statistics have " << values.size();
  if (!llvm::all_of(values, [](double v) { return std::isfinite(v) && v >= 0; }))
    return op->emitError() << pass << ": block \"" << label
                           << "\" has an importance that is negative or not finite";
  return values;
}

} // namespace retort
