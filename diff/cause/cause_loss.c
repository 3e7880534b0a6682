/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_loss.c - causes in the loss of a recorded program: other targets, another normalization.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

static bool is_pair(const fb__case *c)
{
    return c->culprit->a != NULL && c->culprit->b != NULL;
}

static const char *const loss_ops[] = {
    "nll_loss_forward", "nll_loss2d_forward", "nll_loss",      "mse_loss",
    "l1_loss",          "smooth_l1_loss",     "huber_loss",    "binary_cross_entropy",
    "kl_div",           "soft_margin_loss",   "cross_entropy", "binary_cross_entropy_with_logits"};

static bool is_loss(const fb_site *site)
{
    return fb__is_one_of(fb__text(site->op), loss_ops, COUNT_OF(loss_ops));
}

static bool is_loss_or_model(const fb_site *site)
{
    return is_loss(site) || fb__op_is(site, "embedding") ||
           (site->phase == FB_PHASE_FORWARD && fb__is_real(site->dtype) && site->rank > 1);
}

static bool is_loss_or_softmax(const fb_site *site)
{
    return is_loss(site) || fb__op_is(site, "_log_softmax");
}

static bool is_loss_or_module(const fb_site *site)
{
    return fb__text(site->path)[0] != '\0' || is_loss_or_softmax(site);
}

static bool is_forward(fb_phase phase)
{
    return phase == FB_PHASE_FORWARD || phase == FB_PHASE_LOSS;
}

static bool is_scalar_tensor(const fb_site *site)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < site->rank && i < FB_RANK_MAX; i++)
        n *= site->shape[i];
    return site->kind == FB_KIND_TENSOR && fb__is_real(site->dtype) && n == 1;
}

/* --- Losses of the step ----------------------------------------------------------------------- */

/* The first losses of the step on both sides, or those that a sketch of a loss op holds. */
static bool losses(double *a, double *b, const fb__case *c)
{
    const fb__step *step = &c->pair->a;

    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];

        if (e->site->kind == FB_KIND_SCALAR && e->site->phase == FB_PHASE_LOSS &&
            e->partner != UINT32_MAX && !e->same_content) {
            *a = e->value;
            *b = c->pair->b.events[e->partner].value;
            return true;
        }
    }
    return false;
}

/* --- Normalization ---------------------------------------------------------------------------- */

/* Where the loss is made: an op of the loss, a number behind it, or what stands between them. */
static bool is_at_the_loss(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);

    return e->site->kind == FB_KIND_SCALAR
               ? e->site->phase == FB_PHASE_LOSS
               : is_forward(e->site->phase) && (is_loss(e->site) || is_scalar_tensor(e->site));
}

static bool is_other_reduction(const fb__case *c)
{
    fb__argument_pair p;

    return is_pair(c) && is_loss(c->culprit->a->site) &&
           fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site) &&
           strcmp(p.name, "reduction") == 0;
}

/* An op on the finished loss that one side lacks or that has another number. */
static bool is_other_factor(const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;
    double a, b;

    if (losses(&a, &b, c) && fabs(b - a) <= 1e-5 * fabs(a))
        return false; /* it makes no difference but of rounding */
    return is_scalar_tensor(site) && is_forward(site->phase) &&
           (fb__op_is(site, "div") || fb__op_is(site, "mul") || fb__op_is(site, "sum") ||
            fb__op_is(site, "mean") || fb__op_is(site, "add"));
}

/* Whether the norm of all gradients has the loss's factor: what clipping hides in the gradients. */
static bool is_norm_scaled(double *x, double *y, const fb__case *c, double factor)
{
    return fb__norms(x, y, c) && fabs(factor - 1) > FB__FIT_TOLERANCE &&
           fabs(*y / *x - factor) < 1e-3 * fabs(factor);
}

