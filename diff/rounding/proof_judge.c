/* SPDX-License-Identifier: Apache-2.0
 *
 * proof_judge.c - two results of an operation beside what float64 gives: proved real, rounding, or
 * neither.
 */
#include <math.h>

#include "diff/rounding/proof.h"

enum {
    WORK_MAX = 1 << 30, /* operations: about a second */
    PROBES = 64,        /* elements that tell how the operands are to be read */
};

/* The errors of one side. */
typedef struct side {
    const double *at;
    double worst, likely, legal; /* largest, in bounds, in likely errors, in those of any kernel */
    double square;               /* sum of squares in likely errors */
    double along, error, norm;   /* <error, exact>, |error|^2, |exact|^2 */
    uint64_t element;            /* of the largest */
} side;

static void look(side *s, const fb__exact *x, uint64_t element)
{
    const double error = s->at[element] - x->value, size = fabs(error);
    double in_bounds;

    if (s->at[element] == x->value) /* infinities too */
        return;
    in_bounds = x->bound > 0 && isfinite(error) ? size / x->bound : INFINITY;
    if (isnan(s->at[element]) && isnan(x->value))
        return;
    if (!(in_bounds <= s->worst)) {
        s->worst = in_bounds;
        s->element = element;
    }
    s->likely = fmax(s->likely, x->likely > 0 ? size / x->likely : INFINITY);
    s->legal = fmax(s->legal, x->legal > 0 ? size / x->legal : INFINITY);
    s->square += x->likely > 0 ? (size / x->likely) * (size / x->likely) : 0;
    s->along += error * x->value;
    s->error += error * error;
}

static void look_at(side *a, side *b, fb__operation *o, uint64_t element)
{
    const fb__exact x = fb__exact_at(o, element);

    look(a, &x, element);
    look(b, &x, element);
    a->norm += isfinite(x.value) ? x.value * x.value : 0;
    b->norm = a->norm;
}

/* The way to read the operands by which one of the sides is what the operation gives. A trace does
 * not tell through which view a tensor was read. */
static bool find_layout(fb__operation *o, const double *a, const double *b)
{
    double best = INFINITY;
    unsigned found = 0;

    for (unsigned layout = 0; layout < o->form->layouts; layout++) {
        side x = {.at = a}, y = {.at = b};

        o->layout = layout;
        if (!o->form->begin(o))
            continue;
        for (uint64_t i = 0; i < PROBES && i < o->out.count; i++)
            look_at(&x, &y, o, o->out.count <= PROBES ? i : i * (o->out.count - 1) / (PROBES - 1));
        if (fmin(x.square, y.square) < best) {
            best = fmin(x.square, y.square);
            found = layout;
        }
    }
    o->layout = found;
    return best < INFINITY && o->form->begin(o);
}

/* One factor explains what a side is off by, and it is too far from 1 for so many sums that each go
 * their own way: 4 deviations of a mean of their errors, and at least 8 roundings. */
static bool is_scaled(const side *s, const side *other, const fb__operation *o, double *scale)
{
    const double random = 4 * sqrt((double)o->terms) / sqrt((double)o->groups);
    const double least = (o->unit + o->narrow) * fmax(8, random);

    if (!(s->norm > 0) || !(s->error > 0) || !(s->square > 9 * other->square))
        return false;
    *scale = 1 + s->along / s->norm;
    return s->along * s->along > 0.5 * s->error * s->norm && fabs(*scale - 1) > least;
}

static void judge(fb_diff_proof *out, fb__operation *o, const side *a, const side *b)
{
    const side *worse = a->worst > b->worst ? a : b;

    out->worst_a = a->worst;
    out->worst_b = b->worst;
    out->likely_a = a->likely;
    out->likely_b = b->likely;
    out->of_b = worse == b;
    out->element = worse->element;
    out->exact = fb__exact_at(o, worse->element).value;
    out->a = a->at[worse->element];
    out->b = b->at[worse->element];
    out->scale = (double)NAN;
    if ((a->worst > 1 && b->worst > 1) || (o->narrow > 0 && a->legal > 1 && b->legal > 1))
        return; /* not what was computed, or not from this */
    if (worse->worst > 1)
        out->verdict = FB_DIFF_PROOF_REAL;
    else if (is_scaled(a, b, o, &out->scale) || is_scaled(b, a, o, &out->scale)) {
        out->verdict = FB_DIFF_PROOF_SUSPECT;
        out->of_b = b->square > a->square;
    } else if (worse->likely <= 1 && a->likely <= 1 && b->likely <= 1)
        out->verdict = FB_DIFF_PROOF_ROUNDING;
    else if (fmax(a->likely, b->likely) > 3 * fmin(a->likely, b->likely) &&
             fmax(a->legal, b->legal) > 1) {
        out->verdict = FB_DIFF_PROOF_SUSPECT;
        out->of_b = b->likely > a->likely;
    } else
        out->verdict = FB_DIFF_PROOF_OPEN;
}

/* Where all that differs has one index along a dimension, and that is no chance. */
static void find_slice(fb_diff_proof *out, const fb__operation *o, const double *a, const double *b)
{
    uint64_t stride = 1;

    for (uint32_t d = o->out.rank; d-- > 0; stride *= o->out.shape[d]) {
        const uint64_t size = o->out.shape[d];
        uint64_t index = 0, count = 0;
        bool one = size >= 8;

        for (uint64_t i = 0; i < o->out.count && one; i++) {
            if (a[i] == b[i])
                continue;
            one = count == 0 || index == i / stride % size;
            index = i / stride % size;
            count++;
        }
        if (!one || ((double)count - 1) * log2((double)size) < 20)
            continue;
        out->has_slice = true;
        out->slice_dim = d;
        out->slice = index;
        out->slices = size;
    }
}

void fb__proof_judge(fb_diff_proof *out, fb__operation *o, const double *a, const double *b)
{
    side x = {.at = a}, y = {.at = b};
    uint64_t step = 1, differing = 0;
    double largest = 0;

    o->form = fb__exact_form_of(o);
    if (o->form == NULL || !find_layout(o, a, b))
        return;
    if (o->work > 0 && o->out.count > WORK_MAX / o->work)
        step = o->out.count / (WORK_MAX / o->work + 1) + 1;
    for (uint64_t i = 0; i < o->out.count; i++) {
        if (fabs(a[i] - b[i]) > largest) {
            largest = fabs(a[i] - b[i]);
            differing = i;
        }
        if (i % step != 0)
            continue;
        look_at(&x, &y, o, i);
        out->evaluated++;
    }
    if (differing % step != 0) { /* where the sides are farthest apart */
        look_at(&x, &y, o, differing);
        out->evaluated++;
    }
    out->elements = o->out.count;
    out->terms = o->terms;
    out->narrow = o->narrow > 0;
    judge(out, o, &x, &y);
    find_slice(out, o, a, b);
}
