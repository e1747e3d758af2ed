// RUN: retort-opt %s --split-input-file --pass-pipeline='builtin.module(kernel.program(plan-buffers))' | FileCheck %s

// @a and @c never live at the same time: they share bytes. Weights and caches lie in order.
// CHECK-LABEL: kernel.program @chain
// CHECK-SAME:  page_bytes 1024 activation_bytes 1024 weight_bytes 16384
// CHECK:       kernel.buffer @w1 {{.*}} bytes 8192 offset 0
// CHECK:       kernel.buffer @w2 {{.*}} bytes 8160 offset 8192
// CHECK:       kernel.buffer @a {{.*}} offset 0
// CHECK:       kernel.buffer @b {{.*}} offset 512
// CHECK:       kernel.buffer @c {{.*}} offset 0
// CHECK:       kernel.buffer @cache {{.*}} offset 0
kernel.program @chain max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @w1 weights tensor<32x32xf32> format f32 layout rows16 bytes 8192
  kernel.buffer @w2 weights tensor<32x32xf32> format f32 layout rows16 bytes 8160
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.buffer @b activation tensor<4x32xf32>
  kernel.buffer @c activation tensor<4x32xf32>
  kernel.buffer @cache cache tensor<2x1x16x16xf16>
  kernel.buffer @in input tensor<4x32xf32>
  kernel.phase @first "m" tiles 1 per_row {
    kernel.residual @in, @in -> @a
  }
  kernel.wait @first
  kernel.phase @p0 "m" tiles 2 {
    %0 = kernel.stage @a : <32, f32, 0>
    kernel.matmul %0, @w1 -> @b : <32, f32, 0>
  }
  kernel.wait @p0
  kernel.phase @p1 "m" tiles 2 {
    %0 = kernel.stage @b : <32, f32, 0>
    kernel.matmul %0, @w2 -> @c : <32, f32, 0>
  }
}

// -----

// Without a wait between them the phases run at the same time: nothing is shared.
// CHECK-LABEL: kernel.program @together
// CHECK-SAME:  activation_bytes 2048
kernel.program @together max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.buffer @b activation tensor<4x32xf32>
  kernel.buffer @c activation tensor<4x32xf32>
  kernel.buffer @d activation tensor<4x32xf32>
  kernel.buffer @in input tensor<4x32xf32>
  kernel.phase @first "m" tiles 1 per_row {
    kernel.residual @in, @in -> @a
    kernel.residual @in, @in -> @c
  }
  kernel.wait @first
  kernel.phase @p0 "m" tiles 1 per_row {
    kernel.residual @a, @a -> @b
  }
  kernel.phase @p1 "m" tiles 1 per_row {
    kernel.residual @c, @c -> @d
  }
}
