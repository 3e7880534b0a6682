/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_op.c - how an op of a recorded program differs: structure (an op more, another argument) is
 * said where there is any; relations between sketches else.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/sketch.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

/* Says how b's sampled elements follow from a's by one added number; false where they do not. */
static bool say_added(char *text, size_t size, const fb_sketch *a, const fb_sketch *b,
                      fb_dtype dtype)
{
    const uint64_t n = a->elements < FB_SKETCH_SAMPLES ? a->elements : FB_SKETCH_SAMPLES;
    double first = 0, largest = 0;

    if (dtype != FB_DTYPE_F32 || a->elements != b->elements || n < 2)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t bits[2] = {(uint32_t)a->samples[i], (uint32_t)b->samples[i]};
        float x[2];
        double d;

        memcpy(x, bits, sizeof x);
        d = (double)x[1] - (double)x[0];
        if (!isfinite(d))
            return false;
        if (i == 0)
            first = d;
        largest = fmax(largest, fmax(fabs((double)x[0]), fabs((double)x[1])));
        if (fabs(d - first) > 4e-7 * largest)
            return false;
    }
    (void)snprintf(text, size, "b is a plus %.6g in every sampled element", first);
    return fabs(first) > 1e-5 * largest;
}

/* A relation between the two results, from their sketches; false where none is found. */
static bool say_relation(char *text, size_t size, const fb__case *c)
{
    const fb__step_event *e = c->culprit->a;
    fb_sketch x, y;
    fb__fit fit;

    if (c->report->first.what == FB_DIFF_ARGUMENTS) {
        (void)snprintf(text, size, "the result is equal so far, its gradient is not");
        return true;
    }
    if (!fb__is_pair(c) || !fb__sketch(&x, &c->pair->a, e) ||
        !fb__sketch(&y, &c->pair->b, c->culprit->b))
        return false;
    fit = fb__fit_scale(&x, &y);
    if (x.elements == y.elements && fb__fits(fit) && fabs(fit.scale - 1) > 1e-5)
        (void)snprintf(text, size, "b is %.6g times a", fit.scale);
    else if (x.elements > 1 && fb_sketch_same_numbers(&x, &y))
        (void)snprintf(text, size, "the same numbers in another order");
    else if (!say_added(text, size, &x, &y, e->site->dtype)) {
        if (x.elements != y.elements || x.sum_square == 0)
            return false;
        /* With one factor taken out what is left tells how far from a scale it is. */
        (void)snprintf(text, size, "no scale%s; relative difference %.2g",
                       x.edition == y.edition ? ", shift or permutation" : " or shift",
                       sqrt(fit.residual * fit.residual + (fit.scale - 1) * (fit.scale - 1)));
    }
    return true;
}

static const char *const activations[] = {
    "gelu",        "relu", "relu_",    "silu",       "tanh",  "sigmoid",
    "leaky_relu",  "elu",  "hardtanh", "softplus",   "mish",  "hardswish",
    "threshold",   "celu", "selu",     "silu_",      "tanh_", "sigmoid_",
    "leaky_relu_", "erf",  "prelu",    "hardsigmoid"};

static const char *family(const char *op)
{
    if (fb__is_one_of(op, activations, COUNT_OF(activations)))
        return "the activation is another one";
    if (strstr(op, "softmax") != NULL)
        return "a softmax";
    if (strstr(op, "norm") != NULL)
        return "a normalization";
    return NULL;
}

/* "mul by 0.353553" where the op has a plain number. */
static void name_op(char *text, size_t size, const fb_site *site)
{
    char other[32];

    if (fb__argument(other, sizeof other, site, "other"))
        (void)snprintf(text, size, "%s by %s", fb__text(site->op), other);
    else
        (void)snprintf(text, size, "%s", fb__text(site->op));
}

/* Whether an op gives one of its inputs, bit for bit: zeros scaled, or zeros added. */
static bool gives_an_input(const fb__case *c, const fb__step_event *e)
{
    fb_sketch x, y;

    if (!fb__sketch(&y, fb__step_of(c, e), e))
        return false;
    for (uint32_t k = 0; k < e->input_count; k++)
        if (fb__input_sketch(&x, c, e, k) && x.elements == y.elements &&
            memcmp(x.linear, y.linear, sizeof x.linear) == 0)
            return true;
    return false;
}

/* Hands on what it reads, by what it is for. */
static bool is_copy(const fb_site *site)
{
    static const char *const ops[] = {"clone", "copy_", "_to_copy", "contiguous", "detach_copy"};

    return fb__is_one_of(fb__text(site->op), ops, COUNT_OF(ops));
}

static void say_one_sided(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *instead = fb__replacement(c);
    const bool in_a = c->culprit->a != NULL;
    const char *kind = family(fb__text(e->site->op));
    char own[96], others[96], scale[64] = "";
    fb_sketch x, y;

    name_op(own, sizeof own, e->site);
    if (instead != NULL) {
        name_op(others, sizeof others, instead->site);
        fb__say(out, "%s computes %s in a and %s in b%s%s", fb__place_of(e), in_a ? own : others,
                in_a ? others : own, kind != NULL ? ": " : "",
                kind == NULL               ? ""
                : strcmp(own, others) == 0 ? "other settings"
                                           : kind);
        fb__say_fix(out, "use the same op %s in both", fb__where_of(e).text);
        return;
    }
    if (fb__input_sketch(&x, c, e, 0) && fb__sketch(&y, fb__step_of(c, e), e) &&
        x.elements == y.elements && x.elements > 1) {
        const fb__fit fit = fb__fit_scale(&x, &y);

        if (fb__fits(fit) && fabs(fit.scale - 1) > 1e-5)
            (void)snprintf(scale, sizeof scale, ": a scale of %.6g", fit.scale);
    }
    if (scale[0] == '\0' && !is_copy(e->site) && gives_an_input(c, e))
        (void)snprintf(scale, sizeof scale, ": it changes no number yet, but the gradient");
    fb__say(out, "only %s has %s (%s) %s%s", fb__culprit_side(c), own,
            kind != NULL && strstr(kind, "the ") == NULL ? kind : "an op more",
            fb__where_of(e).text, scale);
    fb__say_fix(out, "%s %s %s in both", in_a ? "keep" : "leave out", own, fb__where_of(e).text);
}

