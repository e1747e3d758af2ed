// What the interpreter refuses.
// RUN: retort-opt %s --split-input-file --verify-diagnostics --interpret=tokens=0,3 -o /dev/null

// One device's part of a model has no meaning without the other's.
// expected-error @below {{interpret: the executor does not run 'lm.all_reduce' (model 'shard')}}
lm.model @shard family "example" context 2 vocab 4 hidden 1 attributes {shard = #lm.shard<device = 0, devices = 2, begin = 0, logits = 4>} {
  lm.param @rows : tensor<4x1xf32> {
    %0 = weight.constant dense<1.0> : tensor<4x1xf32>
    weight.yield %0 : tensor<4x1xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x1xf32>
    %y = lm.all_reduce %x : tensor<?x1xf32>
    %l = lm.logits %y, @rows : tensor<?x1xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}

// -----

// expected-error @below {{interpret: the executor does not read 'note' of 'lm.embed' (model 'noted')}}
lm.model @noted family "example" context 2 vocab 4 hidden 1 {
  lm.param @rows : tensor<4x1xf32> {
    %0 = weight.constant dense<1.0> : tensor<4x1xf32>
    weight.yield %0 : tensor<4x1xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows {note = "?"} : tensor<?x1xf32>
    %l = lm.logits %x, @rows : tensor<?x1xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}

// -----

// expected-error @below {{interpret: sequence 0: token 3 is not in the vocabulary of 3}}
lm.model @few family "example" context 2 vocab 3 hidden 1 {
  lm.param @rows : tensor<3x1xf32> {
    %0 = weight.constant dense<1.0> : tensor<3x1xf32>
    weight.yield %0 : tensor<3x1xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x1xf32>
    %l = lm.logits %x, @rows : tensor<?x1xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}

// -----

// expected-error @below {{interpret: there is no checkpoint and so: has no tensor 'rows'}}
lm.model @loaded family "example" context 2 vocab 4 hidden 1 {
  lm.param @rows : tensor<4x1xf32> {
    %0 = weight.load "rows" stored "F32" : tensor<4x1xf32>
    weight.yield %0 : tensor<4x1xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x1xf32>
    %l = lm.logits %x, @rows : tensor<?x1xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
