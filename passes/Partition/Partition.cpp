//===- Partition.cpp - Make a model one device's part of it ---------------===//
// SPDX-License-Identifier: Apache-2.0
// All cuts are found first, in the order of the layers, for both devices: the same on each, since
// nothing in it depends on the device. Then this device's part is taken.
#include "passes/Partition/Passes.h"
#include <functional>
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

/// Ops whose rows keep a part of their features, and how many.
struct Narrowed {
  Value rows;
  int64_t features;
};

/// The quantisation at the end of a parameter's program, or null.
weight::QuantizeOp finalQuantize(lm::ParamOp param) {
  return param.getProgramValue().getDefiningOp<weight::QuantizeOp>();
}

/// Columns between which the parameter may be cut: a group of its format, or 1.
int64_t columnUnit(lm::ParamOp param) {
  weight::QuantizeOp quantize = finalQuantize(param);
  return quantize ? quantize.getFormat().getGroup() : 1;
}

/// Bytes of a parameter, about.
int64_t bytesOf(lm::ParamOp param) {
  return param.getParamType().getNumElements() * param.getParamType().getElementTypeBitWidth() / 8;
}

std::string inBlock(Operation *op) {
  auto block = op->getParentOfType<lm::BlockOp>();
  return block ? ("block \"" + block.getLabel() + "\"").str() : "the model";
}

class Partitioner {
public:
  Partitioner(lm::ModelOp model, int64_t device) : model(model), device(device) {}

  LogicalResult plan();
  void apply();
  int64_t allReduces() const { return partials.size(); }
  int64_t cuts() const { return cutParams.size(); }

private:
  lm::ModelOp model;
  int64_t device;
  std::vector<Cut> cutParams;
  std::vector<Narrowed> narrowed;
  std::vector<lm::LinearOp> partials;            ///< products that become partial sums
  std::vector<std::function<void()>> attributes; ///< changes of ops' attributes
  llvm::DenseSet<Operation *> seen;              ///< linear layers that are cut
  int64_t bytes[2] = {0, 0};                     ///< of what is cut so far, on each device
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

  FailureOr<lm::ParamOp> cuttable(Operation *user, StringRef name);
  FailureOr<lm::LinearOp> projection(Operation *user, Value operand,
                                     SmallVectorImpl<Operation *> &between);
  FailureOr<lm::LinearOp> product(Operation *user, Value result);
  LogicalResult plan(lm::AttentionOp attention);
  LogicalResult plan(lm::GluOp glu);
  LogicalResult planLogits();
  void take(const Cut &cut);
};

FailureOr<lm::ParamOp> Partitioner::cuttable(Operation *user, StringRef name) {
  lm::ParamOp param = model.lookupParam(name);
  if (param.getProgramValue().getDefiningOp<weight::PackOp>())
    return user->emitError() << "partition: @" << name << " is packed: cut before lowering";
  if (lm::isShared(param))
    return user->emitError() << "partition: @" << name << " is read by more than one op in "
                             << inBlock(user);
  return param;
}

/// The linear layer that makes `operand`; the norms and ropes in between are collected.
FailureOr<lm::LinearOp> Partitioner::projection(Operation *user, Value operand,
                                                SmallVectorImpl<Operation *> &between) {
  for (Operation *op = operand.getDefiningOp(); op && op->hasOneUse();
       op = op->getOperand(0).getDefiningOp()) {
    if (auto linear = dyn_cast<lm::LinearOp>(op)) {
      seen.insert(linear);
      return linear;
    }
    if (!isa<lm::NormOp, lm::RopeOp>(op))
      break;
    between.push_back(op);
  }
  return user->emitError() << "partition: " << inBlock(user)
                           << " has an op that no plain linear layers feed: cut before fusing";
}

/// The linear layer that alone reads `result`.
FailureOr<lm::LinearOp> Partitioner::product(Operation *user, Value result) {
  auto linear = result.hasOneUse() ? dyn_cast<lm::LinearOp>(*result.user_begin()) : lm::LinearOp();
  if (!linear)
    return user->emitError() << "partition: " << inBlock(user)
                             << " has an op that no plain linear layer follows";
  seen.insert(linear);
  return linear;
}

