//===- WeightDialect.td - The weight dialect, its enums and attributes ----===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_WEIGHT_WEIGHTDIALECT_TD
#define RETORT_DIALECTS_WEIGHT_WEIGHTDIALECT_TD

include "dialects/Common.td"
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


class Weight_Attr<string name, string attrMnemonic, list<Trait> traits = []>
    : AttrDef<Weight_Dialect, name, traits> {
  let mnemonic = attrMnemonic;
}

def Weight_FormatAttr : Weight_Attr<"Format", "format",
    [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let summary = "How a quantised matrix stores its weights";
  let description = [{
    The encoding of a quantised matrix's type: `tensor<576x1536xi4, #weight.format<i4g32s>>`. The
    name says the codes, the group, and below 8 bits whether the format is symmetric or has minima.
    Each row is cut into groups along its columns; the last group of a row may be short, and no
    group reaches into the next row. With `q` the stored integer or fp8 number, `d` and `m` the
    group's f16 numbers:

    | format | groups      | element    | q          | weight        | as in GGUF |
    |--------|-------------|------------|------------|---------------|------------|
    | `i8gN` | 32, 64, 128 | `i8`       | -127..127  | `d * q`       | Q8_0       |
    | `i4gNs`| 32, 64, 128 | `i4`       | 0..15      | `d * (q - 8)` | Q4_0       |
    | `i4gNa`| 32, 64, 128 | `i4`       | 0..15      | `d * q + m`   | Q4_1       |
    | `i3gNs`| 64          | `i3`       | 0..7       | `d * (q - 4)` |            |
    | `f8gN` | 32, 64, 128 | `f8E4M3FN` | -448..448  | `d * q / 256` |            |

    fp8 e4m3 (arXiv:2209.05433) has 4 bits of exponent and 3 of mantissa, so each weight has a
    precision of its own, 2^-4, whatever its group's largest is. With the 256, `d` is 4/7 of that
    largest weight and not 1/448 of it, which in f16 would often be subnormal; and q / 256 is what a
    GPU makes of q by shifts alone.

    - (C1) The format is quantised, and one that kernels have (runtime/base/NumberFormat.h).
    - (C2) The tensor is a matrix, and its elements are the format's.
  }];
  let parameters = (ins Retort_Named<"::retort::NumberFormat", "a number format">:$value);
  let assemblyFormat = "`<` $value `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The type of a quantised rows x columns matrix in this format.
    ::mlir::RankedTensorType typeOf(int64_t rows, int64_t columns) const;
  }];
}

def Weight_LayoutAttr : Retort_NamedAttr<Weight_Dialect, "Layout", "layout",
    "::retort::MatrixLayout", "how a packed matrix lies in memory">;

#endif // RETORT_DIALECTS_WEIGHT_WEIGHTDIALECT_TD
