//===- LowerToKernel.cpp - Make a kernel.program of a model ---------------===//
// SPDX-License-Identifier: Apache-2.0
// One walk over the computation in order. `columns` holds where each value is. Norms and ropes are
// deferred: they are emitted by what reads them, as a prologue where it can have one.
#include "passes/Lower/Passes.h"
#include "passes/Lower/ProgramBuilder.h"
#include "runtime/src/base/Error.h"
#include "llvm/ADT/TypeSwitch.h"
#include <deque>

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_LOWERTOKERNEL
#include "passes/Lower/Passes.h.inc"
namespace {

constexpr int64_t kPageRows = 16;        ///< positions in a page of the KV cache
constexpr int64_t kSplitPositions = 256; ///< of a full context, fewest in a range of attention
constexpr int64_t kPrefillRows = 64;     ///< of a tile of a prefill phase, in kernels/cuda
constexpr int64_t kMaxSplits = 64;       ///< the one who combines them reads as many partials

kernel::GateActivation gateActivation(lm::Activation act) {
  switch (act) {
  case lm::Activation::SiLU:
    return kernel::GateActivation::Silu;
  case lm::Activation::GELU:
    return kernel::GateActivation::Gelu;
  case lm::Activation::GELUTanh:
    return kernel::GateActivation::GeluTanh;
  }
  llvm_unreachable("all activations are above");
}

/// "blk.0.attn_qkv" of "blk.0.attn_qkv.weight".
std::string stem(StringRef param) {
  param.consume_back(".weight");
  return param.str();
}

/// How decoding cuts a row's positions in ranges.
struct SplitChoice {
  int64_t splits = 0;            ///< 0: by shapes
  int64_t multiprocessors = 132; ///< that want a tile each

  int64_t of(lm::AttentionOp op) const {
    if (splits)
      return splits;
    int64_t context = op->getParentOfType<lm::ModelOp>().getContext();
    if (op.getWindow())
      context = std::min<int64_t>(context, *op.getWindow());
    int64_t byLength = llvm::divideCeil(context, kSplitPositions);
    // Not one tile more than multiprocessors: that one would take a second turn of all the time.
    int64_t byDevice = multiprocessors / op.getKvHeads();
    return std::clamp<int64_t>(std::min(byLength, byDevice), 1, kMaxSplits);
  }
};

class Lowering {
public:
  Lowering(lm::ModelOp model, const ProgramKind &kind, SplitChoice splitChoice)
      : model(model), kind(kind), splitChoice(splitChoice), builder(model, kind, kPageRows) {}

  LogicalResult run() {
    lm::ForwardOp forward = model.getForward();
    if (failed(lowerAngles(forward)) || failed(lower(*forward.getBody())))
      return failure();
    builder.packParams();
    return success();
  }
  ProgramBuilder &getBuilder() { return builder; }

private:
  lm::ModelOp model;
  const ProgramKind &kind;
  SplitChoice splitChoice;
  ProgramBuilder builder;
  llvm::DenseMap<Value, Columns> columns;
  llvm::DenseSet<Operation *> fused;                    ///< ops that an earlier phase computes
  llvm::DenseMap<Operation *, kernel::BufferOp> angles; ///< of each rope
  std::string label = "model";

  /// Rows that are still the devices' partial sums: an exchange's result, and what a residual adds
  /// to it. Whoever reads them first adds them up.
  struct Sum {
    kernel::BufferOp partial, received;
    bool hasResidual = false; ///< it is in device 0's partial sum
    kernel::BufferOp stream;  ///< else it may be added in the end
    Columns added;            ///< where they are once all that is done
  };
  std::deque<Sum> sums; ///< a prologue points into it
  llvm::DenseMap<Value, size_t> sumOf;

  FlatSymbolRefAttr symbol(kernel::BufferOp buffer) {
    return buffer ? FlatSymbolRefAttr::get(buffer.getSymNameAttr()) : FlatSymbolRefAttr();
  }
  FloatAttr f32(double value) {
    return FloatAttr::get(Float32Type::get(builder.getContext()), static_cast<float>(value));
  }
  FloatAttr f32(std::optional<double> value) { return value ? f32(*value) : FloatAttr(); }
  kernel::GateActivationAttr act(lm::Activation activation) {
    return kernel::GateActivationAttr::get(builder.getContext(), gateActivation(activation));
  }
  IntegerAttr i64(int64_t value) {
    return IntegerAttr::get(IntegerType::get(builder.getContext(), 64), value);
  }
  UnitAttr unit(bool set) { return set ? UnitAttr::get(builder.getContext()) : UnitAttr(); }