LogicalResult Partitioner::plan(lm::AttentionOp attention) {
  const int64_t kvHeads = attention.getKvHeads(), dims = attention.getHeadDim();
  const int64_t perGroup = int64_t(attention.getHeads()) / kvHeads;
  if (kvHeads == 1)
    return attention.emitError() << "partition: " << inBlock(attention)
                                 << " has 1 key/value head, which two devices cannot share: "
                                    "compile for one device";
  FailureOr<lm::LinearOp> output = product(attention, attention.getResult());
  if (failed(output))
    return failure();
  FailureOr<lm::ParamOp> outputWeight = cuttable(*output, output->getWeight());
  if (failed(outputWeight))
    return failure();
  const int64_t unit = columnUnit(*outputWeight);
  const int64_t at =
      choose(kvHeads, [&](int64_t heads) { return heads * perGroup * dims % unit == 0; });
  if (at == 0)
    return attention.emitError() << "partition: " << inBlock(attention) << " has " << kvHeads
                                 << " key/value heads of " << perGroup * dims
                                 << " features of the output projection, which is quantised in "
                                    "groups of "
                                 << unit << ": no cut falls between groups: use smaller groups";
  int64_t all = bytesOf(*outputWeight);
  for (auto [operand, perKvHead] : {std::pair<Value, int64_t>(attention.getQuery(), perGroup),
                                    std::pair<Value, int64_t>(attention.getKey(), 1),
                                    std::pair<Value, int64_t>(attention.getValue(), 1)}) {
    SmallVector<Operation *> between;
    FailureOr<lm::LinearOp> linear = projection(attention, operand, between);
    if (failed(linear))
      return failure();
    const int64_t width = perKvHead * dims;
    auto [begin, size] = range(at * width, kvHeads * width);
    for (std::optional<StringRef> name :
         {std::optional<StringRef>(linear->getWeight()), linear->getBias()}) {
      if (!name)
        continue;
      FailureOr<lm::ParamOp> param = cuttable(*linear, *name);
      if (failed(param))
        return failure();
      cut(*param, weight::Axis::Rows, {begin, size});
      all += bytesOf(*param);
    }
    narrowed.push_back({linear->getResult(), size});
    for (Operation *op : between) {
      auto norm = dyn_cast<lm::NormOp>(op);
      if (norm && lm::features(norm.getResult()) / int64_t(norm.getGroups()) != dims)
        return norm.emitError() << "partition: " << inBlock(norm)
                                << " normalises all heads together, so no device can alone";
      narrowed.push_back({op->getResult(0), size});
      attributes.push_back([op, heads = size / dims] {
        if (auto norm = dyn_cast<lm::NormOp>(op))
          norm.setGroups(heads);
        else
          cast<lm::RopeOp>(op).setHeads(heads);
      });
    }
  }
  auto [first, heads] = range(at, kvHeads);
  cut(*outputWeight, weight::Axis::Columns, {first * perGroup * dims, heads * perGroup * dims});
  narrowed.push_back({attention.getResult(), heads * perGroup * dims});
  attributes.push_back([attention, heads = heads, perGroup]() mutable {
    attention.setHeads(heads * perGroup);
    attention.setKvHeads(heads);
  });
  partials.push_back(*output);
  count(all, at, kvHeads);
  return success();
}

