//===- DistillOps.td - Operations of the distill dialect ------------------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_DISTILL_DISTILLOPS_TD
#define RETORT_DIALECTS_DISTILL_DISTILLOPS_TD

include "dialects/Distill/DistillDialect.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"

def Distill_Losses : TypedArrayAttrBase<Distill_LossAttr, "losses">;
def Distill_Statistics : TypedArrayAttrBase<Distill_StatisticAttr, "statistics">;
def Distill_Formats : TypedArrayAttrBase<Retort_Format, "weight formats">;
/// Work on models and the corpus. Its symbols are looked up.
class Distill_Work<string mnemonic>
    : Op<Distill_Dialect, mnemonic,
         [Symbol, DeclareOpInterfaceMethods<SymbolUserOpInterface>]>;

def Distill_ObserveOp : Distill_Work<"observe"> {
  let summary = "Measure what a model does on the corpus";
  let description = [{
    Runs the model over `tokens` tokens of the train documents and writes a statistics file
    (docs/ir.md says what it holds): `vocabulary` counts tokens, `ffn` measures each
    channel's part in its block's output, `influence` how much each block turns the residual stream
    (1 - cosine of its input and output, arXiv:2403.03853), `heads` each key/value group's part.
    ```mlir
    distill.observe @seen model @teacher tokens 40000
        statistics [#distill.statistic<vocabulary>, #distill.statistic<ffn>]
    ```
    - (C1) `model` is an `lm.model`.
    - (C2) `tokens` and `sequence_length` are at least 1.
    - (C3) There is at least one statistic, none twice.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$model, Retort_Int:$tokens,
                       DefaultValuedAttr<Retort_Int, "512">:$sequence_length,
                       Distill_Statistics:$statistics, OptionalAttr<Distill_FileAttr>:$result);
  let assemblyFormat = [{
    $sym_name `model` $model `tokens` $tokens
    (`sequence_length` $sequence_length^)? `statistics` $statistics (`result` $result^)? attr-dict
  }];
}

def Distill_ProbeOp : Distill_Work<"probe"> {
  let summary = "Measure what rounding each group of matrices costs at the output";
  let description = [{
    The matrices of blocks that read the same value, as query, key and value, are a group; the
    logits' matrix is one where it is not the embedding. Each group alone is rounded, to the one of
    `formats` that has the largest error, by GPTQ on `tokens` tokens of the train documents; the
    layer that ends its unit is solved for, as `distill.fit` does, since it makes up for much of
    what is lost before it. The rest of the model is then run over `measured` more tokens, since
    GPTQ does better on those that it has seen. The cost is KL(model || rounded model) in nats a
    token; another format's is as much less as its error is, in squares: the KL is of second order
    in a small change (arXiv:1911.03852, section 3). So a group is run once. The result is a JSON
    file (docs/ir.md), which `choose-formats` reads.
    ```mlir
    distill.probe @costs model @teacher tokens 8192 measured 512
        formats [#weight.format<i3g64s>, #weight.format<i4g64s>, #weight.format<i8g64>]
    ```
    - (C1) `model` is an `lm.model`.
    - (C2) `tokens`, `measured` and `sequence_length` are at least 1.
    - (C3) There is at least one format, each is quantised, none is there twice.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$model, Retort_Int:$tokens,
                       Retort_Int:$measured, DefaultValuedAttr<Retort_Int, "512">:$sequence_length,
                       Distill_Formats:$formats, OptionalAttr<Distill_FileAttr>:$result);
  let assemblyFormat = [{
    $sym_name `model` $model `tokens` $tokens `measured` $measured
    (`sequence_length` $sequence_length^)? `formats` $formats (`result` $result^)? attr-dict
  }];
}

def Distill_FitOp : Distill_Work<"fit"> {
  let summary = "Solve a student's layers by least squares, so that its stream is its teacher's";
  let description = [{
    What is left of the student makes up for what pruning and rounding took away, as far as linear
    layers can. The layers in `params` are solved in order, each on the student's own activations
    `X` (rows by features) of `tokens` tokens of the train documents, after the layers before it.

    - A layer whose output is added to the residual stream becomes
      `W + (T - S)^T X (X^T X + damping * mean(diag(X^T X)) I)^-1`, where `T` is the teacher's
      stream after the addition and `S` the student's: the ridge regression of what the stream
      lacks, pulled towards the weights that are there. So errors of earlier blocks are corrected
      too (Optimal Brain Surgeon's update as in SlimGPT, arXiv:2412.18110, section 3, against the
      teacher's outputs and on the student's inputs as in GPTAQ, arXiv:2504.02692, section 3).
    - Any other layer is solved likewise towards what the teacher's layer of its name gives, if that
      has as many outputs; and logits with a matrix of their own towards what they would make of the
      teacher's last hidden states.
    - With `quantize`, every layer is then rounded to that format by GPTQ (arXiv:2210.17323,
      algorithm 1) with the same `X^T X`, columns of large activations first and each group's scale
      searched (compiler/Weights/Pack.h, gptqRow), and other matrices are read as `quantize-weights`
      will round them (the embedding to `embedding` if that is given, logits without one to
      `logits`). Rounding the result
      again to the same format does not change it.

    In all these sums the first tokens of documents weigh as much as one row together: they are one
    and the same vector, many times as large as any other (arXiv:2402.17762).

    The result is a safetensors file of these layers, F32, by their symbols' names; `applied` as of
    `distill.train`.
    ```mlir
    distill.fit @refit teacher @teacher student @student tokens 16384
        params ["blk.0.attn_output.weight", "blk.0.ffn_down.weight"] damping 1.0e-2
        quantize #weight.format<i4g32s>
    ```
    - (C1) `teacher` and `student` are `lm.model`s.
    - (C2) `tokens` and `sequence_length` are at least 1, `damping` is finite and above 0.
    - (C3) `params` names at least one parameter of the student, none twice.
    - (C4) Teacher and student have the same hidden size.
    - (C5) Teacher and student have the same vocabulary, or the student's is the part of
      it that its `vocab_kept` says.
    - (C6) `embedding` and `logits` need `quantize`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$teacher,
                       FlatSymbolRefAttr:$student, Retort_Int:$tokens,
                       DefaultValuedAttr<Retort_Int, "512">:$sequence_length, StrArrayAttr:$params,
                       Retort_Float:$damping, OptionalAttr<Retort_Format>:$quantize,
                       OptionalAttr<Retort_Format>:$embedding,
                       OptionalAttr<Retort_Format>:$logits,
                       OptionalAttr<Distill_FileAttr>:$result,
                       UnitAttr:$applied);
  let assemblyFormat = [{
    $sym_name `teacher` $teacher `student` $student `tokens` $tokens
    (`sequence_length` $sequence_length^)? `\n` `params` $params `damping` $damping
    (`quantize` $quantize^)? (`embedding` $embedding^)? (`logits` $logits^)? (`result` $result^)?
    (`applied` $applied^)? attr-dict
  }];
  let extraClassDeclaration = [{
    /// Whether the fit leaves the student's parameter `name` as it is.
    bool isFrozen(::llvm::StringRef name);
  }];
}

def Distill_TrainOp : Distill_Work<"train"> {
  let summary = "Train a model on the corpus, after a teacher or alone";
  let description = [{
    Trains `student` on `tokens` tokens of the train documents, in steps of `batch_tokens` tokens
    in packed sequences of `sequence_length`, rows attending to their own document only. AdamW
    (arXiv:1711.05101; betas 0.9 and 0.95) with f32 master weights; the learning rate rises
    linearly for the `warmup` part of the steps, then falls to zero as `schedule` says (`cosine`
    or `linear`), or stays (`constant`); the gradient's norm is clipped to `clip`. With `quantize`
    the weights of linear layers, embedding and logits are rounded in the forward pass to that
    format (the embedding to `embedding` and logits of their own to `logits` where given), and
    gradients pass straight through (arXiv:1308.3432), so that the student learns to be quantised.
    With `freeze_codes` too these weights keep their codes, and a factor of each group's scale is
    trained (arXiv:2407.11062, section 3.3): what a rounding found is kept, and `learning_rate` is a
    share of a scale. Parameters in `frozen` keep their values and have no gradient; they too are
    rounded in the forward pass. The result is a safetensors file of the other parameters, F32, by
    their symbols' names. `applied` says that `apply-training` has put the result into the student.
    ```mlir
    distill.train @heal teacher @teacher student @student
        losses [#distill.loss<forward_kl, weight = 1.0>, #distill.loss<cross_entropy, weight = 0.5>]
        tokens 100000 sequence_length 512 batch_tokens 4096 learning_rate 1.0e-3 warmup 0.05
        schedule cosine weight_decay 0.01 clip 1.0 seed 1
        quantize #weight.format<i4g32s>
    ```
    - (C1) `teacher` and `student` are `lm.model`s.
    - (C2) There is at least one loss, none of a kind twice, and those that have a temperature have
      the same; a loss that compares with a teacher needs a `teacher`, and a `teacher` needs such
      a loss.
    - (C3) `tokens`, `sequence_length` and `batch_tokens` are at least 1, and `batch_tokens` is a
      multiple of `sequence_length`.
    - (C4) `learning_rate` and `clip` are finite and above 0, `weight_decay` finite and not
      negative, `warmup` from 0 to 1.
    - (C5) Teacher and student have the same vocabulary, or the student's is the part of
      it that its `vocab_kept` says.
    - (C6) `frozen` names parameters of the student, but not all.
    - (C7) `embedding`, `logits` and `freeze_codes` need `quantize`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<FlatSymbolRefAttr>:$teacher,
                       FlatSymbolRefAttr:$student, Distill_Losses:$losses,
                       Retort_Int:$tokens, Retort_Int:$sequence_length, Retort_Int:$batch_tokens,
                       Retort_Float:$learning_rate, Retort_Float:$warmup,
                       DefaultValuedAttr<Distill_ScheduleAttr, "Schedule::Cosine">:$schedule,
                       Retort_Float:$weight_decay, Retort_Float:$clip, Retort_Int:$seed,
                       OptionalAttr<Retort_Format>:$quantize,
                       OptionalAttr<Retort_Format>:$embedding,
                       OptionalAttr<Retort_Format>:$logits, UnitAttr:$freeze_codes,
                       OptionalAttr<StrArrayAttr>:$frozen,
                       OptionalAttr<Distill_FileAttr>:$result, UnitAttr:$applied);
  let assemblyFormat = [{
    $sym_name (`teacher` $teacher^)? `student` $student `\n`
    `losses` $losses `\n`
    `tokens` $tokens `sequence_length` $sequence_length `batch_tokens` $batch_tokens `\n`
    `learning_rate` $learning_rate `warmup` $warmup `schedule` $schedule
    `weight_decay` $weight_decay `clip` $clip `seed` $seed
    (`quantize` $quantize^)? (`embedding` $embedding^)? (`logits` $logits^)?
    (`freeze_codes` $freeze_codes^)? (`frozen` $frozen^)? (`result` $result^)?
    (`applied` $applied^)? attr-dict
  }];
  let extraClassDeclaration = [{
    ::llvm::SmallVector<LossAttr> getLossList() {
      return ::llvm::to_vector(getLosses().getAsRange<LossAttr>());
    }
    /// Whether training leaves the student's parameter `name` as it is.
    bool isFrozen(::llvm::StringRef name);
  }];
}

def Distill_ScoreOp : Distill_Work<"score"> {
  let summary = "Measure a model on held-out documents, or on a task's questions";
  let description = [{
    Runs the model over the held-out documents (about `tokens` tokens of them, where given),
    or asks it the questions of `task`, a file of the workspace with the name that people know it
    by; docs/eval.md says how. Writes a JSON file: `bits_per_byte`, `text_bytes`, `tokens` and
    `documents` (`sha256`, `text_bytes`, `nll` in nats), and `kl`, the mean of KL(against || model)
    in nats a token, where there is a model to compare with; or `acc`, `acc_norm` and, a number a
    question, `correct` and `correct_norm`.
    ```mlir
    distill.score @before model @teacher tokens 20000
    distill.score @after model @student against @teacher tokens 20000
    distill.score @answers model @teacher task "faq.jsonl"
        <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
    ```
    - (C1) `model` is an `lm.model`.
    - (C2) `tokens` is at least 1, and there is no `task`.
    - (C3) `against` is an `lm.model` of the same vocabulary, and there is no `task`.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$model,
                       OptionalAttr<FlatSymbolRefAttr>:$against, OptionalAttr<StrAttr>:$task_name,
                       OptionalAttr<Distill_FileAttr>:$task,
                       OptionalAttr<Retort_Int>:$tokens, OptionalAttr<Distill_FileAttr>:$result);
  let assemblyFormat = [{
    $sym_name `model` $model (`against` $against^)? (`task` $task_name^ $task)?
    (`tokens` $tokens^)? (`result` $result^)? attr-dict
  }];
}

def Distill_GateOp : Distill_Work<"gate"> {
  let summary = "Say what the specialist must reach";
  let description = [{
    The figure `metric` of `score` is to be at most `bound` (bits per byte) or at least `bound`
    (accuracies); with `of`, that part of the same figure of another score; `strictly`, and not
    equal. `retort compile` writes no bundle if a gate fails (docs/eval.md).
    ```mlir
    distill.gate @better score @after reaches bits_per_byte 8.500000e-01 of @before strictly
    distill.gate @knows score @answers reaches acc 8.000000e-01
    ```
    - (C1) `score` and `of` are `distill.score`s, of held-out documents for `bits_per_byte`, else of
      a task, and both of the same.
    - (C2) `bound` is finite and above 0.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, FlatSymbolRefAttr:$score,
                       Distill_MetricAttr:$metric, Retort_Float:$bound,
                       OptionalAttr<FlatSymbolRefAttr>:$against, UnitAttr:$strict);
  let assemblyFormat = [{
    $sym_name `score` $score `reaches` $metric $bound (`of` $against^)? (`strictly` $strict^)?
    attr-dict
  }];
}

#endif // RETORT_DIALECTS_DISTILL_DISTILLOPS_TD
