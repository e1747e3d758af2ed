// RUN: retort-opt %s --split-input-file --verify-diagnostics
// What kernel.program's verifier says of accesses, by its label. test/unit/Lower/WaitsTest.cpp does
// the same to whole programs.

// C9: reads what another phase writes.
kernel.program @read max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.buffer @b activation tensor<4x32xf32>
  kernel.phase @p0 "m" tiles 1 per_row {
    kernel.residual @in, @in -> @a
  }
  kernel.phase @p1 "m" tiles 1 per_row {
    // expected-error @below {{in phase 'p1' reads 'a' after 'kernel.residual' in phase 'p0' writes it, with no kernel.wait between them}}
    kernel.glu @a at 0, @a at 0 -> @b act silu
  }
}

// -----

// C9: writes what another phase reads. The wait for @p0 leaves @p1 running.
kernel.program @overwrite max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.buffer @b activation tensor<4x32xf32>
  kernel.phase @p0 "m" tiles 1 per_row {
    kernel.residual @in, @in -> @a
  }
  kernel.wait @p0
  kernel.phase @p1 "m" tiles 1 per_row {
    kernel.glu @a at 0, @a at 0 -> @b act silu
  }
  kernel.wait @p0
  kernel.phase @p2 "m" tiles 1 per_row {
    // expected-error @below {{in phase 'p2' writes 'a' after 'kernel.glu' in phase 'p1' reads it, with no kernel.wait between them}}
    kernel.residual @in, @in -> @a
  }
}

// -----

// C9: writes what another phase writes.
kernel.program @twice max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.phase @p0 "m" tiles 1 per_row {
    kernel.residual @in, @in -> @a
  }
  kernel.phase @p1 "m" tiles 1 per_row {
    // expected-error @below {{in phase 'p1' writes 'a' after 'kernel.residual' in phase 'p0' writes it, with no kernel.wait between them}}
    kernel.residual @in, @in -> @a
  }
}

// -----

// C9: a wait is for this device alone.
kernel.program @exchange target "cuda" step "prefill" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @out activation tensor<4x32xf32>
  kernel.buffer @x activation tensor<4x32xf32>
  kernel.buffer @received received tensor<4x32xf32>
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout mma16 bytes 8192
  kernel.phase @p0 "m" tiles 1 row_tile 64 {
    %s = kernel.stage @in : <32, f16, 0>
    kernel.matmul %s, @w -> @out send @received : <32, f16, 0>
  }
  kernel.wait @p0
  kernel.phase @p1 "m" tiles 1 per_row {
    // expected-error @below {{in phase 'p1' reads 'received' after 'kernel.matmul' in phase 'p0' sends to it, with no kernel.exchange between them}}
    kernel.sum @out, @received -> @x
  }
}

// -----

// C9: the other device may still be reading what it received in this exchange.
kernel.program @resend target "cuda" step "prefill" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @out activation tensor<4x32xf32>
  kernel.buffer @x activation tensor<4x32xf32>
  kernel.buffer @received received tensor<4x32xf32>
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout mma16 bytes 8192
  kernel.phase @p0 "m" tiles 1 row_tile 64 {
    %s = kernel.stage @in : <32, f16, 0>
    kernel.matmul %s, @w -> @out send @received : <32, f16, 0>
  }
  kernel.exchange @p0 index 0
  kernel.phase @p1 "m" tiles 1 per_row {
    kernel.sum @out, @received -> @x
  }
  kernel.wait @p1
  kernel.phase @p2 "m" tiles 1 row_tile 64 {
    %s = kernel.stage @x : <32, f16, 0>
    // expected-error @below {{in phase 'p2' sends to 'received' after 'kernel.sum' in phase 'p1' reads it, with no kernel.exchange between them}}
    kernel.matmul %s, @w -> @out send @received : <32, f16, 0>
  }
}

// -----

// C9: what is sent says that what was received has been read.
kernel.program @announce target "cuda" step "prefill" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @out activation tensor<4x32xf32>
  kernel.buffer @out1 activation tensor<4x32xf32>
  kernel.buffer @x activation tensor<4x32xf32>
  kernel.buffer @received received tensor<4x32xf32>
  kernel.buffer @received1 received tensor<4x32xf32>
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout mma16 bytes 8192
  kernel.phase @p0 "m" tiles 1 row_tile 64 {
    %s = kernel.stage @in : <32, f16, 0>
    kernel.matmul %s, @w -> @out send @received : <32, f16, 0>
  }
  kernel.exchange @p0 index 0
  kernel.wait @p0
  kernel.phase @p1 "m" tiles 1 per_row {
    kernel.sum @out, @received -> @x
  }
  kernel.phase @p2 "m" tiles 1 row_tile 64 {
    %s = kernel.stage @in : <32, f16, 0>
    // expected-error @below {{in phase 'p2' sends to 'received1' after 'kernel.sum' in phase 'p1' reads 'received', with no kernel.wait between them}}
    kernel.matmul %s, @w -> @out1 send @received1 : <32, f16, 0>
  }
}

