// Every kernel of kernels/cuda for shapes of real models and odd ones, compiled to see what they
// need (resources.py). SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/program.cuh"
namespace retort::cuda {

constexpr WeightLayout f32 = {{WeightKind::F32}}, f16 = {{WeightKind::F16}},
                       bf16s = {{WeightKind::BF16}};
constexpr WeightLayout int4(int group, bool minima = false) {
  return {{WeightKind::I4, group, minima}};
}
constexpr WeightLayout int3(int group) { return {{WeightKind::I3, group}}; }
constexpr WeightLayout int8(int group) { return {{WeightKind::I8, group}}; }
constexpr WeightLayout fp8(int group) { return {{WeightKind::F8, group}}; }

constexpr ProductShape mat(int in, int out, WeightLayout weights, bool norm = false,
                           bool residual = false) {
  return {.in = in,
          .out = out,
          .weights = weights,
          .maxRows = 16,
          .sourceStride = in,
          .destStride = out,
          .norm = norm,
          .eps = 1e-5f,
          .hasResidual = residual};
}
constexpr ProductShape gated(ProductShape product) {
  product.gated = true;
  return product;
}
/// Of two devices: what is sent, on the first with the residual, and what adds it up.
constexpr ProductShape sending(ProductShape product, bool residual = false) {
  product.sends = true;
  product.hasResidual = residual;
  return product;
}
constexpr ProductShape summing(ProductShape product) {
  product.sums = true;
  return product;
}
constexpr AttendShape att(int heads, int kvHeads, int dims, CacheFormat format, int splits,
                          int window = 0, bool norms = false) {
  const int stride = (heads + 2 * kvHeads) * dims;
  return {.append =
              {.heads = heads,
               .cache = {.kvHeads = kvHeads, .dims = dims, .format = format, .pageBytes = 1 << 20},
               .rotaryDims = dims,
               .qStride = stride,
               .kStride = stride,
               .kAt = heads * dims,
               .vStride = stride,
               .vAt = (heads + kvHeads) * dims,
               .qNorm = norms,
               .kNorm = norms,
               .eps = 1e-5f},
          .splits = splits,
          .maxRows = 16,
          .window = window,
          .scale = 0.125f,
          .softCap = window ? 50.0f : 0.0f};
}
constexpr AttentionShape prefillOf(const AttendShape &attend) {
  return {.heads = attend.append.heads,
          .cache = attend.append.cache,
          .qStride = attend.append.qStride,
          .window = attend.window,
          .scale = attend.scale,
          .softCap = attend.softCap};
}
constexpr EmbedShape Table = {.hidden = 576, .weights = int4(32, true)};
constexpr AnglesShape Angles = {.half = 32};
constexpr NormShape Norm = {.features = 576, .eps = 1e-5f, .hasResidual = true};
constexpr LayerNormShape Layer = {.features = 576, .eps = 1e-5f};
constexpr GluShape Gated = {.channels = 576,
                            .gateStride = 1152,
                            .upStride = 1152,
                            .upAt = 576,
                            .act = Activation::GeluTanh};
constexpr SumShape Sum = {.features = 576, .hasResidual = true};
constexpr ProductShape SummedMat =
    summing(mat(4096, 64128, int4(32), true)); // logits of one of two
constexpr SampleShape OneSample = {.first = 49152}, TwoSample = {.first = 64128, .second = 64128};
RETORT_CONSTANT float frequencies[32] = {1, 2};

#define PRODUCT(name, ...)                                                                         \
  constexpr auto product_##name = __VA_ARGS__;                                                     \
  RETORT_KERNEL(decode_##name, kThreads, 1, const retort_cuda_step *step) {                        \
    Cta cta(step);                                                                                 \
    matmulFetch<product_##name>(cta, cta.weights(4096));                                           \
    cta.wait();                                                                                    \
    matmul<product_##name>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(4096),       \
                           cta.activation(65536), nullptr, cta.activation(65536), cta.wanted());   \
  }                                                                                                \
  RETORT_KERNEL(prefill_##name, kPrefillThreads, 1, const retort_cuda_step *step) {                \
    Cta cta(step);                                                                                 \
    prefill::matmulFetch<product_##name>(cta, cta.weights(4096));                                  \
    cta.wait();                                                                                    \
    prefill::matmul<product_##name>(cta, cta.activation(0), cta.weights<float>(0),                 \
                                    cta.weights(4096), cta.activation(65536), nullptr,             \
                                    cta.activation(65536), cta.wanted());                          \
  }
