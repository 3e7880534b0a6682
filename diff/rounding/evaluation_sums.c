/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluation_sums.c - sums, means and norms of a tensor or along some of its dimensions, and
 * gradients that add up what was read several times, in float64.
 */
#include <math.h>
#include <string.h>

#include "diff/rounding/evaluation.h"

/* Ways to read the operand: as it was recorded, or as a matrix whose columns or rows are summed (a
 * view of it was). */
enum { AS_RECORDED, COLUMNS, ROWS, LAYOUTS };

static bool is_summed(const fb__operation *o, uint32_t dim)
{
    const cJSON *dims = cJSON_GetObjectItemCaseSensitive(o->arguments, "dim"), *d;

    if (cJSON_IsNumber(dims)) {
        const int at = dims->valueint < 0 ? dims->valueint + (int)o->in[0].rank : dims->valueint;
        return at == (int)dim;
    }
    if (!cJSON_IsArray(dims) || dims->child == NULL)
        return true;
    cJSON_ArrayForEach(d, dims)
    {
        const int at = d->valueint < 0 ? d->valueint + (int)o->in[0].rank : d->valueint;

        if (at == (int)dim)
            return true;
    }
    return false;
}

static bool begin_sum(fb__operation *o)
{
    const fb__operand *x = &o->in[0];
    uint64_t kept = 1;

    if (o->output != 0 || o->out.count == 0 || x->count % o->out.count != 0 || x->count == 0)
        return false;
    for (uint32_t d = 0; d < x->rank && o->layout == AS_RECORDED; d++)
        kept *= is_summed(o, d) ? 1 : x->shape[d];
    if (o->layout == AS_RECORDED && kept != o->out.count)
        return false;
    o->number = fb__exact_argument(o, "ord", 2);
    o->terms = o->work = x->count / o->out.count;
    o->groups = o->out.count;
    return o->number == 2;
}

/* Goes through the terms of an element: from the recorded dimensions, the last one fastest. */
typedef struct walk {
    uint64_t at[FB_RANK_MAX], stride[FB_RANK_MAX], size[FB_RANK_MAX];
    uint32_t dims;
    uint64_t place, step; /* step: of the two simple layouts */
} walk;

static void begin_walk(walk *w, const fb__operation *o, uint64_t element)
{
    const fb__operand *x = &o->in[0];
    uint64_t stride = 1;

    *w = (walk){.step = o->layout == COLUMNS ? o->out.count : 1,
                .place = o->layout == ROWS ? element * o->terms : element};
    if (o->layout != AS_RECORDED)
        return;
    w->place = 0;
    for (uint32_t d = x->rank; d-- > 0; stride *= x->shape[d]) {
        if (is_summed(o, d)) {
            w->stride[w->dims] = stride;
            w->size[w->dims++] = x->shape[d];
        } else {
            w->place += element % x->shape[d] * stride;
            element /= x->shape[d];
        }
    }
}

static void advance(walk *w)
{
    uint32_t d = 0;

    if (w->dims == 0)
        w->place += w->step;
    while (d < w->dims) {
        w->place += w->stride[d];
        if (++w->at[d] < w->size[d])
            return;
        w->place -= w->at[d] * w->stride[d];
        w->at[d++] = 0;
    }
}

static fb__exact sum_at(const fb__operation *o, uint64_t element)
{
    const bool mean = strcmp(o->op, "mean") == 0, norm = strstr(o->op, "norm") != NULL;
    double value = 0, magnitude = 0;
    fb__exact y;
    walk w;

    begin_walk(&w, o, element);
    for (uint64_t i = 0; i < o->terms; i++, advance(&w)) {
        const double x = o->in[0].at[w.place];

        value += norm ? x * x : x;
        magnitude += norm ? x * x : fabs(x);
    }
    y = fb__exact_sum(o, value, magnitude, o->terms + 1);
    if (norm && value > 0) { /* of a root, half the relative error, and its own rounding */
        const double root = sqrt(value);

        y = (fb__exact){.value = root,
                        .bound = y.bound / (2 * root) * 1.01 + 2 * o->unit * root,
                        .likely = y.likely / (2 * root) * 1.01 + 2 * o->unit * root};
    }
    if (mean) { /* by its division, or by the product with the inverse */
        const double n = (double)o->terms, last = 3 * o->unit * fabs(value) / n;

        y = (fb__exact){
            .value = value / n, .bound = y.bound / n + last, .likely = y.likely / n + last};
    }
    return y;
}

/* embedding_dense_backward: in gradient [count / length, length] and indices; a row of the result
 * is the sum of those rows whose index it is. */
static bool begin_embedding(fb__operation *o)
{
    const fb__operand *g = &o->in[0], *index = &o->in[1];

    if (o->out.rank != 2 || o->output != 0 || index->count == 0)
        return false;
    o->length = o->out.shape[1];
    o->terms = o->work = index->count;
    o->groups = o->out.shape[0];
    return g->count == index->count * o->length;
}

static fb__exact embedding_at(const fb__operation *o, uint64_t element)
{
    const uint64_t row = element / o->length;
    const uint64_t column = element % o->length;
    double value = 0, magnitude = 0;
    uint64_t n = 0;

    for (uint64_t i = 0; i < o->in[1].count; i++)
        if (o->in[1].at[i] == (double)row) {
            const double x = o->in[0].at[i * o->length + column];

            value += x;
            magnitude += fabs(x);
            n++;
        }
    return fb__exact_sum(o, value, magnitude, n);
}

const fb__exact_form fb__exact_sums[] = {
    {"sum", 1, 1, LAYOUTS, begin_sum, sum_at},
    {"mean", 1, 1, LAYOUTS, begin_sum, sum_at},
    {"norm", 1, 1, LAYOUTS, begin_sum, sum_at},
    {"linalg_vector_norm", 1, 1, LAYOUTS, begin_sum, sum_at},
    {"embedding_dense_backward", 2, 2, 1, begin_embedding, embedding_at},
    {.op = NULL},
};
