//===- DistillOps.cpp - The distill dialect: verifiers --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Distill/DistillOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;
using namespace retort;
using namespace retort::distill;

#include "dialects/Distill/DistillDialect.cpp.inc"
#include "dialects/Distill/DistillEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Distill/DistillAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/Distill/DistillOps.cpp.inc"

void DistillDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Distill/DistillAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Distill/DistillOps.cpp.inc"
      >();
}

static bool isPositive(double value) { return std::isfinite(value) && value > 0; }

//===- Attributes ---------------------------------------------------------===//

LogicalResult FileAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                               StringRef sha256) {
  if (!weight::isObjectHash(sha256))
    return emitError() << "\"" << sha256
                       << "\" is not a SHA-256 of 64 lower-case hexadecimal digits"; // (C1)
  return success();
}

Attribute StatisticAttr::parse(AsmParser &parser, Type) {
  StringRef name;
  if (parser.parseLess())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&name) || parser.parseGreater())
    return {};
  auto statistic = statisticNamed(name);
  if (!statistic)
    return parser.emitError(loc, "there is no statistic '")
               << name << "': there are " << statisticNames(),
           Attribute();
  return get(parser.getContext(), *statistic);
}

void StatisticAttr::print(AsmPrinter &printer) const {
  printer << "<" << infoOf(getValue()).name << ">";
}

LossAttr LossAttr::get(MLIRContext *context, LossKind kind, double weight, double temperature) {
  Builder builder(context);
  return get(context, kind, builder.getF64FloatAttr(weight), builder.getF64FloatAttr(temperature));
}

/// Whether the loss compares the teacher's and the student's distributions over tokens.
static bool comparesDistributions(LossKind kind) {
  return kind == LossKind::ForwardKL || kind == LossKind::ReverseKL ||
         kind == LossKind::JensenShannon;
}

bool LossAttr::hasTemperature() const { return comparesDistributions(getKind()); }

LogicalResult LossAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError, LossKind kind,
                               FloatAttr weight, FloatAttr temperature) {
  double factor = weight.getValueAsDouble(), degrees = temperature.getValueAsDouble();
  if (!isPositive(factor))
    return emitError() << "loss weight must be finite and above 0, is " << factor; // (C1)
  bool soft = comparesDistributions(kind);
  if (!isPositive(degrees) || (!soft && degrees != 1))
    return emitError() << "temperature of " << stringifyLossKind(kind) << " must be "
                       << (soft ? "finite and above 0" : "1") << ", is " << degrees; // (C2)
  return success();
}

Attribute LossAttr::parse(AsmParser &parser, Type) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef keyword;
  if (parser.parseLess() || parser.parseKeyword(&keyword))
    return {};
  auto kind = symbolizeLossKind(keyword);
  if (!kind)
    return parser.emitError(loc, "unknown loss '") << keyword << "'", Attribute();
  double weight = 1, temperature = 1;
  if (parser.parseComma() || parser.parseKeyword("weight") || parser.parseEqual() ||
      parser.parseFloat(weight))
    return {};
  if (succeeded(parser.parseOptionalComma()) &&
      (parser.parseKeyword("temperature") || parser.parseEqual() || parser.parseFloat(temperature)))
    return {};
  if (parser.parseGreater())
    return {};
  Builder builder(parser.getContext());
  return parser.getChecked<LossAttr>(loc, parser.getContext(), *kind,
                                     builder.getF64FloatAttr(weight),
                                     builder.getF64FloatAttr(temperature));
}

void LossAttr::print(AsmPrinter &printer) const {
  printer << "<" << stringifyLossKind(getKind()) << ", weight = ";
  printer.printFloat(getWeightAttr().getValue());
  if (hasTemperature()) {
    printer << ", temperature = ";
    printer.printFloat(getTemperatureAttr().getValue());
  }
  printer << ">";
}

//===- Looking symbols up -------------------------------------------------===//

