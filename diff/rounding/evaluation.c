/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluation.c - what the evaluations of operations in float64 share, and products of matrices.
 */
#include "diff/rounding/evaluation.h"

#include <math.h>
#include <string.h>

double fb__exact_gamma(double n, double unit)
{
    const double nu = n * unit;

    return nu < 1 ? nu / (1 - nu) : INFINITY;
}

fb__exact fb__exact_sum(const fb__operation *o, double value, double magnitude, uint64_t n)
{
    const double terms = (double)n, tiny = terms * 0x1p-149; /* products that underflow */
    const double own = fb__exact_gamma(terms, 0x1p-53) * magnitude;
    const double widest = magnitude > 0 ? fb__exact_gamma(terms, o->unit) * magnitude : 0;
    const double bound = widest + own + tiny;
    const double likely = 6 * sqrt(terms) * o->unit * magnitude + own + tiny;

    return (fb__exact){.value = value, .bound = bound, .likely = fmin(likely, bound)};
}

/* Half the distance of the smallest numbers of half precision; that of bfloat16 is below. */
static const double narrow_tiny = 0x1p-25;

fb__exact fb__exact_at(fb__operation *o, uint64_t element)
{
    const double wide = o->unit;
    fb__exact x = o->form->at(o, element), steps;
    double once;

    x.legal = fmax(x.legal, x.likely);
    if (o->narrow == 0 || x.bound <= 0x1p-140) /* exact: a choice, a sign */
        return x;
    /* Twice: a mean is rounded as a sum, and again. */
    once = 2 * o->narrow * fabs(x.value) + narrow_tiny;
    o->unit = o->narrow;
    steps = o->form->at(o, element);
    o->unit = wide;
    x.likely += once;
    x.legal = fmax(fmax(x.legal, x.likely), steps.likely + once);
    x.bound = steps.bound + once;
    if (isnan(x.bound)) /* of so many terms that nothing bounds them, some are zero */
        x.bound = INFINITY;
    return x;
}

double fb__exact_argument(const fb__operation *o, const char *name, double otherwise)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o->arguments, name);

    return cJSON_IsNumber(item) ? item->valuedouble : otherwise;
}

const fb__exact_form *fb__exact_form_of(const fb__operation *o)
{
    const fb__exact_form *const tables[] = {fb__exact_products, fb__exact_sums,    fb__exact_rows,
                                            fb__exact_elements, fb__exact_windows, fb__exact_heads};

    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (const fb__exact_form *f = tables[i]; f->op != NULL; f++)
            if (strcmp(f->op, o->op) == 0 && o->in_count >= f->least && o->in_count <= f->most)
                return f;
    return NULL;
}

/* --- Products --------------------------------------------------------------------------------- */

enum { A_TRANSPOSED = 1, B_TRANSPOSED = 2, LAYOUTS = 4 };

/* Operands of a product: the last two, which may be one tensor; before them what is added. */
static const fb__operand *left_of(const fb__operation *o)
{
    return &o->in[o->in_count < 2 ? 0 : o->in_count - 2];
}

static const fb__operand *right_of(const fb__operation *o)
{
    return &o->in[o->in_count - 1];
}

static const fb__operand *added_to(const fb__operation *o)
{
    return o->in_count == 3 ? &o->in[0] : NULL;
}

static bool begin_product(fb__operation *o)
{
    const fb__operand *a = left_of(o), *b = right_of(o), *c = added_to(o);
    const uint32_t rank = o->out.rank;
    uint64_t batches;

    if (rank < 1 || o->out.count == 0 || o->output != 0)
        return false;
    o->n = o->out.shape[rank - 1];
    o->m = rank > 1 ? o->out.shape[rank - 2] : 1;
    if (strcmp(o->op, "bmm") != 0 && strcmp(o->op, "baddbmm") != 0)
        o->m = o->out.count / o->n;
    if (strcmp(o->op, "mv") == 0 || strcmp(o->op, "addmv") == 0) {
        o->m = o->out.count;
        o->n = 1;
    }
    batches = o->out.count / (o->m * o->n);
    o->k = a->count / (batches * o->m);
    if (o->k == 0 || a->count != batches * o->m * o->k || b->count != batches * o->k * o->n)
        return false;
    if (c != NULL && c->count != 1 && c->count != o->n && c->count != o->out.count)
        return false;
    o->number = fb__exact_argument(o, "alpha", 1);
    o->factor = fb__exact_argument(o, "beta", 1);
    o->terms = o->k + (c != NULL);
    o->groups = o->out.count;
    o->work = o->k;
    return true;
}

static fb__exact product_at(const fb__operation *o, uint64_t element)
{
    const uint64_t batch = element / (o->m * o->n), i = element / o->n % o->m, j = element % o->n;
    const bool ta = (o->layout & A_TRANSPOSED) != 0, tb = (o->layout & B_TRANSPOSED) != 0;
    const double *a = left_of(o)->at + batch * o->m * o->k + (ta ? i : i * o->k);
    const double *b = right_of(o)->at + batch * o->k * o->n + (tb ? j * o->k : j);
    const uint64_t da = ta ? o->m : 1, db = tb ? 1 : o->n;
    const fb__operand *c = added_to(o);
    double value = 0, magnitude = 0;
    uint64_t roundings = o->k;

    for (uint64_t p = 0; p < o->k; p++) {
        const double t = a[p * da] * b[p * db];

        value += t;
        magnitude += fabs(t);
    }
    if (o->number != 1)
        roundings++;
    value *= o->number;
    magnitude *= fabs(o->number);
    if (c != NULL && o->factor != 0) {
        const double t = o->factor * c->at[c->count == 1 ? 0 : element % c->count];

        value += t;
        magnitude += fabs(t);
        roundings += o->factor != 1 ? 2 : 1;
    }
    return fb__exact_sum(o, value, magnitude, roundings);
}

const fb__exact_form fb__exact_products[] = {
    {"mm", 1, 2, LAYOUTS, begin_product, product_at},
    {"bmm", 1, 2, LAYOUTS, begin_product, product_at},
    {"addmm", 3, 3, LAYOUTS, begin_product, product_at},
    {"baddbmm", 3, 3, LAYOUTS, begin_product, product_at},
    {"mv", 2, 2, LAYOUTS, begin_product, product_at},
    {"addmv", 3, 3, LAYOUTS, begin_product, product_at},
    {"dot", 1, 2, 1, begin_product, product_at},
    {.op = NULL},
};
