// RUN: retort-opt %s --allow-unregistered-dialect | retort-opt --allow-unregistered-dialect | FileCheck %s
// The examples of the reference, as they print.

// CHECK: #indices = array<i32: 0, 1, 2, {{.*}}, 32>
// CHECK: %[[A:.*]] = weight.load "blk.0.ffn_up.weight" stored "Q4_1" : tensor<64x96xf32>
%0 = weight.load "blk.0.ffn_up.weight" stored "Q4_1" : tensor<64x96xf32>
// CHECK: weight.load "output_norm.weight" stored "F32" file "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" : tensor<576xf32>
%1 = weight.load "output_norm.weight" stored "F32"
     file "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08" : tensor<576xf32>
// CHECK: weight.constant dense<{{.*}}1.000000e+00, 5.000000e-01{{.*}}> : tensor<2x2xf32>
%constant = weight.constant dense<[[1.0, 0.5], [0.0, -1.0]]> : tensor<2x2xf32>
// CHECK: weight.take %[[A]] rows [0, 2, 5] : tensor<64x96xf32> -> tensor<3x96xf32>
%2 = weight.take %0 rows [0, 2, 5] : tensor<64x96xf32> -> tensor<3x96xf32>
// A long list prints once, under an alias.
// CHECK: weight.take %[[A]] columns #indices : tensor<64x96xf32> -> tensor<64x33xf32>
%3 = weight.take %0 columns [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
    25, 26, 27, 28, 29, 30, 31, 32] : tensor<64x96xf32> -> tensor<64x33xf32>
// CHECK: weight.slice %[[A]] rows offset 2 size 3 : tensor<64x96xf32> -> tensor<3x96xf32>
%4 = weight.slice %0 rows offset 2 size 3 : tensor<64x96xf32> -> tensor<3x96xf32>
// CHECK: weight.concat rows %{{.*}}, %{{.*}} : tensor<3x96xf32>, tensor<3x96xf32> -> tensor<6x96xf32>
%5 = weight.concat rows %2, %4 : tensor<3x96xf32>, tensor<3x96xf32> -> tensor<6x96xf32>
// CHECK: weight.concat columns
%6 = weight.concat columns %2, %4 : tensor<3x96xf32>, tensor<3x96xf32> -> tensor<3x192xf32>
// CHECK: weight.cast %[[A]] : tensor<64x96xf32> -> tensor<64x96xbf16>
%13 = weight.cast %0 : tensor<64x96xf32> -> tensor<64x96xbf16>
// CHECK: weight.scale %[[A]] by 2.500000e-01 : tensor<64x96xf32>
%scaled = weight.scale %0 by 0.25 : tensor<64x96xf32>
// CHECK: %[[U:.*]] = weight.product %{{.*}}, %{{.*}} : tensor<64x33xf32>, tensor<33x96xf32> -> tensor<64x96xf32>
%low = weight.slice %0 rows offset 0 size 33 : tensor<64x96xf32> -> tensor<33x96xf32>
%update = weight.product %3, %low : tensor<64x33xf32>, tensor<33x96xf32> -> tensor<64x96xf32>
// CHECK: weight.add %[[A]], %[[U]] : tensor<64x96xf32>
%updated = weight.add %0, %update : tensor<64x96xf32>
// CHECK: weight.set_norms %{{.*}} to %{{.*}} : tensor<64x96xf32>, tensor<64xf32>
%norms = weight.constant dense<2.0> : tensor<64xf32>
%dora = weight.set_norms %updated to %norms : tensor<64x96xf32>, tensor<64xf32>
// CHECK: %[[P:.*]] = weight.quantize %[[A]] : tensor<64x96xf32> -> tensor<64x96xi4, #weight.format<i4g32s>>
%14 = weight.quantize %0 : tensor<64x96xf32> -> tensor<64x96xi4, #weight.format<i4g32s>>
// CHECK: weight.quantize %[[A]] : tensor<64x96xf32> -> tensor<64x96xf8E4M3FN, #weight.format<f8g128>>
%fp8 = weight.quantize %0 : tensor<64x96xf32> -> tensor<64x96xf8E4M3FN, #weight.format<f8g128>>
// CHECK: weight.pack %[[P]] layout rows16 : tensor<64x96xi4, #weight.format<i4g32s>> -> tensor<3456xi8>
%15 = weight.pack %14 layout rows16 : tensor<64x96xi4, #weight.format<i4g32s>> -> tensor<3456xi8>