LogicalResult Partitioner::plan(lm::GluOp glu) {
  SmallVector<Operation *> between;
  FailureOr<lm::LinearOp> gate = projection(glu, glu.getGate(), between),
                          up = projection(glu, glu.getUp(), between),
                          down = product(glu, glu.getResult());
  if (failed(gate) || failed(up) || failed(down))
    return failure();
  if (!between.empty())
    return glu.emitError() << "partition: " << inBlock(glu)
                           << " normalises or rotates a gated unit's channels";
  FailureOr<lm::ParamOp> downWeight = cuttable(*down, down->getWeight());
  if (failed(downWeight))
    return failure();
  const int64_t channels = lm::features(glu.getResult());
  const int64_t unit = std::lcm(kUnit, columnUnit(*downWeight));
  const int64_t units = llvm::divideCeil(channels, unit);
  const int64_t at = choose(units, [](int64_t) { return true; }) * unit;
  if (at == 0)
    return glu.emitError() << "partition: " << inBlock(glu) << " has " << channels
                           << " channels, which are cut in units of " << unit
                           << ": compile for one device";
  int64_t all = bytesOf(*downWeight);
  using Read = std::pair<lm::LinearOp, std::optional<StringRef>>;
  for (auto &[op, name] : {Read(*gate, gate->getWeight()), Read(*gate, gate->getBias()),
                           Read(*up, up->getWeight()), Read(*up, up->getBias())}) {
    if (!name)
      continue;
    FailureOr<lm::ParamOp> param = cuttable(op, *name);
    if (failed(param))
      return failure();
    cut(*param, weight::Axis::Rows, range(at, channels));
    all += bytesOf(*param);
  }
  cut(*downWeight, weight::Axis::Columns, range(at, channels));
  const int64_t size = range(at, channels).second;
  for (Value value : {gate->getResult(), up->getResult(), glu.getResult()})
    narrowed.push_back({value, size});
  partials.push_back(*down);
  count(all, at, channels);
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

LogicalResult Partitioner::plan() {
  if (model.getShard())
    return model.emitError() << "partition: the model is device " << model.getShard()->getDevice()
                             << "'s part already";
  WalkResult result = model.getForward().walk([&](Operation *op) {
    LogicalResult planned = success();
    if (auto attention = dyn_cast<lm::AttentionOp>(op))
      planned = plan(attention);
    else if (auto glu = dyn_cast<lm::GluOp>(op))
      planned = plan(glu);
    return failed(planned) ? WalkResult::interrupt() : WalkResult::advance();
  });
  if (result.wasInterrupted() || failed(planLogits()))
    return failure();
  result = model.getForward().walk([&](lm::LinearOp op) {
    if (seen.contains(op))
      return WalkResult::advance();
    op.emitError() << "partition: " << inBlock(op) << " has a linear layer @" << op.getWeight()
                   << " that is no projection of an attention or a gated unit";
    return WalkResult::interrupt();
  });
  return failure(result.wasInterrupted());
}

/// Slices what the program makes; a quantised matrix before it is quantised, which changes no value
/// since groups stay whole.
void Partitioner::take(const Cut &cut) {
  lm::ParamOp param = cut.param;
  weight::QuantizeOp quantize = finalQuantize(param);
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

void Partitioner::apply() {
  auto [begin, count] = range(vocabularyCut, model.getVocab());
  lm::ParamOp matrix = model.lookupParam(logits.getWeight());
  if (lm::isShared(matrix)) { // with the embedding, which stays whole
    std::string name = "output.weight";
    for (int number = 1; model.lookupParam(name); ++number)
      name = "output." + std::to_string(number) + ".weight";
    auto copy = cast<lm::ParamOp>(matrix->clone());
    copy.setSymName(name);
    matrix->getBlock()->getOperations().insertAfter(matrix->getIterator(), copy);
    logits.setWeight(name);
    matrix = copy;
  }
  cut(matrix, weight::Axis::Rows, {begin, count});
  narrowed.push_back({logits.getResult(), count});
  for (const Cut &one : cutParams)
    take(one);
  for (const Narrowed &one : narrowed) {
    Value rows = one.rows;
    rows.setType(lm::rowsType(rows.getContext(), one.features));
  }
  for (const std::function<void()> &change : attributes)
    change();
  for (lm::LinearOp op : partials) {
    if (device != 0)
      op.removeBiasAttr();
    OpBuilder builder(op->getContext());
    builder.setInsertionPointAfter(op);
    auto sum = builder.create<lm::AllReduceOp>(op.getLoc(), op.getType(), op.getResult());
    op.getResult().replaceAllUsesExcept(sum.getResult(), sum);
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
    Partitioner partitioner(model, device);
    if (failed(partitioner.plan()))
      return signalPassFailure();
    partitioner.apply();
    numAllReduces += partitioner.allReduces();
    numCut += partitioner.cuts();
  }
};
} // namespace
} // namespace retort
