// RUN: retort-opt %s | retort-opt | FileCheck %s
// Every op of the kernel dialect prints what it parses.

// CHECK-LABEL: kernel.program @m max_rows 8 page_rows 16 vocab 48 page_bytes 4096 activation_bytes 8192 weight_bytes 16384
kernel.program @m max_rows 8 page_rows 16 vocab 48 page_bytes 4096 activation_bytes 8192 weight_bytes 16384 {
  // CHECK-NEXT: kernel.buffer @tokens input tensor<8xi32>
  kernel.buffer @tokens input tensor<8xi32>
  kernel.buffer @positions input tensor<8xi32>
  kernel.buffer @wanted input tensor<8xi32>
  // CHECK: kernel.buffer @freq constant tensor<2xf32> value dense<[1.000000e+00, 5.000000e-01]> : tensor<2xf32>
  kernel.buffer @freq constant tensor<2xf32> value dense<[1.0, 0.5]> : tensor<2xf32>
  kernel.buffer @steps constant tensor<2xf32> value dense<[1.0, 1.5]> : tensor<2xf32>
  kernel.buffer @sinks weights tensor<4xf32> bytes 16
  kernel.buffer @q_angles activation tensor<8x4xf32>
  // CHECK: kernel.buffer @embd weights tensor<48x64xi4> format i4g32s layout rows16 bytes 1728 offset 0
  kernel.buffer @embd weights tensor<48x64xi4> format i4g32s layout rows16 bytes 1728 offset 0
  kernel.buffer @gain weights tensor<64xf32> bytes 256 offset 1728
  kernel.buffer @head_gain weights tensor<16xf32> bytes 64
  kernel.buffer @bias weights tensor<128xf32> bytes 512
  kernel.buffer @qkv.w weights tensor<128x64xf32> format f32 layout rows16 bytes 32768
  kernel.buffer @gate_up.w weights tensor<80x64xbf16> format bf16 layout rows16_gated bytes 12288
  kernel.buffer @x activation tensor<8x64xf32> offset 0
  kernel.buffer @y activation tensor<8x64xf32> offset 2048
  kernel.buffer @angles activation tensor<8x4xf32>
  kernel.buffer @qkv activation tensor<8x128xf32>
  kernel.buffer @glu activation tensor<8x40xf32>
  // CHECK: kernel.buffer @cache cache tensor<2x2x16x16xf16> offset 0
  kernel.buffer @cache cache tensor<2x2x16x16xf16> offset 0
  kernel.buffer @logits output tensor<8x48xf32>

  // CHECK: kernel.phase @p0 "model" tiles 1 per_row {
  // CHECK-NEXT: kernel.embed @tokens, @embd -> @x scale 8.000000e+00
  // CHECK-NEXT: kernel.angles @positions, @freq -> @angles scale 1.000000e+00
  // CHECK-NEXT: kernel.angles @positions, @freq -> @q_angles scale 1.000000e+00 steps @steps every 4
  kernel.phase @p0 "model" tiles 1 per_row {
    kernel.embed @tokens, @embd -> @x scale 8.0
    kernel.angles @positions, @freq -> @angles scale 1.0
    kernel.angles @positions, @freq -> @q_angles scale 1.0 steps @steps every 4
  }
  // CHECK: kernel.wait @p0
  kernel.wait @p0
  // CHECK-NEXT: kernel.phase @p1 "blk.0" tiles 8 {
  // CHECK-NEXT: %[[S:.*]] = kernel.stage @x norm @gain eps 9.99999974E-6 offset : <64, f32, 0>
  // CHECK-NEXT: kernel.matmul %[[S]], @qkv.w -> @qkv bias @bias : <64, f32, 0>
  kernel.phase @p1 "blk.0" tiles 8 {
    %0 = kernel.stage @x norm @gain eps 1.0e-5 offset : <64, f32, 0>
    kernel.matmul %0, @qkv.w -> @qkv bias @bias : <64, f32, 0>
  }
  kernel.wait @p1
  // CHECK: kernel.rope_append @qkv at 0, @qkv at 64, @qkv at 96 -> @cache heads 4 kv_heads 2 dims 16 angles @angles q_angles @q_angles q_norm @head_gain k_norm @head_gain eps 9.99999997E-7 offset norm_last
  kernel.phase @p2 "blk.0" tiles 1 per_row {
    kernel.rope_append @qkv at 0, @qkv at 64, @qkv at 96 -> @cache heads 4 kv_heads 2 dims 16
      angles @angles q_angles @q_angles q_norm @head_gain k_norm @head_gain eps 1.0e-6 offset norm_last
  }
  kernel.wait @p2
  // CHECK: kernel.attention @qkv at 0, @cache -> @y heads 4 kv_heads 2 dims 16 scale 2.500000e-01 window 32 soft_cap 5.000000e+01 sinks @sinks
  kernel.phase @p3 "blk.0" tiles 4 per_row {
    kernel.attention @qkv at 0, @cache -> @y heads 4 kv_heads 2 dims 16 scale 0.25 window 32 soft_cap 50.0 sinks @sinks
  }
  kernel.wait @p3
  // CHECK: kernel.norm @y, @gain -> @x eps 9.99999974E-6 residual @y
  // CHECK-NEXT: kernel.norm @y, @head_gain -> @x eps 9.99999974E-6 groups 4
  // CHECK-NEXT: kernel.layer_norm @x, @gain, @gain -> @y eps 9.99999974E-6
  // CHECK-NEXT: kernel.residual @x, @y -> @x
  kernel.phase @p4 "blk.0" tiles 1 per_row {
    kernel.norm @y, @gain -> @x eps 1.0e-5 residual @y
    kernel.norm @y, @head_gain -> @x eps 1.0e-5 groups 4
    kernel.layer_norm @x, @gain, @gain -> @y eps 1.0e-5
    kernel.residual @x, @y -> @x
  }
  kernel.wait @p4
  // CHECK: kernel.matmul_glu %{{.*}}, @gate_up.w -> @glu act silu : <64, f32, 0>
  kernel.phase @p5 "blk.0" tiles 3 {
    %0 = kernel.stage @x : <64, f32, 0>
    kernel.matmul_glu %0, @gate_up.w -> @glu act silu : <64, f32, 0>
  }
  kernel.wait @p5
  // CHECK: kernel.glu @qkv at 0, @qkv at 40 -> @glu act gelu_tanh
  kernel.phase @p6 "blk.0" tiles 1 per_row {
    kernel.glu @qkv at 0, @qkv at 40 -> @glu act gelu_tanh
  }
  // CHECK: %[[W:.*]] = kernel.stage @x rows @wanted : <64, i8, 32>
  // CHECK-NEXT: kernel.matmul %[[W]], @embd -> @logits soft_cap 3.000000e+01 : <64, i8, 32>
  kernel.phase @p7 "model" tiles 3 {
    %0 = kernel.stage @x rows @wanted : <64, i8, 32>
    kernel.matmul %0, @embd -> @logits soft_cap 30.0 : <64, i8, 32>
  }
}