  kernel::BufferOp rowInput(StringRef name) {
    int64_t rows = builder.getProgram().getMaxRows();
    return builder.stepBuffer(
        name, kernel::BufferKind::Input,
        RankedTensorType::get({rows}, IntegerType::get(builder.getContext(), 32)));
  }
  kernel::BufferOp fresh(Operation *op, StringRef name, int64_t features) {
    return builder.activation(op->getLoc(), name, features);
  }
  Columns whole(kernel::BufferOp buffer) { return {buffer, 0, buffer.getTensor().getDimSize(1)}; }

  //===--- Where values are -----------------------------------------------------------------===//

  /// A norm that no phase has computed: its reader may do it.
  lm::NormOp deferredNorm(Value value) {
    return columns.contains(value) ? lm::NormOp() : value.getDefiningOp<lm::NormOp>();
  }

  /// Where `value` is, if a phase has made it.
  std::optional<Columns> placed(Value value) {
    if (auto found = columns.find(value); found != columns.end())
      return found->second;
    auto found = sumOf.find(value);
    if (found == sumOf.end() || !sums[found->second].added.buffer)
      return std::nullopt;
    return sums[found->second].added;
  }

  /// Where `value` is; a deferred norm is computed by a phase now.
  FailureOr<Columns> place(Value value, Operation *reader) {
    if (auto found = columns.find(value); found != columns.end())
      return found->second;
    if (auto found = sumOf.find(value); found != sumOf.end())
      return addUp(sums[found->second], reader);
    if (lm::NormOp norm = deferredNorm(value)) {
      if (failed(lowerNorm(norm, norm.getResult(), Value())))
        return failure();
      return columns.at(value);
    }
    return reader->emitOpError() << "reads a value that no kernel can compute on its own: "
                                 << "a rope must feed an attention";
  }
  FailureOr<kernel::BufferOp> placeWhole(Value value, Operation *reader) {
    FailureOr<Columns> at = place(value, reader);
    if (failed(at))
      return failure();
    if (!at->isWhole())
      return reader->emitOpError() << "reads columns " << at->at << " to " << at->at + at->width
                                   << " of a fused product, whole rows are needed";
    return at->buffer;
  }

  /// A phase that adds up partial sums, unless one has.
  Columns addUp(Sum &sum, Operation *reader) {
    if (sum.added.buffer)
      return sum.added;
    kernel::BufferOp dest = fresh(reader, label + ".sum", sum.partial.getTensor().getDimSize(1));
    SmallVector<kernel::BufferOp> touched = {sum.partial, sum.received, dest};
    if (sum.stream)
      touched.push_back(sum.stream);
    OpBuilder body =
        builder.phase(reader->getLoc(), label + ".sum", label, 1, true, touched, {dest});
    body.create<kernel::SumOp>(reader->getLoc(), symbol(sum.partial), symbol(sum.received),
                               symbol(dest), symbol(sum.stream));
    return sum.added = whole(dest);
  }
  /// Says that `to` is where `from` is, also while that is partial sums.
  LogicalResult forward(Value from, Value to, Operation *reader) {
    if (auto found = sumOf.find(from); found != sumOf.end()) {
      size_t index = found->second;
      sumOf[to] = index;
      return success();
    }
    FailureOr<Columns> at = place(from, reader);
    if (failed(at))
      return failure();
    columns[to] = *at;
    return success();
  }

  //===--- Ops ------------------------------------------------------------------------------===//

  LogicalResult lower(Block &block) {
    for (Operation &op : block) {
      if (fused.contains(&op))
        continue;
      LogicalResult result =
          llvm::TypeSwitch<Operation *, LogicalResult>(&op)
              .Case<lm::NormOp, lm::RopeOp, lm::YieldOp>([](auto) { return success(); })
              .Case<lm::EmbedOp, lm::BlockOp, lm::LinearOp, lm::SplitOp, lm::AttentionOp, lm::GluOp,
                    lm::ResidualOp, lm::LogitsOp, lm::ReturnOp, lm::ExchangeOp>(
                  [&](auto op) { return lower(op); })
              .Default([](Operation *op) { return op->emitOpError("has no lowering to kernels"); });
      if (failed(result))
        return failure();
    }
    return success();
  }

  LogicalResult lower(lm::BlockOp op) {
    if (failed(forward(op.getInput(), op.getEntry(), op)))
      return failure();
    label = op.getLabel().str();
    if (failed(lower(*op.getBody())) ||
        failed(forward(op.getYield().getValue(), op.getResult(), op)))
      return failure();
    label = "model";
    return success();
  }

