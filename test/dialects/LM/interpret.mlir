// What each op computes, on the three rows of tokens 0, 1 and 2: one model an op. The expected values
// are numpy's, in f64, by the formulas of the reference (docs/reference/lm-dialect.md).
// RUN: retort-opt %s --interpret=tokens=0,1,2 -o /dev/null | FileCheck %s --match-full-lines

// Row r of the result is row tokens[r] of the table, times `scale`.
// CHECK-LABEL: @embed
// CHECK: lm.embed: [3.0000, 4.0000] [1.0000, -1.0000] [0.0000, 0.5000]
// CHECK: lm.embed: [30.0000, 40.0000] [10.0000, -10.0000] [0.0000, 5.0000]
lm.model @embed family "example" context 3 vocab 3 hidden 2 {
  lm.param @rows : tensor<3x2xf32> {
    %0 = weight.constant dense<[[3.0, 4.0], [1.0, -1.0], [0.0, 0.5]]> : tensor<3x2xf32>
    weight.yield %0 : tensor<3x2xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x2xf32>
    %y = lm.embed %tokens, @rows scale 10.0 : tensor<?x2xf32>
    %l = lm.logits %x, @rows : tensor<?x2xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// Row 0 alone: the mean square of [3, 4, 1, -1] is 27 / 4, so each feature is divided by its root,
// 2.5981, and multiplied by its gain. With `groups 2`, [3, 4] and [1, -1] are normed apart. With
// `offset` the gain is 1 + w. `eps` is added to the mean square.
// CHECK-LABEL: @norm
// CHECK: lm.norm: [1.1547, 3.0792, 0.0962, 0.3849] [1.3333, 2.6667, 0.0000, -0.6667] [-0.3904, 0.3904, 0.3904, -1.1711]
// CHECK: lm.norm: [0.8485, 2.2627, 1.0000, -2.0000] [1.0000, 2.0000, 0.0000, 2.8284] [-1.2649, 1.2649, 1.1314, 1.6971]
// CHECK: lm.norm: [1.6036, 3.2071, 1.2649, -1.8974] [1.7056, 2.5584, 0.0000, 2.1213] [-1.3720, 1.0290, 2.1381, 2.4054]
lm.model @norm family "example" context 3 vocab 3 hidden 4 {
  lm.param @rows : tensor<3x4xf32> {
    %0 = weight.constant dense<[[3.0, 4.0, 1.0, -1.0], [2.0, 2.0, 0.0, 1.0], [-1.0, 0.5, 4.0, 3.0]]> : tensor<3x4xf32>
    weight.yield %0 : tensor<3x4xf32>
  }
  lm.param @gain : tensor<4xf32> {
    %0 = weight.constant dense<[1.0, 2.0, 0.25, -1.0]> : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.param @half : tensor<2xf32> {
    %0 = weight.constant dense<[1.0, 2.0]> : tensor<2xf32>
    weight.yield %0 : tensor<2xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x4xf32>
    %a = lm.norm %x, @gain eps 0.0 : tensor<?x4xf32>
    %b = lm.norm %x, @half eps 0.0 groups 2 : tensor<?x4xf32>
    %c = lm.norm %x, @half eps 1.5 groups 2 offset : tensor<?x4xf32>
    %l = lm.logits %x, @rows : tensor<?x4xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// Row 0 alone: the mean of [3, 4, 1, -1] is 1.75 and the mean squared distance from it 3.6875, so each
// feature's distance is divided by 1.9203 and multiplied by its gain; then its bias is added.
// CHECK-LABEL: @layer_norm
// CHECK: lm.layer_norm: [1.1509, 2.3434, -1.0976, 3.4321] [1.4045, 1.8091, -1.3769, 2.3015] [-0.8255, -1.1361, -0.7002, 1.3057]
// CHECK: lm.layer_norm: [1.0488, 1.9758, -1.0823, 3.2074] [1.0071, 1.0142, -1.2113, 2.1690] [-0.6273, -0.9663, -0.7450, 1.4095]
lm.model @layer_norm family "example" context 3 vocab 3 hidden 4 {
  lm.param @rows : tensor<3x4xf32> {
    %0 = weight.constant dense<[[3.0, 4.0, 1.0, -1.0], [2.0, 2.0, 0.0, 1.0], [-1.0, 0.5, 4.0, 3.0]]> : tensor<3x4xf32>
    weight.yield %0 : tensor<3x4xf32>
  }
  lm.param @gain : tensor<4xf32> {
    %0 = weight.constant dense<[1.0, 2.0, 0.25, -1.0]> : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.param @bias : tensor<4xf32> {
    %0 = weight.constant dense<[0.5, 0.0, -1.0, 2.0]> : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x4xf32>
    %a = lm.layer_norm %x, @gain bias @bias eps 0.0 : tensor<?x4xf32>
    %b = lm.layer_norm %x, @gain bias @bias eps 1.5 : tensor<?x4xf32>
    %l = lm.logits %x, @rows : tensor<?x4xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// y = x W^T + b: feature 0 of row 0 is 3 * 1 + 4 * 2.
// CHECK-LABEL: @linear
// CHECK: lm.linear: [11.0000, -4.0000, 2.5000] [-1.0000, 1.0000, 0.2500] [1.0000, -0.5000, 0.1250]
// CHECK: lm.linear: [21.0000, 16.0000, 32.5000] [9.0000, 21.0000, 30.2500] [11.0000, 19.5000, 30.1250]
lm.model @linear family "example" context 3 vocab 3 hidden 2 {
  lm.param @rows : tensor<3x2xf32> {
    %0 = weight.constant dense<[[3.0, 4.0], [1.0, -1.0], [0.0, 0.5]]> : tensor<3x2xf32>
    weight.yield %0 : tensor<3x2xf32>
  }
  lm.param @matrix : tensor<3x2xf32> {
    %0 = weight.constant dense<[[1.0, 2.0], [0.0, -1.0], [0.5, 0.25]]> : tensor<3x2xf32>
    weight.yield %0 : tensor<3x2xf32>
  }
  lm.param @bias : tensor<3xf32> {
    %0 = weight.constant dense<[10.0, 20.0, 30.0]> : tensor<3xf32>
    weight.yield %0 : tensor<3xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x2xf32>
    %a = lm.linear %x, @matrix : tensor<?x2xf32> -> tensor<?x3xf32>
    %b = lm.linear %x, @matrix bias @bias : tensor<?x2xf32> -> tensor<?x3xf32>
    %l = lm.logits %x, @rows : tensor<?x2xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// The first result has the first features.
// CHECK-LABEL: @split
// CHECK: lm.split: [3.0000, 4.0000, 1.0000] [2.0000, 2.0000, 0.0000] [-1.0000, 0.5000, 4.0000]
// CHECK: lm.split: [-1.0000] [1.0000] [3.0000]
lm.model @split family "example" context 3 vocab 3 hidden 4 {
  lm.param @rows : tensor<3x4xf32> {
    %0 = weight.constant dense<[[3.0, 4.0, 1.0, -1.0], [2.0, 2.0, 0.0, 1.0], [-1.0, 0.5, 4.0, 3.0]]> : tensor<3x4xf32>
    weight.yield %0 : tensor<3x4xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x4xf32>
    %a, %b = lm.split %x : tensor<?x4xf32> -> tensor<?x3xf32>, tensor<?x1xf32>
    %l = lm.logits %x, @rows : tensor<?x4xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// Features i and i + dims / 2 of a head are a pair, turned by position * base^(-2i / dims) radians:
// row 0 is at position 0 and stays. With `dims 4` of 6 the last two features stay. With two heads of
// 3 features, `dims 2` turns features 0 and 1 of each. A linear factor of 2 halves the angles.
// CHECK-LABEL: @rope
// CHECK: lm.rope: [1.0000, 2.0000, 3.0000, 4.0000, 5.0000, 6.0000] [0.5403, -0.0998, 0.8415, 0.9950, 0.0000, 7.0000] [0.0770, 0.9801, 2.2347, 0.1987, 8.0000, 9.0000]
// CHECK: lm.rope: [1.0000, 2.0000, 3.0000, 4.0000, 5.0000, 6.0000] [0.5403, 0.8415, 0.0000, 0.5403, 0.8415, 7.0000] [-1.7416, 1.4024, -1.0000, -7.2744, -3.3292, 9.0000]
// CHECK: lm.rope: [1.0000, 2.0000, 3.0000, 4.0000, 5.0000, 6.0000] [0.8776, -0.0500, 0.4794, 0.9988, 0.0000, 7.0000] [1.9221, 0.9950, 1.1426, 0.0998, 8.0000, 9.0000]
// CHECK: lm.rope: [1.0000, 2.0000, 3.0000, 4.0000, 5.0000, 6.0000] [0.5403, -0.0998, 0.8415, 0.9950, 0.0000, 7.0000] [0.1037, 1.3197, 3.0092, 0.2675, 8.0000, 9.0000]
lm.model @rope family "example" context 3 vocab 3 hidden 6 {
  lm.param @rows : tensor<3x6xf32> {
    %0 = weight.constant dense<[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 1.0, 0.0, 7.0], [2.0, 1.0, -1.0, 0.0, 8.0, 9.0]]> : tensor<3x6xf32>
    weight.yield %0 : tensor<3x6xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x6xf32>
    %a = lm.rope %x heads 1 dims 4 base 100.0 : tensor<?x6xf32>
    %b = lm.rope %x heads 2 dims 2 base 100.0 : tensor<?x6xf32>
    %c = lm.rope %x heads 1 dims 4 base 100.0 scaling <linear, factor = 2.0> : tensor<?x6xf32>
    %d = lm.rope %x heads 1 dims 4 base 100.0 length_scale 0.5 every 2 : tensor<?x6xf32>
    %l = lm.logits %x, @rows : tensor<?x6xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// Row r attends to rows 0 to r: row 0 has the value of row 0 whatever its query. Two query heads share
// one key/value head. With `window 1` a row sees itself alone, so both heads have its value. The soft
// cap bends scores before the softmax. With `cache f8e4m3` keys and values are rounded to 4
// significant bits: 1.3 is read as 1.25.
// CHECK-LABEL: @attention
// CHECK: lm.linear: [1.5000, 0.0000] [0.5000, 2.3000] [3.5000, -0.7000]
// CHECK: lm.linear: [1.0000, 1.3000] [2.0000, -1.7000] [4.0000, 3.9000]
// CHECK: lm.attention: [1.0000, 1.3000, 1.0000, 1.3000] [1.9089, -1.4266, 1.6570, -0.6710] [3.7213, 3.6197, 2.0429, -1.3046]
// CHECK: lm.attention: [1.0000, 1.3000, 1.0000, 1.3000] [2.0000, -1.7000, 2.0000, -1.7000] [4.0000, 3.9000, 4.0000, 3.9000]
// CHECK: lm.attention: [1.0000, 1.3000, 1.0000, 1.3000] [1.9089, -1.4266, 1.6570, -0.6710] [3.9780, 3.8385, 2.0949, -1.4344]
// CHECK: lm.attention: [1.0000, 1.3000, 1.0000, 1.3000] [1.7271, -0.8814, 1.5622, -0.3867] [2.5144, 2.2330, 2.2756, 0.7735]
// CHECK: lm.attention: [1.0000, 1.2500, 1.0000, 1.2500] [1.9047, -1.4640, 1.6514, -0.7041] [3.7193, 3.7022, 2.0477, -1.3147]
// CHECK: lm.attention: [1.0000, 0.0000, 0.0000, 1.0000] [0.1192, 1.7616, 0.6225, 1.0000] [1.7738, -0.7497, 0.9720, 2.8519]
// CHECK: lm.attention: [0.5622, 0.7308, 0.0180, 0.0234] [1.6596, -1.2403, 0.1683, -0.0682] [3.6070, 3.5084, 0.9182, -0.5864]
// CHECK: lm.attention: [0.5337, 0.6939, 0.0180, 0.0234] [1.1912, -0.6079, 0.1143, -0.0283] [2.4330, 1.9541, 0.2156, 0.0426]
lm.model @attention family "example" context 3 vocab 3 hidden 4 {
  lm.param @rows : tensor<3x4xf32> {
    %0 = weight.constant dense<[[1.0, 0.0, 0.0, 1.0], [0.0, 2.0, 1.0, 1.0], [2.0, -1.0, 1.0, 3.0]]> : tensor<3x4xf32>
    weight.yield %0 : tensor<3x4xf32>
  }
  lm.param @key : tensor<2x4xf32> {
    %0 = weight.constant dense<[[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.3, 0.0]]> : tensor<2x4xf32>
    weight.yield %0 : tensor<2x4xf32>
  }
  lm.param @value : tensor<2x4xf32> {
    %0 = weight.constant dense<[[0.0, 0.0, 1.0, 1.0], [1.0, -1.0, 0.0, 0.3]]> : tensor<2x4xf32>
    weight.yield %0 : tensor<2x4xf32>
  }
  lm.param @sinks : tensor<2xf32> {
    %0 = weight.constant dense<[0.5, 4.0]> : tensor<2xf32>
    weight.yield %0 : tensor<2xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x4xf32>
    %k = lm.linear %x, @key : tensor<?x4xf32> -> tensor<?x2xf32>
    %v = lm.linear %x, @value : tensor<?x4xf32> -> tensor<?x2xf32>
    %a = lm.attention %x, %k, %v heads 2 kv_heads 1 scale 0.5 : tensor<?x4xf32>, tensor<?x2xf32>
    %b = lm.attention %x, %k, %v heads 2 kv_heads 1 scale 0.5 window 1 : tensor<?x4xf32>, tensor<?x2xf32>
    %c = lm.attention %x, %k, %v heads 2 kv_heads 1 scale 0.5 window 2 : tensor<?x4xf32>, tensor<?x2xf32>
    %d = lm.attention %x, %k, %v heads 2 kv_heads 1 scale 0.5 soft_cap 1.0 : tensor<?x4xf32>, tensor<?x2xf32>
    %e = lm.attention %x, %k, %v heads 2 kv_heads 1 scale 0.5 cache f8e4m3 : tensor<?x4xf32>, tensor<?x2xf32>
    %f = lm.attention %x, %x, %x heads 2 kv_heads 2 scale 0.5 : tensor<?x4xf32>, tensor<?x4xf32>
    %g = lm.attention %x, %k, %v heads 2 kv_heads 1 scale 0.5 sinks @sinks : tensor<?x4xf32>, tensor<?x2xf32>
    %h = lm.attention %x, %k, %v heads 2 kv_heads 1 scale 0.5 window 2 soft_cap 1.0 sinks @sinks : tensor<?x4xf32>, tensor<?x2xf32>
    %l = lm.logits %x, @rows : tensor<?x4xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// act(gate) * up: silu(1) = 1 / (1 + 1/e) = 0.7311, times up = 2. The approximation by tanh
// is off by at most a few thousandths.
// CHECK-LABEL: @glu
// CHECK: lm.linear: [2.0000, 1.0000] [0.0000, -2.0000] [-1.0000, -3.0000]
// CHECK: lm.glu: [1.4621, -0.2689] [0.0000, -3.5232] [0.1888, -8.5732]
// CHECK: lm.glu: [1.6827, -0.1587] [0.0000, -3.9090] [0.1543, -8.9879]
// CHECK: lm.glu: [1.6824, -0.1588] [0.0000, -3.9092] [0.1543, -8.9891]
// CHECK: lm.glu: [1.4621, 0.2689] [0.0000, -1.7616] [-0.3775, -2.8577]
// CHECK: lm.gate: [0.8808, -0.7311] [0.0000, 0.2384] [-0.1345, 0.1423]
lm.model @glu family "example" context 3 vocab 3 hidden 2 {
  lm.param @rows : tensor<3x2xf32> {
    %0 = weight.constant dense<[[1.0, -1.0], [0.0, 2.0], [-0.5, 3.0]]> : tensor<3x2xf32>
    weight.yield %0 : tensor<3x2xf32>
  }
  lm.param @up : tensor<2x2xf32> {
    %0 = weight.constant dense<[[2.0, 0.0], [0.0, -1.0]]> : tensor<2x2xf32>
    weight.yield %0 : tensor<2x2xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x2xf32>
    %u = lm.linear %x, @up : tensor<?x2xf32> -> tensor<?x2xf32>
    %a = lm.glu %x, %u act silu : tensor<?x2xf32>
    %b = lm.glu %x, %u act gelu : tensor<?x2xf32>
    %c = lm.glu %x, %u act gelu_tanh : tensor<?x2xf32>
    %d = lm.glu %x, %u act sigmoid : tensor<?x2xf32>
    %e = lm.gate %x by %u act sigmoid : tensor<?x2xf32>
    %l = lm.logits %x, @rows : tensor<?x2xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// The stream plus the output.
// CHECK-LABEL: @residual
// CHECK: lm.residual: [7.0000, 7.0000] [0.0000, 0.0000] [0.5000, 0.5000]
lm.model @residual family "example" context 3 vocab 3 hidden 2 {
  lm.param @rows : tensor<3x2xf32> {
    %0 = weight.constant dense<[[3.0, 4.0], [1.0, -1.0], [0.0, 0.5]]> : tensor<3x2xf32>
    weight.yield %0 : tensor<3x2xf32>
  }
  lm.param @turn : tensor<2x2xf32> {
    %0 = weight.constant dense<[[0.0, 1.0], [1.0, 0.0]]> : tensor<2x2xf32>
    weight.yield %0 : tensor<2x2xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x2xf32>
    %y = lm.linear %x, @turn : tensor<?x2xf32> -> tensor<?x2xf32>
    %z = lm.residual %x, %y : tensor<?x2xf32>
    %l = lm.logits %x, @rows : tensor<?x2xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// A block is its body: the second reads what the first makes.
// CHECK-LABEL: @block
// CHECK: lm.block "blk.0": [7.0000, 7.0000] [0.0000, 0.0000] [0.5000, 0.5000]
// CHECK: lm.block "blk.1": [21.0000, 7.0000] [0.0000, 0.0000] [1.5000, 0.5000]
lm.model @block family "example" context 3 vocab 3 hidden 2 {
  lm.param @rows : tensor<3x2xf32> {
    %0 = weight.constant dense<[[3.0, 4.0], [1.0, -1.0], [0.0, 0.5]]> : tensor<3x2xf32>
    weight.yield %0 : tensor<3x2xf32>
  }
  lm.param @turn : tensor<2x2xf32> {
    %0 = weight.constant dense<[[0.0, 1.0], [1.0, 0.0]]> : tensor<2x2xf32>
    weight.yield %0 : tensor<2x2xf32>
  }
  lm.param @first : tensor<2x2xf32> {
    %0 = weight.constant dense<[[2.0, 0.0], [0.0, 0.0]]> : tensor<2x2xf32>
    weight.yield %0 : tensor<2x2xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x2xf32>
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x2xf32>):
      %b = lm.linear %a, @turn : tensor<?x2xf32> -> tensor<?x2xf32>
      %c = lm.residual %a, %b : tensor<?x2xf32>
      lm.yield %c : tensor<?x2xf32>
    } : tensor<?x2xf32>
    %z = lm.block "blk.1"(%y) {
    ^bb0(%a: tensor<?x2xf32>):
      %b = lm.linear %a, @first : tensor<?x2xf32> -> tensor<?x2xf32>
      %c = lm.residual %a, %b : tensor<?x2xf32>
      lm.yield %c : tensor<?x2xf32>
    } : tensor<?x2xf32>
    %l = lm.logits %z, @rows : tensor<?x2xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// A product of the row with each token's row; with a soft cap of 4, 25 becomes 4 * tanh(25 / 4).
// CHECK-LABEL: @logits
// CHECK: lm.logits: [4.0000, -0.9797, 1.8485] [-0.9797, 1.8485, -0.4974] [1.8485, -0.4974, 0.2497]
lm.model @logits family "example" context 3 vocab 3 hidden 2 {
  lm.param @rows : tensor<3x2xf32> {
    %0 = weight.constant dense<[[3.0, 4.0], [1.0, -1.0], [0.0, 0.5]]> : tensor<3x2xf32>
    weight.yield %0 : tensor<3x2xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x2xf32>
    %l = lm.logits %x, @rows soft_cap 4.0 : tensor<?x2xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}