/// The op of type OpT that `op` calls `name`; an error that says what it ought to be where not.
template <typename OpT>
static FailureOr<OpT> lookup(Operation *op, SymbolTableCollection &symbols, StringRef role,
                             FlatSymbolRefAttr name) {
  if (auto found = symbols.lookupNearestSymbolFrom<OpT>(op, name))
    return found;
  return op->emitOpError() << role << " " << name << " is no " << OpT::getOperationName();
}

/// What a count must be: at least one.
static LogicalResult verifyCount(Operation *op, StringRef what, int64_t count) {
  if (count < 1)
    return op->emitOpError() << what << " must be at least 1, is " << count;
  return success();
}

//===- Results ------------------------------------------------------------===//

FailureOr<std::string> retort::distill::resultFile(Operation *op, FileAttr result, StringRef pass) {
  std::string found =
      op->getContext()->getLoadedDialect<DistillDialect>()->resolveFile(result.getSha256());
  if (found.empty())
    return op->emitOpError() << "result is not in the workspace, needed by " << pass;
  return found;
}

InFlightDiagnostic retort::distill::badFile(Operation *op) {
  // Where nothing is observed the dialect may not be there, nor anybody who asks.
  if (auto *dialect = op->getContext()->getLoadedDialect<DistillDialect>())
    dialect->noteBadFile();
  return op->emitError();
}

//===- observe, fit, train ------------------------------------------------===//

LogicalResult ObserveOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(lookup<lm::ModelOp>(*this, symbols, "model", getModelAttr()))) // (C1)
    return failure();
  if (failed(verifyCount(*this, "tokens", getTokens())) ||
      failed(verifyCount(*this, "sequence_length", getSequenceLength()))) // (C2)
    return failure();
  if (getStatistics().empty())
    return emitOpError("observes no statistic"); // (C3)
  ArrayRef<Attribute> all = getStatistics().getValue();
  for (auto [i, statistic] : llvm::enumerate(all))
    if (llvm::is_contained(all.drop_front(i + 1), statistic))
      return emitOpError() << "observes " << infoOf(cast<StatisticAttr>(statistic).getValue()).name
                           << " twice"; // (C3)
  return success();
}

LogicalResult ProbeOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(lookup<lm::ModelOp>(*this, symbols, "model", getModelAttr()))) // (C1)
    return failure();
  if (failed(verifyCount(*this, "tokens", getTokens())) ||
      failed(verifyCount(*this, "measured", getMeasured())) ||
      failed(verifyCount(*this, "sequence_length", getSequenceLength()))) // (C2)
    return failure();
  if (getFormats().empty())
    return emitOpError("rounds to no format"); // (C3)
  ArrayRef<Attribute> all = getFormats().getValue();
  for (auto [i, attribute] : llvm::enumerate(all)) {
    const NumberFormat format = cast<weight::FormatAttr>(attribute).getValue();
    if (!format.quantised())
      return emitOpError() << "rounds to " << nameOf(format) << ", which is not quantised"; // (C3)
    if (llvm::is_contained(all.drop_front(i + 1), attribute))
      return emitOpError() << "rounds to " << nameOf(format) << " twice"; // (C3)
  }
  return success();
}

/// A student learns its teacher's distribution, so it has the teacher's tokens or some of them.
static LogicalResult verifyVocabularies(Operation *op, lm::ModelOp teacher, lm::ModelOp student) {
  if (teacher.getVocab() == student.getVocab() && teacher.getVocabKept() == student.getVocabKept())
    return success();
  if (teacher.getVocabKept() || !student.getVocabKept())
    return op->emitOpError() << "student has " << student.getVocab() << " tokens, teacher "
                             << teacher.getVocab()
                             << ", and no vocab_kept says which they are"; // (C5)
  if (student.getVocabKept()->back() >= teacher.getVocab())
    return op->emitOpError() << "student keeps token " << student.getVocabKept()->back()
                             << " of a teacher with " << teacher.getVocab(); // (C5)
  return success();
}

