//===- LMOps.cpp - The lm dialect: verifiers and folders ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/LM/LMOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace retort;
using namespace retort::lm;

#include "dialects/LM/LMDialect.cpp.inc"
#include "dialects/LM/LMEnums.cpp.inc"
#include "dialects/LM/LMInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/LM/LMAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/LM/LMOps.cpp.inc"

void LMDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/LM/LMAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/LM/LMOps.cpp.inc"
      >();
}

//===- Types --------------------------------------------------------------===//

bool lm::isRows(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor && tensor.getRank() == 2 && tensor.isDynamicDim(0) && tensor.getDimSize(1) > 0 &&
         tensor.getElementType().isF32() && !tensor.getEncoding();
}

RankedTensorType lm::rowsType(MLIRContext *context, int64_t features) {
  return RankedTensorType::get({ShapedType::kDynamic, features}, Float32Type::get(context));
}

StringRef lm::shortName(StringRef param) {
  if (StringRef rest = param; rest.consume_front("blk."))
    param = rest.drop_until([](char c) { return c == '.'; }).drop_front();
  return param.rsplit('.').first;
}

StringRef lm::blockLabel(Operation *op) {
  auto block = op->getParentOfType<BlockOp>();
  return block ? block.getLabel() : StringRef();
}

std::string lm::placeOf(Operation *op) {
  StringRef label = blockLabel(op);
  return label.empty() ? "the model" : ("block \"" + label + "\"").str();
}

/// What diagnostics of an op's own numbers end with: ` of block "blk.3"`, or nothing.
static std::string ofBlock(Operation *op) {
  return blockLabel(op).empty() ? std::string() : " of " + placeOf(op);
}

//===- Ops that read parameters -------------------------------------------===//

LogicalResult EmbedOp::verify() {
  if (!std::isfinite(getScale()))
    return emitOpError("scale must be finite"); // (C2)
  return success();
}

/// Of both norms.
template <typename Norm> static LogicalResult verifyEps(Norm op) {
  if (!std::isfinite(op.getEps()) || op.getEps() < 0)
    return op.emitOpError() << "eps" << ofBlock(op) << " must be finite and not negative";
  return success();
}

LogicalResult LayerNormOp::verify() { return verifyEps(*this); } // (C1)

LogicalResult NormOp::verify() {
  if (failed(verifyEps(*this))) // (C1)
    return failure();
  int64_t count = features(getResult());
  if (getGroups() < 1 || count % getGroups() != 0)
    return emitOpError() << "has " << count << " features, not a multiple of its " << getGroups()
                         << " groups" << ofBlock(*this); // (C2)
  return success();
}

LogicalResult LogitsOp::verify() {
  if (getSoftCap() && (!std::isfinite(*getSoftCap()) || *getSoftCap() <= 0))
    return emitOpError("soft_cap must be finite and above 0"); // (C2)
  return success();
}

//===- model, param -------------------------------------------------------===//

void ModelOp::build(OpBuilder &builder, OperationState &state, StringRef name, StringRef family,
                    int64_t context, int64_t vocab, int64_t hidden) {
  Properties &properties = state.getOrAddProperties<Properties>();
  properties.sym_name = builder.getStringAttr(name);
  properties.family = builder.getStringAttr(family);
  properties.context = builder.getI64IntegerAttr(context);
  properties.vocab = builder.getI64IntegerAttr(vocab);
  properties.hidden = builder.getI64IntegerAttr(hidden);
  state.addRegion()->emplaceBlock();
}

LogicalResult ModelOp::verifyRegions() {
  for (auto [what, count] : {std::pair("context", getContext()), std::pair("vocab", getVocab()),
                             std::pair("hidden", getHidden())})
    if (count < 1)
      return emitOpError() << what << " must be at least 1, is " << count; // (C1)
  unsigned forwards = 0;
  for (Operation &op : *getBody())
    if (isa<ForwardOp>(op))
      ++forwards;
    else if (!isa<ParamOp>(op))
      return op.emitOpError("does not belong into an lm.model"); // (C2)
  if (forwards != 1)
    return emitOpError() << "must have one lm.forward, has " << forwards; // (C2)
  if (!getVocabKept())
    return success();
  ArrayRef<int32_t> kept = *getVocabKept();
  if (int64_t(kept.size()) != getVocab())
    return emitOpError() << "keeps " << kept.size() << " tokens but has a vocabulary of "
                         << getVocab(); // (C3)
  for (size_t i = 0; i < kept.size(); ++i)
    if (kept[i] < 0 || (i > 0 && kept[i] <= kept[i - 1]))
      return emitOpError() << "vocab_kept must ascend from 0: entry " << i << " is "
                           << kept[i]; // (C3)
  return success();
}

ForwardOp ModelOp::getForward() {
  auto forwards = getBody()->getOps<ForwardOp>();
  return forwards.empty() ? ForwardOp() : *forwards.begin();
}

ParamOp ModelOp::lookupParam(StringRef name) {
  return dyn_cast_or_null<ParamOp>(mlir::SymbolTable::lookupSymbolIn(*this, name));
}

