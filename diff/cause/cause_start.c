/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_start.c - causes before training begins: how parameters are initialized, how data is
 * prepared.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

enum { NONE = UINT32_MAX };

/* A parameter of another shape, or that one side lacks: that is no matter of first values. */
static bool is_other_form(const fb__case *c, const fb__step_event *parameter)
{
    const fb_site *a = parameter->site, *b;

    if (parameter->partner == UINT32_MAX)
        return true;
    b = c->pair->b.events[parameter->partner].site;
    return a->rank != b->rank || memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]) != 0;
}

/* Signature: the first parameter that differs has another shape, or is on one side only. */
bool fb__rule_other_model(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const bool held = strncmp(fb__text(e->site->path), "optimizer", 9) == 0;

    if (e->site->phase != FB_PHASE_INIT || e->site->kind != FB_KIND_PARAM || held ||
        !is_other_form(c, e))
        return false;
    fb__say(out,
            fb__is_pair(c) ? "the models are built otherwise: %s has another shape"
                           : "the models are built otherwise: only one has %s",
            fb__text(e->site->path));
    fb__say_fix(out, "compare the layers of the two models: their order and their sizes");
    return true;
}

/* Signature: an optimizer that names no module holds another parameter. */
bool fb__rule_other_held(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);

    if (e->site->phase != FB_PHASE_INIT || e->site->kind != FB_KIND_PARAM ||
        strncmp(fb__text(e->site->path), "optimizer", 9) != 0 || !is_other_form(c, e))
        return false;
    fb__say(out,
            fb__is_pair(c) ? "the optimizers hold other parameters: %s has another shape"
                           : "the optimizers hold other parameters: only one has %s",
            fb__text(e->site->path));
    fb__say_fix(out, "give the optimizer the parameters of the same model in both, all of them");
    return true;
}

/* Whether the line of the program that makes an event makes one in a later step too: then it is
 * part of training, and stands before the first step only because nothing said that it began. */
static bool comes_again(const fb__case *c, const fb__step_event *e)
{
    fb_trace *trace = fb__step_of(c, e)->trace;
    const char *stack = fb_trace_stack(trace, e->site_number);
    const fb_event *x = NULL;

    if (stack == NULL || strstr(stack, "__getitem__") != NULL || strstr(stack, "collate") != NULL ||
        fb_trace_seek(trace, 2, NULL) != FB_OK)
        return false; /* what a loader calls is data in each step */
    while (fb_trace_next(trace, &x, NULL, NULL) == FB_OK && x != NULL && x->step == 2) {
        const fb_site *site = fb_trace_site(trace, x->site);

        if (site != NULL && site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_FORWARD &&
            strcmp(fb__text(site->op), fb__text(e->site->op)) == 0 &&
            fb__text(site->path)[0] == '\0' &&
            strcmp(fb__text(fb_trace_stack(trace, x->site)), stack) == 0)
            return true;
    }
    return false;
}

static bool is_any_tensor(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR;
}

/* The parameter of step 0 whose first value an event is. */
static const fb__step_event *parameter_of(const fb__step *step, fb_hash value)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site->kind == FB_KIND_PARAM &&
            step->events[i].site->phase == FB_PHASE_INIT &&
            fb_hash_equal(step->events[i].hash, value))
            return &step->events[i];
    return NULL;
}

static bool is_drawn_alike(const fb_site *x, const fb_site *y)
{
    return x != NULL && y != NULL &&
           strcmp(fb__text(x->distribution), fb__text(y->distribution)) == 0 &&
           x->parameters[0] == y->parameters[0] && x->parameters[1] == y->parameters[1];
}

/* The parameter that a draw fills, as drawn; NULL: none, or one that is computed further. */
static const fb__step_event *filled_by(const fb__case *c, const fb__step_event *drawn)
{
    const fb__step_event *made = fb__reader(c, drawn, is_any_tensor, 4);
    return made == NULL ? NULL : parameter_of(fb__step_of(c, drawn), made->hash);
}

static bool is_order(const fb_site *site)
{
    return strcmp(fb__text(site->distribution), "randperm") == 0 ||
           strcmp(fb__text(site->distribution), "permutation") == 0 ||
           strcmp(fb__text(site->distribution), "shuffle") == 0;
}

/* What is the matter with a draw that both sides make from one state; false: nothing of this kind.
 */
static bool say_filling(fb_diff_cause *out, const fb__case *c, const fb__step_event *parameter)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b, *in_a, *in_b;
    const fb__step *other = &c->pair->b;

    if (!fb__is_pair(c) || a->stream_key != b->stream_key || is_order(a->site) || is_order(b->site))
        return false;
    in_a = filled_by(c, a);
    in_b = filled_by(c, b);
    if (in_a != NULL && in_b != NULL &&
        (in_a->partner == NONE || &other->events[in_a->partner] != in_b)) {
        fb__say(out, "the same numbers of %s fill %s in a, %s in b", fb__text(a->site->stream),
                fb__text(in_a->site->path), fb__text(in_b->site->path));
        return true;
    }
    if (in_a != NULL)
        parameter = in_a;
    if (strcmp(fb__text(a->site->distribution), fb__text(b->site->distribution)) != 0)
        fb__say(out, "%s starts from another value: the same state of %s serves %s in a, %s in b",
                fb__text(parameter->site->path), fb__text(a->site->stream),
                fb__text(a->site->distribution), fb__text(b->site->distribution));
    else if (a->count == b->count && !is_drawn_alike(a->site, b->site))
        fb__say(out, "%s is drawn from %s with (%g, %g) | (%g, %g), from the same numbers",
                fb__text(parameter->site->path), fb__text(a->site->distribution),
                a->site->parameters[0], a->site->parameters[1], b->site->parameters[0],
                b->site->parameters[1]);
    else
        return false;
    return true;
}

