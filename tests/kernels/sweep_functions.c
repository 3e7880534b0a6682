/* SPDX-License-Identifier: Apache-2.0
 *
 * sweep_functions.c - the scalar functions for every float32: counts misrounded results beside
 * MPFR, or hashes the results alone.
 *
 *   sweep_functions [--stride S] [--hash] FUNCTION|all [ISA|all]
 *
 * Prints a line a function and instruction set: inputs, misrounded (the first few before it), and
 * the SHA-256 of all results, which must be equal on every instruction set: 2^32 float32, little-
 * endian, in the order of the inputs' bits, NaNs canonical, +0 where the function is not used. With
 * --hash nothing is compared with MPFR, and the lines are those of functions.sha256. An odd stride
 * S takes every S-th bit pattern only. Exit status 1: something is misrounded.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/bytes.h"
#include "tests/kernels/exact.h"
#include "tests/kernels/probe.h"

enum { BATCH = 1 << 14, SHOWN = 8, DIGEST_BYTES = 32 };

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

typedef struct sweep {
    const probe *probe;
    int function;
    uint64_t stride;
    bool hash_only;
} sweep;

/* Returns how many inputs are misrounded. */
static uint64_t run(const sweep *s)
{
    static float x[BATCH], y[BATCH];
    const uint64_t count = (UINT64_C(1) << 32) / s->stride;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    unsigned char sha256[DIGEST_BYTES];
    uint64_t wrong = 0;

    EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
    for (uint64_t done = 0; done < count;) {
        const size_t n = count - done < BATCH ? (size_t)(count - done) : BATCH;

        for (size_t i = 0; i < BATCH; i++)
            x[i] = fb_float_of_bits(i < n ? (uint32_t)((done + i) * s->stride) : 0);
        s->probe->evaluate(s->function, y, x, BATCH);
        for (size_t i = 0; i < n; i++)
            y[i] = fb_float_of_bits(exact_in_domain(s->function, x[i]) ? canonical_bits(y[i]) : 0);
        EVP_DigestUpdate(digest, y, n * sizeof y[0]);
        if (!s->hash_only)
            wrong += check_batch(s->function, x, y, n, wrong);
        done += n;
    }
    EVP_DigestFinal_ex(digest, sha256, NULL);
    EVP_MD_CTX_free(digest);
    if (!s->hash_only)
        printf("%-16s %-7s %11llu inputs  %llu misrounded  ", exact_name(s->function),
               s->probe->isa, (unsigned long long)count, (unsigned long long)wrong);
    for (int i = 0; i < DIGEST_BYTES; i++)
        printf("%02x", sha256[i]);
    printf(s->hash_only ? "  %s\n" : "\n", exact_name(s->function));
    fflush(stdout);
    return wrong;
}

static bool is_meant(const char *argument, const char *name)
{
    return strcmp(argument, "all") == 0 || strcmp(argument, name) == 0;
}

int main(int argc, char **argv)
{
    const probe *all[4];
    const size_t n = probes(all);
    const char *words[2] = {NULL, all[n - 1]->isa};
    sweep s = {.stride = 1};
    size_t given = 0, ran = 0;
    uint64_t wrong = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--hash") == 0)
            s.hash_only = true;
        else if (strcmp(argv[i], "--stride") == 0 && i + 1 < argc)
            s.stride = strtoull(argv[++i], NULL, 10) | 1;
        else if (given < 2)
            words[given++] = argv[i];
    }
    for (s.function = 0; given > 0 && s.function < PROBE_COUNT; s.function++)
        for (size_t i = 0; i < n; i++)
            if (is_meant(words[0], exact_name(s.function)) && is_meant(words[1], all[i]->isa)) {
                s.probe = all[i];
                wrong += run(&s);
                ran++;
            }
    if (ran == 0) {
        fprintf(stderr, "usage: sweep_functions [--stride S] [--hash] FUNCTION|all [ISA|all]\n");
        return 2;
    }
    return wrong > 0;
}
