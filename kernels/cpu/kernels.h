/*===- kernels.h - The CPU microkernels that emitted programs call ----------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* The contract between compiler/Codegen, which emits calls with constant shapes, and the .c files
 * here, compiled once for each instruction set to bitcode (kernels-x86-64-v3.bc,
 * kernels-x86-64-v4.bc) that is linked into the emitted module, inlined and optimised there.
 *
 * Rules for every kernel:
 * - No global state, no allocation, no call outside the bitcode, no errno. Pointers that are
 *   written do not overlap pointers that are read unless the comment says that they may.
 * - Sizes and strides are in elements unless the name ends in `Bytes`. int64_t throughout.
 * - Reduction order is fixed and is a function of the row alone: a row gives the same bits decoded
 *   alone, in a batch, in any tile split and with any number of threads, on one instruction set.
 * - f32 buffers need 4-byte alignment only; packed weights, quantised rows and cache pages
 *   need 64.
 * - No kernel reads or writes past the sizes named here.
 *
 * For the emitter: every emitted function must carry the string attributes ("target-cpu",
 * "target-features", "no-builtins", ...) of the kernels of that instruction set, or LLVM refuses to
 * inline them: copy them from any kernel. Kernels are not marked alwaysinline: outline one function
 * for each distinct shape, mark that call site alwaysinline, and call it from every layer of the
 * shape.
 *
 * == Packed weights, "rows16" ==
 * A matrix [out][in] is stored as ceil(out/16) blocks of 16 rows, one after the other; the last is
 * padded with rows of zeros. In a block the 16 rows are interleaved, so that a 16-lane vector holds
 * one element (or 2, 4, 8) of each row, and no kernel adds across lanes. `kp` is `in` rounded up to
 * the group (int8, fp8, int4), to 2 (f16, bf16) or `in` (f32); columns in..kp-1 are zeros (any
 * code, for i4a). groups = kp / group. Every block is a multiple of 64 bytes:
 *
 *   f32   [in][16] f32                                                    block = 64*in
 *   bf16  [kp/2][16][2] bf16: lane r holds columns 2i, 2i+1               block = 32*kp
 *   f16   [kp][16] f16                                                    block = 32*kp
 *   f8    scales, then [kp][16] fp8 e4m3 q: stands for d*(q/256)          block = S + 16*kp
 *   i8    scales, then [kp/4][16][4] u8: q + 128, q in -127..127          block = S + 16*kp
 *   i4s   scales, then [kp/8][16][4] u8: byte j of lane r has column 8i+j in the low nibble and
 *         column 8i+4+j in the high one; code c stands for d*(c-8)        block = S + 8*kp
 *   i4a   as i4s, but code c stands for d*c + m                           block = S + 8*kp
 *   i3s   scales, then [kp/32][3][16][4] u8. Byte j of lane r has, of columns 32i+4w+j, code c
 *         for d*(c-4):                                                    block = S + 6*kp
 *           of the first   bits 2..0 w = 0, 5..3 w = 1, 7..6 the low bits of w = 6
 *           of the second  bits 2..0 w = 2, 5..3 w = 3, 7..6 the low bits of w = 7
 *           of the third   bits 2..0 w = 4, 5..3 w = 5, 6 the high bit of w = 6, 7 that of w = 7
 *
 *   scales of i8, f8, i4s, i3s: [groups][16] f16 d, padded to 64 bytes: S = roundup(32*groups, 64)
 *   scales of i4a: [groups][2][16] f16: 16 d, then 16 m:       S = 64*groups
 *
 * One tile therefore reads one contiguous range of memory, all of it once. Both instruction sets
 * and the embedding gather read this layout, so tied embeddings share one buffer. Written by
 * compiler/Weights/Pack.h; block sizes there are `blockBytes(format, cols)`.
 *
 * Gated weights ("rows16" of an interleaved matrix): gate and up [ffn][in] alternate by blocks:
 * block 2b is gate rows 16b..16b+15, block 2b+1 is up rows 16b..16b+15, each padded with zero rows
 * to 16: 2*ceil(ffn/16) blocks.
 *
 * == Quantised rows ==
 * Linear kernels over i8 and i4 weights take int8 activations, quantised by groups of the weight's
 * group size. One row is rk_quant_row_bytes(in, group) bytes, 64-byte aligned:
 *
 *   [kp] int8 codes | [groups] f32 scales | [groups] int32: minus the sum of the group's codes
 *
 * scale = max|x| / 127 (0 if the group is all zeros), code = x * (127 / max|x|) rounded to nearest
 * even. Columns in..kp-1 are 0. Row r of a batch is at r * rk_quant_row_bytes. */
