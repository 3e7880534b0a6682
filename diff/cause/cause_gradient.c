/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_gradient.c - causes between the loss and the update of a recorded program: gradients that
 * are added to old ones or thrown away, clipped otherwise, or that never arrive.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff/cause/evidence.h"

enum { NONE = UINT32_MAX, KEPT_MAX = 256 };

static bool is_pair(const fb__case *c)
{
    return c->culprit->a != NULL && c->culprit->b != NULL;
}

/* --- Gradients of the step before ------------------------------------------------------------- */

/* Linear sketches of gradients, by path. */
typedef struct kept {
    const char *path[KEPT_MAX]; /* live as long as the trace */
    double (*linear)[FB_SKETCH_BUCKETS];
    size_t count;
} kept;

/* Reads what an optimizer found in one step. A trace that cannot be read has none. */
static void read_gradients(kept *out, fb_trace *trace, uint64_t step)
{
    const fb_event *e = NULL;

    *out = (kept){.linear = calloc(KEPT_MAX, sizeof *out->linear)};
    if (out->linear == NULL || fb_trace_seek(trace, step, NULL) != FB_OK)
        return;
    while (out->count < KEPT_MAX && fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL &&
           e->step == step) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || e->sketch == NULL || !fb__is_gradient(site))
            continue;
        out->path[out->count] = fb__text(site->path);
        memcpy(out->linear[out->count++], e->sketch->linear, sizeof out->linear[0]);
    }
}

static const double *gradient_of(const kept *k, const char *path)
{
    for (size_t i = 0; i < k->count; i++)
        if (strcmp(k->path[i], path) == 0)
            return k->linear[i];
    return NULL;
}

/* Whether x = y + old holds, and old is not lost in the rounding of x. */
static bool is_sum(const fb_sketch *x, const fb_sketch *y, const double *old)
{
    double rest = 0, size = 0, added = 0;

    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        const double d = x->linear[i] - y->linear[i] - old[i];

        rest += d * d;
        size += x->linear[i] * x->linear[i];
        added += old[i] * old[i];
    }
    return sqrt(rest) < FB__FIT_TOLERANCE * sqrt(size) && sqrt(added) > 1e-3 * sqrt(size);
}

/* How many differing gradients of one side are the other's plus its own of the step before. */
static size_t count_sums(size_t *all, const fb__case *c, bool of_b)
{
    const fb__step *a = &c->pair->a, *b = &c->pair->b;
    kept before;
    size_t n = 0;

    *all = 0;
    if (a->step == 0)
        return 0;
    read_gradients(&before, of_b ? b->trace : a->trace, a->step - 1);
    for (size_t i = 0; i < a->count && before.count > 0; i++) {
        const fb__step_event *e = &a->events[i];
        const double *old;
        fb_sketch x, y;

        if (e->partner == NONE || e->same_content || !fb__is_gradient(e->site))
            continue;
        old = gradient_of(&before, fb__text(e->site->path));
        if (old == NULL || !fb__sketch(&x, a, e) || !fb__sketch(&y, b, &b->events[e->partner]))
            continue;
        (*all)++;
        n += of_b ? is_sum(&y, &x, old) : is_sum(&x, &y, old);
    }
    free(before.linear);
    return n;
}

/* --- Accumulation ----------------------------------------------------------------------------- */

static size_t count_losses(const fb__step *step)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count; i++)
        n += step->events[i].site->kind == FB_KIND_SCALAR &&
             step->events[i].site->phase == FB_PHASE_LOSS;
    return n;
}

static bool is_reset(const fb__step_event *e)
{
    return e->site->kind == FB_KIND_MODE && strcmp(fb__text(e->site->op), "zero_grad") == 0;
}

/* What may say that gradients are joined otherwise: something behind the loss. */
static bool is_behind_the_loss(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb_phase phase = e->site->phase;

    return is_reset(e) || phase == FB_PHASE_BACKWARD ||
           (phase == FB_PHASE_LOSS && e->site->kind == FB_KIND_SCALAR && !is_pair(c)) ||
           (phase == FB_PHASE_OPTIMIZER && e->site->kind != FB_KIND_SCALAR);
}

static void say_fix(fb_diff_cause *out)
{
    fb__say_fix(out, "call zero_grad() once for each update, before the first of its backward "
                     "passes, and backward() for every micro-batch");
}