  LogicalResult lower(lm::EmbedOp op) {
    FailureOr<kernel::BufferOp> table = builder.matrixParam(op, op.getWeight());
    if (failed(table))
      return failure();
    kernel::BufferOp tokens = rowInput("tokens"),
                     dest = fresh(op, "embedding", lm::features(op.getResult()));
    OpBuilder body =
        builder.phase(op.getLoc(), "embedding", label, 1, true, {tokens, dest}, {dest});
    body.create<kernel::EmbedOp>(op.getLoc(), symbol(tokens), symbol(*table), symbol(dest),
                                 f32(op.getScale()));
    columns[op.getResult()] = whole(dest);
    return success();
  }

  /// The tables of all ropes come first, beside the embedding, so that no layer waits for them.
  LogicalResult lowerAngles(lm::ForwardOp forward) {
    SmallVector<std::tuple<SmallVector<float>, float, kernel::BufferOp>> tables;
    forward.walk([&](lm::RopeOp op) {
      SmallVector<float> frequencies;
      for (double frequency : op.getInverseFrequencies())
        frequencies.push_back(static_cast<float>(frequency));
      float amplitude = static_cast<float>(op.getAmplitude());
      for (auto &[known, factor, buffer] : tables)
        if (known == frequencies && factor == amplitude) {
          angles[op] = buffer;
          return;
        }
      kernel::BufferOp inverse = builder.constant(op.getLoc(), "rope.inv_freq", frequencies);
      kernel::BufferOp dest =
          fresh(op, "rope.angles", 2 * static_cast<int64_t>(frequencies.size()));
      kernel::BufferOp positions = rowInput("positions");
      OpBuilder body =
          builder.phase(op.getLoc(), "rope.angles", "model", 1, true, {positions, dest}, {dest});
      body.create<kernel::AnglesOp>(op.getLoc(), symbol(positions), symbol(inverse), symbol(dest),
                                    f32(amplitude));
      tables.emplace_back(frequencies, amplitude, dest);
      angles[op] = dest;
    });
    return success();
  }

  /// A phase that norms rows, adding `residual` if given, and says that `result` is there.
  LogicalResult lowerNorm(lm::NormOp op, Value result, Value residual) {
    FailureOr<kernel::BufferOp> source = placeWhole(op.getInput(), op);
    FailureOr<kernel::BufferOp> gain = builder.vectorParam(op, op.getWeight());
    if (failed(source) || failed(gain))
      return failure();
    kernel::BufferOp added;
    if (residual) {
      FailureOr<kernel::BufferOp> stream = placeWhole(residual, op);
      if (failed(stream))
        return failure();
      added = *stream;
    }
    std::string name = stem(op.getWeight());
    kernel::BufferOp dest = fresh(op, name, lm::features(result));
    SmallVector<kernel::BufferOp> touched = {*source, dest};
    if (added)
      touched.push_back(added);
    OpBuilder body = builder.phase(op.getLoc(), name, label, 1, true, touched, {dest});
    body.create<kernel::NormOp>(op.getLoc(), symbol(*source), symbol(*gain), symbol(dest),
                                f32(op.getEps()), unit(op.getOffset()),
                                op.getGroups() > 1 ? i64(op.getGroups()) : IntegerAttr(),
                                symbol(added));
    columns[result] = whole(dest);
    return success();
  }

  //===--- Products -------------------------------------------------------------------------===//

  /// What the prologue of a product reads: rows, and the gain of a norm or none.
  struct Prologue {
    Columns source;
    lm::NormOp norm;
    kernel::BufferOp gain;
    Sum *sum = nullptr;     ///< the prologue adds it up, `source` is its partial sum
    kernel::BufferOp keeps; ///< where it leaves the rows for later phases, if it does

