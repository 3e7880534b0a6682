/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_instances.c - causes in which instances of a model a program has: one in the place of two,
 * a copy that is made of another one, or not at all.
 */
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

enum { NONE = UINT32_MAX, ROOTS_MAX = 16 };

/* --- What models compute ---------------------------------------------------------------------- */

/* The models that compute in the first step that has any, by their names, and how much. */
typedef struct models {
    size_t ops, count;
    const char *names[ROOTS_MAX]; /* of their length; they live as long as the trace */
    size_t lengths[ROOTS_MAX];
} models;

static void add_name(models *m, const char *path)
{
    const size_t n = strcspn(path, ".");

    for (size_t i = 0; i < m->count; i++)
        if (m->lengths[i] == n && strncmp(m->names[i], path, n) == 0)
            return;
    if (m->count == ROOTS_MAX)
        return;
    m->names[m->count] = path;
    m->lengths[m->count++] = n;
}

static models models_of(fb_trace *trace)
{
    const fb_event *e = NULL;
    models m = {0};
    uint64_t step = 0;

    if (fb_trace_seek(trace, 0, NULL) != FB_OK)
        return m;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= 1) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || site->kind != FB_KIND_TENSOR || fb__text(site->path)[0] == '\0' ||
            strcmp(fb__text(site->slot), "out") != 0 ||
            (site->phase != FB_PHASE_FORWARD && site->phase != FB_PHASE_INIT))
            continue;
        if (e->step != step)
            m = (models){0};
        step = e->step;
        m.ops++;
        add_name(&m, site->path);
    }
    return m;
}

/* "DQN" of "DQN#2". */
static size_t class_length(const models *m, size_t i)
{
    const char *hash = memchr(m->names[i], '#', m->lengths[i]);
    return hash == NULL ? m->lengths[i] : (size_t)(hash - m->names[i]);
}

/* Two of the models that are instances of one class; false: there are none. */
static bool find_twins(size_t *first, size_t *second, const models *m)
{
    for (size_t i = 0; i < m->count; i++)
        for (size_t j = i + 1; j < m->count; j++)
            if (class_length(m, i) == class_length(m, j) &&
                strncmp(m->names[i], m->names[j], class_length(m, i)) == 0) {
                *first = i;
                *second = j;
                return true;
            }
    return false;
}

/* Signature: models compute as much in both runs, but in one run two instances of a class do, in
 * the other a single one. */
bool fb__rule_one_model(fb_diff_cause *out, const fb__case *c)
{
    models a, b;
    const models *more;
    size_t x, y;

    if (c->report->first.name.step > 1)
        return false;
    a = models_of(c->pair->a.trace);
    b = models_of(c->pair->b.trace);
    more = a.count > b.count ? &a : &b;
    if (a.ops != b.ops || a.ops == 0 || a.count == b.count || a.count == 0 || b.count == 0 ||
        !find_twins(&x, &y, more))
        return false;
    fb__say(out, "%s has a second model: %.*s and %.*s compute there; %s uses one for both",
            more == &a ? "a" : "b", (int)more->lengths[x], more->names[x], (int)more->lengths[y],
            more->names[y], more == &a ? "b" : "a");
    fb__say_fix(out, "make a copy of the model (copy.deepcopy) in both, or in neither");
    return true;
}

/* --- Copies before training ------------------------------------------------------------------- */

static bool is_copy(const fb_site *site)
{
    static const char *const ops[] = {"clone", "copy_", "_to_copy", "detach_copy"};

    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_INIT &&
           fb__text(site->path)[0] == '\0' && fb__is_real(site->dtype) &&
           fb__is_one_of(fb__text(site->op), ops, COUNT_OF(ops));
}

/* The parameter that begins with these contents. */
static const fb_site *parameter_with(fb_trace *trace, fb_hash value)
{
    const fb_event *e = NULL;

    if (fb_trace_seek(trace, 0, NULL) != FB_OK)
        return NULL;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step == 0) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site != NULL && site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_INIT &&
            fb_hash_equal(e->hash, value))
            return site;
    }
    return NULL;
}

/* How often, in the first steps, ops of modules and ops outside of them read what the optimizer
 * updates, and how often the latter write to it in place. */
typedef struct uses {
    size_t in_modules, outside, writes;
} uses;

