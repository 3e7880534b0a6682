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

/* --- Attention -------------------------------------------------------------------------------- */

static const float *part_of(const float *qkv, const fb_attention *s, size_t batch, size_t head,
                            size_t i, size_t which)
{
    const size_t channels = s->heads * s->head_dim;
    return qkv + (batch * s->time + i) * 3 * channels + which * channels + head * s->head_dim;
}

static bool sees(const fb_attention *s, size_t query, size_t key)
{
    return !s->causal || key <= query;
}

static float dot(const float *a, const float *b, size_t n)
{
    chain sum = {0};

    for (size_t i = 0; i < n; i++)
        chain_step(&sum, i, a[i], b[i]);
    return chain_end(&sum);
}

/* p of one head, [T,T]; max and sum are found when they are not given. */
static void probabilities(float *p, float *max, float *sum, bool given, const float *qkv,
                          const fb_attention *s, size_t batch, size_t head)
{
    const float factor = (float)(1.0 / sqrt((double)s->head_dim));

    for (size_t i = 0; i < s->time; i++) {
        const size_t keys = s->causal ? i + 1 : s->time;
        float *row_i = p + i * s->time;

        for (size_t j = 0; j < keys; j++)
            row_i[j] = dot(part_of(qkv, s, batch, head, i, 0), part_of(qkv, s, batch, head, j, 1),
                           s->head_dim) *
                       factor;
        if (!given)
            max[i] = maximum(row_i, keys);
        for (size_t j = 0; j < keys; j++)
            row_i[j] = exact_value(PROBE_exp, row_i[j] - max[i]);
        if (!given)
            sum[i] = (float)row(row_i, keys);
        for (size_t j = 0; j < keys; j++)
            row_i[j] = row_i[j] / sum[i];
    }
}

static void attention(fb_pool *pool, float *out, float *row_max, float *row_sum, const float *qkv,
                      const fb_attention *s)
{
    float *p = floats(s->time * s->time);

    (void)pool;
    for (size_t batch = 0; batch < s->batch; batch++)
        for (size_t head = 0; head < s->heads; head++) {
            const size_t at = (batch * s->heads + head) * s->time;

            probabilities(p, row_max + at, row_sum + at, false, qkv, s, batch, head);
            for (size_t i = 0; i < s->time; i++)
                for (size_t d = 0; d < s->head_dim; d++) {
                    chain sum = {0};
                    for (size_t j = 0; j < s->time; j++)
                        if (sees(s, i, j))
                            chain_step(&sum, j, p[i * s->time + j],
                                       part_of(qkv, s, batch, head, j, 2)[d]);
                    out[((batch * s->time + i) * s->heads + head) * s->head_dim + d] =
                        chain_end(&sum);
                }
        }
    free(p);
}

static void attention_backward(fb_pool *pool, float *dqkv, const float *dout, const float *out,
                               const float *qkv, const float *row_max, const float *row_sum,
                               const fb_attention *s)
{
    const size_t T = s->time, D = s->head_dim, C = s->heads * D;
    const float factor = (float)(1.0 / sqrt((double)D));
    float *p = floats(T * T), *ds = floats(T * T), *products = floats(D);
    float *max = floats(T), *sum = floats(T);

    (void)pool;
    for (size_t n = 0; n < s->batch * s->heads; n++) {
        const size_t batch = n / s->heads, head = n % s->heads;
        const float *o = out + batch * T * C + head * D, *g = dout + batch * T * C + head * D;

        memcpy(max, row_max + n * T, T * sizeof *max);
        memcpy(sum, row_sum + n * T, T * sizeof *sum);
        probabilities(p, max, sum, true, qkv, s, batch, head);
        for (size_t i = 0; i < T; i++) {
            float total;

            for (size_t d = 0; d < D; d++)
                products[d] = g[i * C + d] * o[i * C + d];
            total = (float)row(products, D);
            for (size_t j = 0; j < T; j++)
                if (sees(s, i, j))
                    ds[i * T + j] =
                        (p[i * T + j] *
                         (dot(g + i * C, part_of(qkv, s, batch, head, j, 2), D) - total)) *
                        factor;
        }
        for (size_t i = 0; i < T; i++)
            for (size_t d = 0; d < D; d++) {
                float *to = dqkv + (batch * T + i) * 3 * C + head * D + d;
                chain dq = {0}, dk = {0}, dv = {0};

                for (size_t j = 0; j < T; j++) {
                    if (sees(s, i, j))
                        chain_step(&dq, j, ds[i * T + j], part_of(qkv, s, batch, head, j, 1)[d]);
                    if (!sees(s, j, i))
                        continue;
                    chain_step(&dk, j, ds[j * T + i], part_of(qkv, s, batch, head, j, 0)[d]);
                    chain_step(&dv, j, p[j * T + i], g[j * C + d]);
                }
                to[0] = chain_end(&dq);
                to[C] = chain_end(&dk);
                to[2 * C] = chain_end(&dv);
            }
    }
    free(p);
    free(ds);
    free(products);
    free(max);
    free(sum);
}

