/* SPDX-License-Identifier: Apache-2.0
 *
 * cases.c - one runner a kernel; see cases.h.
 */
#include "tests/kernels/cases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* --- Numbers ---------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15; /* splitmix64 */

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static float plain_number(uint64_t r)
{
    return (float)((int32_t)(uint32_t)r >> 6) * 0x1p-24f; /* below 2 */
}

static float wide_number(uint64_t r)
{
    static const float special[] = {0.0f, -0.0f, 0x1p-149f,     -0x1p-126f, 0x1.fffffcp-127f,
                                    1.0f, -1.0f, 0x1.fffffep60f};
    const uint32_t exponent = 127 - 60 + (uint32_t)(r >> 32) % 121;

    if ((r >> 56) < 32)
        return special[(r >> 40) % 8];
    return fb_float_of_bits((uint32_t)r & 0x807fffff) == 0.0f
               ? 0.0f
               : fb_float_of_bits(((uint32_t)r & 0x807fffff) | exponent << 23);
}

/* Some pairs far apart, some close, so that chunks, lanes and levels of a tree all matter. */
static void add_swamping_pairs(float *x, size_t n, uint64_t *state)
{
    const size_t pairs = n < 64 ? 1 : 3;

    for (size_t pair = 0; n > 1 && pair < pairs; pair++) {
        const float huge = pair == 0 ? 0x1p70f : pair == 1 ? 0x1p64f : -0x1p67f;

        x[next_random(state) % n] = huge;
        x[next_random(state) % n] = -huge;
    }
}

void fill_numbers(float *x, size_t n, numbers kind, uint64_t seed)
{
    uint64_t state = seed * 7919 + 1;

    for (size_t i = 0; i < n; i++) {
        const uint64_t r = next_random(&state);

        x[i] = kind == NUMBERS_WIDE ? wide_number(r) : plain_number(r);
        if (kind == NUMBERS_NONFINITE && (r >> 40) % 97 == 0)
            x[i] = fb_float_of_bits(
                (const uint32_t[]){0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345}[(r >> 50) % 4]);
    }
    if (kind == NUMBERS_SWAMP)
        add_swamping_pairs(x, n, &state);
}

/* --- Buffers ---------------------------------------------------------------------------------- */

enum { GUARD = 64, BUFFERS = 24 };
#define GUARD_BITS 0x7fabcdefu

/* Everything a case allocates; an allocation is exact, so that a sanitizer sees each overrun too.
 */
typedef struct arena {
    const kernel_case *c;
    outputs *out;
    void *blocks[BUFFERS];
    struct {
        float *at;
        size_t n;
    } written[BUFFERS];
    size_t block_count, written_count;
    uint64_t seed;
} arena;

static float *raw(arena *a, size_t n)
{
    float *p = malloc((n + 2 * GUARD) * sizeof *p);

    for (size_t i = 0; i < n + 2 * GUARD; i++)
        p[i] = fb_float_of_bits(GUARD_BITS);
    a->blocks[a->block_count++] = p;
    return p + GUARD;
}

/* An input that ends where its memory ends. */
static float *input(arena *a, size_t n)
{
    float *p = malloc(n == 0 ? 1 : n * sizeof *p);

    a->blocks[a->block_count++] = p;
    fill_numbers(p, n, a->c->numbers, ++a->seed * 1000003 + a->c->seed);
    return p;
}

static float *output(arena *a, size_t n)
{
    float *p = raw(a, n);

    a->written[a->written_count].at = p;
    a->written[a->written_count++].n = n;
    return p;
}

/* An output that starts as numbers. */
static float *updated(arena *a, size_t n)
{
    float *p = output(a, n);

    fill_numbers(p, n, a->c->numbers, ++a->seed * 1000003 + a->c->seed);
    return p;
}

