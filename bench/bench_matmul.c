/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_matmul.c - the ordered matrix product beside OpenBLAS, in alternating runs.
 *
 *   bench_matmul [--json] [--threads N] [--isa NAME] [--seconds S] [FILTER]
 *
 * Prints for each shape and layout the rate of both and their ratio (above 1: ours is faster), with
 * the spread of the ratio over the rounds. One thread by default; with more, each side has its own
 * pool, which sleeps while the other works.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"

typedef struct shape {
    size_t m, n, k;
} shape;

static const shape shapes[] = {
    {1, 768, 768},    {2, 768, 768},    {4, 768, 3072},   {8, 768, 3072},   {16, 768, 768},
    {64, 64, 64},     {128, 128, 128},  {256, 256, 256},  {512, 512, 512},  {1024, 1024, 1024},
    {256, 768, 768},  {256, 768, 3072}, {256, 3072, 768}, {256, 2304, 768}, {768, 1152, 384},
    {768, 1536, 384}, {768, 384, 1536}, {768, 3072, 256}, {384, 384, 768},  {2048, 2048, 2048},
};

typedef struct layout {
    const char *name;
    bool a_transposed, b_transposed;
} layout;

static const layout layouts[] = {{"NN", false, false}, {"NT", false, true}, {"TN", true, false}};

typedef struct options {
    bool json;
    unsigned threads;
    const fb_kernels *kernels;
    double seconds;
    const char *filter;
} options;

enum { ROUNDS = 7 };

/* On one thread its own time, which other programs disturb less. */
static double now(unsigned threads)
{
    struct timespec t;

    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double run_for(const fb_kernels *kernels, fb_pool *pool, const fb_matmul *x, double seconds)
{
    const double start = now(fb_pool_threads(pool));
    size_t calls = 0;
    double spent;

    do {
        kernels->matmul(pool, x);
        calls++;
        spent = now(fb_pool_threads(pool)) - start;
    } while (spent < seconds);
    return spent / (double)calls;
}

static float *numbers(size_t n, unsigned seed)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);

    if (x == NULL) {
        fprintf(stderr, "bench_matmul: out of memory\n");
        exit(2);
    }
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((i * 2654435761u + seed) % 1000) * 0.002f - 1.0f;
    return x;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Returns the median ratio. */
static double measure(const options *o, const fb_kernels *blas, fb_pool *pool, shape s, layout l)
{
    fb_matmul x = {.m = s.m, .n = s.n, .k = s.k, .ldc = s.n, .batch = 1};
    double ours[ROUNDS], theirs[ROUNDS], ratio[ROUNDS];
    const double flops = 2e-9 * (double)s.m * (double)s.n * (double)s.k;
    char name[64];
    float *a, *b;

    x.a_transposed = l.a_transposed;
    x.b_transposed = l.b_transposed;
    x.lda = l.a_transposed ? s.m : s.k;
    x.ldb = l.b_transposed ? s.k : s.n;
    x.a = a = numbers(s.m * s.k, 1);
    x.b = b = numbers(s.k * s.n, 2);
    x.c = numbers(s.m * s.n, 3);
    for (int i = 0; i < ROUNDS; i++) {
        ours[i] = run_for(o->kernels, pool, &x, o->seconds);
        theirs[i] = run_for(blas, pool, &x, o->seconds);
        ratio[i] = theirs[i] / ours[i];
    }
    qsort(ours, ROUNDS, sizeof ours[0], compare);
    qsort(theirs, ROUNDS, sizeof theirs[0], compare);
    qsort(ratio, ROUNDS, sizeof ratio[0], compare);
    snprintf(name, sizeof name, "%zux%zux%zu %s", s.m, s.n, s.k, l.name);
    if (o->json)
        printf("{\"bench\":\"matmul\",\"case\":\"%s %u threads %s\",\"this\":%.2f,\"peer\":%.2f,"
               "\"peer_name\":\"OpenBLAS\",\"unit\":\"GFLOP/s\",\"ratio\":%.3f}\n",
               name, o->threads, o->kernels->name, flops / ours[ROUNDS / 2],
               flops / theirs[ROUNDS / 2], ratio[ROUNDS / 2]);
    else
        printf("%-22s %8.1f %9.1f   %5.2f  (%.2f-%.2f)\n", name, flops / ours[ROUNDS / 2],
               flops / theirs[ROUNDS / 2], ratio[ROUNDS / 2], ratio[0], ratio[ROUNDS - 1]);
    fflush(stdout);
    free(a);
    free(b);
    free(x.c);
    return ratio[ROUNDS / 2];
}

static void run_all(const options *o, const fb_kernels *blas, fb_pool *pool)
{
    double logs = 0.0;
    int count = 0;

    if (!o->json)
        printf("%-22s %8s %9s   ratio  (spread)    %s, %u threads\n", "GFLOP/s, MxNxK", "firstbit",
               "OpenBLAS", o->kernels->name, o->threads);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (size_t j = 0; j < sizeof layouts / sizeof layouts[0]; j++) {
            char name[64];

            snprintf(name, sizeof name, "%zux%zux%zu %s", shapes[i].m, shapes[i].n, shapes[i].k,
                     layouts[j].name);
            if (o->filter != NULL && strstr(name, o->filter) == NULL)
                continue;
            logs += log(measure(o, blas, pool, shapes[i], layouts[j]));
            count++;
        }
    if (!o->json && count > 0)
        printf("%-22s %18s   %5.2f\n", "geometric mean", "", exp(logs / count));
}

static int usage(void)
{
    fprintf(stderr,
            "usage: bench_matmul [--json] [--threads N] [--isa NAME] [--seconds S] [FILTER]\n");
    return 2;
}

int main(int argc, char **argv)
{
    options o = {.threads = 1, .kernels = fb_kernels_best(), .seconds = 0.03};
    const fb_kernels *blas;
    fb_pool *pool;
    fb_error err;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            o.json = true;
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            o.threads = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc)
            o.kernels = fb_kernels_named(argv[++i]);
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            o.seconds = strtod(argv[++i], NULL);
        else if (argv[i][0] != '-')
            o.filter = argv[i];
        else
            return usage();
    }
    if (o.kernels == NULL) {
        fprintf(stderr, "bench_matmul: this machine lacks that instruction set\n");
        return 2;
    }
    /* The peer is OpenBLAS at its best: 0.3.21 may take a CPU newer than itself for one without
     * AVX-512, and an environment that names a lesser core would halve it. */
    unsetenv("OPENBLAS_CORETYPE");
    if (fb_kernels_for(FB_ISA_AVX512) != NULL)
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
    if (fb_pool_create(&pool, o.threads, &err) != FB_OK ||
        fb_kernels_openblas(&blas, o.kernels, o.threads, &err) != FB_OK) {
        fprintf(stderr, "bench_matmul: %s\n", err.text);
        return 2;
    }
    run_all(&o, blas, pool);
    fb_pool_destroy(pool);
    return 0;
}
