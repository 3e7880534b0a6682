/* SPDX-License-Identifier: Apache-2.0
 *
 * test_sum_bounds.c - the error bounds of docs/numerics.md for products, sums, elementwise work and
 * random numbers.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/kernels/bounds.h"

__extension__ typedef __int128 whole;

enum { M = 5, N = 33, K = 700 };

/* One element of A·B, and the sum of the magnitudes of its terms. */
static double product_of(double *size, const float *a, const float *b, size_t i, size_t j)
{
    double sum = 0;

    *size = 0;
    for (size_t s = 0; s < K; s++) {
        sum += (double)a[i * K + s] * (double)b[s * N + j];
        *size += fabs((double)a[i * K + s] * (double)b[s * N + j]);
    }
    return sum;
}

static void products_keep_their_bound(void **state)
{
    static float a[M * K], b[K * N], c[M * N];
    const fb_matmul x = {
        .c = c, .a = a, .b = b, .m = M, .n = N, .k = K, .lda = K, .ldb = N, .ldc = N, .batch = 1};

    (void)state;
    fill(a, M * K, 0.5f, 1.0f, 1);
    fill(b, K * N, 0.5f, 1.0f, 2);
    k->matmul(pool, &x);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            double size;
            const double want = product_of(&size, a, b, i, j);

            check_bound("product", (double)c[i * N + j], want, steps_of(K) * UNIT * size);
        }
    expect_reached("product", 1e-3);
}

/* A sum so large that each of the three blocks is rounded beside it. */
static void accumulated_products_keep_their_bound(void **state)
{
    static float a[M * K], b[K * N], c[M * N], before[M * N], bias[N];
    const fb_matmul x = {.c = c,
                         .a = a,
                         .b = b,
                         .bias = bias,
                         .m = M,
                         .n = N,
                         .k = K,
                         .lda = K,
                         .ldb = N,
                         .ldc = N,
                         .accumulate = true,
                         .batch = 1};

    (void)state;
    fill(a, M * K, 0.0f, 0.01f, 1);
    fill(b, K * N, 0.0f, 1.0f, 2);
    fill(bias, N, 0.0f, 100.0f, 3);
    fill(c, M * N, 0.0f, 1000.0f, 4);
    for (size_t i = 0; i < (size_t)M * N; i++)
        before[i] = c[i];
    k->matmul(pool, &x);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            const double old = (double)before[i * N + j];
            double size, want = product_of(&size, a, b, i, j) + old + (double)bias[j];

            check_bound("accumulated product", (double)c[i * N + j], want,
                        UNIT * ((steps_of(K) + 1) * size + 3 * fabs(old) + fabs(want)));
        }
    expect_reached("accumulated product", 0.1);
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
        check_bound("row sum", (double)error, 0.0, ((double)lane + 3.0 + depth) * 0x1p-53 * size);
    }
    expect_reached("row sum", 1e-3);
}

/* Not narrowed they are the sums above. */
static void narrowed_sums_keep_their_bound(void **state)
{
    enum { ROWS = 300, COLS = 70 };
    static float x[ROWS * COLS], rows[ROWS], columns[COLS];
    double wide[COLS] = {0};

    (void)state;
    fill(x, (size_t)ROWS * COLS, 1.0f, 1.0f, 1);
    k->row_sums(pool, rows, x, ROWS, COLS);
    k->column_sums(pool, columns, x, ROWS, COLS);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0;

        for (size_t i = 0; i < COLS; i++) {
            sum += (double)x[r * COLS + i];
            wide[i] += (double)x[r * COLS + i];
        }
        check_bound("narrowed row sum", (double)rows[r], sum, UNIT * fabs(sum));
    }
    for (size_t i = 0; i < COLS; i++)
        check_bound("column sum", (double)columns[i], wide[i], UNIT * fabs(wide[i]));
    expect_reached("narrowed sums", 0.5);
}

/* Whole numbers, the last ones so that their exact sum is 0: what is left is what the float64 sum
 * of a column is off by. */
static void long_column_sums_keep_their_bound(void **state)
{
    enum { ROWS = 2000, LAST = 8 };
    static float x[ROWS];
    uint32_t words[2 * ROWS];
    const fb_philox random = {.seed = 10};
    whole exact = 0;
    double size = 0;
    float got;

    (void)state;
    fb_philox_words(words, 2 * ROWS, &random, 0);
    for (size_t i = 0; i < ROWS; i++) {
        x[i] = ldexpf((float)(int32_t)(words[2 * i] >> 8) * (words[2 * i] & 1 ? 1.0f : -1.0f),
                      (int)(words[2 * i + 1] % 60));
        if (i >= ROWS - LAST)
            x[i] = -(float)exact;
        exact += (whole)(double)x[i];
        size += fabs((double)x[i]);
    }
    assert_true(exact == 0);
    k->column_sums(pool, &got, x, ROWS, 1);
    check_bound("column sum", (double)got, 0.0, (ROWS - 1) * 0x1p-53 * size);
    expect_reached("column sum", 1e-4);
}

/* --- Elementwise ------------------------------------------------------------------------------ */

/* Each function and its derivative, as the table of the text has them, in long double. */
static long double logistic(long double x)
{
    return 1 / (1 + expl(-x));
}