#define GATED(name, ...)                                                                           \
  constexpr auto glu_##name = __VA_ARGS__;                                                         \
  RETORT_KERNEL(decode_glu_##name, kThreads, 1, const retort_cuda_step *step) {                    \
    Cta cta(step);                                                                                 \
    matmulFetch<glu_##name>(cta, cta.weights(4096));                                               \
    cta.wait();                                                                                    \
    matmulGlu<glu_##name>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(4096),        \
                          cta.activation(65536));                                                  \
  }                                                                                                \
  RETORT_KERNEL(prefill_glu_##name, kPrefillThreads, 1, const retort_cuda_step *step) {            \
    Cta cta(step);                                                                                 \
    prefill::matmulFetch<glu_##name>(cta, cta.weights(4096));                                      \
    cta.wait();                                                                                    \
    prefill::matmulGlu<glu_##name>(cta, cta.activation(0), cta.weights<float>(0),                  \
                                   cta.weights(4096), cta.activation(65536));                      \
  }
// What one of two devices runs around an exchange. Prefill's product that reads is any product.
#define EXCHANGED(name, Out, In, Next)                                                             \
  constexpr auto send_##name = sending(Out), first_##name = sending(Out, true),                    \
                 sum_##name = summing(In);                                                         \
  RETORT_KERNEL(decode_send_##name, kThreads, 1, const retort_cuda_step *step) {                   \
    Cta cta(step);                                                                                 \
    matmulFetch<first_##name>(cta, cta.weights(4096));                                             \
    cta.wait();                                                                                    \
    matmul<first_##name>(cta, cta.activation(0), nullptr, cta.weights(4096),                       \
                         cta.activation(65536), nullptr, cta.activation(32768), nullptr,           \
                         outbox(cta, 4096, 1));                                                    \
    const uint32_t ticket = cta.arrive();                                                          \
    matmulFetch<sum_##name>(cta, cta.weights(8192));                                               \
    cta.waitFor(ticket);                                                                           \
    RECEIVE_##Next(sum_##name);                                                                    \
  }                                                                                                \
  RETORT_KERNEL(prefill_send_##name, kPrefillThreads, 1, const retort_cuda_step *step) {           \
    Cta cta(step);                                                                                 \
    prefill::matmulFetch<send_##name>(cta, cta.weights(4096));                                     \
    cta.wait();                                                                                    \
    prefill::matmul<send_##name>(cta, cta.activation(0), nullptr, cta.weights(4096),               \
                                 cta.activation(65536), nullptr, nullptr, nullptr,                 \
                                 cta.sent<float>(4096));                                           \
    cta.waitReceiving(cta.arriveSending(1), 1);                                                    \
    prefill::sum<Sum>(cta, cta.activation(0), cta.received<float>(4096), cta.activation(65536),    \
                      cta.activation(0));                                                          \
  }
#define RECEIVE_matmul(P)                                                                          \
  matmul<P>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(8192),                      \
            cta.activation(65536), nullptr, nullptr, nullptr, {},                                  \
            {inbox(cta, 4096, 1), cta.activation(131072)})
#define RECEIVE_matmulGlu(P)                                                                       \
  matmulGlu<P>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(8192),                   \
               cta.activation(65536), {inbox(cta, 4096, 1), cta.activation(131072)})
