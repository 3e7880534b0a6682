/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluation_heads.c - attention in one operation, and its gradients, in float64.
 *
 * Scores s = scale q k + mask, weights w = exp(s - log sum exp s), y = sum of w v. A score that is
 * off by d takes its weight off by the factor exp(d); kernels that go through the keys in blocks
 * keep a maximum so far, which cancels, but for roundings of what it is compared with.
 */
#include <math.h>
#include <string.h>

#include "diff/rounding/evaluation.h"

/* Where an operand was read: [batch, heads, token], [batch, token, heads], [token, batch, heads],
 * of which the last dimension may hold q, k and v; or [batch, token, heads], where each head has
 * its own q, k and v. A trace tells where a view begins (arguments in1.offset, ...), not its
 * strides. */
enum { HEADS_FIRST, TOKENS_FIRST, BATCH_SECOND, HEADS_APART, WAYS };

static bool read_view(fb__view *out, const fb__operation *o, uint32_t k, uint64_t tokens,
                      unsigned way)
{
    const fb__heads *h = &o->heads;
    const fb__operand *x = &o->in[k];
    const uint64_t rows = h->batch * tokens, own = h->heads * h->d;
    const bool as_read = x->rank == 4 && x->shape[1] == h->heads && x->shape[2] == tokens;
    char name[16] = "in0.offset";
    uint64_t offset, width, head;

    name[2] = (char)('0' + k);
    offset = (uint64_t)fmin(1e15, fmax(0, fb__exact_argument(o, name, 0)));
    width = x->count / rows;
    head = way == HEADS_APART ? width / h->heads : h->d;
    if (x->count % rows != 0 || width < own || width % own != 0 ||
        (as_read && way != HEADS_FIRST && tokens != h->heads))
        return false;
    if (way == HEADS_FIRST) {
        *out = (fb__view){x->at, h->heads * tokens * h->d, tokens * h->d, h->d};
        return width == own && offset == 0;
    }
    if ((way == HEADS_APART && width == own) || offset + (h->heads - 1) * head + h->d > width)
        return false;
    *out = way == BATCH_SECOND ? (fb__view){x->at + offset, width, head, h->batch * width}
                               : (fb__view){x->at + offset, tokens * width, head, width};
    return true;
}

/* A mask, repeated as in NumPy: [..., t, s]. */
static bool read_mask(fb__operation *o, uint32_t k)
{
    fb__heads *h = &o->heads;
    const fb__operand *x = &o->in[k];
    const uint64_t sizes[4] = {h->batch, h->heads, h->t, h->s};
    uint64_t stride = 1;

    if (x->rank > 4)
        return false;
    for (uint32_t d = 0; d < 4; d++) {
        const uint64_t own = d < x->rank ? x->shape[x->rank - 1 - d] : 1;

        if (own != 1 && own != sizes[3 - d])
            return false;
        h->mask_stride[3 - d] = own == 1 ? 0 : stride;
        stride *= own;
    }
    h->mask = x->at;
    return true;
}

/* The first of q, k and v is operand `first`. like: the shape of q. */
static bool find_heads(fb__operation *o, uint32_t first, const uint64_t like[4])
{
    fb__heads *h = &o->heads;
    const fb__operand *k = &o->in[first + 1];
    const cJSON *causal = cJSON_GetObjectItemCaseSensitive(o->arguments, "is_causal");
    unsigned way = o->layout;
    fb__view *const views[3] = {&h->q, &h->k, &h->v};

    *h = (fb__heads){.batch = like[0], .heads = like[1], .t = like[2], .s = like[2], .d = like[3]};
    if (h->batch == 0 || h->heads == 0 || h->t == 0 || h->d == 0 ||
        fb__exact_argument(o, "dropout_p", 0) != 0)
        return false;
    if (k->rank == 4 && k->shape[1] == h->heads && k->shape[0] == h->batch)
        h->s = k->shape[2];
    else if (k->rank == 4 && k->shape[2] == h->heads && k->shape[0] == h->batch)
        h->s = k->shape[1];
    for (uint32_t i = 0; i < 3; i++, way /= WAYS)
        if (h->s == 0 || !read_view(views[i], o, first + i, i == 0 ? h->t : h->s, way % WAYS))
            return false;
    h->causal = cJSON_IsTrue(causal);
    h->scale = fb__exact_argument(o, "scale", 1 / sqrt((double)h->d));
    return true;
}

/* --- Scores ----------------------------------------------------------------------------------- */

typedef struct place {
    uint64_t batch, head, token, column;
} place;

static place place_of(const fb__heads *h, uint64_t element, uint64_t tokens, uint64_t columns)
{
    return (place){.batch = element / (columns * tokens * h->heads),
                   .head = element / (columns * tokens) % h->heads,
                   .token = element / columns % tokens,
                   .column = element % columns};
}

static const double *row_at(const fb__view *x, const place *p, uint64_t token)
{
    return x->at + p->batch * x->batch + p->head * x->head + token * x->token;
}

