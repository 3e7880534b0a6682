/* SPDX-License-Identifier: Apache-2.0
 *
 * test_row_bounds.c - the error bounds of docs/numerics.md for layernorm, losses and embeddings.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/bounds.h"

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

            check_bound("layernorm", (double)y[r * COLS + i], want,
                        UNIT * (4 * fabs(scaled) + fabs(m * root * (double)g[i]) + fabs(want)));
        }
    }
    expect_reached("layernorm", 0.1);
}

/* A row's statistics without rounding. */
typedef struct row_moments {
    double mean, rstd;
} row_moments;

static row_moments moments_of(const float *x, size_t cols)
{
    double m = 0, v = 0;

    for (size_t i = 0; i < cols; i++)
        m += (double)x[i] / (double)cols;
    for (size_t i = 0; i < cols; i++)
        v += ((double)x[i] - m) * ((double)x[i] - m) / (double)cols;
    return (row_moments){m, 1 / sqrt(v + 1e-5)};
}

static void layernorm_backward_keeps_its_bound(void **state)
{
    enum { ROWS = 6, COLS = 384 };
    static float x[ROWS * COLS], dy[ROWS * COLS], dx[ROWS * COLS], y[ROWS * COLS];
    static float g[COLS], dg[COLS], db[COLS], mean[ROWS], rstd[ROWS];
    double want_g[COLS] = {0}, off_g[COLS] = {0}, want_b[COLS] = {0};

    (void)state;
    fill(x, ROWS * COLS, 3.0f, 1.0f, 1);
    fill(g, COLS, 1.0f, 0.5f, 2);
    fill(dy, ROWS * COLS, 0.1f, 1.0f, 3);
    k->layernorm(pool, y, mean, rstd, x, g, NULL, ROWS, COLS, 1e-5);
    k->layernorm_backward(pool, dx, dg, db, dy, x, mean, rstd, g, ROWS, COLS);
    for (size_t r = 0; r < ROWS; r++) {
        const row_moments row = moments_of(x + r * COLS, COLS);
        double xhat[COLS], h[COLS], c1 = 0, c2 = 0, size1 = 0, size2 = 0, most = 0;

        for (size_t i = 0; i < COLS; i++) {
            const double d = (double)dy[r * COLS + i];
            double off;

            xhat[i] = ((double)x[r * COLS + i] - row.mean) * row.rstd;
            h[i] = d * (double)g[i];
            c1 += h[i] / COLS;
            c2 += h[i] * xhat[i] / COLS;
            size1 += fabs(h[i]) / COLS;
            size2 += fabs(h[i] * xhat[i]) / COLS;
            off = UNIT * (3 * fabs(xhat[i]) + fabs(row.mean) * row.rstd);
            most = fmax(most, off);
            want_g[i] += d * xhat[i];
            want_b[i] += d;
            off_g[i] += UNIT * fabs(d * xhat[i]) + fabs(d) * off;
        }
        for (size_t i = 0; i < COLS; i++) {
            const double want = ((h[i] - c1) - xhat[i] * c2) * row.rstd, width = fabs(xhat[i]);
            const double part =
                2 * fabs(h[i]) + size1 + 2 * fabs(c1) + 2 * width * (size2 + fabs(c2));

            check_bound("layernorm's dx", (double)dx[r * COLS + i], want,
                        UNIT * (row.rstd * part + 3 * fabs(want)) +
                            most * row.rstd * (fabs(c2) + size1 * width));
        }
    }
    expect_reached("layernorm's dx", 0.05);
    for (size_t i = 0; i < COLS; i++)
        check_bound("layernorm's dg", (double)dg[i], want_g[i], off_g[i] + UNIT * fabs(want_g[i]));
    expect_reached("layernorm's dg", 0.05);
    for (size_t i = 0; i < COLS; i++)
        check_bound("layernorm's db", (double)db[i], want_b[i], UNIT * fabs(want_b[i]));
    expect_reached("layernorm's db", 0.5);
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
        check_bound("loss", (double)loss[r], want,
                    UNIT * (spread + 2 + fabs(log_total) + fabs(log_total + m) + fabs(want)));
        for (size_t i = 0; i < COLS; i++) {
            const double p = exp((double)row[i] - m) / total;
            const double hit = i == (size_t)targets[r] ? 1.0 : 0.0;
            const double part = (fabs((double)row[i] - m) + spread + 4) * p + 2 * fabs(p - hit);

            check_bound("gradient of the logits", (double)dx[r * COLS + i], (p - hit) / 7,
                        UNIT * part / 7);
        }
    }
    expect_reached("cross-entropy", 0.1);
}

