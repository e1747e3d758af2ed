// RUN: retort-opt %s | retort-opt | FileCheck %s
// The examples of the reference, as they print.

lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @output.weight : tensor<4x8xf32> {
    %0 = weight.load "output.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @output.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}

// CHECK: distill.observe @seen model @teacher tokens 40000 statistics [#distill.statistic<vocabulary>, #distill.statistic<ffn>]
distill.observe @seen model @teacher tokens 40000
    statistics [#distill.statistic<vocabulary>, #distill.statistic<ffn>]
// CHECK: distill.observe @more model @teacher tokens 1 sequence_length 64 statistics
// CHECK-SAME: result <"{{9f86.*}}">
distill.observe @more model @teacher tokens 1 sequence_length 64
    statistics [#distill.statistic<influence>, #distill.statistic<heads>]
    result <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
// CHECK: distill.fit @refit teacher @teacher student @student tokens 16384
// CHECK-NEXT: params ["token_embd.weight"] damping 1.000000e-02 quantize <i4g32s> embedding <i8g32> logits <i4g64s>
distill.fit @refit teacher @teacher student @student tokens 16384
    params ["token_embd.weight"] damping 1.0e-2
    quantize #weight.format<i4g32s>
    embedding #weight.format<i8g32> logits #weight.format<i4g64s>
// CHECK: distill.fit @again teacher @teacher student @student tokens 1 sequence_length 64
// CHECK-NEXT: params ["token_embd.weight"] damping 1.000000e+00 result <"{{9f86.*}}"> applied
distill.fit @again teacher @teacher student @student tokens 1 sequence_length 64
    params ["token_embd.weight"] damping 1.0
    result <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"> applied
// CHECK: distill.train @heal teacher @teacher student @student
// CHECK-NEXT: losses [#distill.loss<forward_kl, weight = 1.000000e+00, temperature = 1.000000e+00>, #distill.loss<cross_entropy, weight = 5.000000e-01>]
// CHECK-NEXT: tokens 100000 sequence_length 512 batch_tokens 4096
// CHECK-NEXT: learning_rate 1.000000e-03 warmup 5.000000e-02 schedule cosine weight_decay 1.000000e-02 clip 1.000000e+00 seed 1 quantize <i4g32s>
distill.train @heal teacher @teacher student @student
    losses [#distill.loss<forward_kl, weight = 1.0>, #distill.loss<cross_entropy, weight = 0.5>]
    tokens 100000 sequence_length 512 batch_tokens 4096 learning_rate 1.0e-3 warmup 0.05
    schedule cosine weight_decay 0.01 clip 1.0 seed 1
    quantize #weight.format<i4g32s>
// CHECK: distill.train @scales
// CHECK: quantize <i4g32s> embedding <i8g32> logits <i4g64s> freeze_codes
distill.train @scales teacher @teacher student @student
    losses [#distill.loss<forward_kl, weight = 1.0>]
    tokens 100000 sequence_length 512 batch_tokens 4096 learning_rate 1.0e-3 warmup 0.05
    schedule cosine weight_decay 0.01 clip 1.0 seed 1
    quantize #weight.format<i4g32s> embedding #weight.format<i8g32>
    logits #weight.format<i4g64s> freeze_codes
// CHECK: distill.train @all
// CHECK-NEXT: losses [#distill.loss<reverse_kl, weight = 1.000000e+00, temperature = 2.000000e+00>, #distill.loss<jensen_shannon, weight = 1.000000e+00, temperature = 2.000000e+00>, #distill.loss<hidden_state, weight = 1.000000e+00>]
// CHECK: schedule linear
// CHECK-SAME: frozen ["output.weight"] result <"{{9f86.*}}"> applied
distill.train @all teacher @teacher student @student
    losses [#distill.loss<reverse_kl, weight = 1.0, temperature = 2.0>, #distill.loss<jensen_shannon, weight = 1.0, temperature = 2.0>,
            #distill.loss<hidden_state, weight = 1.0>]
    tokens 100000 sequence_length 512 batch_tokens 4096 learning_rate 1.0e-3 warmup 0.05
    schedule linear weight_decay 0.01 clip 1.0 seed 1 frozen ["output.weight"]
    result <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"> applied
// CHECK: distill.score @before model @teacher tokens 20000
distill.score @before model @teacher tokens 20000
// CHECK: distill.score @after model @student
distill.score @after model @student
// CHECK: distill.score @answers model @student task "faq.jsonl" <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">{{$}}
distill.score @answers model @student task "faq.jsonl" <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
// CHECK: distill.gate @better score @after reaches bits_per_byte 8.500000e-01 of @before strictly
distill.gate @better score @after reaches bits_per_byte 0.85 of @before strictly
// CHECK: distill.gate @knows score @answers reaches acc_norm 8.000000e-01{{$}}
distill.gate @knows score @answers reaches acc_norm 0.8
// CHECK: distill.probe @costs model @teacher tokens 8192 measured 512 formats [#weight.format<i3g64s>, #weight.format<i8g64>]
distill.probe @costs model @teacher tokens 8192 measured 512
    formats [#weight.format<i3g64s>, #weight.format<i8g64>]
// CHECK: distill.probe @costs2 model @teacher tokens 1 measured 2 sequence_length 3 formats [#weight.format<i4g64s>]
// CHECK-SAME: result <"{{9f86.*}}">
distill.probe @costs2 model @teacher tokens 1 measured 2 sequence_length 3 formats [#weight.format<i4g64s>]
    result <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
// CHECK: distill.score @compared model @student against @teacher tokens 5
distill.score @compared model @student against @teacher tokens 5
