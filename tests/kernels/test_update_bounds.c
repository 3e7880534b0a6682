/* SPDX-License-Identifier: Apache-2.0
 *
 * test_update_bounds.c - the error bounds of docs/numerics.md for clipping and the optimizers.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/bounds.h"

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

        check_bound("first moment", (double)m[i], first, first_off);
        check_bound("second moment", (double)v[i], second, UNIT * 4 * second);
        check_bound("parameter", (double)p[i], want,
                    UNIT * (2 * fabs(kept) + fabs(want) + 9 * fabs(rate * first / bottom)) +
                        rate * first_off / bottom);
    }
    expect_reached("AdamW", 0.1);
}

/* Decay is part of the gradient, which is then off itself. */
static void adam_keeps_its_bound(void **state)
{
    enum { N = 3000 };
    static float p[N], m[N], v[N], g[N], p0[N], m0[N], v0[N];
    const fb_adam_step s = {.lr = 1e-2,
                            .beta1 = 0.9,
                            .beta2 = 0.95,
                            .eps = 1e-8,
                            .weight_decay = 0.3,
                            .beta1_power = 0.9 * 0.9 * 0.9,
                            .beta2_power = 0.95 * 0.95 * 0.95};

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
        const double decay = 0.3 * (double)p0[i], grad = (double)g[i] + decay;
        const double grad_off = UNIT * (2 * fabs(decay) + fabs(grad));
        const double old = 0.9 * (double)m0[i], new = (1 - 0.9) * grad, first = old + new;
        const double second = 0.95 * (double)v0[i] + (1 - 0.95) * grad * grad;
        const double first_off =
            UNIT * (2 * fabs(old) + 2 * fabs(new) + fabs(first)) + (1 - 0.9) * grad_off;
        const double second_off = 2 * (1 - 0.95) * fabs(grad) * grad_off;
        const double bottom = sqrt(second) / sqrt(1 - s.beta2_power) + s.eps;
        const double rate = s.lr / (1 - s.beta1_power), step = fabs(rate * first / bottom);
        const double want = (double)p0[i] - rate * first / bottom;

        check_bound("Adam's first moment", (double)m[i], first, first_off);
        check_bound("Adam's second moment", (double)v[i], second, UNIT * 4 * second + second_off);
        check_bound("Adam's parameter", (double)p[i], want,
                    UNIT * (fabs(want) + 9 * step) + rate * first_off / bottom +
                        step * second_off / (2 * second));
    }
    expect_reached("Adam", 0.1);
}

/* One step of SGD on numbers of the streams 1 to 3, beside the same without rounding. */
static void check_sgd(const fb_sgd_step *s)
{
    enum { N = 2000 };
    static float p[N], m[N], g[N], p0[N], m0[N];

    fill(p, N, 0.0f, 1.0f, 1);
    fill(m, N, 0.0f, 0.1f, 2);
    fill(g, N, 0.0f, 0.5f, 3);
    for (size_t i = 0; i < N; i++) {
        p0[i] = p[i];
        m0[i] = m[i];
    }
    k->sgd(pool, p, s->momentum == 0 ? NULL : m, g, N, s);
    for (size_t i = 0; i < N; i++) {
        const double decay = s->weight_decay * (double)p0[i], grad = (double)g[i] + decay;
        const double grad_off = decay == 0 ? 0 : UNIT * (2 * fabs(decay) + fabs(grad));
        const double old = s->momentum * (double)m0[i], new = (1 - s->dampening) * grad;
        double moment = old + new, moment_off = grad_off, d = grad, d_off = grad_off, want;

        if (s->first)
            moment = grad;
        else
            moment_off = UNIT * (2 * fabs(old) + 2 * fabs(new) + fabs(moment)) +
                         (1 - s->dampening) * grad_off;
        if (s->momentum != 0) {
            check_bound("momentum", (double)m[i], moment, moment_off);
            d = s->nesterov ? grad + s->momentum * moment : moment;
            d_off = !s->nesterov ? moment_off
                                 : grad_off + s->momentum * moment_off +
                                       UNIT * (2 * fabs(s->momentum * moment) + fabs(d));
        }
        want = (double)p0[i] - s->lr * d;
        check_bound("SGD's parameter", (double)p[i], want,
                    UNIT * (fabs(want) + 2 * fabs(s->lr * d)) + s->lr * d_off);
    }
    expect_reached("SGD", 0.1);
}

static void sgd_keeps_its_bound(void **state)
{
    (void)state;
    check_sgd(&(fb_sgd_step){.lr = 0.3});
    check_sgd(&(fb_sgd_step){.lr = 0.3, .weight_decay = 0.1});
    check_sgd(&(fb_sgd_step){.lr = 0.3, .weight_decay = 0.1, .momentum = 0.9, .first = true});
    check_sgd(&(fb_sgd_step){.lr = 0.3, .momentum = 0.9, .dampening = 0.2});
    check_sgd(&(fb_sgd_step){.lr = 0.3, .weight_decay = 0.1, .momentum = 0.9, .nesterov = true});
}

static void clipping_keeps_its_bound(void **state)
{
    enum { N = 5000 };
    static float g[N], clipped[N];
    double squares = 0, norm;

    (void)state;
    fill(g, N, 0.0f, 1.0f, 1);
    for (size_t i = 0; i < N; i++)
        squares += (double)g[i] * (double)g[i];
    norm = sqrt(k->sum_squares(pool, g, N));
    check_bound("norm", norm, sqrt(squares), UNIT / 2 * norm);
    expect_reached("norm", 1e-4);
    k->scale(pool, clipped, g, (float)(0.7 / (norm + 1e-6)), N);
    for (size_t i = 0; i < N; i++) {
        const double want = (double)g[i] * (0.7 / (sqrt(squares) + 1e-6));

        check_bound("clipped gradient", (double)clipped[i], want, UNIT * 3 * fabs(want));
    }
    expect_reached("clipped gradient", 0.2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_keeps_its_bound),
        cmocka_unit_test(adam_keeps_its_bound),
        cmocka_unit_test(sgd_keeps_its_bound),
        cmocka_unit_test(clipping_keeps_its_bound),
    };
    return cmocka_run_group_tests(tests, start_bounds, stop_bounds);
}
