//===- LMOps.td - Operations of the lm dialect ----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_LM_LMOPS_TD
#define RETORT_DIALECTS_LM_LMOPS_TD

include "dialects/LM/LMDialect.td"
include "dialects/LM/LMInterfaces.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "dialects/Common.td"
include "mlir/IR/CommonTypeConstraints.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def LM_Rows : Type<CPred<"::retort::lm::isRows($_self)">,
    "rows of features, tensor<?xHxf32>", "::mlir::RankedTensorType">;
def LM_Tokens : Type<
    CPred<"$_self == ::mlir::RankedTensorType::get({::mlir::ShapedType::kDynamic}, "
          "::mlir::IntegerType::get($_self.getContext(), 32))">,
    "token ids, tensor<?xi32>", "::mlir::RankedTensorType">,
    BuildableType<"::mlir::RankedTensorType::get({::mlir::ShapedType::kDynamic}, "
                  "$_builder.getI32Type())">;
def LM_ParamType : TypeAttrBase<"::mlir::RankedTensorType",
    "the type of a parameter: a static vector or matrix, quantised, packed or not">;

class LM_Op<string mnemonic, list<Trait> traits = []> : Op<LM_Dialect, mnemonic, traits>;
/// An op that reads parameters: their shapes are those that it declares (`getParamUses`), and its
/// result prints under its first parameter's name, %attn_q for @blk.0.attn_q.weight.
class LM_ParamUser<string mnemonic, list<Trait> traits = []> : LM_Op<mnemonic, !listconcat(
    [Pure, DeclareOpInterfaceMethods<LM_ParamUserOpInterface>,
     DeclareOpInterfaceMethods<SymbolUserOpInterface>,
     DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmResultNames"]>], traits)> {
  let extraClassDefinition = [{
    ::mlir::LogicalResult $cppClass::verifySymbolUses(::mlir::SymbolTableCollection &symbols) {
      return ::retort::lm::verifyParamUses(*this, symbols);
    }
    void $cppClass::getAsmResultNames(::mlir::OpAsmSetValueNameFn setName) {
      setName(getResult(), ::retort::lm::shortName(getParamUses().front().param.getValue()));
    }
  }];
}

def LM_ModelOp : LM_Op<"model", [
    IsolatedFromAbove, NoRegionArguments, NoTerminator, SingleBlock, Symbol, SymbolTable]> {
  let summary = "Hold a model's parameters and its computation";
  let description = [{
    `family` is the architecture's name as the checkpoint has it; nothing after import
    depends on it. `context` counts positions, `vocab` tokens, `hidden` features. After vocabulary
    pruning `vocab_kept` holds the kept tokens' ids in the teacher's vocabulary: token `i` of this
    model is the teacher's token `vocab_kept[i]`. A model that is one device's part of a whole has a
    `shard`: it needs the other devices' parts to run, with which it meets at each `lm.all_reduce`.
    ```mlir
    lm.model @teacher family "llama" context 128 vocab 16 hidden 8 {
      lm.param @token_embd.weight : tensor<16x8xf32> {
        %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
        weight.yield %0 : tensor<16x8xf32>
      }
      lm.forward {
      ^bb0(%tokens: tensor<?xi32>):
        %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
        %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
        lm.return %l : tensor<?x16xf32>
      }
    }
    ```
    - (C1) `context`, `vocab` and `hidden` are at least 1.
    - (C2) There is exactly one `lm.forward`, and nothing else but parameters.
    - (C3) `vocab_kept` has `vocab` entries, ascending, none negative.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$family, Retort_Int:$context,
                       Retort_Int:$vocab, Retort_Int:$hidden,
                       OptionalAttr<DenseI32ArrayAttr>:$vocab_kept,
                       OptionalAttr<LM_ShardAttr>:$shard,
                       OptionalAttr<StrAttr>:$sym_visibility);
  let regions = (region SizedRegion<1>:$bodyRegion);
  let assemblyFormat = [{
    $sym_name `family` $family `context` $context `vocab` $vocab `hidden` $hidden
    attr-dict-with-keyword $bodyRegion
  }];
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::llvm::StringRef":$family,
                                 "int64_t":$context, "int64_t":$vocab, "int64_t":$hidden)>];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    /// The computation; a verified model has one.
    ForwardOp getForward();
    /// The parameter called `name`, or null.
    ParamOp lookupParam(::llvm::StringRef name);
    /// The blocks, first layer first.
    ::llvm::SmallVector<BlockOp> getBlocks();
    /// Erases the parameters that no op of the computation reads; returns how many they were.
    unsigned eraseUnusedParams();
    /// `name` if no parameter has it, or the first free one of x.1.weight, x.2.weight, ... for
    /// x.weight.
    std::string getFreeParamName(::llvm::StringRef name);
  }];
}