#ifndef RETORT_KERNELS_CPU_KERNELS_H
#define RETORT_KERNELS_CPU_KERNELS_H
#include <stdint.h>

/* Unit tests link both instruction sets into one binary: there every symbol ends in RK_SUFFIX. The
 * bitcode has the plain names. */
#ifdef RK_SUFFIX
#define RK_JOIN2(a, b) a##b
#define RK_JOIN(a, b) RK_JOIN2(a, b)
#define RK(name) RK_JOIN(name, RK_SUFFIX)
#else
#define RK(name) name
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define RK_PAGE_ROWS 16 /* positions in a page of the KV cache */

/* Activations of gated and plain activation kernels (`act` arguments; pass a constant). */
#define RK_ACT_SILU 0      /* x / (1 + exp(-x)) */
#define RK_ACT_GELU_TANH 1 /* x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3))) */
#define RK_ACT_GELU 2      /* x/2 * (1 + erf(x / sqrt(2))) */
#define RK_ACT_SIGMOID 3   /* 1 / (1 + exp(-x)) */

/* Bytes of one quantised row: roundup(kp + 8*kp/group, 64). A function of constants: folds. */
static inline int64_t rk_quant_row_bytes(int64_t in, int64_t group) {
  int64_t kp = (in + group - 1) / group * group;
  return (kp + 8 * (kp / group) + 63) / 64 * 64;
}

/*===--- Linear: y = x W^T over a tile of output columns --------------------------------------===*/
/* Computes columns n0..n1-1 of `rows` rows (rows >= 1, any number; weights are unpacked once for
 * several rows). n0 is a multiple of 16; n1 is a multiple of 16 or equals out; out is W's number of
 * rows without padding. With a = sum over k of x[r][k] * W[n][k], for each r and n:
 *
 *   t = a;  t += bias[n];  t = softCap * tanh(t / softCap);  t += residual[r*out + n];
 *   y[r*out + n] = t
 *
 * bias NULL: none. softCap 0: none. residual NULL: none; residual may be y itself. `y`, `bias` and
 * `residual` point at column 0, not n0.
 * Traffic: the tile's blocks of W once ((n1-n0)/16 * block bytes), x from L1/L2 once a block. */

/* x [rows] rows of f32, stride ldx >= in. Each FMA in f32, k ascending, one chain an output. */
void RK(rk_linear_f32)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                       int64_t out, int64_t n0, int64_t n1, const float *bias, float softCap,
                       const float *residual, float *y);
void RK(rk_linear_bf16)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                        int64_t out, int64_t n0, int64_t n1, const float *bias, float softCap,
                        const float *residual, float *y);
void RK(rk_linear_f16)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                       int64_t out, int64_t n0, int64_t n1, const float *bias, float softCap,
                       const float *residual, float *y);
/* x as above. Within a group of columns two FMA chains, the even columns and the odd ones; groups
 * are summed ascending. */
void RK(rk_linear_f8)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                      int64_t group, int64_t out, int64_t n0, int64_t n1, const float *bias,
                      float softCap, const float *residual, float *y);
/* xq: quantised rows. group is 32, 64 or 128. Integer dot products are exact within a group; groups
 * are summed in f32, ascending. */
void RK(rk_linear_i8)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in, int64_t group,
                      int64_t out, int64_t n0, int64_t n1, const float *bias, float softCap,
                      const float *residual, float *y);
void RK(rk_linear_i4s)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in, int64_t group,
                       int64_t out, int64_t n0, int64_t n1, const float *bias, float softCap,
                       const float *residual, float *y);
void RK(rk_linear_i4a)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in, int64_t group,
                       int64_t out, int64_t n0, int64_t n1, const float *bias, float softCap,
                       const float *residual, float *y);
void RK(rk_linear_i3s)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in, int64_t group,
                       int64_t out, int64_t n0, int64_t n1, const float *bias, float softCap,
                       const float *residual, float *y);

/*===--- Gated linear: y = act(x Wg^T) * (x Wu^T) over interleaved gate/up blocks -------------===*/
/* Computes columns n0..n1-1 of the ffn outputs; n0 a multiple of 16, n1 one or equal to ffn. Reads
 * blocks 2*n0/16 .. 2*ceil(n1/16)-1. y[r*ffn + n]. No bias: models with one use rk_linear + rk_glu.
 */
