/*===- elementwise.c - Sums and gated products of rows ----------------------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
#include "simd.h"

void RK(rk_copy)(const float *x, int64_t n, float *y) {
  for (int64_t i = 0; i < n; i += 16)
    storePart(y + i, loadPart(x + i, n - i), n - i);
}

void RK(rk_add)(const float *a, const float *b, int64_t n, float *y) {
  for (int64_t i = 0; i < n; i += 16)
    storePart(y + i, loadPart(a + i, n - i) + loadPart(b + i, n - i), n - i);
}

void RK(rk_glu)(const float *gate, const float *up, int64_t n, int64_t act, float *y) {
  for (int64_t i = 0; i < n; i += 16)
    storePart(y + i, activate16(loadPart(gate + i, n - i), act) * loadPart(up + i, n - i), n - i);
}
