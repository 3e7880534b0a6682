/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep_functions.c - counts misrounded results of the scalar functions, and hashes all results.
 *
 *   sweep_functions [STRIDE [FUNCTION [ISA]]]
 *
 * STRIDE 1 is every float32 (2^32, minutes a function); an odd stride of S takes every S-th bit
 * pattern. Prints a line a function: inputs, misrounded, the first few of them, and the XXH3-128 of
 * the results, NaNs canonical, which must be equal on all instruction sets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "kernels/kernels.h"
#include "tests/kernels/exact.h"
#include "tests/kernels/probe.h"

enum { BATCH = 1 << 14, SHOWN = 8 };

static uint32_t canonical_bits(float x)
{
    return x != x ? 0x7fc00000u : fb_float_bits(x);
}

static uint64_t check_batch(int function, const float *x, const float *y, size_t n, uint64_t before)
{
    uint64_t wrong = 0;

    for (size_t i = 0; i < n; i++) {
        float want;

        if (!exact_in_domain(function, x[i]))
            continue;
        want = exact_value(function, x[i]);
        if (canonical_bits(want) == canonical_bits(y[i]))
            continue;
        if (before + wrong++ < SHOWN)
            printf("  %s(%a) is %a, not %a\n", exact_name(function), (double)x[i], (double)want,
                   (double)y[i]);
    }
    return wrong;
}

static void sweep(const probe *p, int function, uint64_t stride)
{
    static float x[BATCH], y[BATCH];
    const uint64_t count = (UINT64_C(1) << 32) / stride;
    uint64_t wrong = 0;
    fb_hash chain = {0, 0};
    char hex[FB_HASH_HEX_BYTES];

    for (uint64_t done = 0; done < count;) {
        const size_t n = count - done < BATCH ? (size_t)(count - done) : BATCH;

        for (size_t i = 0; i < BATCH; i++)
            x[i] = fb_float_of_bits(i < n ? (uint32_t)((done + i) * stride) : 0);
        p->evaluate(function, y, x, BATCH);
        for (size_t i = 0; i < n; i++)
            y[i] = fb_float_of_bits(exact_in_domain(function, x[i]) ? canonical_bits(y[i]) : 0);
        chain = fb_chain_next(chain, done, fb_hash_bytes(y, n * sizeof y[0]));
        wrong += check_batch(function, x, y, n, wrong);
        done += n;
    }
    printf("%-16s %-7s %11llu inputs  %llu misrounded  %s\n", exact_name(function), p->isa,
           (unsigned long long)count, (unsigned long long)wrong, fb_hash_hex(hex, chain));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 65537;
    const probe *all[4];
    const size_t n = probes(all);

    for (int function = 0; function < PROBE_COUNT; function++) {
        if (argc > 2 && strcmp(argv[2], "all") != 0 && strcmp(argv[2], exact_name(function)) != 0)
            continue;
        for (size_t i = 0; i < n; i++)
            if (argc > 3 ? strcmp(argv[3], all[i]->isa) == 0 : i == n - 1)
                sweep(all[i], function, stride == 0 ? 1 : stride);
    }
    return 0;
}
