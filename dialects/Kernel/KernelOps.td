//===- KernelOps.td - Programs, buffers, phases and tile ops -----------*- tablegen -*-===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_KERNEL_OPS_TD
#define RETORT_KERNEL_OPS_TD
include "dialects/Kernel/KernelDialect.td"
include "dialects/Kernel/TileOpInterface.td"
include "mlir/IR/BuiltinAttributes.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/IR/SymbolInterfaces.td"

class Kernel_Op<string mnemonic, list<Trait> traits = []> : Op<Kernel_Dialect, mnemonic, traits>;

/// A tile op: stands in a phase and names buffers, each with how it touches it. `methods`: of the
/// interface, those that the op does not leave to their default.
class Kernel_TileOp<string mnemonic, list<string> methods = []>
    : Kernel_Op<mnemonic, [HasParent<"PhaseOp">, SymbolUserOpInterface,
                           DeclareOpInterfaceMethods<TileOpInterface, methods>]>;

def PositiveI64 : ConfinedAttr<I64Attr, [IntPositive]>;
def NaturalI64 : ConfinedAttr<I64Attr, [IntNonNegative]>;

def Kernel_ProgramOp : Kernel_Op<"program", [IsolatedFromAbove, Symbol, SymbolTable, SingleBlock,
                                             NoTerminator, NoRegionArguments]> {
  let summary = "One step of one model: buffers, then phases in order";
  let description = [{
    `max_rows` is the most rows of a step, `page_rows` the positions in a page of the KV cache.
    `plan-buffers` sets `page_bytes` (a page holds every block's share), `activation_bytes` and
    `weight_bytes`. A model has one program for a CPU (no `target`), and two for CUDA over the same
    weights and the same cache: `decode` for few rows, bound by weight bytes, and `prefill` for
    many, bound by arithmetic. On two devices each has such a pair, `device d of 2`: they have other
    shapes, and the same exchanges in the same order; `logits_begin` is the first of the logits that
    this device writes. Run by test/dialects/Kernel/ops.mlir:
    ```mlir
    kernel.program @m max_rows 64 page_rows 16 vocab 512 { ... }
    kernel.program @m.decode target "cuda" step "decode" max_rows 16 page_rows 16 vocab 512 { ... }
    ```
    - (C1) Buffers come before phases.
    - (C2) A `kernel.wait` names an earlier phase.
    - (C3) `target` is `cuda` or absent; with it `step` is `decode` or `prefill`, without it absent.
    - (C4) A decode step has at most 16 rows: a tensor core's tile.
    - (C5) `device` is below `devices`, which is 2, and the target is `cuda`.
    - (C6) Exchanges are numbered in order from 0.
    - (C7) Between an exchange and the next phase that sends stands a `kernel.wait`.
    - (C8) There are at most 254 exchanges (127 layers): their flags are numbered in 16 bits.
    - (C9) Between a phase that writes a buffer and another that touches it stands a `kernel.wait`
      for the first of the two; if one of them writes it on the other device, a `kernel.exchange`.
      What was received is read, and a wait follows, before the device sends again: the other device
      takes that as a sign that it may send too.
    - (C10) An op of a phase reads, of what another op of the phase writes, only what its own tile
      made, and writes nothing that another tile touches.
    - (C11) An activation is written before it is read; what is received was sent for the last
      exchange.
    - (C12) Two activations that share bytes are not used between the same two waits.

    These rules follow from the accesses that tile ops declare; lower-to-kernel puts waits where
    (C9) asks for one.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, OptionalAttr<StrAttr>:$target,
                       OptionalAttr<StrAttr>:$step, PositiveI64:$max_rows, PositiveI64:$page_rows,
                       PositiveI64:$vocab, OptionalAttr<NaturalI64>:$page_bytes,
                       OptionalAttr<NaturalI64>:$activation_bytes,
                       OptionalAttr<NaturalI64>:$weight_bytes,
                       OptionalAttr<NaturalI64>:$device, OptionalAttr<PositiveI64>:$devices,
                       OptionalAttr<NaturalI64>:$logits_begin);
  let regions = (region SizedRegion<1>:$body);
  let extraClassDeclaration = [{
    /// Devices that work together on a step.
    int64_t numDevices() { return getDevices().value_or(1); }
    /// Of all flagged buffers, once planned; a multiple of 64.
    int64_t flaggedBytes();
    bool isCuda() { return getTarget() == "cuda"; }
    bool isDecode() { return getStep() == "decode"; }
  }];
  let assemblyFormat = "$sym_name (`target` $target^)? (`step` $step^)? "
                       "(`device` $device^ `of` $devices `logits_begin` $logits_begin)? "
                       "`max_rows` $max_rows `page_rows` $page_rows `vocab` $vocab "
                       "(`page_bytes` $page_bytes^)? (`activation_bytes` $activation_bytes^)? "
                       "(`weight_bytes` $weight_bytes^)? attr-dict-with-keyword $body";
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
}

def Kernel_BufferOp : Kernel_Op<"buffer", [HasParent<"ProgramOp">, Symbol]> {
  let summary = "Memory of a program";
  let description = [{
    `type` is the logical shape: weights OUT x IN with their format, activations max_rows x
    features, a block's cache 2 (K, V) x kv_heads x page_rows x head_dim. `offset` is in bytes from
    the start of what `kind` says (received while decoding: of the part of `sync` that is for it), a
    multiple of 64; `bytes` is what the buffer takes there (for
    packed weights what the layout takes, which the logical shape does not tell).
    - (C1) The type is a ranked tensor of static shape, with at least one dimension.
    - (C2) `offset` is a multiple of 64.
    - (C3) An activation, received or not, has max_rows rows.
    - (C4) A cache is 2 x kv_heads x page_rows x head_dim of f32, f16, bf16 or f8E4M3FN.
    - (C5) Weights say their `bytes`, and those of rank 2 their `format` (`f32`, `i8g32`, `i4g128a`,
      ...) and a `layout`: `rows16` or `rows16_gated` for a CPU, `mma16` or `mma16_gated` for CUDA.
    - (C6) A constant has a `value` of its type, nothing else has one.
    - (C7) Only a program for several devices has `received` buffers.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, Kernel_BufferKind:$kind, TypeAttr:$type,
                       OptionalAttr<Kernel_FormatAttr>:$format,
                       OptionalAttr<Kernel_LayoutAttr>:$layout,
                       OptionalAttr<NaturalI64>:$bytes, OptionalAttr<NaturalI64>:$offset,
                       OptionalAttr<ElementsAttr>:$value);
  let assemblyFormat = "$sym_name $kind $type (`format` $format^)? (`layout` $layout^)? "
                       "(`bytes` $bytes^)? (`offset` $offset^)? (`value` $value^)? attr-dict";
  let extraClassDeclaration = [{
    ::mlir::RankedTensorType getTensor() {
      return ::mlir::cast<::mlir::RankedTensorType>(getType());
    }
    /// Bytes that the buffer takes: `bytes` if given, else what its shape and element type take.
    int64_t sizeInBytes();
    /// Received while decoding: each value with its flag, in `sync` and not among the activations
    /// (kernels/cuda/exchange.cuh).
    bool isFlagged();
  }];
  let hasVerifier = 1;
}

def Kernel_PhaseOp : Kernel_Op<"phase", [HasParent<"ProgramOp">, Symbol, SingleBlock, NoTerminator,
                                         NoRegionArguments]> {
  let summary = "Independent tiles, each run by the ops of the body in order";
  let description = [{
    The tile space is `tiles` tiles, or with `per_row` that many for each row of the step, or with
    `row_tile` n that many for each n rows begun; with `row_parts` p a row is p of what `row_tile`
    counts (attention: the query heads that share a key/value head). `label` names the layer
    (`blk.3`). A `kernel.stage` in the body runs once for a worker that has any tile of the phase
    (with `row_tile` for each n rows); the other ops run for each tile, and say what a tile is to
    them and how many there are.
    - (C1) Only a program for prefill has phases with `row_tile`, and these have no `per_row`;
      `row_parts` comes with it.
    - (C2) The phase has the tiles that its ops need.
    - (C3) What an op names is a buffer, and the op's arguments say how it is touched. Weights,
      constants and inputs are only read; buffers for what is received, and no others, are sent to
      and received.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$label, PositiveI64:$tiles,
                       UnitAttr:$per_row, OptionalAttr<PositiveI64>:$row_tile,
                       OptionalAttr<PositiveI64>:$row_parts);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name $label `tiles` $tiles (`per_row` $per_row^)? "
                       "(`row_tile` $row_tile^)? (`row_parts` $row_parts^)? attr-dict-with-keyword "
                       "$body";
  let extraClassDeclaration = [{ ::retort::cuda::TileSpace getTileSpace(); }];
  let hasVerifier = 1;
}

def Kernel_WaitOp : Kernel_Op<"wait", [HasParent<"ProgramOp">]> {
  let summary = "Wait until a phase, and all before it, are done by all workers";
  let arguments = (ins FlatSymbolRefAttr:$phase);
  let assemblyFormat = "$phase attr-dict";
}

def Kernel_ExchangeOp : Kernel_Op<"exchange", [HasParent<"ProgramOp">]> {
  let summary = "Wait for a phase and all before it; then what the other device sends may be read";
  let description = [{
    What a `kernel.wait` is to the workers of a device, and more: what the other device sends
    (`send` of `kernel.matmul`) may be read. No data moves here: products store their results into
    the other device's memory as they make them (one-shot push), while decoding each value with a
    flag, which its reader waits for (kernels/cuda/exchange.cuh); in prefill one flag says that all
    is there, and this op waits for it. `index` counts the program's exchanges; flags and receive
    buffers alternate by it. That suffices: a device sends for exchange i + 2 after it has read what
    it received in exchange i + 1, so after the other device had read what that one received in
    exchange i. Run by test/dialects/Kernel/exchange.mlir:
    ```mlir
    kernel.exchange @out index 0
    ```
  }];
  let arguments = (ins FlatSymbolRefAttr:$phase, NaturalI64:$index);
  let assemblyFormat = "$phase `index` $index attr-dict";
}

//===----------------------------------------------------------------------===//
// Tile ops
//===----------------------------------------------------------------------===//

def Kernel_EmbedOp : Kernel_TileOp<"embed"> {
  let summary = "Rows of the embedding table, a tile a row";
  let description = [{
    `dest[r] = scale * table[tokens[r]]`.
    - (C1) The table is a matrix of weights, and `dest` is max_rows x its columns.
    - (C2) The phase has one tile per row.
  }];
  let arguments = (ins Buffer<ReadOwn>:$tokens, Buffer<Read>:$table, Buffer<WriteOwn>:$dest,
                       F32Attr:$scale);
  let assemblyFormat = "$tokens `,` $table `->` $dest `scale` $scale attr-dict";
}

def Kernel_AnglesOp : Kernel_TileOp<"angles"> {
  let summary = "Cosines and sines of the rotary embedding, a tile a row";
  let description = [{
    `dest[r][i] = scale * cos(positions[r] * inv_freq[i])` for the first half of the columns, sine
    for the second (RoFormer, arXiv:2104.09864). `scale` is yarn's attention factor, else 1.
    With `steps` a row is multiplied by `steps[positions[r] / every]` as well.
    - (C1) `dest` is max_rows x twice the length of `inv_freq`, f32.
    - (C2) `steps` is a constant vector, and comes with `every`.
  }];
  let arguments = (ins Buffer<ReadOwn>:$positions, Buffer<Read>:$inv_freq,
                       Buffer<WriteOwn>:$dest, F32Attr:$scale,
                       OptionalBuffer<Read>:$steps, OptionalAttr<PositiveI64>:$every);
  let assemblyFormat = "$positions `,` $inv_freq `->` $dest `scale` $scale "
                       "(`steps` $steps^ `every` $every)? attr-dict";
}

def Kernel_StageOp : Kernel_TileOp<"stage", ["getTileSpace"]> {
  let summary = "Bring rows into a worker's local memory: optional RMS norm, optional quantisation";
  let description = [{
    Reads columns `at` to `at + features` of `source`, all rows or those that `rows` lists. With
    `norm`, each row becomes `gain[i] * x[i] / sqrt(mean(x^2) + eps)`, `1 + gain[i]` with `offset`.
    If the result is i8, each group of values is divided by its scale `max|x| / 127` and rounded; if
    it is i16, by `max|x| / 32512`, so that it is two signed bytes. If it is f16, each value is
    rounded (prefill), or what rounding leaves is kept as a second f16 (decode). Done by every
    worker for itself: for few rows that is cheaper than a phase and a wait.

    With `sum` the rows are sums over both devices: `source`, this device's part, and the received
    one. The workers share out the storing of these rows to the buffer after `->`, for later phases.
    - (C1) `source` has at least `at` + features columns.
    - (C2) `gain` has as many elements as the result has features.
    - (C3) The result is i16 or f16 in a program for CUDA, and f32 or i8 in one for a CPU.
    - (C4) A sum's buffers have as many columns as the result has features, and so has `source`; the
      program is a CUDA decode step.
  }];
  let arguments = (ins Buffer<Read>:$source, DefaultValuedAttr<NaturalI64, "0">:$at,
                       OptionalBuffer<Read>:$gain, DefaultValuedAttr<F32Attr, "0.0f">:$eps,
                       UnitAttr:$offset, OptionalBuffer<Read>:$rows,
                       OptionalBuffer<Receive>:$received,
                       OptionalBuffer<Write>:$sum);
  let results = (outs Kernel_StagedType:$result);
  let assemblyFormat = "$source (`at` $at^)? (`sum` $received^ (`->` $sum^)?)? "
                       "(`norm` $gain^ `eps` $eps (`offset` $offset^)?)? "
                       "(`rows` $rows^)? attr-dict `:` type($result)";
}

def Kernel_MatmulOp : Kernel_TileOp<"matmul", ["getTileSpace"]> {
  let summary = "Products of staged rows with 16 rows of packed weights, a tile";
  let description = [{
    `dest[r][n] = cap(x[r] . weights[n] + bias[n]) + residual[r][n]` for the 16 `n` of the tile,
    where `cap(y) = c * tanh(y / c)` if `soft_cap` c is given (Gemma 2, arXiv:2408.00118). `dest`
    may be the logits; then the staged rows are the wanted ones. With `send` the results are stored
    there on the other device too.
    - (C1) The weights are a matrix with as many columns as the staged rows have features.
    - (C2) `dest` has as many columns as the weights have rows, `bias` as many elements.
    - (C3) The phase has ceil(rows of weights / 16) tiles; with `row_tile` a tile is 8 such blocks
      (on sm_90a the kernel has 16, unless the weights are f32).
    - (C4) `residual` has `dest`'s columns.
    - (C5) `send` has `dest`'s columns.
  }];
  let arguments = (ins Kernel_StagedType:$source, Buffer<Read>:$weights, Buffer<WriteOwn>:$dest,
                       OptionalBuffer<Read>:$bias, OptionalBuffer<ReadOwn>:$residual,
                       OptionalAttr<F32Attr>:$soft_cap, OptionalBuffer<Send>:$send);
  let assemblyFormat = "$source `,` $weights `->` $dest (`bias` $bias^)? (`residual` $residual^)? "
                       "(`soft_cap` $soft_cap^)? (`send` $send^)? attr-dict `:` type($source)";
}

def Kernel_SumOp : Kernel_TileOp<"sum"> {
  let summary = "Add the devices' partial sums, and a residual, a tile a row";
  let description = [{
    `dest[r] = residual[r] + (partial[r] + received[r])`: what this device made and what it
    received. Where a product's `kernel.stage` can, it does that in passing.
    ```mlir
    kernel.sum @out, @received -> @x1 residual @x
    ```
    - (C1) All have `dest`'s columns.
    - (C2) The phase has one tile per row.
  }];
  let arguments = (ins Buffer<ReadOwn>:$partial, Buffer<Receive>:$received,
                       Buffer<WriteOwn>:$dest, OptionalBuffer<ReadOwn>:$residual);
  let assemblyFormat = "$partial `,` $received `->` $dest (`residual` $residual^)? attr-dict";
}

def Kernel_ArgmaxOp : Kernel_TileOp<"argmax", ["getTileSpace"]> {
  let summary = "The largest logit of each wanted row and its token, tile by tile";
  let description = [{
    Greedy decoding on the device: the product before it in the phase makes the tile's `logits`; of
    these and what the other tiles found, the largest stays in `dest`, the lower token of two equal
    ones, so a step moves a token a row and not a vocabulary. `dest` holds keys
    (runtime/src/abi/cuda_program.h): their maximum does not depend on the order of the tiles. A
    step may want logits, tokens or both. Of two devices each has the largest of its own logits, and
    the host compares them. Run by test/dialects/Kernel/ops.mlir:
    ```mlir
    kernel.argmax @logits -> @chosen
    ```
    - (C1) The op before it is the `kernel.matmul` that makes `logits`, without a residual.
    - (C2) `dest` has a 64-bit integer for each of max_rows rows.
    - (C3) The program is one for CUDA.
  }];
  let arguments = (ins Buffer<ReadOwn>:$logits, Buffer<Maximum>:$dest);
  let assemblyFormat = "$logits `->` $dest attr-dict";
}

def Kernel_SampleOp : Kernel_TileOp<"sample"> {
  let summary = "Draw a token of each wanted row: temperature, top-k, top-p; a tile a row";
  let description = [{
    What is drawn is defined in runtime/src/abi/sampling.h: `choices` has for each wanted row a
    `retort_choice`, its limits and its random number. `dest` has the keys that `kernel.argmax` left
    there, and gets the key of the token drawn. Only steps that ask for it run it, as a launch of
    its own after the step in either form: a greedy step pays nothing for it. Of two devices the
    first draws, from its own logits and, after them in the vocabulary, the second's, which it reads
    once the second's step is done. Run by test/dialects/Kernel/ops.mlir:
    ```mlir
    kernel.sample @logits, @other_logits by @choices -> @chosen
    ```
    - (C1) It is the one op of the program's last phase, which has one tile per row.
    - (C2) An earlier `kernel.argmax` reads the same `logits` and writes the same `dest`.
    - (C3) `logits` and `other_logits` have the program's `vocab` columns together; `other_logits`
      is given if, and only if, there are two devices, and this is the first.
    - (C4) `choices` has 3 64-bit integers, of `retort_choice`, for each of max_rows rows.
  }];
  let arguments = (ins Buffer<ReadOwn>:$logits, OptionalBuffer<ReadOwn>:$other_logits,
                       Buffer<ReadOwn>:$choices, Buffer<UpdateOwn>:$dest);
  let assemblyFormat = "$logits (`,` $other_logits^)? `by` $choices `->` $dest attr-dict";
}

def Kernel_MatmulGluOp : Kernel_TileOp<"matmul_glu", ["getTileSpace"]> {
  let summary = "Gate and up products of 16 channels and their gated product, a tile";
  let description = [{
    `dest[r][n] = act(x[r] . gate[n]) * (x[r] . up[n])` (GLU variants, arXiv:2002.05202). The first
    half of the weights' rows is gate, the second up; a gated layout stores 16 rows of gate, then
    the same 16 channels of up, so that a tile reads one contiguous range.
    - (C1) The weights are a matrix with as many columns as the staged rows have features.
    - (C2) The weights have twice as many rows as `dest` has columns, and a gated layout.
    - (C3) The phase has ceil(columns of dest / 16) tiles; with `row_tile` a tile is 8 blocks of 16
      rows of the weights.
  }];
  let arguments = (ins Kernel_StagedType:$source, Buffer<Read>:$weights,
                       Buffer<WriteOwn>:$dest, Kernel_ActivationAttr:$act);
  let assemblyFormat = "$source `,` $weights `->` $dest `act` $act attr-dict `:` type($source)";
}

def Kernel_RopeAppendOp : Kernel_TileOp<"rope_append"> {
  let summary = "Norm and rotate Q and K in place, append K and V to the cache; a tile a row";
  let description = [{
    The row's heads of Q start at column `q_at` of `q`, likewise K and V. A head is first normed if
    its gain is given (q/k norm), then rotated by `angles` if given: `y[i] = x[i] cos[i] - x[i +
    d/2] sin[i]`, `y[i + d/2] = x[i + d/2] cos[i] + x[i] sin[i]`; the other way round with
    `norm_last`. Q is rotated by `q_angles` where that is given. K and V go to the page of the row's
    slot and position.
    - (C1) `q`, `k`, `v` have the columns that the offsets, heads and dims reach.
    - (C2) `cache` is 2 x kv_heads x page_rows x dims.
    - (C3) The phase has one tile per row.
    - (C4) `angles` has at most dims columns: that many features of each head are rotated. A norm's
      gain has dims elements. `q_angles` has as many columns as `angles`.
  }];
  let arguments = (ins Buffer<UpdateOwn>:$q, NaturalI64:$q_at, Buffer<UpdateOwn>:$k,
                       NaturalI64:$k_at,
                       Buffer<ReadOwn>:$v, NaturalI64:$v_at, Buffer<WriteOwn>:$cache,
                       PositiveI64:$heads, PositiveI64:$kv_heads, PositiveI64:$dims,
                       OptionalBuffer<ReadOwn>:$angles, OptionalBuffer<ReadOwn>:$q_angles,
                       OptionalBuffer<Read>:$q_norm, OptionalBuffer<Read>:$k_norm,
                       DefaultValuedAttr<F32Attr, "0.0f">:$eps, UnitAttr:$offset,
                       UnitAttr:$norm_last);
  let assemblyFormat = "$q `at` $q_at `,` $k `at` $k_at `,` $v `at` $v_at `->` $cache `heads` "
                       "$heads "
                       "`kv_heads` $kv_heads `dims` $dims (`angles` $angles^)? "
                       "(`q_angles` $q_angles^)? (`q_norm` $q_norm^)? "
                       "(`k_norm` $k_norm^)? (`eps` $eps^)? (`offset` $offset^)? "
                       "(`norm_last` $norm_last^)? attr-dict";
}

def Kernel_AttentionOp : Kernel_TileOp<"attention", ["getTileSpace"]> {
  let summary = "Causal attention of a head of a row over its slot's pages, a tile a head";
  let description = [{
    `softmax(cap(scale * q . K^T)) V` over the positions up to the row's own, only the latest
    `window` ones if given. Query head `h` reads key/value head `h / (heads / kv_heads)`
    (arXiv:2305.13245). `sinks[h]` is the score of one more key, whose value is zero
    (arXiv:2309.17453).
    - (C1) `heads` is a multiple of `kv_heads`.
    - (C2) `cache` is 2 x kv_heads x page_rows x dims; `dest` has heads * dims columns.
    - (C3) The phase has `heads` tiles per row; with `row_tile` a tile is 128 queries (`row_parts`)
      that share a key/value head.
    - (C4) `sinks` has `heads` elements.
  }];
  let arguments = (ins Buffer<Read>:$q, NaturalI64:$q_at, Buffer<Read>:$cache,
                       Buffer<WriteOwn>:$dest, PositiveI64:$heads, PositiveI64:$kv_heads,
                       PositiveI64:$dims, F32Attr:$scale, OptionalAttr<PositiveI64>:$window,
                       OptionalAttr<F32Attr>:$soft_cap, OptionalBuffer<Read>:$sinks);
  let assemblyFormat = "$q `at` $q_at `,` $cache `->` $dest `heads` $heads `kv_heads` $kv_heads "
                       "`dims` $dims `scale` $scale (`window` $window^)? (`soft_cap` $soft_cap^)? "
                       "(`sinks` $sinks^)? attr-dict";
}

def Kernel_AttendOp : Kernel_TileOp<"attend", ["getTileSpace"]> {
  let summary = "Rope, append and attention of a few rows in one phase";
  let description = [{
    What `kernel.rope_append`, a wait and `kernel.attention` do, for a step of at most 16 rows,
    without the wait. Every tile norms and rotates its row's query heads and the keys that it needs
    as it reads them from `q`, `k` and `v`, which stay as they are. Positions before the step come
    from the cache, those of this step (rows of the same slot) from `k` and `v`, so no tile reads
    what another appends. The positions up to the row's own are cut in `splits` ranges; a tile
    leaves the running maximum, the sum and the weighted values of its range in `partials`, and the
    tile that finishes last combines them in the order of the ranges, whichever it is
    (Flash-Decoding, Dao et al. 2023), so the same request gives the same bits. Run by
    test/dialects/Kernel/ops.mlir:
    ```mlir
    kernel.attend @qkv at 0, @qkv at 64, @qkv at 96, @cache, @partials -> @y
      heads 4 kv_heads 2 dims 16 splits 2 scale 0.25 angles @angles
    ```
    - (C1) `q`, `k`, `v` have the columns that the offsets, heads and dims reach.
    - (C2) `cache` is 2 x kv_heads x page_rows x dims.
    - (C3) The phase has `splits` tiles per row for each key/value head and up to 8 of its query
      heads.
    - (C4) `angles` has at most dims columns: that many features of each head are rotated. A norm's
      gain has dims elements. `q_angles` has as many columns as `angles`.
    - (C5) `heads` is a multiple of `kv_heads`; `dest` has heads * dims columns; `sinks` has `heads`
      elements.
    - (C6) `partials` has splits * heads * (dims + 2) columns of f32.
    - (C7) The program is a CUDA decode step.
  }];
  let arguments = (ins Buffer<Read>:$q, NaturalI64:$q_at, Buffer<Read>:$k, NaturalI64:$k_at,
                       Buffer<Read>:$v, NaturalI64:$v_at, Buffer<Update>:$cache,
                       Buffer<Update>:$partials, Buffer<Write>:$dest,
                       PositiveI64:$heads, PositiveI64:$kv_heads, PositiveI64:$dims,
                       PositiveI64:$splits,
                       F32Attr:$scale, OptionalAttr<PositiveI64>:$window,
                       OptionalAttr<F32Attr>:$soft_cap, OptionalBuffer<Read>:$sinks,
                       OptionalBuffer<Read>:$angles, OptionalBuffer<Read>:$q_angles,
                       OptionalBuffer<Read>:$q_norm, OptionalBuffer<Read>:$k_norm,
                       DefaultValuedAttr<F32Attr, "0.0f">:$eps, UnitAttr:$offset,
                       UnitAttr:$norm_last);
  let assemblyFormat = "$q `at` $q_at `,` $k `at` $k_at `,` $v `at` $v_at `,` $cache `,` $partials "
                       "`->` $dest "
                       "`heads` $heads `kv_heads` $kv_heads `dims` $dims `splits` $splits `scale` "
                       "$scale "
                       "(`window` $window^)? (`soft_cap` $soft_cap^)? (`sinks` $sinks^)? "
                       "(`angles` $angles^)? (`q_angles` $q_angles^)? "
                       "(`q_norm` $q_norm^)? (`k_norm` $k_norm^)? (`eps` $eps^)? (`offset` "
                       "$offset^)? (`norm_last` $norm_last^)? attr-dict";
}

def Kernel_NormOp : Kernel_TileOp<"norm"> {
  let summary = "RMS norm of a row, a tile; with `residual` added to it";
  let description = [{
    `dest[r] = residual[r] + norm(source[r])`, the norm as in `kernel.stage`, over each of `groups`
    equal slices of the row (1 if absent) with the same gain.
    - (C1) `gain` has source's columns divided by `groups` elements.
    - (C2) `source`, `dest` and `residual` have the same columns.
    - (C3) The phase has one tile per row.
  }];
  let arguments = (ins Buffer<ReadOwn>:$source, Buffer<Read>:$gain, Buffer<WriteOwn>:$dest,
                       F32Attr:$eps, UnitAttr:$offset, OptionalAttr<PositiveI64>:$groups,
                       OptionalBuffer<ReadOwn>:$residual);
  let assemblyFormat = "$source `,` $gain `->` $dest `eps` $eps (`offset` $offset^)? (`groups` "
                       "$groups^)? "
                       "(`residual` $residual^)? attr-dict";
}

def Kernel_LayerNormOp : Kernel_TileOp<"layer_norm"> {
  let summary = "Layer norm of a row, a tile";
  let description = [{
    `dest[r][i] = gain[i] * (source[r][i] - m) / sqrt(v + eps) + bias[i]`, `m` being the row's mean
    and `v` the mean of the squared distances from it.
    - (C1) `gain` and `bias` have source's columns elements.
    - (C2) `source` and `dest` have the same columns.
    - (C3) The phase has one tile per row.
  }];
  let arguments = (ins Buffer<ReadOwn>:$source, Buffer<Read>:$gain, Buffer<Read>:$bias,
                       Buffer<WriteOwn>:$dest, F32Attr:$eps);
  let assemblyFormat = "$source `,` $gain `,` $bias `->` $dest `eps` $eps attr-dict";
}

def Kernel_GluOp : Kernel_TileOp<"glu"> {
  let summary = "Gated product of two rows, a tile a row";
  let description = [{
    `dest[r][i] = act(gate[r][i]) * up[r][i]`: what `kernel.matmul_glu` does, when it cannot be
    used.
    - (C1) `gate` and `up` have the columns that the offsets and `dest`'s columns reach.
    - (C2) The phase has one tile per row.
  }];
  let arguments = (ins Buffer<ReadOwn>:$gate, NaturalI64:$gate_at, Buffer<ReadOwn>:$up,
                       NaturalI64:$up_at, Buffer<WriteOwn>:$dest, Kernel_ActivationAttr:$act);
  let assemblyFormat = "$gate `at` $gate_at `,` $up `at` $up_at `->` $dest `act` $act attr-dict";
}

def Kernel_ResidualOp : Kernel_TileOp<"residual"> {
  let summary = "Sum of two rows, a tile a row";
  let description = [{
    - (C1) `lhs`, `rhs` and `dest` have the same columns.
    - (C2) The phase has one tile per row.
  }];
  let arguments = (ins Buffer<ReadOwn>:$lhs, Buffer<ReadOwn>:$rhs, Buffer<WriteOwn>:$dest);
  let assemblyFormat = "$lhs `,` $rhs `->` $dest attr-dict";
}
#endif
