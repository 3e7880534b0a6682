/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluation_windows.c - convolutions and their gradients, in float64.
 *
 * One relation holds for all (fb__windows): a convolution computes the coarse tensor from the fine
 * one, a transposed one the fine from the coarse, and the gradients what is left.
 */
#include <math.h>
#include <string.h>

#include "diff/rounding/evaluation.h"

enum {
    DIMENSIONS = 3,
    /* Kernels by transforms (Winograd, FFT) make sums of inputs first and lose digits by it: of
     * tiles of 6 x 6 by 3 x 3 some 100 times what a sum in order does, relative to the largest
     * input (Barabasz, Anderson, Soodhalter and Gregg, ACM TOMS 46, 2020). */
    TRANSFORMS = 256,
    USUALLY = TRANSFORMS / 8, /* of random inputs: worst cases do not meet */
};

/* What is computed. */
enum target { COARSE, FINE, WEIGHTS, BIAS };

/* --- Shapes ----------------------------------------------------------------------------------- */

/* A list of a number for each dimension, or of one for all. */
static bool read_list(int64_t out[DIMENSIONS], const fb__operation *o, const char *name, int dims,
                      int64_t absent)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(o->arguments, name);
    const int count = cJSON_GetArraySize(list);

    for (int d = 0; d < DIMENSIONS; d++)
        out[d] = absent;
    if (!cJSON_IsArray(list) || (count != dims && count != 1))
        return false;
    for (int d = 0; d < dims; d++) {
        const cJSON *item = cJSON_GetArrayItem(list, count == 1 ? 0 : d);

        if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 1e6)
            return false;
        out[d] = (int64_t)item->valuedouble;
    }
    return true;
}

/* channels and places of a tensor [batch, channels, places] that may lack its batch; of one
 * dimension it may have been read through a view. */
static bool read_tensor(uint64_t *batch, uint64_t *channels, uint64_t places[DIMENSIONS],
                        const fb__operand *x, uint32_t dims, uint64_t known_batch,
                        uint64_t known_channels)
{
    const uint32_t before = x->rank - (dims < x->rank ? dims : x->rank);

    for (uint32_t d = 0; d < DIMENSIONS; d++)
        places[d] = 1;
    if (x->rank >= dims && (before == 1 || before == 2)) {
        for (uint32_t d = 0; d < dims; d++)
            places[d] = x->shape[before + d];
        *batch = before == 2 ? x->shape[0] : 1;
        *channels = x->shape[before - 1];
        if ((known_batch == 0 || *batch == known_batch) &&
            (known_channels == 0 || *channels == known_channels))
            return true;
    }
    if (dims != 1 || known_batch == 0 || known_channels == 0 ||
        x->count % (known_batch * known_channels) != 0)
        return false;
    *batch = known_batch;
    *channels = known_channels;
    places[0] = x->count / (known_batch * known_channels);
    return true;
}

/* Whether the places of the two tensors fit each other. */
static bool places_fit(const fb__windows *w)
{
    for (int d = 0; d < DIMENSIONS; d++) {
        const int64_t reach = w->dilation[d] * ((int64_t)w->kernel[d] - 1) + 1;
        const int64_t free = (int64_t)w->size[d] + 2 * w->padding[d] - reach;

        if (w->stride[d] < 1 || w->dilation[d] < 1 || free < 0 ||
            (uint64_t)(free / w->stride[d]) + 1 != w->count[d])
            return false;
    }
    return true;
}

