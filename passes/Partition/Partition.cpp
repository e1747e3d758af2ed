//===- Partition.cpp - Make a model one device's part of it ---------------===//
// SPDX-License-Identifier: Apache-2.0
// All cuts are found first, in the order of the layers, for both devices: the same on each, since
// nothing in it depends on the device. Then this device's part is taken.
#include "dialects/LM/Units.h"
#include "passes/Partition/Passes.h"
#include "llvm/ADT/DenseSet.h"
#include <numeric>

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_PARTITION
#include "passes/Partition/Passes.h.inc"
namespace {

constexpr int64_t kUnit = 16; ///< rows of a tile of a product

/// A parameter that is cut: `size` of `count` rows or columns, from `begin` on.
struct Cut {
  lm::ParamOp param;
  weight::Axis axis;
  int64_t begin, size;
};

/// A unit of which this device has some parts.
struct Share {
  lm::Unit unit;
  int64_t parts;
};

/// Columns between which the parameter may be cut: a group of its format, or 1.
int64_t columnUnit(lm::ParamOp param) {
  weight::QuantizeOp quantize = lm::finalQuantize(param);
  return quantize ? quantize.getFormat().getValue().group : 1;
}

/// Bytes of a parameter, about.
int64_t bytesOf(lm::ParamOp param) {
  return param.getParamType().getNumElements() * param.getParamType().getElementTypeBitWidth() / 8;
}

/// Whether nothing of what `earlier` adds to the stream reaches `later`, which adds to it as well.
bool areSideBySide(const lm::Unit &earlier, const lm::Unit &later) {
  if (!earlier.addition.residual || earlier.core->getBlock() != later.core->getBlock())
    return false;
  SmallVector<Operation *> open = {later.core};
  llvm::DenseSet<Operation *> seen;
  while (!open.empty()) {
    Operation *op = open.pop_back_val();
    if (op == earlier.addition.residual)
      return false;
    for (Value operand : op->getOperands())
      if (Operation *made = operand.getDefiningOp();
          made && made->getBlock() == op->getBlock() && seen.insert(made).second)
        open.push_back(made);
  }
  return true;
}

class Partitioner {
public:
  Partitioner(lm::ModelOp model, const lm::ParamReaders &readers, int64_t device)
      : model(model), readers(readers), device(device) {}

  LogicalResult plan(const lm::Units &units);
  void apply();
  int64_t allReduces() const { return shares.size(); }
  int64_t cuts() const { return cutParams.size(); }

private:
  lm::ModelOp model;
  const lm::ParamReaders &readers;
  int64_t device;
  std::vector<Cut> cutParams;
  std::vector<Share> shares;
  int64_t bytes[2] = {0, 0}; ///< of what is cut so far, on each device
  lm::LogitsOp logits;
  int64_t vocabularyCut = 0;

  /// Where to cut `units` units: the place nearest to the middle that fits. 0: there is none.
  int64_t choose(int64_t units, llvm::function_ref<bool(int64_t)> fits) const {
    const bool firstIsLarger = bytes[0] <= bytes[1];
    for (int64_t off = 0; off < units; ++off)
      for (bool larger : {firstIsLarger, !firstIsLarger}) {
        // For an odd number the middle lies between two places.
        int64_t at = larger ? (units + 1) / 2 + off : units / 2 - off;
        if (at >= 1 && at < units && fits(at))
          return at;
      }
    return 0;
  }
  /// Counts what `all` bytes give to each device when cut at `at` of `units`.
  void count(int64_t all, int64_t at, int64_t units) {
    bytes[0] += all * at / units;
    bytes[1] += all - all * at / units;
  }
  /// This device's range of `size` things cut at `at`.
  std::pair<int64_t, int64_t> range(int64_t at, int64_t size) const {
    return device == 0 ? std::pair(int64_t(0), at) : std::pair(at, size - at);
  }
  void cut(lm::ParamOp param, weight::Axis axis, std::pair<int64_t, int64_t> range) {
    cutParams.push_back({param, axis, range.first, range.second});
  }