def LM_ParamOp : LM_Op<"param", [
    HasParent<"ModelOp">, IsolatedFromAbove, NoRegionArguments, SingleBlock, Symbol]> {
  let summary = "Say how a parameter is made";
  let description = [{
    The body is a program of the `weight` dialect that ends in `weight.yield`. The location is
    the parameter's name in the checkpoint.
    ```mlir
    lm.param @blk.0.ffn_up.weight : tensor<4x8xf32> {
      %0 = weight.load "blk.0.ffn_up.weight" stored "Q4_1" : tensor<16x8xf32>
      %1 = weight.take %0 rows [0, 3, 8, 9] : tensor<16x8xf32> -> tensor<4x8xf32>
      weight.yield %1 : tensor<4x8xf32>
    }
    ```
    - (C1) `type` is a static vector or matrix of f32, f16 or bf16, a quantised matrix, or packed
      bytes.
    - (C2) The body ends in a `weight.yield` of that type.
    - (C3) The body has only ops of the `weight` dialect.
    - (C4) `rounds_to`, the format that this matrix is rounded to where it is not that of its kind
      (`choose-formats` sets it, `distill.fit` and `distill.train` read it, `quantize-weights` obeys
      and removes it), is of a matrix that is not quantised.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, LM_ParamType:$type,
                       OptionalAttr<Retort_Format>:$rounds_to,
                       OptionalAttr<StrAttr>:$sym_visibility);
  let regions = (region SizedRegion<1>:$bodyRegion);
  let assemblyFormat = "$sym_name `:` $type attr-dict-with-keyword $bodyRegion";
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$name, "::mlir::RankedTensorType":$type)>];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getParamType() {
      return ::llvm::cast<::mlir::RankedTensorType>(getType());
    }
    ::llvm::ArrayRef<int64_t> getShape() { return getParamType().getShape(); }
    /// The op that ends the program.
    ::retort::weight::YieldOp getYield();
    /// The program's value, before the yield.
    ::mlir::Value getProgramValue();
    /// Makes `value`, an op's result in this program, what the program yields, and its type the
    /// parameter's.
    void setProgramValue(::mlir::Value value);
    /// A builder that inserts before the yield, at the parameter's location.
    ::mlir::ImplicitLocOpBuilder getProgramBuilder();
    /// The parameter's name in the checkpoint: its location's, or its own where it has none.
    ::llvm::StringRef getCheckpointName();
  }];
}

def LM_ForwardOp : LM_Op<"forward", [
    HasParent<"ModelOp">, SingleBlock,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "Compute the logits of rows of tokens";
  let description = [{
    The model's computation: from the rows' token ids to their logits.
    ```mlir
    lm.forward {
    ^bb0(%tokens: tensor<?xi32>):
      %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
      %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
      lm.return %l : tensor<?x16xf32>
    }
    ```
    - (C1) The region has one argument, `tensor<?xi32>`.
    - (C2) The result has the model's `vocab` features, of a shard its `logits`.
    - (C3) Blocks' labels differ.
    - (C4) An op declares every parameter that it names (`ParamUserOpInterface`).
  }];
  let regions = (region SizedRegion<1>:$bodyRegion);
  let assemblyFormat = "attr-dict-with-keyword $bodyRegion";
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins)>];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::BlockArgument getTokens() { return getBody()->getArgument(0); }
    /// The blocks, first layer first.
    ::llvm::SmallVector<BlockOp> getBlocks();
    ReturnOp getReturn();
  }];
}

