// RUN: retort-opt %s --split-input-file --verify-diagnostics
// Each constraint of the kernel dialect, by its label.

// C1 of program
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.phase @p "model" tiles 1 per_row {
  }
  // expected-error @below {{comes after a phase: buffers come first}}
  kernel.buffer @late activation tensor<8x4xf32>
}

// -----

// C2 of program
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{waits for 'p', which is no earlier phase}}
  kernel.wait @p
  kernel.phase @p "model" tiles 1 {
  }
}

// -----

// buffer C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{has type 'tensor<?x64xf32>': a ranked tensor of static shape is needed}}
  kernel.buffer @x activation tensor<?x64xf32>
}

// -----

// buffer C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{has type 'tensor<f32>': a ranked tensor of static shape is needed}}
  kernel.buffer @x input tensor<f32>
}

// -----

// buffer C2
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{is at offset 32, which is no multiple of 64}}
  kernel.buffer @x activation tensor<8x64xf32> offset 32
}

// -----

// buffer C3
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{is an activation of type 'tensor<4x64xf32>': 8 rows (max_rows) are needed}}
  kernel.buffer @x activation tensor<4x64xf32>
}

// -----

// buffer C4
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{is a cache of type 'tensor<2x1x8x16xf16>': 2 x kv_heads x 16 x head_dim of f32, f16, bf16 or f8E4M3FN is needed}}
  kernel.buffer @c cache tensor<2x1x8x16xf16>
}

// -----

// buffer C5
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{holds weights but does not say its bytes}}
  kernel.buffer @w weights tensor<64xf32>
}

// -----

// buffer C5
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{holds a matrix whose layout is not rows16 or rows16_gated}}
  kernel.buffer @w weights tensor<64x64xf32> format f32 bytes 16384
}

// -----

// buffer C5
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @+2 {{'i4g48s' is none of f32, f16, bf16, i8g32, i8g64, i8g128, f8g32, f8g64, f8g128, i4g32s, i4g64s, i4g128s, i4g32a, i4g64a, i4g128a or i3g64s}}
  // expected-error @+1 {{failed to parse Kernel_FormatAttr parameter 'value'}}
  kernel.buffer @w weights tensor<64x64xi4> format i4g48s layout rows16 bytes 4096
}

// -----

// buffer C5
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @+2 {{'rows8' is none of rows16, rows16_gated, mma16 or mma16_gated}}
  // expected-error @+1 {{failed to parse Kernel_LayoutAttr parameter 'value'}}
  kernel.buffer @w weights tensor<64x64xf32> format f32 layout rows8 bytes 16384
}

// -----

// buffer C5
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{holds a matrix but does not say its format}}
  kernel.buffer @w weights tensor<64x64xf32> layout rows16 bytes 16384
}

// -----

// buffer C6
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{is a constant without a value of its type}}
  kernel.buffer @c constant tensor<2xf32> value dense<[1.0]> : tensor<1xf32>
}

// -----

// buffer C6
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{has a value but is no constant}}
  kernel.buffer @c input tensor<1xf32> value dense<[1.0]> : tensor<1xf32>
}

// -----

// an unknown buffer
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.phase @p "model" tiles 2 {
    // expected-error @below {{names 'y', which is no buffer of the program}}
    %0 = kernel.stage @y : <64, f32, 0>
  }
}

// -----

// staged: type
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.phase @p "model" tiles 2 {
    // expected-error @below {{staged rows of 'f32' cannot have groups of 32: floats have group 0}}
    %0 = kernel.stage @x : <64, f32, 32>
  }
}

// -----

// stage C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.phase @p "model" tiles 2 {
    // expected-error @below {{needs 96 columns of 'x', which has 64}}
    %0 = kernel.stage @x at 32 : <64, f32, 0>
  }
}

// -----

// stage C2
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @g weights tensor<32xf32> bytes 128
  kernel.phase @p "model" tiles 2 {
    // expected-error @below {{needs 64 elements of 'g', which has 32}}
    %0 = kernel.stage @x norm @g eps 1.0e-5 : <64, f32, 0>
  }
}

// -----

