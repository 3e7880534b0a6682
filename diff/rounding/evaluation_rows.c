/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluation_rows.c - operations on rows, in float64: softmax, its logarithm, layer norm, the loss
 * of classes, and their gradients.
 */
#include <math.h>
#include <string.h>

#include "diff/rounding/evaluation.h"

/* The row of an element: where it begins, and the place of the element in it. */
typedef struct row {
    uint64_t first, step, own;
} row;

static row row_of(const fb__operation *o, uint64_t element)
{
    const uint64_t size = o->length * o->inner;
    const uint64_t first = element / size * size + element % o->inner;

    return (row){.first = first, .step = o->inner, .own = element / o->inner % o->length};
}

static double at_row(const fb__operand *x, const row *r, uint64_t i)
{
    return x->at[r->first + i * r->step];
}

/* Rows along the dimension `dim` of the result; every operand has its form. */
static bool begin_rows(fb__operation *o)
{
    const int dim = (int)fb__exact_argument(o, "dim", -1);
    const int at = dim < 0 ? dim + (int)o->out.rank : dim;

    if (at < 0 || at >= (int)o->out.rank || o->output != 0 || o->out.count == 0)
        return false;
    for (uint32_t k = 0; k < o->in_count; k++)
        if (o->in[k].count != o->out.count)
            return false;
    o->length = o->out.shape[at];
    o->inner = 1;
    for (uint32_t d = (uint32_t)at + 1; d < o->out.rank; d++)
        o->inner *= o->out.shape[d];
    o->terms = o->length;
    o->groups = o->out.count / o->length;
    o->work = 2 * o->length;
    return true;
}

/* --- Softmax ---------------------------------------------------------------------------------- */

/* The sum of exponentials of a row behind its largest element, and how far, relative, rounding may
 * carry it: each difference is rounded, then each exponential, then the sum. */
typedef struct exponentials {
    double largest, sum, bound, likely;
} exponentials;

static exponentials sum_exponentials(const fb__operation *o, const row *r)
{
    const fb__operand *x = &o->in[0];
    exponentials e = {.largest = -INFINITY};
    double shifted = 0;

    for (uint64_t i = 0; i < o->length; i++)
        e.largest = fmax(e.largest, at_row(x, r, i));
    for (uint64_t i = 0; i < o->length && isfinite(e.largest); i++) {
        const double d = at_row(x, r, i) - e.largest, t = exp(d);

        e.sum += t;
        shifted += isfinite(d) ? -d * t : 0;
    }
    shifted = o->unit * (4 + shifted / e.sum);
    e.bound = shifted + fb__exact_gamma((double)o->length, o->unit);
    e.likely = fmin(e.bound, shifted + 6 * sqrt((double)o->length) * o->unit);
    return e;
}

static fb__exact softmax_at(const fb__operation *o, uint64_t element)
{
    const row r = row_of(o, element);
    const exponentials e = sum_exponentials(o, &r);
    const double d = at_row(&o->in[0], &r, r.own) - e.largest, y = exp(d) / e.sum;
    const double own = isfinite(d) ? o->unit * (8 - d) : 0; /* d, its exponential, the division */

    return (fb__exact){.value = y,
                       .bound = y * (e.bound + own) * 1.001 + 0x1p-126,
                       .likely = y * (e.likely + own) * 1.001 + 0x1p-126};
}

static fb__exact log_softmax_at(const fb__operation *o, uint64_t element)
{
    const row r = row_of(o, element);
    const exponentials e = sum_exponentials(o, &r);
    const double x = at_row(&o->in[0], &r, r.own), d = x - e.largest, log_sum = log(e.sum);
    /* Also where the largest is added to the logarithm first: x - (largest + log). */
    const double own =
        o->unit * (2 * fabs(d) + 6 * fabs(log_sum) + fabs(e.largest) + fabs(d - log_sum));

    return (fb__exact){
        .value = d - log_sum, .bound = e.bound * 1.001 + own, .likely = e.likely * 1.001 + own};
}

/* in: gradient, y. y (g - sum of g y); of the logarithm: g - exp(y) (sum of g). */
static fb__exact softmax_backward_at(const fb__operation *o, uint64_t element)
{
    const bool of_log = o->op[1] == 'l';
    const row r = row_of(o, element);
    const double g = at_row(&o->in[0], &r, r.own), y = at_row(&o->in[1], &r, r.own);
    const double factor = of_log ? exp(y) : y;
    double sum = 0, magnitude = 0;
    fb__exact s;

    for (uint64_t i = 0; i < o->length; i++) {
        const double t = at_row(&o->in[0], &r, i) * (of_log ? 1 : at_row(&o->in[1], &r, i));

        sum += t;
        magnitude += fabs(t);
    }
    s = fb__exact_sum(o, sum, magnitude, o->length);
    {
        const double own = of_log ? o->unit * (6 * fabs(factor * sum) + fabs(g - factor * sum))
                                  : o->unit * 4 * fabs(y) * (fabs(g) + fabs(sum));

        return (fb__exact){.value = of_log ? g - factor * sum : y * (g - sum),
                           .bound = fabs(factor) * s.bound + own,
                           .likely = fabs(factor) * s.likely + own};
    }
}

