// RUN: retort-opt %s --allow-unregistered-dialect --canonicalize | FileCheck %s
// One unregistered op a case keeps its result alive and names it.

%w = weight.load "w" stored "F32" : tensor<6x4xf32>
%v = weight.load "v" stored "F32" : tensor<2x4xf32>
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

// CHECK: "cast_to_same"(%[[W]])
%b0 = weight.cast %w : tensor<6x4xf32> -> tensor<6x4xf32>
"cast_to_same"(%b0) : (tensor<6x4xf32>) -> ()

// CHECK: "scale_by_one"(%[[W]])
%m0 = weight.scale %w by 1.0 : tensor<6x4xf32>
"scale_by_one"(%m0) : (tensor<6x4xf32>) -> ()
