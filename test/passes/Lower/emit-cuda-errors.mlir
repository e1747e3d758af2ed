// RUN: retort-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(emit-cuda)'

// expected-error @below {{emit-cuda: the module has no kernel.program for CUDA}}
module {
  kernel.program @m max_rows 8 page_rows 16 vocab 48 {
  }
}

// -----

// expected-error @below {{emit-cuda: codegen: 'm.decode' has no planned buffers: run plan-buffers first}}
module {
  kernel.program @m.decode target "cuda" step "decode" max_rows 8 page_rows 16 vocab 48 {
  }
}

// -----

// expected-error @below {{emit-cuda: codegen: 'm.decode' has pages of 32 positions: 16 are needed}}
module {
  kernel.program @m.decode target "cuda" step "decode" max_rows 8 page_rows 32 vocab 48 page_bytes 0 activation_bytes 0 weight_bytes 0 {
  }
}
