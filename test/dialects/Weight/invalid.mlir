// RUN: retort-opt %s --split-input-file --verify-diagnostics

// expected-error @below {{needs the tensor's name and stored type}}
%0 = weight.load "" stored "F32" : tensor<4xf32>

// -----

// expected-error @below {{file "abc" is not a SHA-256 of 64 lower-case hexadecimal digits}}
%0 = weight.load "w" stored "F32" file "abc" : tensor<4xf32>

// -----

// expected-error @below {{must be a vector or matrix of f32, f16 or bf16 with a static shape}}
%0 = weight.load "w" stored "F32" : tensor<?x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @below {{takes index 6 of rows 0 to 5}}
%1 = weight.take %0 rows [0, 6] : tensor<6x4xf32> -> tensor<2x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @below {{takes nothing}}
%1 = weight.take %0 rows [] : tensor<6x4xf32> -> tensor<2x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6xf32>
// expected-error @below {{a vector has no columns: use rows}}
%1 = weight.take %0 columns [0] : tensor<6xf32> -> tensor<1xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @+2 {{failed to infer returned types}}
// expected-error @+1 {{'weight.take' op inferred type(s) 'tensor<2x4xf32>' are incompatible with return type(s) of operation 'tensor<3x4xf32>'}}
%1 = weight.take %0 rows [0, 1] : tensor<6x4xf32> -> tensor<3x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @below {{takes 3 rows from 4 of 6}}
%1 = weight.slice %0 rows offset 4 size 3 : tensor<6x4xf32> -> tensor<3x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
%1 = weight.load "v" stored "F32" : tensor<6x5xf32>
// expected-error @below {{joins rows of 'tensor<6x4xf32>' and 'tensor<6x5xf32>'}}
%2 = weight.concat rows %0, %1 : tensor<6x4xf32>, tensor<6x5xf32> -> tensor<12x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
%1 = weight.load "v" stored "F32" : tensor<6xf32>
// expected-error @below {{joins 'tensor<6x4xf32>' and 'tensor<6xf32>'}}
%2 = weight.concat rows %0, %1 : tensor<6x4xf32>, tensor<6xf32> -> tensor<12x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @below {{changes the shape: 'tensor<6x4xf32>' to 'tensor<4x6xbf16>'}}
%1 = weight.cast %0 : tensor<6x4xf32> -> tensor<4x6xbf16>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @below {{must be a quantised matrix, its format as the type's encoding}}
%1 = weight.quantize %0 method rtn : tensor<6x4xf32> -> tensor<6x4xi4>

// -----

// expected-error @+1 {{a format of 4 bits needs elements of type i4, has 'i8'}}
%0 = "weight.load"() : () -> tensor<6x4xi8, #weight.format<bits = 4, group = 32, symmetric>>

// -----

// expected-error @+1 {{an e4m3 format needs elements of type f8E4M3FN, has 'i8'}}
%0 = "weight.load"() : () -> tensor<6x4xi8, #weight.format<bits = 8, group = 32, e4m3>>

// -----

// expected-error @+1 {{has 4 bits a weight, e4m3 has 8}}
%0 = "weight.load"() : () -> tensor<6x4xf8E4M3FN, #weight.format<bits = 4, group = 32, e4m3>>

// -----

// expected-error @+1 {{has 5 bits a weight, must be 4 or 8}}
%0 = "weight.load"() : () -> tensor<6x4xi8, #weight.format<bits = 5, group = 32, symmetric>>

// -----

// expected-error @+1 {{has groups of 40 weights, must be a power of two from 16 to 1024}}
%0 = "weight.load"() : () -> tensor<6x4xi8, #weight.format<bits = 8, group = 40, symmetric>>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @below {{needs the name of a layout}}
%1 = weight.pack %0 layout "" : tensor<6x4xf32> -> tensor<96xi8>
