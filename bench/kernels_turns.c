/* SPDX-License-Identifier: Apache-2.0
 *
 * kernels_turns.c - runs one kernel of a training step at a time, for bench_kernels.py, which takes
 * turns with PyTorch.
 *
 *   kernels_turns THREADS
 *
 * Reads names of cases, a line each; runs each as often as fits into some 50 ms and prints the
 * milliseconds of one run. Shapes are those that bench_kernels.py gives to PyTorch.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "kernels/kernels.h"

enum {
    ROWS = 768, /* 12 x 64 tokens of 384 channels, 1536 in the middle */
    CHANNELS = 384,
    HIDDEN = 1536,
    LOGIT_ROWS = 256,
    VOCABULARY = 50257,
    PARAMETERS = 1 << 20,
    TENSORS = 4,
    FLOATS = LOGIT_ROWS * VOCABULARY, /* the largest array; each case uses the beginning */
};

static const fb_kernels *k;
static fb_pool *pool;
static float *x, *y, *dy, *dx, *third;
static float small[8][PARAMETERS];
static int32_t targets[ROWS];
static uint32_t tokens[ROWS];

static const fb_attention attention_shape = {
    .batch = 4, .time = 256, .heads = 12, .head_dim = 64, .causal = true};
static const fb_conv2d conv_shape = {.batch = 16,
                                     .in_channels = 32,
                                     .in_height = 32,
                                     .in_width = 32,
                                     .out_channels = 64,
                                     .out_height = 32,
                                     .out_width = 32,
                                     .kernel_height = 3,
                                     .kernel_width = 3,
                                     .stride_height = 1,
                                     .stride_width = 1,
                                     .pad_height = 1,
                                     .pad_width = 1};
static const fb_philox dropout_stream = {.seed = 1, .step = 1, .stream = 7};

static void layernorm(void)
{
    k->layernorm(pool, y, small[0], small[1], x, small[2], small[3], ROWS, CHANNELS, 1e-5);
}

static void layernorm_backward(void)
{
    k->layernorm_backward(pool, dx, small[4], small[5], dy, x, small[0], small[1], small[2], ROWS,
                          CHANNELS);
}

static void cross_entropy(void)
{
    k->cross_entropy(pool, small[6], small[0], small[1], x, targets, LOGIT_ROWS, VOCABULARY);
}

static void cross_entropy_backward(void)
{
    k->cross_entropy_backward(pool, dx, x, small[0], small[1], targets, LOGIT_ROWS, VOCABULARY,
                              LOGIT_ROWS);
}

static void attention(void)
{
    k->attention(pool, y, small[0], small[1], x, &attention_shape);
}

static void attention_backward(void)
{
    k->attention_backward(pool, dx, dy, y, x, small[0], small[1], &attention_shape);
}

static void embedding_backward(void)
{
    k->embedding_backward(pool, dx, NULL, dy, tokens, ROWS, 64, CHANNELS, VOCABULARY / 2);
}

static void dropout(void)
{
    k->dropout(pool, y, x, (size_t)ROWS * HIDDEN, 0.1, &dropout_stream, 0);
}

/* The clipped gradient, as the engine does it. */
static void adamw(void)
{
    const fb_adam_step step = {.lr = 1e-3,
                               .beta1 = 0.9,
                               .beta2 = 0.95,
                               .eps = 1e-8,
                               .weight_decay = 0.1,
                               .beta1_power = 0.5,
                               .beta2_power = 0.6,
                               .decoupled = true};
    double parts[TENSORS], norm;

    for (int i = 0; i < TENSORS; i++)
        parts[i] = k->sum_squares(pool, dx + (size_t)i * PARAMETERS, PARAMETERS);
    norm = sqrt(fb_tree_sum_f64(parts, TENSORS));
    for (int i = 0; i < TENSORS; i++) {
        const size_t at = (size_t)i * PARAMETERS;

        k->scale(pool, dx + at, dx + at, (float)fmin(1.0, 1.0 / (norm + 1e-6)), PARAMETERS);
        k->adam(pool, x + at, y + at, third + at, dx + at, PARAMETERS, &step);
    }
}

static void conv2d(void)
{
    k->conv2d(pool, y, x, small[0], small[1], &conv_shape);
}

static void conv2d_backward_input(void)
{
    k->conv2d_backward_input(pool, dx, dy, small[0], &conv_shape);
}