static void collect(arena *a, const float *x, size_t n)
{
    outputs *out = a->out;

    if (out->count + n > out->capacity) {
        out->capacity = 2 * (out->count + n);
        out->values = realloc(out->values, out->capacity * sizeof *out->values);
    }
    if (n > 0)
        memcpy(out->values + out->count, x, n * sizeof *x);
    out->count += n;
}

static void finish(arena *a)
{
    for (size_t i = 0; i < a->written_count; i++) {
        const float *at = a->written[i].at;
        const size_t n = a->written[i].n;

        for (size_t j = 0; j < GUARD; j++) {
            if (fb_float_bits(at[-1 - (ptrdiff_t)j]) != GUARD_BITS)
                a->out->damaged = "before an output";
            if (fb_float_bits(at[n + j]) != GUARD_BITS)
                a->out->damaged = "after an output";
        }
        collect(a, at, n);
    }
    for (size_t i = 0; i < a->block_count; i++)
        free(a->blocks[i]);
}

/* --- Runners ---------------------------------------------------------------------------------- */

/* m n k batch gap; flags: 1 A transposed, 2 B transposed, 4 accumulate, 8 bias, 16 B shared */
static void run_matmul(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t *s = a->c->size, gap = s[4];
    fb_matmul x = {.m = s[0], .n = s[1], .k = s[2], .batch = s[3]};

    x.a_transposed = a->c->flags & 1;
    x.b_transposed = a->c->flags & 2;
    x.accumulate = a->c->flags & 4;
    x.lda = (x.a_transposed ? x.m : x.k) + gap;
    x.ldb = (x.b_transposed ? x.k : x.n) + gap;
    x.ldc = x.n + gap;
    x.stride_a = (x.a_transposed ? x.k : x.m) * x.lda;
    x.stride_b = a->c->flags & 16 ? 0 : (x.b_transposed ? x.n : x.k) * x.ldb;
    x.stride_c = x.m * x.ldc;
    x.a = input(a, x.batch * x.stride_a);
    x.b = input(a, (a->c->flags & 16 ? 1 : x.batch) * (x.b_transposed ? x.n : x.k) * x.ldb);
    x.bias = a->c->flags & 8 ? input(a, x.n) : NULL;
    x.c = updated(a, x.batch * x.stride_c);
    k->matmul(pool, &x);
}

/* rows cols */
static void run_row_sums(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t rows = a->c->size[0], cols = a->c->size[1];

    k->row_sums(pool, output(a, rows), input(a, rows * cols), rows, cols);
}

/* rows cols */
static void run_column_sums(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t rows = a->c->size[0], cols = a->c->size[1];

    k->column_sums(pool, output(a, cols), input(a, rows * cols), rows, cols);
}

/* n is the product of both sizes */
static void run_sum_squares(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t n = a->c->size[0] * a->c->size[1];
    const double sum = k->sum_squares(pool, input(a, n), n);
    float *halves = output(a, 3);

    memset(halves, 0, 3 * sizeof *halves);
    halves[2] = (float)sum;
    if (sum == sum)
        memcpy(halves, &sum, sizeof sum);
}

/* n is the product of both sizes; flags: 1 in place */
static void run_elementwise(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t n = a->c->size[0] * a->c->size[1];
    float *sum = updated(a, n), *scaled = updated(a, n);
    const float *x = input(a, n), *y = input(a, n);

    k->add(pool, sum, a->c->flags & 1 ? sum : x, y, n);
    k->scale(pool, scaled, a->c->flags & 1 ? scaled : x, 0.3f, n);
}

/* n is the product of both sizes; flags: the activation */
static void run_activation(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t n = a->c->size[0] * a->c->size[1];
    const fb_activation f = (fb_activation)(a->c->flags % FB_ACTIVATION_COUNT);
    float *x = input(a, n);
    const float *dy = input(a, n);

    for (size_t i = 0; i < n && a->c->seed % 2 == 0; i++)
        x[i] *= 6.0f; /* where the functions bend */
    k->activate(pool, f, output(a, n), x, n);
    k->activate_backward(pool, f, output(a, n), dy, x, n);
}