void RK(rk_glu_linear_f32)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                           int64_t ffn, int64_t n0, int64_t n1, int64_t act, float *y);
void RK(rk_glu_linear_bf16)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                            int64_t ffn, int64_t n0, int64_t n1, int64_t act, float *y);
void RK(rk_glu_linear_f16)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                           int64_t ffn, int64_t n0, int64_t n1, int64_t act, float *y);
void RK(rk_glu_linear_f8)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                          int64_t group, int64_t ffn, int64_t n0, int64_t n1, int64_t act,
                          float *y);
void RK(rk_glu_linear_i8)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in,
                          int64_t group, int64_t ffn, int64_t n0, int64_t n1, int64_t act,
                          float *y);
void RK(rk_glu_linear_i4s)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in,
                           int64_t group, int64_t ffn, int64_t n0, int64_t n1, int64_t act,
                           float *y);
void RK(rk_glu_linear_i4a)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in,
                           int64_t group, int64_t ffn, int64_t n0, int64_t n1, int64_t act,
                           float *y);
void RK(rk_glu_linear_i3s)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in,
                           int64_t group, int64_t ffn, int64_t n0, int64_t n1, int64_t act,
                           float *y);

/*===--- Embedding ----------------------------------------------------------------------------===*/
/* y[0..in) = scale * row `token` of the packed matrix. Reads every line of the row's block (16
 * rows): block bytes of traffic a token. The caller has checked the token. */
void RK(rk_embed_f32)(const uint8_t *w, int64_t in, int64_t token, float scale, float *y);
void RK(rk_embed_bf16)(const uint8_t *w, int64_t in, int64_t token, float scale, float *y);
void RK(rk_embed_f16)(const uint8_t *w, int64_t in, int64_t token, float scale, float *y);
void RK(rk_embed_f8)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                     float *y);
void RK(rk_embed_i8)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                     float *y);
void RK(rk_embed_i4s)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                      float *y);
void RK(rk_embed_i4a)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                      float *y);
void RK(rk_embed_i3s)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                      float *y);

/*===--- Norms (RMSNorm, arXiv:1910.07467) and quantisation, one row a call -------------------===*/
/* y[i] = residual[i] + (gain[i] + offset) * x[i] / sqrt(mean(x^2) + eps); residual NULL: none.
 * offset is 0, or 1 for Gemma. y may be x, y may be residual. */
void RK(rk_rms_norm)(const float *x, const float *gain, float offset, int64_t n, float eps,
                     const float *residual, float *y);
/* The same for each of `groups` slices of n elements (q/k norm: slices are heads, gain [n] is
 * shared). */
void RK(rk_rms_norm_groups)(const float *x, const float *gain, float offset, int64_t groups,
                            int64_t n, float eps, float *y);
/* y[i] = gain[i] * (x[i] - m) / sqrt(mean((x - m)^2) + eps) + bias[i], m the mean of x: LayerNorm,
 * arXiv:1607.06450. y may be x. */
void RK(rk_layer_norm)(const float *x, const float *gain, const float *bias, int64_t n, float eps,
                       float *y);
/* rk_rms_norm then rk_quantize of the whole row, without the f32 result in memory. Same bits. */
void RK(rk_rms_norm_quantize)(const float *x, const float *gain, float offset, int64_t n, float eps,
                              int64_t group, uint8_t *xq);
/* Quantises the row x [in] into the quantised row xq, whose columns in..kp-1 become 0. */
void RK(rk_quantize)(const float *x, int64_t in, int64_t group, uint8_t *xq);

/*===--- Elementwise, n elements; y may be any of the inputs ----------------------------------===*/
void RK(rk_copy)(const float *x, int64_t n, float *y);
void RK(rk_add)(const float *a, const float *b, int64_t n, float *y);
void RK(rk_glu)(const float *gate, const float *up, int64_t n, int64_t act,
                float *y); /* act(gate)*up */

/*===--- Rotary embedding (arXiv:2104.09864, half-split order) --------------------------------===*/
/* Angles of one step: for each row r and i < half: a = (float)positions[r] * invFreq[i], rounded to
 * f32 as Hugging Face does; table[r][i] = factor * cos(a), table[r][half + i] = factor * sin(a).
 * |a| <= 1e5: error below 1 ulp. factor is YaRN's attention factor, else 1; where steps is not null
 * a row's is multiplied by steps[positions[r] / every]. Stride of a row: 2*half. */
void RK(rk_rope_table)(const int32_t *positions, int64_t rows, const float *invFreq, int64_t half,
                       float factor, const float *steps, int64_t every, float *table);
/* Rotates the first `dims` elements of each of `heads` heads of one row, in place: with h = dims/2,
 * x[i], x[i+h] = x[i]*cos[i] - x[i+h]*sin[i], x[i+h]*cos[i] + x[i]*sin[i].
 * tableRow = table + r*dims. */
