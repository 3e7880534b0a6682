/* SPDX-License-Identifier: Apache-2.0
 *
 * fingerprint.c - the hash of every kernel's outputs on golden inputs, cheap enough for every
 * start.
 *
 * docs/numerics.md "Contract number and fingerprint": what a trace header stores beside the number.
 * The inputs are words of a stream, so that they need no file.
 */
#include <stddef.h>
#include <string.h>

#include "base/hash.h"
#include "kernels/kernels.h"

enum { FLOATS = 12288, OUTPUTS = 64 };

typedef struct golden {
    const fb_kernels *kernels;
    fb_pool *pool;
    float x[FLOATS];   /* inputs, |x| below 4 */
    float out[FLOATS]; /* of the entry that runs */
    uint32_t argmax[64];
    fb_hash hashes[OUTPUTS];
    size_t count;
} golden;

static void fill(golden *g)
{
    const fb_philox stream = {.seed = 1, .step = 0, .stream = 0};
    uint32_t word[64] = {0};

    for (size_t i = 0; i < FLOATS; i++) {
        if (i % 64 == 0)
            fb_philox_words(word, 64, &stream, i);
        g->x[i] = (float)((int32_t)word[i % 64] >> 8) * 0x1p-21f;
    }
}

static void take(golden *g, const void *data, size_t bytes)
{
    g->hashes[g->count++] = fb_tensor_hash(NULL, FB_DTYPE_F32, data, bytes, NULL);
}

static void take_out(golden *g, size_t floats)
{
    take(g, g->out, floats * sizeof(float));
}

static void products(golden *g)
{
    const float *x = g->x;
    fb_matmul product = {.c = g->out,
                         .a = x,
                         .b = x + 3000,
                         .bias = x,
                         .m = 5,
                         .n = 19,
                         .k = 270,
                         .lda = 270,
                         .ldb = 19,
                         .ldc = 19,
                         .batch = 1};

    g->kernels->matmul(g->pool, &product);
    take_out(g, (size_t)5 * 19);
    product.a_transposed = product.b_transposed = product.accumulate = true;
    product.lda = 5;
    product.ldb = 270;
    g->kernels->matmul(g->pool, &product);
    take_out(g, (size_t)5 * 19);
}

static void reductions(golden *g)
{
    const fb_kernels *k = g->kernels;
    double squares;

    k->row_sums(g->pool, g->out, g->x, 2, 4500);
    take_out(g, 2);
    k->column_sums(g->pool, g->out, g->x, 30, 21);
    take_out(g, 21);
    squares = k->sum_squares(g->pool, g->x, 9001);
    take(g, &squares, sizeof squares);
}

static void elementwise(golden *g)
{
    const fb_kernels *k = g->kernels;
    const float *x = g->x;

    k->add(g->pool, g->out, x, x + 100, 67);
    k->scale(g->pool, g->out + 67, x, 0.7f, 67);
    take_out(g, 134);
    for (int f = 0; f < FB_ACTIVATION_COUNT; f++) {
        k->activate(g->pool, (fb_activation)f, g->out, x, 99);
        k->activate_backward(g->pool, (fb_activation)f, g->out + 99, x + 99, x, 99);
        take_out(g, 198);
    }
}

static void normalization(golden *g)
{
    const fb_kernels *k = g->kernels;
    const float *x = g->x;
    float *y = g->out, *mean = y + 300, *rstd = y + 320, *dx = y + 340, *dg = y + 640,
          *db = y + 700;

    k->layernorm(g->pool, y, mean, rstd, x, x + 400, x + 500, 5, 37, 1e-5);
    k->layernorm_backward(g->pool, dx, dg, db, x + 600, x, mean, rstd, x + 400, 5, 37);
    take(g, y, 5 * 37 * sizeof *y);
    take(g, mean, 5 * sizeof *y);
    take(g, rstd, 5 * sizeof *y);
    take(g, dx, 5 * 37 * sizeof *y);
    take(g, dg, 37 * sizeof *y);
    take(g, db, 37 * sizeof *y);
}

static void attention(golden *g, bool causal)
{
    const fb_kernels *k = g->kernels;
    const fb_attention shape = {
        .batch = 1, .time = 19, .heads = 2, .head_dim = 18, .causal = causal};
    const size_t rows = 19, floats = rows * 36, state = rows * 2;
    float *out = g->out, *max = out + floats, *sum = max + state, *dqkv = sum + state;

    k->attention(g->pool, out, max, sum, g->x, &shape);
    k->attention_backward(g->pool, dqkv, g->x + 5000, out, g->x, max, sum, &shape);
    take_out(g, floats + 2 * state + 3 * floats);
}

