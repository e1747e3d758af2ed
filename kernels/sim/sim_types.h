// What wrap.cuh needs before its declarations when device code is compiled for the simulated
// device: macros, vector types, and the functions of libretort_sim.so that the wrappers call.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <stddef.h>
#include <stdint.h>

#define RETORT_DEVICE inline __attribute__((always_inline))
#define RETORT_PHASE __attribute__((noinline))
#define RETORT_CONSTANT static const
#ifndef RETORT_SIM_ARCH
#define RETORT_SIM_ARCH 900
#endif
#define RETORT_ARCH RETORT_SIM_ARCH
#define RETORT_ARCH_90A (RETORT_ARCH == 900)

// Beside the function, a record by which the driver finds its parameters and its limits.
#define RETORT_KERNEL(name, threads, ctasPerSm, ...)                                               \
  extern "C" void name(__VA_ARGS__);                                                               \
  extern "C" __attribute__((used, visibility("default")))                                          \
  const retort_sim_kernel retort_sim_kernel_##name =                                               \
      ::retort::cuda::sim::describe(&name, threads, ctasPerSm);                                    \
  extern "C" void name(__VA_ARGS__)

extern "C" {
// The running lane. thread, threads, cta and ctas are what the wrappers of those names return.
struct retort_sim_lane {
  uint32_t thread, threads, cta, ctas;
  uint8_t *arena;
};
extern struct retort_sim_lane *retort_sim_self;

struct retort_sim_kernel {
  uint32_t threads, ctasPerSm, parameters;
  uint32_t sizes[16]; // bytes of each parameter
  void (*call)(void *function, void **parameters);
  void *function;
};

// order: of a load 1 is acquire, of a store 1 is release, of an atomic 1 is acquire and 2 release,
// 0 is relaxed; scope: 0 CTA, 1 device, 2 system. Calls at which lanes must meet are neither
// duplicated nor moved into branches by the compiler.
#define RETORT_SIM_MEET __attribute__((noduplicate, convergent))
RETORT_SIM_MEET void retort_sim_cta_sync(void);
RETORT_SIM_MEET void retort_sim_bar(int id, int threads, int wait);
RETORT_SIM_MEET void retort_sim_warp_sync(void);
RETORT_SIM_MEET uint32_t retort_sim_shfl(uint32_t value, int source);
RETORT_SIM_MEET uint32_t retort_sim_ballot(uint32_t predicate);
RETORT_SIM_MEET void retort_sim_mma(void *d, const uint32_t *a, const uint32_t *b,
                                    int kind); // 0 f16, 1 bf16, 2 s8
RETORT_SIM_MEET void retort_sim_ldmatrix(uint32_t *d, const void *row, int matrices,
                                         int transposed);
RETORT_SIM_MEET void retort_sim_wgmma(float *d, const uint32_t *a, uint64_t b, int accumulate);
RETORT_SIM_MEET void retort_sim_wgmma_fence(void);
RETORT_SIM_MEET void retort_sim_wgmma_commit(void);
RETORT_SIM_MEET void retort_sim_wgmma_wait(int pending);
uint32_t retort_sim_load(const void *source, int order, int scope);
void retort_sim_store(void *dest, uint32_t value, int order, int scope);
void retort_sim_load64(const void *source, uint32_t *value);
void retort_sim_load128(const void *source, uint32_t *value);
void retort_sim_store64(void *dest, const uint32_t *value);
void retort_sim_store128(void *dest, const uint32_t *value);
uint32_t retort_sim_atomic_add(void *dest, uint32_t value, int order, int scope);
void retort_sim_atomic_max64(void *dest, uint64_t value);
void retort_sim_fence(int scope);
void retort_sim_spin(void);
void retort_sim_constant_load(const void *source,
                              uint32_t bytes); // a read of memory that this launch must not write
void retort_sim_cp_async(void *dest, const void *source, int valid);
void retort_sim_cp_commit(void);
void retort_sim_cp_wait(int pending);
void retort_sim_mbar_init(void *bar, uint32_t arrivals);
void retort_sim_mbar_arrive(void *bar, uint32_t bytes);
int retort_sim_mbar_try(void *bar, uint32_t parity);
void retort_sim_bulk(void *dest, const void *source, uint32_t bytes, void *bar);
void retort_sim_prefetch(const void *source, uint32_t bytes);
void retort_sim_fence_async(void);
void retort_sim_pdl_wait(void);
void retort_sim_pdl_launch(void);
void retort_sim_count_wait(void);
void retort_sim_count_tile(void);
void retort_sim_trap(void);
}

namespace retort::cuda {
// One access each, as on the GPU.
typedef uint32_t u32x2 __attribute__((ext_vector_type(2)));
typedef uint32_t u32x4 __attribute__((ext_vector_type(4)));
typedef float f32x2 __attribute__((ext_vector_type(2)));
typedef float f32x4 __attribute__((ext_vector_type(4)));

namespace sim {
template <size_t... I> struct Seq {};
template <size_t N, size_t... I> struct MakeSeq : MakeSeq<N - 1, N - 1, I...> {};
template <size_t... I> struct MakeSeq<0, I...> {
  using type = Seq<I...>;
};
template <class... A, size_t... I> void expand(void (*function)(A...), void **p, Seq<I...>) {
  function(*static_cast<A *>(p[I])...);
}
template <class... A>
retort_sim_kernel describe(void (*function)(A...), uint32_t threads, uint32_t ctasPerSm) {
  static_assert(sizeof...(A) > 0 && sizeof...(A) <= 16, "a kernel has 1 to 16 parameters");
  return {threads,
          ctasPerSm,
          uint32_t(sizeof...(A)),
          {uint32_t(sizeof(A))...},
          [](void *f, void **p) {
            expand(reinterpret_cast<void (*)(A...)>(f), p, typename MakeSeq<sizeof...(A)>::type());
          },
          reinterpret_cast<void *>(function)};
}
} // namespace sim
} // namespace retort::cuda
