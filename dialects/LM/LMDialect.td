//===- LMDialect.td - The lm dialect, its enums and attributes ------------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_LM_LMDIALECT_TD
#define RETORT_DIALECTS_LM_LMDIALECT_TD

include "dialects/Common.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/DialectBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"

def LM_Dialect : Dialect {
  let name = "lm";
  let cppNamespace = "::retort::lm";
  let summary = "Language models at the level at which the field talks of them";
  let description = [{
    A model is an `lm.model`: its parameters (`lm.param`, each with a program in the `weight`
    dialect that makes it) and one `lm.forward`, the computation from tokens to logits, cut into
    `lm.block`s so that passes can drop, reorder or share layers. Parameters have GGUF's names
    whatever the checkpoint's format; a parameter's location is its name in the checkpoint.

    Activations are `tensor<?xHxf32>`: rows by features. A row is one token of one sequence; that
    rows belong to sequences matters only to `lm.attention`, whose cache is its own affair and not
    an operand. Linear layers hold outputs x inputs and compute `y = x W^T`. Rows of query and
    key projections are in the half-split order of Hugging Face everywhere in the IR.
  }];
  let dependentDialects = ["::retort::weight::WeightDialect"];
  let useDefaultAttributePrinterParser = 1;
}

def LM_ActivationAttr : Retort_NamedAttr<LM_Dialect, "Activation", "activation",
    "::retort::Activation", "the non-linearity of a gated unit">;
def LM_CacheFormatAttr : Retort_NamedAttr<LM_Dialect, "CacheFormat", "cache_format",
    "::retort::CacheFormat", "the number format of a key/value cache">;

def LM_RopeScalingKind : I32EnumAttr<"RopeScalingKind", "a way to stretch rotary embeddings", [
    I32EnumAttrCase<"Linear", 0, "linear">, I32EnumAttrCase<"Llama3", 1, "llama3">,
    I32EnumAttrCase<"YaRN", 2, "yarn">, I32EnumAttrCase<"Factors", 3, "factors">]> {
  let cppNamespace = "::retort::lm";
  let genSpecializedAttr = 0;
}

def LM_RopeScalingAttr : AttrDef<LM_Dialect, "RopeScaling"> {
  let mnemonic = "rope_scaling";
  let summary = "How rotary frequencies are stretched beyond the context a model was trained on";
  let description = [{
    Changes `lm.rope`'s inverse frequencies `f_i = base^(-2i/dims)`, as Hugging Face's
    `rope_scaling` of the same name does:

    - `linear`: `f_i / factor` (arXiv:2306.15595).
    - `llama3`: `f_i` where its wavelength is below `original_context / high_freq_factor`,
      `f_i / factor` where it is above `original_context / low_freq_factor`, in between a linear
      mix by `original_context / wavelength`.
    - `yarn` (arXiv:2309.00071): from `f_i` to `f_i / factor` by a linear ramp over `i`, whose ends
      are where `beta_fast` and `beta_slow` turns fit in `original_context` (rounded outwards to
      whole numbers unless `truncate = false`). The rotated values are multiplied by
      `attention_factor`; where it is absent, by `m(mscale) / m(mscale_all_dim)` if both
      are given and not 0, else by `m(1)`, with `m(s) = 0.1 s ln(factor) + 1`, or 1 for a factor of
      at most 1.
    - `factors`: `f_i / factors[i]`: a table out of the checkpoint (GGUF's `rope_freqs.weight`, and
      LongRoPE's, arXiv:2402.13753), one number for each pair of rotated features. The rotated
      values are multiplied by `attention_factor` if it is there.
    ```mlir
    #lm.rope_scaling<linear, factor = 8.0>
    #lm.rope_scaling<llama3, factor = 8.0, original_context = 8192.0, low_freq_factor = 1.0,
                     high_freq_factor = 4.0>
    #lm.rope_scaling<yarn, factor = 4.0, original_context = 32768.0>
    #lm.rope_scaling<factors, factors = [1.0, 8.0]>
    ```
    - (C1) `factor` is finite and above 0; for `factors` every factor is.
    - (C2) `llama3` and `yarn` have an `original_context` of at least 1.
    - (C3) `llama3`: `high_freq_factor` is above `low_freq_factor`, which is above 0.
    - (C4) `yarn`: `beta_fast` is at least `beta_slow`, which is above 0.
    - (C5) `attention_factor` is finite and above 0.
  }];
  let parameters = (ins
    EnumParameter<LM_RopeScalingKind>:$kind,
    "::mlir::DictionaryAttr":$fields);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// A field that is a number, or `otherwise` where it is absent.
    double getNumber(::llvm::StringRef field, double otherwise) const;
    double getFactor() const { return getNumber("factor", 1.0); }
    double getOriginalContext() const { return getNumber("original_context", 0.0); }
    double getLowFreqFactor() const { return getNumber("low_freq_factor", 1.0); }
    double getHighFreqFactor() const { return getNumber("high_freq_factor", 4.0); }
    double getBetaFast() const { return getNumber("beta_fast", 32.0); }
    double getBetaSlow() const { return getNumber("beta_slow", 1.0); }
    bool getTruncate() const;
    ::llvm::ArrayRef<double> getFactors() const;
    /// What the rotated values are multiplied by (the attention factor of yarn and of tables); 1
    /// for other kinds.
    double getAmplitude() const;
    /// Fields are set by name, as they print; numbers are f64.
    static RopeScalingAttr get(::mlir::MLIRContext *context, RopeScalingKind kind,
                               ::llvm::ArrayRef<std::pair<::llvm::StringRef, double>> numbers);
    static RopeScalingAttr getTable(::mlir::MLIRContext *context, ::llvm::ArrayRef<double> factors,
                                    double amplitude = 1);
  }];
}

def LM_ShardAttr : AttrDef<LM_Dialect, "Shard"> {
  let mnemonic = "shard";
  let summary = "Which part of a model cut over several devices a model is";
  let description = [{
    `partition` marks each part with it. The part writes `logits` of the vocabulary's logits, from
    `begin` on; the parts' ranges follow each other and cover the vocabulary once.
    ```mlir
    #lm.shard<device = 0, devices = 2, begin = 0, logits = 24576>
    ```
    - (C1) `device` is below `devices`, which is at least 2.
    - (C2) `begin` is not negative and `logits` at least 1.
  }];
  let parameters = (ins "int64_t":$device, "int64_t":$devices, "int64_t":$begin, "int64_t":$logits);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

#endif // RETORT_DIALECTS_LM_LMDIALECT_TD
