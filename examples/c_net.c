/* SPDX-License-Identifier: Apache-2.0
 *
 * c_net.c - a small net in plain C, trained by gradient descent, and the ten lines that record it.
 *
 *     cc -g -O2 c_net.c $(pkg-config --cflags --libs firstbit_trace) -o net-O2
 *     cc -g -Ofast c_net.c $(pkg-config --cflags --libs firstbit_trace) -o net-Ofast
 *     ./net-O2 a.fbt && ./net-Ofast b.fbt && firstbit diff a.fbt b.fbt
 *
 * Guide: docs/c-programs.md. N samples, D inputs, H hidden units; y = v·relu(W x).
 */
#include <stdint.h>
#include <stdio.h>

#include <firstbit/recorder.h>

enum { N = 64, D = 48, H = 32, STEPS = 20 };

typedef struct net {
    float w[H][D], v[H];
    float dw[H][D], dv[H];
} net;

/* Numbers with few bits: no compiler computes them otherwise. */
static float draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)((int)(*state >> 20) - 2048) / 1024;
}

/* hidden[N][H] = relu(x W'), a sum of D products each. */
static void forward(const net *n, float x[N][D], float hidden[N][H])
{
    for (int i = 0; i < N; i++)
        for (int h = 0; h < H; h++) {
            float sum = 0;

            for (int d = 0; d < D; d++)
                sum += x[i][d] * n->w[h][d];
            hidden[i][h] = sum > 0 ? sum : 0;
        }
}

/* error[N] = hidden v - y. */
static void predict(const net *n, float hidden[N][H], const float y[N], float error[N])
{
    for (int i = 0; i < N; i++) {
        float sum = 0;

        for (int h = 0; h < H; h++)
            sum += hidden[i][h] * n->v[h];
        error[i] = sum - y[i];
    }
}

/* Gradients of the mean squared error; returns it. */
static float backward(net *n, float x[N][D], float hidden[N][H], const float error[N])
{
    float loss = 0;

    for (int h = 0; h < H; h++) {
        n->dv[h] = 0;
        for (int d = 0; d < D; d++)
            n->dw[h][d] = 0;
        for (int i = 0; i < N; i++) {
            n->dv[h] += error[i] * hidden[i][h] / N;
            for (int d = 0; hidden[i][h] > 0 && d < D; d++)
                n->dw[h][d] += error[i] * n->v[h] * x[i][d] / N;
        }
    }
    for (int i = 0; i < N; i++)
        loss += error[i] * error[i] / N;
    return loss;
}

static void update(net *n, float rate)
{
    for (int h = 0; h < H; h++) {
        n->v[h] -= rate * n->dv[h];
        for (int d = 0; d < D; d++)
            n->w[h][d] -= rate * n->dw[h][d];
    }
}

int main(int argc, char **argv)
{
    static float x[N][D], y[N], hidden[N][H], error[N];
    static net n;
    uint32_t state = 1;
    float loss = 0;
    fb_recorder *run;

    if (fb_recorder_open(&run, argc > 1 ? argv[1] : "net.fbt", NULL, NULL) != FB_OK)
        fprintf(stderr, "not recorded\n"); /* run is NULL then, and every call below does nothing */
    for (int i = 0; i < N; i++) {
        for (int d = 0; d < D; d++)
            x[i][d] = draw(&state);
        y[i] = x[i][0] + x[i][1];
    }
    for (int h = 0; h < H; h++) {
        n.v[h] = draw(&state) / 8;
        for (int d = 0; d < D; d++)
            n.w[h][d] = draw(&state) / 8;
    }
    for (int step = 1; step <= STEPS; step++) {
        fb_recorder_step(run, (uint64_t)step);
        forward(&n, x, hidden);
        fb_recorder_f32(run, FB_PHASE_FORWARD, "hidden", "matmul", *hidden, N, H);
        predict(&n, hidden, y, error);
        fb_recorder_f32(run, FB_PHASE_FORWARD, "error", "matmul", error, N, 0);
        loss = backward(&n, x, hidden, error);
        fb_recorder_scalar(run, FB_PHASE_LOSS, "loss", "out", FB_DTYPE_F32, (double)loss);
        fb_recorder_f32(run, FB_PHASE_BACKWARD, "w", "matmul", *n.dw, H, D);
        update(&n, 0.01f);
        fb_recorder_f32(run, FB_PHASE_OPTIMIZER, "w", "sgd", *n.w, H, D);
    }
    fb_recorder_close(run, NULL);
    printf("loss %.6f\n", (double)loss);
    return 0;
}
