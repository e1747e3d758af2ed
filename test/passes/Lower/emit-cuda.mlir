// RUN: retort-opt %s -o /dev/null --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode max-rows=4},lower-to-kernel{target=cuda step=prefill max-rows=128},kernel.program(plan-buffers),emit-cuda)' | FileCheck %s
// RUN: retort-opt %s -o /dev/null --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode max-rows=4},kernel.program(plan-buffers),emit-cuda{form=graph})' | FileCheck %s --check-prefix=GRAPH
// RUN: retort-opt %s -o /dev/null --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode max-rows=4},kernel.program(plan-buffers),emit-cuda{emitc})' | FileCheck %s --check-prefix=EMITC

// Shapes come first, once each, with what is not a default; then a function a phase, with what it does above it.
// CHECK:      #include "kernels/cuda/program.cuh"
// CHECK:      namespace retort::cuda::program {
// CHECK:      namespace decode_step {
// CHECK:      constexpr EmbedShape Embed_20x32 = {
// CHECK-NEXT:     .hidden = 32, .weights = {{[{][{]}}WeightKind::BF16}}};
// CHECK:      constexpr ProductShape Matmul_32x64_i4g32s = {
// CHECK-NEXT:     .in = 32, .out = 64, .weights = {{[{][{]}}WeightKind::I4, 32}}, .maxRows = 4, .sourceStride = 32,
// CHECK-NEXT:     .destStride = 64, .norm = true, .eps = 1e-05f};
// CHECK:      constexpr AttendShape Attend_2x1x16 = {
// CHECK-NEXT:     .append = {.heads = 2, .cache = {.kvHeads = 1, .dims = 16, .pageBytes = {{[0-9]+}}},
// CHECK:      constexpr ProductShape Glu_32x40_bf16 = {
// CHECK-NEXT:     .in = 32, .out = 40, .weights = {{[{][{]}}WeightKind::BF16}}, .gated = true,
// CHECK:      constexpr ProductShape Matmul_40x32_i4g128a = {
// CHECK-NEXT:     .in = 40, .out = 32, .weights = {{[{][{]}}WeightKind::I4, 128, true}},

// CHECK:      // blk.0.attn_qkv: norm, 32 -> 64, int4 in groups of 32; 2.30 kB of weights; 4 tiles
// CHECK-NEXT: RETORT_DEVICE void p002_blk0_attn_qkv_fetch(Cta &cta) {
// CHECK-NEXT:   matmulFetch<Matmul_32x64_i4g32s>(cta, cta.weights<uint8_t>([[QKV:[0-9]+]]));
// CHECK-NEXT: }
// CHECK:      RETORT_DEVICE void p002_blk0_attn_qkv(Cta &cta) {
// CHECK-NEXT:   matmul<Matmul_32x64_i4g32s>(cta, cta.activation<float>({{[0-9]+}}), cta.weights<float>({{[0-9]+}}), cta.weights<uint8_t>([[QKV]]), cta.activation<float>({{[0-9]+}}), nullptr, nullptr, nullptr);
// CHECK-NEXT: }
// CHECK:      // blk.0.attend: 2 heads on 1 of 16 dims, rope, append, 4 splits; 4 tiles a row
// CHECK:      RETORT_DEVICE void p003_blk0_attend_prefetch(Cta &cta) {
// CHECK-NEXT:   attendPrefetch<Attend_2x1x16>(cta, 0);
// CHECK:        attend<Attend_2x1x16>(cta, {{.*}}, nullptr, nullptr, cta.activation<float>({{[0-9]+}}), cta.activation<float>({{[0-9]+}}), 0, nullptr, cta.activation<float>({{[0-9]+}}), cta.activation<float>({{[0-9]+}}));
// CHECK:      // blk.0.ffn_gate_up: norm, 32 -> 2 x 40, bf16, silu; 12.3 kB of weights; 3 tiles
// CHECK:      // logits: wanted rows, 32 -> 20, bf16, arg-max; 4.10 kB of weights; 2 tiles
// CHECK:        matmulFetch<Matmul_32x20_bf16>(cta,
// CHECK:        matmulArgmax<Matmul_32x20_bf16>(cta, {{.*}}, cta.logits(), nullptr, cta.wanted());

