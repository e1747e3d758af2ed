// A program with a buffer of each kind that can be another one.
kernel.program @m target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 64 page_bytes 0 activation_bytes 4096 weight_bytes 16384 {
  kernel.buffer @a input tensor<4x32xf32>
  kernel.buffer @positions input tensor<4xi32>
  kernel.buffer @freq constant tensor<8xf32> value dense<0.5> : tensor<8xf32>
  kernel.buffer @gain weights tensor<32xf32> bytes 128 offset 128
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout mma16 bytes 8192 offset 1024
  kernel.buffer @angles activation tensor<4x16xf32> offset 0
  kernel.buffer @out output tensor<4x32xf32>
  kernel.buffer @product activation tensor<4x32xf32> offset 1024
  kernel.phase @p0 "model" tiles 1 per_row {
    kernel.angles @positions, @freq -> @angles scale 1.0
    kernel.norm @a, @gain -> @out eps 1.0e-5
  }
  kernel.phase @p1 "model" tiles 2 {
    %0 = kernel.stage @a : <32, f16, 0>
    kernel.matmul %0, @w -> @product : <32, f16, 0>
  }
}
