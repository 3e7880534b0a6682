/* SPDX-License-Identifier: Apache-2.0
 *
 * test_plane_bounds.c - the error bounds of docs/numerics.md for convolution and pooling.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/kernels/bounds.h"

enum {
    IMAGES = 3,
    INPUTS = 5,
    OUTPUTS = 7,
    SIDE = 9,
    KERNEL = 3,
    PLACES = 5, /* (9 + 2·1 - 3)/2 + 1 */
    IN = IMAGES * INPUTS * SIDE * SIDE,
    OUT = IMAGES * OUTPUTS * PLACES * PLACES,
    POOLED = IMAGES * INPUTS * PLACES * PLACES,
    WEIGHTS = OUTPUTS * INPUTS * KERNEL * KERNEL,
};

static const fb_conv2d shape = {.batch = IMAGES,
                                .in_channels = INPUTS,
                                .in_height = SIDE,
                                .in_width = SIDE,
                                .out_channels = OUTPUTS,
                                .out_height = PLACES,
                                .out_width = PLACES,
                                .kernel_height = KERNEL,
                                .kernel_width = KERNEL,
                                .stride_height = 2,
                                .stride_width = 2,
                                .pad_height = 1,
                                .pad_width = 1};

/* A sum without rounding, and the magnitudes of its terms. */
typedef struct exact_sum {
    double sum, size;
} exact_sum;

static void add_term(exact_sum *to, double term)
{
    to->sum += term;
    to->size += fabs(term);
}

static void check_sums(const char *what, const float *got, const exact_sum *want, size_t n,
                       double units)
{
    for (size_t i = 0; i < n; i++)
        check_bound(what, (double)got[i], want[i].sum, UNIT * units * want[i].size);
}

/* Calls term with every element of a weight, of the input and of the output that meet. */
static void for_all_taps(void (*term)(size_t w, size_t in, size_t out))
{
    for (size_t n = 0; n < IMAGES; n++)
        for (size_t o = 0; o < OUTPUTS; o++)
            for (size_t place = 0; place < PLACES * PLACES; place++)
                for (size_t tap = 0; tap < INPUTS * KERNEL * KERNEL; tap++) {
                    const size_t row = place / PLACES * 2 + tap / KERNEL % KERNEL;
                    const size_t col = place % PLACES * 2 + tap % KERNEL;
                    const size_t channel = n * INPUTS + tap / (KERNEL * KERNEL);

                    if (row >= 1 && col >= 1 && row <= SIDE && col <= SIDE)
                        term(o * INPUTS * KERNEL * KERNEL + tap,
                             (channel * SIDE + row - 1) * SIDE + col - 1,
                             (n * OUTPUTS + o) * PLACES * PLACES + place);
                }
}

static float x[IN], weight[WEIGHTS], bias[OUTPUTS], y[OUT], dy[OUT], dx[IN], dweight[WEIGHTS];
static exact_sum want_y[OUT], want_dx[IN], want_dweight[WEIGHTS];

static void convolve(size_t w, size_t in, size_t out)
{
    add_term(&want_y[out], (double)weight[w] * (double)x[in]);
    add_term(&want_dx[in], (double)weight[w] * (double)dy[out]);
    add_term(&want_dweight[w], (double)x[in] * (double)dy[out]);
}

static void convolutions_keep_their_bound(void **state)
{
    float dbias[OUTPUTS];

    (void)state;
    fill(x, IN, 0.5f, 1.0f, 1);
    fill(weight, WEIGHTS, 0.0f, 0.3f, 2);
    fill(bias, OUTPUTS, 0.0f, 1.0f, 3);
    fill(dy, OUT, 0.5f, 1.0f, 4);
    for_all_taps(convolve);
    k->conv2d(pool, y, x, weight, bias, &shape);
    k->conv2d_backward_input(pool, dx, dy, weight, &shape);
    k->conv2d_backward_weight(pool, dweight, dbias, dy, x, &shape);
    for (size_t i = 0; i < OUT; i++) {
        const double want = want_y[i].sum + (double)bias[i / (PLACES * PLACES) % OUTPUTS];

        check_bound("convolution", (double)y[i], want,
                    UNIT * (steps_of(INPUTS * KERNEL * KERNEL) * want_y[i].size + fabs(want)));
    }
    expect_reached("convolution", 1e-2);
    check_sums("convolution's dx", dx, want_dx, IN, steps_of(OUTPUTS * KERNEL * KERNEL));
    expect_reached("convolution's dx", 1e-2);
    check_sums("convolution's dweight", dweight, want_dweight, WEIGHTS,
               steps_of(IMAGES * PLACES * PLACES));
    expect_reached("convolution's dweight", 1e-2);
    for (size_t o = 0; o < OUTPUTS; o++) {
        double sum = 0;

        for (size_t i = 0; i < OUT; i++)
            sum += i / (PLACES * PLACES) % OUTPUTS == o ? (double)dy[i] : 0.0;
        check_bound("convolution's dbias", (double)dbias[o], sum, UNIT * fabs(sum));
    }
    expect_reached("convolution's dbias", 0.3);
}

static exact_sum average[POOLED], spread[IN];

/* Of the first output channels, as many as a pool has; each reads the channel of its number. */
static void average_tap(size_t w, size_t in, size_t out)
{
    const size_t channel = out / (PLACES * PLACES) % OUTPUTS,
                 image = out / (PLACES * PLACES) / OUTPUTS;
    const size_t at = (image * INPUTS + channel) * PLACES * PLACES + out % (PLACES * PLACES);

    if (channel >= INPUTS || w / (KERNEL * KERNEL) % INPUTS != channel)
        return;
    add_term(&average[at], (double)x[in] / (KERNEL * KERNEL));
    add_term(&spread[in], (double)dy[at] / (KERNEL * KERNEL));
}

static void pooling_keeps_its_bound(void **state)
{
    static float pooled[POOLED], dpooled[IN];
    static uint32_t chosen[POOLED];
    static double routed[IN];
    fb_conv2d s = shape;

    (void)state;
    s.out_channels = INPUTS;
    fill(x, IN, 0.5f, 1.0f, 1);
    fill(dy, OUT, 0.5f, 1.0f, 4);
    for_all_taps(average_tap);
    k->avgpool2d(pool, pooled, x, &s);
    k->avgpool2d_backward(pool, dpooled, dy, &s);
    for (size_t i = 0; i < POOLED; i++)
        check_bound("average", (double)pooled[i], average[i].sum, UNIT * fabs(average[i].sum));
    expect_reached("average", 0.3);
    for (size_t i = 0; i < IN; i++)
        check_bound("average's dx", (double)dpooled[i], spread[i].sum, UNIT * fabs(spread[i].sum));
    expect_reached("average's dx", 0.3);
    k->maxpool2d(pool, pooled, chosen, x, &s);
    k->maxpool2d_backward(pool, dpooled, dy, chosen, &s);
    for (size_t i = 0; i < POOLED; i++) {
        const size_t at = i / (PLACES * PLACES) * SIDE * SIDE + chosen[i];

        check_bound("maximum", (double)pooled[i], (double)x[at], 0);
        routed[at] += (double)dy[i];
    }
    for (size_t i = 0; i < IN; i++)
        check_bound("maximum's dx", (double)dpooled[i], routed[i], UNIT * fabs(routed[i]));
    expect_reached("maximum's dx", 0.3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_keep_their_bound),
        cmocka_unit_test(pooling_keeps_its_bound),
    };
    return cmocka_run_group_tests(tests, start_bounds, stop_bounds);
}
