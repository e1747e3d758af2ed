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
// expected-error @below {{factor must be finite}}
%1 = weight.scale %0 by 0x7FF0000000000000 : tensor<6x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @below {{must be a quantised matrix, its format as the type's encoding}}
%1 = weight.quantize %0 : tensor<6x4xf32> -> tensor<6x4xi4>

// -----

// expected-error @+1 {{format i4g32s needs elements of type 'i4', has 'i8'}}
%0 = "weight.load"() : () -> tensor<6x4xi8, #weight.format<i4g32s>>

// -----

// expected-error @+1 {{format f8g32 needs elements of type 'f8E4M3FN', has 'i8'}}
%0 = "weight.load"() : () -> tensor<6x4xi8, #weight.format<f8g32>>

// -----

// expected-error @+1 {{a quantised tensor must be a matrix of static shape, has rank 1}}
%0 = "weight.load"() : () -> tensor<6xi4, #weight.format<i4g32s>>

// -----

// expected-error @+2 {{'i5g32s' is none of f32, f16, bf16, i8g32,}}
// expected-error @+1 {{failed to parse Weight_FormatAttr parameter 'value'}}
%0 = "weight.load"() : () -> tensor<6x4xi8, #weight.format<i5g32s>>

// -----

// Groups and minima that no kernel has.
// expected-error @+2 {{'i8g16' is none of}}
// expected-error @+1 {{failed to parse Weight_FormatAttr parameter 'value'}}
%0 = "weight.load"() : () -> tensor<6x4xi8, #weight.format<i8g16>>

// -----

// expected-error @+2 {{'i8g32a' is none of}}
// expected-error @+1 {{failed to parse Weight_FormatAttr parameter 'value'}}
%0 = "weight.load"() : () -> tensor<6x4xi8, #weight.format<i8g32a>>

// -----

// expected-error @+1 {{f16 is not quantised: cast-weights rounds to it}}
%0 = "weight.load"() : () -> tensor<6x4xf16, #weight.format<f16>>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @+2 {{'rows8' is none of rows16, rows16_gated, mma16 or mma16_gated}}
// expected-error @+1 {{failed to parse Weight_LayoutAttr parameter 'value'}}
%1 = weight.pack %0 layout rows8 : tensor<6x4xf32> -> tensor<96xi8>

// -----

// expected-error @below {{has a number that is not finite}}
%0 = weight.constant dense<[1.0, 0x7F800000]> : tensor<2xf32>

// -----

// expected-error @below {{result #0 must be a vector or matrix of f32, f16 or bf16 with a static shape}}
%0 = weight.constant dense<1.0> : tensor<2x2x2xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @below {{multiplies 4 columns by 6 rows}}
%1 = "weight.product"(%0, %0) : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<4x4xf32>
%1 = weight.cast %0 : tensor<4x4xf32> -> tensor<4x4xbf16>
// expected-error @below {{multiplies 'tensor<4x4xf32>' by 'tensor<4x4xbf16>'}}
%2 = "weight.product"(%0, %1) : (tensor<4x4xf32>, tensor<4x4xbf16>) -> tensor<4x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
%1 = weight.constant dense<1.0> : tensor<4xf32>
// expected-error @below {{gives 'tensor<4xf32>' as the norms of 6 rows}}
%2 = weight.set_norms %0 to %1 : tensor<6x4xf32>, tensor<4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
// expected-error @below {{gives 'tensor<6x4xf32>' as the norms of 6 rows}}
%1 = weight.set_norms %0 to %0 : tensor<6x4xf32>, tensor<6x4xf32>

// -----

%0 = weight.load "w" stored "F32" : tensor<6x4xf32>
%1 = weight.constant dense<1.0> : tensor<6xbf16>
// expected-error @below {{scales 'tensor<6x4xf32>' to norms of 'tensor<6xbf16>'}}
%2 = weight.set_norms %0 to %1 : tensor<6x4xf32>, tensor<6xbf16>
