// One model with every op that computes, on weights of its own.
lm.model @m family "example" context 8 vocab 3 hidden 4 {
  lm.param @rows : tensor<3x4xf32> {
    %0 = weight.constant dense<[[1.0, 0.5, -0.5, 1.0], [0.3, 2.0, 1.0, 1.0], [2.0, -1.0, 1.0, 3.0]]> : tensor<3x4xf32>
    weight.yield %0 : tensor<3x4xf32>
  }
  lm.param @rows2 : tensor<3x4xf32> {
    %0 = weight.constant dense<[[0.5, 0.0, 0.5, 1.0], [1.3, 2.0, -1.0, 1.0], [2.0, 1.0, 1.0, 0.0]]> : tensor<3x4xf32>
    weight.yield %0 : tensor<3x4xf32>
  }
  lm.param @half : tensor<2xf32> {
    %0 = weight.constant dense<[1.0, 2.0]> : tensor<2xf32>
    weight.yield %0 : tensor<2xf32>
  }
  lm.param @half2 : tensor<2xf32> {
    %0 = weight.constant dense<[3.0, 0.5]> : tensor<2xf32>
    weight.yield %0 : tensor<2xf32>
  }
  lm.param @gain : tensor<4xf32> {
    %0 = weight.constant dense<[1.0, 2.0, 0.25, -1.0]> : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.param @gain2 : tensor<4xf32> {
    %0 = weight.constant dense<[0.5, 1.0, -0.25, 2.0]> : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.param @key : tensor<2x4xf32> {
    %0 = weight.constant dense<[[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.3, 0.0]]> : tensor<2x4xf32>
    weight.yield %0 : tensor<2x4xf32>
  }
  lm.param @value : tensor<2x4xf32> {
    %0 = weight.constant dense<[[0.0, 0.0, 1.0, 1.0], [1.0, -1.0, 0.0, 0.3]]> : tensor<2x4xf32>
    weight.yield %0 : tensor<2x4xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x4xf32>
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x4xf32>):
      %n = lm.norm %a, @half eps 1.0e-5 groups 2 : tensor<?x4xf32>
      %m = lm.layer_norm %a, @gain bias @gain2 eps 1.0e-6 : tensor<?x4xf32>
      %k = lm.linear %n, @key : tensor<?x4xf32> -> tensor<?x2xf32>
      %v = lm.linear %n, @value bias @half : tensor<?x4xf32> -> tensor<?x2xf32>
      %q = lm.rope %n heads 2 dims 2 base 100.0 : tensor<?x4xf32>
      %w = lm.rope %n heads 1 dims 4 base 100.0 scaling <linear, factor = 2.0> : tensor<?x4xf32>
      %u = lm.rope %n heads 1 dims 4 base 100.0 scaling <yarn, factor = 2.0, original_context = 64.0, beta_fast = 8.0, beta_slow = 0.1, truncate = false> : tensor<?x4xf32>
      %z = lm.rope %n heads 1 dims 4 base 100.0 scaling <llama3, factor = 2.0, original_context = 64.0, low_freq_factor = 0.5, high_freq_factor = 4.0> : tensor<?x4xf32>
      %j = lm.rope %n heads 1 dims 4 base 100.0 length_scale 0.75 every 2 : tensor<?x4xf32>
      %o = lm.attention %q, %k, %v heads 2 kv_heads 1 scale 0.5 : tensor<?x4xf32>, tensor<?x2xf32>
      %g = lm.glu %w, %o act silu : tensor<?x4xf32>
      %t = lm.gate %g by %o act sigmoid : tensor<?x4xf32>
      %r = lm.residual %a, %t : tensor<?x4xf32>
      lm.yield %r : tensor<?x4xf32>
    } : tensor<?x4xf32>
    %l = lm.logits %y, @rows : tensor<?x4xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}
