// Every op that CUDA programs have, on buffers with offsets. Those that end in 2 are what substitutions
// put in the place of others. Device 0 of 2 decodes; one device prefills.
kernel.program @m.decode target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 64 page_bytes 8192 activation_bytes 65536 weight_bytes 65536 {
  kernel.buffer @tokens input tensor<4xi32>
  kernel.buffer @tokens2 input tensor<4xi32>
  kernel.buffer @positions input tensor<4xi32>
  kernel.buffer @positions2 input tensor<4xi32>
  kernel.buffer @wanted input tensor<4xi32>
  kernel.buffer @wanted2 input tensor<4xi32>
  kernel.buffer @in input tensor<4x32xf32>
  kernel.buffer @in2 input tensor<4x32xf32>
  kernel.buffer @wide input tensor<4x128xf32>
  kernel.buffer @qkv input tensor<4x256xf32>
  kernel.buffer @qkv2 input tensor<4x256xf32>
  kernel.buffer @logits output tensor<4x48xf32>
  kernel.buffer @logits2 output tensor<4x48xf32>
  kernel.buffer @other_logits input tensor<4x16xf32>
  kernel.buffer @other_logits2 input tensor<4x16xf32>
  kernel.buffer @choices input tensor<4x3xi64>
  kernel.buffer @choices2 input tensor<4x3xi64>
  kernel.buffer @chosen output tensor<4xi64>
  kernel.buffer @chosen2 output tensor<4xi64>
  kernel.buffer @freq constant tensor<8xf32> value dense<0.5> : tensor<8xf32>
  kernel.buffer @freq2 constant tensor<8xf32> value dense<0.25> : tensor<8xf32>
  kernel.buffer @table weights tensor<48x32xf32> format f32 layout mma16 bytes 12288 offset 0
  kernel.buffer @table2 weights tensor<48x32xf32> format f32 layout mma16 bytes 12288 offset 12288
  kernel.buffer @w weights tensor<32x32xi4> format i4g32s layout mma16 bytes 1152 offset 24576
  kernel.buffer @w2 weights tensor<32x32xi4> format i4g32s layout mma16 bytes 1152 offset 25728
  kernel.buffer @gated weights tensor<64x32xbf16> format bf16 layout mma16_gated bytes 8192 offset 26880
  kernel.buffer @gated2 weights tensor<64x32xbf16> format bf16 layout mma16_gated bytes 8192 offset 35072
  kernel.buffer @gain weights tensor<32xf32> bytes 128 offset 43264
  kernel.buffer @gain2 weights tensor<32xf32> bytes 128 offset 43392
  kernel.buffer @half weights tensor<16xf32> bytes 64 offset 43520
  kernel.buffer @half2 weights tensor<16xf32> bytes 64 offset 43584
  kernel.buffer @sinks weights tensor<4xf32> bytes 16 offset 43648
  kernel.buffer @turned input tensor<4x16xf32>
  kernel.buffer @angles activation tensor<4x16xf32> offset 0
  kernel.buffer @angles2 activation tensor<4x16xf32> offset 256
  kernel.buffer @partials activation tensor<4x144xf32> offset 512
  kernel.buffer @partials2 activation tensor<4x144xf32> offset 2816
  kernel.buffer @attended activation tensor<4x64xf32> offset 5120
  kernel.buffer @attended2 activation tensor<4x64xf32> offset 6144
  kernel.buffer @attended_half activation tensor<4x32xf32> offset 7168
  kernel.buffer @partials_half activation tensor<4x72xf32> offset 7680
  kernel.buffer @partials_fine activation tensor<4x160xf32> offset 8832
  kernel.buffer @partials_three activation tensor<4x216xf32> offset 11392
  kernel.buffer @partials_small activation tensor<4x80xf32> offset 14848
  kernel.buffer @embedded activation tensor<4x32xf32> offset 16384
  kernel.buffer @normed activation tensor<4x32xf32> offset 16896
  kernel.buffer @gated_rows activation tensor<4x32xf32> offset 17408
  kernel.buffer @added activation tensor<4x32xf32> offset 17920
  kernel.buffer @product activation tensor<4x32xf32> offset 18432
  kernel.buffer @product2 activation tensor<4x32xf32> offset 18944
  kernel.buffer @sum activation tensor<4x32xf32> offset 19456
  kernel.buffer @sum2 activation tensor<4x32xf32> offset 19968
  kernel.buffer @last activation tensor<4x32xf32> offset 20480
  kernel.buffer @spare activation tensor<4x32xf32> offset 20992
  kernel.buffer @layered activation tensor<4x32xf32> offset 21504
  kernel.buffer @received received tensor<4x32xf32> offset 0
  kernel.buffer @received2 received tensor<4x32xf32> offset 1024
  kernel.buffer @received3 received tensor<4x32xf32> offset 2048
  kernel.buffer @cache cache tensor<2x2x16x16xf16> offset 0
  kernel.buffer @cache2 cache tensor<2x2x16x16xf16> offset 2048
  kernel.buffer @cache_one cache tensor<2x1x16x16xf16> offset 4096
  kernel.buffer @cache_small cache tensor<2x2x16x8xf16> offset 5120
  kernel.phase @p_first "model" tiles 1 per_row {
    kernel.angles @positions, @freq -> @angles scale 1.0 steps @freq every 4
  }
  kernel.phase @p_embed "model" tiles 1 per_row {
    kernel.embed @tokens, @table -> @embedded scale 1.0
  }
  kernel.wait @p_embed
  kernel.phase @p_attend "blk.0" tiles 4 per_row {
    kernel.attend @qkv at 0, @qkv at 64, @qkv at 96, @cache, @partials -> @attended heads 4 kv_heads 2 dims 16 splits 2 scale 0.25 window 32 soft_cap 50.0 angles @angles q_norm @half k_norm @half eps 1.0e-6 offset
  }
  kernel.wait @p_attend
  kernel.phase @p_norm "blk.0" tiles 1 per_row {
    kernel.norm @in, @gain -> @normed eps 1.0e-5 offset residual @in
  }
  kernel.phase @p_layer_norm "blk.0" tiles 1 per_row {
    kernel.layer_norm @in2, @gain, @gain2 -> @layered eps 1.0e-5
  }
  kernel.phase @p_glu "blk.0" tiles 1 per_row {
    kernel.glu @qkv at 0, @qkv at 40 -> @gated_rows act silu
  }
  kernel.wait @p_glu
  kernel.phase @p_product "blk.0" tiles 2 {
    %0 = kernel.stage @wide at 32 : <32, i16, 32>
    kernel.matmul %0, @w -> @product bias @gain residual @in soft_cap 30.0 send @received : <32, i16, 32>
  }
  kernel.phase @p_residual "blk.0" tiles 1 per_row {
    kernel.residual @in, @in -> @added
  }
  kernel.exchange @p_product index 0
  kernel.phase @p_sum "blk.0" tiles 1 per_row {
    kernel.sum @product, @received -> @sum residual @in
  }
  kernel.wait @p_sum
  kernel.phase @p_again "blk.1" tiles 2 {
    %0 = kernel.stage @sum : <32, i16, 32>
    kernel.matmul %0, @w -> @product2 send @received2 : <32, i16, 32>
  }
  kernel.exchange @p_again index 1
  kernel.phase @p_gate_up "blk.1" tiles 2 {
    %0 = kernel.stage @product2 sum @received2 -> @sum2 norm @gain eps 1.0e-5 offset : <32, f16, 0>
    kernel.matmul_glu %0, @gated -> @last act silu : <32, f16, 0>
  }
  kernel.wait @p_gate_up
  kernel.phase @p_logits "model" tiles 3 {
    %0 = kernel.stage @last norm @gain eps 1.0e-6 rows @wanted : <32, f16, 0>
    kernel.matmul %0, @table -> @logits : <32, f16, 0>
    kernel.argmax @logits -> @chosen
  }
  kernel.wait @p_logits
  kernel.phase @p_draw "model" tiles 1 per_row {
    kernel.sample @logits, @other_logits by @choices -> @chosen
  }
}
kernel.program @m.prefill target "cuda" step "prefill" max_rows 128 page_rows 16 vocab 64 page_bytes 8192 activation_bytes 262144 weight_bytes 65536 {
  kernel.buffer @qkv input tensor<128x256xf32>
  kernel.buffer @qkv2 input tensor<128x256xf32>
  kernel.buffer @q activation tensor<128x256xf32> offset 0
  kernel.buffer @q2 activation tensor<128x256xf32> offset 131072
  kernel.buffer @sinks weights tensor<4xf32> bytes 16 offset 43648
  kernel.buffer @angles input tensor<128x16xf32>
  kernel.buffer @angles2 input tensor<128x16xf32>
  kernel.buffer @half weights tensor<16xf32> bytes 64 offset 43520
  kernel.buffer @half2 weights tensor<16xf32> bytes 64 offset 43584
  kernel.buffer @cache cache tensor<2x2x16x16xf16> offset 0
  kernel.buffer @cache2 cache tensor<2x2x16x16xf16> offset 2048
  kernel.buffer @cache_one cache tensor<2x1x16x16xf16> offset 4096
  kernel.buffer @cache_small cache tensor<2x2x16x8xf16> offset 5120
  kernel.buffer @attended activation tensor<128x64xf32> offset 262144
  kernel.buffer @attended2 activation tensor<128x64xf32> offset 294912
  kernel.buffer @attended_half activation tensor<128x32xf32> offset 327680
  kernel.phase @p_copy "blk.0" tiles 1 per_row {
    kernel.residual @qkv, @qkv -> @q
    kernel.residual @qkv, @qkv -> @q2
  }
  kernel.wait @p_copy
  kernel.phase @p_append "blk.0" tiles 1 per_row {
    kernel.rope_append @q at 0, @q at 64, @qkv at 96 -> @cache heads 4 kv_heads 2 dims 16 angles @angles q_norm @half k_norm @half eps 1.0e-6 offset
  }
  kernel.wait @p_append
  kernel.phase @p_attention "blk.0" tiles 2 row_tile 128 row_parts 2 {
    kernel.attention @q at 0, @cache -> @attended heads 4 kv_heads 2 dims 16 scale 0.25 window 32 soft_cap 50.0
  }
}