/* The product of two rows of d numbers, times a factor. */
static fb__exact dot(const fb__operation *o, const double *x, const double *y, double factor)
{
    double value = 0, magnitude = 0;

    for (uint64_t i = 0; i < o->heads.d; i++) {
        value += x[i] * y[i];
        magnitude += fabs(x[i] * y[i]);
    }
    return fb__exact_sum(o, factor * value, fabs(factor) * magnitude, o->heads.d + 3);
}

/* Of query i and key j; -inf: hidden. */
static fb__exact score(const fb__operation *o, const place *p, uint64_t i, uint64_t j)
{
    const fb__heads *h = &o->heads;
    fb__exact s;

    if (h->causal && j > i)
        return (fb__exact){.value = -INFINITY};
    s = dot(o, row_at(&h->q, p, i), row_at(&h->k, p, j), h->scale);
    if (h->mask != NULL) {
        s.value += h->mask[p->batch * h->mask_stride[0] + p->head * h->mask_stride[1] +
                           i * h->mask_stride[2] + j * h->mask_stride[3]];
        s.bound += o->unit * fabs(s.value);
        s.likely += o->unit * fabs(s.value);
    }
    return s;
}

/* How far a weight is off, relative, by its score's error and by what is rounded on the way. */
static fb__exact weight(const fb__exact *s, double behind, double roundings, double unit)
{
    const double d = s->value - behind;
    const double own = unit * (fabs(d) + roundings);

    if (s->value == -INFINITY)
        return (fb__exact){.value = 0};
    /* exp(e) - 1 < 1.2 e below 0.3; beyond, nothing is bounded. */
    return (fb__exact){.value = exp(d),
                       .bound = s->bound + own < 0.3 ? 1.2 * (s->bound + own) : INFINITY,
                       .likely = 1.2 * (s->likely + own)};
}

/* --- Forward ---------------------------------------------------------------------------------- */

/* What blocks of keys add: each takes what was made so far times one more exponential. */
static double roundings_of(const fb__heads *h)
{
    return 8 + (double)h->s / 8;
}

/* Sums over the keys of a row. */
typedef struct row_sums {
    double largest, sum, bound, likely; /* of the scores; of weights; of their errors */
    double value, size, off, rather;    /* of weights and values; and with errors */
} row_sums;

static row_sums sum_row(const fb__operation *o, const place *p)
{
    const fb__heads *h = &o->heads;
    row_sums r = {.largest = -INFINITY};

    for (uint64_t j = 0; j < h->s; j++)
        r.largest = fmax(r.largest, score(o, p, p->token, j).value);
    for (uint64_t j = 0; j < h->s && isfinite(r.largest); j++) {
        const fb__exact s = score(o, p, p->token, j);
        const fb__exact w = weight(&s, r.largest, roundings_of(h), o->unit);
        const double v = row_at(&h->v, p, j)[p->column];

        if (w.value == 0)
            continue;
        r.sum += w.value;
        r.bound += w.value * w.bound;
        r.likely += w.value * w.likely;
        r.value += w.value * v;
        r.size += w.value * fabs(v);
        r.off += w.value * w.bound * fabs(v);
        r.rather += w.value * w.likely * fabs(v);
    }
    return r;
}

static fb__exact attention_at(const fb__operation *o, uint64_t element)
{
    const fb__heads *h = &o->heads;
    const bool of_sums = o->output == 1;
    const place p = place_of(h, element, h->t, of_sums ? 1 : h->d);
    const row_sums r = sum_row(o, &p);
    const double y = r.value / r.sum, size = r.size / r.sum + fabs(y), n = (double)h->s;
    const double widest = fb__exact_gamma(n + 8, o->unit), usual = 6 * sqrt(n + 8) * o->unit;
    const double log_sum = r.largest + log(r.sum);
    const double last = o->unit * (4 + 2 * fabs(r.largest) + 2 * fabs(log_sum));

    if (of_sums)
        return (fb__exact){.value = log_sum,
                           .bound = r.bound / r.sum * 1.1 + widest + last,
                           .likely = r.likely / r.sum * 1.1 + fmin(usual, widest) + last};
    return (fb__exact){.value = y,
                       .bound = (r.off + fabs(y) * r.bound) / r.sum * 1.1 +
                                (widest + 2 * o->narrow) * size + 0x1p-149,
                       .likely = (r.rather + fabs(y) * r.likely) / r.sum * 1.1 +
                                 (fmin(usual, widest) + 2 * o->narrow) * size + 0x1p-149};
}

/* d, where the result does not tell: q is a tensor of its own, or k begins behind it. */
static uint64_t width_of(const fb__operation *o, const uint64_t like[4])
{
    const uint64_t rows = like[0] * like[1] * like[2];
    const double behind = fb__exact_argument(o, "in1.offset", 0);

    if (rows == 0 || !(behind >= 0 && behind < 1e9))
        return 0;
    if (behind == 0)
        return o->in[0].count / rows;
    return (uint64_t)behind / (o->layout % WAYS == HEADS_APART ? 1 : like[1]);
}