/* The same parts, added up and divided otherwise. */
static void say_factor(char *text, size_t size, const fb__case *c, const fb__gradients *g)
{
    double a, b, x, y;
    const bool scaled = g->count > 0 && g->scaled == g->count;

    text[0] = '\0';
    if (losses(&a, &b, c) && is_norm_scaled(&x, &y, c, b / a))
        (void)snprintf(
            text, size,
            ": the loss of b is %.6g times that of a, the norm of all gradients %.6g times", b / a,
            y / x);
    else if (losses(&a, &b, c) && a != 0 && scaled)
        (void)snprintf(text, size,
                       ": the loss of b is %.6g times that of a, all %zu gradients %.6g times",
                       b / a, g->count, g->scale);
    else if (scaled)
        (void)snprintf(text, size, ": all %zu gradients of b are %.6g times those of a", g->count,
                       g->scale);
    else if (losses(&a, &b, c) && a != 0)
        (void)snprintf(text, size, ": the loss of b is %.6g times that of a", b / a);
}

/* A factor is one of the loss where the loss has it, or, the loss being equal, the first gradient
 * that is made from it. */
static bool begins_at_the_loss(const fb__case *c, const fb__gradients *g)
{
    double a, b;
    fb_sketch x, y;

    if (losses(&a, &b, c))
        return a != 0 && fabs(b / a - 1) > FB__FIT_TOLERANCE;
    for (size_t i = 0; i < c->pair->a.count; i++) {
        const fb__step_event *e = &c->pair->a.events[i];

        if (e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_BACKWARD ||
            !fb__is_real(e->site->dtype))
            continue;
        if (e->partner == UINT32_MAX || !fb__sketch(&x, &c->pair->a, e) ||
            !fb__sketch(&y, &c->pair->b, &c->pair->b.events[e->partner]))
            return false;
        return fabs(fb__fit_scale(&x, &y).scale - g->scale) < FB__FIT_TOLERANCE * fabs(g->scale);
    }
    return false;
}

static bool is_any_gradient_missing(const fb__step *step)
{
    for (size_t i = 0; i < step->count; i++)
        if (fb__is_gradient(step->events[i].site) && step->events[i].partner == UINT32_MAX)
            return true;
    return false;
}

/* Signature: one factor on all gradients, from the loss on; or another reduction. */
bool fb__rule_loss_normalization(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    char factor[160];
    fb__gradients g;
    double a, b, x, y;
    bool scaled;

    if (!is_at_the_loss(c) && e->site->phase != FB_PHASE_BACKWARD)
        return false;
    fb__gradients_of(&g, c);
    scaled = g.count > 0 && g.scaled == g.count && fabs(g.scale - 1) > FB__FIT_TOLERANCE &&
             begins_at_the_loss(c, &g);
    scaled |=
        g.scaled == g.count && losses(&a, &b, c) && a != 0 && is_norm_scaled(&x, &y, c, b / a);
    if (is_any_gradient_missing(&c->pair->a) || is_any_gradient_missing(&c->pair->b) ||
        (g.count > 0 && g.equal < g.count && !scaled && !is_other_reduction(c)))
        return false;
    if (e->site->phase == FB_PHASE_BACKWARD
            ? !scaled || g.count < 2
            : !scaled && !is_other_reduction(c) && !is_other_factor(c))
        return false;
    say_factor(factor, sizeof factor, c, &g);
    if (is_other_reduction(c)) {
        fb__argument_pair p;

        (void)fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site);
        fb__say(out, "the loss is reduced otherwise (%s %s | %s)%s", p.name, p.a, p.b, factor);
    } else if (is_pair(c)) {
        fb__say(out, "the loss is divided by another number%s", factor);
    } else {
        fb__say(out, "only %s has %s on the loss%s", fb__culprit_side(c), fb__text(e->site->op),
                factor);
    }
    fb__say_fix(out, "divide the loss by the same number in both: by all targets that count in the "
                     "batch, once");
    return true;
}

/* --- Targets ---------------------------------------------------------------------------------- */

/* How many targets counted, which the loss op leaves beside its result. */
static bool count_targets(double *n, const fb__step *step, const fb__step_event *e)
{
    const fb__step_event *next = e + 1;
    fb_sketch s;

    if (next >= step->events + step->count || !is_loss(next->site) ||
        strcmp(fb__text(next->site->slot), "out1") != 0 || !fb__sketch(&s, step, next))
        return false;
    *n = s.sum;
    return true;
}

