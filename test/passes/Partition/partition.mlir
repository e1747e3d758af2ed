// RUN: retort-opt %s --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=0}))' | FileCheck %s --check-prefixes=CHECK,FIRST
// RUN: retort-opt %s --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=1}))' | FileCheck %s --check-prefixes=CHECK,SECOND
// RUN: retort-opt %s --pass-pipeline='builtin.module(lm.model(partition{devices=1}))' | FileCheck %s --check-prefix=WHOLE
// RUN: retort-opt %s --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=1},fuse-qkv,fuse-gate-up),lower-to-kernel{target=cuda step=decode},kernel.program(plan-buffers))' | FileCheck %s --check-prefix=DECODE
// RUN: retort-opt %s -o /dev/null --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=1},fuse-qkv,fuse-gate-up),lower-to-kernel{target=cuda step=decode},kernel.program(plan-buffers,print-kernel-costs{on=h100 assume=peer_us:3}))' | FileCheck %s --check-prefix=COST
// RUN: retort-opt %s --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=0}),lower-to-kernel{target=cuda step=prefill},kernel.program(plan-buffers))' | FileCheck %s --check-prefix=PREFILL
// RUN: retort-opt %s -o /dev/null --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=0},fuse-qkv,fuse-gate-up),lower-to-kernel{target=cuda step=decode},kernel.program(plan-buffers),emit-cuda)' | FileCheck %s --check-prefix=TEXT
// RUN: sed 's/lm.norm %r, @output_norm/lm.norm %x, @output_norm/' %s > %t.mlir
// RUN: not retort-opt %t.mlir --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=1}))' 2>&1 | FileCheck %s --check-prefix=BESIDE
// BESIDE: partition: block "blk.0" has an attention and a gated unit side by side, whose sums two devices would send each other with no wait between: compile for one device

// 3 key/value heads with 2 query heads each: device 0 has 2 of them, so channels and tokens that
// cannot be halved go to device 1. Rows of projections are cut, columns of what follows them; a
// quantised matrix before it is quantised, between groups.
// WHOLE-NOT:   lm.all_reduce
// WHOLE:       lm.attention {{.*}} heads 6 kv_heads 3

// CHECK-LABEL: lm.model @m
// FIRST-SAME:    attributes {shard = #lm.shard<device = 0, devices = 2, begin = 0, logits = 16>}
// SECOND-SAME:   attributes {shard = #lm.shard<device = 1, devices = 2, begin = 16, logits = 20>}
// CHECK:       lm.param @token_embd.weight : tensor<36x32xf32> {
// CHECK-NEXT:    %[[E:.*]] = weight.load
// CHECK-NEXT:    weight.yield %[[E]]
// The logits' rows of a table that is both.
// FIRST:       lm.param @output.weight : tensor<16x32xf32> {
// FIRST:         weight.slice %{{.*}} rows offset 0 size 16
// SECOND:      lm.param @output.weight : tensor<20x32xf32> {
// SECOND:        weight.slice %{{.*}} rows offset 16 size 20
// FIRST:       lm.param @blk.0.attn_q.weight : tensor<64x32xf32>
// FIRST:         weight.slice %{{.*}} rows offset 0 size 64
// SECOND:      lm.param @blk.0.attn_q.weight : tensor<32x32xf32>
// SECOND:        weight.slice %{{.*}} rows offset 64 size 32
// FIRST:       lm.param @blk.0.attn_k.weight : tensor<32x32xf32>
// SECOND:      lm.param @blk.0.attn_k.weight : tensor<16x32xf32>
// FIRST:       lm.param @blk.0.attn_output.weight : tensor<32x64xi4, #weight.format<i4g32s>>
// FIRST:         %[[O:.*]] = weight.slice %{{.*}} columns offset 0 size 64
// FIRST-NEXT:    weight.quantize %[[O]]
// SECOND:      lm.param @blk.0.attn_output.weight : tensor<32x32xi4, #weight.format<i4g32s>>
// SECOND:        weight.slice %{{.*}} columns offset 64 size 32
// 40 channels in groups of 16: 16 and 24.
// FIRST:       lm.param @blk.0.ffn_up.weight : tensor<16x32xf32>
// SECOND:      lm.param @blk.0.ffn_up.weight : tensor<24x32xf32>
// FIRST:       lm.param @blk.0.ffn_down.weight : tensor<32x16xf32>
// SECOND:      lm.param @blk.0.ffn_down.weight : tensor<32x24xf32>
// FIRST:       lm.rope %{{.*}} heads 4
// FIRST:       lm.rope %{{.*}} heads 2
// FIRST:       lm.attention {{.*}} heads 4 kv_heads 2
// SECOND:      lm.attention {{.*}} heads 2 kv_heads 1
// The bias of a partial sum is added once.
// FIRST:       %[[OUT:.*]] = lm.linear %{{.*}}, @blk.0.attn_output.weight bias @blk.0.attn_output.bias
// SECOND:      %[[OUT:.*]] = lm.linear %{{.*}}, @blk.0.attn_output.weight :
// CHECK-NEXT:  %[[SUM:.*]] = lm.all_reduce %[[OUT]] : tensor<?x32xf32>
// CHECK-NEXT:  lm.residual %{{.*}}, %[[SUM]]
// CHECK:       %[[DOWN:.*]] = lm.linear %{{.*}}, @blk.0.ffn_down.weight
// CHECK-NEXT:  lm.all_reduce %[[DOWN]]
// FIRST:       lm.logits %{{.*}}, @output.weight : tensor<?x32xf32> -> tensor<?x16xf32>