// The next product's first weights are fetched while the CTA waits, as soon as the product before is
// done, also across the attention between them; products that need not wait fetch all the same. Before
// them attention's keys and values set out, which would queue behind the weights.
// CHECK:      RETORT_DEVICE void run(Cta &cta) {
// CHECK-NEXT:   p002_blk0_attn_qkv_fetch(cta);
// CHECK-NEXT:   uint32_t ticket;
// CHECK-NEXT:   p000_rope_angles(cta);
// CHECK-NEXT:   p001_embedding(cta);
// CHECK-NEXT:   cta.wait();
// CHECK-NEXT:   p002_blk0_attn_qkv(cta);
// CHECK-NEXT:   ticket = cta.arrive();
// CHECK-NEXT:   p003_blk0_attend_prefetch(cta);
// CHECK-NEXT:   p004_blk0_attn_output_fetch(cta);
// CHECK-NEXT:   cta.waitFor(ticket);
// CHECK-NEXT:   p003_blk0_attend(cta);
// CHECK-NEXT:   cta.wait();
// CHECK-NEXT:   p004_blk0_attn_output(cta);
// CHECK:        p007_blk1_attn_q(cta);
// CHECK-NEXT:   p008_blk1_attn_k_fetch(cta);
// CHECK-NEXT:   p008_blk1_attn_k(cta);
// CHECK-NEXT:   p009_blk1_attn_v_fetch(cta);
// CHECK-NEXT:   p009_blk1_attn_v(cta);
// CHECK-NEXT:   ticket = cta.arrive();
// CHECK:      RETORT_KERNEL(retort_decode, kThreads, 1, const retort_cuda_step *step) {
// CHECK-NEXT:   Cta cta(step);
// CHECK-NEXT:   decode_step::run(cta);
// CHECK-NEXT: }
// CHECK:      // sample: tokens of 20, in steps that ask for it; 1 tile a row
// CHECK-NEXT: RETORT_KERNEL(retort_decode_sample, kSampleThreads, 1, const retort_cuda_step *step) {
// CHECK-NEXT:   sample<decode_step::Sample_20>(*step);
// CHECK-NEXT: }

// CHECK:      namespace prefill_step {
// CHECK:        prefill::matmul<Matmul_32x64_i4g32s>(
// CHECK:        prefill::ropeAppend<Append_2x1x16>(
// CHECK:        prefill::attention<Attention_2x1x16>(
// CHECK:      RETORT_KERNEL(retort_prefill, kPrefillThreads, 1, const retort_cuda_step *step) {

// A launch a phase, of a kernel that phases of equal shape share: attn_k and attn_v. It fetches before
// it waits for the launch in front of it.
// GRAPH:      #define RETORT_GRAPH 1
// GRAPH-NOT:  void run(
// GRAPH:      RETORT_KERNEL(retort_decode_Matmul_32x64_i4g32s, kThreads, 1, const retort_cuda_step *step, int32_t phase) {
// GRAPH-NEXT:   Cta cta(step);
// GRAPH-NEXT:   switch (phase) {
// GRAPH-NEXT:   case 2:
// GRAPH-NEXT:     decode_step::p002_blk0_attn_qkv_fetch(cta);
// GRAPH-NEXT:     cta.wait();
// GRAPH-NEXT:     decode_step::p002_blk0_attn_qkv(cta);
// GRAPH-NEXT:     break;
// GRAPH-NEXT:   }
// GRAPH-NEXT: }
// GRAPH:      RETORT_KERNEL(retort_decode_Matmul_32x32_f32
// GRAPH:        decode_step::p008_blk1_attn_k(cta);
// GRAPH-NEXT:   break;
// GRAPH-NEXT: case 9:
// GRAPH:        decode_step::p009_blk1_attn_v(cta);
// GRAPH:      RETORT_KERNEL(retort_decode_sample, kSampleThreads, 1, const retort_cuda_step *step) {

