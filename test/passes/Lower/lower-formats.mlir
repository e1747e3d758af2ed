// RUN: retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode max-rows=4},kernel.program(plan-buffers),emit-cuda)' 2>&1 | FileCheck %s
// RUN: retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=prefill},kernel.program(plan-buffers),emit-cuda)' -o /dev/null | FileCheck %s --check-prefix=PREFILL
// RUN: retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel,kernel.program(plan-buffers))' | FileCheck %s --check-prefix=CPU
// Formats of weights and caches, from the model to the kernels' names.

// CHECK-DAG:     constexpr EmbedShape Embed_20x32 = {
// CHECK-DAG:     constexpr ProductShape Matmul_32x64_f8g32 = {
// CHECK:             .weights = {{[{][{]}}WeightKind::F8, 32}}
// CHECK:         constexpr AttendShape Attend_2x1x16 = {
// CHECK:             .format = CacheFormat::F8E4M3
// CHECK:         constexpr AttendShape Attend_2x1x16_v2 = {
// CHECK:             .format = CacheFormat::BF16
// CHECK:         constexpr ProductShape Matmul_32x20_f16 = {
// CHECK:             .weights = {{[{][{]}}WeightKind::F16}}
// CHECK:         // blk.0.attn_qkv: 32 -> 64, fp8 in groups of 32; 4.35 kB of weights; 4 tiles
// CHECK:         // logits: wanted rows, 32 -> 20, f16, arg-max
// A page: 2 x 16 positions x 16 features of a byte, then of two.
// CHECK:       kernel.program @m.decode {{.*}} page_bytes 1536
// CHECK-DAG:     kernel.buffer @token_embd.weight weights tensor<20x32xf16> format f16 layout mma16 bytes 4096
// CHECK-DAG:     kernel.buffer @blk.0.attn_qkv.weight weights tensor<64x32xf8E4M3FN> format f8g32 layout mma16 bytes 4352
// CHECK-DAG:     kernel.buffer @blk.0.cache cache tensor<2x1x16x16xf8E4M3FN> offset 0
// CHECK-DAG:     kernel.buffer @blk.1.cache cache tensor<2x1x16x16xbf16> offset 512

// PREFILL:       constexpr AppendShape Append_2x1x16 = {
// PREFILL:           .format = CacheFormat::F8E4M3
// PREFILL:       constexpr AttentionShape Attention_2x1x16 = {
// PREFILL:           .format = CacheFormat::F8E4M3

// On a CPU activations are multiplied as f32 by both.
// CPU-DAG:       kernel.buffer @token_embd.weight weights tensor<20x32xf16> format f16 layout rows16 bytes 2048
// CPU-DAG:       kernel.buffer @blk.0.attn_qkv.weight weights tensor<64x32xf8E4M3FN> format f8g32 layout rows16 bytes 2304
// CPU-DAG:       kernel.buffer @blk.0.cache cache tensor<2x1x16x16xf8E4M3FN>
// CPU-DAG:       kernel.buffer @blk.1.cache cache tensor<2x1x16x16xbf16>
// CPU:           kernel.stage {{.*}} : <32, f32, 0>
// CPU-NEXT:      kernel.matmul {{.*}} @blk.0.attn_qkv.weight
!qkv = tensor<64x32xf8E4M3FN, #weight.format<f8g32>>
lm.model @m family "llama" context 64 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf16> {
    %0 = weight.load "token_embd.weight" stored "F16" : tensor<20x32xf16>
    weight.yield %0 : tensor<20x32xf16>
  }
  lm.param @blk.0.attn_qkv.weight : !qkv {
    %0 = weight.load "blk.0.attn_qkv.weight" stored "F32" : tensor<64x32xf32>
    %1 = weight.quantize %0 : tensor<64x32xf32> -> !qkv
    weight.yield %1 : !qkv
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x32xf32>):
      %f = lm.linear %a, @blk.0.attn_qkv.weight : tensor<?x32xf32> -> tensor<?x64xf32>
      %q, %k, %v = lm.split %f : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>
      %o = lm.attention %q, %k, %v heads 2 kv_heads 1 scale 0.25 cache f8e4m3 : tensor<?x32xf32>, tensor<?x16xf32>
      %r = lm.residual %a, %o : tensor<?x32xf32>
      lm.yield %r : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %z = lm.block "blk.1"(%y) {
    ^bb0(%a: tensor<?x32xf32>):
      %f = lm.linear %a, @blk.0.attn_qkv.weight : tensor<?x32xf32> -> tensor<?x64xf32>
      %q, %k, %v = lm.split %f : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>
      %o = lm.attention %q, %k, %v heads 2 kv_heads 1 scale 0.25 cache bf16 : tensor<?x32xf32>, tensor<?x16xf32>
      %r = lm.residual %a, %o : tensor<?x32xf32>
      lm.yield %r : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %l = lm.logits %z, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