static long double activation_of(fb_activation f, long double x, long double *slope)
{
    const long double s = logistic(x), rise = s * (1 - s);
    const long double root = sqrtl(2 / acosl(-1.0L)), z = 2 * root * (x + 0.044715L * x * x * x);
    const long double gate = logistic(z), gate_rise = gate * (1 - gate);
    const long double normal = (1 + erfl(x / sqrtl(2.0L))) / 2;

    switch (f) {
    case FB_ACTIVATION_RELU:
        *slope = x > 0;
        return x > 0 ? x : 0;
    case FB_ACTIVATION_TANH:
        *slope = 1 / (coshl(x) * coshl(x));
        return tanhl(x);
    case FB_ACTIVATION_SIGMOID:
        *slope = rise;
        return s;
    case FB_ACTIVATION_SILU:
        *slope = s + x * rise;
        return x * s;
    case FB_ACTIVATION_GELU:
        *slope = normal + x * expl(-x * x / 2) * root / 2;
        return x * normal;
    case FB_ACTIVATION_GELU_TANH:
        *slope = gate + x * gate_rise * 2 * root * (1 + 3 * 0.044715L * x * x);
        return x * gate;
    case FB_ACTIVATION_SOFTPLUS:
        *slope = s;
        return log1pl(expl(x));
    case FB_ACTIVATION_COUNT:
        break;
    }
    fail_msg("no activation");
    return 0;
}

static void activations_keep_their_bound(void **state)
{
    enum { COUNT = 4000 };
    static float x[COUNT], dy[COUNT], y[COUNT], dx[COUNT];

    (void)state;
    fill(x, COUNT, 0.0f, 1.5f, 1);
    fill(dy, COUNT, 0.0f, 1.0f, 2);
    for (int f = 0; f < FB_ACTIVATION_COUNT; f++) {
        k->activate(pool, (fb_activation)f, y, x, COUNT);
        k->activate_backward(pool, (fb_activation)f, dx, dy, x, COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            long double slope;
            const double want = (double)activation_of((fb_activation)f, (long double)x[i], &slope);
            const double back = (double)((long double)dy[i] * slope);
            const double units = f == FB_ACTIVATION_RELU ? 0 : UNIT;

            check_bound("activation", (double)y[i], want, units * fabs(want));
            check_bound("its gradient", (double)dx[i], back, 2 * units * fabs(back));
        }
        expect_reached("activation", f == FB_ACTIVATION_RELU ? 0 : 0.5);
    }
}

static void elementwise_work_keeps_its_bound(void **state)
{
    enum { COUNT = 3000 };
    static float a[COUNT], b[COUNT], y[COUNT];

    (void)state;
    fill(a, COUNT, 0.0f, 1.0f, 1);
    fill(b, COUNT, 0.0f, 1.0f, 2);
    k->add(pool, y, a, b, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const double want = (double)a[i] + (double)b[i];
        check_bound("sum", (double)y[i], want, UNIT * fabs(want));
    }
    expect_reached("sum", 0.5);
    k->scale(pool, y, a, 0.3f, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        const double want = (double)a[i] * (double)0.3f;
        check_bound("scaled", (double)y[i], want, UNIT * fabs(want));
    }
    expect_reached("scaled", 0.5);
}

/* --- Random numbers --------------------------------------------------------------------------- */

static void random_numbers_keep_their_bound(void **state)
{
    enum { COUNT = 4000 };
    static float z[COUNT], x[COUNT], y[COUNT];
    static uint32_t words[COUNT];
    const fb_philox stream = {.seed = 3, .step = 2, .stream = 1};
    const double turn = 2 * acos(-1.0);

    (void)state;
    fb_philox_words(words, COUNT, &stream, 0);
    k->fill_normal(pool, z, COUNT, 0.0f, 1.0f, &stream, 0);
    for (size_t i = 0; i < COUNT; i += 2) {
        const double u1 = ((words[i] >> 8) + 1) * 0x1p-24, u2 = (words[i + 1] >> 8) * 0x1p-24;
        const double r = sqrt(-2 * log(u1)), t = turn * u2;
        const double first = r * cos(t), second = r * sin(t);

        check_bound("normal", (double)z[i], first, UNIT * (4 * fabs(first) + 2 * r * t));
        check_bound("normal", (double)z[i + 1], second, UNIT * (4 * fabs(second) + 2 * r * t));
    }
    expect_reached("normal", 0.2);
    fill(x, COUNT, 0.0f, 1.0f, 1);
    k->dropout(pool, y, x, COUNT, 0.3, &stream, 0);
    for (size_t i = 0; i < COUNT; i++) {
        const double want = words[i] >= (uint32_t)(0.3 * 0x1p32) ? (double)x[i] / (1 - 0.3) : 0.0;

        check_bound("dropout", (double)y[i], want, UNIT * 2 * fabs(want));
    }
    expect_reached("dropout", 0.3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_keep_their_bound),
        cmocka_unit_test(accumulated_products_keep_their_bound),
        cmocka_unit_test(row_sums_keep_their_bound),
        cmocka_unit_test(narrowed_sums_keep_their_bound),
        cmocka_unit_test(long_column_sums_keep_their_bound),
        cmocka_unit_test(activations_keep_their_bound),
        cmocka_unit_test(elementwise_work_keeps_its_bound),
        cmocka_unit_test(random_numbers_keep_their_bound),
    };
    return cmocka_run_group_tests(tests, start_bounds, stop_bounds);
}
