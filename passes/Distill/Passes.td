//===- Passes.td - Passes that put work on data into a module -------------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_PASSES_DISTILL_TD
#define RETORT_PASSES_DISTILL_TD
include "mlir/Pass/PassBase.td"

class DistillPass<string name> : Pass<name, "::mlir::ModuleOp"> {
  let dependentDialects = ["::retort::distill::DistillDialect", "::retort::lm::LMDialect",
                           "::retort::weight::WeightDialect"];
}

def InsertObservation : DistillPass<"insert-observation"> {
  let summary = "Ask for statistics of a model on the corpus";
  let description = [{
    Appends a `distill.observe`. It gets its result when the driver executes it; passes that prune
    read it.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "The model's symbol (default: student, or the only one)">,
    ListOption<"statistics", "statistics", "std::string", "What to observe, by name (docs/ir.md)">,
    Option<"tokens", "tokens", "int64_t", "16384", "Tokens of the corpus to run">,
    Option<"sequenceLength", "sequence-length", "int64_t", "512", "Tokens of a packed sequence">
  ];
}

def InsertProbe : DistillPass<"insert-probe"> {
  let summary = "Ask for what rounding each matrix costs";
  let description = [{
    Appends a `distill.probe`, whose result `choose-formats` reads.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "The model's symbol (default: student, or the only one)">,
    Option<"tokens", "tokens", "int64_t", "4096", "Tokens of the corpus to round by">,
    Option<"measured", "measured", "int64_t", "512", "More tokens, to measure divergences on">,
    Option<"sequenceLength", "sequence-length", "int64_t", "512", "Tokens of a packed sequence">,
    ListOption<"formats", "formats", "::retort::NumberFormat", "Formats to round to">
  ];
}

def InsertFit : DistillPass<"insert-fit"> {
  let summary = "Ask for a student's layers to be solved for";
  let description = [{
    Appends a `distill.fit` of every linear layer of the student whose output is added to the
    residual stream as it is: attention outputs and down projections. A layer whose output is normed
    first (Gemma) has nothing to be solved for. With `format`, of all linear layers, which are then
    rounded by GPTQ as `quantize-weights` with the same formats will store them. Layers that share
    their weights are left alone.
  }];
  let options = [
    Option<"teacher", "teacher", "std::string", "\"teacher\"", "The teacher's symbol">,
    Option<"student", "student", "std::string", "\"student\"", "The student's symbol">,
    Option<"tokens", "tokens", "int64_t", "16384", "Tokens of the corpus to solve on">,
    Option<"sequenceLength", "sequence-length", "int64_t", "512", "Tokens of a packed sequence">,
    Option<"damping", "damping", "double", "1e-2",
           "Pull towards the weights that are there, as a share of the inputs' mean square">,
    Option<"format", "format", "std::optional<::retort::NumberFormat>", "",
           "Format that GPTQ rounds to, as i4g64s (default: none)">,
    Option<"embedding", "embedding", "std::optional<::retort::NumberFormat>", "",
           "Format of the embedding, and of logits without one (default: that of the others)">,
    Option<"logits", "logits", "std::optional<::retort::NumberFormat>", "",
           "Format of the logits' matrix where it is not the embedding (default: the embedding's)">
  ];
  let statistics = [Statistic<"numLayers", "layers", "Layers to solve for">];
}

class TrainingPass<string name> : DistillPass<name> {
  list<Option> training = [
    Option<"tokens", "tokens", "int64_t", "100000", "Tokens to train on">,
    Option<"sequenceLength", "sequence-length", "int64_t", "512", "Tokens of a packed sequence">,
    Option<"batchTokens", "batch-tokens", "int64_t", "2048", "Tokens of a step">,
    Option<"warmup", "warmup", "double", "0.05", "Share of the steps that the learning rate rises">,
    Option<"schedule", "schedule", "::retort::Schedule", "::retort::Schedule::Cosine",
           "How the learning rate falls after that: cosine, linear or constant">,
    Option<"weightDecay", "weight-decay", "double", "0.01", "AdamW's weight decay">,
    Option<"clip", "clip", "double", "1.0", "Largest norm of the gradient">,
    Option<"seed", "seed", "int64_t", "0", "Seed of the data's order">,
    ListOption<"frozen", "frozen", "std::string", "Parameters that training leaves alone">
  ];
}

def InsertTuning : TrainingPass<"insert-tuning"> {
  let summary = "Ask for a model to be trained on the corpus";
  let description = [{
    Appends a `distill.train` with cross-entropy alone: the teacher adapts to the field before it
    is pruned and learned from.
  }];
  let options = !listconcat([
    Option<"model", "model", "std::string", "\"teacher\"", "The model's symbol">,
    Option<"learningRate", "learning-rate", "double", "1e-4", "Highest learning rate">
  ], training);
}

def InsertDistillation : TrainingPass<"insert-distillation"> {
  let summary = "Ask for a student to be trained after its teacher";
  let description = [{
    Appends a `distill.train` with the losses whose weights are above 0: by default forward KL to
    the teacher and cross-entropy. With `format` the student's weights are rounded in the forward
    pass as `quantize-weights` with the same formats will round them; with `freeze-codes` each stays
    at the code that it has then, and what is trained of it is its group's scale.
  }];
  let options = !listconcat([
    Option<"teacher", "teacher", "std::string", "\"teacher\"", "The teacher's symbol">,
    Option<"student", "student", "std::string", "\"student\"", "The student's symbol">,
    Option<"learningRate", "learning-rate", "double", "5e-4", "Highest learning rate">,
    Option<"klWeight", "kl-weight", "double", "1.0", "Weight of the forward KL">,
    Option<"reverseKlWeight", "reverse-kl-weight", "double", "0", "Weight of the reverse KL">,
    Option<"jsWeight", "js-weight", "double", "0", "Weight of the Jensen-Shannon divergence">,
    Option<"hiddenWeight", "hidden-weight", "double", "0",
           "Weight of the difference of blocks' outputs">,
    Option<"ceWeight", "ce-weight", "double", "0.5", "Weight of the cross-entropy">,
    Option<"temperature", "temperature", "double", "1.0", "Temperature of the three divergences">,
    Option<"format", "format", "std::optional<::retort::NumberFormat>", "",
           "Format that the forward pass rounds to, as i4g64s (default: none)">,
    Option<"embedding", "embedding", "std::optional<::retort::NumberFormat>", "",
           "Format of the embedding, and of logits without one (default: that of the others)">,
    Option<"logits", "logits", "std::optional<::retort::NumberFormat>", "",
           "Format of the logits' matrix where it is not the embedding (default: the embedding's)">,
    Option<"freezeCodes", "freeze-codes", "bool", "false",
           "Keep the codes of rounded weights and train their scales">
  ], training);
}

def DeriveStudent : DistillPass<"derive-student"> {
  let summary = "Start the student as a copy of its teacher";
  let description = [{
    Clones the teacher's model under the student's name: the same programs, for passes to prune.
  }];
  let options = [
    Option<"teacher", "teacher", "std::string", "\"teacher\"", "The teacher's symbol">,
    Option<"student", "student", "std::string", "\"student\"", "The student's symbol">
  ];
}

def ApplyTraining : DistillPass<"apply-training"> {
  let summary = "Make a trained model's parameters from its training's result";
  let description = [{
    Each parameter that the model's latest finished `distill.train` or `distill.fit` changed becomes
    a load from its result; the others keep their programs. The work is marked `applied`.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "The model's symbol (default: student, or the only one)">
  ];
  let statistics = [Statistic<"numReplaced", "params-replaced", "Parameters replaced">];
}

def InsertScore : DistillPass<"insert-score"> {
  let summary = "Ask for a model's bits per byte on held-out documents, or its answers to a task";
  let description = [{
    Appends a `distill.score` of the model, which the next `run-data-work` executes on the model as
    it is then. The report lists scores by name. A task is named by the SHA-256 of its file in the
    workspace, where `retort compile --gate` puts it, and by what people call it.
  }];
  let options = [
    Option<"model", "model", "std::string", "",
           "The model's symbol (default: student, or the only one)">,
    Option<"name", "name", "std::string", "", "The score's symbol (default: score_MODEL)">,
    Option<"tokens", "tokens", "int64_t", "0", "Most tokens to score (0: all that are held out)">,
    Option<"against", "against", "std::string", "",
           "Symbol of a model whose distributions to compare with (default: none)">,
    Option<"task", "task", "std::string", "",
           "SHA-256 of a task file (default: held-out documents)">,
    Option<"taskName", "task-name", "std::string", "", "What the task is called">
  ];
}
def InsertGate : DistillPass<"insert-gate"> {
  let summary = "Say what a model must reach";
  let description = [{
    Appends a `distill.gate` over scores that `insert-score` made. `retort compile --gate` writes
    both.
  }];
  let options = [
    Option<"score", "score", "std::string", "", "Symbol of the score to judge">,
    Option<"metric", "metric", "::retort::distill::Metric",
           "::retort::distill::Metric::BitsPerByte",
           "Which figure of it", [{::llvm::cl::values(
             clEnumValN(::retort::distill::Metric::BitsPerByte, "bits_per_byte", "at most `bound`"),
             clEnumValN(::retort::distill::Metric::Acc, "acc", "accuracy, at least `bound`"),
             clEnumValN(::retort::distill::Metric::AccNorm, "acc_norm", "likewise, by length"))}]>,
    Option<"bound", "bound", "double", "0", "What it must reach">,
    Option<"of", "of", "std::string", "", "Symbol of a score whose figure `bound` multiplies">,
    Option<"strict", "strict", "bool", "false", "Equal is not enough">
  ];
}
def RunDataWork : DistillPass<"run-data-work"> {
  let summary = "Execute the data work that has no result yet";
  let description = [{
    Gives each op of the `distill` dialect its `result`, in order, and judges gates. The driver's
    worker does this; where there is none (`retort-opt`), the pass fails at the first op without a
    result, and changes nothing if every op has one.
  }];
}
#endif
