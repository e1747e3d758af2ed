//===- Rope.cpp - Rotary embeddings and how they are stretched ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/LM/LMOps.h"
#include "mlir/IR/DialectImplementation.h"
#include <algorithm>
#include <cmath>
#include <numbers>

using namespace mlir;
using namespace retort::lm;

//===- #lm.rope_scaling ---------------------------------------------------===//

/// The fields that a kind may have beside its name; all are numbers but `factors` and `truncate`.
static ArrayRef<StringLiteral> fieldsOf(RopeScalingKind kind) {
  static constexpr StringLiteral linear[] = {"factor"};
  static constexpr StringLiteral llama3[] = {"factor", "original_context", "low_freq_factor",
                                             "high_freq_factor"};
  static constexpr StringLiteral yarn[] = {"factor",           "original_context", "beta_fast",
                                           "beta_slow",        "mscale",           "mscale_all_dim",
                                           "attention_factor", "truncate"};
  static constexpr StringLiteral factors[] = {"factors", "attention_factor"};
  switch (kind) {
  case RopeScalingKind::Linear:
    return linear;
  case RopeScalingKind::Llama3:
    return llama3;
  case RopeScalingKind::YaRN:
    return yarn;
  case RopeScalingKind::Factors:
    return factors;
  }
  llvm_unreachable("every kind has its fields");
}

static Attribute parseField(AsmParser &parser, StringRef name) {
  Builder builder(parser.getContext());
  if (name == "truncate") {
    if (succeeded(parser.parseOptionalKeyword("false")))
      return builder.getBoolAttr(false);
    return succeeded(parser.parseKeyword("true")) ? builder.getBoolAttr(true) : BoolAttr();
  }
  double number;
  if (name != "factors")
    return failed(parser.parseFloat(number)) ? FloatAttr() : builder.getF64FloatAttr(number);
  SmallVector<double> numbers;
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, [&] {
        return failed(parser.parseFloat(number)) ? failure()
                                                 : (numbers.push_back(number), success());
      }))
    return {};
  return builder.getDenseF64ArrayAttr(numbers);
}

Attribute RopeScalingAttr::parse(AsmParser &parser, Type) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword(&keyword))
    return {};
  auto kind = symbolizeRopeScalingKind(keyword);
  if (!kind)
    return parser.emitError(loc, "unknown rope scaling '") << keyword << "'", Attribute();
  NamedAttrList fields;
  while (succeeded(parser.parseOptionalComma())) {
    SMLoc fieldLoc = parser.getCurrentLocation();
    StringRef name;
    if (parser.parseKeyword(&name) || parser.parseEqual())
      return {};
    if (!llvm::is_contained(fieldsOf(*kind), name))
      return parser.emitError(fieldLoc) << keyword << " scaling has no field '" << name << "'",
             Attribute();
    Attribute value = parseField(parser, name);
    if (!value)
      return {};
    if (fields.set(name, value))
      return parser.emitError(fieldLoc) << "field '" << name << "' is given twice", Attribute();
  }
  if (parser.parseGreater())
    return {};
  return parser.getChecked<RopeScalingAttr>(loc, parser.getContext(), *kind,
                                            fields.getDictionary(parser.getContext()));
}

void RopeScalingAttr::print(AsmPrinter &printer) const {
  printer << "<" << stringifyRopeScalingKind(getKind());
  for (StringRef name : fieldsOf(getKind())) {
    Attribute value = getFields().get(name);
    if (!value)
      continue;
    printer << ", " << name << " = ";
    if (auto number = llvm::dyn_cast<FloatAttr>(value)) {
      printer.printFloat(number.getValue());
    } else if (auto flag = llvm::dyn_cast<BoolAttr>(value)) {
      printer << (flag.getValue() ? "true" : "false");
    } else {
      printer << "[";
      llvm::interleaveComma(llvm::cast<DenseF64ArrayAttr>(value).asArrayRef(), printer,
                            [&](double number) { printer.printFloat(APFloat(number)); });
      printer << "]";
    }
  }
  printer << ">";
}

