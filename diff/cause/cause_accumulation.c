/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_accumulation.c - causes in how gradients of several backward passes are joined: added to
 * old ones, thrown away.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diff/cause/evidence.h"

enum { NONE = UINT32_MAX, KEPT_MAX = 256 };

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

static const fb__step_event *nth_loss(const fb__step *step, size_t n)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site->kind == FB_KIND_SCALAR &&
            step->events[i].site->phase == FB_PHASE_LOSS && n-- == 0)
            return &step->events[i];
    return NULL;
}

/* Whether the culprit belongs to a pass more than the other side makes before it updates. */
static bool is_further_pass(const fb__case *c, size_t losses_a, size_t losses_b)
{
    const fb__step_event *e = fb__culprit_event(c), *last;
    const size_t own = c->culprit->a != NULL ? losses_a : losses_b;
    const size_t others = c->culprit->a != NULL ? losses_b : losses_a;

    if (fb__is_pair(c) || own <= others ||
        (e->site->kind != FB_KIND_TENSOR && e->site->kind != FB_KIND_DRAW &&
         e->site->kind != FB_KIND_SAMPLE && e->site->kind != FB_KIND_MODE))
        return false;
    if (others == 0)
        return c->pair->common_of_phase[FB_PHASE_LOSS] > 0;
    last = nth_loss(fb__step_of(c, e), others - 1);
    return last != NULL && e->number > last->number;
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
           (phase == FB_PHASE_LOSS && e->site->kind == FB_KIND_SCALAR && !fb__is_pair(c)) ||
           (phase == FB_PHASE_OPTIMIZER && e->site->kind != FB_KIND_SCALAR);
}

static void say_fix(fb_diff_cause *out)
{
    fb__say_fix(out, "call zero_grad() once for each update, before the first of its backward "
                     "passes, and backward() for every micro-batch");
}

static bool makes_an_update(const fb__step *step)
{
    return step->has_update && !step->cut;
}

static bool say_passes(fb_diff_cause *out, const fb__case *c, size_t losses_a, size_t losses_b)
{
    const size_t common = (size_t)c->pair->common_of_phase[FB_PHASE_LOSS];

    fb__say(out, "an update is made of %zu | %zu backward passes", common + losses_a,
            common + losses_b);
    say_fix(out);
    return true;
}

/* Signature: where one run updates its parameters, the other goes on with a further pass before it
 * does: with its draws, its batch, its first op. */
bool fb__rule_further_pass(fb_diff_cause *out, const fb__case *c)
{
    const size_t losses_a = count_losses(&c->pair->a), losses_b = count_losses(&c->pair->b);

    return is_further_pass(c, losses_a, losses_b) && makes_an_update(&c->pair->a) &&
           makes_an_update(&c->pair->b) && say_passes(out, c, losses_a, losses_b);
}

/* Signature: g[t] = g'[t] + g[t-1]; a reset more or less; or another number of backward passes. */
bool fb__rule_accumulation(fb_diff_cause *out, const fb__case *c)
{
    const size_t losses_a = count_losses(&c->pair->a), losses_b = count_losses(&c->pair->b);
    size_t all, n;

    if (is_further_pass(c, losses_a, losses_b) &&
        fb__culprit_event(c)->site->kind == FB_KIND_TENSOR)
        return say_passes(out, c, losses_a, losses_b);
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
        fb__say(out, "only %s sets the gradients of %s to zero here, and %s", fb__culprit_side(c),
                fb__text(fb__culprit_event(c)->site->path),
                (c->pair->classes & 1u << FB_CLASS_OPS) != 0
                    ? "the gradients behind it differ"
                    : "what the next step computes is other");
    else if (losses_a != losses_b && fb__culprit_event(c)->site->phase != FB_PHASE_OPTIMIZER)
        fb__say(out, "the gradients of this step are made by %zu | %zu backward passes", losses_a,
                losses_b);
    else
        return false;
    say_fix(out);
    return true;
}
