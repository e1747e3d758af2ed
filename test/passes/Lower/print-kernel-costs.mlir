// RUN: retort-opt %s --pass-pipeline='builtin.module(kernel.program(print-kernel-costs))' -o /dev/null | FileCheck %s

// A table of one row of 48 x 64 int4 weights (3 blocks of 576 bytes, a 16th of a block a token), then
// a product with all of it.
// CHECK:      phase tiles weight_bytes activation_bytes cache_bytes_per_position flops wait
// CHECK-NEXT: embed 1 36 256 0 0 -
// CHECK-NEXT: attend 4 0 512 128 0 wait
// CHECK-NEXT: logits_ 3 1728 256 0 6144 -
// CHECK-NEXT: total 8 1764 1024 128 6144 1 waits
// CHECK:      attend_ 4 0 1920 128 384 -
// fp8 keys and values are half of that.
// CHECK-NEXT: attend_fp8 4 0 1920 64 384 -
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @tokens input tensor<8xi32>
  kernel.buffer @wanted input tensor<8xi32>
  kernel.buffer @embd weights tensor<48x64xi4> format i4g32s layout rows16 bytes 1728
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x64xf32>
  kernel.buffer @cache cache tensor<2x2x16x16xf16>
  kernel.buffer @logits output tensor<8x48xf32>
  kernel.phase @embed "model" tiles 1 per_row {
    kernel.embed @tokens, @embd -> @x scale 1.0
  }
  kernel.wait @embed
  kernel.phase @attend "blk.0" tiles 4 per_row {
    kernel.attention @x at 0, @cache -> @y heads 4 kv_heads 2 dims 16 scale 0.25
  }
  kernel.phase @logits_ "model" tiles 3 {
    %0 = kernel.stage @x rows @wanted : <64, i8, 32>
    kernel.matmul %0, @embd -> @logits : <64, i8, 32>
  }
}

// Decoding on CUDA: a row's q, k and v (128 values), partials written and read (144), the result (64).
kernel.program @d target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @qkv input tensor<8x128xf32>
  kernel.buffer @partials activation tensor<8x144xf32>
  kernel.buffer @partials_fp8 activation tensor<8x144xf32>
  kernel.buffer @y activation tensor<8x64xf32>
  kernel.buffer @y_fp8 activation tensor<8x64xf32>
  kernel.buffer @cache cache tensor<2x2x16x16xf16>
  kernel.buffer @fp8 cache tensor<2x2x16x16xf8E4M3FN>
  kernel.phase @attend_ "blk.0" tiles 4 per_row {
    kernel.attend @qkv at 0, @qkv at 64, @qkv at 96, @cache, @partials -> @y heads 4 kv_heads 2 dims 16
      splits 2 scale 0.25
  }
  kernel.phase @attend_fp8 "blk.1" tiles 4 per_row {
    kernel.attend @qkv at 0, @qkv at 64, @qkv at 96, @fp8, @partials_fp8 -> @y_fp8 heads 4 kv_heads 2 dims 16
      splits 2 scale 0.25
  }
}
