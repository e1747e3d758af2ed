//===- Passes.td - Passes that lower a model to a kernel program ----------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_PASSES_LOWER_TD
#define RETORT_PASSES_LOWER_TD
include "mlir/Pass/PassBase.td"

def LowerToKernel : Pass<"lower-to-kernel", "::mlir::ModuleOp"> {
  let summary = "Make a kernel.program of a model";
  let description = [{
    Walks the model's computation and emits phases. A norm becomes the prologue of the products that
    read it, with quantisation to i8 where the weights are quantised; bias, residual, soft cap and
    the gated product become epilogues; head norms, rope and the cache's append become one phase
    before the attention. What does not fit that (a norm of a product before the residual, an
    unfused gate) is a phase of its own. Waits stand only where what the ops say of their buffers
    asks for one (kernel.program). Every matrix gets a `weight.pack` at the end of its program; the
    model stays beside the program as its source. Every layer may have shapes and formats of its
    own.

    With `target=cuda`, rows are staged as 16 bits and matrices packed for tensor cores. The pass
    then runs once for `step=decode`, where norms of heads, rope, append and attention are one
    phase, so that a layer of the Llama family waits five times, and once for `step=prefill`, whose
    phases have tiles for each 64 rows. Both programs name the same weights in the same order, so
    that `plan-buffers` gives them the same offsets; a parameter is packed once.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "Symbol of the model; needed if the module has several">,
    Option<"target", "target", "std::string", "\"cpu\"", "What the program is for: cpu or cuda">,
    Option<"step", "step", "std::string", "", "cuda: decode (few rows) or prefill (many rows)">,
    Option<"maxRows", "max-rows", "int64_t", "0",
           "Most rows (tokens) of one step; 0: 64, or 16 to decode and 512 to prefill on CUDA">,
    Option<"splits", "splits", "int64_t", "0",
           "Ranges that decoding cuts a row's positions in; 0: as many as give every "
           "multiprocessor a tile, with 256 positions each at least when the context is full">,
    Option<"multiprocessors", "multiprocessors", "int64_t", "132",
           "Multiprocessors of the device that splits=0 is chosen for">];
  let statistics = [Statistic<"numPhases", "phases", "Phases of the program">,
                    Statistic<"numWaits", "waits", "Waits of the program">];
  let dependentDialects = ["::retort::kernel::KernelDialect"];
}

def PlanBuffers : Pass<"plan-buffers", "::retort::kernel::ProgramOp"> {
  let summary = "Give every buffer of a program its offset";
  let description = [{
    Weights lie one after the other in the order of the program, a block's cache in each page of the
    KV cache likewise. Activations share one arena: two whose lives do not touch may have the same
    bytes, where a life goes from the wait before the first use to the wait after the last, since
    phases between two waits run at the same time. Largest first, each at the lowest offset that is
    free (Pisarchyk and Lee, arXiv:2001.03288, greedy by size). Offsets are multiples of 64.
  }];
  let statistics = [Statistic<"arenaBytes", "arena-bytes", "Bytes of the activation arena">,
                    Statistic<"unsharedBytes", "unshared-bytes", "Bytes of all activations">];
}

def PrintKernelCosts : Pass<"print-kernel-costs", "::retort::kernel::ProgramOp"> {
  let summary = "Print what each phase moves and computes when one token is decoded";
  let description = [{
    A line a phase: tiles, bytes of weights, of activations and of cache per position attended
    to, flops, and whether it waits; then the sums. The weight bytes are `bytes_per_token`.

    With `on`, what the cost model predicts for a step on that GPU (docs/cuda-cost.md): a line a
    phase with its time, the wait before it and what of its weights came during waits; then the
    sums. For one device of two, the time of that device alone; `retort inspect --phases --on` has
    both together.
  }];
  let options = [
    Option<"on", "on", "std::string", "", "Predict for this GPU: h100, rtx4090, ...">,
    Option<"rows", "rows", "int64_t", "1", "Rows of the step">,
    Option<"context", "context", "int64_t", "128", "Positions that a row attends to">,
    ListOption<"assume", "assume", "std::string",
               "Numbers instead of the device's: wait_us:0.5, issue:3, memory_share:0.93, ...">,
    Option<"graph", "graph", "bool", "false", "A kernel a phase instead of one a step">];
}

def EmitCuda : Pass<"emit-cuda", "::mlir::ModuleOp"> {
  let summary = "Print the CUDA C++ of a module's planned programs";
  let description = [{
    The text that `retort compile` gives to nvcc and puts in the bundle as program.cu: the module's
    `kernel.program`s for CUDA become EmitC, and that becomes text. The module stays as it is.
  }];
  let options = [
    Option<"form", "form", "std::string", "\"persistent\"",
           "persistent (one kernel a step) or graph (a kernel a phase)">,
    Option<"printEmitC", "emitc", "bool", "false", "Print the EmitC instead of the text">];
}
#endif
