//===- WeightOps.cpp - The weight dialect: verifiers and folders ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Weight/WeightOps.h"
#include "dialects/Weight/WeightUpdateOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace retort;
using namespace retort::weight;

/// Lists longer than this print under an alias.
static constexpr size_t maxInlineIndices = 32;

static ParseResult parseIndices(OpAsmParser &parser, DenseI32ArrayAttr &indices) {
  if (succeeded(parser.parseOptionalLSquare())) {
    SmallVector<int32_t> values;
    auto parse = [&] { return parser.parseInteger(values.emplace_back()); };
    if (failed(parser.parseOptionalRSquare()) &&
        (parser.parseCommaSeparatedList(parse) || parser.parseRSquare()))
      return failure();
    indices = DenseI32ArrayAttr::get(parser.getContext(), values);
    return success();
  }
  return parser.parseAttribute(indices);
}

static void printIndices(OpAsmPrinter &printer, Operation *, DenseI32ArrayAttr indices) {
  if (size_t(indices.size()) > maxInlineIndices)
    return printer.printAttribute(indices);
  printer << "[";
  llvm::interleaveComma(indices.asArrayRef(), printer);
  printer << "]";
}

namespace {
struct IndexAliases : OpAsmDialectInterface {
  using OpAsmDialectInterface::OpAsmDialectInterface;
  AliasResult getAlias(Attribute attr, raw_ostream &os) const override {
    auto indices = llvm::dyn_cast<DenseI32ArrayAttr>(attr);
    if (!indices || size_t(indices.size()) <= maxInlineIndices)
      return AliasResult::NoAlias;
    os << "indices";
    return AliasResult::OverridableAlias;
  }
};
} // namespace

#include "dialects/Weight/WeightDialect.cpp.inc"
#include "dialects/Weight/WeightEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Weight/WeightAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/Weight/WeightOps.cpp.inc"

void WeightDialect::initialize() {
  addInterfaces<IndexAliases>();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Weight/WeightAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Weight/WeightOps.cpp.inc"
      ,
#define GET_OP_LIST
#include "dialects/Weight/WeightUpdateOps.cpp.inc"
      >();
}

//===- Types --------------------------------------------------------------===//

FormatAttr retort::weight::getFormat(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? dyn_cast_or_null<FormatAttr>(tensor.getEncoding()) : FormatAttr();
}

bool retort::weight::isWeightTensor(Type type) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape() || tensor.getEncoding())
    return false;
  Type element = tensor.getElementType();
  return (tensor.getRank() == 1 || tensor.getRank() == 2) &&
         (element.isF32() || element.isF16() || element.isBF16());
}

bool retort::weight::isParamType(Type type) {
  if (isWeightTensor(type))
    return true;
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.hasStaticShape())
    return false;
  if (getFormat(tensor))
    return true;
  return !tensor.getEncoding() && tensor.getRank() == 1 && tensor.getElementType().isInteger(8);
}

bool retort::weight::isObjectHash(StringRef text) {
  return text.size() == 64 &&
         llvm::all_of(text, [](char c) { return llvm::isDigit(c) || (c >= 'a' && c <= 'f'); });
}

//===- #weight.format -----------------------------------------------------===//

LogicalResult FormatAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                                 NumberFormat format) {
  if (!format.quantised())
    return emitError() << nameOf(format) << " is not quantised: cast-weights rounds to it"; // (C1)
  if (!format.isKnown())
    return emitError() << "'" << nameOf(format) << "' is none of "
                       << allNames<NumberFormat>(); // (C1)
  return success();
}

/// The type of a format's numbers or codes.
static Type elementType(MLIRContext *context, const NumberFormat &format) {
  if (format.integers())
    return IntegerType::get(context, unsigned(format.bits()));
  return Float8E4M3FNType::get(context);
}

LogicalResult FormatAttr::verifyEncoding(llvm::ArrayRef<int64_t> shape, Type element,
                                         llvm::function_ref<InFlightDiagnostic()> emitError) const {
  if (shape.size() != 2 || ShapedType::isDynamicShape(shape))
    return emitError() << "a quantised tensor must be a matrix of static shape, has rank "
                       << shape.size(); // (C2)
  if (Type needed = elementType(getContext(), getValue()); element != needed)
    return emitError() << "format " << nameOf(getValue()) << " needs elements of type " << needed
                       << ", has " << element; // (C2)
  return success();
}

RankedTensorType FormatAttr::typeOf(int64_t rows, int64_t columns) const {
  return RankedTensorType::get({rows, columns}, elementType(getContext(), getValue()), *this);
}

std::optional<NumberFormat> retort::weight::numberFormat(Type type) {
  using Kind = NumberFormat::Kind;
  if (FormatAttr format = getFormat(type))
    return format.getValue();
  if (!isWeightTensor(type))
    return std::nullopt;
  Type element = cast<RankedTensorType>(type).getElementType();
  return NumberFormat{element.isF16() ? Kind::F16 : element.isBF16() ? Kind::BF16 : Kind::F32};
}