static bool find_windows(fb__operation *o, const fb__operand *fine, const fb__operand *coarse,
                         const fb__operand *weights)
{
    fb__windows *w = &o->windows;
    const uint32_t dims =
        (uint32_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(o->arguments, "stride"));
    uint64_t batch;

    w->groups = (uint64_t)fmin(1e9, fmax(1, fb__exact_argument(o, "groups", 1)));
    if (dims < 1 || dims > DIMENSIONS || weights->rank != dims + 2 ||
        !read_list(w->stride, o, "stride", (int)dims, 1) ||
        !read_list(w->padding, o, "padding", (int)dims, 0) ||
        !read_list(w->dilation, o, "dilation", (int)dims, 1))
        return false;
    w->coarse = weights->shape[0];
    w->fine = weights->shape[1] * w->groups;
    for (uint32_t d = 0; d < DIMENSIONS; d++)
        w->kernel[d] = d < dims ? weights->shape[2 + d] : 1;
    if (w->coarse == 0 || w->fine == 0 || w->coarse % w->groups != 0)
        return false;
    /* The result's shape is known; the other's may be a view's. */
    if (fine == &o->out)
        return read_tensor(&w->batch, &w->fine, w->size, fine, dims, 0, w->fine) &&
               read_tensor(&batch, &w->coarse, w->count, coarse, dims, w->batch, w->coarse) &&
               places_fit(w);
    return read_tensor(&w->batch, &w->coarse, w->count, coarse, dims, 0, w->coarse) &&
           read_tensor(&batch, &w->fine, w->size, fine, dims, w->batch, w->fine) && places_fit(w);
}

/* Whether a kernel by transforms may have been taken: a window moves by one. NNPACK goes so through
 * windows of one element too. */
static bool may_be_transformed(const fb__windows *w)
{
    for (int d = 0; d < DIMENSIONS; d++)
        if (w->stride[d] != 1 || (w->dilation[d] != 1 && w->kernel[d] > 1))
            return false;
    return true;
}

static double largest_of(const double *x, uint64_t n)
{
    double largest = 0;

    for (uint64_t i = 0; i < n && x != NULL; i++)
        largest = fmax(largest, fabs(x[i]));
    return largest;
}

/* --- Sums ------------------------------------------------------------------------------------- */

typedef struct sum {
    double value, magnitude, weights; /* of the terms; of what multiplies the first factor */
    uint64_t terms;
} sum;

static void add(sum *s, double x, double y)
{
    s->value += x * y;
    s->magnitude += fabs(x * y);
    s->weights += fabs(y);
    s->terms++;
}

static uint64_t volume(const uint64_t x[DIMENSIONS])
{
    return x[0] * x[1] * x[2];
}

static void split_place(int64_t out[DIMENSIONS], uint64_t place, const uint64_t sizes[DIMENSIONS])
{
    for (int d = DIMENSIONS; d-- > 0; place /= sizes[d])
        out[d] = (int64_t)(place % sizes[d]);
}

/* The fine place that weight k of coarse place o meets, or UINT64_MAX: padding. */
static uint64_t fine_place(const fb__windows *w, const int64_t o[DIMENSIONS],
                           const int64_t k[DIMENSIONS])
{
    uint64_t at = 0;

    for (int d = 0; d < DIMENSIONS; d++) {
        const int64_t s = o[d] * w->stride[d] - w->padding[d] + k[d] * w->dilation[d];

        if (s < 0 || s >= (int64_t)w->size[d])
            return UINT64_MAX;
        at = at * w->size[d] + (uint64_t)s;
    }
    return at;
}

/* The coarse place whose weight k meets fine place s, or UINT64_MAX: none. */
static uint64_t coarse_place(const fb__windows *w, const int64_t s[DIMENSIONS],
                             const int64_t k[DIMENSIONS])
{
    uint64_t at = 0;

    for (int d = 0; d < DIMENSIONS; d++) {
        const int64_t o = s[d] + w->padding[d] - k[d] * w->dilation[d];

        if (o < 0 || o % w->stride[d] != 0 || o / w->stride[d] >= (int64_t)w->count[d])
            return UINT64_MAX;
        at = at * w->count[d] + (uint64_t)(o / w->stride[d]);
    }
    return at;
}

static sum sum_coarse(const fb__windows *w, uint64_t element)
{
    const uint64_t places = volume(w->count), taps = volume(w->kernel), all = volume(w->size);
    const uint64_t each = w->fine / w->groups, own = element / places % w->coarse;
    const uint64_t batch = element / places / w->coarse;
    const uint64_t first = own / (w->coarse / w->groups) * each;
    int64_t o[DIMENSIONS], k[DIMENSIONS];
    sum s = {.terms = 0};

    split_place(o, element % places, w->count);
    for (uint64_t tap = 0; tap < taps; tap++) {
        uint64_t at;

        split_place(k, tap, w->kernel);
        at = fine_place(w, o, k);
        for (uint64_t c = 0; c < each && at != UINT64_MAX; c++)
            add(&s, w->of_fine[(batch * w->fine + first + c) * all + at],
                w->weights[(own * each + c) * taps + tap]);
    }
    return s;
}