  LogicalResult checkCuttable(const lm::UnitAxis &axis);
  LogicalResult refuse(const lm::Unit &unit, const lm::Obstacle &obstacle);
  LogicalResult refusePlaces(const lm::Unit &unit, int64_t step, const lm::UnitAxis *output);
  LogicalResult plan(const lm::Unit &unit);
  LogicalResult planLogits();
  void take(const Cut &cut);
  void makePartial(lm::ParamUserOpInterface product);
};

LogicalResult Partitioner::checkCuttable(const lm::UnitAxis &axis) {
  lm::ParamOp param = axis.param;
  if (param.getProgramValue().getDefiningOp<weight::PackOp>())
    return axis.user->emitError() << "partition: @" << param.getSymName()
                                  << " is packed: cut before lowering";
  if (readers.isShared(param))
    return axis.user->emitError() << "partition: @" << param.getSymName()
                                  << " is read by more than one op in " << lm::placeOf(axis.user);
  return success();
}

LogicalResult Partitioner::refuse(const lm::Unit &unit, const lm::Obstacle &obstacle) {
  InFlightDiagnostic diagnostic = obstacle.at->emitError();
  diagnostic << "partition: " << lm::placeOf(unit.core) << " " << obstacle.sentence("an op");
  if (isa<lm::NormOp>(obstacle.at))
    diagnostic << ", so no device can alone";
  return diagnostic << (obstacle.isFused ? ": cut before fusing" : "");
}

/// The unit has no place to be cut at.
LogicalResult Partitioner::refusePlaces(const lm::Unit &unit, int64_t step,
                                        const lm::UnitAxis *output) {
  InFlightDiagnostic diagnostic = unit.core->emitError();
  diagnostic << "partition: " << lm::placeOf(unit.core) << " has " << unit.parts;
  if (isa<lm::GluOp>(unit.core))
    return diagnostic << " channels, which are cut in units of " << step
                      << ": compile for one device";
  return diagnostic << " key/value heads of " << output->width
                    << " features of the output projection, which is quantised in groups of "
                    << columnUnit(output->param)
                    << ": no cut falls between groups: use smaller groups";
}

LogicalResult Partitioner::plan(const lm::Unit &unit) {
  if (isa<lm::AttentionOp>(unit.core) && unit.parts == 1)
    return unit.core->emitError() << "partition: " << lm::placeOf(unit.core)
                                  << " has 1 key/value head, which two devices cannot share: "
                                     "compile for one device";
  if (auto obstacle = unit.whyNotFollowed())
    return refuse(unit, *obstacle);
  SmallVector<lm::UnitAxis> axes = unit.axes();
  // A cut falls between groups of the columns' format, and channels are cut between tiles as well.
  const bool isGated = isa<lm::GluOp>(unit.core);
  int64_t step = isGated ? kUnit : 1;
  const lm::UnitAxis *output = nullptr;
  for (const lm::UnitAxis &axis : axes)
    if (axis.axis == weight::Axis::Columns) {
      if (failed(checkCuttable(axis)))
        return failure();
      step = std::lcm(step, columnUnit(axis.param) / std::gcd(columnUnit(axis.param), axis.width));
      output = &axis;
    }
  // Places are counted in single heads, since the nearest one to the middle is wanted.
  const int64_t place = isGated ? step : 1;
  const int64_t at = choose(llvm::divideCeil(unit.parts, place),
                            [&](int64_t places) { return places * place % step == 0; }) *
                     place;
  if (at == 0)
    return refusePlaces(unit, step, output);
  if (auto obstacle = unit.whyNotFed())
    return refuse(unit, *obstacle);
  auto [begin, parts] = range(at, unit.parts);
  int64_t all = 0;
  for (const lm::UnitAxis &axis : axes) {
    if (failed(checkCuttable(axis)))
      return failure();
    cut(axis.param, axis.axis, {begin * axis.width, parts * axis.width});
    all += bytesOf(axis.param);
  }
  if (!shares.empty() && areSideBySide(shares.back().unit, unit))
    return unit.core->emitError()
           << "partition: " << lm::placeOf(unit.core)
           << " has an attention and a gated unit side by side, whose sums two devices would send "
              "each other with no wait between: compile for one device";
  shares.push_back({unit, parts});
  count(all, at, unit.parts);
  return success();
}

LogicalResult Partitioner::planLogits() {
  logits = model.getForward().getReturn().getLogits().getDefiningOp<lm::LogitsOp>();
  if (!logits)
    return model.emitError("partition: the model returns what is no lm.logits");
  const int64_t vocab = model.getVocab();
  vocabularyCut = choose(llvm::divideCeil(vocab, kUnit), [](int64_t) { return true; }) * kUnit;
  if (vocabularyCut == 0)
    return model.emitError() << "partition: the vocabulary has " << vocab
                             << " tokens, which are cut in units of " << kUnit
                             << ": compile for one device";
  if (model.lookupParam(logits.getWeight()).getProgramValue().getDefiningOp<weight::PackOp>())
    return logits.emitError() << "partition: @" << logits.getWeight()
                              << " is packed: cut before lowering";
  return success();
}

LogicalResult Partitioner::plan(const lm::Units &units) {
  if (model.getShard())
    return model.emitError() << "partition: the model is device " << model.getShard()->getDevice()
                             << "'s part already";
  for (const lm::Unit *unit : units.all())
    if (failed(plan(*unit)))
      return failure();
  if (failed(planLogits()))
    return failure();
  if (units.strays().empty())
    return success();
  lm::ParamUserOpInterface op = units.strays().front();
  return op->emitError() << "partition: " << lm::placeOf(op) << " has " << lm::describeUser(op)
                         << " that is no projection of an attention or a gated unit";
}

/// Slices what the program makes; a quantised matrix before it is quantised, which changes no value
/// since groups stay whole.
void Partitioner::take(const Cut &cut) {
  lm::ParamOp param = cut.param;
  weight::QuantizeOp quantize = lm::finalQuantize(param);
  ImplicitLocOpBuilder builder = param.getProgramBuilder();
  Value value = quantize ? quantize.getInput() : param.getProgramValue();
  value = builder.create<weight::SliceOp>(value, cut.axis, cut.begin, cut.size);
  if (quantize) {
    auto shape = cast<RankedTensorType>(value.getType()).getShape();
    value =
        builder.create<weight::QuantizeOp>(quantize.getFormat().typeOf(shape[0], shape[1]), value);
  }
  param.setProgramValue(value);
  if (quantize && quantize.getResult().use_empty())
    quantize.erase();
}

/// The product's result is one device's part of a sum; its biases are added on device 0.
void Partitioner::makePartial(lm::ParamUserOpInterface product) {
  if (device != 0)
    for (const lm::ParamUse &use : product.getParamUses())
      if (use.role == lm::ParamRole::Bias)
        product->removeAttr(use.attribute);
  OpBuilder builder(product->getContext());
  builder.setInsertionPointAfter(product);
  Value partial = product->getResult(0);
  auto sum = builder.create<lm::AllReduceOp>(product.getLoc(), partial.getType(), partial);
  partial.replaceAllUsesExcept(sum.getResult(), sum);
}

void Partitioner::apply() {
  auto [begin, count] = range(vocabularyCut, model.getVocab());
  lm::ParamOp matrix = model.lookupParam(logits.getWeight());
  if (readers.isShared(matrix)) { // with the embedding, which stays whole
    std::string name = model.getFreeParamName("output.weight");
    auto copy = cast<lm::ParamOp>(matrix->clone());
    copy.setSymName(name);
    matrix->getBlock()->getOperations().insertAfter(matrix->getIterator(), copy);
    logits.setWeight(name);
    matrix = copy;
  }
  cut(matrix, weight::Axis::Rows, {begin, count});
  lm::setFeatures(logits.getResult(), count);
  for (const Cut &one : cutParams)
    take(one);
  for (const Share &share : shares) {
    share.unit.setParts(share.parts);
    makePartial(share.unit.output);
  }
  model.setShardAttr(lm::ShardAttr::get(model->getContext(), device, 2, begin, count));
  model.eraseUnusedParams();
}

struct Partition : impl::PartitionBase<Partition> {
  using PartitionBase::PartitionBase;

  void runOnOperation() override {
    lm::ModelOp model = getOperation();
    if (devices != 1 && devices != 2) {
      model.emitError() << "partition: devices is " << int64_t(devices) << ": 1 or 2 is possible";
      return signalPassFailure();
    }
    if (device < 0 || device >= devices) {
      model.emitError() << "partition: device is " << int64_t(device) << " of " << int64_t(devices)
                        << ": they are counted from 0";
      return signalPassFailure();
    }
    if (devices == 1)
      return;
    lm::ParamReaders readers(model);
    Partitioner partitioner(model, readers, device);
    if (failed(partitioner.plan(getAnalysis<lm::Units>())))
      return signalPassFailure();
    partitioner.apply();
    numAllReduces += partitioner.allReduces();
    numCut += partitioner.cuts();
  }
};
} // namespace
} // namespace retort
