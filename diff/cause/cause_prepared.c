/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_prepared.c - causes in data that a program prepares before training begins, and in what
 * enters from outside of everything recorded.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

enum { NONE = UINT32_MAX };

/* --- What is prepared ------------------------------------------------------------------------- */

bool fb__comes_again(const fb__case *c, const fb__step_event *e)
{
    fb_trace *trace = fb__step_of(c, e)->trace;
    const char *stack = fb_trace_stack(trace, e->site_number);
    const fb_event *x = NULL;

    if (stack == NULL || strstr(stack, "__getitem__") != NULL || strstr(stack, "collate") != NULL ||
        fb_trace_seek(trace, 2, NULL) != FB_OK)
        return false; /* what a loader calls is data in each step */
    while (fb_trace_next(trace, &x, NULL, NULL) == FB_OK && x != NULL && x->step == 2) {
        const fb_site *site = fb_trace_site(trace, x->site);

        if (site != NULL && site->phase == FB_PHASE_FORWARD &&
            strcmp(fb__text(site->op), fb__text(e->site->op)) == 0 &&
            ((site->kind == FB_KIND_TENSOR && fb__text(site->path)[0] == '\0') ||
             (site->kind == FB_KIND_DRAW && e->site->kind == FB_KIND_DRAW)) &&
            strcmp(fb__text(fb_trace_stack(trace, x->site)), stack) == 0)
            return true;
    }
    return false;
}

static const char *const statistics[] = {"mean",     "std",  "var",  "var_mean", "std_mean",
                                         "quantile", "amin", "amax", "median",   "min",
                                         "max",      "sum",  "norm", "aminmax"};

/* Ops that make numbers of nothing. */
static const char *const constants[] = {"linspace", "arange", "ones",    "zeros",
                                        "full",     "eye",    "logspace"};

static bool covers(const fb__case *c, const fb__step_event *e)
{
    const fb__step *step = fb__step_of(c, e);
    fb_sketch whole, own;
    float mean;
    uint32_t bits;

    if (!fb__op_is(e->site, "mean") || e->site->dtype != FB_DTYPE_F32 ||
        !fb__input_sketch(&whole, c, e, 0) || !fb__sketch(&own, step, e) || own.elements != 1)
        return false;
    bits = (uint32_t)own.samples[0];
    memcpy(&mean, &bits, sizeof mean);
    const double difference = (double)mean - fb_sketch_mean(&whole);

    return difference * difference <= 1e-12 * (whole.sum_square / (double)whole.elements);
}

static bool is_statistic(const fb_site *site)
{
    return fb__is_one_of(fb__text(site->op), statistics, COUNT_OF(statistics));
}

/* A selection of rows that one side alone makes, for a statistic: the other's is over all rows. */
static bool is_selection(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *reader;

    if (fb__is_pair(c) || e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_INIT ||
        strncmp(fb__text(e->site->op), "index", 5) != 0)
        return false;
    reader = fb__reader(c, e, is_statistic, 16);
    return reader != NULL && reader->partner != NONE;
}

/* Signature: before the first batch, a statistic of equal data has another value: it is taken over
 * another part of them. Over all of them on one side only: the part held out for tests is in it. */
bool fb__rule_fitted_on_all(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb_sketch x, y;

    if (is_selection(c)) {
        fb__say(out,
                "%s fits a statistic to selected rows, %s to all of them: what is held out for "
                "evaluation has been looked at",
                fb__culprit_side(c), c->culprit->a != NULL ? "b" : "a");
        fb__say_fix(out,
                    "split first, then fit scalers and vocabularies on the training part only");
        return true;
    }
    if (!fb__is_pair(c) || e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_INIT ||
        !is_statistic(e->site) || e->input_count == 0)
        return false;
    const bool a = covers(c, c->culprit->a), b = covers(c, c->culprit->b);

    if (a != b)
        fb__say(out,
                "the %s of %s is over all of the data, that of %s over a part: what is held "
                "out for evaluation has been looked at",
                fb__text(e->site->op), b ? "b" : "a", b ? "a" : "b");
    else if (fb__input_sketch(&x, c, c->culprit->a, 0) &&
             fb__input_sketch(&y, c, c->culprit->b, 0) && x.elements != y.elements)
        fb__say(out, "the %s is taken over %llu | %llu numbers of equal data",
                fb__text(e->site->op), (unsigned long long)x.elements,
                (unsigned long long)y.elements);
    else
        return false;
    fb__say_fix(out, "split first, then fit scalers and vocabularies on the training part only");
    return true;
}

/* Signature: a tensor outside of the model differs, and the batch that is made next has the same
 * samples with other contents. */
