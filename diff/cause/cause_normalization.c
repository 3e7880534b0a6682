/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_normalization.c - causes in by how much the loss of a recorded program is divided.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff/cause/evidence.h"

static bool is_forward(fb_phase phase)
{
    return phase == FB_PHASE_FORWARD || phase == FB_PHASE_LOSS;
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
               : is_forward(e->site->phase) && (fb__is_loss(e->site) || fb__is_scalar(e->site));
}

static bool is_other_reduction(const fb__case *c)
{
    fb__argument_pair p;

    return fb__is_pair(c) && fb__is_loss(c->culprit->a->site) &&
           fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site) &&
           strcmp(p.name, "reduction") == 0;
}

/* What ends the way of a loss as a single number: a tensor that is computed from it, or its
 * backward pass. */
static bool is_no_number(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && (!is_forward(site->phase) || !fb__is_scalar(site));
}

static bool is_in_place(const fb_site *site)
{
    const size_t n = strlen(fb__text(site->op));
    return n > 1 && site->op[n - 1] == '_';
}

static bool goes_into_tensors(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *reader = fb__reader(c, e, is_no_number, 4096);
    return reader != NULL && is_forward(reader->site->phase);
}

static bool is_sum(const fb_site *site)
{
    return is_forward(site->phase) && (fb__op_is(site, "add") || fb__op_is(site, "sub"));
}

/* By what the op of the culprit multiplies the loss of b beside that of a; 0: no number says it. */
static double number_of(const fb_site *site)
{
    char text[64];
    const double n =
        site != NULL && fb__argument(text, sizeof text, site, "other") ? strtod(text, NULL) : 0;

    return site != NULL && fb__op_is(site, "div") && n != 0 ? 1 / n : n;
}

static double expected_factor(const fb__case *c)
{
    const double x = c->culprit->a != NULL ? number_of(c->culprit->a->site) : 1;
    const double y = c->culprit->b != NULL ? number_of(c->culprit->b->site) : 1;

    return x != 0 ? y / x : 0;
}

/* An op on the finished loss that one side lacks or that has another number: single numbers alone
 * are made of it, and it is no term that the loss is the sum of. */
static bool is_other_factor(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *sum;
    fb__argument_pair p;
    double a, b, factor;

    /* What is written in place is kept from step to step: no loss. */
    if (!fb__is_scalar(e->site) || !is_forward(e->site->phase) ||
        fb__text(e->site->path)[0] != '\0' || goes_into_tensors(c, e) || is_in_place(e->site))
        return false;
    sum = fb__reader(c, e, is_sum, 64);
    if (sum != NULL && !fb__is_pair(c) && sum->partner == UINT32_MAX)
        return false;
    if (losses(&a, &b, c) && a != 0) {
        factor = fb__op_is(e->site, "div") || fb__op_is(e->site, "mul") ? expected_factor(c) : 0;
        if (fabs(b - a) <= 1e-5 * fabs(a))
            return false; /* it makes no difference but of rounding */
        if (factor != 0 && fabs(b / a - factor) > 1e-4 * fabs(factor))
            return false; /* of another one: of a part of the loss */
    }
    if (fb__op_is(e->site, "div") || fb__op_is(e->site, "mul"))
        return true;
    return (fb__op_is(e->site, "sum") || fb__op_is(e->site, "mean")) &&
           (!fb__is_pair(c) || fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site));
}

/* --- Sums and means --------------------------------------------------------------------------- */

static bool is_reduction(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && is_forward(site->phase) &&
           fb__text(site->path)[0] == '\0' && fb__is_real(site->dtype) &&
           (strcmp(fb__text(site->op), "sum") == 0 || strcmp(fb__text(site->op), "mean") == 0);
}

static uint64_t size_of(const fb_site *site)
{
    uint64_t n = 1;

    for (uint32_t i = 0; site != NULL && i < site->rank && i < FB_RANK_MAX; i++)
        n *= site->shape[i];
    return n;
}

