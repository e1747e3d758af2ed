//===- Common.td - Attribute constraints that Retort's dialects share -----===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_COMMON_TD
#define RETORT_DIALECTS_COMMON_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/CommonAttrConstraints.td"

/// An i64 whose accessor returns int64_t.
def Retort_Int : TypedSignlessIntegerAttrBase<I64, "int64_t", "an integer">;

/// An f64 whose accessor returns double.
def Retort_Float : FloatAttrBase<F64, "a number"> {
  let returnType = "double";
  let convertFromStorage = "$_self.getValueAsDouble()";
}

/// How a matrix is stored.
def Retort_Format : Attr<CPred<"::llvm::isa<::retort::weight::FormatAttr>($_self)">,
                         "a weight format"> {
  let storageType = "::retort::weight::FormatAttr";
  let returnType = "::retort::weight::FormatAttr";
  let convertFromStorage = "$_self";
}

/// A value that runtime/base/Names.h knows by name, as an attribute's parameter: prints as its
/// name.
class Retort_Named<string type, string desc> : AttrParameter<type, desc> {
  let parser = "::retort::parseNamed<" # type # ">($_parser)";
  let printer = "$_printer << ::retort::nameOf($_self)";
}

/// Such a value as a dialect's attribute: a bare name in an op's text, the value to C++.
class Retort_NamedAttr<Dialect owner, string className, string attrMnemonic, string type,
                       string desc> : AttrDef<owner, className> {
  let mnemonic = attrMnemonic;
  let summary = desc;
  let parameters = (ins Retort_Named<type, desc>:$value);
  let assemblyFormat = "`` $value";
  let returnType = type;
  let convertFromStorage = "$_self.getValue()";
  let constBuilderCall = owner.cppNamespace # "::" # className #
                         "Attr::get($_builder.getContext(), $0)";
}

#endif // RETORT_DIALECTS_COMMON_TD