/* Whether an op reads one tensor on both sides, in two places. Of what it overwrites nothing is on
 * record but the place: the memory may be cut otherwise. */
static bool is_in_one_tensor(const fb__case *c, const fb__argument_pair *p)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const uint32_t k = (uint32_t)strtoul(p->name + 2, NULL, 10);
    const fb_site *x, *y;

    if (strncmp(p->name, "in", 2) != 0 || k >= a->input_count || k >= b->input_count ||
        !fb__is_same_input(c, k))
        return false;
    x = fb__input_site(c, a, k);
    y = fb__input_site(c, b, k);
    return x != NULL && y != NULL && x->dtype == y->dtype && x->rank == y->rank &&
           memcmp(x->shape, y->shape, x->rank * sizeof x->shape[0]) == 0;
}

/* The same numbers, read or written in another place. */
static void say_offset(fb_diff_cause *out, const fb__case *c, const fb__argument_pair *p)
{
    const fb__step_event *e = fb__culprit_event(c);

    fb__say(out, "%s (%s) %s another part of %s: from element %s | %s on", fb__place_of(e),
            fb__text(e->site->op), strncmp(p->name, "out", 3) == 0 ? "writes to" : "reads",
            is_in_one_tensor(c, p) ? "the same tensor" : "its memory", p->a, p->b);
}

void fb__tell_places(fb_diff_first *first, const fb__culprit *culprit)
{
    const fb__step_event *a = culprit->a, *b = culprit->b;
    fb__argument_pair p;

    if (a == NULL || b == NULL || a->site->kind != FB_KIND_TENSOR ||
        !fb_hash_equal(a->hash, b->hash) || fb__other_argument(&p, a->site, b->site) ||
        !fb__other_offset(&p, a->site, b->site))
        return;
    (void)snprintf(first->content_a, sizeof first->content_a, "from element %s of its memory on",
                   p.a);
    (void)snprintf(first->content_b, sizeof first->content_b, "from element %s of its memory on",
                   p.b);
}

/* Signature: an output differs, all that it is computed from is equal. */
bool fb__rule_forward_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    char relation[128] = "", inputs[FB__INPUTS_TEXT];
    fb__argument_pair p;
    bool known;

    if (e->site->kind != FB_KIND_TENSOR ||
        (e->site->phase != FB_PHASE_FORWARD && e->site->phase != FB_PHASE_LOSS))
        return false;
    if (!fb__is_pair(c)) {
        say_one_sided(out, c);
        return true;
    }
    known = say_relation(relation, sizeof relation, c);
    if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site)) {
        fb__say(out, "%s calls %s with %s %s | %s%s%s", fb__place_of(e), fb__text(e->site->op),
                p.name, p.a, p.b, known ? ": " : "", relation);
        fb__say_fix(out, "set %s of %s (%s) alike in both", p.name, fb__place_of(e),
                    fb__text(e->site->op));
        return true;
    }
    if (fb__other_offset(&p, c->culprit->a->site, c->culprit->b->site))
        say_offset(out, c, &p);
    else if (fb__other_inputs(inputs, sizeof inputs, c))
        fb__say(out, "%s%s%s %s%s%s", fb__text(e->site->path),
                fb__text(e->site->path)[0] != '\0' ? ": " : "", fb__text(e->site->op), inputs,
                known ? ": " : "", relation);
    else if (known)
        fb__say(out, "the output of %s (%s) differs, all that it is computed from is equal: %s",
                fb__place_of(e), fb__text(e->site->op), relation);
    else
        return false;
    fb__say_fix(out, "compare %s (%s) in both", fb__place_of(e), fb__text(e->site->op));
    return true;
}

/* Signature: an op of a program without steps, or before they begin; its name says whether it is of
 * a backward pass. */
static bool is_plain(const fb__case *c, bool backward)
{
    const fb_site *site = fb__culprit_event(c)->site;

    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_INIT &&
           (strstr(fb__text(site->op), "backward") != NULL) == backward;
}

static void say_plain(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    char inputs[FB__INPUTS_TEXT];
    fb__argument_pair p;

    if (!fb__is_pair(c))
        say_one_sided(out, c);
    else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        fb__say(out, "%s calls %s with %s %s | %s", fb__place_of(e), fb__text(e->site->op), p.name,
                p.a, p.b);
    else if (fb__other_offset(&p, c->culprit->a->site, c->culprit->b->site))
        say_offset(out, c, &p);
    else if (fb__other_inputs(inputs, sizeof inputs, c))
        fb__say(out, "%s %s", fb__text(e->site->op), inputs);
    else
        fb__say(out, "%s %s differs, all that it is computed from is equal", fb__text(e->site->op),
                fb__where_of(e).text);
    if (fb__is_pair(c))
        fb__say_fix(out, "compare %s %s in both", fb__text(e->site->op), fb__where_of(e).text);
}

bool fb__rule_plain_forward(fb_diff_cause *out, const fb__case *c)
{
    if (!is_plain(c, false))
        return false;
    say_plain(out, c);
    return true;
}

bool fb__rule_plain_backward(fb_diff_cause *out, const fb__case *c)
{
    if (!is_plain(c, true))
        return false;
    say_plain(out, c);
    return true;
}