def LM_ReturnOp : LM_Op<"return", [Pure, Terminator, HasParent<"ForwardOp">]> {
  let summary = "End the computation with the rows' logits";
  let description = [{
    ```mlir
    lm.return %l : tensor<?x16xf32>
    ```
  }];
  let arguments = (ins LM_Rows:$logits);
  let assemblyFormat = "$logits attr-dict `:` type($logits)";
}

def LM_BlockOp : LM_Op<"block", [
    Pure, IsolatedFromAbove, AllTypesMatch<["input", "result"]>, SingleBlock,
    DeclareOpInterfaceMethods<OpAsmOpInterface, ["getAsmBlockArgumentNames"]>]> {
  let summary = "Group a transformer layer";
  let description = [{
    One layer of the model. Its label is `blk.N`, N being its number in the teacher: when passes
    drop blocks the others keep their labels, and so their parameters' names. A block only adds to
    the residual stream, so its input may stand in for its result.
    ```mlir
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x8xf32>):
      %n = lm.norm %a, @blk.0.attn_norm.weight eps 1.0e-5 : tensor<?x8xf32>
      %r = lm.residual %a, %n : tensor<?x8xf32>
      lm.yield %r : tensor<?x8xf32>
    } : tensor<?x8xf32>
    ```
    - (C1) `label` is not empty.
    - (C2) The region has one argument, of the operand's type, and yields that type.
    - (C3) It stands in an `lm.forward`.
  }];
  let arguments = (ins StrAttr:$label, LM_Rows:$input);
  let results = (outs LM_Rows:$result);
  let regions = (region SizedRegion<1>:$bodyRegion);
  let assemblyFormat = "$label `(` $input `)` $bodyRegion attr-dict `:` type($input)";
  let skipDefaultBuilders = 1;
  let builders = [OpBuilder<(ins "::llvm::StringRef":$label, "::mlir::Value":$input)>];
  let hasRegionVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::BlockArgument getEntry() { return getBody()->getArgument(0); }
    YieldOp getYield();
  }];
}

def LM_YieldOp : LM_Op<"yield", [Pure, Terminator, HasParent<"BlockOp">]> {
  let summary = "End a block with the residual stream";
  let description = [{
    ```mlir
    lm.yield %r : tensor<?x8xf32>
    ```
  }];
  let arguments = (ins LM_Rows:$value);
  let assemblyFormat = "$value attr-dict `:` type($value)";
}

def LM_EmbedOp : LM_ParamUser<"embed"> {
  let summary = "Look tokens up in the embedding table";
  let description = [{
    Row `r` of the result is row `tokens[r]` of the table, times `scale` (Gemma: sqrt(hidden)).
    ```mlir
    %x = lm.embed %tokens, @token_embd.weight scale 24.0 : tensor<?x8xf32>
    ```
    - (C1) The table is vocab x features: the model's `vocab`, the result's features.
    - (C2) `scale` is finite.
  }];
  let arguments = (ins LM_Tokens:$tokens, FlatSymbolRefAttr:$weight,
                       DefaultValuedAttr<Retort_Float, "1.0">:$scale);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = "$tokens `,` $weight (`scale` $scale^)? attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def LM_NormOp : LM_ParamUser<"norm", [
    AllTypesMatch<["input", "result"]>, LM_HeadwiseOpInterface]> {
  let summary = "Normalise by the root mean square";
  let description = [{
    `y[i] = w[i] * x[i] / sqrt(mean(x^2) + eps)` for each row (arXiv:1910.07467). With `groups n`
    a row's features are cut into n equal runs, each normalised alone and by the same gain: the
    norm of query and key heads in Qwen3 and Gemma 3. With `offset` the gain is `1 + w` (Gemma).
    ```mlir
    %n = lm.norm %x, @blk.0.attn_norm.weight eps 1.0e-5 : tensor<?x8xf32>
    %k = lm.norm %q, @blk.0.attn_q_norm.weight eps 1.0e-6 groups 2 offset : tensor<?x8xf32>
    ```
    - (C1) `eps` is finite and not negative.
    - (C2) `groups` is at least 1 and divides the features.
    - (C3) The gain is a vector of features / groups numbers.
  }];
  let arguments = (ins LM_Rows:$input, FlatSymbolRefAttr:$weight, Retort_Float:$eps,
                       DefaultValuedAttr<Retort_Int, "1">:$groups, UnitAttr:$offset);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = [{
    $input `,` $weight `eps` $eps (`groups` $groups^)? (`offset` $offset^)? attr-dict
    `:` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getNumHeads() { return getGroups(); }
    void setNumHeads(int64_t count) { setGroups(count); }
  }];
}