SmallVector<BlockOp> ModelOp::getBlocks() { return getForward().getBlocks(); }

unsigned ModelOp::eraseUnusedParams() {
  ParamReaders readers(*this);
  unsigned erased = 0;
  for (ParamOp param : llvm::make_early_inc_range(getBody()->getOps<ParamOp>()))
    if (!readers.isRead(param)) {
      param.erase();
      ++erased;
    }
  return erased;
}

std::string ModelOp::getFreeParamName(StringRef name) {
  auto [stem, kind] = name.rsplit('.');
  std::string free = name.str();
  for (int number = 1; lookupParam(free); ++number)
    free = (stem + "." + Twine(number) + (kind.empty() ? "" : ".") + kind).str();
  return free;
}

void ParamOp::build(OpBuilder &builder, OperationState &state, StringRef name,
                    RankedTensorType type) {
  Properties &properties = state.getOrAddProperties<Properties>();
  properties.sym_name = builder.getStringAttr(name);
  properties.type = TypeAttr::get(type);
  state.addRegion()->emplaceBlock();
}

LogicalResult ParamOp::verifyRegions() {
  if (!weight::isParamType(getType()))
    return emitOpError() << "type must be a static vector or matrix of f32, f16 or bf16, a "
                            "quantised matrix or packed bytes, is "
                         << getType(); // (C1)
  Block &block = *getBody();
  auto yield = block.empty() ? weight::YieldOp() : dyn_cast<weight::YieldOp>(block.back());
  if (!yield)
    return emitOpError("body must end in weight.yield"); // (C2)
  if (yield.getValue().getType() != getType())
    return emitOpError() << "is declared " << getType() << " but its program yields "
                         << yield.getValue().getType(); // (C2)
  for (Operation &op : block)
    if (!isa_and_nonnull<weight::WeightDialect>(op.getDialect()))
      return op.emitOpError("does not belong into a weight program"); // (C3)
  if (getRoundsToAttr() && (!weight::isWeightTensor(getType()) || getShape().size() != 2))
    return emitOpError() << "rounds to " << nameOf(getRoundsToAttr().getValue()) << ", but is "
                         << getType(); // (C4)
  return success();
}

weight::YieldOp ParamOp::getYield() { return cast<weight::YieldOp>(getBody()->back()); }

Value ParamOp::getProgramValue() { return getYield().getValue(); }

void ParamOp::setProgramValue(Value value) {
  getYield().getValueMutable().assign(value);
  setTypeAttr(TypeAttr::get(value.getType()));
}

ImplicitLocOpBuilder ParamOp::getProgramBuilder() {
  Block &block = *getBody();
  bool ended = !block.empty() && block.back().hasTrait<OpTrait::IsTerminator>();
  ImplicitLocOpBuilder builder(getLoc(), getContext());
  builder.setInsertionPoint(&block, ended ? std::prev(block.end()) : block.end());
  return builder;
}

StringRef ParamOp::getCheckpointName() {
  if (auto name = dyn_cast<NameLoc>(getLoc()))
    return name.getName().getValue();
  return getSymName();
}

FailureOr<ModelOp> lm::findModel(ModuleOp module, StringRef name) {
  auto models = llvm::to_vector(module.getOps<ModelOp>());
  for (ModelOp model : models)
    if (model.getSymName() == (name.empty() ? "student" : name))
      return model;
  if (!name.empty())
    return module.emitError() << "there is no model @" << name;
  if (models.size() != 1)
    return module.emitError() << "the module has " << models.size()
                              << " models and none is @student: say which with model=NAME";
  return models.front();
}

//===- forward, block -----------------------------------------------------===//

void ForwardOp::build(OpBuilder &builder, OperationState &state) {
  auto tokens = RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  state.addRegion()->emplaceBlock().addArgument(tokens, state.location);
}

LogicalResult ForwardOp::verifyRegions() {
  Block &block = *getBody();
  auto tokens = RankedTensorType::get({ShapedType::kDynamic}, IntegerType::get(getContext(), 32));
  if (block.getNumArguments() != 1 || block.getArgument(0).getType() != tokens)
    return emitOpError() << "must have one argument of type " << tokens; // (C1)
  auto end = dyn_cast<ReturnOp>(block.back());
  if (!end)
    return emitOpError("must end in lm.return");
  ModelOp model = getModel(*this);
  int64_t logits = model.getShard() ? model.getShard()->getLogits() : int64_t(model.getVocab());
  if (features(end.getLogits()) != logits)
    return end.emitOpError() << "returns " << features(end.getLogits()) << " logits a row, the "
                             << (model.getShard() ? "shard" : "vocabulary") << " has "
                             << logits; // (C2)
  llvm::StringSet<> labels;
  for (BlockOp layer : block.getOps<BlockOp>())
    if (!labels.insert(layer.getLabel()).second)
      return layer.emitOpError() << "label \"" << layer.getLabel() << "\" is used twice"; // (C3)
  std::optional<SymbolTable::UseRange> names = SymbolTable::getSymbolUses(*this);
  if (!names) // an unregistered op may hide some
    return success();
  for (SymbolTable::SymbolUse name : *names) {
    auto user = dyn_cast<ParamUserOpInterface>(name.getUser());
    if (!user || llvm::none_of(user.getParamUses(), [&](const ParamUse &use) {
          return use.param == name.getSymbolRef();
        }))
      return name.getUser()->emitOpError() << "names " << name.getSymbolRef()
                                           << ", which it does not declare as a parameter"; // (C4)
  }
  return success();
}

