/* SPDX-License-Identifier: Apache-2.0
 *
 * test_error_bounds.c - the error bounds that docs/numerics.md states, beside values in float64
 * (row sums: in exact integers).
 *
 * The bounds are of first order in u = 2^-24; SLACK is for the higher ones and for what float64
 * itself is off by. A bound that holds by a factor of a thousand would say nothing, so each test
 * also asks that some error reaches a part of its bound.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/kernels.h"

#define UNIT  0x1p-24
#define SLACK 1.001

__extension__ typedef __int128 whole;

static const fb_kernels *k;
static fb_pool *pool;

static int start(void **state)
{
    (void)state;
    k = fb_kernels_best();
    return fb_pool_create(&pool, 2, NULL) == FB_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    fb_pool_destroy(pool);
    return 0;
}

static void fill(float *x, size_t n, float mean, float std, uint32_t stream)
{
    const fb_philox random = {.seed = 5, .stream = stream};

    k->fill_normal(pool, x, n, mean, std, &random, 0);
}

/* Largest error over its bound so far. */
static double reached;

static void check(const char *what, double got, double want, double bound)
{
    const double share = bound > 0.0 ? fabs(got - want) / bound : 0.0;

    if (!(share <= SLACK))
        fail_msg("%s: %a is %a off %a, more than %a", what, got, got - want, want, bound);
    reached = fmax(reached, share);
}

static void expect_reached(const char *what, double least)
{
    if (reached < least)
        fail_msg("%s: no error is above %g of its bound: it says too little", what, reached);
    reached = 0.0;
}

/* Additions that follow a product of a chain of n, in blocks of 256, and the fma that made it. */
static double steps_of(size_t n)
{
    const size_t blocks = (n + 255) / 256;

    return (double)((n < 256 ? n : 256) + blocks - 1);
}

static void products_keep_their_bound(void **state)
{
    enum { M = 5, N = 33, K = 700 };
    static float a[M * K], b[K * N], c[M * N];
    const fb_matmul x = {
        .c = c, .a = a, .b = b, .m = M, .n = N, .k = K, .lda = K, .ldb = N, .ldc = N, .batch = 1};

    (void)state;
    fill(a, M * K, 0.5f, 1.0f, 1);
    fill(b, K * N, 0.5f, 1.0f, 2);
    k->matmul(pool, &x);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            double sum = 0, size = 0;
            for (size_t s = 0; s < K; s++) {
                sum += (double)a[i * K + s] * (double)b[s * N + j];
                size += fabs((double)a[i * K + s] * (double)b[s * N + j]);
            }
            check("product", (double)c[i * N + j], sum, steps_of(K) * UNIT * size);
        }
    expect_reached("product", 1e-3);
}

/* Whole numbers of up to 84 bits: their sum is exact in 128. */
static void row_sums_keep_their_bound(void **state)
{
    static const size_t sizes[] = {1, 16, 17, 300, 4096, 4097, 20000};
    static float x[20000];
    uint32_t words[40000];
    const fb_philox random = {.seed = 9};

    (void)state;
    fb_philox_words(words, 40000, &random, 0);
    for (size_t i = 0; i < 20000; i++)
        x[i] = ldexpf((float)(int32_t)(words[2 * i] >> 8) * (words[2 * i] & 1 ? 1.0f : -1.0f),
                      (int)(words[2 * i + 1] % 60));
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t n = sizes[s], chunks = (n + 4095) / 4096, longest = n < 4096 ? n : 4096;
        const size_t lane = (longest + 15) / 16;
        const double depth = ceil(log2((double)chunks));
        whole exact = 0, error;
        double size = 0, sum;

        for (size_t i = 0; i < n; i++) {
            exact += (whole)(double)x[i];
            size += fabs((double)x[i]);
        }
        sum = fb_row_sum_f64(x, n);
        error = (whole)sum - exact;
        check("row sum", (double)error, 0.0, ((double)lane + 3.0 + depth) * 0x1p-53 * size);
    }
    expect_reached("row sum", 1e-3);
}