    /// What the phase touches and writes because of it.
    void touch(SmallVector<kernel::BufferOp> &touched, SmallVector<kernel::BufferOp> &written) {
      touched.push_back(source.buffer);
      if (sum)
        touched.push_back(sum->received);
      if (keeps) {
        touched.push_back(keeps);
        written.push_back(keeps);
      }
    }
  };
  /// Partial sums that the prologue of a product of `input` can add up. Rows that are not normed
  /// would be stored by nobody where they are too long for shared memory.
  Sum *fusibleSum(lm::NormOp norm) {
    if (!norm || kind.step != "decode")
      return nullptr;
    auto found = sumOf.find(norm.getInput());
    if (found == sumOf.end() || !sums[found->second].hasResidual ||
        sums[found->second].added.buffer)
      return nullptr;
    return &sums[found->second];
  }
  FailureOr<Prologue> prologue(Value input, Operation *reader) {
    Prologue result;
    result.norm = deferredNorm(input);
    if (result.norm && result.norm.getGroups() != 1)
      result.norm = {};
    if ((result.sum = fusibleSum(result.norm))) {
      result.source = whole(result.sum->partial);
      if (!isa<lm::LogitsOp>(reader)) {
        result.keeps = fresh(reader, label + ".sum", result.source.width);
        result.sum->added = whole(result.keeps);
      }
    } else {
      FailureOr<Columns> source = place(result.norm ? result.norm.getInput() : input, reader);
      if (failed(source))
        return failure();
      result.source = *source;
    }
    if (result.norm) {
      FailureOr<kernel::BufferOp> gain = builder.vectorParam(result.norm, result.norm.getWeight());
      if (failed(gain))
        return failure();
      result.gain = *gain;
    }
    return result;
  }
  Value stage(OpBuilder &body, Location loc, const Prologue &from, kernel::BufferOp weights,
              kernel::BufferOp rows) {
    auto format = *kernel::PackedFormat::parse(*weights.getFormat());
    Type element;
    if (format.integers())
      element = body.getIntegerType(kind.cuda() ? 16 : 8);
    else
      element = kind.cuda() ? Type(body.getF16Type()) : Type(body.getF32Type());
    auto type = kernel::StagedType::get(body.getContext(), from.source.width, element,
                                        format.integers() ? format.group : 0);
    lm::NormOp norm = from.norm;
    return body.create<kernel::StageOp>(
        loc, type, symbol(from.source.buffer), i64(from.source.at), symbol(from.gain),
        norm ? f32(norm.getEps()) : f32(0.0), unit(norm && norm.getOffset()), symbol(rows),
        symbol(from.sum ? from.sum->received : kernel::BufferOp()), symbol(from.keeps));
  }

  /// The exchange that reads the product, which is then a partial sum.
  lm::ExchangeOp exchangeOf(lm::LinearOp op) {
    return op.getResult().hasOneUse() ? dyn_cast<lm::ExchangeOp>(*op.getResult().user_begin())
                                      : lm::ExchangeOp();
  }
  LogicalResult lower(lm::ExchangeOp op) {
    if (sumOf.contains(op.getResult()))
      return success();
    return op.emitOpError("adds up what is no linear layer's result, or what another op reads too");
  }

  /// The residual add that the product can do: its only reader, the stream known before it.
  lm::ResidualOp fusibleResidual(lm::LinearOp op, Value &stream) {
    lm::ExchangeOp exchange = exchangeOf(op); // device 0 adds what both would
    if (exchange && kind.step != "decode")    // a phase adds up, and may as well add the residual
      return {};
    Value result = exchange ? exchange.getResult() : op.getResult();
    if (!result.hasOneUse())
      return {};
    auto residual = dyn_cast<lm::ResidualOp>(*result.user_begin());
    if (!residual || residual->getBlock() != op->getBlock())
      return {};
    stream = residual.getStream() == result ? residual.getOutput() : residual.getStream();
    std::optional<Columns> at = placed(stream);
    return at && at->isWhole() ? residual : lm::ResidualOp();
  }

  /// The gated unit that the product can do: it reads the product's two halves, and nothing else
  /// does.
  lm::GluOp fusibleGlu(lm::LinearOp op, lm::SplitOp &split) {
    if (op.getBias() || !op.getResult().hasOneUse())
      return {};
    split = dyn_cast<lm::SplitOp>(*op.getResult().user_begin());
    if (!split || split->getNumResults() != 2 || !split->getResult(0).hasOneUse() ||
        !split->getResult(1).hasOneUse())
      return {};
    auto glu = dyn_cast<lm::GluOp>(*split->getResult(0).user_begin());
    if (!glu || glu.getGate() != split->getResult(0) || glu.getUp() != split->getResult(1) ||
        !builder.canBeGated(op.getWeight()))
      return {};
    return glu;
  }