static void say_target(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb__argument_pair p;
    double x, y;

    if (!is_pair(c)) {
        fb__say(out, "only %s moves or changes targets or logits before the loss (%s)",
                fb__culprit_side(c), fb__text(e->site->op));
    } else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site)) {
        fb__say(out, "the loss is computed with %s %s | %s", p.name, p.a, p.b);
    } else if (is_loss(e->site) && count_targets(&x, &c->pair->a, c->culprit->a) &&
               count_targets(&y, &c->pair->b, c->culprit->b) && x != y) {
        fb__say(out, "the loss is over other targets: %.0f | %.0f of them count, logits are equal",
                x, y);
    } else {
        fb__say(out, "the loss is over other targets, or in another order: what the model gives is "
                     "equal");
    }
    fb__say_fix(out, "compare the targets: shifted once, and which index is ignored");
}

/* Integers that the loss reads before anything of the model does. */
static bool is_target(const fb__case *c, const fb__step_event *e)
{
    enum { NEAR = 4096 };
    const fb__step_event *reader;

    if (e->site->kind != FB_KIND_TENSOR ||
        (!fb__is_integer(e->site->dtype) && e->site->dtype != FB_DTYPE_BOOL))
        return false;
    reader = fb__reader(c, e, is_loss_or_model, NEAR);
    return reader != NULL && is_loss(reader->site);
}

/* Logits of other rows than the targets'. */
static bool is_cut(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    return is_pair(c) && fb__op_is(a->site, "_log_softmax") && a->site->rank > 0 &&
           a->site->shape[0] != b->site->shape[0];
}

static const char *const moves[] = {"clone", "copy_", "constant_pad_nd", "cat",
                                    "index", "roll",  "index_select",    "gather",
                                    "stack", "flip",  "slice_copy"};

/* Logits that are cut or shifted on the way from the model to the loss. */
static bool is_move(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *reader;

    if (e->site->kind != FB_KIND_TENSOR || fb__text(e->site->path)[0] != '\0' ||
        !fb__is_one_of(fb__text(e->site->op), moves, COUNT_OF(moves)))
        return false;
    reader = fb__reader(c, e, is_loss_or_module, 64);
    return reader != NULL && fb__text(reader->site->path)[0] == '\0';
}

/* Whether something in the step before, of this site, differs between the sides. */
static bool differs_at(const fb__step *step, uint32_t site)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site_number == site && !step->events[i].equal)
            return true;
    return false;
}

/* Of tensors made before training begins: whether the loss of the next step reads one that differs,
 * and no module does. */
static bool is_target_of_next_step(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step *step = fb__step_of(c, e);
    const fb_event *x = NULL;
    bool loss = false;

    if (e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_INIT ||
        fb_trace_seek(step->trace, step->step + 1, NULL) != FB_OK)
        return false;
    while (fb_trace_next(step->trace, &x, NULL, NULL) == FB_OK && x != NULL &&
           x->step == step->step + 1) {
        const fb_site *site = fb_trace_site(step->trace, x->site);

        for (uint32_t k = 0; site != NULL && k < x->input_count; k++) {
            if (x->inputs[k].step != step->step || !differs_at(step, x->inputs[k].site))
                continue;
            if (!is_loss(site))
                return false;
            loss = true;
        }
    }
    return loss;
}

/* Signature: the loss differs, its logits and settings are equal; or integers that it reads. */
bool fb__rule_loss_target(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb__argument_pair p = {.name = ""};

    if (is_target_of_next_step(c)) {
        fb__say(out, "the targets are made otherwise (%s): of what differs only the loss reads it",
                fb__text(e->site->op));
        fb__say_fix(out, "compare the targets: shifted once, and which index is ignored");
        return true;
    }
    if (!is_forward(e->site->phase))
        return false;
    if (is_pair(c) && is_loss(e->site))
        (void)fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site);
    if (!is_target(c, e) && !is_cut(c) && !is_move(c, e) &&
        !(is_pair(c) && is_loss(e->site) && strcmp(p.name, "reduction") != 0))
        return false;
    say_target(out, c);
    return true;
}