def LM_LayerNormOp : LM_ParamUser<"layer_norm", [AllTypesMatch<["input", "result"]>]> {
  let summary = "Normalise by mean and deviation";
  let description = [{
    `y[i] = w[i] * (x[i] - m) / sqrt(v + eps) + b[i]` for each row, `m` being the mean of its
    features and `v` that of their squared distances from it (arXiv:1607.06450): the norm of
    StableLM.
    ```mlir
    %n = lm.layer_norm %x, @blk.0.attn_norm.weight bias @blk.0.attn_norm.bias eps 1.0e-5
         : tensor<?x8xf32>
    ```
    - (C1) `eps` is finite and not negative.
    - (C2) The gain and the bias are vectors of the features.
  }];
  let arguments = (ins LM_Rows:$input, FlatSymbolRefAttr:$weight, FlatSymbolRefAttr:$bias,
                       Retort_Float:$eps);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = "$input `,` $weight `bias` $bias `eps` $eps attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def LM_LinearOp : LM_ParamUser<"linear"> {
  let summary = "Multiply by a matrix";
  let description = [{
    `y = x W^T + b`. The matrix is outputs x inputs and may be quantised; the bias is optional.
    ```mlir
    %q = lm.linear %n, @blk.0.attn_q.weight bias @blk.0.attn_q.bias
         : tensor<?x8xf32> -> tensor<?x16xf32>
    ```
    - (C1) The matrix is (result's features) x (operand's features).
    - (C2) The bias is a vector of the result's features.
  }];
  let arguments = (ins LM_Rows:$input, FlatSymbolRefAttr:$weight,
                       OptionalAttr<FlatSymbolRefAttr>:$bias);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = [{
    $input `,` $weight (`bias` $bias^)? attr-dict `:` type($input) `->` type($result)
  }];
}