// A CUDA program for decoding has weights in tensor-core order, stages f16 and attends in one phase.
// CHECK-LABEL: kernel.program @m.decode target "cuda" step "decode" max_rows 16 page_rows 16 vocab 48 {
kernel.program @m.decode target "cuda" step "decode" max_rows 16 page_rows 16 vocab 48 {
  // CHECK: kernel.buffer @w weights tensor<128x64xbf16> format bf16 layout mma16 bytes 16384
  kernel.buffer @w weights tensor<128x64xbf16> format bf16 layout mma16 bytes 16384
  kernel.buffer @gain weights tensor<16xf32> bytes 64
  kernel.buffer @sinks weights tensor<4xf32> bytes 16
  kernel.buffer @x activation tensor<16x64xf32>
  kernel.buffer @qkv activation tensor<16x128xf32>
  kernel.buffer @angles activation tensor<16x16xf32>
  kernel.buffer @partials activation tensor<16x144xf32>
  kernel.buffer @cache cache tensor<2x2x16x16xf16>
  kernel.buffer @in input tensor<16x64xf32>
  kernel.buffer @positions input tensor<16xi32>
  kernel.buffer @freq constant tensor<8xf32> value dense<0.5> : tensor<8xf32>
  kernel.phase @first "model" tiles 1 per_row {
    kernel.residual @in, @in -> @x
    kernel.angles @positions, @freq -> @angles scale 1.0
  }
  kernel.wait @first
  // CHECK: kernel.stage @x : <64, f16, 0>
  // CHECK-NEXT: kernel.matmul %{{.*}}, @w -> @qkv : <64, f16, 0>
  kernel.phase @p0 "blk.0" tiles 8 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @qkv : <64, f16, 0>
  }
  kernel.wait @p0
  // CHECK: kernel.phase @p1 "blk.0" tiles 4 per_row {
  // CHECK-NEXT: kernel.attend @qkv at 0, @qkv at 64, @qkv at 96, @cache, @partials -> @x heads 4 kv_heads 2 dims 16 splits 2 scale 2.500000e-01 window 32 soft_cap 5.000000e+01 sinks @sinks angles @angles q_angles @angles q_norm @gain k_norm @gain eps 9.99999997E-7 offset norm_last
  kernel.phase @p1 "blk.0" tiles 4 per_row {
    kernel.attend @qkv at 0, @qkv at 64, @qkv at 96, @cache, @partials -> @x heads 4 kv_heads 2 dims 16
      splits 2 scale 0.25 window 32 soft_cap 50.0 sinks @sinks angles @angles q_angles @angles q_norm @gain k_norm @gain eps 1.0e-6 offset norm_last
  }
}

