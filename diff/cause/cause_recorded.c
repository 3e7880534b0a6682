/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_recorded.c - causes of recorded programs in what stands around the computation: shared
 * weights, random states that come again, samples that were seen before, modes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

enum { NONE = UINT32_MAX };

static bool is_pair(const fb__case *c)
{
    return c->culprit->a != NULL && c->culprit->b != NULL;
}

static bool is_first_parameter(const fb_site *site)
{
    return site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_INIT;
}

/* --- Shared weights --------------------------------------------------------------------------- */

/* A parameter that one side has in step 0 and the other lacks, as an event; NULL: none, or both
 * sides have some. */
static const fb__step_event *own_parameter(const char **side, const fb__case *c)
{
    const fb__step_event *found[2] = {NULL, NULL};

    for (int s = 0; s < 2; s++) {
        const fb__step *step = s == 0 ? &c->pair->a : &c->pair->b;

        for (size_t i = 0; i < step->count && found[s] == NULL; i++)
            if (is_first_parameter(step->events[i].site) && step->events[i].partner == NONE &&
                !step->events[i].beyond)
                found[s] = &step->events[i];
    }
    if ((found[0] == NULL) == (found[1] == NULL))
        return NULL;
    if (strncmp(fb__text((found[0] != NULL ? found[0] : found[1])->site->path), "optimizer", 9) ==
        0)
        return NULL; /* known by its optimizer alone: not a matter of sharing */
    *side = found[0] != NULL ? "a" : "b";
    return found[0] != NULL ? found[0] : found[1];
}

/* What an op of the module `module` reads in step 1 of a trace: a parameter of another module. */
static const char *borrowed(fb_trace *trace, const char *module, size_t length)
{
    const fb_event *e = NULL;

    if (fb_trace_seek(trace, 1, NULL) != FB_OK)
        return NULL;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step == 1) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || site->phase != FB_PHASE_FORWARD ||
            strncmp(fb__text(site->path), module, length) != 0 ||
            fb__text(site->path)[length] != '\0')
            continue;
        for (uint32_t i = 0; i < e->input_count; i++) {
            const fb_site *input = fb_trace_site(trace, e->inputs[i].site);

            if (input != NULL && input->kind == FB_KIND_PARAM &&
                (strncmp(fb__text(input->path), module, length) != 0 ||
                 fb__text(input->path)[length] != '.'))
                return fb__text(input->path);
        }
    }
    return NULL;
}

static void say_own(fb_diff_cause *out, const fb__case *c, const fb__step_event *e,
                    const char *side)
{
    const bool in_a = side[0] == 'a';
    const char *path = fb__text(e->site->path), *dot = strrchr(path, '.');
    const char *shared = borrowed(in_a ? c->pair->b.trace : c->pair->a.trace, path,
                                  dot == NULL ? strlen(path) : (size_t)(dot - path));

    if (shared != NULL)
        fb__say(out,
                "%s has a parameter of its own at %s, where %s computes with %s: the tie is "
                "broken",
                side, path, in_a ? "b" : "a", shared);
    else
        fb__say(out, "only %s has parameter %s", side, path);
    fb__say_fix(out, "share %s in both or in neither, and after loading too", path);
}

/* Signature: one side has a parameter more, or an op reads another parameter than on the other. */
bool fb__rule_aliasing(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *own;
    const char *side;

    if (e->site->phase == FB_PHASE_INIT) {
        own = own_parameter(&side, c);
        if (own == NULL)
            return false;
        say_own(out, c, own, side);
        return true;
    }
    if (c->report->first.what != FB_DIFF_INPUTS || e->site->kind != FB_KIND_TENSOR)
        return false;
    fb__say(out,
            "%s computes an equal result from another parameter: what is one tensor in one "
            "run are two in the other",
            fb__text(e->site->path));
    fb__say_fix(out, "compare which modules share their weights");
    return true;
}

/* --- Random states ---------------------------------------------------------------------------- */

/* The step of an earlier draw that began with the same state of the same generator, or UINT64_MAX.
 * A state of mt19937 is never met twice by drawing. */
static uint64_t drawn_before(const fb__step *step, const fb__step_event *e)
{
    const fb_event *x = NULL;
    uint64_t number = 0;

    if (fb_trace_seek_event(step->trace, 0, NULL) != FB_OK)
        return UINT64_MAX;
    while (fb_trace_next(step->trace, &x, &number, NULL) == FB_OK && x != NULL &&
           number < e->number) {
        const fb_site *site = fb_trace_site(step->trace, x->site);

        if (site != NULL && site->kind == FB_KIND_DRAW && x->key == e->stream_key && x->count > 0 &&
            e->count > 0 && x->counter == e->counter &&
            strcmp(fb__text(site->algorithm), "mt19937") == 0)
            return x->step;
    }
    return UINT64_MAX;
}

