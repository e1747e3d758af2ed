//===- WeightDialect.td - The weight dialect, its enums and attributes ----===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_WEIGHT_WEIGHTDIALECT_TD
#define RETORT_DIALECTS_WEIGHT_WEIGHTDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/DialectBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/TensorEncoding.td"

def Weight_Dialect : Dialect {
  let name = "weight";
  let cppNamespace = "::retort::weight";
  let summary = "Programs that make parameters";
  let description = [{
    The body of an `lm.param` is a program in this dialect: it says how the parameter is made from
    what the checkpoint stores, and ends in `weight.yield`. Passes edit programs; nobody reads
    a weight until the bundle is written, one parameter at a time and a few rows at a time.

    Values are one- or two-dimensional tensors of static shape with value semantics. A matrix is
    rows x columns, slowest first, so a linear layer's matrix is outputs x inputs. A quantised
    matrix has a `#weight.format` as its type's encoding.
  }];
  let useDefaultAttributePrinterParser = 1;
}

def Weight_Axis : I32EnumAttr<"Axis", "an axis of a matrix", [
    I32EnumAttrCase<"Rows", 0, "rows">, I32EnumAttrCase<"Columns", 1, "columns">]> {
  let cppNamespace = "::retort::weight";
  let genSpecializedAttr = 0;
}
def Weight_AxisAttr : EnumAttr<Weight_Dialect, Weight_Axis, "axis"> {
  let assemblyFormat = "`` $value";
}

def Weight_Scheme : I32EnumAttr<"Scheme", "what a group of weights stores", [
    I32EnumAttrCase<"Symmetric", 0, "symmetric">, I32EnumAttrCase<"Asymmetric", 1, "asymmetric">,
    I32EnumAttrCase<"E4M3", 2, "e4m3">]> {
  let cppNamespace = "::retort::weight";
  let genSpecializedAttr = 0;
}

class Weight_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Weight_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def Weight_FormatAttr : Weight_Attr<"Format", "format",
    [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "How a quantised matrix stores its weights";
  let description = [{
    The encoding of a quantised matrix's type: `tensor<576x1536xi4, #weight.format<bits = 4,
    group = 32, symmetric>>`. Each row is cut into groups of `group` weights along its columns; the
    last group of a row may be short, and no group reaches into the next row. With `q` the stored
    integer or fp8 number, `d` and `m` the group's f16 numbers:

    | bits | scheme     | q          | weight        | as in GGUF |
    |------|------------|------------|---------------|------------|
    | 8    | symmetric  | -127..127  | `d * q`       | Q8_0       |
    | 8    | asymmetric | 0..255     | `d * q + m`   |            |
    | 4    | symmetric  | 0..15      | `d * (q - 8)` | Q4_0       |
    | 4    | asymmetric | 0..15      | `d * q + m`   | Q4_1       |
    | 8    | e4m3       | -448..448  | `d * q / 256` |            |

    fp8 e4m3 (arXiv:2209.05433) has 4 bits of exponent and 3 of mantissa, so each weight has a precision of its
    own, 2^-4, whatever its group's largest is. With the 256, `d` is 4/7 of that largest weight and not 1/448 of
    it, which in f16 would often be subnormal; and q / 256 is what a GPU makes of q by shifts alone.

    - (C1) `bits` is 4 or 8; 8 for e4m3.
    - (C2) `group` is a power of two, at least 16 and at most 1024.
    - (C3) The tensor is a matrix, and its element type is `i4` for 4 bits, `i8` for 8 bits and
      `f8E4M3FN` for e4m3.
  }];
  let parameters = (ins "unsigned":$bits, "int64_t":$group, EnumParameter<Weight_Scheme>:$scheme);
  let assemblyFormat = "`<` `bits` `=` $bits `,` `group` `=` $group `,` $scheme `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Has no minimum beside the scale.
    bool isSymmetric() const { return getScheme() != Scheme::Asymmetric; }
    bool isE4M3() const { return getScheme() == Scheme::E4M3; }
    /// The type of a quantised rows x columns matrix in this format.
    ::mlir::RankedTensorType typeOf(int64_t rows, int64_t columns) const;
    /// Groups in a row of `columns` weights: the last may be short.
    int64_t groupsPerRow(int64_t columns) const { return (columns + getGroup() - 1) / getGroup(); }
    /// Bytes a row of `columns` weights takes when packed without padding between groups: the
    /// integers of whole groups, and one f16 (symmetric) or two (asymmetric) a group.
    int64_t bytesPerRow(int64_t columns) const {
      return groupsPerRow(columns) * (getGroup() * getBits() / 8 + (isSymmetric() ? 2 : 4));
    }
  }];
}

#endif // RETORT_DIALECTS_WEIGHT_WEIGHTDIALECT_TD