//===- load, cast, quantize, pack -----------------------------------------===//

LogicalResult LoadOp::verify() {
  if (getName().empty() || getStored().empty())
    return emitOpError("needs the tensor's name and stored type"); // (C1)
  if (getFile() && !isObjectHash(*getFile()))
    return emitOpError() << "file \"" << *getFile()
                         << "\" is not a SHA-256 of 64 lower-case hexadecimal digits"; // (C2)
  return success();
}

LogicalResult ConstantOp::verify() {
  for (const APFloat &number : getValue().getValues<APFloat>())
    if (!number.isFinite())
      return emitOpError("has a number that is not finite"); // (C1)
  return success();
}

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

/// Rounding changes no shape.
static LogicalResult verifySameShape(Operation *op, RankedTensorType from, RankedTensorType to) {
  if (from.getShape() != to.getShape())
    return op->emitOpError() << "changes the shape: " << from << " to " << to;
  return success();
}

LogicalResult CastOp::verify() {
  return verifySameShape(*this, getInput().getType(), getType()); // (C1)
}

OpFoldResult CastOp::fold(FoldAdaptor) {
  return getInput().getType() == getType() ? getInput() : Value();
}

LogicalResult ScaleOp::verify() {
  if (!std::isfinite(getFactor()))
    return emitOpError("factor must be finite"); // (C1)
  return success();
}

OpFoldResult ScaleOp::fold(FoldAdaptor) { return getFactor() == 1 ? getInput() : Value(); }

LogicalResult QuantizeOp::verify() {
  return verifySameShape(*this, getInput().getType(), getType()); // (C1)
}

FormatAttr QuantizeOp::getFormat() { return ::retort::weight::getFormat(getType()); }

//===- take ---------------------------------------------------------------===//

/// Inference of result types never fails on what verifiers refuse, so that each mistake has one
/// diagnostic: the verifier's.

/// Refuses a vector that is asked for its columns.
static LogicalResult verifyAxis(Operation *op, Value input, Axis axis) {
  if (unsigned(axis) < cast<RankedTensorType>(input.getType()).getRank())
    return success();
  return op->emitOpError("a vector has no columns: use rows");
}

/// The size along `axis`; 1 for a vector's columns.
static int64_t sizeAlong(RankedTensorType type, Axis axis) {
  return unsigned(axis) < type.getRank() ? type.getDimSize(unsigned(axis)) : 1;
}

/// `type` with another size along `axis`.
static RankedTensorType resized(RankedTensorType type, Axis axis, int64_t size) {
  SmallVector<int64_t> shape(type.getShape());
  if (unsigned(axis) < shape.size())
    shape[unsigned(axis)] = size;
  return RankedTensorType::get(shape, type.getElementType());
}

LogicalResult TakeOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor,
                                       SmallVectorImpl<Type> &types) {
  auto type = dyn_cast<RankedTensorType>(adaptor.getInput().getType());
  if (!type)
    return failure();
  types.push_back(resized(type, adaptor.getAxis(), adaptor.getIndices().size()));
  return success();
}

LogicalResult TakeOp::verify() {
  if (failed(verifyAxis(*this, getInput(), getAxis()))) // (C2)
    return failure();
  if (getIndices().empty())
    return emitOpError("takes nothing"); // (C1)
  int64_t size = sizeAlong(getInput().getType(), getAxis());
  for (int32_t index : getIndices())
    if (index < 0 || index >= size)
      return emitOpError() << "takes index " << index << " of " << stringifyAxis(getAxis())
                           << " 0 to " << size - 1; // (C1)
  return success();
}

/// All rows in order: the operand.
OpFoldResult TakeOp::fold(FoldAdaptor) {
  if (getType() != getInput().getType())
    return {};
  for (auto [i, index] : llvm::enumerate(getIndices()))
    if (index != int32_t(i))
      return {};
  return getInput();
}

namespace {
/// take(take(x, a), b) along one axis = take(x, a[b]).
struct TakeOfTake : OpRewritePattern<TakeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(TakeOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getInput().getDefiningOp<TakeOp>();
    if (!inner || inner.getAxis() != op.getAxis())
      return rewriter.notifyMatchFailure(op, "not a take along the same axis");
    SmallVector<int32_t> indices;
    for (int32_t index : op.getIndices())
      indices.push_back(inner.getIndices()[index]);
    rewriter.replaceOpWithNewOp<TakeOp>(op, inner.getInput(), op.getAxis(), indices);
    return success();
  }
};

