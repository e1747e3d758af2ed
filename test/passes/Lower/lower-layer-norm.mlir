// RUN: retort-opt %s --lower-to-kernel=max-rows=4 | FileCheck %s
// RUN: retort-opt %s --lower-to-kernel='target=cuda step=decode max-rows=4' | FileCheck %s
// RUN: retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode max-rows=4},kernel.program(plan-buffers),emit-cuda)' -o /dev/null 2>&1 | FileCheck %s --check-prefix=CUDA
// A layer norm is a phase of rows of its own, once for all that read it.

// CHECK:       kernel.wait @{{.*}}.embedding
// CHECK-NEXT:  kernel.phase @[[N:.*]] "blk.0" tiles 1 per_row {
// CHECK-NEXT:    kernel.layer_norm @embedding, @blk.0.attn_norm.weight, @blk.0.attn_norm.bias -> @blk.0.attn_norm eps 9.99999974E-6
// CHECK-NEXT:  }
// CHECK-NEXT:  kernel.wait @[[N]]
// CHECK:         kernel.stage @blk.0.attn_norm :
// CHECK-NEXT:    kernel.matmul %{{.*}}, @blk.0.one.weight -> @blk.0.one
// CHECK-NOT:     kernel.layer_norm
// CHECK:         kernel.stage @blk.0.attn_norm :
// CHECK-NEXT:    kernel.matmul %{{.*}}, @blk.0.two.weight -> @blk.0.two residual @blk.0.one

// CUDA: constexpr LayerNormShape LayerNorm_32 = {
// CUDA-NEXT: .features = 32, .eps =
// CUDA: // blk.0.attn_norm: layer norm of 32
// CUDA: layerNorm<LayerNorm_32>(
lm.model @m family "stablelm" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xbf16> {
    %0 = weight.load "e" stored "BF16" : tensor<20x32xbf16>
    weight.yield %0 : tensor<20x32xbf16>
  }
  lm.param @blk.0.attn_norm.weight : tensor<32xf32> {
    %0 = weight.load "w" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.0.attn_norm.bias : tensor<32xf32> {
    %0 = weight.load "b" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.0.one.weight : tensor<32x32xbf16> {
    %0 = weight.load "one" stored "BF16" : tensor<32x32xbf16>
    weight.yield %0 : tensor<32x32xbf16>
  }
  lm.param @blk.0.two.weight : tensor<32x32xbf16> {
    %0 = weight.load "two" stored "BF16" : tensor<32x32xbf16>
    weight.yield %0 : tensor<32x32xbf16>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x32xf32>):
      %n = lm.layer_norm %a, @blk.0.attn_norm.weight bias @blk.0.attn_norm.bias eps 1.0e-5 : tensor<?x32xf32>
      %p = lm.linear %n, @blk.0.one.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %q = lm.linear %n, @blk.0.two.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %r = lm.residual %p, %q : tensor<?x32xf32>
      lm.yield %r : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %l = lm.logits %y, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
