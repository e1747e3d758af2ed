//===- Passes.td - Passes that choose number formats for weights ----------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_PASSES_QUANTIZE_TD
#define RETORT_PASSES_QUANTIZE_TD
include "mlir/Pass/PassBase.td"

class QuantizePass<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::retort::weight::WeightDialect"];
}

def QuantizeWeights : QuantizePass<"quantize-weights"> {
  let summary = "Round matrices to a few bits a weight, integers or fp8";
  let description = [{
    Appends `weight.quantize` (round to nearest) to the program of every matrix that a linear layer,
    the embedding or the logits read. Gains and biases stay as they are, and so do matrices that are
    quantised already. An embedding table that is also the logits' matrix is made once, as
    `embedding` says; `untie-embedding` gives the logits a matrix of their own. docs/formats.md
    lists the formats. A matrix with `rounds_to` gets that format. With `only`, the matrices of some
    blocks or of one kind: run it several times for layers that differ.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "The model's symbol (default: student, or the only one)">,
    Option<"format", "format", "::retort::NumberFormat",
           "::retort::NumberFormat{::retort::NumberFormat::Kind::I4, 32}",
           "Format of the matrices: i4g32s, i4g128a, i8g32, f8g64, ...">,
    Option<"embedding", "embedding", "std::optional<::retort::NumberFormat>", "",
           "Format of the embedding, and of logits without one (default: that of the others)">,
    Option<"logits", "logits", "std::optional<::retort::NumberFormat>", "",
           "Format of the logits' matrix where it is not the embedding (default: the embedding's)">,
    ListOption<"only", "only", "std::string",
               "Only matrices whose names contain one of these, as blk.3. or ffn_down (default: "
               "all)">
  ];
  let statistics = [Statistic<"numQuantized", "params-quantized", "Parameters quantised">];
}

def ChooseFormats : QuantizePass<"choose-formats"> {
  let summary = "Give each group of matrices the format that it needs, within an average of bits";
  let description = [{
    Sets `rounds_to` of the matrices that a `distill.probe` rounded: of all ways to give each group
    one of the probe's formats with at most `bits` bits a weight on average (scales and columns that
    fill groups included), or where none is so small with the fewest, the one whose costs have the
    least sum. It is the best solution of that multiple-choice knapsack, to a
    16,384th of its size. `insert-fit`, `insert-distillation` and `quantize-weights` round these
    matrices so, whatever format they give others.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "The model's symbol (default: student, or the only one)">,
    Option<"costs", "costs", "std::string", "",
           "Path of a probe's file (default: of the last finished distill.probe)">,
    Option<"bits", "bits", "double", "4.25", "Most bits a weight on average">
  ];
  let statistics = [Statistic<"numChosen", "formats-chosen", "Matrices given a format">];
}

def UntieEmbedding : QuantizePass<"untie-embedding"> {
  let summary = "Give the logits a matrix of their own";
  let description = [{
    Where the logits read the embedding, they read a copy of it, `output.weight`. A token looks up
    one row of the embedding, but the logits read all of their matrix, for every token: so the
    embedding can then be stored in more bits, which costs disk but no time, and the two can be
    trained apart. A model whose logits have a matrix of their own stays as it is.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "The model's symbol (default: student, or the only one)">
  ];
  let statistics = [Statistic<"numUntied", "matrices-untied", "Matrices copied">];
}

def CastWeights : QuantizePass<"cast-weights"> {
  let summary = "Round matrices to another floating-point type";
  let description = [{
    Appends `weight.cast` to the program of every matrix that a linear layer, the embedding or the
    logits read, unless it has the type already or is quantised. Gains and biases stay f32.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "The model's symbol (default: student, or the only one)">,
    Option<"type", "type", "::retort::NumberFormat",
           "::retort::NumberFormat{::retort::NumberFormat::Kind::BF16}",
           "bf16, f16 or f32">
  ];
  let statistics = [Statistic<"numCast", "params-cast", "Parameters cast">];
}

def CacheFormat : QuantizePass<"cache-format"> {
  let summary = "Choose how attention keeps keys and values";
  let description = [{
    Sets the `cache` of every attention of the model, or of those in the blocks that `only` names.
    f16 halves the bytes that are read for each position attended to; its rounding (2^-11) is far
    below that of 8-bit weights. bf16 takes as many and rounds more (2^-8), for models whose keys or
    values leave f16's range. f8e4m3 halves them again: a relative rounding of 2^-4, no scale,
    values beyond 448 become 448. Keys and values of the last rows, which a step still has as f32,
    are rounded alike, so a text's logits do not depend on how it was cut into steps.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "The model's symbol (default: student, or the only one)">,
    Option<"format", "format", "::retort::CacheFormat", "::retort::CacheFormat::F16",
           "f16, bf16, f8e4m3 or f32">,
    ListOption<"only", "only", "std::string",
               "Only blocks of these labels, as blk.3 (default: all)">
  ];
  let statistics = [Statistic<"numChanged", "caches-changed", "Attentions whose cache changed">];
}
#endif