static void layernorm_keeps_its_bound(void **state)
{
    enum { ROWS = 6, COLS = 384 };
    static float x[ROWS * COLS], y[ROWS * COLS], g[COLS], b[COLS], mean[ROWS], rstd[ROWS];

    (void)state;
    fill(x, ROWS * COLS, 3.0f, 1.0f, 1);
    fill(g, COLS, 1.0f, 0.5f, 2);
    fill(b, COLS, 0.0f, 0.5f, 3);
    k->layernorm(pool, y, mean, rstd, x, g, b, ROWS, COLS, 1e-5);
    for (size_t r = 0; r < ROWS; r++) {
        double m = 0, v = 0, root;
        for (size_t i = 0; i < COLS; i++)
            m += (double)x[r * COLS + i] / COLS;
        for (size_t i = 0; i < COLS; i++)
            v += ((double)x[r * COLS + i] - m) * ((double)x[r * COLS + i] - m) / COLS;
        root = 1 / sqrt(v + 1e-5);
        for (size_t i = 0; i < COLS; i++) {
            const double scaled = ((double)x[r * COLS + i] - m) * root * (double)g[i];
            const double want = scaled + (double)b[i];

            check("layernorm", (double)y[r * COLS + i], want,
                  UNIT * (4 * fabs(scaled) + fabs(m * root * (double)g[i]) + fabs(want)));
        }
    }
    expect_reached("layernorm", 0.1);
}

static void cross_entropy_keeps_its_bound(void **state)
{
    enum { ROWS = 5, COLS = 1000 };
    static float x[ROWS * COLS], dx[ROWS * COLS], loss[ROWS], max[ROWS], sum[ROWS];
    const int32_t targets[ROWS] = {0, 999, 17, 400, 3};

    (void)state;
    fill(x, ROWS * COLS, 1.0f, 4.0f, 1);
    k->cross_entropy(pool, loss, max, sum, x, targets, ROWS, COLS);
    k->cross_entropy_backward(pool, dx, x, max, sum, targets, ROWS, COLS, 7);
    for (size_t r = 0; r < ROWS; r++) {
        const float *row = x + r * COLS;
        const double m = (double)max[r];
        double total = 0, spread = 0, log_total, want;

        for (size_t i = 0; i < COLS; i++)
            total += exp((double)row[i] - m);
        for (size_t i = 0; i < COLS; i++)
            spread += exp((double)row[i] - m) / total * fabs((double)row[i] - m);
        log_total = log(total);
        want = log_total + m - (double)row[targets[r]];
        check("loss", (double)loss[r], want,
              UNIT * (spread + 2 + fabs(log_total) + fabs(log_total + m) + fabs(want)));
        for (size_t i = 0; i < COLS; i++) {
            const double p = exp((double)row[i] - m) / total;
            const double hit = i == (size_t)targets[r] ? 1.0 : 0.0;
            const double part = (fabs((double)row[i] - m) + spread + 4) * p + 2 * fabs(p - hit);

            check("gradient of the logits", (double)dx[r * COLS + i], (p - hit) / 7,
                  UNIT * part / 7);
        }
    }
    expect_reached("cross-entropy", 0.1);
}

enum { TIME = 300, DIM = 32 };

/* One row of causal attention: its probabilities in float64, and what each may be off by. */
static void probabilities(double *p, double *off, const float *qkv, size_t i)
{
    const double scale = 1 / sqrt((double)DIM);
    double shift[TIME], most = -HUGE_VAL, total = 0, spread = 0;

    for (size_t j = 0; j <= i; j++) {
        double s = 0, size = 0;
        for (size_t d = 0; d < DIM; d++) {
            const double term = (double)qkv[i * 3 * DIM + d] * (double)qkv[(j * 3 + 1) * DIM + d];
            s += term;
            size += fabs(term);
        }
        p[j] = s * scale;
        shift[j] = (steps_of(DIM) + 2) * size * scale;
        most = fmax(most, p[j]);
    }
    for (size_t j = 0; j <= i; j++) {
        shift[j] += fabs(p[j] - most);
        p[j] = exp(p[j] - most);
        total += p[j];
    }
    for (size_t j = 0; j <= i; j++) {
        p[j] /= total;
        spread += p[j] * shift[j];
    }
    for (size_t j = 0; j <= i; j++)
        off[j] = UNIT * p[j] * (shift[j] + spread + 4);
}