#define ARGMAX(name, ...)                                                                          \
  constexpr auto argmax_##name = __VA_ARGS__;                                                      \
  RETORT_KERNEL(decode_sample_##name, kThreads, 1, const retort_cuda_step *step) {                 \
    Cta cta(step);                                                                                 \
    matmulFetch<argmax_##name>(cta, cta.weights(4096));                                            \
    cta.wait();                                                                                    \
    matmulArgmax<argmax_##name>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(4096),  \
                                cta.logits(), nullptr, cta.wanted());                              \
  }                                                                                                \
  RETORT_KERNEL(prefill_sample_##name, kPrefillThreads, 1, const retort_cuda_step *step) {         \
    Cta cta(step);                                                                                 \
    prefill::matmulFetch<argmax_##name>(cta, cta.weights(4096));                                   \
    cta.wait();                                                                                    \
    prefill::matmulArgmax<argmax_##name>(cta, cta.activation(0), cta.weights<float>(0),            \
                                         cta.weights(4096), cta.logits(), nullptr, cta.wanted());  \
  }
#define ATTENTION_DECODING(name, ...)                                                              \
  constexpr auto attend_##name = __VA_ARGS__;                                                      \
  RETORT_KERNEL(decode_attend_##name, kThreads, 1, const retort_cuda_step *step) {                 \
    Cta cta(step);                                                                                 \
    float *x = cta.activation(0);                                                                  \
    attendPrefetch<attend_##name>(cta, 4096);                                                      \
    cta.wait();                                                                                    \
    attend<attend_##name>(cta, x, x, x, cta.weights<float>(0), cta.weights<float>(0), x + 4096,    \
                          x + 4096, 4096, nullptr, x + 8192, x + 65536);                           \
  }
#define ATTENTION(name, ...)                                                                       \
  ATTENTION_DECODING(name, __VA_ARGS__)                                                            \
  constexpr auto attention_##name = prefillOf(attend_##name);                                      \
  RETORT_KERNEL(prefill_attend_##name, kPrefillThreads, 1, const retort_cuda_step *step) {         \
    Cta cta(step);                                                                                 \
    float *x = cta.activation(0);                                                                  \
    prefill::ropeAppend<attend_##name.append>(cta, x, x, x, cta.weights<float>(0),                 \
                                              cta.weights<float>(0), x + 4096, x + 4096, 4096);    \
    cta.wait();                                                                                    \
    prefill::attention<attention_##name>(cta, x, 4096, nullptr, x + 65536);                        \
  }