void ForwardOp::getAsmBlockArgumentNames(Region &, OpAsmSetValueNameFn setName) {
  setName(getTokens(), "tokens");
}

void BlockOp::getAsmBlockArgumentNames(Region &, OpAsmSetValueNameFn setName) {
  setName(getEntry(), "x");
}

SmallVector<BlockOp> ForwardOp::getBlocks() {
  return llvm::to_vector(getBody()->getOps<BlockOp>());
}

ReturnOp ForwardOp::getReturn() { return cast<ReturnOp>(getBody()->back()); }

void BlockOp::build(OpBuilder &builder, OperationState &state, StringRef label, Value input) {
  state.getOrAddProperties<Properties>().label = builder.getStringAttr(label);
  state.addOperands(input);
  state.addTypes(input.getType());
  state.addRegion()->emplaceBlock().addArgument(input.getType(), state.location);
}

LogicalResult BlockOp::verifyRegions() {
  if (getLabel().empty())
    return emitOpError("needs a label"); // (C1)
  Block &block = *getBody();
  if (block.getNumArguments() != 1 || block.getArgument(0).getType() != getType())
    return emitOpError() << "\"" << getLabel() << "\" must have one argument of type "
                         << getType(); // (C2)
  auto yield = dyn_cast<YieldOp>(block.back());
  if (!yield || yield.getValue().getType() != getType())
    return emitOpError() << "\"" << getLabel() << "\" must yield " << getType(); // (C2)
  if (!isa_and_nonnull<ForwardOp>((*this)->getParentOp()))
    return emitOpError() << "\"" << getLabel() << "\" stands outside an lm.forward"; // (C3)
  return success();
}

YieldOp BlockOp::getYield() { return cast<YieldOp>(getBody()->back()); }

//===- all_reduce ---------------------------------------------------------===//

LogicalResult ShardAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, int64_t device,
                                int64_t devices, int64_t begin, int64_t logits) {
  if (device < 0 || devices < 2 || device >= devices)
    return emitError() << "shard of device " << device << " of " << devices
                       << ": at least 2 devices, counted from 0, are needed"; // (C1)
  if (begin < 0 || logits < 1)
    return emitError() << "shard has " << logits << " logits from " << begin << " on"; // (C2)
  return success();
}

LogicalResult AllReduceOp::verify() {
  ModelOp model = getModel(*this);
  if (!model || !model.getShard())
    return emitOpError() << "stands in no model that is cut over devices" << ofBlock(*this); // (C1)
  return success();
}

//===- split, attention ---------------------------------------------------===//

LogicalResult SplitOp::verify() {
  int64_t total = 0;
  for (Value part : getResults())
    total += features(part);
  if (getResults().empty() || total != features(getInput()))
    return emitOpError() << "has parts of " << total << " features together" << ofBlock(*this)
                         << ", its operand has " << features(getInput()); // (C1)
  return success();
}

LogicalResult SplitOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &results) {
  if (getResults().size() != 1)
    return failure();
  results.push_back(getInput());
  return success();
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return getSinks() ? verifyParamUses(*this, symbols) : success(); // (C4)
}

LogicalResult AttentionOp::verify() {
  int64_t heads = getHeads(), kvHeads = getKvHeads();
  if (heads < 1 || kvHeads < 1 || heads % kvHeads != 0)
    return emitOpError() << "has " << heads << " query heads, not a multiple of its " << kvHeads
                         << " key/value heads" << ofBlock(*this); // (C1)
  int64_t query = features(getQuery()), key = features(getKey());
  if (query % heads != 0)
    return emitOpError() << "has " << query << " query features, not a multiple of its " << heads
                         << " heads" << ofBlock(*this); // (C2)
  if (key != query / heads * kvHeads)
    return emitOpError() << "has " << key << " key features, its " << kvHeads
                         << " key/value heads of " << query / heads << " need "
                         << query / heads * kvHeads << ofBlock(*this); // (C2)
  if (!std::isfinite(getScale()))
    return emitOpError() << "scale" << ofBlock(*this) << " must be finite"; // (C3)
  if (getSoftCap() && (!std::isfinite(*getSoftCap()) || *getSoftCap() <= 0))
    return emitOpError() << "soft_cap" << ofBlock(*this) << " must be finite and above 0"; // (C3)
  if (getWindow() && *getWindow() < 1)
    return emitOpError() << "window" << ofBlock(*this) << " must be at least 1, is "
                         << *getWindow(); // (C3)
  return success();
}