static void attention_keeps_its_bound(void **state)
{
    static float qkv[TIME * 3 * DIM], out[TIME * DIM], max[TIME], sum[TIME];
    const fb_attention shape = {
        .batch = 1, .time = TIME, .heads = 1, .head_dim = DIM, .causal = true};

    (void)state;
    fill(qkv, TIME * 3 * DIM, 0.0f, 1.5f, 1);
    k->attention(pool, out, max, sum, qkv, &shape);
    for (size_t i = 0; i < TIME; i++) {
        double p[TIME], off[TIME];

        probabilities(p, off, qkv, i);
        for (size_t d = 0; d < DIM; d++) {
            double want = 0, bound = 0;
            for (size_t j = 0; j <= i; j++) {
                const double v = (double)qkv[(j * 3 + 2) * DIM + d];
                want += p[j] * v;
                bound += (off[j] + steps_of(i + 1) * UNIT * p[j]) * fabs(v);
            }
            check("attention", (double)out[i * DIM + d], want, bound);
        }
    }
    expect_reached("attention", 1e-2);
}

static void adamw_keeps_its_bound(void **state)
{
    enum { N = 3000 };
    static float p[N], m[N], v[N], g[N], p0[N], m0[N], v0[N];
    const fb_adam_step s = {.lr = 1e-2,
                            .beta1 = 0.9,
                            .beta2 = 0.95,
                            .eps = 1e-8,
                            .weight_decay = 0.1,
                            .beta1_power = 0.9 * 0.9 * 0.9,
                            .beta2_power = 0.95 * 0.95 * 0.95,
                            .decoupled = true};

    (void)state;
    fill(p, N, 0.0f, 1.0f, 1);
    fill(m, N, 0.0f, 0.1f, 2);
    fill(v, N, 0.0f, 0.1f, 3);
    fill(g, N, 0.0f, 0.5f, 4);
    for (size_t i = 0; i < N; i++) {
        v[i] *= v[i];
        p0[i] = p[i];
        m0[i] = m[i];
        v0[i] = v[i];
    }
    k->adam(pool, p, m, v, g, N, &s);
    for (size_t i = 0; i < N; i++) {
        const double grad = (double)g[i], old = 0.9 * (double)m0[i], new = (1 - 0.9) * grad;
        const double first = old + new;
        const double second = 0.95 * (double)v0[i] + (1 - 0.95) * grad * grad;
        const double first_off = UNIT * (2 * fabs(old) + 2 * fabs(new) + fabs(first));
        const double bottom = sqrt(second) / sqrt(1 - s.beta2_power) + s.eps;
        const double rate = s.lr / (1 - s.beta1_power), kept = (double)p0[i] * (1 - s.lr * 0.1);
        const double want = kept - rate * first / bottom;

        check("first moment", (double)m[i], first, first_off);
        check("second moment", (double)v[i], second, UNIT * 4 * second);
        check("parameter", (double)p[i], want,
              UNIT * (2 * fabs(kept) + fabs(want) + 9 * fabs(rate * first / bottom)) +
                  rate * first_off / bottom);
    }
    expect_reached("AdamW", 0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_keep_their_bound),
        cmocka_unit_test(row_sums_keep_their_bound),
        cmocka_unit_test(layernorm_keeps_its_bound),
        cmocka_unit_test(cross_entropy_keeps_its_bound),
        cmocka_unit_test(attention_keeps_its_bound),
        cmocka_unit_test(adamw_keeps_its_bound),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