static uses uses_of_parameters(fb_trace *trace)
{
    enum { STEPS = 3 };
    const fb_event *e = NULL;
    uses n = {0, 0, 0};

    if (fb_trace_seek(trace, 1, NULL) != FB_OK)
        return n;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= STEPS) {
        const fb_site *site = fb_trace_site(trace, e->site);
        const size_t length = site == NULL ? 0 : strlen(fb__text(site->op));
        const bool outside = site != NULL && fb__text(site->path)[0] == '\0';

        if (site == NULL || site->kind != FB_KIND_TENSOR || site->phase != FB_PHASE_FORWARD)
            continue;
        for (uint32_t k = 0; k < e->input_count; k++) {
            const fb_site *input = fb_trace_site(trace, e->inputs[k].site);

            if (input == NULL || input->kind != FB_KIND_PARAM || input->phase != FB_PHASE_OPTIMIZER)
                continue;
            n.in_modules += !outside;
            n.outside += outside;
            n.writes += k == 0 && outside && length > 1 && site->op[length - 1] == '_';
        }
    }
    return n;
}

static bool uses_more(fb_trace *trace, fb_trace *other)
{
    const uses x = uses_of_parameters(trace), y = uses_of_parameters(other);

    if (x.writes != y.writes)
        return x.writes > y.writes;
    return x.outside != y.outside ? x.outside > y.outside : x.in_modules > y.in_modules;
}

static const char *path_or(const fb_site *site, const char *other)
{
    return site == NULL ? other : fb__text(site->path);
}

/* Both sides copy, not the same. */
static bool say_other_source(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *in_a, *in_b;

    if (c->culprit->a->same_content)
        return false;
    in_a = parameter_with(c->pair->a.trace, c->culprit->a->hash);
    in_b = parameter_with(c->pair->b.trace, c->culprit->b->hash);
    if ((in_a == NULL && in_b == NULL) ||
        (in_a != NULL && in_b != NULL && strcmp(fb__text(in_a->path), fb__text(in_b->path)) == 0))
        return false;
    fb__say(out, "a copy (%s) that is kept beside the model begins as %s in a, as %s in b",
            fb__text(c->culprit->a->site->op), path_or(in_a, "something else"),
            path_or(in_b, "something else"));
    fb__say_fix(out, "copy the same tensors in both, at the same place of the program");
    return true;
}

/* One side alone copies what another parameter begins with. */
static bool say_not_copied(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb_trace *own = fb__step_of(c, e)->trace;
    fb_trace *other = c->culprit->a != NULL ? c->pair->b.trace : c->pair->a.trace;
    const models a = models_of(c->pair->a.trace), b = models_of(c->pair->b.trace);
    const fb_site *from = parameter_with(own, e->hash);

    if (strcmp(fb__text(e->site->op), "copy_") != 0 || from == NULL || a.count != b.count ||
        a.ops != b.ops || parameter_with(other, e->hash) == NULL || uses_more(own, other) ||
        uses_more(other, own))
        return false;
    fb__say(out,
            "only %s copies (%s) %s into another model before training begins; that of %s keeps "
            "what it was filled with",
            fb__culprit_side(c), fb__text(e->site->op), fb__text(from->path),
            c->culprit->a != NULL ? "b" : "a");
    fb__say_fix(out, "load_state_dict() of the same model in both, before training begins");
    return true;
}

/* Signature: before training begins one side alone copies a parameter; the other works with the
 * parameter itself instead, which the optimizer updates. */
bool fb__rule_copy_missing(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step *own, *other;
    const fb_site *from;

    if (fb__is_pair(c) || !is_copy(e->site))
        return false;
    own = fb__step_of(c, e);
    other = own == &c->pair->a ? &c->pair->b : &c->pair->a;
    from = parameter_with(own->trace, e->hash);
    if (from == NULL || !uses_more(other->trace, own->trace))
        return false;
    fb__say(out,
            "only %s copies (%s) %s before training begins; %s goes on with the parameter itself, "
            "which the optimizer updates",
            fb__culprit_side(c), fb__text(e->site->op), fb__text(from->path),
            c->culprit->a != NULL ? "b" : "a");
    fb__say_fix(out, "copy before writing: clone() or copy.deepcopy() in both");
    return true;
}

/* Whether all parameters that both sides have begin equal. */
static bool begins_equal(const fb__case *c)
{
    for (size_t i = 0; i < c->pair->a.count; i++) {
        const fb__step_event *e = &c->pair->a.events[i];

        if (e->site->kind == FB_KIND_PARAM && e->site->phase == FB_PHASE_INIT &&
            e->partner != NONE && !e->same_content)
            return false;
    }
    return true;
}

/* Signature: before training begins, what is copied differs, or one side alone copies, and no
 * parameter that is trained begins otherwise: a teacher, an average, a target. */
bool fb__rule_other_copy(fb_diff_cause *out, const fb__case *c)
{
    if (!is_copy(fb__culprit_event(c)->site))
        return false;
    if (!fb__is_pair(c))
        return say_not_copied(out, c);
    return begins_equal(c) && say_other_source(out, c);
}
