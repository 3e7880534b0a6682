/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder.c - a training program of your own, recorded: linear regression by gradient descent.
 *
 *     cc recorder.c $(pkg-config --cflags --libs firstbit_trace) -o recorder
 *     ./recorder run.fbt && firstbit show run.fbt --step 1
 */
#include <stdint.h>
#include <stdio.h>

#include <firstbit/recorder.h>

enum { N = 64, STEPS = 50 };

/* A small generator of this program; the trace notes what was taken from it. */
static float draw(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1;
    return (float)(*state >> 40) / (float)(1 << 24) - 0.5f;
}

int main(int argc, char **argv)
{
    const uint64_t weight_shape[1] = {2};
    float x[N], y[N], w[2] = {0, 0};
    uint64_t state = 42;
    fb_recorder *r;
    fb_error err;
    fb_ref batch, weight;

    if (fb_recorder_open(&r, argc > 1 ? argv[1] : "recorder.fbt", NULL, &err) != FB_OK) {
        fprintf(stderr, "recorder: %s\n", err.text);
        return 2;
    }
    for (int i = 0; i < N; i++) {
        x[i] = draw(&state);
        y[i] = 3 * x[i] - 1;
    }
    fb_recorder_draw(r, FB_PHASE_INIT, "data", "lcg64", 42, 0, N, "uniform", "x", FB_DTYPE_F32, x);
    weight = fb_recorder_tensor(r, FB_KIND_PARAM, FB_PHASE_INIT, "w", "init", "param", FB_DTYPE_F32,
                                1, weight_shape, w, NULL, 0);
    for (uint64_t step = 1; step <= STEPS; step++) {
        float loss = 0, grad[2] = {0, 0};

        fb_recorder_step(r, step);
        batch = fb_recorder_sample(r, "line", FB_ROLE_TRAIN, step - 1, NULL, N, x, sizeof x);
        for (int i = 0; i < N; i++) {
            const float error = w[0] * x[i] + w[1] - y[i];
            loss += error * error / N;
            grad[0] += 2 * error * x[i] / N;
            grad[1] += 2 * error / N;
        }
        fb_recorder_scalar(r, FB_PHASE_LOSS, "loss", "out", FB_DTYPE_F32, loss);
        const fb_ref from[2] = {batch, weight};
        const fb_ref gradient =
            fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_BACKWARD, "w", "regression", "grad",
                               FB_DTYPE_F32, 1, weight_shape, grad, from, 2);
        w[0] -= 0.5f * grad[0];
        w[1] -= 0.5f * grad[1];
        weight = fb_recorder_tensor(r, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "w", "sgd", "param",
                                    FB_DTYPE_F32, 1, weight_shape, w, &gradient, 1);
    }
    fb_recorder_mark(r, "done");
    printf("w = %g %g\n", (double)w[0], (double)w[1]);
    return fb_recorder_close(r, &err) == FB_OK ? 0 : 1;
}