LogicalResult RopeScalingAttr::verify(llvm::function_ref<InFlightDiagnostic()> emitError,
                                      RopeScalingKind kind, DictionaryAttr fields) {
  for (NamedAttribute field : fields) {
    StringRef name = field.getName().strref();
    if (!llvm::is_contained(fieldsOf(kind), name))
      return emitError() << stringifyRopeScalingKind(kind) << " scaling has no field '" << name
                         << "'";
    bool typed = name == "factors" ? llvm::isa<DenseF64ArrayAttr>(field.getValue())
                 : name == "truncate"
                     ? llvm::isa<BoolAttr>(field.getValue())
                     : llvm::isa<FloatAttr>(field.getValue()) &&
                           llvm::cast<FloatAttr>(field.getValue()).getType().isF64();
    if (!typed)
      return emitError() << "field '" << name << "' has the wrong type: " << field.getValue();
  }
  auto number = [&](StringRef name, double otherwise) {
    auto value = fields.getAs<FloatAttr>(name);
    return value ? value.getValueAsDouble() : otherwise;
  };
  auto positive = [](double value) { return std::isfinite(value) && value > 0; };
  auto table = fields.getAs<DenseF64ArrayAttr>("factors");
  if (kind == RopeScalingKind::Factors ? !table || !llvm::all_of(table.asArrayRef(), positive)
                                       : !positive(number("factor", 0)))
    return emitError() << "scaling factors must be finite and above 0"; // (C1)
  if (!positive(number("attention_factor", 1)))
    return emitError() << "attention_factor must be finite and above 0"; // (C5)
  bool hasContext = kind == RopeScalingKind::Llama3 || kind == RopeScalingKind::YaRN;
  if (hasContext && !(number("original_context", 0) >= 1))
    return emitError() << "needs an original_context of at least 1"; // (C2)
  double low = number("low_freq_factor", 1), high = number("high_freq_factor", 4);
  if (!positive(low) || !positive(high) || high <= low)
    return emitError() << "high_freq_factor " << high << " must be above low_freq_factor " << low
                       << ", and that above 0"; // (C3)
  double fast = number("beta_fast", 32), slow = number("beta_slow", 1);
  if (!positive(fast) || !positive(slow) || fast < slow)
    return emitError() << "beta_fast " << fast << " must be at least beta_slow " << slow
                       << ", and that above 0"; // (C4)
  return success();
}

RopeScalingAttr RopeScalingAttr::get(MLIRContext *context, RopeScalingKind kind,
                                     ArrayRef<std::pair<StringRef, double>> numbers) {
  Builder builder(context);
  NamedAttrList fields;
  for (auto [name, number] : numbers)
    fields.set(name, builder.getF64FloatAttr(number));
  return get(context, kind, fields.getDictionary(context));
}

RopeScalingAttr RopeScalingAttr::getTable(MLIRContext *context, ArrayRef<double> factors,
                                          double amplitude) {
  Builder builder(context);
  NamedAttrList fields;
  fields.set("factors", builder.getDenseF64ArrayAttr(factors));
  if (amplitude != 1)
    fields.set("attention_factor", builder.getF64FloatAttr(amplitude));
  return get(context, RopeScalingKind::Factors, fields.getDictionary(context));
}

double RopeScalingAttr::getNumber(StringRef field, double otherwise) const {
  auto value = getFields().getAs<FloatAttr>(field);
  return value ? value.getValueAsDouble() : otherwise;
}

bool RopeScalingAttr::getTruncate() const {
  auto value = getFields().getAs<BoolAttr>("truncate");
  return !value || value.getValue();
}

ArrayRef<double> RopeScalingAttr::getFactors() const {
  auto value = getFields().getAs<DenseF64ArrayAttr>("factors");
  return value ? value.asArrayRef() : ArrayRef<double>();
}

double RopeScalingAttr::getAmplitude() const {
  if (getFields().get("attention_factor"))
    return getNumber("attention_factor", 1.0);
  if (getKind() != RopeScalingKind::YaRN)
    return 1.0;
  double factor = getFactor();
  auto grow = [factor](double by) { return factor <= 1 ? 1.0 : 0.1 * by * std::log(factor) + 1; };
  double mscale = getNumber("mscale", 0), allDim = getNumber("mscale_all_dim", 0);
  return mscale != 0 && allDim != 0 ? grow(mscale) / grow(allDim) : grow(1);
}