// Received buffers lie at the same offsets on both devices, 8 bytes a value. An exchange stands where a wait
// would, and what follows adds up in its prologue: five phases and five waits a layer.
// DECODE-LABEL: kernel.program @m.decode target "cuda" step "decode" device 1 of 2 logits_begin 16
// DECODE-DAG:   kernel.buffer @received.0.0 received tensor<16x32xf32> offset 0
// DECODE-DAG:   kernel.buffer @received.1.0 received tensor<16x32xf32> offset 2048
// DECODE:       kernel.phase @run.blk.0.attn_output
// Device 0 adds the residual, for both.
// DECODE:         kernel.matmul %{{.*}}, @blk.0.attn_output.weight -> @blk.0.attn_output send @received.0.0
// DECODE:       kernel.exchange @run.blk.0.attn_output index 0
// DECODE-NEXT:  kernel.phase
// DECODE-NEXT:    kernel.stage @blk.0.attn_output sum @received.0.0 -> @blk.0.sum norm
// DECODE:         kernel.matmul %{{.*}}, @blk.0.ffn_down.weight -> @blk.0.ffn_down send @received.1.0
// DECODE:       kernel.exchange @run.blk.0.ffn_down index 1
// DECODE-NEXT:  kernel.phase @run.logits
// DECODE-NEXT:    kernel.stage @blk.0.ffn_down sum @received.1.0 norm @output_norm.weight eps {{.*}} rows @wanted
// DECODE:         kernel.argmax @logits -> @chosen
// DECODE-NOT:   kernel.sample

// What the other device sends comes 3 us after it is stored; the CTAs meet in 0.8 of them.
// COST: 1 row, 128 positions, device 1 of 2, persistent
// COST: run.blk.0.ffn_gate_up 2 {{[0-9]+}} 512 {{[0-9]+}} {{[0-9.]+}} 0.80 2.20

// Prefill adds up in a phase.
// PREFILL-LABEL: kernel.program @m.prefill target "cuda" step "prefill" device 0 of 2 logits_begin 0
// PREFILL:         kernel.matmul %{{.*}}, @blk.0.attn_output.weight -> @blk.0.attn_output bias @blk.0.attn_output.bias send @received.0.0
// PREFILL:       kernel.exchange @run.blk.0.attn_output index 0
// PREFILL-NEXT:  kernel.phase @run.blk.0.sum "blk.0" tiles 1 per_row {
// PREFILL-NEXT:    kernel.sum @blk.0.attn_output, @received.0.0 -> @blk.0.sum residual @embedding
// Each device finds the largest of its logits, the first draws from all.
// PREFILL:        kernel.argmax @logits -> @chosen
// PREFILL:      kernel.wait @run.logits
// PREFILL-NEXT: kernel.phase @run.sample "model" tiles 1 per_row {
// PREFILL-NEXT:   kernel.sample @logits, @other_logits by @choices -> @chosen