// matmul C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @w weights tensor<32x64xf32> format f32 layout rows16 bytes 8192
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.phase @p "model" tiles 2 {
    %0 = kernel.stage @x : <48, f32, 0>
    // expected-error @below {{needs 48 columns of 'w', which has 64}}
    kernel.matmul %0, @w -> @y : <48, f32, 0>
  }
}

// -----

// matmul C1, a vector
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x input tensor<8x64xf32>
  kernel.buffer @w weights tensor<64xf32> bytes 256
  kernel.buffer @y activation tensor<8x64xf32>
  kernel.phase @p "model" tiles 4 {
    %0 = kernel.stage @x : <64, f32, 0>
    // expected-error @below {{needs a matrix of weights, 'w' is weights 'tensor<64xf32>'}}
    kernel.matmul %0, @w -> @y : <64, f32, 0>
  }
}

// -----

// matmul_glu C1, no weights
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x input tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.phase @p "model" tiles 2 {
    %0 = kernel.stage @x : <64, f32, 0>
    // expected-error @below {{needs a matrix of weights, 'x' is input 'tensor<8x64xf32>'}}
    kernel.matmul_glu %0, @x -> @y act silu : <64, f32, 0>
  }
}

// -----

// embed C1, no weights
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @x input tensor<8x32xf32>
  kernel.buffer @tokens input tensor<8xi32>
  kernel.phase @p "model" tiles 1 per_row {
    // expected-error @below {{needs a matrix of weights, 'x' is input 'tensor<8x32xf32>'}}
    kernel.embed @tokens, @x -> @y scale 1.0
  }
}

// -----

// matmul C2
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @w weights tensor<32x64xf32> format f32 layout rows16 bytes 8192
  kernel.phase @p "model" tiles 2 {
    %0 = kernel.stage @x : <64, f32, 0>
    // expected-error @below {{needs 32 columns of 'x', which has 64}}
    kernel.matmul %0, @w -> @x : <64, f32, 0>
  }
}

// -----

// matmul C3
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @w weights tensor<32x64xf32> format f32 layout rows16 bytes 8192
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.phase @p "model" tiles 3 {
    %0 = kernel.stage @x : <64, f32, 0>
    // expected-error @below {{needs 2 tiles, its phase has 3}}
    kernel.matmul %0, @w -> @y : <64, f32, 0>
  }
}

// -----

// matmul C4
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @w weights tensor<32x64xf32> format f32 layout rows16 bytes 8192
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.phase @p "model" tiles 2 {
    %0 = kernel.stage @x : <64, f32, 0>
    // expected-error @below {{needs 32 columns of 'x', which has 64}}
    kernel.matmul %0, @w -> @y residual @x : <64, f32, 0>
  }
}

// -----

// matmul_glu C2
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @w weights tensor<32x64xf32> format f32 layout rows16_gated bytes 8192
  kernel.phase @p "model" tiles 2 {
    %0 = kernel.stage @x : <64, f32, 0>
    // expected-error @below {{makes 32 channels of 'w' with 32 rows: 64 are needed}}
    kernel.matmul_glu %0, @w -> @y act silu : <64, f32, 0>
  }
}

// -----

// matmul_glu C2
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @w weights tensor<64x64xf32> format f32 layout rows16 bytes 16384
  kernel.phase @p "model" tiles 2 {
    %0 = kernel.stage @x : <64, f32, 0>
    // expected-error @below {{needs a gated layout of 'w'}}
    kernel.matmul_glu %0, @w -> @y act silu : <64, f32, 0>
  }
}

// -----

// rope_append C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @c cache tensor<2x2x16x16xf32>
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{needs 80 columns of 'x', which has 64}}
    kernel.rope_append @x at 0, @x at 16, @x at 48 -> @c heads 1 kv_heads 2 dims 16
  }
}

// -----

// rope_append C2
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @c cache tensor<2x2x16x16xf32>
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{has 1 key/value heads of 16 dims, its cache is 'tensor<2x2x16x16xf32>'}}
    kernel.rope_append @x at 0, @x at 16, @x at 32 -> @c heads 1 kv_heads 1 dims 16
  }
}

// -----

// rope_append C4
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @c cache tensor<2x2x16x16xf32>
  kernel.buffer @angles activation tensor<8x32xf32>
  kernel.buffer @wide activation tensor<8x128xf32>
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{rotates 32 features of heads of 16}}
    kernel.rope_append @wide at 0, @wide at 32, @wide at 64 -> @c heads 2 kv_heads 2 dims 16 angles @angles
  }
}