/* How often a run seeds a generator with this number. */
static size_t count_seeds(fb_trace *trace, const fb__step_event *e)
{
    const fb_event *x = NULL;
    size_t n = 0;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return 0;
    while (fb_trace_next(trace, &x, NULL, NULL) == FB_OK && x != NULL) {
        const fb_site *site = fb_trace_site(trace, x->site);

        n += site != NULL && site->kind == FB_KIND_SEED && x->key == e->stream_key &&
             strcmp(fb__text(site->stream), fb__text(e->site->stream)) == 0;
    }
    return n;
}

/* Signature: one run seeds a generator with the same number several times. */
bool fb__rule_seed_again(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    size_t a, b;

    if (e->site->kind != FB_KIND_SEED || is_pair(c))
        return false;
    a = count_seeds(c->pair->a.trace, e);
    b = count_seeds(c->pair->b.trace, e);
    if ((a > 1) == (b > 1))
        return false;
    fb__say(out, "%s is seeded with %" PRIu64 " %zu | %zu times: its numbers come again",
            fb__text(e->site->stream), e->stream_key, a, b);
    fb__say_fix(out, "seed %s once, at the start", fb__text(e->site->stream));
    return true;
}

/* Whether all that the numbers decide is which samples come. */
static bool is_order(const fb__step_event *e)
{
    return strcmp(fb__text(e->site->distribution), "randperm") == 0;
}

/* The first batches of the step, where their samplers are of other classes. */
static bool other_sampler(fb__argument_pair *p, const fb__case *c)
{
    const fb__step_event *x = fb__first_different(&c->pair->a, FB_KIND_SAMPLE);
    const fb__step_event *y = fb__first_different(&c->pair->b, FB_KIND_SAMPLE);

    return x != NULL && y != NULL && fb__argument(p->a, sizeof p->a, x->site, "sampler") &&
           fb__argument(p->b, sizeof p->b, y->site, "sampler") && strcmp(p->a, p->b) != 0;
}

static bool is_drawn_by_sampler(const fb__case *c, const fb__step_event *e)
{
    const char *stack = fb_trace_stack(fb__step_of(c, e)->trace, e->site_number);

    return strstr(fb__text(stack), "sampler.py") != NULL &&
           fb__first_different(&c->pair->a, FB_KIND_SAMPLE) != NULL;
}

/* Signature: a permutation differs or is missing, of a generator that draws nothing else here, or
 * that has drawn it before. */
bool fb__rule_order_draw(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b, *e = fb__culprit_event(c);
    fb__argument_pair p;
    bool again_a, again_b;

    if (e->site->kind == FB_KIND_DRAW && other_sampler(&p, c)) {
        fb__say(out, "samples are chosen by %s | %s, which draw other numbers", p.a, p.b);
        fb__say_fix(out, "shuffle in both or in neither, with a generator of its own and a fixed "
                         "seed");
        return true;
    }
    if (e->site->kind == FB_KIND_DRAW && (a == NULL || b == NULL) && is_drawn_by_sampler(c, e)) {
        fb__say(out, "only %s draws for the order of its samples", fb__culprit_side(c));
        fb__say_fix(out, "shuffle in both or in neither, with a generator of its own and a fixed "
                         "seed");
        return true;
    }

    if (e->site->kind != FB_KIND_DRAW || !is_order(e) ||
        strcmp(fb__text(e->site->stream), "torch") == 0)
        return false;
    again_a = a != NULL && drawn_before(&c->pair->a, a) != UINT64_MAX;
    again_b = b != NULL && drawn_before(&c->pair->b, b) != UINT64_MAX;
    if (again_a != again_b)
        fb__say(out, "%s takes the permutation of an earlier epoch again", again_a ? "a" : "b");
    else if (a == NULL || b == NULL)
        return false;
    else
        fb__say(out, "the permutation of %" PRIu64 " samples is drawn from another state of %s",
                e->count, fb__text(e->site->stream));
    fb__say_fix(out, "seed the sampler's generator once and alike, call set_epoch() in each epoch");
    return true;
}

/* Signature: a draw from a state that its run has drawn from before, where the other run's is new.
 */
bool fb__rule_key_reuse(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    uint64_t in_a = UINT64_MAX, in_b = UINT64_MAX, at;

    if (fb__culprit_event(c)->site->kind != FB_KIND_DRAW)
        return false;
    if (a != NULL && a->count > 0)
        in_a = drawn_before(&c->pair->a, a);
    if (b != NULL && b->count > 0)
        in_b = drawn_before(&c->pair->b, b);
    if ((in_a == UINT64_MAX) == (in_b == UINT64_MAX))
        return false;
    at = in_a != UINT64_MAX ? in_a : in_b;
    fb__say(out,
            "%s draws the numbers of %s again that it has drawn in step %" PRIu64
            ": the generator was set back to that state",
            in_a != UINT64_MAX ? "a" : "b", fb__text(fb__culprit_event(c)->site->stream), at);
    fb__say_fix(out, "seed once, at the start; give each worker, epoch or use a seed of its own");
    return true;
}