/* --- The loss --------------------------------------------------------------------------------- */

/* nll_loss_forward: in log probabilities [n, classes], classes. reduction 1: mean, 2: sum. */
static bool begin_loss(fb__operation *o)
{
    o->number = fb__exact_argument(o, "reduction", 1);
    o->factor = fb__exact_argument(o, "ignore_index", -100);
    o->terms = o->work = o->in[1].count;
    o->groups = 1;
    if (o->terms == 0 || o->in[0].count % o->terms != 0)
        return false;
    o->length = o->in[0].count / o->terms;
    return o->output == 0 && o->out.count == 1 && (o->number == 1 || o->number == 2);
}

static fb__exact loss_at(const fb__operation *o, uint64_t element)
{
    double sum = 0, magnitude = 0;
    uint64_t n = 0;
    fb__exact y;

    (void)element;
    for (uint64_t i = 0; i < o->terms; i++) {
        const double target = o->in[1].at[i];

        if (target == o->factor || target < 0 || target >= (double)o->length)
            continue;
        sum -= o->in[0].at[i * o->length + (uint64_t)target];
        magnitude += fabs(o->in[0].at[i * o->length + (uint64_t)target]);
        n++;
    }
    y = fb__exact_sum(o, sum, magnitude, n);
    if (o->number == 2 || n == 0)
        return y;
    sum /= (double)n;
    return (fb__exact){.value = sum,
                       .bound = y.bound / (double)n + 3 * o->unit * fabs(sum),
                       .likely = y.likely / (double)n + 3 * o->unit * fabs(sum)};
}

/* --- Layer norm ------------------------------------------------------------------------------- */

/* The elements of a row are those of the normalized shape. */
static bool find_length(fb__operation *o)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(o->arguments, "normalized_shape"), *d;

    o->length = 1;
    cJSON_ArrayForEach(d, shape)
    {
        if (!cJSON_IsNumber(d) || d->valuedouble < 1 || d->valuedouble > 1e9)
            return false;
        o->length *= (uint64_t)d->valuedouble;
        if (o->length > o->in[0].count)
            return false;
    }
    return shape != NULL && o->in[0].count > 0 && o->in[0].count % o->length == 0;
}

/* in: x, weight, bias; out, mean, one by the deviation. Operands may be absent from the end. */
static bool begin_norm(fb__operation *o)
{
    if (!find_length(o) || o->output > 2)
        return false;
    o->number = fb__exact_argument(o, "eps", NAN);
    for (uint32_t k = 1; k < o->in_count; k++)
        if (o->in[k].count != o->length)
            return false;
    o->terms = o->length;
    o->groups = o->in[0].count / o->length;
    o->work = 2 * o->length;
    return !isnan(o->number) && o->out.count == (o->output == 0 ? o->in[0].count : o->groups);
}

/* Mean and deviation of a row. Two passes, one pass with running moments and the mean of squares
 * minus the square of the mean are all within these bounds. */
typedef struct moments {
    double mean, inverse; /* 1 / sqrt(variance + eps) */
    fb__exact of_mean;
    double bound, likely; /* of inverse, relative */
} moments;

static moments moments_of(const fb__operation *o, const double *x)
{
    const double n = (double)o->length;
    double sum = 0, magnitude = 0, squares = 0, about = 0;
    moments m;
    fb__exact v;

    for (uint64_t i = 0; i < o->length; i++) {
        sum += x[i];
        magnitude += fabs(x[i]);
        squares += x[i] * x[i];
    }
    m.mean = sum / n;
    for (uint64_t i = 0; i < o->length; i++)
        about += (x[i] - m.mean) * (x[i] - m.mean);
    m.of_mean = fb__exact_sum(o, m.mean, magnitude / n, o->length + 2);
    v = fb__exact_sum(o, about / n, squares / n, o->length + 4);
    m.inverse = 1 / sqrt(about / n + o->number);
    m.bound = 0.5 * v.bound * m.inverse * m.inverse * 1.01 + 4 * o->unit;
    m.likely = 0.5 * v.likely * m.inverse * m.inverse * 1.01 + 4 * o->unit;
    return m;
}