/// slice(slice(x)) along one axis is one slice.
struct SliceOfSlice : OpRewritePattern<SliceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SliceOp op, PatternRewriter &rewriter) const override {
    auto inner = op.getInput().getDefiningOp<SliceOp>();
    if (!inner || inner.getAxis() != op.getAxis())
      return rewriter.notifyMatchFailure(op, "not a slice along the same axis");
    rewriter.replaceOpWithNewOp<SliceOp>(op, inner.getInput(), op.getAxis(),
                                         inner.getOffset() + op.getOffset(), op.getSize());
    return success();
  }
};

/// A slice of a concatenation that lies within one operand reads that operand.
struct SliceOfConcat : OpRewritePattern<SliceOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SliceOp op, PatternRewriter &rewriter) const override {
    auto concat = op.getInput().getDefiningOp<ConcatOp>();
    if (!concat || concat.getAxis() != op.getAxis())
      return rewriter.notifyMatchFailure(op, "not a concatenation along the same axis");
    int64_t offset = op.getOffset();
    for (Value input : concat.getInputs()) {
      int64_t size = cast<RankedTensorType>(input.getType()).getDimSize(unsigned(op.getAxis()));
      if (offset < size) {
        if (offset + int64_t(op.getSize()) > size)
          break;
        rewriter.replaceOpWithNewOp<SliceOp>(op, input, op.getAxis(), offset, op.getSize());
        return success();
      }
      offset -= size;
    }
    return rewriter.notifyMatchFailure(op, "spans several operands");
  }
};

/// concat(a, concat(b, c)) along one axis = concat(a, b, c).
struct ConcatOfConcat : OpRewritePattern<ConcatOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ConcatOp op, PatternRewriter &rewriter) const override {
    SmallVector<Value> flat;
    for (Value input : op.getInputs()) {
      auto inner = input.getDefiningOp<ConcatOp>();
      if (inner && inner.getAxis() == op.getAxis())
        llvm::append_range(flat, inner.getInputs());
      else
        flat.push_back(input);
    }
    if (flat.size() == op.getInputs().size())
      return rewriter.notifyMatchFailure(op, "no operand is a concatenation");
    rewriter.replaceOpWithNewOp<ConcatOp>(op, op.getAxis(), flat);
    return success();
  }
};
} // namespace

void TakeOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<TakeOfTake>(context);
}

//===- slice, concat ------------------------------------------------------===//

LogicalResult SliceOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor,
                                        SmallVectorImpl<Type> &types) {
  auto type = dyn_cast<RankedTensorType>(adaptor.getInput().getType());
  if (!type)
    return failure();
  types.push_back(resized(type, adaptor.getAxis(), std::max<int64_t>(adaptor.getSize(), 0)));
  return success();
}

LogicalResult SliceOp::verify() {
  if (failed(verifyAxis(*this, getInput(), getAxis()))) // (C2)
    return failure();
  int64_t offset = getOffset(), size = getSize(),
          total = sizeAlong(getInput().getType(), getAxis());
  if (offset < 0 || size < 1 || offset > total || size > total - offset)
    return emitOpError() << "takes " << size << " " << stringifyAxis(getAxis()) << " from "
                         << offset << " of " << total; // (C1)
  return success();
}

OpFoldResult SliceOp::fold(FoldAdaptor) {
  return getType() == getInput().getType() ? getInput() : Value();
}

void SliceOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<SliceOfSlice, SliceOfConcat>(context);
}

LogicalResult ConcatOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc,
                                         Adaptor adaptor, SmallVectorImpl<Type> &types) {
  if (adaptor.getInputs().empty())
    return emitOptionalError(loc, "'weight.concat' op has no operands"); // (C1)
  int64_t total = 0;
  for (Value input : adaptor.getInputs())
    if (auto type = dyn_cast<RankedTensorType>(input.getType()))
      total += sizeAlong(type, adaptor.getAxis());
  auto first = dyn_cast<RankedTensorType>(adaptor.getInputs().front().getType());
  if (!first)
    return failure();
  types.push_back(resized(first, adaptor.getAxis(), total));
  return success();
}

LogicalResult ConcatOp::verify() {
  auto first = cast<RankedTensorType>(getInputs().front().getType());
  if (failed(verifyAxis(*this, getInputs().front(), getAxis()))) // (C3)
    return failure();
  unsigned other = 1 - unsigned(getAxis());
  for (Value input : getInputs()) {
    auto type = cast<RankedTensorType>(input.getType());
    if (type.getRank() != first.getRank() || type.getElementType() != first.getElementType())
      return emitOpError() << "joins " << first << " and " << type; // (C1)
    if (type.getRank() == 2 && type.getDimSize(other) != first.getDimSize(other))
      return emitOpError() << "joins " << stringifyAxis(getAxis()) << " of " << first << " and "
                           << type; // (C2)
  }
  return success();
}

OpFoldResult ConcatOp::fold(FoldAdaptor) {
  return getInputs().size() == 1 ? getInputs().front() : Value();
}

void ConcatOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<ConcatOfConcat>(context);
}
