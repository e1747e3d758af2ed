// RUN: retort-opt %s --split-input-file --verify-diagnostics | FileCheck %s
// Programs for two devices: what they send, and what they add up.

// CHECK-LABEL: kernel.program @m.decode target "cuda" step "decode" device 1 of 2 logits_begin 16
// CHECK:         kernel.matmul %{{.*}}, @w -> @out send @received
// CHECK:       kernel.exchange @out_phase index 0
// CHECK:         kernel.sum @out, @received -> @x1 residual @x
kernel.program @m.decode target "cuda" step "decode" device 1 of 2 logits_begin 16 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @x input tensor<4x32xf32>
  kernel.buffer @out activation tensor<4x32xf32>
  kernel.buffer @received received tensor<4x32xf32>
  kernel.buffer @x1 activation tensor<4x32xf32>
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout mma16 bytes 8192
  kernel.phase @out_phase "blk.0" tiles 2 {
    %s = kernel.stage @x : <32, f16, 0>
    kernel.matmul %s, @w -> @out send @received : <32, f16, 0>
  }
  kernel.exchange @out_phase index 0
  kernel.phase @sum_phase "blk.0" tiles 1 per_row {
    kernel.sum @out, @received -> @x1 residual @x
  }
}
// -----
// expected-error @below {{'kernel.program' op is for device 2 of 2: 0 or 1 of 2, on CUDA, is possible}}
kernel.program @third target "cuda" step "decode" device 2 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
}
// -----
kernel.program @alone target "cuda" step "decode" max_rows 4 page_rows 16 vocab 32 {
  // expected-error @below {{'kernel.buffer' op is received, but the program is for one device}}
  kernel.buffer @received received tensor<4x32xf32>
}
// -----
kernel.program @wait target "cuda" step "decode" max_rows 4 page_rows 16 vocab 32 {
  kernel.phase @p "m" tiles 1 {
  }
  // expected-error @below {{'kernel.exchange' op stands in a program for one device}}
  kernel.exchange @p index 0
}
// -----
kernel.program @order target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.phase @p "m" tiles 1 {
  }
  // expected-error @below {{'kernel.exchange' op has index 1, it is number 0}}
  kernel.exchange @p index 1
}
// -----
kernel.program @nothing target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  // expected-error @below {{'kernel.exchange' op waits for 'p', which is no earlier phase}}
  kernel.exchange @p index 0
}
// -----
kernel.program @send target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @x activation tensor<4x32xf32>
  kernel.buffer @out activation tensor<4x32xf32>
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout mma16 bytes 8192
  kernel.phase @p "blk.0" tiles 2 {
    %s = kernel.stage @x : <32, f16, 0>
    // expected-error @below {{'kernel.matmul' op sends to 'x', which is not received}}
    kernel.matmul %s, @w -> @out send @x : <32, f16, 0>
  }
}
// -----
kernel.program @sum target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @x activation tensor<4x32xf32>
  kernel.buffer @out activation tensor<4x32xf32>
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{'kernel.sum' op adds 'out', which is not received}}
    kernel.sum @x, @out -> @x
  }
}
// -----
kernel.program @prefill target "cuda" step "prefill" device 0 of 2 logits_begin 0 max_rows 64 page_rows 16 vocab 32 {
  kernel.buffer @x activation tensor<64x32xf32>
  kernel.buffer @received received tensor<64x32xf32>
  kernel.phase @p "blk.0" tiles 2 {
    // expected-error @below {{'kernel.stage' op adds partial sums outside a CUDA decode step}}
    %s = kernel.stage @x sum @received : <32, f16, 0>
  }
}
// -----
kernel.program @again target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @x activation tensor<4x32xf32>
  kernel.buffer @received received tensor<4x32xf32>
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout mma16 bytes 8192
  kernel.phase @first "blk.0" tiles 2 {
    %s = kernel.stage @x : <32, f16, 0>
    kernel.matmul %s, @w -> @x send @received : <32, f16, 0>
  }
  kernel.exchange @first index 0
  kernel.phase @second "blk.0" tiles 2 {
    %s = kernel.stage @x : <32, f16, 0>
    // expected-error @below {{'kernel.matmul' op sends with no kernel.wait since the last exchange: the other device may not have read what it was sent before}}
    kernel.matmul %s, @w -> @x send @received : <32, f16, 0>
  }
}
