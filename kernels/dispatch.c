/* SPDX-License-Identifier: Apache-2.0
 *
 * dispatch.c - which table this build and this machine have.
 */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "kernels/isa.h"
#include "kernels/kernels.h"

#if defined(__x86_64__)
static bool has_fma(void)
{
    return __builtin_cpu_supports("fma");
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && has_fma();
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}
#endif

static const fb_kernels *ref(void)
{
#if defined(__x86_64__)
    return has_fma() ? &fb__kernels_ref_fma : &fb__kernels_ref;
#elif defined(__aarch64__)
    return &fb__kernels_ref_fma; /* part of every 64-bit Arm */
#else
    return &fb__kernels_ref;
#endif
}

const fb_kernels *fb_kernels_for(fb_isa isa)
{
    switch (isa) {
    case FB_ISA_REF:
        return ref();
#if defined(__x86_64__)
    case FB_ISA_AVX2:
        return has_avx2() ? &fb__kernels_avx2 : NULL;
    case FB_ISA_AVX512:
        return has_avx512() ? &fb__kernels_avx512 : NULL;
#endif
#if defined(__aarch64__)
    case FB_ISA_NEON:
        return &fb__kernels_neon; /* part of every 64-bit Arm */
#endif
    default:
        return NULL;
    }
}

const fb_kernels *fb_kernels_best(void)
{
    const fb_kernels *best = NULL;

    /* The list of fb_isa goes from narrow to wide. */
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);
        best = kernels != NULL ? kernels : best;
    }
    return best;
}

const fb_kernels *fb_kernels_named(const char *name)
{
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);
        if (kernels != NULL && strcmp(kernels->name, name) == 0)
            return kernels;
    }
    return NULL;
}
