// RUN: retort-opt %s --allow-unregistered-dialect --canonicalize | FileCheck %s
// Equal constants of a program are one.

// CHECK: %[[C:.*]] = weight.constant dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf32>
// CHECK: %[[D:.*]] = weight.constant dense<3.000000e+00> : tensor<2xf32>
// CHECK-NOT: weight.constant
// CHECK: "use"(%[[C]], %[[C]], %[[D]])
%0 = weight.constant dense<[1.0, 2.0]> : tensor<2xf32>
%1 = weight.constant dense<[1.0, 2.0]> : tensor<2xf32>
%2 = weight.constant dense<3.0> : tensor<2xf32>
"use"(%0, %1, %2) : (tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> ()
