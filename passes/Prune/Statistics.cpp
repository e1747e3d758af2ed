//===- Statistics.cpp - Reading what a distill.observe found --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Prune/Statistics.h"
#include "runtime/base/Error.h"
#include "llvm/Support/MemoryBuffer.h"
#include <cmath>

using namespace mlir;

namespace retort {
namespace {
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
    return module.emitError() << pass << ": no finished distill.observe of " << infoOf(wanted).name
                              << ": give stats=FILE, or run "
                              << "insert-observation and execute it first";
  return distill::resultFile(last, *last.getResult(), pass);
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
  try {
    return Statistics::fromJson((*buffer)->getBuffer(), *file);
  } catch (const Error &error) {
    return distill::badFile(module) << pass << ": " << error.message;
  }
}

FailureOr<std::vector<double>> importances(Operation *op, const Statistics &statistics,
                                           StringRef pass, StringRef label, distill::Statistic what,
                                           int64_t count) {
  auto found = statistics.blocks.find(std::string_view(label));
  std::vector<double> values;
  if (found != statistics.blocks.end())
    values = found->second[what];
  if (infoOf(what).each == Observed::Block && values.empty())
    return distill::badFile(op) << pass << ": the statistics have no " << infoOf(what).name
                                << " of block \"" << label << "\"";
  if (int64_t(values.size()) != count)
    return distill::badFile(op) << pass << ": block \"" << label << "\" has " << count << " "
                                << infoOf(what).noun << ", the statistics have " << values.size();
  if (!llvm::all_of(values, [](double v) { return std::isfinite(v) && v >= 0; }))
    return distill::badFile(op) << pass << ": block \"" << label
                                << "\" has an importance that is negative or not finite";
  return values;
}

} // namespace retort