/// A format of the embedding beside none of the other matrices says too little.
template <typename OpT> static LogicalResult verifyFormats(OpT op) {
  if ((op.getEmbeddingAttr() || op.getLogitsAttr()) && !op.getQuantizeAttr())
    return op.emitOpError("has a format of ") // fit (C6), train (C7)
           << (op.getEmbeddingAttr() ? "the embedding" : "the logits") << ", but no quantize";
  return success();
}

static LogicalResult verifyHyperparameters(TrainOp op) {
  for (auto [what, count] :
       {std::pair("tokens", op.getTokens()), std::pair("sequence_length", op.getSequenceLength()),
        std::pair("batch_tokens", op.getBatchTokens())})
    if (failed(verifyCount(op, what, count))) // (C3)
      return failure();
  if (op.getBatchTokens() % op.getSequenceLength() != 0)
    return op.emitOpError() << "batch_tokens " << op.getBatchTokens()
                            << " is not a multiple of sequence_length "
                            << op.getSequenceLength(); // (C3)
  if (!isPositive(op.getLearningRate()) || !isPositive(op.getClip()))
    return op.emitOpError("learning_rate and clip must be finite and above 0"); // (C4)
  if (!std::isfinite(op.getWeightDecay()) || op.getWeightDecay() < 0)
    return op.emitOpError("weight_decay must be finite and not negative"); // (C4)
  if (!(op.getWarmup() >= 0 && op.getWarmup() <= 1))
    return op.emitOpError() << "warmup must be from 0 to 1, is " << op.getWarmup(); // (C4)
  return success();
}

static LogicalResult verifyLosses(TrainOp op) {
  SmallVector<LossAttr> losses = op.getLossList();
  if (losses.empty())
    return op.emitOpError("has no loss"); // (C2)
  for (auto [i, loss] : llvm::enumerate(losses))
    for (LossAttr other : ArrayRef(losses).drop_front(i + 1)) {
      if (loss.getKind() == other.getKind())
        return op.emitOpError() << "has the loss " << stringifyLossKind(loss.getKind())
                                << " twice"; // (C2)
      if (loss.hasTemperature() && other.hasTemperature() &&
          loss.getTemperature() != other.getTemperature())
        return op.emitOpError() << "has losses of temperatures " << loss.getTemperature() << " and "
                                << other.getTemperature() << ", which must be the same"; // (C2)
    }
  bool needsTeacher = llvm::any_of(losses, [](LossAttr loss) { return loss.needsTeacher(); });
  if (needsTeacher != (op.getTeacherAttr() != nullptr))
    return op.emitOpError(needsTeacher ? "has a loss that compares with a teacher, but no teacher"
                                       : "has a teacher that no loss compares with"); // (C2)
  return success();
}

static LogicalResult verifyFrozen(TrainOp op, lm::ModelOp student) {
  if (!op.getFrozen())
    return success();
  for (auto name : op.getFrozen()->getAsRange<StringAttr>())
    if (!student.lookupParam(name))
      return op.emitOpError() << "freezes \"" << name.getValue()
                              << "\", but the student has no such parameter"; // (C6)
  if (llvm::all_of(student.getBody()->getOps<lm::ParamOp>(),
                   [&](lm::ParamOp param) { return op.isFrozen(param.getSymName()); }))
    return op.emitOpError("freezes every parameter of the student"); // (C6)
  return success();
}

LogicalResult TrainOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto student = lookup<lm::ModelOp>(*this, symbols, "student", getStudentAttr());
  if (failed(student) || failed(verifyLosses(*this))) // (C1)
    return failure();
  if (getTeacherAttr()) {
    auto teacher = lookup<lm::ModelOp>(*this, symbols, "teacher", getTeacherAttr());
    if (failed(teacher) || failed(verifyVocabularies(*this, *teacher, *student)))
      return failure();
  }
  if (failed(verifyFrozen(*this, *student)) || failed(verifyHyperparameters(*this)))
    return failure();
  if (getFreezeCodes() && !getQuantizeAttr())
    return emitOpError("freezes codes, but has no quantize"); // (C7)
  return verifyFormats(*this);
}