def LM_SplitOp : LM_Op<"split", [Pure]> {
  let summary = "Cut rows into runs of features";
  let description = [{
    Undoes a fused linear layer: the first result has the first features, and so on.
    ```mlir
    %q, %k, %v = lm.split %qkv
        : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>
    ```
    A split into one part is its operand.
    - (C1) There is at least one result, and their features add up to the operand's.
  }];
  let arguments = (ins LM_Rows:$input);
  let results = (outs Variadic<LM_Rows>:$results);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($results)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

def LM_RopeOp : LM_Op<"rope", [
    Pure, AllTypesMatch<["input", "result"]>, LM_HeadwiseOpInterface]> {
  let summary = "Rotate each head's features by the row's position";
  let description = [{
    Rotary embeddings (arXiv:2104.09864) in half-split order: of each head's first `dims` features,
    features `i` and `i + dims/2` are a pair, turned by `position * base^(-2i/dims)` radians
    (`scaling` changes that: see `#lm.rope_scaling`). The remaining features pass unchanged. With
    `length_scale b every n` what is rotated is multiplied by
    `1 + b ln(1 + floor(position / n))`, so that attention to long contexts stays sharp (Llama 4,
    Ministral 3).
    ```mlir
    %r = lm.rope %q heads 2 dims 4 base 1.0e4 : tensor<?x8xf32>
    %s = lm.rope %q heads 2 dims 4 base 5.0e5 scaling <linear, factor = 8.0> : tensor<?x8xf32>
    %t = lm.rope %q heads 2 dims 4 base 1.0e6 length_scale 0.1 every 16384 : tensor<?x8xf32>
    ```
    - (C1) `heads` is at least 1 and divides the features.
    - (C2) `dims` is even, at least 2 and at most features / heads.
    - (C3) `base` is finite and above 0.
    - (C4) `factors` scaling has dims / 2 factors.
    - (C5) `length_scale` is finite and not negative, and `every` at least 1; one comes with the
      other.
  }];
  let arguments = (ins LM_Rows:$input, Retort_Int:$heads, Retort_Int:$dims, Retort_Float:$base,
                       OptionalAttr<LM_RopeScalingAttr>:$scaling,
                       OptionalAttr<Retort_Float>:$length_scale, OptionalAttr<Retort_Int>:$every);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = [{
    $input `heads` $heads `dims` $dims `base` $base (`scaling` $scaling^)?
    (`length_scale` $length_scale^ `every` $every)? attr-dict `:` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getHeadDim() { return getType().getDimSize(1) / int64_t(getHeads()); }
    int64_t getNumHeads() { return getHeads(); }
    void setNumHeads(int64_t count) { setHeads(count); }
    /// Radians per position of each of the dims / 2 pairs, `scaling` applied.
    ::llvm::SmallVector<double> getInverseFrequencies();
    /// What the rotated features are multiplied by besides.
    double getAmplitude();
    /// What `length_scale` multiplies them by at positions 0, every, 2 every, ... below
    /// `positions`; empty without it.
    ::llvm::SmallVector<double> getLengthSteps(int64_t positions);
  }];
}

def LM_AttentionOp : LM_Op<"attention", [
    Pure, // The cache is a function of the K and V rows: equal operands, equal cache.
    AllTypesMatch<["query", "result"]>, AllTypesMatch<["key", "value"]>,
    DeclareOpInterfaceMethods<LM_ParamUserOpInterface>,
    DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "Causal grouped-query attention over a sequence's rows";
  let description = [{
    Each row attends to its sequence's earlier rows and itself, for each query head:
    `softmax(scale * Q K^T) V`. Query head `h` reads key/value head `h / (heads / kv_heads)`
    (arXiv:2305.13245). With `window`, only the latest `window` rows are seen, itself included
    (arXiv:2310.06825, section 2). With `soft_cap c` the scores become `c * tanh(score / c)`
    before the softmax (arXiv:2408.00118, section 2). `sinks` has a number for each query head, the
    score of one more key whose value is zero (arXiv:2309.17453): it takes a part of the softmax
    and gives nothing. Neither `scale` nor `soft_cap` touches it. Keys and values of earlier rows
    come from a cache, kept in the format `cache` (f32 unless said), rounded to nearest even.
    `f8e4m3` has no scale and saturates at 448, as vLLM's cache of that name does without
    calibration.
    ```mlir
    %o = lm.attention %q, %k, %v heads 2 kv_heads 1 scale 0.5 window 4096 soft_cap 5.0e+1 cache f16
         : tensor<?x8xf32>, tensor<?x4xf32>
    %p = lm.attention %q, %k, %v heads 2 kv_heads 1 scale 0.5 sinks @blk.0.attn_sinks.weight
         : tensor<?x8xf32>, tensor<?x4xf32>
    ```
    - (C1) `heads` and `kv_heads` are at least 1, and `heads` is a multiple of `kv_heads`.
    - (C2) `query` is rows x (heads * head_dim), `key` and `value` are rows x (kv_heads * head_dim).
    - (C3) `scale` is finite; `soft_cap` is finite and above 0; `window` is at least 1.
    - (C4) `sinks` is a vector of `heads` numbers.
  }];
  let arguments = (ins LM_Rows:$query, LM_Rows:$key, LM_Rows:$value, Retort_Int:$heads,
                       Retort_Int:$kv_heads, Retort_Float:$scale, OptionalAttr<Retort_Int>:$window,
                       OptionalAttr<Retort_Float>:$soft_cap,
                       OptionalAttr<FlatSymbolRefAttr>:$sinks,
                       DefaultValuedAttr<LM_CacheFormatAttr, "::retort::CacheFormat::F32">:$cache);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value `heads` $heads `kv_heads` $kv_heads `scale` $scale
    (`window` $window^)? (`soft_cap` $soft_cap^)? (`sinks` $sinks^)? (`cache` $cache^)? attr-dict
    `:` type($query) `,` type($key)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t getHeadDim() { return getType().getDimSize(1) / int64_t(getHeads()); }
  }];
}

