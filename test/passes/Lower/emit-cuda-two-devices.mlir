// The text of one device's programs of two. While decoding, values bring their flags along, and a wait for
// the device's own CTAs is enough; prefill's exchanges wait for the other device too.
// RUN: retort-opt %S/../Partition/partition.mlir -o /dev/null --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=1},fuse-qkv,fuse-gate-up),lower-to-kernel{target=cuda step=decode},lower-to-kernel{target=cuda step=prefill},kernel.program(plan-buffers),emit-cuda)' | FileCheck %s
// RUN: retort-opt %S/../Partition/partition.mlir -o /dev/null --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=0},fuse-qkv,fuse-gate-up),lower-to-kernel{target=cuda step=decode},lower-to-kernel{target=cuda step=prefill},kernel.program(plan-buffers),emit-cuda{form=graph})' | FileCheck %s --check-prefix=GRAPH

// CHECK:      namespace decode1_step {
// CHECK:      constexpr AttendShape Attend_2x1x16 = {
// Two sets of 16 rows of 32 values of 8 bytes, then the counters of attention's splits.
// CHECK:          .countersAt = 1088};
// CHECK:      constexpr ProductShape Matmul_32x32_i4g32s = {
// CHECK:          .sends = true};
// CHECK:      constexpr ProductShape Glu_32x24_f32 = {
// CHECK:          .sums = true};
// CHECK:      // blk.0.attn_output: 32 -> 32, int4 in groups of 32, sent;
// CHECK:        matmul<Matmul_32x32_i4g32s>({{.*}}, cta.activation<float>([[OUT:[0-9]+]]), nullptr, nullptr, nullptr, outbox(cta, 0, 0));
// CHECK:      // blk.0.ffn_gate_up: partial sums, norm,
// CHECK:        matmulGlu<Glu_32x24_f32>(cta, cta.activation<float>([[OUT]]), {{.*}}, {inbox(cta, 0, 0), cta.activation<float>({{[0-9]+}})});
// CHECK:        matmul<Matmul_24x32_f32>({{.*}}, outbox(cta, 2048, 1));
// CHECK:      // logits: partial sums, norm, wanted rows,
// CHECK:        cta.wanted(), {inbox(cta, 2048, 1), nullptr});
// CHECK:      RETORT_DEVICE void run(Cta &cta) {
// CHECK:        p004_blk0_attn_output(cta);
// CHECK-NEXT:   ticket = cta.arrive();
// CHECK-NEXT:   p005_blk0_ffn_gate_up_fetch(cta);
// CHECK-NEXT:   cta.waitFor(ticket);
// CHECK-NEXT:   p005_blk0_ffn_gate_up(cta);
// CHECK:      RETORT_KERNEL(retort_decode_1, kThreads,
// CHECK:      namespace prefill1_step {
// CHECK:        prefill::matmul<Matmul_32x32_i4g32s>({{.*}}, cta.sent<float>([[INBOX:[0-9]+]]));
// CHECK:        prefill::sum<Sum_32>(cta, cta.activation<float>({{[0-9]+}}), cta.received<float>([[INBOX]]), cta.activation<float>({{[0-9]+}}), cta.activation<float>({{[0-9]+}}));
// CHECK:      RETORT_DEVICE void run(Cta &cta) {
// CHECK:        ticket = cta.arriveSending(0);
// CHECK-NEXT:   {{.*}}_fetch(cta);
// CHECK-NEXT:   cta.waitReceiving(ticket, 0);
// CHECK-NEXT:   {{.*}}_blk0_sum(cta);

// GRAPH:      RETORT_KERNEL(retort_decode_0_Matmul_64x32_i4g32s, kThreads,
// GRAPH:          decode0_step::p004_blk0_attn_output_fetch(cta);
// GRAPH-NEXT:     cta.wait();
// GRAPH-NEXT:     decode0_step::p004_blk0_attn_output(cta);
// GRAPH-NEXT:     break;
// GRAPH:      RETORT_KERNEL(retort_prefill_0_Matmul_64x32_i4g32s, kPrefillThreads,
// GRAPH:          prefill0_step::[[P:.*]]_blk0_attn_output(cta);
// GRAPH-NEXT:     cta.send(0);
// GRAPH:      RETORT_KERNEL(retort_prefill_0_Sum_32, kPrefillThreads,
// GRAPH:          cta.wait();
// GRAPH-NEXT:     cta.receive(0);
// GRAPH-NEXT:     prefill0_step::{{.*}}_blk0_sum(cta);
