//===- WeightBase.td - What all operations of the weight dialect share ----===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_WEIGHT_WEIGHTBASE_TD
#define RETORT_DIALECTS_WEIGHT_WEIGHTBASE_TD

include "dialects/Weight/WeightDialect.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

/// A vector or matrix of static shape whose weights are numbers: not quantised.
def Weight_Tensor : Type<
    CPred<"::retort::weight::isWeightTensor($_self)">,
    "a vector or matrix of f32, f16 or bf16 with a static shape", "::mlir::RankedTensorType">;
def Weight_Matrix : Type<
    And<[Weight_Tensor.predicate,
         CPred<"::llvm::cast<::mlir::RankedTensorType>($_self).getRank() == 2">]>,
    "a matrix of f32, f16 or bf16 with a static shape", "::mlir::RankedTensorType">;

class Weight_Op<string mnemonic, list<Trait> traits = []> : Op<Weight_Dialect, mnemonic, traits>;
class Weight_InferredOp<string mnemonic, list<Trait> traits = []>
    : Weight_Op<mnemonic, !listconcat([Pure, InferTypeOpAdaptor], traits)>;

#endif // RETORT_DIALECTS_WEIGHT_WEIGHTBASE_TD