  LogicalResult lower(lm::LinearOp op) {
    lm::SplitOp split;
    if (lm::GluOp glu = fusibleGlu(op, split))
      return lowerGated(op, split, glu);
    FailureOr<Prologue> from = prologue(op.getInput(), op);
    FailureOr<kernel::BufferOp> weights = builder.matrixParam(op, op.getWeight());
    if (failed(from) || failed(weights))
      return failure();
    kernel::BufferOp bias, added;
    if (op.getBias()) {
      FailureOr<kernel::BufferOp> param = builder.vectorParam(op, *op.getBias());
      if (failed(param))
        return failure();
      bias = *param;
    }
    Value stream;
    lm::ResidualOp residual = fusibleResidual(op, stream);
    lm::ExchangeOp exchange = exchangeOf(op);
    if (residual)
      added = placed(stream)->buffer;
    std::string name = stem(op.getWeight());
    int64_t features = lm::features(op.getResult());
    kernel::BufferOp dest = fresh(op, name, features);
    SmallVector<kernel::BufferOp> touched = {dest}, written = {dest};
    from->touch(touched, written);
    if (added) // by both devices, so that both wait at the same places
      touched.push_back(added);
    if (exchange && builder.getProgram().getDevice() != 0)
      added = {};
    OpBuilder body =
        builder.phase(op.getLoc(), name, label, kernel::productTiles(features, false, kind.rowTile),
                      false, touched, written);
    kernel::BufferOp send;
    if (exchange) {
      if (!kind.cuda())
        return exchange.emitOpError("has no lowering for a CPU");
      send = builder.received(op.getLoc(), features);
      builder.write(send);
      sumOf[exchange.getResult()] = sums.size();
      if (residual)
        sumOf[residual.getResult()] = sums.size();
      sums.push_back({dest, send, bool(residual), {}, {}});
    }
    Value staged = stage(body, op.getLoc(), *from, *weights, {});
    body.create<kernel::MatmulOp>(op.getLoc(), staged, symbol(*weights), symbol(dest), symbol(bias),
                                  symbol(added), FloatAttr(), symbol(send));
    if (residual)
      fused.insert(residual);
    if (!exchange)
      columns[residual ? residual.getResult() : op.getResult()] = whole(dest);
    return success();
  }

  LogicalResult lowerGated(lm::LinearOp op, lm::SplitOp split, lm::GluOp glu) {
    FailureOr<Prologue> from = prologue(op.getInput(), op);
    FailureOr<kernel::BufferOp> weights = builder.matrixParam(op, op.getWeight(), /*gated=*/true);
    if (failed(from) || failed(weights))
      return failure();
    std::string name = stem(op.getWeight());
    int64_t channels = lm::features(glu.getResult());
    kernel::BufferOp dest = fresh(op, name, channels);
    SmallVector<kernel::BufferOp> touched = {dest}, written = {dest};
    from->touch(touched, written);
    OpBuilder body =
        builder.phase(op.getLoc(), name, label, kernel::productTiles(channels, true, kind.rowTile),
                      false, touched, written);
    Value staged = stage(body, op.getLoc(), *from, *weights, {});
    body.create<kernel::MatmulGluOp>(op.getLoc(), staged, symbol(*weights), symbol(dest),
                                     act(glu.getAct()));
    columns[glu.getResult()] = whole(dest);
    fused.insert(split);
    fused.insert(glu);
    return success();
  }

  LogicalResult lower(lm::LogitsOp op) {
    FailureOr<Prologue> from = prologue(op.getInput(), op);
    FailureOr<kernel::BufferOp> weights = builder.matrixParam(op, op.getWeight());
    if (failed(from) || failed(weights))
      return failure();
    int64_t vocab = lm::features(op.getResult()), rows = builder.getProgram().getMaxRows();
    kernel::BufferOp wanted = rowInput("wanted");
    kernel::BufferOp logits = builder.stepBuffer(
        "logits", kernel::BufferKind::Output,
        RankedTensorType::get({rows, vocab}, Float32Type::get(builder.getContext())));
    SmallVector<kernel::BufferOp> touched = {logits}, written = {logits};
    from->touch(touched, written);
    OpBuilder body =
        builder.phase(op.getLoc(), "logits", label,
                      kernel::productTiles(vocab, false, kind.rowTile), false, touched, written);
    Value staged = stage(body, op.getLoc(), *from, *weights, wanted);
    body.create<kernel::MatmulOp>(op.getLoc(), staged, symbol(*weights), symbol(logits),
                                  FlatSymbolRefAttr(), FlatSymbolRefAttr(), f32(op.getSoftCap()),
                                  FlatSymbolRefAttr());
    columns[op.getResult()] = whole(logits);
    if (kind.cuda())
      lowerChoice(body, op, logits);
    return success();
  }

  /// The largest logit, found by the phase that `body` builds, and a phase that draws tokens from
  /// all, on the first of two devices.
  void lowerChoice(OpBuilder &body, lm::LogitsOp op, kernel::BufferOp logits) {
    int64_t rows = builder.getProgram().getMaxRows();
    Type i64 = IntegerType::get(builder.getContext(), 64);
    kernel::BufferOp sampled = builder.stepBuffer("sampled", kernel::BufferKind::Output,
                                                  RankedTensorType::get({rows}, i64));
    body.create<kernel::SampleOp>(op.getLoc(), symbol(logits), symbol(sampled));
    if (builder.getProgram().getDevice().value_or(0) != 0)
      return;
    kernel::BufferOp other;
    int64_t others = builder.getProgram().getVocab() - logits.getTensor().getDimSize(1);
    if (others > 0)
      other = builder.stepBuffer(
          "other_logits", kernel::BufferKind::Input,
          RankedTensorType::get({rows, others}, Float32Type::get(builder.getContext())));
    kernel::BufferOp choices = builder.stepBuffer("choices", kernel::BufferKind::Input,
                                                  RankedTensorType::get({rows, 3}, i64));
    OpBuilder phase =
        builder.phase(op.getLoc(), "draw", label, 1, true, {logits, sampled}, {sampled});
    phase.create<kernel::DrawOp>(op.getLoc(), symbol(logits), symbol(other), symbol(choices),
                                 symbol(sampled));
  }

