/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_start.c - causes before training begins: how parameters are initialized, how data is
 * prepared.
 */
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

enum { NONE = UINT32_MAX };

/* Signature: before training begins, the same state of the generator gives other numbers, or other
 * ops fill a parameter. */
bool fb__rule_init_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *parameter;
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    if (e->site->phase != FB_PHASE_INIT)
        return false;
    parameter = fb__first_different(&c->pair->a, FB_KIND_PARAM);
    if (parameter == NULL || parameter->site->phase != FB_PHASE_INIT ||
        !fb__is_real(parameter->site->dtype))
        return false;
    if (e->site->kind == FB_KIND_DRAW && fb__is_pair(c) && a->stream_key == b->stream_key &&
        a->count == b->count)
        fb__say(out, "%s is drawn from %s with (%g, %g) | (%g, %g), from the same numbers",
                fb__text(parameter->site->path), fb__text(e->site->distribution),
                a->site->parameters[0], a->site->parameters[1], b->site->parameters[0],
                b->site->parameters[1]);
    else if (e->site->kind == FB_KIND_TENSOR || e->site->kind == FB_KIND_PARAM)
        fb__say(out, "%s starts from another value (%s), with equal draws before it",
                fb__text(parameter->site->path), fb__text(e->site->op));
    else
        return false;
    fb__say_fix(out, "compare how the two programs initialize %s", fb__text(parameter->site->path));
    return true;
}

static const char *const statistics[] = {"mean",     "std",  "var",  "var_mean", "std_mean",
                                         "quantile", "amin", "amax", "median",   "min",
                                         "max",      "sum",  "norm", "aminmax"};

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
    else
        fb__say(out, "the %s is taken over other parts of equal data", fb__text(e->site->op));
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

/* Signature: a tensor outside of the model differs before training begins, and neither a parameter
 * nor a batch does: it is data that the program itself cuts into batches. */
bool fb__rule_made_input(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step *a = &c->pair->a;

    if (e->site->kind != FB_KIND_TENSOR || fb__text(e->site->path)[0] != '\0' ||
        e->site->phase != FB_PHASE_INIT || fb__first_different(a, FB_KIND_PARAM) != NULL ||
        fb__first_different(a, FB_KIND_SAMPLE) != NULL ||
        fb_trace_get_info(a->trace)->last_step == 0)
        return false;
    fb__say(out, "what training reads is made otherwise before it begins (%s)",
            fb__text(e->site->op));
    fb__say_fix(out, "compare the preparation of the data: cuts, shifts, normalization");
    return true;
}