LogicalResult FitOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto teacher = lookup<lm::ModelOp>(*this, symbols, "teacher", getTeacherAttr());
  auto student = lookup<lm::ModelOp>(*this, symbols, "student", getStudentAttr());
  if (failed(teacher) || failed(student)) // (C1)
    return failure();
  if (failed(verifyCount(*this, "tokens", getTokens())) ||
      failed(verifyCount(*this, "sequence_length", getSequenceLength()))) // (C2)
    return failure();
  if (!isPositive(getDamping()))
    return emitOpError() << "damping must be finite and above 0, is " << getDamping(); // (C2)
  if (getParams().empty())
    return emitOpError("fits no parameter"); // (C3)
  llvm::StringSet<> seen;
  for (auto name : getParams().getAsRange<StringAttr>()) {
    if (!student->lookupParam(name))
      return emitOpError() << "fits \"" << name.getValue()
                           << "\", but the student has no such parameter"; // (C3)
    if (!seen.insert(name.getValue()).second)
      return emitOpError() << "fits \"" << name.getValue() << "\" twice"; // (C3)
  }
  if (teacher->getHidden() != student->getHidden())
    return emitOpError() << "student has " << student->getHidden() << " hidden features, teacher "
                         << teacher->getHidden();            // (C4)
  if (failed(verifyVocabularies(*this, *teacher, *student))) // (C5)
    return failure();
  return verifyFormats(*this);
}

bool FitOp::isFrozen(StringRef name) {
  return llvm::none_of(getParams().getAsRange<StringAttr>(),
                       [&](StringAttr fitted) { return fitted.getValue() == name; });
}

bool TrainOp::isFrozen(StringRef name) {
  return getFrozen() && llvm::any_of(getFrozen()->getAsRange<StringAttr>(),
                                     [&](StringAttr frozen) { return frozen.getValue() == name; });
}

//===- score, gate --------------------------------------------------------===//

LogicalResult ScoreOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto model = lookup<lm::ModelOp>(*this, symbols, "model", getModelAttr());
  if (failed(model)) // (C1)
    return failure();
  if (getAgainstAttr()) {
    auto other = lookup<lm::ModelOp>(*this, symbols, "against", getAgainstAttr());
    if (failed(other))
      return failure(); // (C3)
    if (other->getVocab() != model->getVocab() || other->getVocabKept() != model->getVocabKept())
      return emitOpError() << "compares models of different vocabularies"; // (C3)
    if (getTask())
      return emitOpError("compares answers to a task, which have no divergence"); // (C3)
  }
  if (getTask() && getTokens())
    return emitOpError("asks a task, of which tokens are no part");            // (C2)
  return getTokens() ? verifyCount(*this, "tokens", *getTokens()) : success(); // (C2)
}

LogicalResult GateOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto score = lookup<ScoreOp>(*this, symbols, "score", getScoreAttr());
  if (failed(score))
    return failure(); // (C1)
  if ((getMetric() == Metric::BitsPerByte) == score->getTask().has_value())
    return emitOpError() << "score @" << getScore() << " has no "
                         << stringifyMetric(getMetric()); // (C1)
  if (getAgainstAttr()) {
    auto other = lookup<ScoreOp>(*this, symbols, "of", getAgainstAttr());
    if (failed(other))
      return failure(); // (C1)
    if (other->getTaskAttr() != score->getTaskAttr())
      return emitOpError() << "scores @" << getScore() << " and @" << *getAgainst()
                           << " are of different questions"; // (C1)
  }
  if (!isPositive(getBound()))
    return emitOpError() << "bound must be finite and above 0, is " << getBound(); // (C2)
  return success();
}