  LogicalResult lower(lm::ReturnOp op) {
    if (op.getLogits().getDefiningOp<lm::LogitsOp>())
      return success();
    return op.emitOpError("returns what is no lm.logits: kernels write logits only");
  }

  //===--- The rest -------------------------------------------------------------------------===//

  LogicalResult lower(lm::SplitOp op) {
    FailureOr<Columns> source = place(op.getInput(), op);
    if (failed(source))
      return failure();
    int64_t at = source->at;
    for (Value part : op.getResults()) {
      columns[part] = {source->buffer, at, lm::features(part)};
      at += lm::features(part);
    }
    return success();
  }

  LogicalResult lower(lm::GluOp op) {
    FailureOr<Columns> gate = place(op.getGate(), op), up = place(op.getUp(), op);
    if (failed(gate) || failed(up))
      return failure();
    kernel::BufferOp dest = fresh(op, label + ".glu", lm::features(op.getResult()));
    OpBuilder body = builder.phase(op.getLoc(), label + ".glu", label, 1, true,
                                   {gate->buffer, up->buffer, dest}, {dest});
    body.create<kernel::GluOp>(op.getLoc(), symbol(gate->buffer), i64(gate->at), symbol(up->buffer),
                               i64(up->at), symbol(dest), act(op.getAct()));
    columns[op.getResult()] = whole(dest);
    return success();
  }

  LogicalResult lower(lm::ResidualOp op) {
    for (auto [output, stream] : {std::pair<Value, Value>(op.getOutput(), op.getStream()),
                                  std::pair<Value, Value>(op.getStream(), op.getOutput())})
      if (lm::NormOp norm = deferredNorm(output); norm && output.hasOneUse())
        return lowerNorm(norm, op.getResult(), stream);
    for (auto [output, stream] : {std::pair<Value, Value>(op.getOutput(), op.getStream()),
                                  std::pair<Value, Value>(op.getStream(), op.getOutput())})
      if (output.getDefiningOp<lm::ExchangeOp>() && output.hasOneUse()) {
        FailureOr<kernel::BufferOp> at = placeWhole(stream, op);
        if (failed(at))
          return failure();
        size_t index = sumOf.at(output);
        sums[index].stream = *at;
        sumOf[op.getResult()] = index;
        return success();
      }
    FailureOr<kernel::BufferOp> lhs = placeWhole(op.getStream(), op);
    FailureOr<kernel::BufferOp> rhs = placeWhole(op.getOutput(), op);
    if (failed(lhs) || failed(rhs))
      return failure();
    kernel::BufferOp dest = fresh(op, label + ".residual", lm::features(op.getResult()));
    OpBuilder body =
        builder.phase(op.getLoc(), label + ".residual", label, 1, true, {*lhs, *rhs, dest}, {dest});
    body.create<kernel::ResidualOp>(op.getLoc(), symbol(*lhs), symbol(*rhs), symbol(dest));
    columns[op.getResult()] = whole(dest);
    return success();
  }

  //===--- Attention ------------------------------------------------------------------------===//

  /// What stands between a projection and the attention: a norm of its heads, a rope, both or none.
  struct Heads {
    Columns source;
    lm::NormOp norm;
    lm::RopeOp rope;
    kernel::BufferOp gain;
  };
  FailureOr<Heads> heads(Value value, lm::AttentionOp attention) {
    Heads result;
    auto alone = [&](Value read) {
      return read.hasOneUse()
                 ? success()
                 : attention.emitOpError("reads heads that another op reads too: they are "
                                         "rotated in place");
    };
    if ((result.rope = value.getDefiningOp<lm::RopeOp>())) {
      if (failed(alone(value)))
        return failure();
      value = result.rope.getInput();
    }
    if ((result.norm = deferredNorm(value))) {
      if (lm::features(value) / result.norm.getGroups() != attention.getHeadDim()) {
        result.norm = {}; // A norm over more than a head: computed on its own.
      } else {
        FailureOr<kernel::BufferOp> gain =
            builder.vectorParam(result.norm, result.norm.getWeight());
        if (failed(gain) || failed(alone(value)))
          return failure();
        result.gain = *gain;
        value = result.norm.getInput();
      }
    }
    FailureOr<Columns> source = place(value, attention);
    if (failed(source) || failed(alone(value)))
      return failure();
    result.source = *source;
    return result;
  }