// -----

// rope_append C4
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @wide activation tensor<8x128xf32>
  kernel.buffer @c cache tensor<2x2x16x16xf32>
  kernel.buffer @angles activation tensor<8x16xf32>
  kernel.buffer @others activation tensor<8x8xf32>
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{needs 16 columns of 'others', which has 8}}
    kernel.rope_append @wide at 0, @wide at 32, @wide at 64 -> @c heads 2 kv_heads 2 dims 16 angles @angles q_angles @others
  }
}

// -----

// attention C4
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @c cache tensor<2x2x16x16xf32>
  kernel.buffer @s weights tensor<2xf32> bytes 8
  kernel.phase @p "blk.0" tiles 4 per_row {
    // expected-error @below {{needs 4 elements of 's', which has 2}}
    kernel.attention @x at 0, @c -> @x heads 4 kv_heads 2 dims 16 scale 1.0 sinks @s
  }
}

// -----

// attention C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @c cache tensor<2x2x16x16xf32>
  kernel.phase @p "blk.0" tiles 3 per_row {
    // expected-error @below {{has 3 query heads, not a multiple of its 2 key/value heads}}
    kernel.attention @x at 0, @c -> @x heads 3 kv_heads 2 dims 16 scale 1.0
  }
}

// -----

// attention C3
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @c cache tensor<2x2x16x16xf32>
  kernel.phase @p "blk.0" tiles 4 {
    // expected-error @below {{needs 4 tiles per row, its phase has 4}}
    kernel.attention @x at 0, @c -> @x heads 4 kv_heads 2 dims 16 scale 1.0
  }
}

// -----

// norm C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @g weights tensor<64xf32> bytes 256
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{needs 16 elements of 'g', which has 64}}
    kernel.norm @x, @g -> @x eps 1.0e-5 groups 4
  }
}

// -----

// layer_norm C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @g weights tensor<64xf32> bytes 256
  kernel.buffer @b weights tensor<32xf32> bytes 128
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{needs 64 elements of 'b', which has 32}}
    kernel.layer_norm @x, @g, @b -> @x eps 1.0e-5
  }
}

// -----

// layer_norm C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @g weights tensor<64xf32> bytes 256
  kernel.buffer @b weights tensor<32xf32> bytes 128
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{needs 64 elements of 'b', which has 32}}
    kernel.layer_norm @x, @b, @g -> @x eps 1.0e-5
  }
}

// -----

// layer_norm C2
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @g weights tensor<64xf32> bytes 256
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{needs 64 columns of 'y', which has 32}}
    kernel.layer_norm @x, @g, @g -> @y eps 1.0e-5
  }
}

// -----

// layer_norm C3
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @g weights tensor<64xf32> bytes 256
  kernel.phase @p "blk.0" tiles 2 per_row {
    // expected-error @below {{needs 1 tiles per row, its phase has 2 per row}}
    kernel.layer_norm @x, @g, @g -> @x eps 1.0e-5
  }
}

// -----

// glu C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{needs 80 columns of 'x', which has 64}}
    kernel.glu @x at 0, @x at 48 -> @y act silu
  }
}

// -----

// residual C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.phase @p "blk.0" tiles 1 per_row {
    // expected-error @below {{needs 64 columns of 'y', which has 32}}
    kernel.residual @x, @y -> @x
  }
}

// -----

// embed C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @w weights tensor<32x64xf32> format f32 layout rows16 bytes 8192
  kernel.buffer @tokens input tensor<8xi32>
  kernel.phase @p "model" tiles 1 per_row {
    // expected-error @below {{needs 64 columns of 'y', which has 32}}
    kernel.embed @tokens, @w -> @y scale 1.0
  }
}

// -----

// angles C1
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @positions input tensor<8xi32>
  kernel.buffer @freq constant tensor<2xf32> value dense<[1.0, 0.01]> : tensor<2xf32>
  kernel.phase @p "model" tiles 1 per_row {
    // expected-error @below {{needs 4 columns of 'y', which has 32}}
    kernel.angles @positions, @freq -> @y scale 1.0
  }
}

// -----