//===- lm.rope ------------------------------------------------------------===//

LogicalResult RopeOp::verify() {
  int64_t count = features(getResult());
  if (getHeads() < 1 || count % getHeads() != 0)
    return emitOpError() << "has " << count << " features, not a multiple of its " << getHeads()
                         << " heads"; // (C1)
  if (getDims() < 2 || getDims() % 2 != 0 || getDims() > count / getHeads())
    return emitOpError() << "rotates " << getDims() << " of a head's " << count / getHeads()
                         << " features, must be even and no more than that"; // (C2)
  if (!std::isfinite(getBase()) || getBase() <= 0)
    return emitOpError("base must be finite and above 0"); // (C3)
  if (getScaling() && getScaling()->getKind() == RopeScalingKind::Factors &&
      int64_t(getScaling()->getFactors().size()) != getDims() / 2)
    return emitOpError() << "has " << getScaling()->getFactors().size() << " factors for "
                         << getDims() / 2 << " pairs"; // (C4)
  if (getLengthScale().has_value() != getEvery().has_value())
    return emitOpError("length_scale and every come together"); // (C5)
  if (getLengthScale() && (!std::isfinite(*getLengthScale()) || *getLengthScale() < 0))
    return emitOpError("length_scale must be finite and not negative"); // (C5)
  if (getEvery() && *getEvery() < 1)
    return emitOpError() << "every must be at least 1, is " << *getEvery(); // (C5)
  return success();
}

/// YaRN: the pair that makes `turns` turns in the original context (arXiv:2309.00071, eq. 17).
static double yarnPair(double turns, double dims, double base, double context) {
  return dims * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
}

static void stretchYarn(RopeScalingAttr scaling, double dims, double base,
                        MutableArrayRef<double> frequencies) {
  double low = yarnPair(scaling.getBetaFast(), dims, base, scaling.getOriginalContext());
  double high = yarnPair(scaling.getBetaSlow(), dims, base, scaling.getOriginalContext());
  if (scaling.getTruncate()) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dims - 1);
  if (low == high)
    high += 0.001; // as Hugging Face does: no division by zero
  for (auto [i, frequency] : llvm::enumerate(frequencies)) {
    double ramp = std::clamp((double(i) - low) / (high - low), 0.0, 1.0);
    frequency = frequency / scaling.getFactor() * ramp + frequency * (1 - ramp);
  }
}

static double stretchLlama3(RopeScalingAttr scaling, double frequency) {
  double context = scaling.getOriginalContext(), low = scaling.getLowFreqFactor();
  double high = scaling.getHighFreqFactor();
  double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < context / high)
    return frequency;
  if (wavelength > context / low)
    return frequency / scaling.getFactor();
  double mix = (context / wavelength - low) / (high - low);
  return (1 - mix) * frequency / scaling.getFactor() + mix * frequency;
}

SmallVector<double> RopeOp::getInverseFrequencies() {
  SmallVector<double> frequencies;
  for (int64_t i = 0; i < getDims() / 2; ++i)
    frequencies.push_back(std::pow(getBase(), -2.0 * double(i) / double(getDims())));
  if (!getScaling())
    return frequencies;
  RopeScalingAttr scaling = *getScaling();
  if (scaling.getKind() == RopeScalingKind::YaRN) {
    stretchYarn(scaling, double(getDims()), getBase(), frequencies);
    return frequencies;
  }
  for (auto [i, frequency] : llvm::enumerate(frequencies))
    frequency = scaling.getKind() == RopeScalingKind::Linear ? frequency / scaling.getFactor()
                : scaling.getKind() == RopeScalingKind::Llama3
                    ? stretchLlama3(scaling, frequency)
                    : frequency / scaling.getFactors()[i];
  return frequencies;
}

SmallVector<double> RopeOp::getLengthSteps(int64_t positions) {
  SmallVector<double> steps;
  if (getLengthScale())
    for (int64_t i = 0; i <= (positions - 1) / int64_t(*getEvery()); ++i)
      steps.push_back(1 + *getLengthScale() * std::log1p(double(i)));
  return steps;
}

double RopeOp::getAmplitude() { return getScaling() ? getScaling()->getAmplitude() : 1.0; }