static void squared_error_keeps_its_bound(void **state)
{
    enum { ROWS = 20, COLS = 50 };
    static float x[ROWS * COLS], target[ROWS * COLS], dx[ROWS * COLS], loss[ROWS];

    (void)state;
    fill(x, (size_t)ROWS * COLS, 1.0f, 1.0f, 1);
    fill(target, (size_t)ROWS * COLS, 0.0f, 1.0f, 2);
    k->squared_error(pool, loss, x, target, ROWS, COLS);
    k->squared_error_backward(pool, dx, x, target, (size_t)ROWS * COLS, (size_t)ROWS * COLS + 7);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0;

        for (size_t i = r * COLS; i < (r + 1) * COLS; i++) {
            const double d = (double)x[i] - (double)target[i], want = 2 * d / (ROWS * COLS + 7);

            sum += d * d;
            check_bound("squared error's dx", (double)dx[i], want, UNIT * 2 * fabs(want));
        }
        check_bound("squared error", (double)loss[r], sum, UNIT * 4 * sum);
    }
    expect_reached("squared error", 0.3);
}

static void embeddings_keep_their_bound(void **state)
{
    enum { BATCH = 20, TIME = 15, ROWS = BATCH * TIME, COLS = 24, WORDS = 7 };
    static float weight[WORDS * COLS], positions[TIME * COLS], y[ROWS * COLS], dy[ROWS * COLS];
    static float dweight[WORDS * COLS], dpositions[TIME * COLS];
    static double word_sums[WORDS * COLS], position_sums[TIME * COLS];
    uint32_t tokens[ROWS];

    (void)state;
    fill(weight, WORDS * COLS, 0.0f, 1.0f, 1);
    fill(positions, TIME * COLS, 0.0f, 1.0f, 2);
    fill(dy, (size_t)ROWS * COLS, 0.0f, 1.0f, 3);
    for (uint32_t r = 0; r < ROWS; r++)
        tokens[r] = r * r % (WORDS - 1);
    k->embedding(pool, y, weight, positions, tokens, ROWS, TIME, COLS);
    k->embedding_backward(pool, dweight, dpositions, dy, tokens, ROWS, TIME, COLS, WORDS);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < COLS; i++) {
            const size_t word = tokens[r] * COLS + i, position = r % TIME * COLS + i;
            const double want = (double)weight[word] + (double)positions[position];

            check_bound("embedding", (double)y[r * COLS + i], want, UNIT * fabs(want));
            word_sums[word] += (double)dy[r * COLS + i];
            position_sums[position] += (double)dy[r * COLS + i];
        }
    expect_reached("embedding", 0.5);
    for (size_t i = 0; i < WORDS * COLS; i++)
        check_bound("gradient of an embedding", (double)dweight[i], word_sums[i],
                    UNIT * fabs(word_sums[i]));
    expect_reached("gradient of an embedding", 0.5);
    for (size_t i = 0; i < TIME * COLS; i++)
        check_bound("gradient of a position", (double)dpositions[i], position_sums[i],
                    UNIT * fabs(position_sums[i]));
    expect_reached("gradient of a position", 0.5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layernorm_keeps_its_bound),
        cmocka_unit_test(layernorm_backward_keeps_its_bound),
        cmocka_unit_test(cross_entropy_keeps_its_bound),
        cmocka_unit_test(squared_error_keeps_its_bound),
        cmocka_unit_test(embeddings_keep_their_bound),
    };
    return cmocka_run_group_tests(tests, start_bounds, stop_bounds);
}