// angles C2
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @y activation tensor<8x4xf32>
  kernel.buffer @positions input tensor<8xi32>
  kernel.buffer @freq constant tensor<2xf32> value dense<[1.0, 0.01]> : tensor<2xf32>
  kernel.buffer @steps weights tensor<2xf32> bytes 8
  kernel.phase @p "model" tiles 1 per_row {
    // expected-error @below {{needs constant steps with every, or neither}}
    kernel.angles @positions, @freq -> @y scale 1.0 steps @steps every 16
  }
}

// -----

// program C3
// expected-error @below {{has target 'cuda' and step '': "cuda" with "decode" or "prefill", or neither, is needed}}
kernel.program @m target "cuda" max_rows 8 page_rows 16 vocab 48 {
}

// -----

// program C3
// expected-error @below {{has target '' and step 'decode': "cuda" with "decode" or "prefill", or neither, is needed}}
kernel.program @m step "decode" max_rows 8 page_rows 16 vocab 48 {
}

// -----

// program C4
// expected-error @below {{decodes 17 rows: at most 16 are possible}}
kernel.program @m target "cuda" step "decode" max_rows 17 page_rows 16 vocab 48 {
}

// -----

// buffer C5, a CPU's layout in a program for CUDA
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{holds a matrix whose layout is not mma16 or mma16_gated}}
  kernel.buffer @w weights tensor<64x64xf32> format f32 layout rows16 bytes 16384
}

// -----

// phase C1, decoding
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{has tiles for each 64 rows: only prefill has, and not per_row too}}
  kernel.phase @p "model" tiles 2 row_tile 64 {
  }
}

// -----

// phase C1, both
kernel.program @m target "cuda" step "prefill" max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{has tiles for each 64 rows: only prefill has, and not per_row too}}
  kernel.phase @p "model" tiles 2 per_row row_tile 64 {
  }
}

// -----

// stage C3
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.phase @p "model" tiles 2 {
    // expected-error @below {{stages 'f32': CUDA programs stage i16 or f16}}
    %0 = kernel.stage @x : <64, f32, 0>
  }
}

// -----

// stage C3
kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.phase @p "model" tiles 2 {
    // expected-error @below {{stages 'f16': CPU programs stage f32 or i8}}
    %0 = kernel.stage @x : <64, f16, 0>
  }
}

// -----

// attend C1
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @p activation tensor<8x72xf32>
  kernel.buffer @c cache tensor<2x1x16x16xf16>
  kernel.phase @run "blk.0" tiles 2 per_row {
    // expected-error @below {{needs 80 columns of 'x', which has 64}}
    kernel.attend @x at 0, @x at 32, @x at 64, @c, @p -> @y heads 2 kv_heads 1 dims 16 splits 2 scale 1.0
  }
}

// -----

// attend C2
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @p activation tensor<8x72xf32>
  kernel.buffer @c cache tensor<2x2x16x16xf16>
  kernel.phase @run "blk.0" tiles 2 per_row {
    // expected-error @below {{has 1 key/value heads of 16 dims, its cache is 'tensor<2x2x16x16xf16>'}}
    kernel.attend @x at 0, @x at 32, @x at 48, @c, @p -> @y heads 2 kv_heads 1 dims 16 splits 2 scale 1.0
  }
}

// -----

// attend C3
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @p activation tensor<8x72xf32>
  kernel.buffer @c cache tensor<2x1x16x16xf16>
  kernel.phase @run "blk.0" tiles 1 per_row {
    // expected-error @below {{needs 2 tiles per row, its phase has 1 per row}}
    kernel.attend @x at 0, @x at 32, @x at 48, @c, @p -> @y heads 2 kv_heads 1 dims 16 splits 2 scale 1.0
  }
}

// -----

// attend C4
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @p activation tensor<8x72xf32>
  kernel.buffer @c cache tensor<2x1x16x16xf16>
  kernel.phase @run "blk.0" tiles 2 per_row {
    // expected-error @below {{rotates 32 features of heads of 16}}
    kernel.attend @x at 0, @x at 32, @x at 48, @c, @p -> @y heads 2 kv_heads 1 dims 16 splits 2 scale 1.0 angles @y
  }
}

// -----