/* Signature: g[t] = g'[t] + g[t-1]; a reset more or less; or another number of backward passes. */
bool fb__rule_accumulation(fb_diff_cause *out, const fb__case *c)
{
    const size_t losses_a = count_losses(&c->pair->a), losses_b = count_losses(&c->pair->b);
    size_t all, n;

    if (!is_behind_the_loss(c))
        return false;
    for (int of_b = 1; of_b >= 0; of_b--) {
        n = count_sums(&all, c, of_b != 0);
        if (n == 0 || n < all)
            continue;
        fb__say(out,
                "gradients of %s are not set to zero: all %zu that differ are the other's plus its "
                "own of step %llu",
                of_b ? "b" : "a", n, (unsigned long long)c->pair->a.step - 1);
        say_fix(out);
        return true;
    }
    if (is_reset(fb__culprit_event(c)))
        fb__say(out,
                "only %s sets the gradients of %s to zero here, and the gradients behind it "
                "differ",
                fb__culprit_side(c), fb__text(fb__culprit_event(c)->site->path));
    else if (losses_a != losses_b && fb__culprit_event(c)->site->phase != FB_PHASE_OPTIMIZER)
        fb__say(out, "the gradients of this step are made by %zu | %zu backward passes", losses_a,
                losses_b);
    else
        return false;
    say_fix(out);
    return true;
}

/* --- Clipping --------------------------------------------------------------------------------- */

/* The first difference that is a clipping's own. */
bool fb__rule_clip_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb_site *site = e->site;
    fb__argument_pair p;
    fb__gradients g;

    if (site->phase != FB_PHASE_OPTIMIZER || strncmp(fb__text(site->path), "clip", 4) != 0)
        return false;
    fb__gradients_of(&g, c);
    if (!is_pair(c))
        fb__say(out, "only %s clips its gradients here", fb__culprit_side(c));
    else if (site->kind == FB_KIND_SCALAR)
        fb__say(out, "%s of the clipping is %s | %s", fb_slot_word(site->slot),
                c->report->first.content_a, c->report->first.content_b);
    else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        fb__say(out, "gradients are clipped with %s of %s %s | %s", p.name, fb__text(site->op), p.a,
                p.b);
    else if (g.count > 1 && g.scaled == g.count && fabs(g.scale - 1) > FB__FIT_TOLERANCE)
        fb__say(out, "all %zu clipped gradients of b are %.6g times those of a", g.count, g.scale);
    else
        fb__say(out, "%s of the clipping differs, gradients before it are equal",
                fb__text(site->op));
    fb__say_fix(out, "clip the same parameters to the same norm in both, between the last backward "
                     "pass and the update");
    return true;
}

/* --- Scales ----------------------------------------------------------------------------------- */

static bool is_gradient_or_clip(const fb_site *site)
{
    return fb__is_gradient(site) || strncmp(fb__text(site->path), "clip", 4) == 0;
}

static bool is_scaling(const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;

    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_FORWARD &&
           fb__text(site->path)[0] == '\0' && (fb__op_is(site, "div") || fb__op_is(site, "mul")) &&
           fb__reader(c, fb__culprit_event(c), is_gradient_or_clip, 4096) != NULL;
}

/* Signature: between the backward pass and the update gradients are scaled on one side only, and
 * one factor is on all of them. */
bool fb__rule_scaled_gradients(fb_diff_cause *out, const fb__case *c)
{
    fb__gradients g;
    double a, b;

    if (!is_scaling(c) || is_pair(c))
        return false;
    fb__gradients_of(&g, c);
    if (fb__norms(&a, &b, c) && fabs(b - a) > 1e-3 * a)
        fb__say(out, "only %s scales its gradients (%s): the norm of all of b's is %.6g times a's",
                fb__culprit_side(c), fb__text(fb__culprit_event(c)->site->op), b / a);
    else if (g.count > 0 && g.scaled == g.count && fabs(g.scale - 1) > FB__FIT_TOLERANCE)
        fb__say(out, "only %s scales its gradients (%s): all %zu of b are %.6g times a's",
                fb__culprit_side(c), fb__text(fb__culprit_event(c)->site->op), g.count, g.scale);
    else
        return false;
    fb__say_fix(out, "scale the loss and unscale its gradients by the same number in both");
    return true;
}

/* Signature: the same scaling of a gradient gives another result, since one side clips before it
 * and the other behind. */
bool fb__rule_clip_order(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *in_a, *in_b;
    bool clipped_a, clipped_b;

    if (!is_pair(c) || fb__culprit_event(c)->site->phase != FB_PHASE_FORWARD ||
        !(fb__op_is(c->culprit->a->site, "div") || fb__op_is(c->culprit->a->site, "mul")))
        return false;
    in_a = fb__input_site(c, c->culprit->a, 0);
    in_b = fb__input_site(c, c->culprit->b, 0);
    clipped_a = in_a != NULL && strncmp(fb__text(in_a->path), "clip", 4) == 0;
    clipped_b = in_b != NULL && strncmp(fb__text(in_b->path), "clip", 4) == 0;
    if (clipped_a == clipped_b)
        return false;
    fb__say(out, "%s clips its gradients before they are scaled (%s), %s behind",
            clipped_a ? "a" : "b", fb__text(c->culprit->a->site->op), clipped_a ? "b" : "a");
    fb__say_fix(out, "unscale first, then clip, then update");
    return true;
}