void RK(rk_rope)(float *x, int64_t heads, int64_t headDim, int64_t dims, const float *tableRow);

/*===--- Paged KV cache -------------------------------------------------------------------===*/
/* A page holds RK_PAGE_ROWS = 16 positions of one slot for every layer: page p is at cache +
 * p*pageBytes, layer l's part at layerOffsetBytes in the page, of rk_cache_layer_bytes:
 *
 *   K [kvHeads][headDim][16 positions]   so that scores of 16 positions are one vector
 *   V [kvHeads][16 positions][headDim]
 *
 * of f32 (elementBytes 4), f16 or bf16 (2), or f8e4m3 (1: fp8 e4m3 without a scale; what is beyond
 * 448 becomes 448), rounded to nearest even. Position t of a slot is row t % 16 of page
 * pageTable[t / 16], where pageTable is the slot's own row of the step's table. A page need not be
 * cleared: rows after the newest position are never used in a sum, whatever bits they hold, NaN
 * too. */
static inline int64_t rk_cache_layer_bytes(int64_t kvHeads, int64_t headDim, int64_t elementBytes) {
  return 2 * kvHeads * headDim * RK_PAGE_ROWS * elementBytes;
}
/* Stores one row's k and v [kvHeads*headDim] at `position`. Rows of one slot in one page share
 * cache lines of K: concurrent calls are correct but slow; give a thread whole rows of a page. */
void RK(rk_cache_append_f32)(const float *k, const float *v, int64_t kvHeads, int64_t headDim,
                             uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,
                             int64_t layerOffsetBytes, int64_t position);
void RK(rk_cache_append_f16)(const float *k, const float *v, int64_t kvHeads, int64_t headDim,
                             uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,
                             int64_t layerOffsetBytes, int64_t position);
void RK(rk_cache_append_bf16)(const float *k, const float *v, int64_t kvHeads, int64_t headDim,
                              uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,
                              int64_t layerOffsetBytes, int64_t position);
void RK(rk_cache_append_f8e4m3)(const float *k, const float *v, int64_t kvHeads, int64_t headDim,
                                uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,
                                int64_t layerOffsetBytes, int64_t position);
/* Attention of one row for query heads head0..head1-1, which share one key/value head: with
 * G = heads/kvHeads, head1 <= (head0/G + 1) * G; best all G of them. Positions
 * max(0, position-window+1)..position (window 0: from 0), online softmax in steps of a page,
 * s = scale * q.k; softCap != 0: s = softCap * tanh(s / softCap). sinks [heads], if not null: the
 * score of one more key, whose value is zero. q and out are the row's [heads*headDim] f32; writes out[head0*headDim .. head1*headDim) and uses it as accumulator; out
 * does not overlap q. headDim: a multiple of 16. Traffic: K and V of the positions once a call. */
void RK(rk_attention_f32)(const float *q, int64_t heads, int64_t kvHeads, int64_t headDim,
                          const uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,
                          int64_t layerOffsetBytes, int64_t position, int64_t window, float scale,
                          float softCap, const float *sinks, int64_t head0, int64_t head1,
                          float *out);
void RK(rk_attention_f16)(const float *q, int64_t heads, int64_t kvHeads, int64_t headDim,
                          const uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,
                          int64_t layerOffsetBytes, int64_t position, int64_t window, float scale,
                          float softCap, const float *sinks, int64_t head0, int64_t head1,
                          float *out);
void RK(rk_attention_bf16)(const float *q, int64_t heads, int64_t kvHeads, int64_t headDim,
                           const uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,
                           int64_t layerOffsetBytes, int64_t position, int64_t window, float scale,
                           float softCap, const float *sinks, int64_t head0, int64_t head1,
                           float *out);
void RK(rk_attention_f8e4m3)(const float *q, int64_t heads, int64_t kvHeads, int64_t headDim,
                             const uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,
                             int64_t layerOffsetBytes, int64_t position, int64_t window,
                             float scale, float softCap, const float *sinks, int64_t head0,
                             int64_t head1, float *out);

/*===--- The threads' barrier -------------------------------------------------------------===*/
struct retort_cpu_barrier;
/* Waits until all `threads` threads have called it; what they wrote before is seen after. Spins for
 * some 20 microseconds, unless that has not helped lately (runtime/src/abi/patience.h), then sleeps
 * (Linux's futex, as a bare system call), so that a machine with other work, or too few cores, does
 * not stall it. threads 1: returns at once. */
void RK(rk_barrier)(struct retort_cpu_barrier *barrier, int32_t threads);

#ifdef __cplusplus
}
#endif
#endif
