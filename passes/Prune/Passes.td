//===- Passes.td - Passes that make a model smaller -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_PASSES_PRUNE_TD
#define RETORT_PASSES_PRUNE_TD
include "mlir/Pass/PassBase.td"

class PrunePass<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::retort::weight::WeightDialect"];
}
def ModelOption : Option<"model", "model", "std::string", "",
                         "The model's symbol (default: student, or the only one)">;
class StatisticsOption<string what> : Option<"stats", "stats", "std::string", "",
    "Path of a statistics file (default: of the last finished distill.observe of " # what # ")">;

def PruneVocabulary : PrunePass<"prune-vocabulary"> {
  let summary = "Keep the tokens that the corpus needs";
  let description = [{
    Ranks tokens by how often the corpus has them and keeps the first, together with every token
    that byte-pair encoding goes through on the way to a kept one, so each kept token is still
    reached and every text stays encodable. The tokens that the statistics say to keep (bytes,
    special tokens) stay in any case. Rows of the embedding table and of the logits' matrix go with
    their tokens; `vocab_kept` says which tokens of the teacher are left.

    The vocabulary is filled up to a multiple of `multiple` where tokens are left to fill it with.
  }];
  let options = [
    ModelOption,
    StatisticsOption<"the vocabulary">,
    Option<"maxTokens", "max-tokens", "int64_t", "0", "Most tokens to keep (0: no limit)">,
    Option<"minCount", "min-count", "int64_t", "1",
           "Least occurrences in the corpus of a token to keep">,
    Option<"multiple", "multiple", "int64_t", "64",
           "Tokens that the vocabulary is made a multiple of">
  ];
  let statistics = [Statistic<"numDropped", "tokens-dropped", "Tokens dropped">];
}

def PruneFFN : PrunePass<"prune-ffn"> {
  let summary = "Keep the most important channels of gated units";
  let description = [{
    A channel is a row of the gate and up matrices and a column of the down matrix; its importance
    is what the statistics say: what the stream loses when it and all less important ones go. The
    sum of what all blocks lose is kept small, so a block that loses little keeps few. Each block
    keeps a multiple of `multiple` channels, since kernels work on whole tiles and odd widths cost
    time, or all. With `uniform`, every block keeps the same share, as engines want that know one
    width alone.
  }];
  let options = [
    ModelOption,
    StatisticsOption<"ffn">,
    Option<"keep", "keep", "double", "0.5", "Share of all channels to keep, above 0, at most 1">,
    Option<"uniform", "uniform", "bool", "false", "Keep the same share in every block">,
    Option<"multiple", "multiple", "int64_t", "32",
           "Channels that a block's width is a multiple of">,
    Option<"minKeep", "min-keep", "int64_t", "0", "Fewest channels of a block (0: one multiple)">
  ];
  let statistics = [Statistic<"numDropped", "channels-dropped", "Channels dropped">];
}

def PruneDepth : PrunePass<"prune-depth"> {
  let summary = "Drop whole blocks";
  let description = [{
    A block only adds to the residual stream, so its input stands in for the result of a
    dropped block (ShortGPT, arXiv:2403.03853, section 3). Drops the blocks named by `drop`, or
    the `count` blocks of least influence: the least `1 - cosine` of input and output.
  }];
  let options = [
    ModelOption,
    StatisticsOption<"influence">,
    ListOption<"drop", "drop", "unsigned", "Blocks to drop, counted from 0">,
    Option<"count", "count", "unsigned", "0", "How many blocks of least influence to drop">
  ];
  let statistics = [Statistic<"numDropped", "blocks-dropped", "Blocks dropped">];
}

def PruneAttention : PrunePass<"prune-attention"> {
  let summary = "Drop attentions and keep the rest of their blocks";
  let description = [{
    The attention of many blocks hardly turns the residual stream while their gated unit does
    (arXiv:2406.15786). Drops the `count` attentions of least influence: the least `1 - cosine` of
    the stream before and after the attention's output is added. The stream passes by it, and its
    norms, projections, parameters and cache go with it. At least one attention must stay.
  }];
  let options = [
    ModelOption,
    StatisticsOption<"attention_influence">,
    Option<"count", "count", "unsigned", "0", "How many attentions of least influence to drop">
  ];
  let statistics = [Statistic<"numDropped", "attentions-dropped", "Attentions dropped">];
}

def PruneHeads : PrunePass<"prune-heads"> {
  let summary = "Keep the most important groups of attention heads";
  let description = [{
    A group is a key/value head with the query heads that read it; its importance is what the
    statistics say. Rows of the query, key and value projections and columns of the output
    projection go with their group. Every block, or every one of `blocks`, keeps the same number of
    groups unless it has fewer; run it again for blocks that are to keep another number.
  }];
  let options = [
    ModelOption,
    StatisticsOption<"heads">,
    Option<"keep", "keep", "int64_t", "1", "Key/value heads that a block keeps">,
    ListOption<"blocks", "blocks", "unsigned", "Blocks to prune, counted from 0 (default: all)">
  ];
  let statistics = [Statistic<"numDropped", "groups-dropped", "Key/value heads dropped">];
}
#endif