/* --- Embedding and losses --------------------------------------------------------------------- */

static void embedding(fb_pool *pool, float *y, const float *weight, const float *positions,
                      const uint32_t *tokens, size_t rows, size_t time, size_t channels)
{
    (void)pool;
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < channels; c++) {
            y[r * channels + c] = weight[tokens[r] * channels + c];
            if (positions != NULL)
                y[r * channels + c] += positions[r % time * channels + c];
        }
}

static void embedding_backward(fb_pool *pool, float *dweight, float *dpositions, const float *dy,
                               const uint32_t *tokens, size_t rows, size_t time, size_t channels,
                               size_t vocab)
{
    (void)pool;
    for (size_t v = 0; v < vocab; v++)
        for (size_t c = 0; c < channels; c++) {
            double sum = 0.0;
            for (size_t r = 0; r < rows; r++)
                if (tokens[r] == v)
                    sum += (double)dy[r * channels + c];
            dweight[v * channels + c] = (float)sum;
        }
    for (size_t t = 0; dpositions != NULL && t < time; t++)
        for (size_t c = 0; c < channels; c++) {
            double sum = 0.0;
            for (size_t r = t; r < rows; r += time)
                sum += (double)dy[r * channels + c];
            dpositions[t * channels + c] = (float)sum;
        }
}

static void cross_entropy(fb_pool *pool, float *losses, float *row_max, float *row_sum,
                          const float *logits, const int32_t *targets, size_t rows, size_t cols)
{
    float *e = floats(cols);

    (void)pool;
    for (size_t r = 0; r < rows; r++, logits += cols) {
        row_max[r] = maximum(logits, cols);
        for (size_t j = 0; j < cols; j++)
            e[j] = exact_value(PROBE_exp, logits[j] - row_max[r]);
        row_sum[r] = (float)row(e, cols);
        losses[r] = 0.0f;
        if (targets[r] >= 0)
            losses[r] = (exact_value(PROBE_log, row_sum[r]) + row_max[r]) - logits[targets[r]];
    }
    free(e);
}

static void cross_entropy_backward(fb_pool *pool, float *dlogits, const float *logits,
                                   const float *row_max, const float *row_sum,
                                   const int32_t *targets, size_t rows, size_t cols, size_t count)
{
    (void)pool;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < cols; j++) {
            const size_t at = r * cols + j;
            float p = exact_value(PROBE_exp, logits[at] - row_max[r]) / row_sum[r];

            if (targets[r] == (int32_t)j)
                p = p - 1.0f;
            dlogits[at] = targets[r] < 0 || count == 0 ? 0.0f : (float)((double)p / (double)count);
        }
}

static void squared_error(fb_pool *pool, float *losses, const float *x, const float *target,
                          size_t rows, size_t cols)
{
    float *squares = floats(cols);

    (void)pool;
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < cols; j++) {
            const float d = x[r * cols + j] - target[r * cols + j];
            squares[j] = d * d;
        }
        losses[r] = (float)row(squares, cols);
    }
    free(squares);
}

static void squared_error_backward(fb_pool *pool, float *dx, const float *x, const float *target,
                                   size_t n, size_t count)
{
    (void)pool;
    for (size_t i = 0; i < n; i++) {
        const float d = x[i] - target[i];
        dx[i] = count == 0 ? 0.0f : (float)((double)(2.0f * d) / (double)count);
    }
}

/* --- Planes ----------------------------------------------------------------------------------- */

/* x[n][c][h][w], +0 outside the plane; h and w count from the padding's corner. */
static float pixel(const fb_conv2d *s, const float *x, size_t n, size_t c, size_t h, size_t w)
{
    if (h < s->pad_height || w < s->pad_width || h - s->pad_height >= s->in_height ||
        w - s->pad_width >= s->in_width)
        return 0.0f;
    return x[((n * s->in_channels + c) * s->in_height + h - s->pad_height) * s->in_width + w -
             s->pad_width];
}

#define FOR(i, n) for (size_t i = 0; i < (n); i++)

static void conv2d(fb_pool *pool, float *y, const float *x, const float *weight, const float *bias,
                   const fb_conv2d *s)
{
    (void)pool;
    FOR(n, s->batch)
    FOR(o, s->out_channels)
    FOR(h, s->out_height)
    FOR(w, s->out_width)
    {
        chain sum = {0};
        size_t k = 0;

        FOR(c, s->in_channels)
        FOR(i, s->kernel_height)
        FOR(j, s->kernel_width)
        {
            chain_step(&sum, k, weight[o * s->in_channels * s->kernel_height * s->kernel_width + k],
                       pixel(s, x, n, c, h * s->stride_height + i, w * s->stride_width + j));
            k++;
        }
        *y = chain_end(&sum);
        if (bias != NULL)
            *y += bias[o];
        y++;
    }
}

