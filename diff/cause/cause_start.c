/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_start.c - causes before training begins: how models are built, how their parameters are
 * initialized.
 */
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

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

    if (e->site->phase != FB_PHASE_INIT ||
        (e->site->kind == FB_KIND_TENSOR && fb__comes_again(c, e)))
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
