//===- KernelDialect.td - The kernel dialect: types and attributes -*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_KERNEL_DIALECT_TD
#define RETORT_KERNEL_DIALECT_TD
include "dialects/Common.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Kernel_Dialect : Dialect {
  let name = "kernel";
  let cppNamespace = "::retort::kernel";
  let summary = "A lowered model: phases of independent tiles over planned buffers";
  let description = [{
    A `kernel.program` is one step of a model over R rows (token, slot, position): a list of phases.
    A phase has a tile space; its tiles are independent and any worker (a CPU thread, a CTA) may run
    any of them. A `kernel.wait` orders phases: what follows it may read what the named phase, and
    every phase before that one, wrote. All memory is a `kernel.buffer` with a planned offset. The
    CPU emitter runs a phase as a loop over a thread's share of the tiles, the CUDA emitter as CTAs
    that take tiles. What a program is for (`target`) decides its weights' layout, what rows are
    staged as, and whether attention is one phase or two; phases and waits mean the same.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

def Kernel_BufferKind : I32EnumAttr<"BufferKind", "What a buffer holds and who owns its memory", [
    I32EnumAttrCase<"Weights", 0, "weights">,       // read-only, at `offset` in weights.bin
    I32EnumAttrCase<"Activation", 1, "activation">, // shared by workers, at `offset` in the arena
    I32EnumAttrCase<"Cache", 2, "cache">,           // at `offset` in a page of the KV cache
    I32EnumAttrCase<"Input", 3, "input">,           // the step's: tokens, positions, wanted rows
    I32EnumAttrCase<"Output", 4, "output">,         // the step's: logits
    I32EnumAttrCase<"Constant", 5, "constant">,     // numbers that are part of the program
    I32EnumAttrCase<"Received", 6, "received">]> {  // an activation that the other device writes
  let cppNamespace = "::retort::kernel";
}

def Kernel_ActivationAttr : Retort_NamedAttr<Kernel_Dialect, "Activation", "activation",
    "::retort::Activation", "the non-linearity of a gated unit">;
def Kernel_FormatAttr : Retort_NamedAttr<Kernel_Dialect, "Format", "format",
    "::retort::NumberFormat", "how the numbers of a matrix are stored">;
def Kernel_LayoutAttr : Retort_NamedAttr<Kernel_Dialect, "Layout", "layout",
    "::retort::MatrixLayout", "how a packed matrix lies in memory">;

def Kernel_StagedType : TypeDef<Kernel_Dialect, "Staged"> {
  let mnemonic = "staged";
  let summary = "Rows that a worker holds in its local memory, ready to be multiplied";
  let description = [{
    The step's rows (or the wanted ones), each of `features` values: f32, f16, or i8 or i16 with one
    f32 scale for each `group` values. Local to a worker: per-thread scratch on a CPU, shared memory
    on a GPU, whose tensor cores take an i16 as two i8, and in decoding an f32 as two f16. Example:
    `!kernel.staged<576, i8, 32>`, `!kernel.staged<576, i16, 32>`, `!kernel.staged<576, f16, 0>`.
  }];
  let parameters = (ins "int64_t":$features, "::mlir::Type":$elementType, "int64_t":$group);
  let assemblyFormat = "`<` $features `,` $elementType `,` $group `>`";
  let genVerifyDecl = 1;
}
#endif
