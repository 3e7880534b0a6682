/* SPDX-License-Identifier: Apache-2.0
 *
 * naive.c - contract 1 from its text: every sum a loop in the order that the text gives, fmaf and
 * sqrt of libm (both exact), scalar functions of exact.c.
 */
#include "tests/kernels/naive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels/exact.h"
#include "tests/kernels/probe.h"

/* --- Sums ------------------------------------------------------------------------------------- */

/* The tree by its definition: the largest power of two below n goes left. */
static double tree(const double *parts, size_t n)
{
    size_t left = 1;

    if (n == 0)
        return 0.0;
    if (n == 1)
        return parts[0];
    while (2 * left < n)
        left *= 2;
    return tree(parts, left) + tree(parts + left, n - left);
}

static double chunk(const double *x, size_t n)
{
    double lane[16] = {0};

    for (size_t i = 0; i < n; i++)
        lane[i % 16] += x[i];
    for (size_t h = 8; h > 0; h /= 2)
        for (size_t j = 0; j < h; j++)
            lane[j] += lane[j + h];
    return lane[0];
}

static double row_of_doubles(const double *x, size_t n)
{
    const size_t chunks = (n + 4095) / 4096;
    double *parts = malloc((chunks + 1) * sizeof *parts), sum;

    for (size_t i = 0; i < chunks; i++)
        parts[i] = chunk(x + i * 4096, n - i * 4096 < 4096 ? n - i * 4096 : 4096);
    sum = tree(parts, chunks);
    free(parts);
    return sum;
}

static double row(const float *x, size_t n)
{
    double *wide = malloc((n + 1) * sizeof *wide), sum;

    for (size_t i = 0; i < n; i++)
        wide[i] = (double)x[i];
    sum = row_of_doubles(wide, n);
    free(wide);
    return sum;
}

static float *floats(size_t n)
{
    return malloc((n + 1) * sizeof(float));
}

static float maximum(const float *x, size_t n)
{
    float best = x[0];

    for (size_t i = 0; i < n; i++)
        if (isnan(x[i]))
            return x[i];
    for (size_t i = 1; i < n; i++)
        if (x[i] > best)
            best = x[i];
    return best;
}

/* --- Products --------------------------------------------------------------------------------- */

/* One element of a product; a step for which `present` is false is in no reduced index. */
typedef struct chain {
    float sum, p;
    size_t block;
    bool started, any;
} chain;

static void chain_step(chain *c, size_t k, float a, float b)
{
    if (!c->started || k / 256 != c->block) {
        if (c->started)
            c->sum = c->any ? c->sum + c->p : c->p;
        c->any = c->any || c->started;
        c->block = k / 256;
        c->p = 0.0f;
        c->started = true;
    }
    c->p = fmaf(a, b, c->p);
}

static float chain_end(const chain *c)
{
    if (!c->started)
        return c->any ? c->sum : 0.0f;
    return c->any ? c->sum + c->p : c->p;
}

static chain chain_from(float start)
{
    return (chain){.sum = start, .any = true};
}

static void matmul(fb_pool *pool, const fb_matmul *x)
{
    (void)pool;
    for (size_t batch = 0; batch < x->batch; batch++)
        for (size_t i = 0; i < x->m; i++)
            for (size_t j = 0; j < x->n; j++) {
                const float *a = x->a + batch * x->stride_a, *b = x->b + batch * x->stride_b;
                float *c = x->c + batch * x->stride_c + i * x->ldc + j;
                chain sum = x->accumulate ? chain_from(*c) : (chain){0};

                for (size_t k = 0; k < x->k; k++)
                    chain_step(&sum, k, x->a_transposed ? a[k * x->lda + i] : a[i * x->lda + k],
                               x->b_transposed ? b[j * x->ldb + k] : b[k * x->ldb + j]);
                *c = chain_end(&sum);
                if (x->bias != NULL)
                    *c += x->bias[j];
            }
}

/* --- Reductions and elementwise --------------------------------------------------------------- */

static void row_sums(fb_pool *pool, float *sums, const float *x, size_t rows, size_t cols)
{
    (void)pool;
    for (size_t r = 0; r < rows; r++)
        sums[r] = (float)row(x + r * cols, cols);
}

static void column_sums(fb_pool *pool, float *out, const float *x, size_t rows, size_t cols)
{
    (void)pool;
    for (size_t j = 0; j < cols; j++) {
        double sum = 0.0;
        for (size_t r = 0; r < rows; r++)
            sum += (double)x[r * cols + j];
        out[j] = (float)sum;
    }
}

