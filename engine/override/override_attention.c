/* SPDX-License-Identifier: Apache-2.0
 *
 * override_attention.c - attention written out plainly: float64 sums in ascending order, narrowed
 * once. Deterministic, not fast: the bits are those of the override, not of contract 1.
 */
#include "engine/override/override_attention.h"

#include <math.h>
#include <string.h>

/* 2^n · Taylor's polynomial of the rest, |t| <= ln(2)/2; the first term left out is below 2^-57. */
double fb__exp_below_0(double x)
{
    const double ln2 = 0.69314718055994530942;
    const double n = floor(x / ln2 + 0.5), t = x - n * ln2;
    double p = 1.0;

    if (x < -700.0)
        return 0.0;
    for (int k = 16; k > 0; k--)
        p = 1.0 + p * t / k;
    return ldexp(p, (int)n);
}

/* One head of one sequence; rows of q, k, v are 3C apart, those of out C. */
typedef struct head {
    const float *q, *k, *v;
    size_t time, dim, channels;
    double scale;
    const fb__attention_rule *rule;
} head;

static head head_at(const float *qkv, const fb_attention *s, const fb__attention_rule *rule,
                    size_t index)
{
    const size_t channels = s->heads * s->head_dim;
    const float *q =
        qkv + index / s->heads * s->time * 3 * channels + index % s->heads * s->head_dim;
    const double scale = rule->scale != 0.0 ? rule->scale : 1.0 / sqrt((double)s->head_dim);

    return (head){q, q + channels, q + 2 * channels, s->time, s->head_dim, channels, scale, rule};
}

static double dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;

    for (size_t d = 0; d < n; d++)
        sum += (double)a[d] * (double)b[d];
    return sum;
}

/* Keys from *first to *end - 1 that query i sees; at least one. */
static void visible(const head *h, size_t i, size_t *first, size_t *end)
{
    int64_t last = (int64_t)i + h->rule->ahead, from;

    last = last < 0 ? 0 : last >= (int64_t)h->time ? (int64_t)h->time - 1 : last;
    from = h->rule->window > 0 ? last - h->rule->window + 1 : 0;
    *first = from < 0 ? 0 : (size_t)from;
    *end = (size_t)last + 1;
}

static double score(const head *h, size_t i, size_t j)
{
    return h->scale * dot(h->q + i * 3 * h->channels, h->k + j * 3 * h->channels, h->dim);
}

/* Maximum and denominator of query i's softmax. */
static void softmax_of(const head *h, size_t i, double *max, double *sum)
{
    size_t first, end;

    visible(h, i, &first, &end);
    *max = score(h, i, first);
    for (size_t j = first + 1; j < end; j++)
        *max = fmax(*max, score(h, i, j));
    *sum = 0.0;
    for (size_t j = first; j < end; j++)
        *sum += fb__exp_below_0(score(h, i, j) - *max);
}

void fb__attention_forward(float *out, const float *qkv, const fb_attention *shape,
                           const fb__attention_rule *rule)
{
    const size_t channels = shape->heads * shape->head_dim;

    for (size_t index = 0; index < shape->batch * shape->heads; index++) {
        const head h = head_at(qkv, shape, rule, index);
        float *to = out + index / shape->heads * shape->time * channels +
                    index % shape->heads * shape->head_dim;

        for (size_t i = 0; i < h.time; i++) {
            size_t first, end;
            double max, sum;

            visible(&h, i, &first, &end);
            softmax_of(&h, i, &max, &sum);
            memset(to + i * channels, 0, h.dim * sizeof *to);
            for (size_t j = first; j < end; j++) {
                const float p = (float)(fb__exp_below_0(score(&h, i, j) - max) / sum);

                for (size_t d = 0; d < h.dim; d++)
                    to[i * channels + d] += p * h.v[j * 3 * channels + d];
            }
        }
    }
}

/* One query: dq of its row, and what it adds to dk and dv. dq, dk, dv: rows 3C apart. */
static void query_backward(const head *h, size_t i, const float *dout, float *dq, float *dk,
                           float *dv)
{
    const size_t row = 3 * h->channels;
    double max, sum, mean = 0.0;
    size_t first, end;

    visible(h, i, &first, &end);
    softmax_of(h, i, &max, &sum);
    for (size_t j = first; j < end; j++)
        mean += fb__exp_below_0(score(h, i, j) - max) / sum * dot(dout, h->v + j * row, h->dim);
    for (size_t j = first; j < end; j++) {
        const double p = fb__exp_below_0(score(h, i, j) - max) / sum;
        const float ds = (float)(p * (dot(dout, h->v + j * row, h->dim) - mean) * h->scale);

        for (size_t d = 0; d < h->dim; d++) {
            dq[i * row + d] += ds * h->k[j * row + d];
            dk[j * row + d] += ds * h->q[i * row + d];
            dv[j * row + d] += (float)p * dout[d];
        }
    }
}

void fb__attention_backward(float *dqkv, const float *dout, const float *qkv,
                            const fb_attention *shape, const fb__attention_rule *rule)
{
    const size_t channels = shape->heads * shape->head_dim;

    memset(dqkv, 0, shape->batch * shape->time * 3 * channels * sizeof *dqkv);
    for (size_t index = 0; index < shape->batch * shape->heads; index++) {
        const head h = head_at(qkv, shape, rule, index);
        const float *from = dout + index / shape->heads * shape->time * channels +
                            index % shape->heads * shape->head_dim;
        float *dq = dqkv + (h.q - qkv);

        for (size_t i = 0; i < h.time; i++)
            query_backward(&h, i, from + i * channels, dq, dq + channels, dq + 2 * channels);
    }
}