/* rows cols; flags: 1 bias */
static void run_layernorm(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t rows = a->c->size[0], cols = a->c->size[1];
    const float *x = input(a, rows * cols), *dy = input(a, rows * cols), *gain = input(a, cols);
    const float *bias = a->c->flags & 1 ? input(a, cols) : NULL;
    float *mean = output(a, rows), *rstd = output(a, rows);

    k->layernorm(pool, output(a, rows * cols), mean, rstd, x, gain, bias, rows, cols, 1e-5);
    k->layernorm_backward(pool, output(a, rows * cols), output(a, cols),
                          bias == NULL ? NULL : output(a, cols), dy, x, mean, rstd, gain, rows,
                          cols);
}

/* batch time heads head_dim; flags: 1 causal */
static void run_attention(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const fb_attention s = {a->c->size[0], a->c->size[1], a->c->size[2], a->c->size[3],
                            a->c->flags & 1};
    const size_t rows = s.batch * s.time, channels = s.heads * s.head_dim;
    float *out = output(a, rows * channels);
    float *max = output(a, rows * s.heads), *sum = output(a, rows * s.heads);
    const float *qkv = input(a, rows * 3 * channels), *dout = input(a, rows * channels);

    k->attention(pool, out, max, sum, qkv, &s);
    k->attention_backward(pool, output(a, rows * 3 * channels), dout, out, qkv, max, sum, &s);
}

/* batch time channels vocab; flags: 1 positions */
static void run_embedding(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t time = a->c->size[1], rows = a->c->size[0] * time;
    const size_t channels = a->c->size[2], vocab = a->c->size[3];
    uint32_t *tokens = malloc((rows + 1) * sizeof *tokens);
    uint64_t state = a->c->seed;
    const bool positions = a->c->flags & 1;

    a->blocks[a->block_count++] = tokens;
    for (size_t i = 0; i < rows; i++)
        tokens[i] = (uint32_t)(next_random(&state) % vocab);
    k->embedding(pool, output(a, rows * channels), input(a, vocab * channels),
                 positions ? input(a, time * channels) : NULL, tokens, rows, time, channels);
    k->embedding_backward(pool, output(a, vocab * channels),
                          positions ? output(a, time * channels) : NULL, input(a, rows * channels),
                          tokens, rows, time, channels, vocab);
}

/* rows cols; flags: 1 a count of 0 */
static void run_cross_entropy(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t rows = a->c->size[0], cols = a->c->size[1];
    float *losses = output(a, rows), *max = output(a, rows), *sum = output(a, rows);
    const float *x = input(a, rows * cols);
    int32_t *targets = malloc((rows + 1) * sizeof *targets);
    uint64_t state = a->c->seed;
    size_t count = 0;

    a->blocks[a->block_count++] = targets;
    for (size_t i = 0; i < rows; i++) {
        const uint64_t r = next_random(&state);
        targets[i] = r % 5 == 0 ? -1 - (int32_t)(r % 3) : (int32_t)((r >> 8) % cols);
        count += targets[i] >= 0;
    }
    k->cross_entropy(pool, losses, max, sum, x, targets, rows, cols);
    k->cross_entropy_backward(pool, output(a, rows * cols), x, max, sum, targets, rows, cols,
                              a->c->flags & 1 ? 0 : count + 3);
}

/* rows cols; flags: 1 a count of 0 */
static void run_squared_error(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t rows = a->c->size[0], cols = a->c->size[1], n = rows * cols;
    const float *x = input(a, n), *target = input(a, n);

    k->squared_error(pool, output(a, rows), x, target, rows, cols);
    k->squared_error_backward(pool, output(a, n), x, target, n, a->c->flags & 1 ? 0 : n + 7);
}

/* batch in_channels in_height in_width out_channels kernel stride pad; the width's kernel is one
 * more where it fits, its stride and padding one less */
