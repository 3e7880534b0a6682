/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_matmul.c - the ordered matrix product beside OpenBLAS, in alternating runs.
 *
 *   bench_matmul [--json] [--threads N] [--isa NAME] [--peer NAME] [--seconds S] [FILTER]
 *
 * Prints for each shape and layout the rate of both, their ratio (above 1: ours is faster), its
 * spread over the rounds, and our share of the peak of fused multiply-adds, measured before and
 * after on independent registers. The peer is OpenBLAS, or with --peer the table of another
 * instruction set. Each side is a process of its own, asleep while it is not its turn: two teams of
 * threads in one process spoil each other.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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
    const char *peer; /* NULL: OpenBLAS */
    double seconds;
    const char *filter;
} options;

enum { ROUNDS = 7, SHAPES = sizeof shapes / sizeof shapes[0], LAYOUTS = 3 };

/* OpenBLAS's threads look for work for some milliseconds before they sleep. */
enum { PAUSE_MICROSECONDS = 60000 };

static double seconds_of(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* On one thread its own time, which other programs disturb less. */
static double now(unsigned threads)
{
    return seconds_of(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC);
}

/* --- The peak --------------------------------------------------------------------------------- */

/* FLOP of one call: 16 chains of fused multiply-adds, enough to hide their latency. */
#if defined(__x86_64__)
enum { CHAINS = 16, CHAIN_STEPS = 4096 };

__attribute__((target("avx512f"))) static double fma_avx512(void)
{
    const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    __m512 x[CHAINS];

    for (int i = 0; i < CHAINS; i++)
        x[i] = _mm512_set1_ps((float)i);
    for (int step = 0; step < CHAIN_STEPS; step++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            x[i] = _mm512_fmadd_ps(x[i], a, b);
    for (int i = 1; i < CHAINS; i++)
        x[0] = _mm512_add_ps(x[0], x[i]);
    __asm__ volatile("" : : "x"(x[0]));
    return 2.0 * 16 * CHAINS * CHAIN_STEPS;
}

__attribute__((target("avx2,fma"))) static double fma_avx2(void)
{
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    __m256 x[CHAINS - 4];

    for (int i = 0; i < CHAINS - 4; i++)
        x[i] = _mm256_set1_ps((float)i);
    for (int step = 0; step < CHAIN_STEPS; step++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS - 4; i++)
            x[i] = _mm256_fmadd_ps(x[i], a, b);
    for (int i = 1; i < CHAINS - 4; i++)
        x[0] = _mm256_add_ps(x[0], x[i]);
    __asm__ volatile("" : : "x"(x[0]));
    return 2.0 * 8 * (CHAINS - 4) * CHAIN_STEPS;
}

static void fma_task(void *argument, size_t index, unsigned worker, void *scratch)
{
    const bool wide = fb_kernels_for(FB_ISA_AVX512) != NULL;

    (void)worker;
    (void)scratch;
    ((double *)argument)[index] = wide ? fma_avx512() : fma_avx2();
}

/* FLOP a second of all threads; 0 where it is not known how to measure it. */
static double peak_rate(fb_pool *pool, double seconds)
{
    const unsigned threads = fb_pool_threads(pool);
    double flop[256], done = 0.0;
    const double start = now(threads);

    if (fb_kernels_for(FB_ISA_AVX2) == NULL)
        return 0.0;
    do {
        fb_pool_run(pool, 8 * (size_t)(threads > 32 ? 32 : threads), fma_task, flop);
        done += 8 * (threads > 32 ? 32 : threads) * flop[0];
    } while (now(threads) - start < seconds);
    return done / (now(threads) - start);
}
#else
static double peak_rate(fb_pool *pool, double seconds)
{
    (void)pool;
    (void)seconds;
    return 0.0;
}
#endif

/* --- One side: a process that answers with seconds a call ------------------------------------- */

typedef struct answer {
    double seconds, peak;
} answer;

typedef struct side {
    int ask, answer; /* pipes */
    pid_t pid;
} side;

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

static double run_for(const fb_kernels *kernels, fb_pool *pool, const fb_matmul *x, double seconds)
{
    const unsigned threads = fb_pool_threads(pool);
    size_t calls = 0;
    double start, spent;

    kernels->matmul(pool, x);
    start = now(threads);
    do {
        kernels->matmul(pool, x);
        calls++;
        spent = now(threads) - start;
    } while (spent < seconds);
    return spent / (double)calls;
}

/* Answers for each case number (shape · LAYOUTS + layout) that is asked, until the pipe ends. */
static void serve(const options *o, const fb_kernels *kernels, int ask, int reply, bool ours)
{
    fb_matmul x = {.batch = 1};
    int number, had = -1;
    fb_pool *pool;

    if (fb_pool_create(&pool, o->threads, NULL) != FB_OK)
        _exit(2);
    while (read(ask, &number, sizeof number) == (ssize_t)sizeof number) {
        const shape s = shapes[number / LAYOUTS];
        const layout l = layouts[number % LAYOUTS];
        answer a;

        if (number != had) {
            free((void *)x.a);
            free((void *)x.b);
            free(x.c);
            x = (fb_matmul){.m = s.m, .n = s.n, .k = s.k, .ldc = s.n, .batch = 1};
            x.a_transposed = l.a_transposed;
            x.b_transposed = l.b_transposed;
            x.lda = l.a_transposed ? s.m : s.k;
            x.ldb = l.b_transposed ? s.k : s.n;
            x.a = numbers(s.m * s.k, 1);
            x.b = numbers(s.k * s.n, 2);
            x.c = numbers(s.m * s.n, 3);
            had = number;
        }
        a.peak = ours ? peak_rate(pool, o->seconds / 4) : 0.0;
        a.seconds = run_for(kernels, pool, &x, o->seconds);
        if (ours) /* the clock drifts: the mean of a reading before and one after */
            a.peak = (a.peak + peak_rate(pool, o->seconds / 4)) / 2;
        if (write(reply, &a, sizeof a) != (ssize_t)sizeof a)
            break;
    }
    _exit(0);
}

static const fb_kernels *table_of(const options *o, bool ours)
{
    const fb_kernels *kernels;
    fb_error err;

    if (ours)
        return o->kernels;
    if (o->peer != NULL)
        return fb_kernels_named(o->peer);
    if (fb_kernels_openblas(&kernels, o->kernels, o->threads, &err) == FB_OK)
        return kernels;
    fprintf(stderr, "bench_matmul: %s\n", err.text);
    return NULL;
}

static side start_side(const options *o, bool ours)
{
    int ask[2], reply[2];
    side s;

    if (pipe(ask) != 0 || pipe(reply) != 0 || (s.pid = fork()) < 0) {
        perror("bench_matmul");
        exit(2);
    }
    if (s.pid == 0) {
        const fb_kernels *kernels = table_of(o, ours);

        close(ask[1]);
        close(reply[0]);
        if (kernels != NULL)
            serve(o, kernels, ask[0], reply[1], ours);
        _exit(2);
    }
    close(ask[0]);
    close(reply[1]);
    s.ask = ask[1];
    s.answer = reply[0];
    return s;
}

static answer ask(const options *o, const side *s, int number)
{
    answer a;

    if (write(s->ask, &number, sizeof number) != (ssize_t)sizeof number ||
        read(s->answer, &a, sizeof a) != (ssize_t)sizeof a) {
        fprintf(stderr, "bench_matmul: one side ended early\n");
        exit(2);
    }
    if (o->threads > 1)
        usleep(PAUSE_MICROSECONDS);
    return a;
}

/* --- Both ------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double x[ROUNDS])
{
    qsort(x, ROUNDS, sizeof x[0], compare);
    return x[ROUNDS / 2];
}

/* Returns the median ratio. */
static double measure(const options *o, const side sides[2], int number)
{
    const shape s = shapes[number / LAYOUTS];
    const double flop = 2.0 * (double)s.m * (double)s.n * (double)s.k;
    double ours[ROUNDS], theirs[ROUNDS], ratio[ROUNDS], share[ROUNDS];
    const char *peer = o->peer != NULL ? o->peer : "OpenBLAS";
    char name[64];

    for (int i = 0; i < ROUNDS; i++) {
        const answer a = ask(o, &sides[0], number), b = ask(o, &sides[1], number);

        ours[i] = 1e-9 * flop / a.seconds;
        theirs[i] = 1e-9 * flop / b.seconds;
        ratio[i] = b.seconds / a.seconds;
        share[i] = a.peak > 0.0 ? 100.0 * flop / a.seconds / a.peak : 0.0;
    }
    snprintf(name, sizeof name, "%zux%zux%zu %s", s.m, s.n, s.k, layouts[number % LAYOUTS].name);
    (void)median(ratio); /* sorts */
    if (o->json)
        printf("{\"bench\":\"matmul\",\"case\":\"%s %u threads %s\",\"this\":%.2f,"
               "\"peer\":%.2f,\"peer_name\":\"%s\",\"unit\":\"GFLOP/s\",\"ratio\":%.3f}\n",
               name, o->threads, o->kernels->name, median(ours), median(theirs), peer,
               ratio[ROUNDS / 2]);
    else
        printf("%-18s %8.1f %9.1f   %5.2f  (%.2f-%.2f)   %3.0f %%\n", name, median(ours),
               median(theirs), ratio[ROUNDS / 2], ratio[0], ratio[ROUNDS - 1], median(share));
    fflush(stdout);
    return ratio[ROUNDS / 2];
}

static void run_all(const options *o)
{
    const side sides[2] = {start_side(o, true), start_side(o, false)};
    double logs = 0.0;
    int count = 0;

    if (!o->json)
        printf("%-18s %8s %9s   ratio  (spread)      peak   %s, %u thread%s\n", "GFLOP/s, MxNxK",
               "firstbit", o->peer != NULL ? o->peer : "OpenBLAS", o->kernels->name, o->threads,
               o->threads == 1 ? "" : "s");
    for (int number = 0; number < SHAPES * LAYOUTS; number++) {
        const shape s = shapes[number / LAYOUTS];
        char name[64];

        snprintf(name, sizeof name, "%zux%zux%zu %s", s.m, s.n, s.k,
                 layouts[number % LAYOUTS].name);
        if (o->filter != NULL && strstr(name, o->filter) == NULL)
            continue;
        logs += log(measure(o, sides, number));
        count++;
    }
    if (!o->json && count > 0)
        printf("%-18s %18s   %5.2f\n", "geometric mean", "", exp(logs / count));
    /* The second side has a copy of the first one's pipe: only without both does the first end. */
    for (int i = 0; i < 2; i++)
        close(sides[i].ask);
    for (int i = 0; i < 2; i++)
        waitpid(sides[i].pid, NULL, 0);
}

static int usage(void)
{
    fprintf(stderr,
            "usage: bench_matmul [--json] [--threads N] [--isa NAME] [--peer NAME] [--seconds S] "
            "[FILTER]\n");
    return 2;
}

int main(int argc, char **argv)
{
    options o = {.threads = 1, .kernels = fb_kernels_best(), .seconds = 0.03};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            o.json = true;
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            o.threads = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc)
            o.kernels = fb_kernels_named(argv[++i]);
        else if (strcmp(argv[i], "--peer") == 0 && i + 1 < argc)
            o.peer = argv[++i];
        else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc)
            o.seconds = strtod(argv[++i], NULL);
        else if (argv[i][0] != '-')
            o.filter = argv[i];
        else
            return usage();
    }
    if (o.kernels == NULL || (o.peer != NULL && fb_kernels_named(o.peer) == NULL)) {
        fprintf(stderr, "bench_matmul: this machine lacks that instruction set\n");
        return 2;
    }
    /* The peer is OpenBLAS at its best: 0.3.21 may take a CPU newer than itself for one without
     * AVX-512, and an environment that names a lesser core would halve it. */
    unsetenv("OPENBLAS_CORETYPE");
    if (fb_kernels_for(FB_ISA_AVX512) != NULL)
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
    run_all(&o);
    return 0;
}