/* in: q, k, v and a mask; out, and the logarithms of the sums. */
static bool begin_attention(fb__operation *o)
{
    const uint32_t rank = o->output == 0 ? 4 : 3;
    uint64_t like[4] = {0};

    if (o->output > 1 || o->out.rank != rank)
        return false;
    memcpy(like, o->out.shape, rank * sizeof like[0]);
    if (o->output == 1)
        like[3] = width_of(o, like);
    if (!find_heads(o, 0, like) || (o->in_count == 4 && !read_mask(o, 3)))
        return false;
    o->terms = o->heads.s;
    o->groups = o->out.count;
    o->work = 2 * o->heads.s * o->heads.d;
    return true;
}

/* --- Backward --------------------------------------------------------------------------------- */

/* The gradient of score (i, j): w (g v - g y); *w is that weight. */
static fb__exact score_gradient(fb__exact *w, const fb__operation *o, const place *p, uint64_t i,
                                uint64_t j)
{
    const fb__heads *h = &o->heads;
    const uint64_t row = (p->batch * h->heads + p->head) * h->t + i;
    const fb__exact s = score(o, p, i, j);
    const double *g = row_at(&h->grad, p, i);
    fb__exact of_weight, of_row;
    double d, own;

    *w = weight(&s, h->log_sums[row], 8, o->unit);
    if (w->value == 0)
        return (fb__exact){.value = 0};
    of_weight = dot(o, g, row_at(&h->v, p, j), 1);
    of_row = dot(o, g, h->out + row * h->d, 1);
    d = of_weight.value - of_row.value;
    own = (3 * o->unit + 2 * o->narrow) * (fabs(of_weight.value) + fabs(of_row.value));
    return (fb__exact){
        .value = w->value * d,
        .bound = w->value * (w->bound * fabs(d) + of_weight.bound + of_row.bound + own),
        .likely = w->value * (w->likely * fabs(d) + of_weight.likely + of_row.likely + own)};
}

enum { OF_QUERIES, OF_KEYS, OF_VALUES };

static fb__exact gradient_at(const fb__operation *o, uint64_t element)
{
    const fb__heads *h = &o->heads;
    const bool of_queries = o->output == OF_QUERIES;
    const place p = place_of(h, element, of_queries ? h->t : h->s, h->d);
    const fb__view *with = of_queries ? &h->k : o->output == OF_KEYS ? &h->q : &h->grad;
    const double factor = o->output == OF_VALUES ? 1 : h->scale;
    const uint64_t n = of_queries ? h->s : h->t;
    double value = 0, size = 0, off = 0, rather = 0;
    fb__exact y, w;

    for (uint64_t m = 0; m < n; m++) {
        fb__exact x = of_queries ? score_gradient(&w, o, &p, p.token, m)
                                 : score_gradient(&w, o, &p, m, p.token);
        const double z = row_at(with, &p, m)[p.column] * factor;

        if (o->output == OF_VALUES)
            x = (fb__exact){.value = w.value,
                            .bound = w.value == 0 ? 0 : w.value * w.bound,
                            .likely = w.value * w.likely};
        if (x.value == 0 && x.bound == 0)
            continue;
        value += x.value * z;
        size += fabs(x.value * z);
        off += x.bound * fabs(z);
        rather += x.likely * fabs(z);
    }
    y = fb__exact_sum(o, value, size, n + 4);
    y.bound += off * 1.1 + 2 * o->narrow * size;
    y.likely += rather * 1.1 + 2 * o->narrow * size;
    return y;
}

/* in: gradient, q, k, v, out, logarithms of the sums, and a mask; of q, k and v. */
static bool begin_gradient(fb__operation *o)
{
    const fb__operand *out = &o->in[4], *sums = &o->in[5];
    const unsigned all = o->layout, way = all / (WAYS * WAYS * WAYS);
    bool found;

    if (o->output > 2 || out->rank != 4 || o->out.rank != 4 ||
        sums->count * out->shape[3] != out->count)
        return false;
    o->layout = all % (WAYS * WAYS * WAYS);
    found = find_heads(o, 1, out->shape) && read_view(&o->heads.grad, o, 0, o->heads.t, way) &&
            (o->in_count < 7 || read_mask(o, 6));
    o->layout = all;
    o->heads.out = out->at;
    o->heads.log_sums = sums->at;
    o->terms = o->output == OF_QUERIES ? o->heads.s : o->heads.t;
    o->groups = o->out.count;
    o->work = 4 * o->terms * o->heads.d;
    return found && o->out.count == o->heads.batch * o->heads.heads * o->heads.d *
                                        (o->output == OF_QUERIES ? o->heads.t : o->heads.s);
}

const fb__exact_form fb__exact_heads[] = {
    {"_scaled_dot_product_flash_attention_for_cpu", 3, 4, WAYS *WAYS *WAYS, begin_attention,
     attention_at},
    {"_scaled_dot_product_flash_attention_for_cpu_backward", 6, 7, WAYS *WAYS *WAYS *WAYS,
     begin_gradient, gradient_at},
    {.op = NULL},
};