// SmolLM2's, an 8B model's, and odd ones; every format.
PRODUCT(smol_qkv, mat(576, 960, int4(32), true))
PRODUCT(smol_down, mat(1536, 576, int4(32), false, true))
PRODUCT(big_down, mat(14336, 4096, int4(128), false, true))
PRODUCT(asymmetric, mat(4096, 4096, int4(32, true), true))
PRODUCT(int3, mat(4096, 4096, int3(64), true))
PRODUCT(int8, mat(576, 960, int8(32), true))
PRODUCT(int8_128, mat(4096, 960, int8(128), true))
PRODUCT(bf16, mat(2048, 960, bf16s, true))
PRODUCT(f16, mat(2048, 960, f16, true))
PRODUCT(fp8, mat(4096, 4096, fp8(128), true))
PRODUCT(fp8_32, mat(576, 960, fp8(32), false, true))
GATED(fp8, gated(mat(4096, 14336, fp8(128), true)))
GATED(f16, gated(mat(576, 1536, f16, true)))
PRODUCT(f32, mat(80, 33, f32, true))
ARGMAX(smol, mat(576, 49152, int4(32, true), true))
GATED(smol, gated(mat(576, 1536, int4(32), true)))
GATED(big, gated(mat(4096, 14336, int4(128), true)))
GATED(asymmetric, gated(mat(576, 1536, int4(64, true), true)))
GATED(int3, gated(mat(576, 1536, int3(64), true)))
GATED(bf16, gated(mat(576, 1536, bf16s, true)))
constexpr ProductShape SmolOut = mat(320, 576, int4(32));
constexpr ProductShape SmolGate = gated(mat(576, 768, int4(32), true));
constexpr ProductShape BigDown = mat(7168, 4096, int4(32));
constexpr ProductShape BigQkv = mat(4096, 3072, int4(32), true);
constexpr ProductShape HugeDown = mat(14336, 8192, bf16s);
constexpr ProductShape HugeQkv = mat(8192, 5120, bf16s, true);
EXCHANGED(smol, SmolOut, SmolGate, matmulGlu)
EXCHANGED(big, BigDown, BigQkv, matmul)
EXCHANGED(huge, HugeDown, HugeQkv, matmul)
ATTENTION(smol, att(9, 3, 64, CacheFormat::F16, 8))
ATTENTION(big, att(32, 8, 128, CacheFormat::F16, 16))
ATTENTION_DECODING(group1, att(32, 32, 128, CacheFormat::F16, 4))
ATTENTION_DECODING(group7, att(28, 4, 128, CacheFormat::F16, 16))
ATTENTION(group8, att(64, 8, 128, CacheFormat::F16, 16, 4096, true))
ATTENTION(dims80, att(8, 8, 80, CacheFormat::BF16, 4))
ATTENTION(dims256, att(8, 1, 256, CacheFormat::F16, 4, 512, true))
ATTENTION(f32, att(9, 3, 64, CacheFormat::F32, 1))
ATTENTION_DECODING(big_f32, att(32, 8, 128, CacheFormat::F32, 16))
ATTENTION(fp8, att(32, 8, 128, CacheFormat::F8E4M3, 16))
ATTENTION(fp8_smol, att(9, 3, 64, CacheFormat::F8E4M3, 8))
ATTENTION(fp8_256, att(8, 1, 256, CacheFormat::F8E4M3, 4, 512, true))
ATTENTION_DECODING(bf16_256, att(8, 1, 256, CacheFormat::BF16, 4, 512, true))
ATTENTION_DECODING(bf16_group8, att(64, 8, 128, CacheFormat::BF16, 16, 4096, true))
ATTENTION_DECODING(fp8_group8, att(64, 8, 128, CacheFormat::F8E4M3, 16, 4096, true))
ATTENTION(bf16, att(32, 8, 128, CacheFormat::BF16, 16, 4096, true))
RETORT_KERNEL(decode_sample_summed, kThreads, 1, const retort_cuda_step *step) {
  Cta cta(step);
  matmulFetch<SummedMat>(cta, cta.weights(4096));
  cta.wait();
  const float *x = cta.activation(0);
  matmulArgmax<SummedMat>(cta, x, cta.weights<float>(0), cta.weights(4096), cta.logits(), nullptr,
                          cta.wanted(), {inbox(cta, 4096, 1), nullptr});
}
RETORT_KERNEL(sample_one, kSampleThreads, 1, const retort_cuda_step *step) {
  sample<OneSample>(*step);
}
RETORT_KERNEL(sample_two, kSampleThreads, 1, const retort_cuda_step *step) {
  sample<TwoSample>(*step);
}
RETORT_KERNEL(rows, kThreads, 1, const retort_cuda_step *step) {
  Cta cta(step);
  float *x = cta.activation(0);
  embed<Table>(cta, cta.tokens(), cta.weights(0), x);
  angles<Angles>(cta, cta.positions(), frequencies, nullptr, x);
  norm<Norm>(cta, x, cta.weights<float>(0), x, x);
  layerNorm<Layer>(cta, x, cta.weights<float>(0), cta.weights<float>(0), x);
  glu<Gated>(cta, x, x, x);
  residual<Sum>(cta, x, x, x);
  sum<Sum>(cta, x, inbox(cta, 4096, 1), x, x);
}

} // namespace retort::cuda