static sum sum_fine(const fb__windows *w, uint64_t element)
{
    const uint64_t places = volume(w->size), taps = volume(w->kernel), all = volume(w->count);
    const uint64_t each = w->fine / w->groups, own = element / places % w->fine;
    const uint64_t batch = element / places / w->fine, outs = w->coarse / w->groups;
    const uint64_t first = own / each * outs;
    int64_t at[DIMENSIONS], k[DIMENSIONS];
    sum s = {.terms = 0};

    split_place(at, element % places, w->size);
    for (uint64_t tap = 0; tap < taps; tap++) {
        uint64_t from;

        split_place(k, tap, w->kernel);
        from = coarse_place(w, at, k);
        for (uint64_t c = 0; c < outs && from != UINT64_MAX; c++)
            add(&s, w->of_coarse[(batch * w->coarse + first + c) * all + from],
                w->weights[((first + c) * each + own % each) * taps + tap]);
    }
    return s;
}

static sum sum_weights(const fb__windows *w, uint64_t element)
{
    const uint64_t taps = volume(w->kernel), all = volume(w->size), places = volume(w->count);
    const uint64_t each = w->fine / w->groups, own = element / taps / each;
    const uint64_t channel = own / (w->coarse / w->groups) * each + element / taps % each;
    int64_t o[DIMENSIONS], k[DIMENSIONS];
    sum s = {.terms = 0};

    split_place(k, element % taps, w->kernel);
    for (uint64_t place = 0; place < places; place++) {
        uint64_t at;

        split_place(o, place, w->count);
        at = fine_place(w, o, k);
        for (uint64_t b = 0; b < w->batch && at != UINT64_MAX; b++)
            add(&s, w->of_fine[(b * w->fine + channel) * all + at],
                w->of_coarse[(b * w->coarse + own) * places + place]);
    }
    return s;
}

/* The gradient of the bias: of each channel of the result that was. */
static sum sum_bias(const fb__windows *w, uint64_t channel)
{
    const bool of_coarse = w->of_coarse != NULL;
    const uint64_t channels = of_coarse ? w->coarse : w->fine;
    const uint64_t places = volume(of_coarse ? w->count : w->size);
    const double *x = of_coarse ? w->of_coarse : w->of_fine;
    sum s = {.terms = 0};

    for (uint64_t b = 0; b < w->batch; b++)
        for (uint64_t i = 0; i < places; i++)
            add(&s, x[(b * channels + channel) * places + i], 1);
    return s;
}

static fb__exact window_at(const fb__operation *o, uint64_t element)
{
    const fb__windows *w = &o->windows;
    sum s;
    fb__exact x;

    switch ((enum target)o->function) {
    case COARSE:
        s = sum_coarse(w, element);
        break;
    case FINE:
        s = sum_fine(w, element);
        break;
    case WEIGHTS:
        s = sum_weights(w, element);
        break;
    default:
        s = sum_bias(w, element);
        break;
    }
    if (w->bias != NULL) {
        const bool coarse = o->function == COARSE;
        const uint64_t places = volume(coarse ? w->count : w->size);

        add(&s, w->bias[element / places % (coarse ? w->coarse : w->fine)], 1);
        s.weights--;
    }
    x = fb__exact_sum(o, s.value, s.magnitude, s.terms);
    if (w->wide && s.weights > 0) {
        const double mixed = o->unit * w->largest * s.weights;

        x.bound += TRANSFORMS * mixed;
        x.legal = x.likely + USUALLY * mixed;
    }
    return x;
}

/* --- The operations --------------------------------------------------------------------------- */