def LM_GluOp : LM_Op<"glu", [Pure, SameOperandsAndResultType]> {
  let summary = "Gate by a non-linearity";
  let description = [{
    `act(gate) * up`, feature by feature (arXiv:2002.05202). `silu(x) = x / (1 + e^-x)`, `gelu` is
    exact (by erf), `gelu_tanh` its approximation by tanh, `sigmoid(x) = 1 / (1 + e^-x)`.
    ```mlir
    %g = lm.glu %gate, %up act silu : tensor<?x16xf32>
    ```
  }];
  let arguments = (ins LM_Rows:$gate, LM_Rows:$up, LM_ActivationAttr:$act);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = "$gate `,` $up `act` $act attr-dict `:` type($result)";
}

def LM_GateOp : LM_Op<"gate", [Pure, SameOperandsAndResultType]> {
  let summary = "Let an output through as far as a gate opens";
  let description = [{
    `act(gate) * input`, feature by feature, as `lm.glu` computes it. That one makes the channels of
    an FFN out of two projections; this one stands behind a whole computation, as the gate on
    attention's output does (arXiv:2505.06708), and belongs to it.
    ```mlir
    %g = lm.gate %o by %gate act sigmoid : tensor<?x8xf32>
    ```
  }];
  let arguments = (ins LM_Rows:$input, LM_Rows:$gate, LM_ActivationAttr:$act);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = "$input `by` $gate `act` $act attr-dict `:` type($result)";
}

def LM_ResidualOp : LM_Op<"residual", [Pure, SameOperandsAndResultType]> {
  let summary = "Add a layer's output to the residual stream";
  let description = [{
    ```mlir
    %h = lm.residual %stream, %output : tensor<?x8xf32>
    ```
  }];
  let arguments = (ins LM_Rows:$stream, LM_Rows:$output);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = "$stream `,` $output attr-dict `:` type($result)";
}

def LM_AllReduceOp : LM_Op<"all_reduce", [Pure, SameOperandsAndResultType]> {
  let summary = "Add up what each device has of rows' features";
  let description = [{
    Stands in a model that is cut over devices (`shard`), after a product whose input features are
    shared out: each device has a partial sum of every output feature. The result is the sum over
    the devices, device 0's first, and so the same bits on all of them. An op of its own and not a
    property of `lm.residual`, since in some families a norm stands between the product and the
    residual; lowering fuses it with what follows where it can.
    ```mlir
    %s = lm.all_reduce %o : tensor<?x8xf32>
    ```
    - (C1) The model has a `shard`.
  }];
  let arguments = (ins LM_Rows:$partial);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = "$partial attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def LM_LogitsOp : LM_ParamUser<"logits"> {
  let summary = "Score every token of the vocabulary";
  let description = [{
    `y = x W^T`, with `soft_cap c` then `c * tanh(y / c)`. The matrix is vocab x features: the
    embedding table where the model ties them.
    ```mlir
    %l = lm.logits %f, @token_embd.weight soft_cap 3.0e+1 : tensor<?x8xf32> -> tensor<?x16xf32>
    ```
    - (C1) The matrix is (result's features) x (operand's features).
    - (C2) `soft_cap` is finite and above 0.
  }];
  let arguments = (ins LM_Rows:$input, FlatSymbolRefAttr:$weight,
                       OptionalAttr<Retort_Float>:$soft_cap);
  let results = (outs LM_Rows:$result);
  let assemblyFormat = [{
    $input `,` $weight (`soft_cap` $soft_cap^)? attr-dict `:` type($input) `->` type($result)
  }];
  let hasVerifier = 1;
}

#endif // RETORT_DIALECTS_LM_LMOPS_TD