  LogicalResult lower(lm::AttentionOp op) {
    FailureOr<Heads> q = heads(op.getQuery(), op), k = heads(op.getKey(), op);
    if (failed(q) || failed(k))
      return failure();
    FailureOr<Columns> v = place(op.getValue(), op);
    if (failed(v))
      return failure();
    if (static_cast<bool>(q->rope) != static_cast<bool>(k->rope) ||
        (q->rope && angles.at(q->rope) != angles.at(k->rope)))
      return op.emitOpError("rotates query and key by different angles");
    if (q->norm && k->norm &&
        (q->norm.getEps() != k->norm.getEps() || q->norm.getOffset() != k->norm.getOffset()))
      return op.emitOpError("norms query and key heads with different eps or offset");
    Type element = cacheElement(op.getCache());
    int64_t kvHeads = op.getKvHeads(), dims = op.getHeadDim();
    if (dims % 16 != 0)
      return op.emitOpError() << "has heads of " << dims
                              << " features: kernels know multiples of 16";
    if (kind.cuda() && failed(checkCuda(op)))
      return failure();
    kernel::BufferOp cache = builder.cache(op.getLoc(), label + ".cache", kvHeads, dims, element);
    if (kind.step == "decode") {
      lowerAttend(op, *q, *k, *v, cache);
      return success();
    }
    lowerAppend(op, *q, *k, *v, cache);
    lowerAttention(op, *q, cache);
    return success();
  }

  /// f32 is what the model did not ask to have smaller; CUDA kernels compute in f16 in any case.
  Type cacheElement(lm::CacheFormat format) {
    MLIRContext *context = builder.getContext();
    switch (format) {
    case lm::CacheFormat::F32:
      return kind.cuda() ? Type(Float16Type::get(context)) : Type(Float32Type::get(context));
    case lm::CacheFormat::F16:
      return Float16Type::get(context);
    case lm::CacheFormat::BF16:
      return BFloat16Type::get(context);
    case lm::CacheFormat::F8E4M3:
      return Float8E4M3FNType::get(context);
    }
    llvm_unreachable("all formats are above");
  }

  /// What the CUDA kernels' attention cannot do.
  LogicalResult checkCuda(lm::AttentionOp op) {
    if (op.getHeadDim() > 256)
      return op.emitOpError() << "has heads of " << op.getHeadDim() << " features" << inLayer(op)
                              << ": CUDA kernels know at most 256";
    return success();
  }

  /// Decoding: rope, append and attention in one phase.
  void lowerAttend(lm::AttentionOp op, Heads &q, Heads &k, Columns v, kernel::BufferOp cache) {
    int64_t splits = splitChoice.of(op), heads = op.getHeads(), dims = op.getHeadDim();
    kernel::BufferOp partials = fresh(op, label + ".partials", splits * heads * (dims + 2));
    kernel::BufferOp dest = fresh(op, label + ".attention", lm::features(op.getResult()));
    kernel::BufferOp turned = q.rope ? angles.at(q.rope) : kernel::BufferOp();
    SmallVector<kernel::BufferOp> touched = {q.source.buffer, k.source.buffer, v.buffer,
                                             cache,           partials,        dest};
    if (turned)
      touched.push_back(turned);
    OpBuilder body = builder.phase(op.getLoc(), label + ".attend", label, op.getKvHeads() * splits,
                                   true, touched, {cache, partials, dest});
    lm::NormOp norm = q.norm ? q.norm : k.norm;
    body.create<kernel::AttendOp>(
        op.getLoc(), symbol(q.source.buffer), i64(q.source.at), symbol(k.source.buffer),
        i64(k.source.at), symbol(v.buffer), i64(v.at), symbol(cache), symbol(partials),
        symbol(dest), i64(heads), i64(op.getKvHeads()), i64(dims), i64(splits), f32(op.getScale()),
        op.getWindow() ? i64(*op.getWindow()) : IntegerAttr(), f32(op.getSoftCap()), symbol(turned),
        symbol(q.gain), symbol(k.gain), norm ? f32(norm.getEps()) : f32(0.0),
        unit(norm && norm.getOffset()));
    columns[op.getResult()] = whole(dest);
  }

