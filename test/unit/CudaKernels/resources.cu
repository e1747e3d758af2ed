// Every kernel of kernels/cuda for shapes of real models and odd ones, compiled to see what they
// need (resources.py). SPDX-License-Identifier: Apache-2.0
#include "kernels/cuda/program.cuh"
namespace retort::cuda {

template <int In_, int Out_, class W, bool Norm_ = false, bool Residual = false, int Rows = 16>
struct Mat {
  static constexpr int In = In_, Out = Out_, MaxRows = Rows, SourceStride = In_, SourceAt = 0,
                       DestStride = Out_;
  using Weights = W;
  static constexpr bool Norm = Norm_, NormOffset = false, HasBias = false, HasResidual = Residual,
                        Wanted = false;
  static constexpr float eps = 1e-5f, softCap = 0;
  static constexpr Activation Act = Activation::Silu;
};
template <class P> struct Sending : P { // of two devices
  static constexpr bool Sends = true;
};
template <class P> struct FirstSending : Sending<P> { // decoding device 0
  static constexpr bool HasResidual = true;
};
template <class P> struct Summing : P {
  static constexpr bool Sums = true;
};
template <int Heads_, int KvHeads_, int Dims_, class C, int Splits_, int Window_ = 0,
          bool Norms = false>
struct Att {
  static constexpr int Heads = Heads_, KvHeads = KvHeads_, Dims = Dims_, RotaryDims = Dims_,
                       Window = Window_, PageRows = 16, Splits = Splits_, MaxRows = 16, QAt = 0,
                       KAt = Heads * Dims, VAt = (Heads + KvHeads) * Dims,
                       QStride = (Heads + 2 * KvHeads) * Dims, KStride = QStride, VStride = QStride;
  static constexpr int64_t PageBytes = 1 << 20;
  static constexpr float scale = 0.125f, softCap = Window_ ? 50.0f : 0.0f, eps = 1e-5f;
  static constexpr bool QNorm = Norms, KNorm = Norms, NormOffset = false;
  using Cache = C;
};
struct Table {
  static constexpr int Hidden = 576, Vocab = 49152;
  using Weights = Int4<32, false>;
  static constexpr float scale = 1;
};
struct Row {
  static constexpr int Features = 576, Groups = 1, Channels = 576, GateAt = 0, GateStride = 1152,
                       UpAt = 576, UpStride = 1152, Half = 32;
  static constexpr bool NormOffset = false, HasResidual = true;
  static constexpr float eps = 1e-5f, scale = 1;
  static constexpr Activation Act = Activation::GeluTanh;
};
struct SummedMat : Mat<4096, 64128, Int4<32, true>, true> { // the logits of one of two cards
  static constexpr bool Sums = true;
};
struct OneSample {
  static constexpr int First = 49152, Second = 0;
};
struct TwoSample {
  static constexpr int First = 64128, Second = 64128;
};
RETORT_CONSTANT float frequencies[32] = {1, 2};

#define PRODUCT(name, ...)                                                                         \
  RETORT_KERNEL(decode_##name, kThreads, 1, const retort_cuda_step *step) {                        \
    using P = __VA_ARGS__;                                                                         \
    Cta cta(step);                                                                                 \
    matmulFetch<P>(cta, cta.weights(4096));                                                        \
    cta.wait();                                                                                    \
    matmul<P>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(4096),                    \
              cta.activation(65536), nullptr, cta.activation(65536), cta.wanted());                \
  }                                                                                                \
  RETORT_KERNEL(prefill_##name, kPrefillThreads, 1, const retort_cuda_step *step) {                \
    using P = __VA_ARGS__;                                                                         \
    Cta cta(step);                                                                                 \
    prefill::matmulFetch<P>(cta, cta.weights(4096));                                               \
    cta.wait();                                                                                    \
    prefill::matmul<P>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(4096),           \
                       cta.activation(65536), nullptr, cta.activation(65536), cta.wanted());       \
  }
