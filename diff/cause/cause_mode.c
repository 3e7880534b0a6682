/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_mode.c - causes in modes of recorded programs: training or evaluation, gradients or none.
 */
#include <string.h>

#include "diff/cause/evidence.h"

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
            (any_gradient ? strcmp(fb__text(e->site->slot), "training") != 0
                          : e->partner != UINT32_MAX && is_around(fb__text(e->site->path), path)))
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
    if (fb__is_pair(c) && fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site) &&
        (strcmp(p.name, "training") == 0 || strcmp(p.name, "train") == 0)) {
        fb__say(out, "%s (%s) runs with training %s | %s", path, fb__text(e->site->op), p.a, p.b);
    } else {
        const bool lost = e->site->phase == FB_PHASE_BACKWARD && !fb__is_pair(c);

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

    if (e->site->kind != FB_KIND_DRAW || fb__is_pair(c) || e < step->events ||
        e >= step->events + step->count ||
        strncmp(fb__text(e->site->distribution), "bernoulli", 9) != 0 || !is_in_evaluation(step, e))
        return false;
    fb__say(out, "%s draws a dropout mask for %s though the model is in evaluation mode",
            fb__culprit_side(c), fb__text(e->site->consumer));
    fb__say_fix(out, "pass training=self.training to dropout in %s, or use nn.Dropout",
                fb__text(e->site->consumer));
    return true;
}

static bool is_bernoulli(const fb_site *site)
{
    return site != NULL &&
           (fb__op_is(site, "bernoulli") || strcmp(fb__text(site->op), "native_dropout") == 0);
}

/* Whether an event is a dropout, or a product with its mask. */
static bool is_dropped(const fb__case *c, const fb__step_event *e)
{
    if (is_bernoulli(e->site))
        return true;
    for (uint32_t k = 0; k < e->input_count; k++) {
        const fb__step_event *mask = fb__input(c, e, k);

        if (is_bernoulli(fb__input_site(c, e, k)) ||
            (mask != NULL && fb__op_is(mask->site, "div") &&
             is_bernoulli(fb__input_site(c, mask, 0))))
            return true;
    }
    return false;
}

static bool reads_dropped(const fb__case *c, const fb__step_event *e)
{
    if (e == NULL || is_dropped(c, e))
        return e != NULL;
    for (uint32_t k = 0; k < e->input_count; k++) {
        const fb__step_event *x = fb__input(c, e, k);

        if (x != NULL && is_dropped(c, x))
            return true;
    }
    return false;
}

/* Signature: in evaluation mode one run computes with what a dropout has left, the other with all
 * of it. The draw itself may have been taken for one that training makes later. */
bool fb__rule_evaluated_dropout(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const bool in_a = reads_dropped(c, c->culprit->a), in_b = reads_dropped(c, c->culprit->b);

    if (e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_FORWARD || in_a == in_b)
        return false;
    e = in_a ? c->culprit->a : c->culprit->b;
    if (!is_in_evaluation(fb__step_of(c, e), e))
        return false;
    fb__say(out, "%s drops elements %s though the model is in evaluation mode", in_a ? "a" : "b",
            fb__where_of(e).text);
    fb__say_fix(out, "pass training=self.training to dropout %s, or use nn.Dropout",
                fb__where_of(e).text);
    return true;
}

/* How often a module is called by the program in this step. */
static size_t calls_of(const fb__step *step, const fb__step_event *mode)
{
    size_t count = 0;

    for (size_t i = 0; i < step->count; i++) {
        const fb_site *site = step->events[i].site;

        count += site->kind == FB_KIND_MODE && site->phase == mode->site->phase &&
                 strcmp(fb__text(site->path), fb__text(mode->site->path)) == 0 &&
                 strcmp(fb__text(site->slot), fb__text(mode->site->slot)) == 0;
    }
    return count;
}

/* The module that the other side calls once more, where that is another one. */
static const fb__step_event *called_instead(const fb__step *step, const fb__step_event *mode)
{
    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];

        if (e->site->kind == FB_KIND_MODE && e->partner == UINT32_MAX && !e->beyond &&
            strcmp(fb__text(e->site->slot), fb__text(mode->site->slot)) == 0 &&
            strcmp(fb__text(e->site->path), fb__text(mode->site->path)) != 0)
            return e;
    }
    return NULL;
}

/* Signature: the modes of a call that only one side makes, which are told with every call. */
bool fb__rule_called(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *instead;
    const fb__step *own = fb__step_of(c, e);
    const fb__step *other = own == &c->pair->a ? &c->pair->b : &c->pair->a;
    const bool in_b = own == &c->pair->b;
    const char *path = fb__text(e->site->path);
    size_t n[2];

    if (fb__is_pair(c) || e->site->kind != FB_KIND_MODE ||
        (strcmp(fb__text(e->site->slot), "training") != 0 &&
         strcmp(fb__text(e->site->slot), "grad") != 0))
        return false;
    n[in_b] = calls_of(own, e);
    n[!in_b] = calls_of(other, e);
    if (n[in_b] <= n[!in_b])
        return false;
    instead = called_instead(other, e);
    if (instead != NULL)
        fb__say(out, "%s is called in %s where %s calls %s", path, in_b ? "b" : "a",
                in_b ? "a" : "b", fb__text(instead->site->path));
    else
        fb__say(out, "%s is called %zu time%s more in %s than in %s", path, n[in_b] - n[!in_b],
                n[in_b] - n[!in_b] == 1 ? "" : "s", in_b ? "b" : "a", in_b ? "a" : "b");
    fb__say_fix(out, "call the same modules in both");
    return true;
}