static void conv2d_backward_input(fb_pool *pool, float *dx, const float *dy, const float *weight,
                                  const fb_conv2d *s)
{
    (void)pool;
    FOR(n, s->batch)
    FOR(c, s->in_channels)
    FOR(h, s->in_height)
    FOR(w, s->in_width)
    {
        chain sum = {0};
        size_t k = 0;

        FOR(o, s->out_channels)
        FOR(i, s->kernel_height)
        FOR(j, s->kernel_width)
        {
            float value = 0.0f;
            FOR(oh, s->out_height)
            FOR(ow, s->out_width)
            if (oh * s->stride_height + i == h + s->pad_height &&
                ow * s->stride_width + j == w + s->pad_width)
                value = dy[((n * s->out_channels + o) * s->out_height + oh) * s->out_width + ow];
            chain_step(
                &sum, k++,
                weight[((o * s->in_channels + c) * s->kernel_height + i) * s->kernel_width + j],
                value);
        }
        *dx++ = chain_end(&sum);
    }
}

static void conv2d_backward_weight(fb_pool *pool, float *dweight, float *dbias, const float *dy,
                                   const float *x, const fb_conv2d *s)
{
    const size_t plane = s->out_height * s->out_width;

    (void)pool;
    FOR(o, s->out_channels)
    FOR(c, s->in_channels)
    FOR(i, s->kernel_height)
    FOR(j, s->kernel_width)
    {
        chain sum = {0};
        size_t k = 0;

        FOR(n, s->batch)
        FOR(h, s->out_height)
        FOR(w, s->out_width)
        chain_step(&sum, k++,
                   dy[((n * s->out_channels + o) * s->out_height + h) * s->out_width + w],
                   pixel(s, x, n, c, h * s->stride_height + i, w * s->stride_width + j));
        *dweight++ = chain_end(&sum);
    }
    for (size_t o = 0; dbias != NULL && o < s->out_channels; o++) {
        double sum = 0.0;
        FOR(n, s->batch)
        FOR(i, plane)
        sum += (double)dy[(n * s->out_channels + o) * plane + i];
        dbias[o] = (float)sum;
    }
}

static void maxpool2d(fb_pool *pool, float *y, uint32_t *argmax, const float *x, const fb_conv2d *s)
{
    (void)pool;
    FOR(plane, s->batch * s->in_channels)
    FOR(h, s->out_height)
    FOR(w, s->out_width)
    {
        const float *from = x + plane * s->in_height * s->in_width;
        bool found = false;

        FOR(i, s->kernel_height)
        FOR(j, s->kernel_width)
        {
            const size_t r = h * s->stride_height + i, c = w * s->stride_width + j;
            float value;
            size_t at;

            if (r < s->pad_height || c < s->pad_width || r - s->pad_height >= s->in_height ||
                c - s->pad_width >= s->in_width)
                continue;
            at = (r - s->pad_height) * s->in_width + c - s->pad_width;
            value = from[at];
            if (found && !(value > *y) && !(isnan(value) && !isnan(*y)))
                continue;
            *y = value;
            *argmax = (uint32_t)at;
            found = true;
        }
        y++;
        argmax++;
    }
}

static void maxpool2d_backward(fb_pool *pool, float *dx, const float *dy, const uint32_t *argmax,
                               const fb_conv2d *s)
{
    const size_t in = s->in_height * s->in_width, out = s->out_height * s->out_width;

    (void)pool;
    FOR(plane, s->batch * s->in_channels)
    FOR(i, in)
    {
        double sum = 0.0;
        FOR(o, out)
        if (argmax[plane * out + o] == i)
            sum += (double)dy[plane * out + o];
        dx[plane * in + i] = (float)sum;
    }
}

static void avgpool2d(fb_pool *pool, float *y, const float *x, const fb_conv2d *s)
{
    const size_t area = s->kernel_height * s->kernel_width;
    float *window = floats(area);

    (void)pool;
    FOR(n, s->batch)
    FOR(c, s->in_channels)
    FOR(h, s->out_height)
    FOR(w, s->out_width)
    {
        FOR(i, area)
        window[i] = pixel(s, x, n, c, h * s->stride_height + i / s->kernel_width,
                          w * s->stride_width + i % s->kernel_width);
        *y++ = (float)(row(window, area) / (double)area);
    }
    free(window);
}

static void avgpool2d_backward(fb_pool *pool, float *dx, const float *dy, const fb_conv2d *s)
{
    const double area = (double)(s->kernel_height * s->kernel_width);

    (void)pool;
    FOR(plane, s->batch * s->in_channels)
    FOR(h, s->in_height)
    FOR(w, s->in_width)
    {
        double sum = 0.0;
        FOR(oh, s->out_height)
        FOR(ow, s->out_width)
        {
            const size_t r = h + s->pad_height, c = w + s->pad_width;
            if (r >= oh * s->stride_height && r < oh * s->stride_height + s->kernel_height &&
                c >= ow * s->stride_width && c < ow * s->stride_width + s->kernel_width)
                sum += (double)dy[(plane * s->out_height + oh) * s->out_width + ow];
        }
        *dx++ = (float)(sum / area);
    }
}

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