// attend C5
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @p activation tensor<8x72xf32>
  kernel.buffer @c cache tensor<2x1x16x16xf16>
  kernel.phase @run "blk.0" tiles 2 per_row {
    // expected-error @below {{has 3 query heads, not a multiple of its 2 key/value heads}}
    kernel.attend @x at 0, @x at 32, @x at 48, @c, @p -> @y heads 3 kv_heads 2 dims 16 splits 2 scale 1.0
  }
}

// -----

// attend C5, sinks
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @p activation tensor<8x72xf32>
  kernel.buffer @c cache tensor<2x1x16x16xf16>
  kernel.buffer @s weights tensor<3xf32> bytes 12
  kernel.phase @run "blk.0" tiles 2 per_row {
    // expected-error @below {{needs 2 elements of 's', which has 3}}
    kernel.attend @x at 0, @x at 32, @x at 48, @c, @p -> @y heads 2 kv_heads 1 dims 16 splits 2 scale 1.0 sinks @s
  }
}

// -----

// attend C5, dest
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @p activation tensor<8x36xf32>
  kernel.buffer @c cache tensor<2x1x16x16xf16>
  kernel.phase @run "blk.0" tiles 2 per_row {
    // expected-error @below {{needs 16 columns of 'y', which has 32}}
    kernel.attend @x at 0, @x at 32, @x at 48, @c, @p -> @y heads 1 kv_heads 1 dims 16 splits 2 scale 1.0
  }
}

// -----

// attend C6
kernel.program @m target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @p activation tensor<8x64xf32>
  kernel.buffer @c cache tensor<2x1x16x16xf16>
  kernel.phase @run "blk.0" tiles 2 per_row {
    // expected-error @below {{needs 72 columns of 'p', which has 64}}
    kernel.attend @x at 0, @x at 32, @x at 48, @c, @p -> @y heads 2 kv_heads 1 dims 16 splits 2 scale 1.0
  }
}

// -----

// attend C7
kernel.program @m target "cuda" step "prefill" max_rows 8 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<8x64xf32>
  kernel.buffer @y activation tensor<8x32xf32>
  kernel.buffer @p activation tensor<8x72xf32>
  kernel.buffer @c cache tensor<2x1x16x16xf16>
  kernel.phase @run "blk.0" tiles 2 per_row {
    // expected-error @below {{is only allowed in a CUDA decode step}}
    kernel.attend @x at 0, @x at 32, @x at 48, @c, @p -> @y heads 2 kv_heads 1 dims 16 splits 2 scale 1.0
  }
}

// -----

// matmul C3 with row_tile: 8 blocks of 16 rows a tile
kernel.program @m target "cuda" step "prefill" max_rows 64 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<64x64xf32>
  kernel.buffer @w weights tensor<256x64xbf16> format bf16 layout mma16 bytes 32768
  kernel.buffer @y activation tensor<64x256xf32>
  kernel.phase @p "model" tiles 16 row_tile 64 {
    %0 = kernel.stage @x : <64, f16, 0>
    // expected-error @below {{needs 2 tiles for each 64 rows, its phase has 16 for each 64 rows}}
    kernel.matmul %0, @w -> @y : <64, f16, 0>
  }
}

// -----

// phase C1, parts of what
kernel.program @m target "cuda" step "prefill" max_rows 8 page_rows 16 vocab 48 {
  // expected-error @below {{has rows of 3 parts and no row_tile, which counts them}}
  kernel.phase @p "model" tiles 2 row_parts 3 {
  }
}

// -----

// attention C3 with row_tile: a tile for each 128 queries, 4 a row, of each of 2 key/value heads
kernel.program @m target "cuda" step "prefill" max_rows 64 page_rows 16 vocab 48 {
  kernel.buffer @x activation tensor<64x128xf32>
  kernel.buffer @c cache tensor<2x2x16x16xf16>
  kernel.phase @p "blk.0" tiles 8 row_tile 64 {
    // expected-error @below {{needs 2 tiles for each 128 parts of rows, 4 a row, its phase has 8 for each 64 rows}}
    kernel.attention @x at 0, @c -> @x heads 8 kv_heads 2 dims 16 scale 1.0
  }
}

// -----

// sample C1
kernel.program @m target "cuda" step "decode" max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @other output tensor<4x48xf32>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
    // expected-error @below {{does not follow the kernel.matmul that makes 'other'}}
    kernel.argmax @other -> @chosen
  }
}