// -----

// C10: the product's tiles write what its other tiles stage.
kernel.program @tiles max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout rows16 bytes 4096
  kernel.phase @p0 "m" tiles 1 per_row {
    kernel.residual @in, @in -> @a
  }
  kernel.wait @p0
  kernel.phase @p1 "m" tiles 2 {
    %s = kernel.stage @a : <32, f32, 0>
    // expected-error @below {{writes 'a' in phase 'p1', in which other tiles of 'kernel.stage' touch 'a'}}
    kernel.matmul %s, @w -> @a : <32, f32, 0>
  }
}

// -----

// C10: what a tile made itself it may pass on.
kernel.program @own max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.phase @p0 "m" tiles 1 per_row {
    kernel.residual @in, @in -> @a
    kernel.residual @a, @in -> @a
  }
}

// -----

// C11
kernel.program @empty max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.buffer @b activation tensor<4x32xf32>
  kernel.phase @p0 "m" tiles 1 per_row {
    // expected-error @below {{in phase 'p0' reads 'a', which nothing before it writes}}
    kernel.residual @a, @a -> @b
  }
}

// -----

// C11: what is received now was sent for the exchange before the last.
kernel.program @stale target "cuda" step "prefill" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @out activation tensor<4x32xf32>
  kernel.buffer @x activation tensor<4x32xf32>
  kernel.buffer @received received tensor<4x32xf32>
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout mma16 bytes 8192
  kernel.phase @p0 "m" tiles 1 row_tile 64 {
    %s = kernel.stage @in : <32, f16, 0>
    kernel.matmul %s, @w -> @out send @received : <32, f16, 0>
  }
  kernel.exchange @p0 index 0
  kernel.exchange @p0 index 1
  kernel.phase @p1 "m" tiles 1 per_row {
    // expected-error @below {{in phase 'p1' reads 'received', which nothing sends for the last kernel.exchange}}
    kernel.sum @out, @received -> @x
  }
}

// -----

// C12: @a is still read when @b is written.
kernel.program @shared max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @a activation tensor<4x32xf32> offset 0
  // expected-error @below {{shares bytes with 'a', and no kernel.wait ends the use of one before that of the other}}
  kernel.buffer @b activation tensor<4x32xf32> offset 448
  kernel.phase @p0 "m" tiles 1 per_row {
    kernel.residual @in, @in -> @a
  }
  kernel.wait @p0
  kernel.phase @p1 "m" tiles 1 per_row {
    kernel.residual @a, @a -> @b
  }
}

// -----

// C12: what is received has its bytes for itself.
kernel.program @received target "cuda" step "prefill" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @out activation tensor<4x32xf32> offset 512
  kernel.buffer @received received tensor<4x32xf32> offset 0
  // expected-error @below {{shares bytes with 'received'}}
  kernel.buffer @x activation tensor<4x32xf32> offset 0
  kernel.buffer @w weights tensor<32x32xf32> format f32 layout mma16 bytes 8192
  kernel.phase @p0 "m" tiles 1 row_tile 64 {
    %s = kernel.stage @in : <32, f16, 0>
    kernel.matmul %s, @w -> @out send @received : <32, f16, 0>
  }
  kernel.wait @p0
  kernel.phase @p1 "m" tiles 1 per_row {
    kernel.residual @in, @in -> @x
  }
}

// -----

// C3 of phase: a buffer that the op's accesses do not have.
kernel.program @unstated max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.buffer @other activation tensor<4x32xf32>
  kernel.phase @p0 "m" tiles 1 per_row {
    // expected-error @below {{names 'other' as "also" but does not say how it touches it}}
    kernel.residual @in, @in -> @a {also = @other}
  }
}

// -----

// C3 of phase
kernel.program @fixed max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @in input tensor<4x32xf32>
  kernel.phase @p0 "m" tiles 1 per_row {
    // expected-error @below {{writes 'in', which is of kind input}}
    kernel.residual @in, @in -> @in
  }
}

// -----

// C3 of phase
kernel.program @received target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.buffer @received received tensor<4x32xf32>
  kernel.buffer @a activation tensor<4x32xf32>
  kernel.phase @p0 "m" tiles 1 per_row {
    // expected-error @below {{reads 'received', which is received from the other device}}
    kernel.residual @received, @received -> @a
  }
}