static bool finish(fb__operation *o, enum target target, const double *mixed, uint64_t count)
{
    fb__windows *w = &o->windows;
    const uint64_t taps = volume(w->kernel);
    const uint64_t results[] = {
        w->batch * w->coarse * volume(w->count), w->batch * w->fine * volume(w->size),
        w->coarse * (w->fine / w->groups) * taps, w->of_coarse != NULL ? w->coarse : w->fine};
    const uint64_t terms[] = {w->fine / w->groups * taps, w->coarse / w->groups * taps,
                              w->batch * volume(w->count),
                              results[w->of_coarse != NULL ? COARSE : FINE] / results[BIAS]};

    o->function = target;
    o->terms = terms[target] + (w->bias != NULL);
    o->work = o->terms;
    o->groups = o->out.count;
    w->wide = target != BIAS && may_be_transformed(w);
    w->largest = w->wide ? largest_of(mixed, count) : 0;
    return o->out.count == results[target];
}

/* in: input, weights, bias. */
static bool begin_convolution(fb__operation *o)
{
    fb__windows *w = &o->windows;
    const cJSON *flag = cJSON_GetObjectItemCaseSensitive(o->arguments, "transposed");
    const bool transposed = cJSON_IsTrue(flag);
    const fb__operand *x = &o->in[0];

    *w = (fb__windows){.weights = o->in[1].at};
    if (o->output != 0 || o->out.count == 0 ||
        !find_windows(o, transposed ? &o->out : x, transposed ? x : &o->out, &o->in[1]))
        return false;
    if (transposed)
        w->of_coarse = x->at;
    else
        w->of_fine = x->at;
    w->bias = o->in_count == 3 ? o->in[2].at : NULL;
    if (w->bias != NULL && o->in[2].count != (transposed ? w->fine : w->coarse))
        return false;
    if (x->count != (transposed ? w->batch * w->coarse * volume(w->count)
                                : w->batch * w->fine * volume(w->size)))
        return false;
    return finish(o, transposed ? FINE : COARSE, x->at, x->count);
}

/* Gradients that nobody asked for are no outputs: the n-th is the n-th of output_mask. */
static int asked_for(const fb__operation *o)
{
    const cJSON *mask = cJSON_GetObjectItemCaseSensitive(o->arguments, "output_mask");
    unsigned nth = 0;

    for (int i = 0; i < 3; i++)
        if (cJSON_IsTrue(cJSON_GetArrayItem(mask, i)) && nth++ == o->output)
            return i;
    return -1;
}

/* in: gradient, input, weights. */
static bool begin_backward(fb__operation *o)
{
    fb__windows *w = &o->windows;
    const cJSON *flag = cJSON_GetObjectItemCaseSensitive(o->arguments, "transposed");
    const bool transposed = cJSON_IsTrue(flag);
    const fb__operand *g = &o->in[0], *x = &o->in[1], *mixed = g;
    const int which = asked_for(o);
    const fb__operand *fine = transposed ? g : x, *coarse = transposed ? x : g;

    *w = (fb__windows){.weights = o->in[2].at};
    if (which < 0 || o->out.count == 0)
        return false;
    if (which == 0 && transposed)
        coarse = &o->out;
    else if (which == 0)
        fine = &o->out;
    if (!find_windows(o, fine, coarse, &o->in[2]))
        return false;
    if (fine->count != w->batch * w->fine * volume(w->size) ||
        coarse->count != w->batch * w->coarse * volume(w->count))
        return false;
    w->of_fine = fine == &o->out ? NULL : fine->at;
    w->of_coarse = coarse == &o->out ? NULL : coarse->at;
    if (which == 0)
        return finish(o, transposed ? COARSE : FINE, mixed->at, mixed->count);
    if (which == 1)
        return finish(o, WEIGHTS, fine->at, fine->count);
    w->of_fine = transposed ? fine->at : NULL;
    w->of_coarse = transposed ? NULL : coarse->at;
    return finish(o, BIAS, NULL, 0);
}

const fb__exact_form fb__exact_windows[] = {
    {"convolution", 2, 3, 1, begin_convolution, window_at},
    {"convolution_backward", 3, 3, 1, begin_backward, window_at},
    {.op = NULL},
};
