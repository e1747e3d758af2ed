//===- WeightUpdateOps.td - Operations that change weights by others ------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_WEIGHT_WEIGHTUPDATEOPS_TD
#define RETORT_DIALECTS_WEIGHT_WEIGHTUPDATEOPS_TD

include "dialects/Weight/WeightBase.td"

def Weight_ProductOp : Weight_InferredOp<"product"> {
  let summary = "Multiply two matrices";
  let description = [{
    The low-rank update of a LoRA adapter is one: many rows of `left` by the few rows of `right`.
    Sums run in f32, the columns of `left` in order. `right` is held in memory whole while rows are
    made.
    ```mlir
    %2 = weight.product %0, %1 : tensor<6x2xf32>, tensor<2x4xf32> -> tensor<6x4xf32>
    ```
    - (C1) `left` has as many columns as `right` has rows.
    - (C2) Both have the same element type.
  }];
  let arguments = (ins Weight_Matrix:$left, Weight_Matrix:$right);
  let results = (outs Weight_Matrix:$result);
  let assemblyFormat = [{
    $left `,` $right attr-dict `:` type($left) `,` type($right) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Weight_AddOp : Weight_Op<"add", [
    Pure, Commutative, AllTypesMatch<["left", "right", "result"]>]> {
  let summary = "Add two tensors";
  let description = [{
    How the importer merges an adapter's updates into the weights of its base.
    ```mlir
    %2 = weight.add %0, %1 : tensor<6x4xf32>
    ```
  }];
  let arguments = (ins Weight_Tensor:$left, Weight_Tensor:$right);
  let results = (outs Weight_Tensor:$result);
  let assemblyFormat = "$left `,` $right attr-dict `:` type($result)";
}

def Weight_SetNormsOp : Weight_Op<"set_norms", [Pure, AllTypesMatch<["input", "result"]>]> {
  let summary = "Scale each row to a given length";
  let description = [{
    Row i of the result is row i of `input` times `norms[i]` over the row's Euclidean norm: what a
    DoRA adapter (arXiv:2402.09353) makes of a weight and its update. A row of zeros stays one.
    ```mlir
    %2 = weight.set_norms %0 to %1 : tensor<6x4xf32>, tensor<6xf32>
    ```
    - (C1) `norms` has a number for each row.
    - (C2) Both have the same element type.
  }];
  let arguments = (ins Weight_Matrix:$input, Weight_Tensor:$norms);
  let results = (outs Weight_Matrix:$result);
  let assemblyFormat = "$input `to` $norms attr-dict `:` type($result) `,` type($norms)";
  let hasVerifier = 1;
}

#endif // RETORT_DIALECTS_WEIGHT_WEIGHTUPDATEOPS_TD
