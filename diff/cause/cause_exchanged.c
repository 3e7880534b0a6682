/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_exchanged.c - operands in the other order: a - b and b - a, queries in the place of keys,
 * the sources of edges in the place of their targets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/sketch.h"
#include "diff/cause/evidence.h"

enum { NONE = UINT32_MAX };

static bool is_forward(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR &&
           (site->phase == FB_PHASE_FORWARD || site->phase == FB_PHASE_LOSS);
}

/* Contents of the k-th input of an event of side a, of one of side b. */
static bool reads_alike(const fb__case *c, const fb__step_event *x, uint32_t k,
                        const fb__step_event *y, uint32_t l)
{
    fb_hash a, b;

    return fb__input_hash(&a, c, x, k) && fb__input_hash(&b, c, y, l) && fb_hash_equal(a, b);
}

/* Of equal contents the identities tell which is which. */
static bool reads_one(const fb__case *c, uint32_t k, uint32_t l)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    return fb_hash_equal(c->pair->a.inputs[a->first_input + k],
                         c->pair->b.inputs[b->first_input + l]);
}

/* Two operands of one op, each in the place of the other. A bias may stand before them. */
static bool operands(uint32_t *first, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const uint32_t n = a->input_count;

    if (n < 2 || n != b->input_count || strcmp(fb__text(a->site->op), fb__text(b->site->op)) != 0)
        return false;
    *first = n - 2;
    if (c->report->first.what == FB_DIFF_INPUTS && reads_one(c, n - 2, n - 1) &&
        reads_one(c, n - 1, n - 2) && !reads_one(c, n - 2, n - 2))
        return true;
    return reads_alike(c, a, n - 2, b, n - 1) && reads_alike(c, a, n - 1, b, n - 2) &&
           !reads_alike(c, a, n - 2, b, n - 2);
}

static void name(char *out, size_t size, const fb_site *site, const fb_site *reader)
{
    const char *path = site == NULL ? "" : fb__text(site->path);
    const bool enters = site != NULL && strncmp(fb__text(site->slot), "in", 2) == 0;
    const bool told = path[0] != '\0' && strcmp(path, fb__text(reader->path)) != 0;

    if (site == NULL || enters) {
        (void)snprintf(out, size, "what enters from outside");
        return;
    }
    (void)snprintf(out, size, "%s%s%s", told ? path : "", told ? " " : "", fb__text(site->op));
    if (site->occurrence > 0)
        (void)snprintf(out + strlen(out), size - strlen(out), " #%u", site->occurrence + 1);
}

/* How b's result follows from a's, where sketches say it. */
static const char *relation(const fb__case *c)
{
    fb_sketch x, y;
    fb__fit fit;

    if (!fb__sketch(&x, &c->pair->a, c->culprit->a) || !fb__sketch(&y, &c->pair->b, c->culprit->b))
        return "";
    fit = fb__fit_scale(&x, &y);
    if (x.elements == y.elements && fb__fits(fit) && fit.scale > -1.0001 && fit.scale < -0.9999)
        return ": b is a with the other sign";
    return x.elements > 1 && fb_sketch_same_numbers(&x, &y) ? ": b is a, transposed" : "";
}

static bool say_operands(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = c->culprit->a;
    char x[128], y[128];
    uint32_t first;

    if (!operands(&first, c))
        return false;
    name(x, sizeof x, fb__input_site(c, e, first), e->site);
    name(y, sizeof y, fb__input_site(c, e, first + 1), e->site);
    fb__say(out, "%s %s has its operands exchanged: %s, %s in a | %s, %s in b%s",
            fb__text(e->site->op), fb__where_of(e).text, x, y, y, x,
            c->report->first.what == FB_DIFF_INPUTS
                ? ": the result is equal so far, its gradient is not"
                : relation(c));
    return true;
}

/* Another op of the forward pass that reads in b what the culprit reads in a, and in a what that
 * reads in b: the two have exchanged what they read. */
static const fb__step_event *partner_of_exchange(const fb__case *c, uint32_t k)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const fb__step *in_a = &c->pair->a, *in_b = &c->pair->b;

    for (size_t i = (size_t)(a - in_a->events) + 1; i < in_a->count; i++) {
        const fb__step_event *x = &in_a->events[i];
        const fb__step_event *y = x->partner == NONE ? NULL : &in_b->events[x->partner];

        if (y == NULL || !is_forward(x->site) || k >= x->input_count || k >= y->input_count ||
            x->equal || strcmp(fb__text(x->site->op), fb__text(a->site->op)) != 0)
            continue;
        if (reads_alike(c, x, k, b, k) && reads_alike(c, a, k, y, k))
            return x;
    }
    return NULL;
}

static bool say_readers(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b, *x = NULL;
    char own[128], others[128];

    for (uint32_t k = 0; k < a->input_count && k < b->input_count && x == NULL; k++) {
        if (reads_alike(c, a, k, b, k))
            continue;
        x = partner_of_exchange(c, k);
        name(own, sizeof own, a->site, x == NULL ? a->site : x->site);
        if (x != NULL)
            name(others, sizeof others, x->site, a->site);
    }
    if (x == NULL)
        return false;
    fb__say(out, "%s and %s have exchanged what they read", own, others);
    return true;
}

/* The two parts of one tensor that two ops of a module read, each in the place of the other: the
 * ends of edges. */
static bool say_parts(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const fb__step *in_a = &c->pair->a, *in_b = &c->pair->b;
    fb__argument_pair p, q;

    if (!fb__other_offset(&p, a->site, b->site) || strncmp(p.name, "in", 2) != 0)
        return false;
    const uint32_t k = (uint32_t)strtoul(p.name + 2, NULL, 10);

    for (size_t i = (size_t)(a - in_a->events) + 1; i < in_a->count; i++) {
        const fb__step_event *x = &in_a->events[i];
        const fb__step_event *y = x->partner == NONE ? NULL : &in_b->events[x->partner];
        uint32_t l;

        if (y == NULL || !is_forward(x->site) || k >= a->input_count ||
            strcmp(fb__text(x->site->path), fb__text(a->site->path)) != 0 ||
            !fb__other_offset(&q, x->site, y->site) || strncmp(q.name, "in", 2) != 0 ||
            strcmp(p.a, q.b) != 0 || strcmp(p.b, q.a) != 0)
            continue;
        l = (uint32_t)strtoul(q.name + 2, NULL, 10);
        if (l >= x->input_count ||
            !fb_hash_equal(in_a->inputs[a->first_input + k], in_a->inputs[x->first_input + l]))
            continue;
        fb__say(out,
                "%s and %s %s have exchanged the parts of one tensor that they read: from element "
                "%s | %s on and from %s | %s on",
                fb__text(a->site->op), fb__text(x->site->op), fb__where_of(a).text, p.a, p.b, q.a,
                q.b);
        return true;
    }
    return false;
}

/* Signature: an op of the forward pass reads the same two operands in the other order; or it and
 * another one read, each of them, what the other reads in the other run. */
bool fb__rule_exchanged(fb_diff_cause *out, const fb__case *c)
{
    if (!fb__is_pair(c) || !is_forward(c->culprit->a->site) ||
        !(say_operands(out, c) || say_readers(out, c) || say_parts(out, c)))
        return false;
    fb__say_fix(out, "compare the order of the arguments of %s in both",
                fb__text(c->culprit->a->site->op));
    return true;
}