/* --- Modes ------------------------------------------------------------------------------------ */

/* Whether the last model call before an event of the step was in evaluation mode. */
static bool is_in_evaluation(const fb__step *step, const fb__step_event *e)
{
    const fb_event *x = NULL;
    uint64_t number = 0;
    bool training = true;

    if (fb_trace_seek(step->trace, step->step, NULL) != FB_OK)
        return false;
    while (fb_trace_next(step->trace, &x, &number, NULL) == FB_OK && x != NULL &&
           number < e->number) {
        const fb_site *site = fb_trace_site(step->trace, x->site);

        if (site != NULL && site->kind == FB_KIND_MODE &&
            strcmp(fb__text(site->slot), "training") == 0)
            training = x->value != 0;
    }
    return !training;
}

/* Whether one module is the other or holds it. */
static bool is_around(const char *x, const char *y)
{
    const size_t n = strlen(x), m = strlen(y), least = n < m ? n : m;

    if (least == 0 || strncmp(x, y, least) != 0)
        return false;
    return n == m || (n < m ? y[n] : x[m]) == '.';
}

/* A mode of the module of an event, or of one around it, that the sides do not share. Where no
 * gradient arrives, a gradient mode of any module. */
static const fb__step_event *other_mode(const fb__step *step, const char *path, bool any_gradient)
{
    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];

        if (e->site->kind == FB_KIND_MODE && !e->equal && !e->beyond &&
            (strcmp(fb__text(e->site->slot), "training") == 0 ||
             strcmp(fb__text(e->site->slot), "grad") == 0 ||
             strcmp(fb__text(e->site->slot), "requires_grad") == 0) &&
            (is_around(fb__text(e->site->path), path) ||
             (any_gradient && strcmp(fb__text(e->site->slot), "training") != 0)))
            return e;
    }
    return NULL;
}

/* Signature: the module in which a result differs runs in another mode on one side; or the op
 * itself says so. */
bool fb__rule_inner_mode(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *mode;
    const char *path = fb__text(e->site->path);
    fb__argument_pair p;

    if (e->site->kind != FB_KIND_TENSOR ||
        (e->site->phase != FB_PHASE_FORWARD && e->site->phase != FB_PHASE_BACKWARD))
        return false;
    if (is_pair(c) && fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site) &&
        (strcmp(p.name, "training") == 0 || strcmp(p.name, "train") == 0)) {
        fb__say(out, "%s (%s) runs with training %s | %s", path, fb__text(e->site->op), p.a, p.b);
    } else {
        const bool lost = e->site->phase == FB_PHASE_BACKWARD && !is_pair(c);

        mode = other_mode(&c->pair->a, path, lost);
        if (mode == NULL)
            mode = other_mode(&c->pair->b, path, lost);
        if (mode == NULL)
            return false;
        fb__say(out, "%s runs with %s %s in %s only", fb__text(mode->site->path),
                fb__text(mode->site->slot), mode->value != 0 ? "on" : "off",
                fb__step_of(c, mode) == &c->pair->a ? "a" : "b");
    }
    fb__say_fix(out, "set the same modes at %s in both: train(), eval(), no_grad()", path);
    return true;
}

/* Signature: only one run draws a dropout mask, and it does in evaluation mode. */
bool fb__rule_dropout_mode(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step *step = fb__step_of(c, e);

    if (e->site->kind != FB_KIND_DRAW || is_pair(c) || e < step->events ||
        e >= step->events + step->count ||
        strncmp(fb__text(e->site->distribution), "bernoulli", 9) != 0 || !is_in_evaluation(step, e))
        return false;
    fb__say(out, "%s draws a dropout mask for %s though the model is in evaluation mode",
            fb__culprit_side(c), fb__text(e->site->consumer));
    fb__say_fix(out, "pass training=self.training to dropout in %s, or use nn.Dropout",
                fb__text(e->site->consumer));
    return true;
}

/* --- Initialization and data ------------------------------------------------------------------ */

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
    if (e->site->kind == FB_KIND_DRAW && is_pair(c) && a->stream_key == b->stream_key &&
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

    if (is_pair(c) || e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_INIT ||
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
    if (!is_pair(c) || e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_INIT ||
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

/* Signature: what entered from outside is the same numbers in another order. */
bool fb__rule_outside_order(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb_sketch x, y;

    if (!is_pair(c) || e->site->kind != FB_KIND_TENSOR || fb__text(e->site->path)[0] != '\0' ||
        e->input_count > 0 || !fb__sketch(&x, &c->pair->a, c->culprit->a) ||
        !fb__sketch(&y, &c->pair->b, c->culprit->b) || x.elements < 4 ||
        !fb_hash_equal(x.multiset, y.multiset))
        return false;
    fb__say(out, "what enters at %s is the same numbers in another order", fb__text(e->site->op));
    fb__say_fix(out, "sort what a directory listing, a set or a dictionary returns");
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