static void conv2d_backward_weight(void)
{
    k->conv2d_backward_weight(pool, small[2], small[3], dy, x, &conv_shape);
}

#define ACTIVATION(name, F)                                                                        \
    static void name(void)                                                                         \
    {                                                                                              \
        k->activate(pool, FB_ACTIVATION_##F, y, x, (size_t)ROWS *HIDDEN);                          \
    }                                                                                              \
    static void name##_backward(void)                                                              \
    {                                                                                              \
        k->activate_backward(pool, FB_ACTIVATION_##F, dx, dy, x, (size_t)ROWS *HIDDEN);            \
    }
ACTIVATION(gelu, GELU)
ACTIVATION(gelu_tanh, GELU_TANH)
ACTIVATION(silu, SILU)
ACTIVATION(softplus, SOFTPLUS)
ACTIVATION(sigmoid, SIGMOID)
ACTIVATION(tanhs, TANH)

static const struct {
    const char *name;
    void (*before)(void); /* writes what run reads, or NULL */
    void (*run)(void);
} cases[] = {
    {"layernorm", NULL, layernorm},
    {"layernorm backward", layernorm, layernorm_backward},
    {"cross-entropy", NULL, cross_entropy},
    {"cross-entropy backward", cross_entropy, cross_entropy_backward},
    {"attention", NULL, attention},
    {"attention backward", attention, attention_backward},
    {"gelu", NULL, gelu},
    {"gelu backward", NULL, gelu_backward},
    {"gelu_tanh", NULL, gelu_tanh},
    {"gelu_tanh backward", NULL, gelu_tanh_backward},
    {"silu", NULL, silu},
    {"silu backward", NULL, silu_backward},
    {"softplus", NULL, softplus},
    {"softplus backward", NULL, softplus_backward},
    {"sigmoid", NULL, sigmoid},
    {"sigmoid backward", NULL, sigmoid_backward},
    {"tanh", NULL, tanhs},
    {"tanh backward", NULL, tanhs_backward},
    {"embedding backward", NULL, embedding_backward},
    {"dropout", NULL, dropout},
    {"clipping and AdamW", NULL, adamw},
    {"convolution", NULL, conv2d},
    {"convolution backward, input", NULL, conv2d_backward_input},
    {"convolution backward, weight", NULL, conv2d_backward_weight},
};

/* One thread's time is the processor's, which other programs leave alone. */
static double now_ms(void)
{
    struct timespec t;

    clock_gettime(fb_pool_threads(pool) == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Milliseconds of one run; as many as fit into 50, 3 at least. */
static double time_case(size_t index)
{
    double start;
    int runs = 0;

    if (cases[index].before != NULL)
        cases[index].before();
    cases[index].run();
    start = now_ms();
    do {
        cases[index].run();
        runs++;
    } while (runs < 3 || now_ms() - start < 50.0);
    return (now_ms() - start) / runs;
}

static float *array(uint32_t stream)
{
    const fb_philox random = {.seed = 3, .stream = stream};
    float *out = aligned_alloc(64, sizeof(float) * (FLOATS + 16));

    if (out == NULL)
        exit(2);
    k->fill_normal(pool, out, FLOATS, 0.0f, 1.0f, &random, 0);
    return out;
}

static void make_inputs(void)
{
    float **arrays[] = {&x, &y, &dy, &dx, &third};

    for (uint32_t i = 0; i < 5; i++)
        *arrays[i] = array(i);
    for (size_t i = 0; i < FLOATS; i++)
        third[i] *= third[i]; /* AdamW's second moment */
    for (size_t i = 0; i < 8; i++)
        memcpy(small[i], x + i * PARAMETERS, sizeof small[i]);
    for (uint32_t i = 0; i < ROWS; i++) {
        targets[i] = (int32_t)(i * 2654435761u % VOCABULARY);
        tokens[i] = i * 2654435761u % (VOCABULARY / 2);
    }
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    char line[64];
    fb_error err;

    k = fb_kernels_best();
    if (threads < 1 || fb_pool_create(&pool, (unsigned)threads, &err) != FB_OK) {
        fprintf(stderr, "usage: kernels_turns THREADS\n");
        return 2;
    }
    make_inputs();
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            if (strcmp(cases[i].name, line) == 0)
                printf("%.6f\n", time_case(i));
        fflush(stdout);
    }
    fb_pool_destroy(pool);
    return 0;
}