// EMITC:      emitc.include "kernels/cuda/program.cuh"
// EMITC:      emitc.func @p002_blk0_attn_qkv_fetch(%{{.*}}: !emitc.opaque<"Cta &">) attributes {specifiers = ["RETORT_DEVICE"]} {
// EMITC-NEXT:   emitc.call_opaque "matmulFetch"(%{{.*}}) {args = [0 : index, #emitc.opaque<"cta.weights<uint8_t>({{[0-9]+}})">], template_args = [#emitc.opaque<"Matmul_32x64_i4g32s">]}
!qkv = tensor<64x32xi4, #weight.format<i4g32s>>
!down = tensor<32x40xi4, #weight.format<i4g128a>>
lm.model @m family "llama" context 1024 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xbf16> {
    %0 = weight.load "token_embd.weight" stored "BF16" : tensor<20x32xbf16>
    weight.yield %0 : tensor<20x32xbf16>
  }
  lm.param @blk.0.attn_norm.weight : tensor<32xf32> {
    %0 = weight.load "blk.0.attn_norm.weight" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.0.attn_qkv.weight : !qkv {
    %0 = weight.load "blk.0.attn_qkv.weight" stored "F32" : tensor<64x32xf32>
    %1 = weight.quantize %0 : tensor<64x32xf32> -> !qkv
    weight.yield %1 : !qkv
  }
  lm.param @blk.0.attn_output.weight : tensor<32x32xf32> {
    %0 = weight.load "blk.0.attn_output.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @blk.0.ffn_norm.weight : tensor<32xf32> {
    %0 = weight.load "blk.0.ffn_norm.weight" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.0.ffn_gate_up.weight : tensor<80x32xbf16> {
    %0 = weight.load "blk.0.ffn_gate_up.weight" stored "BF16" : tensor<80x32xbf16>
    weight.yield %0 : tensor<80x32xbf16>
  }
  lm.param @blk.0.ffn_down.weight : !down {
    %0 = weight.load "blk.0.ffn_down.weight" stored "F32" : tensor<32x40xf32>
    %1 = weight.quantize %0 : tensor<32x40xf32> -> !down
    weight.yield %1 : !down
  }
  lm.param @blk.1.attn_q.weight : tensor<64x32xf32> {
    %0 = weight.load "blk.1.attn_q.weight" stored "F32" : tensor<64x32xf32>
    weight.yield %0 : tensor<64x32xf32>
  }
  lm.param @blk.1.attn_k.weight : tensor<32x32xf32> {
    %0 = weight.load "blk.1.attn_k.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @blk.1.attn_v.weight : tensor<32x32xf32> {
    %0 = weight.load "blk.1.attn_v.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @blk.1.attn_k_norm.weight : tensor<32xf32> {
    %0 = weight.load "blk.1.attn_k_norm.weight" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.1.attn_output.weight : tensor<32x64xf32> {
    %0 = weight.load "blk.1.attn_output.weight" stored "F32" : tensor<32x64xf32>
    weight.yield %0 : tensor<32x64xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x32xf32>):
      %n = lm.norm %a, @blk.0.attn_norm.weight eps 1.0e-5 : tensor<?x32xf32>
      %f = lm.linear %n, @blk.0.attn_qkv.weight : tensor<?x32xf32> -> tensor<?x64xf32>
      %q, %k, %v = lm.split %f : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>
      %qr = lm.rope %q heads 2 dims 16 base 1.0e4 : tensor<?x32xf32>
      %kr = lm.rope %k heads 1 dims 16 base 1.0e4 : tensor<?x16xf32>
      %o = lm.attention %qr, %kr, %v heads 2 kv_heads 1 scale 0.25 : tensor<?x32xf32>, tensor<?x16xf32>
      %p = lm.linear %o, @blk.0.attn_output.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %r = lm.residual %a, %p : tensor<?x32xf32>
      %m = lm.norm %r, @blk.0.ffn_norm.weight eps 1.0e-5 : tensor<?x32xf32>
      %h = lm.linear %m, @blk.0.ffn_gate_up.weight : tensor<?x32xf32> -> tensor<?x80xf32>
      %g, %u = lm.split %h : tensor<?x80xf32> -> tensor<?x40xf32>, tensor<?x40xf32>
      %s = lm.glu %g, %u act silu : tensor<?x40xf32>
      %d = lm.linear %s, @blk.0.ffn_down.weight : tensor<?x40xf32> -> tensor<?x32xf32>
      %z = lm.residual %r, %d : tensor<?x32xf32>
      lm.yield %z : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %w = lm.block "blk.1"(%y) {
    ^bb0(%a: tensor<?x32xf32>):
      %q = lm.linear %a, @blk.1.attn_q.weight : tensor<?x32xf32> -> tensor<?x64xf32>
      %k = lm.linear %a, @blk.1.attn_k.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %v = lm.linear %a, @blk.1.attn_v.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %kn = lm.norm %k, @blk.1.attn_k_norm.weight eps 1.0e-6 : tensor<?x32xf32>
      %o = lm.attention %q, %kn, %v heads 2 kv_heads 1 scale 0.25 window 100 soft_cap 50.0 : tensor<?x64xf32>, tensor<?x32xf32>
      %p = lm.linear %o, @blk.1.attn_output.weight : tensor<?x64xf32> -> tensor<?x32xf32>
      %r = lm.residual %a, %p : tensor<?x32xf32>
      lm.yield %r : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %l = lm.logits %w, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
