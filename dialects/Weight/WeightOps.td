//===- WeightOps.td - Operations of the weight dialect --------------------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_WEIGHT_WEIGHTOPS_TD
#define RETORT_DIALECTS_WEIGHT_WEIGHTOPS_TD

include "dialects/Weight/WeightBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/CommonTypeConstraints.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Weight_QuantizedMatrix : Type<
    CPred<"::retort::weight::getFormat($_self) != nullptr">,
    "a quantised matrix, its format as the type's encoding", "::mlir::RankedTensorType">;
/// What a program may yield and a model may use.
def Weight_Any : Type<
    CPred<"::retort::weight::isParamType($_self)">,
    "a vector or matrix of static shape, quantised, packed or not", "::mlir::RankedTensorType">;

def Weight_LoadOp : Weight_Op<"load", [Pure]> {
  let summary = "Read a tensor from the checkpoint or from the workspace";
  let description = [{
    The tensor called `name`, as numbers: what the checkpoint stores in a quantised format (`stored`
    is its name there: `Q4_1`, `BF16`, ...) is dequantised. With `file` the tensor comes from
    the safetensors object of that hash in the workspace, the result of a `distill.train`, instead
    of from the checkpoint.
    ```mlir
    %0 = weight.load "blk.0.ffn_up.weight" stored "Q4_1" : tensor<1536x576xf32>
    %1 = weight.load "output_norm.weight" stored "F32"
         file "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" : tensor<576xf32>
    ```
    - (C1) `name` and `stored` are not empty.
    - (C2) `file` is 64 lower-case hexadecimal digits.
  }];
  let arguments = (ins StrAttr:$name, StrAttr:$stored, OptionalAttr<StrAttr>:$file);
  let results = (outs Weight_Tensor:$result);
  let assemblyFormat = "$name `stored` $stored (`file` $file^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Weight_Numbers : ElementsAttrBase<CPred<"::llvm::isa<::mlir::DenseFPElementsAttr>($_self)">,
                                      "dense numbers"> {
  let storageType = "::mlir::DenseFPElementsAttr";
  let returnType = "::mlir::DenseFPElementsAttr";
  let convertFromStorage = "$_self";
}

def Weight_ConstantOp : Weight_Op<"constant", [
    Pure, ConstantLike, AllTypesMatch<["value", "result"]>]> {
  let summary = "Give numbers that the program itself holds";
  let description = [{
    For what a family does without and an op reads (the zero biases of a layer norm), and for
    examples and tests, which have no checkpoint (`retort-opt --interpret`): a model's weights do
    not belong in the IR. Equal constants of a program are one.
    ```mlir
    %0 = weight.constant dense<[[1.0, 0.5], [0.0, -1.0]]> : tensor<2x2xf32>
    ```
    - (C1) Every number is finite.
  }];
  let arguments = (ins Weight_Numbers:$value);
  let results = (outs Weight_Tensor:$result);
  let assemblyFormat = "$value attr-dict";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def Weight_TakeOp : Weight_InferredOp<"take"> {
  let summary = "Take some rows or columns, in the order given";
  let description = [{
    Row (or column) `i` of the result is row `indices[i]` of the operand. Pruning keeps what it
    names this way, and importing puts permuted rows back in order. A vector has rows only.
    ```mlir
    %1 = weight.take %0 rows [0, 2, 5] : tensor<6x4xf32> -> tensor<3x4xf32>
    ```
    Lists of more than 32 indices print under an alias, so that equal lists are printed once.
    A take of a take is one take; a take of all rows in order is its operand.
    - (C1) `indices` is not empty, and each index is at least 0 and below the axis's size.
    - (C2) A vector is taken along its rows.
  }];
  let arguments = (ins Weight_Tensor:$input, Weight_AxisAttr:$axis, DenseI32ArrayAttr:$indices);
  let results = (outs Weight_Tensor:$result);
  let assemblyFormat = [{
    $input $axis custom<Indices>($indices) attr-dict `:` type($input) `->` type($result)
  }];
  let hasFolder = 1;
  let hasCanonicalizer = 1;
  let hasVerifier = 1;
}

def Weight_SliceOp : Weight_InferredOp<"slice"> {
  let summary = "Take a contiguous range of rows or columns";
  let description = [{
    ```mlir
    %1 = weight.slice %0 rows offset 2 size 3 : tensor<6x4xf32> -> tensor<3x4xf32>
    ```
    A slice of a slice is one slice; a slice of a concatenation that lies in one of its operands
    is a slice of that operand; a slice of everything is its operand.
    - (C1) `offset` is at least 0, `size` at least 1, and `offset + size` within the axis.
    - (C2) A vector is sliced along its rows.
  }];
  let arguments = (ins Weight_Tensor:$input, Weight_AxisAttr:$axis, Retort_Int:$offset,
                       Retort_Int:$size);
  let results = (outs Weight_Tensor:$result);
  let assemblyFormat = [{
    $input $axis `offset` $offset `size` $size attr-dict `:` type($input) `->` type($result)
  }];
  let hasFolder = 1;
  let hasCanonicalizer = 1;
  let hasVerifier = 1;
}

def Weight_ConcatOp : Weight_InferredOp<"concat"> {
  let summary = "Put tensors one after another";
  let description = [{
    Along `rows` the operands are stacked, along `columns` they stand side by side. The matrices of
    query, key and value become one this way.
    ```mlir
    %2 = weight.concat rows %0, %1 : tensor<6x4xf32>, tensor<2x4xf32> -> tensor<8x4xf32>
    ```
    - (C1) There is at least one operand, and all have the same rank and element type.
    - (C2) All have the same size along the other axis.
    - (C3) Vectors are concatenated along their rows.
  }];
  let arguments = (ins Weight_AxisAttr:$axis, Variadic<Weight_Tensor>:$inputs);
  let results = (outs Weight_Tensor:$result);
  let assemblyFormat = "$axis $inputs attr-dict `:` type($inputs) `->` type($result)";
  let hasFolder = 1;
  let hasCanonicalizer = 1;
  let hasVerifier = 1;
}

def Weight_CastOp : Weight_Op<"cast", [Pure]> {
  let summary = "Round to another floating-point type";
  let description = [{
    To nearest, ties to even. A bf16 tensor in a bundle is a program that ends in this.
    ```mlir
    %1 = weight.cast %0 : tensor<6x4xf32> -> tensor<6x4xbf16>
    ```
    - (C1) Operand and result have the same shape.
  }];
  let arguments = (ins Weight_Tensor:$input);
  let results = (outs Weight_Tensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def Weight_ScaleOp : Weight_Op<"scale", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Multiply by a number";
  let description = [{
    How the importer folds a checkpoint's multipliers of residuals (Granite) and of logits (Cohere
    2) into the weights before them, where they cost nothing at run time.
    ```mlir
    %1 = weight.scale %0 by 0.22 : tensor<6x4xf32>
    ```
    - (C1) `factor` is finite.
  }];
  let arguments = (ins Weight_Tensor:$input, Retort_Float:$factor);
  let results = (outs Weight_Tensor:$result);
  let assemblyFormat = "$input `by` $factor attr-dict `:` type($result)";
  let hasFolder = 1;
  let hasVerifier = 1;
}

def Weight_QuantizeOp : Weight_Op<"quantize", [Pure]> {
  let summary = "Round a matrix to a few bits a weight";
  let description = [{
    The format is the result type's encoding. Each weight is rounded to the nearest number that
    its group can store (`#weight.format` says which they are).
    ```mlir
    %1 = weight.quantize %0
         : tensor<64x96xf32> -> tensor<64x96xi4, #weight.format<i4g32s>>
    ```
    - (C1) Operand and result have the same shape.
  }];
  let arguments = (ins Weight_Matrix:$input);
  let results = (outs Weight_QuantizedMatrix:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    FormatAttr getFormat();
  }];
}

def Weight_PackOp : Weight_Op<"pack", [Pure]> {
  let summary = "Lay a matrix out as a target's kernels read it";
  let description = [{
    The bytes of the matrix in a packed layout: `rows16` for CPUs, `mma16` for CUDA, each also
    `_gated`. compiler/Weights/PackMma.h says how many bytes each takes.
    ```mlir
    %2 = weight.pack %1 layout rows16 : tensor<64x96xi4, #weight.format<i4g32s>> -> tensor<3456xi8>
    ```
  }];
  let arguments = (ins Weight_Any:$input, Weight_LayoutAttr:$layout);
  let results = (outs 1DTensorOf<[I8]>:$result);
  let assemblyFormat = "$input `layout` $layout attr-dict `:` type($input) `->` type($result)";
}

def Weight_YieldOp : Weight_Op<"yield", [Pure, Terminator, ReturnLike]> {
  let summary = "End a weight program with the parameter's value";
  let description = [{
    ```mlir
    weight.yield %0 : tensor<6x4xf32>
    ```
  }];
  let arguments = (ins Weight_Any:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

#endif // RETORT_DIALECTS_WEIGHT_WEIGHTOPS_TD