// A phase of a CUDA program for prefill may have tiles for each few rows.
// CHECK-LABEL: kernel.program @m.prefill target "cuda" step "prefill" max_rows 128
kernel.program @m.prefill target "cuda" step "prefill" max_rows 128 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<128x64xbf16> format bf16 layout mma16 bytes 16384
  kernel.buffer @x input tensor<128x64xf32>
  kernel.buffer @y activation tensor<128x128xf32>
  // CHECK: kernel.phase @p0 "blk.0" tiles 1 row_tile 64 {
  kernel.phase @p0 "blk.0" tiles 1 row_tile 64 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @y : <64, f16, 0>
  }
}

// The logits' product also keeps the largest of them.
// CHECK-LABEL: kernel.program @m.greedy
kernel.program @m.greedy target "cuda" step "decode" max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x input tensor<4x64xf32>
  kernel.buffer @wanted input tensor<4xi32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @chosen output tensor<4xi64>
  // CHECK:      kernel.matmul %{{.*}}, @w -> @logits : <64, f16, 0>
  // CHECK-NEXT: kernel.argmax @logits -> @chosen
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x rows @wanted : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
    kernel.argmax @logits -> @chosen
  }
}

// Tokens are drawn in a phase of their own, of two devices by the first.
// CHECK-LABEL: kernel.program @m.drawn
kernel.program @m.drawn target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 64 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x input tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @other_logits input tensor<4x16xf32>
  kernel.buffer @choices input tensor<4x3xi64>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
    kernel.argmax @logits -> @chosen
  }
  kernel.wait @p0
  // CHECK:      kernel.phase @p1 "model" tiles 1 per_row {
  // CHECK-NEXT: kernel.sample @logits, @other_logits by @choices -> @chosen
  kernel.phase @p1 "model" tiles 1 per_row {
    kernel.sample @logits, @other_logits by @choices -> @chosen
  }
}