static bool has_other_draw(const fb__step *step, const fb__step_event *before)
{
    for (const fb__step_event *e = step->events; e < before; e++)
        if (e->site->kind == FB_KIND_DRAW && !e->equal)
            return true;
    return false;
}

/* Whether all draws in front of the culprit are equal. */
static bool has_equal_draws(const fb__case *c)
{
    return (c->culprit->a == NULL || !has_other_draw(&c->pair->a, c->culprit->a)) &&
           (c->culprit->b == NULL || !has_other_draw(&c->pair->b, c->culprit->b));
}

/* Signature: before training begins, the same state of the generator gives other numbers, or other
 * ops fill a parameter. */
bool fb__rule_init_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *parameter;

    if (e->site->phase != FB_PHASE_INIT || (e->site->kind == FB_KIND_TENSOR && comes_again(c, e)))
        return false;
    parameter = fb__first_different(&c->pair->a, FB_KIND_PARAM);
    if (parameter != NULL && is_other_form(c, parameter))
        return false;
    if (parameter == NULL || parameter->site->phase != FB_PHASE_INIT ||
        !fb__is_real(parameter->site->dtype))
        return false;
    if (e->site->kind == FB_KIND_TENSOR || e->site->kind == FB_KIND_PARAM)
        fb__say(out, "%s starts from another value (%s)%s", fb__text(parameter->site->path),
                fb__text(e->site->op), has_equal_draws(c) ? ", with equal draws before it" : "");
    else if (e->site->kind != FB_KIND_DRAW || !say_filling(out, c, parameter))
        return false;
    fb__say_fix(out, "compare how the two programs initialize %s", fb__text(parameter->site->path));
    return true;
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
        fb_trace_get_info(a->trace)->last_step == 0 || comes_again(c, e) || is_constant(c, e))
        return false;
    fb__say(out, "what training reads is made otherwise before it begins (%s)",
            fb__text(e->site->op));
    fb__say_fix(out, "compare the preparation of the data: cuts, shifts, normalization");
    return true;
}

/* The draw that made the first value of a parameter, in step 0 of a trace; NULL: none is told. */
static const fb_site *drawn_by(fb_trace *trace, fb_hash value)
{
    const fb_event *x = NULL;

    if (fb_trace_seek(trace, 0, NULL) != FB_OK)
        return NULL;
    while (fb_trace_next(trace, &x, NULL, NULL) == FB_OK && x != NULL && x->step == 0) {
        const fb_site *site = fb_trace_site(trace, x->site), *from;

        if (site == NULL || site->kind != FB_KIND_TENSOR || x->input_count == 0 ||
            !fb_hash_equal(x->hash, value))
            continue;
        from = fb_trace_site(trace, x->inputs[0].site);
        if (from != NULL && from->kind == FB_KIND_DRAW)
            return from;
    }
    return NULL;
}

/* Signature: a draw that one side lacks fills a parameter, which the other lacks, or fills from
 * another distribution. Filled twice from one, it would be a draw more. */
bool fb__rule_other_filling(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *made, *parameter;
    const fb__step *step = fb__step_of(c, e),
                   *other = step == &c->pair->a ? &c->pair->b : &c->pair->a;
    const fb_site *from;

    if (e->site->kind != FB_KIND_DRAW || e->site->phase != FB_PHASE_INIT || fb__is_pair(c))
        return false;
    made = fb__reader(c, e, is_any_tensor, 4);
    parameter = made == NULL ? NULL : parameter_of(step, made->hash);
    if (parameter == NULL)
        return false;
    if (parameter->partner == NONE) {
        fb__say(out, "the models are built otherwise: only %s has %s, and draws its first value",
                fb__culprit_side(c), fb__text(parameter->site->path));
        fb__say_fix(out, "compare the layers of the two models: biases, sizes, their order");
        return true;
    }
    from = drawn_by(other->trace, other->events[parameter->partner].hash);
    if (parameter->same_content || is_drawn_alike(e->site, from))
        return false;
    fb__say(out, "%s fills %s from %s(%g, %g), %s leaves it %s", fb__culprit_side(c),
            fb__text(parameter->site->path), fb__text(e->site->distribution),
            e->site->parameters[0], e->site->parameters[1], c->culprit->a != NULL ? "b" : "a",
            from != NULL ? "as its layer made it" : "otherwise");
    fb__say_fix(out, "initialize %s alike in both: is the function that fills the weights called?",
                fb__text(parameter->site->path));
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