static fb__exact norm_at(const fb__operation *o, uint64_t element)
{
    const uint64_t r = o->output == 0 ? element / o->length : element, i = element % o->length;
    const double *x = o->in[0].at + r * o->length;
    const moments m = moments_of(o, x);
    double d, w, b, y, own;

    if (o->output == 1)
        return m.of_mean;
    if (o->output == 2)
        return (fb__exact){
            .value = m.inverse, .bound = m.inverse * m.bound, .likely = m.inverse * m.likely};
    d = x[i] - m.mean;
    w = (o->in_count > 1 ? o->in[1].at[i] : 1) * m.inverse;
    b = o->in_count > 2 ? o->in[2].at[i] : 0;
    y = d * w;
    /* Also as x (inverse w) + (b - mean inverse w). */
    own = o->unit * (5 * (fabs(x[i]) + fabs(m.mean)) * fabs(w) + 2 * fabs(b) + fabs(y + b));
    return (fb__exact){.value = y + b,
                       .bound = fabs(w) * m.of_mean.bound + fabs(y) * m.bound + own,
                       .likely = fabs(w) * m.of_mean.likely + fabs(y) * m.likely + own};
}

/* in: gradient, x, mean, inverse, weight; out: of x; 1: of the weight; 2: of the bias. */
static bool begin_norm_backward(fb__operation *o)
{
    if (!find_length(o) || o->output > 2 || o->in[0].count != o->in[1].count)
        return false;
    o->groups = o->in[0].count / o->length;
    if (o->in[0].count % o->length != 0 || o->in[2].count != o->groups ||
        o->in[3].count != o->groups || (o->in_count > 4 && o->in[4].count != o->length))
        return false;
    o->terms = o->output == 0 ? o->length : o->groups;
    o->groups = o->output == 0 ? o->groups : o->length;
    o->work = 2 * o->terms;
    return o->out.count == (o->output == 0 ? o->in[0].count : o->length);
}

static fb__exact norm_backward_x(const fb__operation *o, uint64_t element)
{
    const uint64_t r = element / o->length, own = element % o->length;
    const double *g = o->in[0].at + r * o->length, *x = o->in[1].at + r * o->length;
    const double mean = o->in[2].at[r], inverse = o->in[3].at[r], n = (double)o->length;
    const double *w = o->in_count > 4 ? o->in[4].at : NULL;
    double sum = 0, of_sum = 0, dot = 0, of_dot = 0, hat, top;
    fb__exact s, t;

    for (uint64_t i = 0; i < o->length; i++) {
        const double gw = g[i] * (w != NULL ? w[i] : 1);

        sum += gw;
        of_sum += fabs(gw);
        dot += gw * (x[i] - mean) * inverse;
        of_dot += fabs(gw) * (fabs(x[i]) + fabs(mean)) * inverse;
    }
    s = fb__exact_sum(o, sum / n, of_sum / n, o->length + 4);
    t = fb__exact_sum(o, dot / n, of_dot / n, o->length + 8);
    hat = (x[own] - mean) * inverse;
    top = g[own] * (w != NULL ? w[own] : 1);
    {
        const double wide = (fabs(x[own]) + fabs(mean)) * inverse;
        const double rest =
            8 * o->unit * (fabs(top) + fabs(s.value) + wide * fabs(t.value)) * inverse;

        return (fb__exact){.value = inverse * (top - s.value - hat * t.value),
                           .bound = inverse * (s.bound + wide * t.bound) + rest,
                           .likely = inverse * (s.likely + wide * t.likely) + rest};
    }
}

static fb__exact norm_backward_at(const fb__operation *o, uint64_t element)
{
    double value = 0, magnitude = 0;

    if (o->output == 0)
        return norm_backward_x(o, element);
    for (uint64_t r = 0; r < o->terms; r++) {
        const double g = o->in[0].at[r * o->length + element];
        const double x = o->in[1].at[r * o->length + element], mean = o->in[2].at[r];
        const double inverse = o->output == 1 ? o->in[3].at[r] : 1;

        value += o->output == 1 ? g * (x - mean) * inverse : g;
        magnitude += o->output == 1 ? fabs(g) * (fabs(x) + fabs(mean)) * inverse : fabs(g);
    }
    return fb__exact_sum(o, value, magnitude, o->terms + (o->output == 1 ? 4 : 0));
}

const fb__exact_form fb__exact_rows[] = {
    {"_softmax", 1, 1, 1, begin_rows, softmax_at},
    {"_log_softmax", 1, 1, 1, begin_rows, log_softmax_at},
    {"_softmax_backward_data", 2, 2, 1, begin_rows, softmax_backward_at},
    {"_log_softmax_backward_data", 2, 2, 1, begin_rows, softmax_backward_at},
    {"nll_loss_forward", 2, 2, 1, begin_loss, loss_at},
    {"native_layer_norm", 1, 3, 1, begin_norm, norm_at},
    {"native_layer_norm_backward", 4, 6, 1, begin_norm_backward, norm_backward_at},
    {.op = NULL},
};