static double sum_squares(fb_pool *pool, const float *x, size_t n)
{
    float *squares = floats(n);
    double sum;

    (void)pool;
    for (size_t i = 0; i < n; i++)
        squares[i] = x[i] * x[i];
    sum = row(squares, n);
    free(squares);
    return sum;
}

static void add(fb_pool *pool, float *y, const float *a, const float *b, size_t n)
{
    (void)pool;
    for (size_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

static void scale(fb_pool *pool, float *y, const float *x, float factor, size_t n)
{
    (void)pool;
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * factor;
}

static const int functions[FB_ACTIVATION_COUNT][2] = {
    [FB_ACTIVATION_TANH] = {PROBE_tanh, PROBE_tanh_slope},
    [FB_ACTIVATION_SIGMOID] = {PROBE_sigmoid, PROBE_sigmoid_slope},
    [FB_ACTIVATION_SILU] = {PROBE_silu, PROBE_silu_slope},
    [FB_ACTIVATION_GELU] = {PROBE_gelu, PROBE_gelu_slope},
    [FB_ACTIVATION_GELU_TANH] = {PROBE_gelu_tanh, PROBE_gelu_tanh_slope},
    [FB_ACTIVATION_SOFTPLUS] = {PROBE_softplus, PROBE_sigmoid},
};

static void activate(fb_pool *pool, fb_activation f, float *y, const float *x, size_t n)
{
    (void)pool;
    for (size_t i = 0; i < n; i++)
        if (f == FB_ACTIVATION_RELU)
            y[i] = x[i] <= 0.0f ? 0.0f : x[i];
        else
            y[i] = exact_value(functions[f][0], x[i]);
}

static void activate_backward(fb_pool *pool, fb_activation f, float *dx, const float *dy,
                              const float *x, size_t n)
{
    (void)pool;
    for (size_t i = 0; i < n; i++)
        if (f == FB_ACTIVATION_RELU)
            dx[i] = x[i] <= 0.0f ? 0.0f : dy[i];
        else
            dx[i] = dy[i] * exact_value(functions[f][1], x[i]);
}

/* --- Layernorm -------------------------------------------------------------------------------- */

static void layernorm(fb_pool *pool, float *y, float *mean, float *rstd, const float *x,
                      const float *gain, const float *bias, size_t rows, size_t cols, double eps)
{
    double *squares = malloc((cols + 1) * sizeof *squares);

    (void)pool;
    for (size_t r = 0; r < rows; r++, x += cols, y += cols) {
        const double m = row(x, cols) / (double)cols;

        for (size_t j = 0; j < cols; j++)
            squares[j] = ((double)x[j] - m) * ((double)x[j] - m);
        mean[r] = (float)m;
        rstd[r] = (float)(1.0 / sqrt(row_of_doubles(squares, cols) / (double)cols + eps));
        for (size_t j = 0; j < cols; j++) {
            const float xhat = (x[j] - mean[r]) * rstd[r];
            y[j] = xhat * gain[j];
            if (bias != NULL)
                y[j] += bias[j];
        }
    }
    free(squares);
}

static void layernorm_backward(fb_pool *pool, float *dx, float *dgain, float *dbias,
                               const float *dy, const float *x, const float *mean,
                               const float *rstd, const float *gain, size_t rows, size_t cols)
{
    float *h = floats(cols), *along = floats(cols), *xhat = floats(rows * cols);

    for (size_t r = 0; r < rows; r++) {
        float c1, c2;

        for (size_t j = 0; j < cols; j++) {
            const size_t at = r * cols + j;
            xhat[at] = (x[at] - mean[r]) * rstd[r];
            h[j] = dy[at] * gain[j];
            along[j] = h[j] * xhat[at];
        }
        c1 = (float)(row(h, cols) / (double)cols);
        c2 = (float)(row(along, cols) / (double)cols);
        for (size_t j = 0; j < cols; j++)
            dx[r * cols + j] = ((h[j] - c1) - xhat[r * cols + j] * c2) * rstd[r];
    }
    for (size_t i = 0; i < rows * cols; i++)
        xhat[i] = dy[i] * xhat[i];
    column_sums(pool, dgain, xhat, rows, cols);
    if (dbias != NULL)
        column_sums(pool, dbias, dy, rows, cols);
    free(h);
    free(along);
    free(xhat);
}

#include "tests/kernels/naive_attention.inc"
#include "tests/kernels/naive_losses.inc"
#include "tests/kernels/naive_planes.inc"

/* --- Random numbers and optimizers ------------------------------------------------------------ */

/* Philox4x32-10 of one counter, from the paper. */
static uint32_t word(const fb_philox *stream, uint64_t position)
{
    uint32_t c[4] = {(uint32_t)(position >> 2), (uint32_t)(position >> 34), stream->step,
                     stream->stream};
    uint32_t k[2] = {(uint32_t)stream->seed, (uint32_t)(stream->seed >> 32)};

    for (int i = 0; i < 10; i++) {
        const uint64_t p0 = (uint64_t)c[0] * 0xD2511F53, p1 = (uint64_t)c[2] * 0xCD9E8D57;
        const uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k[0], (uint32_t)p1,
                                  (uint32_t)(p0 >> 32) ^ c[3] ^ k[1], (uint32_t)p0};
        memcpy(c, next, sizeof c);
        k[0] += 0x9E3779B9;
        k[1] += 0xBB67AE85;
    }
    return c[position & 3];
}

static void dropout(fb_pool *pool, float *y, const float *x, size_t n, double p,
                    const fb_philox *stream, uint64_t position)
{
    const float factor = (float)(1.0 / (1.0 - p));

    (void)pool;
    for (size_t i = 0; i < n; i++)
        y[i] = (double)word(stream, position + i) >= floor(p * 4294967296.0) ? x[i] * factor : 0.0f;
}

static void fill_normal(fb_pool *pool, float *out, size_t n, float mean, float std,
                        const fb_philox *stream, uint64_t position)
{
    (void)pool;
    for (size_t i = 0; i < n; i++) {
        const uint64_t pair = (position + i) / 2;
        const float u1 = (float)((word(stream, 2 * pair) >> 8) + 1) / 16777216.0f;
        const float u2 = (float)(word(stream, 2 * pair + 1) >> 8) / 16777216.0f;
        const float r = sqrtf(-2.0f * exact_value(PROBE_log, u1));
        const float theta = (float)6.283185307179586476925286766559 * u2;
        const float z = r * exact_value((position + i) % 2 == 0 ? PROBE_cos : PROBE_sin, theta);
        out[i] = mean + std * z;
    }
}

static void adam(fb_pool *pool, float *p, float *m, float *v, const float *g, size_t n,
                 const fb_adam_step *s)
{
    const float step = (float)(s->lr / (1.0 - s->beta1_power));
    const float root = (float)sqrt(1.0 - s->beta2_power);

    (void)pool;
    for (size_t i = 0; i < n; i++) {
        float gradient = g[i];

        if (s->weight_decay != 0.0 && s->decoupled)
            p[i] = p[i] * (float)(1.0 - s->lr * s->weight_decay);
        else if (s->weight_decay != 0.0)
            gradient = gradient + (float)s->weight_decay * p[i];
        m[i] = (float)s->beta1 * m[i] + (float)(1.0 - s->beta1) * gradient;
        v[i] = (float)s->beta2 * v[i] + (float)(1.0 - s->beta2) * (gradient * gradient);
        p[i] = p[i] - step * (m[i] / (sqrtf(v[i]) / root + (float)s->eps));
    }
}

static void sgd(fb_pool *pool, float *p, float *momentum, const float *g, size_t n,
                const fb_sgd_step *s)
{
    (void)pool;
    for (size_t i = 0; i < n; i++) {
        float d = g[i];

        if (s->weight_decay != 0.0)
            d = d + (float)s->weight_decay * p[i];
        if (s->momentum != 0.0) {
            momentum[i] =
                s->first ? d : (float)s->momentum * momentum[i] + (float)(1.0 - s->dampening) * d;
            d = s->nesterov ? d + (float)s->momentum * momentum[i] : momentum[i];
        }
        p[i] = p[i] - (float)s->lr * d;
    }
}

const fb_kernels naive_kernels = {
    .name = "naive",
    .contract = FB_CONTRACT,
    .matmul = matmul,
    .row_sums = row_sums,
    .column_sums = column_sums,
    .sum_squares = sum_squares,
    .add = add,
    .scale = scale,
    .activate = activate,
    .activate_backward = activate_backward,
    .layernorm = layernorm,
    .layernorm_backward = layernorm_backward,
    .attention = attention,
    .attention_backward = attention_backward,
    .embedding = embedding,
    .embedding_backward = embedding_backward,
    .cross_entropy = cross_entropy,
    .cross_entropy_backward = cross_entropy_backward,
    .squared_error = squared_error,
    .squared_error_backward = squared_error_backward,
    .conv2d = conv2d,
    .conv2d_backward_input = conv2d_backward_input,
    .conv2d_backward_weight = conv2d_backward_weight,
    .maxpool2d = maxpool2d,
    .maxpool2d_backward = maxpool2d_backward,
    .avgpool2d = avgpool2d,
    .avgpool2d_backward = avgpool2d_backward,
    .dropout = dropout,
    .fill_normal = fill_normal,
    .adam = adam,
    .sgd = sgd,
};