static fb_conv2d conv_shape(const size_t *s)
{
    fb_conv2d x = {.batch = s[0],
                   .in_channels = s[1],
                   .in_height = s[2],
                   .in_width = s[3],
                   .out_channels = s[4],
                   .kernel_height = s[5],
                   .stride_height = s[6],
                   .pad_height = s[7]};

    x.kernel_width = s[5] + (s[3] > s[5]);
    x.stride_width = s[6] > 1 ? s[6] - 1 : 1;
    x.pad_width = s[7] > 0 ? s[7] - 1 : 0;
    x.out_height = (x.in_height + 2 * x.pad_height - x.kernel_height) / x.stride_height + 1;
    x.out_width = (x.in_width + 2 * x.pad_width - x.kernel_width) / x.stride_width + 1;
    return x;
}

/* flags: 1 bias */
static void run_conv2d(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const fb_conv2d s = conv_shape(a->c->size);
    const size_t in = s.batch * s.in_channels * s.in_height * s.in_width;
    const size_t out = s.batch * s.out_channels * s.out_height * s.out_width;
    const size_t taps = s.out_channels * s.in_channels * s.kernel_height * s.kernel_width;
    const float *x = input(a, in), *weight = input(a, taps), *dy = input(a, out);
    const bool bias = a->c->flags & 1;

    k->conv2d(pool, output(a, out), x, weight, bias ? input(a, s.out_channels) : NULL, &s);
    k->conv2d_backward_input(pool, output(a, in), dy, weight, &s);
    k->conv2d_backward_weight(pool, output(a, taps), bias ? output(a, s.out_channels) : NULL, dy, x,
                              &s);
}

/* as conv2d; padding is below the kernel, so that every window holds an element */
static void run_pool2d(arena *a, const fb_kernels *k, fb_pool *pool)
{
    fb_conv2d s = conv_shape(a->c->size);
    size_t in, out;
    float *argmax, *dy;
    const float *x;

    s.out_channels = s.in_channels;
    in = s.batch * s.in_channels * s.in_height * s.in_width;
    out = s.batch * s.out_channels * s.out_height * s.out_width;
    argmax = output(a, out);
    x = input(a, in);
    dy = input(a, out);
    k->maxpool2d(pool, output(a, out), (uint32_t *)(void *)argmax, x, &s);
    k->maxpool2d_backward(pool, output(a, in), dy, (uint32_t *)(void *)argmax, &s);
    k->avgpool2d(pool, output(a, out), x, &s);
    k->avgpool2d_backward(pool, output(a, in), dy, &s);
}

/* n is the product of both sizes; position */
static void run_random(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t n = a->c->size[0] * a->c->size[1];
    const uint64_t position = a->c->size[2];
    const fb_philox stream = {a->c->seed * 0x9e3779b97f4a7c15, (uint32_t)a->c->seed, 77};
    float *y = updated(a, n);

    k->dropout(pool, y, y, n, (double)(a->c->seed % 10) / 10, &stream, position);
    k->fill_normal(pool, output(a, n), n, 0.25f, 0.02f, &stream, position);
}

/* n is the product of both sizes; flags: 1 decoupled or nesterov, 2 decay, 4 first, 8 no momentum
 */
static void run_optimizer(arena *a, const fb_kernels *k, fb_pool *pool)
{
    const size_t n = a->c->size[0] * a->c->size[1];
    const unsigned flags = a->c->flags;
    const fb_adam_step adam = {.lr = 3e-4,
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .eps = 1e-8,
                               .weight_decay = flags & 2 ? 0.1 : 0.0,
                               .beta1_power = 0.729,
                               .beta2_power = 0.997002999,
                               .decoupled = flags & 1};
    const fb_sgd_step sgd = {.lr = 0.05,
                             .momentum = flags & 8 ? 0.0 : 0.9,
                             .dampening = flags & 4 ? 0.2 : 0.0,
                             .weight_decay = flags & 2 ? 0.01 : 0.0,
                             .nesterov = flags & 1,
                             .first = flags & 4};
    float *v;

    k->sgd(pool, updated(a, n), flags & 8 ? NULL : updated(a, n), input(a, n), n, &sgd);
    v = updated(a, n);
    for (size_t i = 0; i < n; i++)
        v[i] = v[i] < 0.0f ? -v[i] : v[i];
    k->adam(pool, updated(a, n), updated(a, n), v, input(a, n), n, &adam);
}