/* What ends the way of a term of the loss: another number than a factor of it. */
static bool is_reduced_further(const fb_site *site)
{
    return fb__is_scalar(site) || fb__text(site->path)[0] != '\0' ||
           site->phase == FB_PHASE_BACKWARD;
}

/* Whether a reduction ends in the loss: what it gives is a single number, or is reduced to one
 * next, and nothing but single numbers is made of that. */
static bool ends_in_loss(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *next =
        fb__is_scalar(e->site) ? e : fb__reader(c, e, is_reduced_further, 64);

    return next != NULL && fb__is_scalar(next->site) && is_forward(next->site->phase) &&
           fb__reader(c, next, is_no_number, 4096) != NULL && !goes_into_tensors(c, next);
}

/* The reduction that stands on the other side in the place of the culprit's; NULL: none does. */
static const fb__step_event *other_reduction(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *x = fb__replacement(c);

    return x != NULL && is_reduction(x->site) && strcmp(x->site->op, e->site->op) != 0 &&
                   size_of(x->site) == size_of(e->site)
               ? x
               : NULL;
}

/* Signature: a term of the loss is the sum of what it is the mean of in the other run. */
static bool say_sum_or_mean(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *x;
    uint64_t n;

    if (fb__is_pair(c) || !is_reduction(e->site) || !ends_in_loss(c, e))
        return false;
    x = other_reduction(c, e);
    if (x == NULL)
        return false;
    n = size_of(fb__input_site(c, e, 0)) / (size_of(e->site) > 0 ? size_of(e->site) : 1);
    if (n < 2)
        return false;
    fb__say(out, "a term of the loss is the %s of %llu numbers in a, their %s in b",
            fb__text((c->culprit->a != NULL ? e : x)->site->op), (unsigned long long)n,
            fb__text((c->culprit->a != NULL ? x : e)->site->op));
    return true;
}

static bool is_no_reduction(const fb_site *site)
{
    return !is_reduction(site);
}

/* Whether a tensor has so many numbers, rows, or rows of rows. */
static bool is_count_of(const fb_site *site, double n)
{
    const uint64_t last = site->shape[site->rank - 1], rows = last > 0 ? size_of(site) / last : 0;

    return n == (double)size_of(site) || n == (double)site->shape[0] || n == (double)rows;
}

/* Signature: only one side divides a sum by how many rows, or numbers, it has added. */
static bool say_divided_sum(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb_site *site = fb__input_site(c, e, 0), *from;
    char number[64];
    double n;

    if (fb__is_pair(c) || !fb__is_scalar(e->site) || !is_forward(e->site->phase) ||
        !fb__op_is(e->site, "div") || site == NULL || !is_reduction(site) ||
        !fb__argument(number, sizeof number, e->site, "other") || !ends_in_loss(c, e))
        return false;
    n = strtod(number, NULL);
    from = fb__origin(c, e, 0, is_no_reduction, NULL, 4);
    if (!(n > 1) || from == NULL || from->rank == 0 || !is_count_of(from, n))
        return false;
    fb__say(out,
            "only %s divides this sum, a term of its loss, by %s, which is how many %s it has "
            "added",
            fb__culprit_side(c), number, n == (double)size_of(from) ? "numbers" : "rows");
    return true;
}

/* --- Counts ----------------------------------------------------------------------------------- */

static bool is_divided(const fb_site *site)
{
    return fb__is_real(site->dtype) && (fb__op_is(site, "div") || fb__op_is(site, "mul"));
}

/* Ops that count by comparing. */
static const char *const counts[] = {
    "ne",          "eq",          "gt",          "lt",         "ge", "le", "count_nonzero",
    "bitwise_not", "logical_not", "bitwise_and", "logical_and"};

/* Ops on whole numbers that add them up, or keep them from being nothing. */
static const char *const totals[] = {"sum", "clamp_min", "clamp"};