  void lowerAppend(lm::AttentionOp op, Heads &q, Heads &k, Columns v, kernel::BufferOp cache) {
    kernel::BufferOp turned = q.rope ? angles.at(q.rope) : kernel::BufferOp();
    SmallVector<kernel::BufferOp> touched = {q.source.buffer, k.source.buffer, v.buffer, cache};
    if (turned)
      touched.push_back(turned);
    OpBuilder body = builder.phase(op.getLoc(), label + ".append", label, 1, true, touched,
                                   {q.source.buffer, k.source.buffer, cache});
    lm::NormOp norm = q.norm ? q.norm : k.norm;
    body.create<kernel::RopeAppendOp>(
        op.getLoc(), symbol(q.source.buffer), i64(q.source.at), symbol(k.source.buffer),
        i64(k.source.at), symbol(v.buffer), i64(v.at), symbol(cache), i64(op.getHeads()),
        i64(op.getKvHeads()), i64(op.getHeadDim()), symbol(turned), symbol(q.gain), symbol(k.gain),
        norm ? f32(norm.getEps()) : f32(0.0), unit(norm && norm.getOffset()));
  }

  void lowerAttention(lm::AttentionOp op, Heads &q, kernel::BufferOp cache) {
    kernel::BufferOp dest = fresh(op, label + ".attention", lm::features(op.getResult()));
    OpBuilder body =
        builder.phase(op.getLoc(), label + ".attention", label,
                      kernel::attentionTiles(op.getHeads(), op.getKvHeads(), kind.rowTile),
                      /*perRow=*/!kind.rowTile, {q.source.buffer, cache, dest}, {dest});
    body.create<kernel::AttentionOp>(
        op.getLoc(), symbol(q.source.buffer), i64(q.source.at), symbol(cache), symbol(dest),
        i64(op.getHeads()), i64(op.getKvHeads()), i64(op.getHeadDim()), f32(op.getScale()),
        op.getWindow() ? i64(*op.getWindow()) : IntegerAttr(), f32(op.getSoftCap()));
    columns[op.getResult()] = whole(dest);
  }
};

struct LowerToKernel : impl::LowerToKernelBase<LowerToKernel> {
  using LowerToKernelBase::LowerToKernelBase;

  /// The model that the option names, or the only one.
  lm::ModelOp chooseModel() {
    SmallVector<lm::ModelOp> models(getOperation().getOps<lm::ModelOp>());
    if (model.empty() && models.size() == 1)
      return models.front();
    for (lm::ModelOp candidate : models)
      if (candidate.getSymName() == model)
        return candidate;
    if (model.empty())
      getOperation().emitError() << "lower-to-kernel: the module has " << models.size()
                                 << " models: name one with the option model";
    else
      getOperation().emitError() << "lower-to-kernel: the module has no model '" << model << "'";
    return {};
  }

  LogicalResult refuse(const llvm::Twine &why) {
    return getOperation().emitError() << "lower-to-kernel: " << why;
  }

  /// What the options ask for.
  FailureOr<ProgramKind> chooseKind() {
    if (target != "cpu" && target != "cuda")
      return refuse("target is '" + target + "': cpu or cuda is needed");
    bool cuda = target == "cuda", decode = step == "decode";
    if (cuda ? !decode && step != "prefill" : !step.empty())
      return refuse("step is '" + step +
                    "': " + (cuda ? "decode or prefill is needed" : "only target=cuda has steps"));
    ProgramKind kind;
    kind.name = cuda ? step.getValue() : "kernel";
    kind.target = cuda ? "cuda" : "";
    kind.step = step;
    kind.maxRows = maxRows ? int64_t(maxRows) : !cuda ? 64 : decode ? 16 : 512;
    kind.rowTile = cuda && !decode ? kPrefillRows : 0;
    if (kind.maxRows < 1)
      return refuse("max-rows is " + Twine(kind.maxRows) + ": at least 1 is needed");
    if (decode && kind.maxRows > 16)
      return refuse("max-rows is " + Twine(kind.maxRows) + ": a decode step has at most 16");
    if (splits < 0 || splits > kMaxSplits)
      return refuse("splits is " + Twine(splits) + ": at most " + Twine(kMaxSplits) +
                    " are possible");
    if (multiprocessors < 1)
      return refuse("multiprocessors is " + Twine(multiprocessors) + ": at least 1 is needed");
    return kind;
  }

  void runOnOperation() override {
    FailureOr<ProgramKind> kind = chooseKind();
    if (failed(kind))
      return signalPassFailure();
    lm::ModelOp chosen = chooseModel();
    if (!chosen)
      return signalPassFailure();
    Lowering lowering(chosen, *kind, SplitChoice{splits, multiprocessors});
    if (failed(lowering.run())) {
      lowering.getBuilder().getProgram().erase();
      return signalPassFailure();
    }
    numPhases += lowering.getBuilder().numPhases();
    numWaits += lowering.getBuilder().numWaits();
  }
};
} // namespace
} // namespace retort