void run_case(outputs *out, const kernel_case *c, const fb_kernels *kernels, fb_pool *pool)
{
    arena a = {.c = c, .out = out};

    out->count = 0;
    out->damaged = NULL;
    switch (c->kind) {
#define CASE_RUN(name)                                                                             \
    case CASE_##name:                                                                              \
        run_##name(&a, kernels, pool);                                                             \
        break;
        CASE_LIST(CASE_RUN)
#undef CASE_RUN
    case CASE_COUNT:
        break;
    }
    finish(&a);
}

void free_outputs(outputs *out)
{
    free(out->values);
    *out = (outputs){0};
}

const char *case_text(char text[256], const kernel_case *c)
{
#define CASE_NAME(name) #name,
    static const char *const names[] = {CASE_LIST(CASE_NAME)};
#undef CASE_NAME
    snprintf(text, 256, "%s %zu %zu %zu %zu %zu %zu %zu %zu flags %u numbers %d seed %llu",
             names[c->kind], c->size[0], c->size[1], c->size[2], c->size[3], c->size[4], c->size[5],
             c->size[6], c->size[7], c->flags, (int)c->numbers, (unsigned long long)c->seed);
    return text;
}

size_t first_difference(const outputs *a, const outputs *b)
{
    if (a->count != b->count)
        return 0;
    for (size_t i = 0; i < a->count; i++) {
        const float x = a->values[i], y = b->values[i];
        if (fb_float_bits(x) != fb_float_bits(y) && !(x != x && y != y))
            return i;
    }
    return SIZE_MAX;
}

kernel_case random_case(case_kind kind, uint64_t seed, size_t limit)
{
    uint64_t state = seed * 31 + (uint64_t)kind;
    kernel_case c = {.kind = kind, .seed = seed};

    for (size_t i = 0; i < 8; i++)
        c.size[i] = next_random(&state) % (limit + 1);
    c.flags = (unsigned)(next_random(&state) % 32);
    c.numbers = (numbers)(next_random(&state) % NUMBERS_COUNT);
    switch (kind) {
    case CASE_matmul:
        c.size[2] = next_random(&state) % (limit * 12 + 1);
        c.size[3] = 1 + c.size[3] % 3;
        c.size[4] %= 4;
        break;
    case CASE_attention:
        c.size[0] = 1 + c.size[0] % 2;
        c.size[1] = next_random(&state) % (limit * 6 + 1);
        c.size[2] = 1 + c.size[2] % 3;
        c.size[3] = 1 + c.size[3];
        break;
    case CASE_embedding:
        c.size[1] += 1;
        c.size[3] += 1;
        break;
    case CASE_cross_entropy:
        c.size[1] = 1 + c.size[1] * 7;
        break;
    case CASE_row_sums:
        c.size[1] *= 97;
        break;
    case CASE_conv2d:
    case CASE_pool2d:
        c.size[0] %= 3;
        c.size[5] = 1 + c.size[5] % 4;
        c.size[1] %= 9;
        c.size[2] = c.size[5] + c.size[2] % 13;
        c.size[3] = c.size[5] + c.size[3] % 13;
        c.size[4] %= 18;
        c.size[6] = 1 + c.size[6] % 3;
        c.size[7] %= (c.size[5] + 1) / 2 + (c.size[5] == 1 ? 0 : 1);
        break;
    default:
        break;
    }
    return c;
}
