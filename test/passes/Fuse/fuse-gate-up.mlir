// RUN: retort-opt %s --split-input-file --pass-pipeline='builtin.module(lm.model(fuse-gate-up))' | FileCheck %s

// Gate comes first, whatever the order of the ops.
// CHECK-LABEL: lm.model @unit
// CHECK:      lm.param @blk.0.ffn_gate_up.weight : tensor<24x8xf32> {
// CHECK-NEXT:   %[[G:.*]] = weight.load "g"
// CHECK-NEXT:   %[[U:.*]] = weight.load "u"
// CHECK-NEXT:   weight.concat rows %[[G]], %[[U]]
// CHECK:      %[[F:.*]] = lm.linear %{{.*}}, @blk.0.ffn_gate_up.weight : tensor<?x8xf32> -> tensor<?x24xf32>
// CHECK-NEXT: %[[S:.*]]:2 = lm.split %[[F]]
// CHECK-NEXT: lm.glu %[[S]]#0, %[[S]]#1 act silu
lm.model @unit family "llama" context 8 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "e" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @output.weight : tensor<4x12xf32> {
    %0 = weight.load "o" stored "F32" : tensor<4x12xf32>
    weight.yield %0 : tensor<4x12xf32>
  }
  lm.param @blk.0.ffn_up.weight : tensor<12x8xf32> {
    %0 = weight.load "u" stored "F32" : tensor<12x8xf32>
    weight.yield %0 : tensor<12x8xf32>
  }
  lm.param @blk.0.ffn_gate.weight : tensor<12x8xf32> {
    %0 = weight.load "g" stored "F32" : tensor<12x8xf32>
    weight.yield %0 : tensor<12x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %u = lm.linear %x, @blk.0.ffn_up.weight : tensor<?x8xf32> -> tensor<?x12xf32>
    %g = lm.linear %x, @blk.0.ffn_gate.weight : tensor<?x8xf32> -> tensor<?x12xf32>
    %a = lm.glu %g, %u act silu : tensor<?x12xf32>
    %l = lm.logits %a, @output.weight : tensor<?x12xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}

// -----

// A gate that another op reads too stays a value of its own.
// CHECK-LABEL: lm.model @gate_is_shared
// CHECK-NOT:   ffn_gate_up
lm.model @gate_is_shared family "llama" context 8 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "e" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.ffn_up.weight : tensor<8x8xf32> {
    %0 = weight.load "u" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.ffn_gate.weight : tensor<8x8xf32> {
    %0 = weight.load "g" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %u = lm.linear %x, @blk.0.ffn_up.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    %g = lm.linear %x, @blk.0.ffn_gate.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    %a = lm.glu %g, %u act silu : tensor<?x8xf32>
    %r = lm.residual %g, %a : tensor<?x8xf32>
    %l = lm.logits %r, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