static void tokens_and_losses(golden *g)
{
    const fb_kernels *k = g->kernels;
    static const uint32_t tokens[] = {3, 0, 6, 3, 3, 5};
    static const int32_t targets[] = {3, -1, 6, 0, 32, 5};
    const float *x = g->x;
    float *out = g->out, *max = out + 10, *sum = out + 20;

    k->embedding(g->pool, out, x, x + 200, tokens, 6, 3, 20);
    k->embedding_backward(g->pool, out + 120, out + 260, x + 300, tokens, 6, 3, 20, 7);
    take_out(g, 320);
    k->cross_entropy(g->pool, out, max, sum, x, targets, 6, 33);
    k->cross_entropy_backward(g->pool, out + 30, x, max, sum, targets, 6, 33, 5);
    take(g, out, 6 * sizeof *out);
    take(g, max, 6 * sizeof *out);
    take(g, sum, 6 * sizeof *out);
    take(g, out + 30, (size_t)6 * 33 * sizeof *out);
    k->squared_error(g->pool, out, x, x + 500, 3, 50);
    k->squared_error_backward(g->pool, out + 3, x, x + 500, 150, 150);
    take_out(g, 153);
}

static void images(golden *g)
{
    const fb_kernels *k = g->kernels;
    const fb_conv2d conv = {.batch = 2,
                            .in_channels = 3,
                            .in_height = 6,
                            .in_width = 7,
                            .out_channels = 4,
                            .out_height = 3,
                            .out_width = 4,
                            .kernel_height = 3,
                            .kernel_width = 3,
                            .stride_height = 2,
                            .stride_width = 2,
                            .pad_height = 1,
                            .pad_width = 1};
    fb_conv2d pool = conv;
    float *out = g->out;

    k->conv2d(g->pool, out, g->x, g->x + 300, g->x + 500, &conv);
    k->conv2d_backward_input(g->pool, out + 96, g->x + 600, g->x + 300, &conv);
    k->conv2d_backward_weight(g->pool, out + 348, out + 456, g->x + 600, g->x, &conv);
    take_out(g, 460);
    pool.batch = 1;
    pool.out_channels = 3;
    k->maxpool2d(g->pool, out, g->argmax, g->x, &pool);
    k->maxpool2d_backward(g->pool, out + 36, g->x + 700, g->argmax, &pool);
    take_out(g, 36 + 126);
    take(g, g->argmax, 36 * sizeof g->argmax[0]);
    k->avgpool2d(g->pool, out, g->x, &pool);
    k->avgpool2d_backward(g->pool, out + 36, g->x + 700, &pool);
    take_out(g, 36 + 126);
}

static void draws(golden *g)
{
    const fb_philox stream = {.seed = 0x123456789abcdef0, .step = 7, .stream = 42};

    g->kernels->dropout(g->pool, g->out, g->x, 101, 0.3, &stream, 5);
    take_out(g, 101);
    g->kernels->fill_normal(g->pool, g->out, 101, 0.5f, 0.02f, &stream, 3);
    take_out(g, 101);
}

static void optimizers(golden *g)
{
    fb_adam_step adam = {.lr = 1e-3,
                         .beta1 = 0.9,
                         .beta2 = 0.95,
                         .eps = 1e-8,
                         .weight_decay = 0.1,
                         .beta1_power = 0.81,
                         .beta2_power = 0.9025,
                         .decoupled = true};
    const fb_sgd_step sgd = {
        .lr = 0.1, .momentum = 0.9, .dampening = 0.1, .weight_decay = 0.01, .nesterov = true};
    float *p = g->out, *m = p + 100, *v = p + 200;

    memcpy(p, g->x, 200 * sizeof *p);
    for (int i = 0; i < 100; i++)
        v[i] = g->x[i] * g->x[i];
    g->kernels->adam(g->pool, p, m, v, g->x + 500, 100, &adam);
    adam.decoupled = false;
    g->kernels->adam(g->pool, p, m, v, g->x + 700, 100, &adam);
    take_out(g, 300);
    g->kernels->sgd(g->pool, p, m, g->x + 900, 100, &sgd);
    take_out(g, 300);
}

fb_hash fb_kernels_fingerprint(const fb_kernels *kernels, fb_pool *pool)
{
    golden g = {.kernels = kernels, .pool = pool};

    fill(&g);
    products(&g);
    reductions(&g);
    elementwise(&g);
    normalization(&g);
    attention(&g, false);
    attention(&g, true);
    tokens_and_losses(&g);
    images(&g);
    draws(&g);
    optimizers(&g);
    return fb_hash_bytes(g.hashes, g.count * sizeof g.hashes[0]);
}