// -----

// sample C2
kernel.program @m target "cuda" step "decode" max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @other output tensor<4x48xf32>
  kernel.buffer @chosen output tensor<3xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
    // expected-error @below {{needs 4 x i64 of 'chosen', which is 'tensor<3xi64>'}}
    kernel.argmax @logits -> @chosen
  }
}

// -----

// sample C3
kernel.program @m max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout rows16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @other output tensor<4x48xf32>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f32, 0>
    kernel.matmul %0, @w -> @logits : <64, f32, 0>
    // expected-error @below {{is only allowed in a CUDA program}}
    kernel.argmax @logits -> @chosen
  }
}

// -----

// sample C1
kernel.program @m target "cuda" step "decode" max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @choices input tensor<4x3xi64>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
    kernel.argmax @logits -> @chosen
  }
  kernel.wait @p0
  kernel.phase @p1 "model" tiles 1 per_row {
    // expected-error @below {{is not the one op of the program's last phase}}
    kernel.sample @logits by @choices -> @chosen
  }
  kernel.phase @p2 "model" tiles 1 per_row {
    kernel.residual @x, @x -> @x
  }
}

// -----

// sample C1
kernel.program @m target "cuda" step "decode" max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @choices input tensor<4x3xi64>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
    kernel.argmax @logits -> @chosen
  }
  kernel.wait @p0
  kernel.phase @p1 "model" tiles 2 per_row {
    // expected-error @below {{needs 1 tiles per row, its phase has 2 per row}}
    kernel.sample @logits by @choices -> @chosen
  }
}

// -----

// sample C2
kernel.program @m target "cuda" step "decode" max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @choices input tensor<4x3xi64>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
  }
  kernel.wait @p0
  kernel.phase @p1 "model" tiles 1 per_row {
    // expected-error @below {{follows no kernel.argmax of 'logits' into 'chosen'}}
    kernel.sample @logits by @choices -> @chosen
  }
}

// -----

// sample C3
kernel.program @m target "cuda" step "decode" max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
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
  kernel.phase @p1 "model" tiles 1 per_row {
    // expected-error @below {{reads the logits of another device, and this is device 0 of 1}}
    kernel.sample @logits, @other_logits by @choices -> @chosen
  }
}

// -----

// sample C3
kernel.program @m target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @choices input tensor<4x3xi64>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
    kernel.argmax @logits -> @chosen
  }
  kernel.wait @p0
  kernel.phase @p1 "model" tiles 1 per_row {
    // expected-error @below {{reads one device's logits, and this is device 0 of 2}}
    kernel.sample @logits by @choices -> @chosen
  }
}

// -----

// sample C3
kernel.program @m target "cuda" step "decode" device 1 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
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
  kernel.phase @p1 "model" tiles 1 per_row {
    // expected-error @below {{reads the logits of another device, and this is device 1 of 2}}
    kernel.sample @logits, @other_logits by @choices -> @chosen
  }
}

// -----

// sample C3
kernel.program @m target "cuda" step "decode" max_rows 4 page_rows 16 vocab 50 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @choices input tensor<4x3xi64>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
    kernel.argmax @logits -> @chosen
  }
  kernel.wait @p0
  kernel.phase @p1 "model" tiles 1 per_row {
    // expected-error @below {{draws from 48 logits of a vocabulary of 50}}
    kernel.sample @logits by @choices -> @chosen
  }
}

// -----

// sample C4
kernel.program @m target "cuda" step "decode" max_rows 4 page_rows 16 vocab 48 {
  kernel.buffer @w weights tensor<48x64xbf16> format bf16 layout mma16 bytes 6144
  kernel.buffer @x activation tensor<4x64xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @choices input tensor<4x2xi64>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.phase @p0 "model" tiles 3 {
    %0 = kernel.stage @x : <64, f16, 0>
    kernel.matmul %0, @w -> @logits : <64, f16, 0>
    kernel.argmax @logits -> @chosen
  }
  kernel.wait @p0
  kernel.phase @p1 "model" tiles 1 per_row {
    // expected-error @below {{needs 4 x 3 x i64 of 'choices', which is 'tensor<4x2xi64>'}}
    kernel.sample @logits by @choices -> @chosen
  }
}