// The logits' product adds up in its prologue and keeps the largest; what draws is no part of the step.
// TEXT:         matmulArgmax<Matmul_32x16_f32>(cta, {{.*}}, cta.logits(), nullptr, cta.wanted(), {inbox(cta, {{[0-9]+}}, 1), nullptr});
// TEXT-LABEL: RETORT_DEVICE void run(Cta &cta) {
// TEXT-NOT:     draw
// TEXT:       RETORT_KERNEL(retort_decode_0, kThreads, 1, const retort_cuda_step *step) {
// TEXT:       // sample: tokens of 36, 20 of them device 1's, in steps that ask for it; 1 tile a row
// TEXT-NEXT:  RETORT_KERNEL(retort_decode_0_sample, kSampleThreads, 1, const retort_cuda_step *step) {
// TEXT-NEXT:    sample<decode0_step::Sample_16_20>(*step);
!out = tensor<32x96xi4, #weight.format<i4g32s>>
lm.model @m family "llama" context 64 vocab 36 hidden 32 {
  lm.param @token_embd.weight : tensor<36x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<36x32xf32>
    weight.yield %0 : tensor<36x32xf32>
  }
  lm.param @output_norm.weight : tensor<32xf32> {
    %0 = weight.load "n" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.0.attn_q.weight : tensor<96x32xf32> {
    %0 = weight.load "q" stored "F32" : tensor<96x32xf32>
    weight.yield %0 : tensor<96x32xf32>
  }
  lm.param @blk.0.attn_k.weight : tensor<48x32xf32> {
    %0 = weight.load "k" stored "F32" : tensor<48x32xf32>
    weight.yield %0 : tensor<48x32xf32>
  }
  lm.param @blk.0.attn_v.weight : tensor<48x32xf32> {
    %0 = weight.load "v" stored "F32" : tensor<48x32xf32>
    weight.yield %0 : tensor<48x32xf32>
  }
  lm.param @blk.0.attn_output.weight : !out {
    %0 = weight.load "o" stored "F32" : tensor<32x96xf32>
    %1 = weight.quantize %0 : tensor<32x96xf32> -> !out
    weight.yield %1 : !out
  }
  lm.param @blk.0.attn_output.bias : tensor<32xf32> {
    %0 = weight.load "b" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.0.ffn_gate.weight : tensor<40x32xf32> {
    %0 = weight.load "g" stored "F32" : tensor<40x32xf32>
    weight.yield %0 : tensor<40x32xf32>
  }
  lm.param @blk.0.ffn_up.weight : tensor<40x32xf32> {
    %0 = weight.load "u" stored "F32" : tensor<40x32xf32>
    weight.yield %0 : tensor<40x32xf32>
  }
  lm.param @blk.0.ffn_down.weight : tensor<32x40xf32> {
    %0 = weight.load "d" stored "F32" : tensor<32x40xf32>
    weight.yield %0 : tensor<32x40xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %e = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %b = lm.block "blk.0"(%e) {
    ^bb0(%x: tensor<?x32xf32>):
      %n = lm.norm %x, @output_norm.weight eps 1.0e-5 : tensor<?x32xf32>
      %q = lm.linear %n, @blk.0.attn_q.weight : tensor<?x32xf32> -> tensor<?x96xf32>
      %k = lm.linear %n, @blk.0.attn_k.weight : tensor<?x32xf32> -> tensor<?x48xf32>
      %v = lm.linear %n, @blk.0.attn_v.weight : tensor<?x32xf32> -> tensor<?x48xf32>
      %qr = lm.rope %q heads 6 dims 16 base 1.0e4 : tensor<?x96xf32>
      %kr = lm.rope %k heads 3 dims 16 base 1.0e4 : tensor<?x48xf32>
      %a = lm.attention %qr, %kr, %v heads 6 kv_heads 3 scale 0.25 : tensor<?x96xf32>, tensor<?x48xf32>
      %o = lm.linear %a, @blk.0.attn_output.weight bias @blk.0.attn_output.bias : tensor<?x96xf32> -> tensor<?x32xf32>
      %r = lm.residual %x, %o : tensor<?x32xf32>
      %m = lm.norm %r, @output_norm.weight eps 1.0e-5 : tensor<?x32xf32>
      %g = lm.linear %m, @blk.0.ffn_gate.weight : tensor<?x32xf32> -> tensor<?x40xf32>
      %u = lm.linear %m, @blk.0.ffn_up.weight : tensor<?x32xf32> -> tensor<?x40xf32>
      %h = lm.glu %g, %u act silu : tensor<?x40xf32>
      %d = lm.linear %h, @blk.0.ffn_down.weight : tensor<?x40xf32> -> tensor<?x32xf32>
      %s = lm.residual %r, %d : tensor<?x32xf32>
      lm.yield %s : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %f = lm.norm %b, @output_norm.weight eps 1.0e-5 : tensor<?x32xf32>
    %l = lm.logits %f, @token_embd.weight : tensor<?x32xf32> -> tensor<?x36xf32>
    lm.return %l : tensor<?x36xf32>
  }
}
