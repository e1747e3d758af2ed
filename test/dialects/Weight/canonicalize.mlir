// RUN: retort-opt %s --allow-unregistered-dialect --canonicalize | FileCheck %s
// One unregistered op a case keeps its result alive and names it.

%w = weight.load "w" stored "F32" : tensor<6x4xf32>
%v = weight.load "v" stored "F32" : tensor<2x4xf32>
%q = weight.load "q" stored "F32" : tensor<2x2xf32>
// CHECK-DAG: %[[W:.*]] = weight.load "w"
// CHECK-DAG: %[[V:.*]] = weight.load "v"

// CHECK: %[[T:.*]] = weight.take %[[W]] rows [5, 1] : tensor<6x4xf32> -> tensor<2x4xf32>
// CHECK: "take_of_take"(%[[T]])
%t0 = weight.take %w rows [1, 3, 5] : tensor<6x4xf32> -> tensor<3x4xf32>
%t1 = weight.take %t0 rows [2, 0] : tensor<3x4xf32> -> tensor<2x4xf32>
"take_of_take"(%t1) : (tensor<2x4xf32>) -> ()

// CHECK: "take_all"(%[[W]])
%t2 = weight.take %w rows [0, 1, 2, 3, 4, 5] : tensor<6x4xf32> -> tensor<6x4xf32>
"take_all"(%t2) : (tensor<6x4xf32>) -> ()

// A permutation and its inverse.
// CHECK: "take_back"(%[[W]])
%t3 = weight.take %w columns [2, 0, 3, 1] : tensor<6x4xf32> -> tensor<6x4xf32>
%t4 = weight.take %t3 columns [1, 3, 0, 2] : tensor<6x4xf32> -> tensor<6x4xf32>
"take_back"(%t4) : (tensor<6x4xf32>) -> ()

// Along different axes nothing is joined.
// CHECK: weight.take %[[W]] rows [0, 1]
// CHECK: weight.take %{{.*}} columns [0, 1]
%t5 = weight.take %w rows [0, 1] : tensor<6x4xf32> -> tensor<2x4xf32>
%t6 = weight.take %t5 columns [0, 1] : tensor<2x4xf32> -> tensor<2x2xf32>
"take_other_axis"(%t6) : (tensor<2x2xf32>) -> ()

// CHECK: %[[S:.*]] = weight.slice %[[W]] rows offset 2 size 1 : tensor<6x4xf32> -> tensor<1x4xf32>
// CHECK: "slice_of_slice"(%[[S]])
%s0 = weight.slice %w rows offset 1 size 3 : tensor<6x4xf32> -> tensor<3x4xf32>
%s1 = weight.slice %s0 rows offset 1 size 1 : tensor<3x4xf32> -> tensor<1x4xf32>
"slice_of_slice"(%s1) : (tensor<1x4xf32>) -> ()

// CHECK: "slice_of_concat"(%[[V]])
%c0 = weight.concat rows %w, %v : tensor<6x4xf32>, tensor<2x4xf32> -> tensor<8x4xf32>
%s2 = weight.slice %c0 rows offset 6 size 2 : tensor<8x4xf32> -> tensor<2x4xf32>
"slice_of_concat"(%s2) : (tensor<2x4xf32>) -> ()

// A slice that spans two operands reads both.
// CHECK-DAG: %[[C:.*]] = weight.concat rows %[[W]], %[[V]]
// CHECK: weight.slice %[[C]] rows offset 5 size 2
%c3 = weight.concat rows %w, %v : tensor<6x4xf32>, tensor<2x4xf32> -> tensor<8x4xf32>
%s3 = weight.slice %c3 rows offset 5 size 2 : tensor<8x4xf32> -> tensor<2x4xf32>
"slice_across"(%s3) : (tensor<2x4xf32>) -> ()

// CHECK: weight.concat rows %[[V]], %[[W]], %[[V]] : tensor<2x4xf32>, tensor<6x4xf32>, tensor<2x4xf32> -> tensor<10x4xf32>
%c1 = weight.concat rows %v, %c0 : tensor<2x4xf32>, tensor<8x4xf32> -> tensor<10x4xf32>
"concat_of_concat"(%c1) : (tensor<10x4xf32>) -> ()

// CHECK: "concat_of_one"(%[[W]])
%c2 = weight.concat rows %w : tensor<6x4xf32> -> tensor<6x4xf32>
"concat_of_one"(%c2) : (tensor<6x4xf32>) -> ()

// CHECK: "transpose_twice"(%[[W]])
%r0 = weight.transpose %w : tensor<6x4xf32> -> tensor<4x6xf32>
%r1 = weight.transpose %r0 : tensor<4x6xf32> -> tensor<6x4xf32>
"transpose_twice"(%r1) : (tensor<6x4xf32>) -> ()

// CHECK: weight.scale %[[W]] by 6.000000e+00
%m0 = weight.scale %w by 2.0 : tensor<6x4xf32>
%m1 = weight.scale %m0 by 3.0 : tensor<6x4xf32>
%m2 = weight.scale %m1 by 1.0 : tensor<6x4xf32>
"scale_of_scale"(%m2) : (tensor<6x4xf32>) -> ()

// CHECK: "hadamard_twice"(%[[W]])
%h0 = weight.rotate %w columns hadamard 4 : tensor<6x4xf32>
%h1 = weight.rotate %h0 columns hadamard 4 : tensor<6x4xf32>
"hadamard_twice"(%h1) : (tensor<6x4xf32>) -> ()

// CHECK: "rotate_back"(%[[W]])
%h2 = weight.rotate %w rows by %q : tensor<6x4xf32>, tensor<2x2xf32>
%h3 = weight.rotate %h2 rows by %q inverse : tensor<6x4xf32>, tensor<2x2xf32>
"rotate_back"(%h3) : (tensor<6x4xf32>) -> ()

// The same rotation twice is not nothing.
// CHECK: %[[H:.*]] = weight.rotate
// CHECK: weight.rotate %[[H]]
%h4 = weight.rotate %w rows by %q : tensor<6x4xf32>, tensor<2x2xf32>
%h5 = weight.rotate %h4 rows by %q : tensor<6x4xf32>, tensor<2x2xf32>
"rotate_twice"(%h5) : (tensor<6x4xf32>) -> ()

// CHECK: "cast_to_same"(%[[W]])
%b0 = weight.cast %w : tensor<6x4xf32> -> tensor<6x4xf32>
"cast_to_same"(%b0) : (tensor<6x4xf32>) -> ()