/* Signature: whole numbers are added up on one side alone, and a term of the loss is divided by
 * them; or a count of other elements is. */
static bool is_other_total(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *reader;
    const bool enters =
        fb__is_pair(c) && e->input_count == 0 && strncmp(fb__text(e->site->slot), "in", 2) == 0;
    const bool total =
        fb__is_one_of(fb__text(e->site->op), totals, sizeof totals / sizeof totals[0]);
    const bool counts_them =
        fb__is_one_of(fb__text(e->site->op), counts, sizeof counts / sizeof counts[0]);

    if (e->site->kind != FB_KIND_TENSOR || fb__text(e->site->path)[0] != '\0' ||
        !fb__is_integer(e->site->dtype) || !(enters ? counts_them : total && !fb__is_pair(c)))
        return false;
    reader = fb__reader(c, e, is_divided, 64);
    return reader != NULL && ends_in_loss(c, reader);
}

/* Numbers that are no count any more. */
static bool is_computing(const fb_site *site)
{
    return fb__is_real(site->dtype) &&
           (site->rank > 0 || fb__op_is(site, "mul") || fb__op_is(site, "div"));
}

/* A count that one side alone makes, of targets or tokens, and that the loss is divided or
 * multiplied by. */
static bool is_other_count(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *reader;

    if (fb__is_pair(c) || !is_forward(e->site->phase) || e->site->kind != FB_KIND_TENSOR ||
        fb__text(e->site->path)[0] != '\0' ||
        !fb__is_one_of(fb__text(e->site->op), counts, sizeof counts / sizeof counts[0]))
        return false;
    reader = fb__reader(c, e, is_computing, 64);
    return reader != NULL && fb__is_scalar(reader->site);
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

/* Signature: the loss of one side reads a tensor more: weights. */
static bool say_weights(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    if (fb__is_pair(c) && fb__is_weight_of_loss(a)) {
        fb__say(out, "the classes have other weights in the loss (%s)", fb__text(a->site->op));
        fb__say_fix(out, "give both losses the same weights, in the order of the classes");
        return true;
    }
    if (!fb__is_pair(c) || !fb__is_loss(a->site) || a->input_count == b->input_count)
        return false;
    fb__say(out, "only %s weights the terms of its loss (%s)",
            a->input_count > b->input_count ? "a" : "b", fb__text(a->site->op));
    fb__say_fix(out, "give both losses the same weights");
    return true;
}

static void say_fix_of_normalization(fb_diff_cause *out)
{
    fb__say_fix(out, "divide the loss by the same number in both: by all targets that count in the "
                     "batch, once");
}

/* Signature: one factor on all gradients, from the loss on; or another reduction. */
bool fb__rule_loss_normalization(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    char factor[160];
    fb__gradients g;
    double a, b, x, y;
    bool scaled;

    if (say_sum_or_mean(out, c) || say_divided_sum(out, c)) {
        say_fix_of_normalization(out);
        return true;
    }
    if (is_other_count(c) || is_other_total(c)) {
        fb__gradients_of(&g, c);
        say_factor(factor, sizeof factor, c, &g);
        if (fb__is_pair(c))
            fb__say(out, "what a loss is divided by is counted of other elements (%s)%s",
                    fb__text(e->site->op), factor);
        else
            fb__say(out, "only %s counts what it divides or multiplies its loss by (%s)%s",
                    fb__culprit_side(c), fb__text(e->site->op), factor);
        say_fix_of_normalization(out);
        return true;
    }
    if (!is_at_the_loss(c) && e->site->phase != FB_PHASE_BACKWARD)
        return false;
    if (say_weights(out, c))
        return true;
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
    } else if (fb__is_pair(c)) {
        fb__say(out, "the loss is divided by another number%s", factor);
    } else {
        fb__say(out, "only %s has %s on the loss%s", fb__culprit_side(c), fb__text(e->site->op),
                factor);
    }
    say_fix_of_normalization(out);
    return true;
}
