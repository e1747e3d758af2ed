//===- ChooseFormats.cpp - Formats by what they cost at the output --------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Distill/RoundingCosts.h"
#include "passes/Quantize/Knapsack.h"
#include "passes/Quantize/Passes.h"
#include "runtime/base/Error.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include <algorithm>

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_CHOOSEFORMATS
#include "passes/Quantize/Passes.h.inc"
namespace {

/// A probe's group in the model.
struct Group {
  SmallVector<lm::ParamOp> params;
  int64_t weights = 0;
};

/// Bits that a matrix takes, whole groups of columns and scales included.
int64_t bitsOf(lm::ParamOp param, const NumberFormat &format) {
  const int64_t columns = int64_t(llvm::alignTo(param.getShape()[1], format.group));
  return int64_t(double(param.getShape()[0] * columns) * format.bitsPerWeight());
}

struct ChooseFormats : impl::ChooseFormatsBase<ChooseFormats> {
  using ChooseFormatsBase::ChooseFormatsBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    if (!(bits > 0 && bits <= 32)) {
      model->emitError() << "choose-formats: bits must be above 0 and at most 32, is "
                         << double(bits);
      return signalPassFailure();
    }
    auto found = readCosts(*model);
    if (failed(found))
      return signalPassFailure();
    std::vector<Group> groups;
    if (failed(collect(*model, *found, groups)))
      return signalPassFailure();
    for (auto [group, format] : llvm::zip_equal(groups, choose(*found, groups)))
      for (lm::ParamOp param : group.params) {
        param.setRoundsToAttr(weight::FormatAttr::get(&getContext(), found->formats[format]));
        ++numChosen;
      }
  }

private:
  FailureOr<RoundingCosts> readCosts(lm::ModelOp model);
  LogicalResult collect(lm::ModelOp model, const RoundingCosts &found, std::vector<Group> &groups);
  std::vector<size_t> choose(const RoundingCosts &found, ArrayRef<Group> groups) const;
};

/// The file at `costs`, or the result of the module's last finished distill.probe.
FailureOr<RoundingCosts> ChooseFormats::readCosts(lm::ModelOp model) {
  std::string path = costs;
  if (path.empty()) {
    distill::ProbeOp last;
    for (auto op : getOperation().getOps<distill::ProbeOp>())
      if (op.getResult())
        last = op;
    if (!last)
      return model.emitError("choose-formats: no finished distill.probe: give costs=FILE, or run "
                             "insert-probe and execute it first");
    auto file = distill::resultFile(last, *last.getResult(), "choose-formats");
    if (failed(file))
      return failure();
    path = *file;
  }
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return model.emitError() << "choose-formats: " << path << ": " << buffer.getError().message();
  try {
    return RoundingCosts::fromJson((*buffer)->getBuffer(), path);
  } catch (const Error &error) {
    return distill::badFile(model) << "choose-formats: " << error.message;
  }
}

LogicalResult ChooseFormats::collect(lm::ModelOp model, const RoundingCosts &found,
                                     std::vector<Group> &groups) {
  for (const RoundingCosts::Group &group : found.groups) {
    Group &made = groups.emplace_back();
    for (const std::string &name : group.params) {
      lm::ParamOp param = model.lookupParam(name);
      if (!param || !weight::isWeightTensor(param.getType()) || param.getShape().size() != 2)
        return distill::badFile(model) << "choose-formats: the probe rounded '" << name
                                       << "', which is no matrix to round of this model";
      made.params.push_back(param);
      made.weights += param.getParamType().getNumElements();
    }
  }
  return success();
}

/// The format of each group.
std::vector<size_t> ChooseFormats::choose(const RoundingCosts &found,
                                          ArrayRef<Group> groups) const {
  int64_t weights = 0, least = 0;
  std::vector<std::vector<Choice>> choices;
  for (auto [group, costs] : llvm::zip_equal(groups, found.groups)) {
    weights += group.weights;
    std::vector<Choice> &made = choices.emplace_back();
    for (auto [format, kl] : llvm::zip_equal(found.formats, costs.kl)) {
      int64_t size = 0;
      for (lm::ParamOp param : group.params)
        size += bitsOf(param, format);
      made.push_back({kl, size});
    }
    least += llvm::min_element(made, [](const Choice &a, const Choice &b) {
               return a.size < b.size;
             })->size;
  }
  const int64_t limit = std::max(least, int64_t(bits * double(weights)));
  return *cheapestWithin(choices, limit);
}

} // namespace
} // namespace retort
