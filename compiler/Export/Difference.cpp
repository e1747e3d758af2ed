//===- Difference.cpp - Whether two models compute the same ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Export/Structure.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/raw_ostream.h"
#include <cmath>

namespace retort {
namespace {

using namespace mlir;

/// GGUF holds numbers as f32.
bool isNear(double a, double b) {
  return std::abs(a - b) <= 1e-6 * std::max(std::abs(a), std::abs(b));
}

std::string textOf(Attribute attribute) {
  if (!attribute)
    return "none";
  std::string text;
  llvm::raw_string_ostream(text) << attribute;
  return text;
}

class Comparison {
public:
  std::string run(Block &a, Block &b, const std::string &place) {
    if (a.getNumArguments() != b.getNumArguments())
      return place + "has other arguments";
    for (auto [ours, theirs] : llvm::zip(a.getArguments(), b.getArguments()))
      values_[ours] = theirs;
    auto ours = a.begin(), theirs = b.begin();
    for (; ours != a.end() && theirs != b.end(); ++ours, ++theirs)
      if (std::string found = compare(*ours, *theirs, place); !found.empty())
        return found;
    if (ours != a.end() || theirs != b.end())
      return place + (ours != a.end() ? ours : theirs)->getName().getStringRef().str() +
             " is in only one";
    return "";
  }

private:
  std::string compare(Operation &a, Operation &b, const std::string &place) {
    const std::string at = place + a.getName().getStringRef().str();
    if (a.getName() != b.getName())
      return at + " is " + b.getName().getStringRef().str();
    if (a.getNumOperands() != b.getNumOperands() || a.getNumResults() != b.getNumResults())
      return at + " has other operands";
    for (auto [ours, theirs] : llvm::zip(a.getOperands(), b.getOperands()))
      if (values_.lookup(ours) != theirs)
        return at + " reads something else";
    for (auto [ours, theirs] : llvm::zip(a.getResults(), b.getResults())) {
      if (ours.getType() != theirs.getType())
        return at + " has other features";
      values_[ours] = theirs;
    }
    if (std::string found = compareAttributes(a, b, at); !found.empty())
      return found;
    for (auto [ours, theirs] : llvm::zip(a.getRegions(), b.getRegions())) {
      auto block = dyn_cast<lm::BlockOp>(a);
      if (std::string found =
              run(ours.front(), theirs.front(), block ? block.getLabel().str() + ": " : place);
          !found.empty())
        return found;
    }
    return "";
  }

  /// Names of parameters agree but for the number of the layer, and one stands for one.
  bool isSameParam(StringRef ours, StringRef theirs) {
    auto inLayer = [](StringRef name) {
      return name.consume_front("blk.") ? name.split('.').second : name;
    };
    return inLayer(ours) == inLayer(theirs) &&
           params_.try_emplace(ours, theirs).first->second == theirs;
  }

  std::string compareAttributes(Operation &a, Operation &b, const std::string &at) {
    auto ours = dyn_cast<lm::RopeOp>(a), theirs = dyn_cast<lm::RopeOp>(b);
    if (ours && !llvm::equal(ours.getInverseFrequencies(), theirs.getInverseFrequencies(), isNear))
      return at + ": other frequencies";
    if (ours && !isNear(ours.getAmplitude(), theirs.getAmplitude()))
      return at + ": amplitude " + std::to_string(ours.getAmplitude()) + ", not " +
             std::to_string(theirs.getAmplitude());
    NamedAttrList all(a.getAttrDictionary());
    for (NamedAttribute attribute : b.getAttrDictionary())
      all.set(attribute.getName(), attribute.getValue());
    for (NamedAttribute attribute : all) {
      const StringRef name = attribute.getName();
      if (name == "label" || name == "cache" || name == "offset" ||
          (ours && (name == "base" || name == "scaling")))
        continue;
      const Attribute mine = a.getAttr(name), other = b.getAttr(name);
      auto param = dyn_cast_or_null<FlatSymbolRefAttr>(mine),
           otherParam = dyn_cast_or_null<FlatSymbolRefAttr>(other);
      if (param && otherParam && isSameParam(param.getValue(), otherParam.getValue()))
        continue;
      auto number = dyn_cast_or_null<FloatAttr>(mine),
           otherNumber = dyn_cast_or_null<FloatAttr>(other);
      if (number && otherNumber ? isNear(number.getValueAsDouble(), otherNumber.getValueAsDouble())
                                : mine == other)
        continue;
      return at + ": " + name.str() + " is " + textOf(mine) + ", not " + textOf(other);
    }
    return "";
  }

  llvm::DenseMap<Value, Value> values_;
  llvm::StringMap<std::string> params_;
};

} // namespace

std::string firstDifference(lm::ForwardOp a, lm::ForwardOp b) {
  return Comparison().run(*a.getBody(), *b.getBody(), "");
}

} // namespace retort