bool fb__rule_made_content(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *x = NULL, *y;
    const fb__step *a = &c->pair->a;

    if (e->site->kind != FB_KIND_TENSOR || fb__text(e->site->path)[0] != '\0' ||
        (e->site->phase != FB_PHASE_INIT && e->site->phase != FB_PHASE_FORWARD))
        return false;
    for (size_t i = 0; i < a->count && x == NULL; i++)
        if (a->events[i].site->kind == FB_KIND_SAMPLE && a->events[i].partner != NONE &&
            !a->events[i].same_content)
            x = &a->events[i];
    if (x == NULL)
        return false;
    y = &c->pair->b.events[x->partner];
    if (fb_hash_equal(x->hash, y->hash) || x->count != y->count)
        return false;
    fb__say(out, "the samples of %s are made otherwise (%s), and have other contents",
            fb__text(x->site->dataset), fb__text(e->site->op));
    fb__say_fix(out, "compare the preparation of the data: transforms, normalization, caches");
    return true;
}

/* Whether an event of step 0 is made from numbers of the program alone: a schedule of noise, a
 * table of angles. No draw, no tensor from outside goes into it. */
static bool is_constant(const fb__case *c, const fb__step_event *e)
{
    const fb__step *step = fb__step_of(c, e);
    bool *constant = calloc(step->site_capacity + 1, sizeof *constant), all = false;
    const fb_event *x = NULL;

    if (constant == NULL || fb_trace_seek(step->trace, step->step, NULL) != FB_OK) {
        free(constant);
        return false;
    }
    while (fb_trace_next(step->trace, &x, NULL, NULL) == FB_OK && x != NULL &&
           x->step == step->step && !all) {
        const fb_site *site = fb_trace_site(step->trace, x->site);
        bool made = site != NULL && site->kind == FB_KIND_TENSOR && fb__is_real(site->dtype);

        if (x->site >= step->site_capacity)
            continue;
        for (uint32_t k = 0; k < x->input_count; k++)
            made &= x->inputs[k].site < step->site_capacity && constant[x->inputs[k].site];
        if (x->input_count == 0)
            made &= site != NULL &&
                    fb__is_one_of(fb__text(site->op), constants, COUNT_OF(constants)) &&
                    strcmp(fb__text(site->slot), "out") == 0;
        constant[x->site] = made;
        all = x->site == e->site_number;
    }
    all = e->site_number < step->site_capacity && constant[e->site_number];
    free(constant);
    return all;
}

/* Signature: a tensor outside of the model differs before training begins, and neither a parameter
 * nor a batch does: it is data that the program itself cuts into batches. */
bool fb__rule_made_input(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step *a = &c->pair->a;

    if (e->site->kind != FB_KIND_TENSOR || fb__text(e->site->path)[0] != '\0' ||
        e->site->phase != FB_PHASE_INIT || fb__first_different(a, FB_KIND_PARAM) != NULL ||
        fb__first_different(a, FB_KIND_SAMPLE) != NULL ||
        fb_trace_get_info(a->trace)->last_step == 0 || fb__comes_again(c, e) || is_constant(c, e))
        return false;
    fb__say(out, "what training reads is made otherwise before it begins (%s)",
            fb__text(e->site->op));
    fb__say_fix(out, "compare the preparation of the data: cuts, shifts, normalization");
    return true;
}

/* --- What enters from outside ----------------------------------------------------------------- */

static bool is_entry(const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;

    return fb__is_pair(c) && site->kind == FB_KIND_TENSOR &&
           fb__culprit_event(c)->input_count == 0 && strncmp(fb__text(site->slot), "in", 2) == 0;
}

bool fb__is_other_content(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    return is_entry(c) || (fb__is_pair(c) && a->site->kind == FB_KIND_SAMPLE &&
                           a->count == b->count && !fb_hash_equal(a->hash, b->hash));
}

/* The only element of a tensor, where its sketch was recorded. */
static bool number_of(double *out, const fb__step *step, const fb__step_event *e)
{
    fb_sketch s;

    if (!fb__sketch(&s, step, e) || s.elements != 1)
        return false;
    *out = s.sum;
    return true;
}

/* Signature: a single number that a module makes a tensor of, to compute with. */
bool fb__rule_other_number(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;
    double x, y;

    if (!is_entry(c) || site->rank > 0 || fb__text(site->path)[0] == '\0')
        return false;
    if (number_of(&x, &c->pair->a, c->culprit->a) && number_of(&y, &c->pair->b, c->culprit->b))
        fb__say(out, "%s computes %s with %g | %g", fb__place_of(fb__culprit_event(c)),
                fb__text(site->op), x, y);
    else
        fb__say(out, "%s computes %s with another number", fb__place_of(fb__culprit_event(c)),
                fb__text(site->op));
    fb__say_fix(out, "compare the number that goes into %s at that line", fb__text(site->op));
    return true;
}

/* Signature: what differs was made outside of everything recorded. */
bool fb__rule_entered(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);

    if (!is_entry(c))
        return false;
    fb__say(out, "what enters from outside differs: %s of %s", fb__text(e->site->slot),
            fb__text(e->site->op));
    fb__say_fix(out, "compare what makes it: a file, NumPy, a list of the program, an environment "
                     "and its seed");
    return true;
}
