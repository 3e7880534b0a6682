/* SPDX-License-Identifier: Apache-2.0
 *
 * probe.h - the scalar functions of contract 1, which no table exposes alone, for tests and sweeps.
 *
 * probe_<isa>.c compile probe.inc for one instruction set each, as kernels_<isa>.c do.
 */
#ifndef FB_TEST_PROBE_H
#define FB_TEST_PROBE_H

#include <stddef.h>

/* X(name): f16_<name> of functions.inc, exact_<name> of functions_exact.inc. */
/* clang-format off */
#define PROBE_LIST(X)                                                                              \
    X(exp)                                                                                         \
    X(log) X(sin) X(cos) X(erf) X(tanh) X(tanh_slope) X(sigmoid) X(sigmoid_slope) X(silu)          \
        X(silu_slope) X(gelu) X(gelu_slope) X(gelu_tanh) X(gelu_tanh_slope) X(softplus)

#define PROBE_ENUM(name) PROBE_##name,
enum { PROBE_LIST(PROBE_ENUM) PROBE_COUNT };
#undef PROBE_ENUM

typedef struct probe {
    const char *isa;
    /* y[i] = function(x[i]); n is a multiple of 16. */
    void (*evaluate)(int function, float *y, const float *x, size_t n);
    /* The same by functions_exact.inc alone, which otherwise sees one vector in a thousand. */
    void (*evaluate_exactly)(int function, float *y, const float *x, size_t n);
    /* Estimates before they are narrowed, a NaN where they are not to be relied on. */
    void (*estimate)(int function, double *y, const float *x, size_t n);
} probe;

extern const probe probe_ref, probe_avx2, probe_avx512, probe_neon;

/* The probes that this machine can run, ref first; returns how many. */
size_t probes(const probe *out[4]);

#endif
