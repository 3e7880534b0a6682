/* SPDX-License-Identifier: Apache-2.0
 *
 * test_attention_bounds.c - the error bounds of docs/numerics.md for causal attention and its
 * gradients.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/kernels/bounds.h"

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

/* What one head computes, without rounding, and what each result may be off by. Gradients lie as in
 * qkv: DIM of q, of k and of v a row. */
typedef struct head {
    float qkv[TIME * 3 * DIM], out[TIME * DIM], dout[TIME * DIM], max[TIME], sum[TIME];
    float dqkv[TIME * 3 * DIM];
    double want_out[TIME * DIM], off_out[TIME * DIM];
    double want[TIME * 3 * DIM], off[TIME * 3 * DIM];
} head;

static double dot(const float *a, const float *b, double *size)
{
    double sum = 0;

    *size = 0;
    for (size_t d = 0; d < DIM; d++) {
        sum += (double)a[d] * (double)b[d];
        *size += fabs((double)a[d] * (double)b[d]);
    }
    return sum;
}

/* Adds factor·x, of which the factor is off by `off` and each product sum takes `steps`. */
static void add_scaled(double *want, double *bound, double factor, double off, double steps,
                       const float *x)
{
    for (size_t d = 0; d < DIM; d++) {
        want[d] += factor * (double)x[d];
        bound[d] += (off + steps * UNIT * fabs(factor)) * fabs((double)x[d]);
    }
}

static void expect_row(head *h, size_t i)
{
    const float *q = h->qkv + i * 3 * DIM, *dout = h->dout + i * DIM;
    const double scale = 1 / sqrt((double)DIM);
    double p[TIME], off[TIME], total = 0, total_off = 0;
    double *dq = h->want + i * 3 * DIM, *dq_off = h->off + i * 3 * DIM;

    probabilities(p, off, h->qkv, i);
    for (size_t j = 0; j <= i; j++)
        add_scaled(h->want_out + i * DIM, h->off_out + i * DIM, p[j], off[j], steps_of(i + 1),
                   h->qkv + (j * 3 + 2) * DIM);
    for (size_t d = 0; d < DIM; d++) {
        const double out = h->want_out[i * DIM + d];

        total += (double)dout[d] * out;
        total_off += fabs((double)dout[d]) * (h->off_out[i * DIM + d] + UNIT * fabs(out));
    }
    total_off += UNIT * fabs(total);
    for (size_t j = 0; j <= i; j++) {
        const float *key = h->qkv + (j * 3 + 1) * DIM, *value = h->qkv + (j * 3 + 2) * DIM;
        const size_t kj = (j * 3 + 1) * DIM, vj = (j * 3 + 2) * DIM;
        const double later = steps_of(TIME - j) + 1;
        double size;
        const double dp = dot(dout, value, &size), ds = p[j] * (dp - total) * scale;
        const double ds_off =
            scale * (off[j] * fabs(dp - total) + p[j] * (steps_of(DIM) * UNIT * size + total_off)) +
            4 * UNIT * fabs(ds);

        add_scaled(dq, dq_off, ds, ds_off, steps_of(i + 1), key);
        add_scaled(h->want + kj, h->off + kj, ds, ds_off, later, q);
        add_scaled(h->want + vj, h->off + vj, p[j], off[j], later, dout);
    }
}

static void attention_keeps_its_bound(void **state)
{
    static const char *const names[] = {"dq", "dk", "dv"};
    static head h;
    const fb_attention shape = {
        .batch = 1, .time = TIME, .heads = 1, .head_dim = DIM, .causal = true};

    (void)state;
    memset(&h, 0, sizeof h);
    fill(h.qkv, TIME * 3 * DIM, 0.0f, 1.5f, 1);
    fill(h.dout, TIME * DIM, 0.0f, 1.0f, 2);
    k->attention(pool, h.out, h.max, h.sum, h.qkv, &shape);
    k->attention_backward(pool, h.dqkv, h.dout, h.out, h.qkv, h.max, h.sum, &shape);
    for (size_t i = 0; i < TIME; i++)
        expect_row(&h, i);
    for (size_t i = 0; i < TIME * DIM; i++)
        check_bound("attention", (double)h.out[i], h.want_out[i], h.off_out[i]);
    expect_reached("attention", 1e-2);
    for (size_t part = 0; part < 3; part++) {
        for (size_t i = 0; i < TIME; i++)
            for (size_t d = 0; d < DIM; d++) {
                const size_t at = (i * 3 + part) * DIM + d;
                check_bound(names[part], (double)h.dqkv[at], h.want[at], h.off[at]);
            }
        expect_reached(names[part], 1e-3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_keeps_its_bound),
    };
    return cmocka_run_group_tests(tests, start_bounds, stop_bounds);
}
