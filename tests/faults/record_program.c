/* SPDX-License-Identifier: Apache-2.0
 *
 * record_program.c - a program that computes something and records it, for tests in which its calls
 * fail: whatever becomes of the trace, the result is the same.
 *
 * usage: record_program TRACE [STEPS]   prints the result; one line on stderr where recording fails
 */
#include <stdio.h>
#include <stdlib.h>

#include "firstbit/recorder.h"

enum { WIDTH = 64 };

static void train_step(float *weights, uint64_t step)
{
    for (int i = 0; i < WIDTH; i++)
        weights[i] = weights[i] * 0.99f + (float)((step * 31 + (uint64_t)i * 17) % 101) * 0.01f;
}

static void record_step(fb_recorder *r, uint64_t step, const float *weights)
{
    const uint64_t shape[1] = {WIDTH}, indices[4] = {step, step + 1, step * 3, 7};
    fb_ref inputs[2];

    fb_recorder_step(r, step);
    inputs[0] = fb_recorder_sample(r, "numbers", FB_ROLE_TRAIN, 0, indices, 4, indices, 32);
    inputs[1] = fb_recorder_draw(r, FB_PHASE_FORWARD, "drop", "philox4x32-10", step << 32, 0, WIDTH,
                                 "bernoulli", "drop", FB_DTYPE_F32, NULL);
    for (int micro = 0; micro < 4; micro++) {
        fb_recorder_micro(r, micro);
        inputs[0] = fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out",
                                       FB_DTYPE_F32, 1, shape, weights, inputs, 2);
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "out", FB_DTYPE_F32,
                                 (double)weights[micro]);
    }
    fb_recorder_micro(r, FB_MICRO_NONE);
    (void)fb_recorder_tensor(r, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "fc.weight", "sgd", "param",
                             FB_DTYPE_F32, 1, shape, weights, inputs, 1);
    if (step % 100 == 0)
        fb_recorder_mark(r, "a hundred steps");
}

int main(int argc, char **argv)
{
    const uint64_t steps = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
    float weights[WIDTH] = {0};
    fb_recorder *r;
    double sum = 0;
    fb_error err;

    if (argc < 2)
        return 2;
    if (fb_recorder_open(&r, argv[1], NULL, &err) != FB_OK) {
        fprintf(stderr, "record_program: %s\n", err.text);
        r = NULL;
    }
    for (uint64_t step = 1; step <= steps; step++) {
        train_step(weights, step);
        if (r != NULL)
            record_step(r, step, weights);
    }
    if (fb_recorder_close(r, &err) != FB_OK)
        fprintf(stderr, "record_program: %s\n", err.text);
    for (int i = 0; i < WIDTH; i++)
        sum += (double)weights[i];
    printf("%a\n", sum);
    return 0;
}
