// RUN: retort-opt %s --allow-unregistered-dialect | retort-opt --allow-unregistered-dialect | FileCheck %s

// CHECK: #lm.rope_scaling<linear, factor = 8.000000e+00>
"a"() {scaling = #lm.rope_scaling<linear, factor = 8.0>} : () -> ()
// CHECK: #lm.rope_scaling<llama3, factor = 8.000000e+00, original_context = 8.192000e+03, low_freq_factor = 1.000000e+00, high_freq_factor = 4.000000e+00>
"b"() {scaling = #lm.rope_scaling<llama3, factor = 8.0, original_context = 8192.0, low_freq_factor = 1.0, high_freq_factor = 4.0>} : () -> ()
// Fields print in one order.
// CHECK: #lm.rope_scaling<yarn, factor = 4.000000e+00, original_context = 3.276800e+04, beta_fast = 3.200000e+01, mscale = 1.000000e+00, mscale_all_dim = 1.000000e+00, truncate = false>
"c"() {scaling = #lm.rope_scaling<yarn, truncate = false, factor = 4.0, mscale_all_dim = 1.0, original_context = 32768.0, mscale = 1.0, beta_fast = 32.0>} : () -> ()
// CHECK: #lm.rope_scaling<factors, factors = [1.000000e+00, 8.000000e+00]>
"d"() {scaling = #lm.rope_scaling<factors, factors = [1.0, 8.0]>} : () -> ()
