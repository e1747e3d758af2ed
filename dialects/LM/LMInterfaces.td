//===- LMInterfaces.td - What ops of the lm dialect say of themselves -----===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_LM_LMINTERFACES_TD
#define RETORT_DIALECTS_LM_LMINTERFACES_TD

include "mlir/IR/OpBase.td"

def LM_ParamUserOpInterface : OpInterface<"ParamUserOpInterface"> {
  let cppNamespace = "::retort::lm";
  let description = [{
    An op that reads parameters. It declares each one: its role and what its axes run over. Shapes
    are verified against the declaration, and passes that round, cut or drop parameters go by it, so
    they handle an op that they have never heard of, or refuse it by name where its role is
    `Opaque`. `lm.forward` verifies that an op declares every parameter that it names.
  }];
  let methods = [InterfaceMethod<
    "The parameters that the op reads, the one that names its result first.",
    "::llvm::SmallVector<::retort::lm::ParamUse, 2>", "getParamUses">];
}

def LM_HeadwiseOpInterface : OpInterface<"HeadwiseOpInterface"> {
  let cppNamespace = "::retort::lm";
  let description = [{
    An op whose one result has its operand's features, cut into equal runs (heads) that do not see
    each other. Heads may be taken from under such an op if its number of heads goes along.
  }];
  let methods = [
    InterfaceMethod<"How many runs the features are cut into.", "int64_t", "getNumHeads">,
    InterfaceMethod<"Sets the number of runs; the caller changes the types.", "void", "setNumHeads",
                    (ins "int64_t":$count)>];
}

#endif // RETORT_DIALECTS_LM_LMINTERFACES_TD
