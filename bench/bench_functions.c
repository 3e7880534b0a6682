/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_functions.c - the correctly rounded scalar functions beside glibc: its scalar functions
 * (expf, tanhf, ...) and its vector ones (libmvec, 4 ulp), in alternating runs on one thread.
 *
 *   bench_functions [--json] [FILTER]
 *
 * Prints nanoseconds an element and the ratio to each peer, above 1: ours is faster. Inputs are
 * spread over [-8, 8] (log: (0, 16], sin and cos: [0, 8], where contract 1 uses them) and in cache.
 * Ours are timed alone, through the probe that the tests use.
 */
#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "tests/kernels/probe.h"

enum { N = 4096, ROUNDS = 9, CALLS = 24 };

typedef float scalar_function(float);

typedef struct contestant {
    int function; /* of probe.h */
    const char *name, *vector_name;
    scalar_function *scalar;
    float low, high;
} contestant;

static const contestant contestants[] = {
    {PROBE_exp, "exp", "_ZGVeN16v_expf", expf, -8.0f, 8.0f},
    {PROBE_log, "log", "_ZGVeN16v_logf", logf, 0x1p-10f, 16.0f},
    {PROBE_sin, "sin", "_ZGVeN16v_sinf", sinf, 0.0f, 8.0f},
    {PROBE_cos, "cos", "_ZGVeN16v_cosf", cosf, 0.0f, 8.0f},
    {PROBE_tanh, "tanh", "_ZGVeN16v_tanhf", tanhf, -8.0f, 8.0f},
    {PROBE_erf, "erf", "_ZGVeN16v_erff", erff, -8.0f, 8.0f},
    {PROBE_sigmoid, "sigmoid", NULL, NULL, -8.0f, 8.0f},
    {PROBE_silu, "silu", NULL, NULL, -8.0f, 8.0f},
    {PROBE_gelu, "gelu", NULL, NULL, -8.0f, 8.0f},
    {PROBE_gelu_tanh, "gelu_tanh", NULL, NULL, -8.0f, 8.0f},
    {PROBE_softplus, "softplus", NULL, NULL, -8.0f, 8.0f},
    {PROBE_tanh_slope, "tanh'", NULL, NULL, -8.0f, 8.0f},
    {PROBE_sigmoid_slope, "sigmoid'", NULL, NULL, -8.0f, 8.0f},
    {PROBE_silu_slope, "silu'", NULL, NULL, -8.0f, 8.0f},
    {PROBE_gelu_slope, "gelu'", NULL, NULL, -8.0f, 8.0f},
    {PROBE_gelu_tanh_slope, "gelu_tanh'", NULL, NULL, -8.0f, 8.0f},
};

static float x[N], y[N];

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double time_ours(const probe *p, int function)
{
    const double start = now();

    for (int i = 0; i < CALLS; i++)
        p->evaluate(function, y, x, N);
    return (now() - start) / CALLS / N * 1e9;
}

static double time_scalar(scalar_function *f)
{
    const double start = now();

    for (int i = 0; i < CALLS; i++)
        for (int j = 0; j < N; j++)
            y[j] = f(x[j]);
    return (now() - start) / CALLS / N * 1e9;
}

/* libmvec is not linked: a machine without it has no figure. */
#if defined(__x86_64__)
__attribute__((target("avx512f"))) static double time_vector(void *function)
{
    __m512 (*const f)(__m512) = (__m512(*)(__m512))function;
    const double start = now();

    for (int i = 0; i < CALLS; i++)
        for (int j = 0; j < N; j += 16)
            _mm512_storeu_ps(y + j, f(_mm512_loadu_ps(x + j)));
    return (now() - start) / CALLS / N * 1e9;
}

static void *vector_function(const char *name)
{
    void *library = __builtin_cpu_supports("avx512f") ? dlopen("libmvec.so.1", RTLD_NOW) : NULL;

    return library == NULL || name == NULL ? NULL : dlsym(library, name);
}
#else
static double time_vector(void *function)
{
    (void)function;
    return 0.0;
}

static void *vector_function(const char *name)
{
    (void)name;
    return NULL;
}
#endif

static int compare(const void *a, const void *b)
{
    const double p = *(const double *)a, q = *(const double *)b;

    return (p > q) - (p < q);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, compare);
    return values[ROUNDS / 2];
}

static void print_peer(bool json, const char *name, const char *isa, const char *peer, double ours,
                       double theirs, double ratio)
{
    if (json)
        printf("{\"bench\":\"functions\",\"case\":\"%s %s\",\"this\":%.3f,\"peer\":%.3f,"
               "\"peer_name\":\"%s\",\"unit\":\"ns an element\",\"ratio\":%.3f}\n",
               name, isa, ours, theirs, peer, ratio);
    else
        printf("   %s %5.2f ns, ratio %5.2f", peer, theirs, ratio);
}

static void measure(const contestant *c, const probe *p, bool json)
{
    double ours[ROUNDS], scalar[ROUNDS], vector[ROUNDS], to_scalar[ROUNDS], to_vector[ROUNDS];
    void *const mvec = vector_function(c->vector_name);

    for (int i = 0; i < N; i++)
        x[i] = c->low + (c->high - c->low) * ((float)(i * 2654435761u % N) + 0.37f) / N;
    for (int r = 0; r < ROUNDS; r++) {
        ours[r] = time_ours(p, c->function);
        scalar[r] = c->scalar == NULL ? 0.0 : time_scalar(c->scalar);
        vector[r] = mvec == NULL ? 0.0 : time_vector(mvec);
        to_scalar[r] = scalar[r] / ours[r];
        to_vector[r] = vector[r] / ours[r];
    }
    if (!json)
        printf("%-11s %-7s %5.2f ns", c->name, p->isa, median(ours));
    if (c->scalar != NULL)
        print_peer(json, c->name, p->isa, "glibc", median(ours), median(scalar), median(to_scalar));
    if (mvec != NULL)
        print_peer(json, c->name, p->isa, "libmvec", median(ours), median(vector),
                   median(to_vector));
    if (!json)
        printf("\n");
}

int main(int argc, char **argv)
{
    const char *filter = "";
    bool json = false;
    const probe *all[4];
    const size_t n = probes(all);

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else
            filter = argv[i];
    for (size_t i = 0; i < sizeof contestants / sizeof contestants[0]; i++)
        if (strstr(contestants[i].name, filter) != NULL)
            for (size_t isa = n > 1 ? 1 : 0; isa < n; isa++)
                measure(&contestants[i], all[isa], json);
    return 0;
}
