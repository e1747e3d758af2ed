// RUN: retort-opt %s --pass-pipeline='builtin.module(kernel.program(print-kernel-costs{on=h100}))' -o /dev/null | FileCheck %s
// RUN: retort-opt %s --pass-pipeline='builtin.module(kernel.program(print-kernel-costs{on=h100 rows=8 context=300}))' -o /dev/null | FileCheck %s --check-prefix=EIGHT
// RUN: retort-opt %s --pass-pipeline='builtin.module(kernel.program(print-kernel-costs{on=h100 graph=true assume=launch_dependent_us:7,issue:4}))' -o /dev/null | FileCheck %s --check-prefix=GRAPH
// RUN: not retort-opt %s --pass-pipeline='builtin.module(kernel.program(print-kernel-costs{on=h10}))' -o /dev/null 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not retort-opt %s --pass-pipeline='builtin.module(kernel.program(print-kernel-costs{on=h100 rows=0}))' -o /dev/null 2>&1 | FileCheck %s --check-prefix=ROWS
// RUN: not retort-opt %s --pass-pipeline='builtin.module(kernel.program(print-kernel-costs{on=h100 assume=wait:1}))' -o /dev/null 2>&1 | FileCheck %s --check-prefix=ASSUME

// A row, 128 positions: 2 heads of keys and values of 16 features in f16 are 128 bytes a position.
// CHECK:      predicted, not measured: NVIDIA H100 SXM 80 GB, 1 row, 128 positions, persistent
// CHECK-NEXT: phase tiles memory_bytes l2_bytes flops us wait_us exchange_us hidden_us bound
// CHECK-NEXT: qkv 8 4608 2048 16384 {{[0-9.]+}} 0.00 0.00 0.00 latency
// CHECK-NEXT: attend 2 16384 0 32768 {{[0-9.]+}} 0.80 0.00 0.00
// CHECK-NEXT: out 4 2304 1024 8192 {{[0-9.]+}} 0.80 0.00 {{[0-9.]+}} latency
// CHECK-NEXT: next 8 4608 2048 16384 {{[0-9.]+}} 0.80 0.00
// CHECK-NEXT: total {{[0-9.]+}} us, {{[0-9.]+}} steps/s, {{[0-9.]+}} GB/s, {{[0-9.]+}} % of 3015
// CHECK-NEXT: of it weights {{[0-9.]+}}, attention {{[0-9.]+}}, waits 2.4, exchange 0.0, launch 3.9, excess {{[0-9.]+}}, other {{[0-9.]+}}, less hidden {{[0-9.]+}}

// EIGHT:      8 rows, 300 positions, persistent
// EIGHT:      qkv 8 4608 16384
// EIGHT-NEXT: attend 32 307200 0

// GRAPH: 128 positions, graph
// GRAPH: qkv {{.*}} 7.00 0.00 0.00 latency
// GRAPH: waits 28.0, exchange

// NAME: error: print-kernel-costs: no device 'h10': known are a100, {{.*}}h100
// ROWS: error: print-kernel-costs: rows=0 context=128: rows and context are positive
// ASSUME: error: print-kernel-costs: assume=wait:1: not a number of a device, as in wait_us:0.5
kernel.program @m target "cuda" step "decode" max_rows 16 page_rows 16 vocab 48 {
  kernel.buffer @x input tensor<16x64xf32>
  kernel.buffer @qkv_ activation tensor<16x128xf32>
  kernel.buffer @partials activation tensor<16x144xf32>
  kernel.buffer @heads activation tensor<16x64xf32>
  kernel.buffer @y activation tensor<16x64xf32>
  kernel.buffer @z activation tensor<16x128xf32>
  kernel.buffer @w_qkv weights tensor<128x64xi4> format i4g32s layout mma16 bytes 4608
  kernel.buffer @w_out weights tensor<64x64xi4> format i4g32s layout mma16 bytes 2304
  kernel.buffer @w_next weights tensor<128x64xi4> format i4g32s layout mma16 bytes 4608
  kernel.buffer @cache cache tensor<2x2x16x16xf16>
  kernel.phase @qkv "blk.0" tiles 8 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w_qkv -> @qkv_ : <64, f16, 0>
  }
  kernel.wait @qkv
  kernel.phase @attend "blk.0" tiles 4 per_row {
    kernel.attend @qkv_ at 0, @qkv_ at 64, @qkv_ at 96, @cache, @partials -> @heads heads 4 kv_heads 2 dims 16 splits 2 scale 0.25
  }
  kernel.wait @attend
  kernel.phase @out "blk.0" tiles 4 {
    %0 = kernel.stage @heads : <64, f16, 0>
    kernel.matmul %0, @w_out -> @y residual @x : <64, f16, 0>
  }
  kernel.wait @out
  kernel.phase @next "blk.0" tiles 8 {
    %0 = kernel.stage @y : <64, f16, 0>
    kernel.matmul %0, @w_next -> @z : <64, f16, 0>
  }
}
