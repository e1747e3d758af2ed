//===- DistillDialect.td - The distill dialect, its enums and attributes --===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_DISTILL_DISTILLDIALECT_TD
#define RETORT_DIALECTS_DISTILL_DISTILLDIALECT_TD

include "dialects/Common.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/DialectBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def Distill_Dialect : Dialect {
  let name = "distill";
  let cppNamespace = "::retort::distill";
  let summary = "Work on data: observe, train, score";
  let description = [{
    Everything in a compile that looks at documents or runs a model is an op of this dialect, put
    into the module by a pass. An op without a `result` has yet to be executed; executing it
    is the driver's, and gives it the hash of the file it made. Passes that need what it found
    read that file. A corpus is split by document into train and held-out: `observe`, `fit` and
    `train` see only the first, `score` only the second.
  }];
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = [{
    /// Where the file of a `#distill.file` lies: given the hash, its path, or an empty string if
    /// there is none. Set by the driver (its workspace) and by retort-opt's --workspace.
    using FileResolver = ::std::function<::std::string(::llvm::StringRef)>;
    void setFileResolver(FileResolver resolver) { fileResolver = ::std::move(resolver); }
    ::std::string resolveFile(::llvm::StringRef sha256) const {
      return fileResolver ? fileResolver(sha256) : ::std::string();
    }

    /// What executes a module's data work for `run-data-work`: gives every op its result, or fails
    /// with a diagnostic. Set by the driver; empty elsewhere.
    using Worker = ::std::function<::mlir::LogicalResult(::mlir::ModuleOp)>;
    void setWorker(Worker given) { worker = ::std::move(given); }
    const Worker &getWorker() const { return worker; }

    /// A pass says, beside its diagnostic, that a file of observations is at fault, not the
    /// pipeline; the driver asks once, and chooses its exit code by it.
    void noteBadFile() { badFile = true; }
    bool takeBadFile() { return ::std::exchange(badFile, false); }

  private:
    bool badFile = false;
    FileResolver fileResolver;
    Worker worker;
  public:
  }];
}

def Distill_LossKind : I32EnumAttr<"LossKind", "a loss of distillation", [
    I32EnumAttrCase<"ForwardKL", 0, "forward_kl">,
    I32EnumAttrCase<"ReverseKL", 1, "reverse_kl">,
    I32EnumAttrCase<"JensenShannon", 2, "jensen_shannon">,
    I32EnumAttrCase<"HiddenState", 3, "hidden_state">,
    I32EnumAttrCase<"CrossEntropy", 4, "cross_entropy">]> {
  let cppNamespace = "::retort::distill";
  let genSpecializedAttr = 0;
}

def Distill_StatisticAttr : AttrDef<Distill_Dialect, "Statistic"> {
  let mnemonic = "statistic";
  let summary = "What an observation counts or measures";
  let description = [{
    One of the table in dialects/Distill/Statistics.h, by its name.
    ```mlir
    #distill.statistic<ffn>
    ```
  }];
  let parameters = (ins AttrParameter<"::retort::distill::Statistic", "the statistic">:$value);
  let hasCustomAssemblyFormat = 1;
}

def Distill_ScheduleAttr
    : Retort_NamedAttr<Distill_Dialect, "Schedule", "schedule", "::retort::Schedule",
                       "How the learning rate falls after the warm-up">;

def Distill_Metric : I32EnumAttr<"Metric", "a figure of a distill.score", [
    I32EnumAttrCase<"BitsPerByte", 0, "bits_per_byte">, I32EnumAttrCase<"Acc", 1, "acc">,
    I32EnumAttrCase<"AccNorm", 2, "acc_norm">]> {
  let cppNamespace = "::retort::distill";
  let genSpecializedAttr = 0;
}
def Distill_MetricAttr : EnumAttr<Distill_Dialect, Distill_Metric, "metric"> {
  let assemblyFormat = "`` $value";
}

def Distill_FileAttr : AttrDef<Distill_Dialect, "File"> {
  let mnemonic = "file";
  let summary = "A file of the workspace, by its SHA-256";
  let description = [{
    ```mlir
    #distill.file<"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
    ```
    - (C1) 64 lower-case hexadecimal digits.
  }];
  let parameters = (ins StringRefParameter<>:$sha256);
  let assemblyFormat = "`<` $sha256 `>`";
  let genVerifyDecl = 1;
}

def Distill_LossAttr : AttrDef<Distill_Dialect, "Loss"> {
  let mnemonic = "loss";
  let summary = "One term of a training's loss";
  let description = [{
    The terms' weighted sum is what training minimises. Per row, with `p` the teacher's and `q` the
    student's distribution over tokens at `temperature` T (both logits are divided by it):

    - `forward_kl`: `T^2 * sum p ln(p/q)` (arXiv:1503.02531).
    - `reverse_kl`: `T^2 * sum q ln(q/p)` (MiniLLM, arXiv:2306.08543).
    - `jensen_shannon`: half of both against `(p + q) / 2`, times `T^2` (arXiv:2306.13649).
    - `hidden_state`: mean squared difference of blocks' outputs with the same label, over the
      mean square of the teacher's (arXiv:1909.10351, section 3).
    - `cross_entropy`: of the student's distribution (T = 1) against the document's next token.
    ```mlir
    #distill.loss<forward_kl, weight = 1.0, temperature = 1.0>
    #distill.loss<cross_entropy, weight = 0.5>
    ```
    - (C1) `weight` is finite and above 0.
    - (C2) `temperature` is finite and above 0; a kind that has none has it 1.
  }];
  let parameters = (ins EnumParameter<Distill_LossKind>:$kind, "::mlir::FloatAttr":$weightAttr,
                        "::mlir::FloatAttr":$temperatureAttr);
  let builders = [AttrBuilder<(ins "LossKind":$kind, "double":$weight,
                                   CArg<"double", "1.0">:$temperature)>];
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    double getWeight() const { return getWeightAttr().getValueAsDouble(); }
    double getTemperature() const { return getTemperatureAttr().getValueAsDouble(); }
    /// Whether the loss compares with a teacher.
    bool needsTeacher() const { return getKind() != LossKind::CrossEntropy; }
    /// Whether the loss compares distributions over tokens, and so has a temperature.
    bool hasTemperature() const;
  }];
}

#endif // RETORT_DIALECTS_DISTILL_DISTILLDIALECT_TD