/* --- Gradients that do not arrive ------------------------------------------------------------- */

static size_t count_one_sided(const fb__step *step, const char *op)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count; i++)
        n += fb__is_gradient(step->events[i].site) && step->events[i].partner == NONE &&
             (op == NULL || strcmp(fb__text(step->events[i].site->op), op) == 0);
    return n;
}

/* Signature: a gradient or an intermediate one differs; with its relation where there is one. */
bool fb__rule_backward_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const size_t only_a = count_one_sided(&c->pair->a, NULL);
    const size_t only_b = count_one_sided(&c->pair->b, NULL);
    const char *name = fb__text(e->site->path);
    fb_sketch x, y;

    if (e->site->phase != FB_PHASE_BACKWARD || e->site->kind != FB_KIND_TENSOR)
        return false;
    if (name[0] == '\0')
        name = fb__text(e->site->op);
    if (only_a + only_b > 0) {
        fb__say(out, "%zu parameters have no gradient in %s, from the backward pass of %s (%s) on",
                only_a > only_b ? only_a : only_b, only_a > only_b ? "b" : "a", name,
                fb__text(e->site->op));
        fb__say_fix(out, "look for detach(), no_grad() or requires_grad_(False) above %s", name);
        return true;
    }
    if (!is_pair(c) || !fb__sketch(&x, &c->pair->a, c->culprit->a) ||
        !fb__sketch(&y, &c->pair->b, c->culprit->b))
        return false;
    const fb__fit fit = fb__fit_scale(&x, &y);

    if (x.elements < 2 || !fb__fits(fit) || fabs(fit.scale - 1) < FB__FIT_TOLERANCE)
        return false;
    fb__say(out, "the gradient at %s (%s) of b is %.6g times that of a", name,
            fb__text(e->site->op), fit.scale);
    fb__say_fix(out, "compare the backward pass of %s (%s) in both", name, fb__text(e->site->op));
    return true;
}

/* --- Between processes ------------------------------------------------------------------------ */

static bool is_collective(const fb_site *site)
{
    return site != NULL && (site->kind == FB_KIND_COLLECTIVE || site->phase == FB_PHASE_COMM);
}

/* A collective that the other side lacks. */
static const fb__step_event *lone_collective(const fb__step *step)
{
    for (size_t i = 0; i < step->count; i++)
        if (is_collective(step->events[i].site) && step->events[i].partner == NONE &&
            !step->events[i].beyond)
            return &step->events[i];
    return NULL;
}

static bool say_collective(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *in_a, *in_b;
    fb__argument_pair p;
    fb_sketch x, y;

    if (is_collective(e->site) && is_pair(c)) {
        if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
            fb__say(out, "%s is called with %s %s | %s", fb__text(e->site->op), p.name, p.a, p.b);
        else if (fb__sketch(&x, &c->pair->a, c->culprit->a) &&
                 fb__sketch(&y, &c->pair->b, c->culprit->b) && fb__fits(fb__fit_scale(&x, &y)))
            fb__say(out, "what %s gives in b is %.6g times a's, from equal parts",
                    fb__text(e->site->op), fb__fit_scale(&x, &y).scale);
        else
            fb__say(out, "%s gives another result, though this process gave it the same",
                    fb__text(e->site->op));
        return true;
    }
    in_a = lone_collective(&c->pair->a);
    in_b = lone_collective(&c->pair->b);
    if (in_a != NULL || in_b != NULL) {
        fb__say(out, "only %s has %s among its processes here", in_a != NULL ? "a" : "b",
                fb__text((in_a != NULL ? in_a : in_b)->site->op));
        return is_collective(e->site) || e->site->phase == FB_PHASE_BACKWARD ||
               is_collective(fb__input_site(c, e, 0));
    }
    if (!is_collective(fb__input_site(c, e, 0)) ||
        !(fb__op_is(e->site, "div") || fb__op_is(e->site, "mul")))
        return false;
    fb__say(out, "what the processes have added up is scaled otherwise (%s)",
            fb__text(e->site->op));
    return true;
}

/* Signature: a collective differs, or is on one side only; or its result is scaled otherwise. */
bool fb__rule_collective(fb_diff_cause *out, const fb__case *c)
{
    const fb_kind kind = fb__culprit_event(c)->site->kind;

    if ((kind != FB_KIND_TENSOR && kind != FB_KIND_COLLECTIVE) || !say_collective(out, c))
        return false;
    fb__say_fix(out,
                "call the same collective once for each tensor in every process, and divide by "
                "the number of processes once");
    return true;
}