#define GATED(name, ...)                                                                           \
  RETORT_KERNEL(decode_glu_##name, kThreads, 1, const retort_cuda_step *step) {                    \
    using P = __VA_ARGS__;                                                                         \
    Cta cta(step);                                                                                 \
    matmulGluFetch<P>(cta, cta.weights(4096));                                                     \
    cta.wait();                                                                                    \
    matmulGlu<P>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(4096),                 \
                 cta.activation(65536));                                                           \
  }                                                                                                \
  RETORT_KERNEL(prefill_glu_##name, kPrefillThreads, 1, const retort_cuda_step *step) {            \
    using P = __VA_ARGS__;                                                                         \
    Cta cta(step);                                                                                 \
    prefill::matmulGluFetch<P>(cta, cta.weights(4096));                                            \
    cta.wait();                                                                                    \
    prefill::matmulGlu<P>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(4096),        \
                          cta.activation(65536));                                                  \
  }
// What a card of two runs around an exchange. Prefill's product that reads is any product.
#define EXCHANGED(name, Out, In, Next)                                                             \
  RETORT_KERNEL(decode_send_##name, kThreads, 1, const retort_cuda_step *step) {                   \
    using P = FirstSending<Out>;                                                                   \
    Cta cta(step);                                                                                 \
    matmulFetch<P>(cta, cta.weights(4096));                                                        \
    cta.wait();                                                                                    \
    matmul<P>(cta, cta.activation(0), nullptr, cta.weights(4096), cta.activation(65536), nullptr,  \
              cta.activation(32768), nullptr, outbox(cta, 4096, 1));                               \
    const uint32_t ticket = cta.arrive();                                                          \
    Next##Fetch<Summing<In>>(cta, cta.weights(8192));                                              \
    cta.waitFor(ticket);                                                                           \
    RECEIVE_##Next(Summing<In>);                                                                   \
  }                                                                                                \
  RETORT_KERNEL(prefill_send_##name, kPrefillThreads, 1, const retort_cuda_step *step) {           \
    using P = Sending<Out>;                                                                        \
    Cta cta(step);                                                                                 \
    prefill::matmulFetch<P>(cta, cta.weights(4096));                                               \
    cta.wait();                                                                                    \
    prefill::matmul<P>(cta, cta.activation(0), nullptr, cta.weights(4096), cta.activation(65536),  \
                       nullptr, nullptr, nullptr, cta.sent<float>(4096));                          \
    cta.waitReceiving(cta.arriveSending(1), 1);                                                    \
    prefill::sum<Row>(cta, cta.activation(0), cta.received<float>(4096), cta.activation(65536),    \
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
  RETORT_KERNEL(decode_sample_##name, kThreads, 1, const retort_cuda_step *step) {                 \
    using P = __VA_ARGS__;                                                                         \
    Cta cta(step);                                                                                 \
    matmulArgmaxFetch<P>(cta, cta.weights(4096));                                                  \
    cta.wait();                                                                                    \
    matmulArgmax<P>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(4096),              \
                    cta.logits(), nullptr, cta.wanted());                                          \
  }                                                                                                \
  RETORT_KERNEL(prefill_sample_##name, kPrefillThreads, 1, const retort_cuda_step *step) {         \
    using P = __VA_ARGS__;                                                                         \
    Cta cta(step);                                                                                 \
    prefill::matmulArgmaxFetch<P>(cta, cta.weights(4096));                                         \
    cta.wait();                                                                                    \
    prefill::matmulArgmax<P>(cta, cta.activation(0), cta.weights<float>(0), cta.weights(4096),     \
                             cta.logits(), nullptr, cta.wanted());                                 \
  }
#define ATTENTION_DECODING(name, ...)                                                              \
  RETORT_KERNEL(decode_attend_##name, kThreads, 1, const retort_cuda_step *step) {                 \
    using P = __VA_ARGS__;                                                                         \
    Cta cta(step);                                                                                 \
    float *x = cta.activation(0);                                                                  \
    attendPrefetch<P>(cta, 4096);                                                                  \
    cta.wait();                                                                                    \
    attend<P>(cta, x, x, x, cta.weights<float>(0), cta.weights<float>(0), x + 4096, 4096,          \
              x + 8192, x + 65536);                                                                \
  }
#define ATTENTION(name, ...)                                                                       \
  ATTENTION_DECODING(name, __VA_ARGS__)                                                            \
  RETORT_KERNEL(prefill_attend_##name, kPrefillThreads, 1, const retort_cuda_step *step) {         \
    using P = __VA_ARGS__;                                                                         \
    Cta cta(step);                                                                                 \
    float *x = cta.activation(0);                                                                  \
    prefill::ropeAppend<P>(cta, x, x, x, cta.weights<float>(0), cta.weights<float>(0), x + 4096,   \
                           4096);                                                                  \
    cta.wait();                                                                                    \
    prefill::attention<P>(cta, x, 4096, x + 65536);                                                \
  }

// SmolLM2's, an 8B model's, and odd ones; every format.
PRODUCT(smol_qkv, Mat<576, 960, Int4<32, true>, true>)
PRODUCT(smol_down, Mat<1536, 576, Int4<32, true>, false, true>)
PRODUCT(big_down, Mat<14336, 4096, Int4<128, true>, false, true>)
PRODUCT(asymmetric, Mat<4096, 4096, Int4<32, false>, true>)
PRODUCT(int3, Mat<4096, 4096, Int3<64>, true>)
PRODUCT(int8, Mat<576, 960, Int8<32>, true>)
PRODUCT(int8_128, Mat<4096, 960, Int8<128>, true>)
PRODUCT(bf16, Mat<2048, 960, BF16, true>)
PRODUCT(f16, Mat<2048, 960, F16, true>)
PRODUCT(fp8, Mat<4096, 4096, Fp8<128>, true>)
PRODUCT(fp8_32, Mat<576, 960, Fp8<32>, false, true>)
GATED(fp8, Mat<4096, 14336, Fp8<128>, true>)
GATED(f16, Mat<576, 1536, F16, true>)
PRODUCT(f32, Mat<80, 33, F32, true>)
ARGMAX(smol, Mat<576, 49152, Int4<32, false>, true>)
GATED(smol, Mat<576, 1536, Int4<32, true>, true>)
GATED(big, Mat<4096, 14336, Int4<128, true>, true>)
GATED(asymmetric, Mat<576, 1536, Int4<64, false>, true>)
GATED(int3, Mat<576, 1536, Int3<64>, true>)
GATED(bf16, Mat<576, 1536, BF16, true>)
using SmolOut = Mat<320, 576, Int4<32, true>>;
using SmolGate = Mat<576, 768, Int4<32, true>, true>;
using BigDown = Mat<7168, 4096, Int4<32, true>>;
using BigQkv = Mat<4096, 3072, Int4<32, true>, true>;
using HugeDown = Mat<14336, 8192, BF16>;
using HugeQkv = Mat<8192, 5120, BF16, true>;
EXCHANGED(smol, SmolOut, SmolGate, matmulGlu)
EXCHANGED(big, BigDown, BigQkv, matmul)
EXCHANGED(huge, HugeDown, HugeQkv, matmul)
ATTENTION(smol, Att<9, 3, 64, half, 8>)
ATTENTION(big, Att<32, 8, 128, half, 16>)
ATTENTION_DECODING(group1, Att<32, 32, 128, half, 4>)
ATTENTION_DECODING(group7, Att<28, 4, 128, half, 16>)
ATTENTION(group8, Att<64, 8, 128, half, 16, 4096, true>)
ATTENTION(dims80, Att<8, 8, 80, bf16, 4>)
ATTENTION(dims256, Att<8, 1, 256, half, 4, 512, true>)
ATTENTION(f32, Att<9, 3, 64, float, 1>)
ATTENTION_DECODING(big_f32, Att<32, 8, 128, float, 16>)
ATTENTION(fp8, Att<32, 8, 128, e4m3, 16>)
ATTENTION(fp8_smol, Att<9, 3, 64, e4m3, 8>)
ATTENTION(fp8_256, Att<8, 1, 256, e4m3, 4, 512, true>)
ATTENTION_DECODING(bf16_256, Att<8, 1, 256, bf16, 4, 512, true>)
ATTENTION_DECODING(bf16_group8, Att<64, 8, 128, bf16, 16, 4096, true>)
ATTENTION_DECODING(fp8_group8, Att<64, 8, 128, e4m3, 16, 4096, true>)
ATTENTION(bf16, Att<32, 8, 128, bf16, 16, 4096, true>)
RETORT_KERNEL(decode_sample_summed, kThreads, 1, const retort_cuda_step *step) {
  Cta cta(step);
  matmulArgmaxFetch<SummedMat>(cta, cta.weights(4096));
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
  angles<Row>(cta, cta.positions(), frequencies, x);
  norm<Row>(cta, x, cta.weights<float>(0), x, x);
  glu<Row>(cta, x, x, x);
  residual<Row>(cta, x, x, x);
  sum<Row>(cta, x, inbox(cta, 4096, 1), x, x);
}

} // namespace retort::cuda
