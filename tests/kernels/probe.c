/* SPDX-License-Identifier: Apache-2.0
 *
 * probe.c - which probes this machine can run.
 */
#include "tests/kernels/probe.h"

#include "kernels/kernels.h"

size_t probes(const probe *out[4])
{
    size_t n = 0;

    out[n++] = &probe_ref;
#if defined(__x86_64__)
    if (fb_kernels_for(FB_ISA_AVX2) != NULL)
        out[n++] = &probe_avx2;
    if (fb_kernels_for(FB_ISA_AVX512) != NULL)
        out[n++] = &probe_avx512;
#elif defined(__aarch64__)
    out[n++] = &probe_neon;
#endif
    return n;
}
