/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_seed.c - causes in generators outside of torch, which are seeded otherwise, or never.
 */
#include <string.h>

#include "diff/cause/evidence.h"

static const char *const outside[] = {"numpy", "python"};

/* Seeded by the system and untouched, they stand at 623 (NumPy) or 624 (CPython, older NumPy) of
 * their 624 numbers: at the end, since the first draw makes new ones. */
enum { UNTOUCHED = 623 };

/* The next event of a trace, of step `to` at the latest; NULL at its end or a failure. */
static const fb_event *next_until(fb_trace *trace, uint64_t to)
{
    const fb_event *e = NULL;

    if (fb_trace_next(trace, &e, NULL, NULL) != FB_OK || e == NULL || e->step > to)
        return NULL;
    return e;
}

static bool is_outside(const char *stream)
{
    return fb__is_one_of(stream, outside, 2) ||
           (fb__is_own_generator(stream) &&
            (fb__is_same_family(stream, outside[0]) || fb__is_same_family(stream, outside[1])));
}

static bool is_seeding(const fb_site *site)
{
    return site != NULL && site->kind == FB_KIND_SEED && !site->note &&
           strcmp(fb__text(site->op), "set_state") != 0 && is_outside(fb__text(site->stream));
}

typedef struct seeding {
    const fb_site *site;
    uint64_t key;
} seeding;

enum { SEEDINGS_MAX = 64 }; /* that are looked at; more are no seeds */

/* The first generator outside of torch that a run seeds up to the culprit and the other does not,
 * or with another number; its site is NULL where there is none. */
static seeding seeded_alone(fb_trace *trace, fb_trace *other, uint64_t to)
{
    seeding found[SEEDINGS_MAX];
    size_t n = 0;
    const fb_event *e;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return (seeding){NULL, 0};
    while (n < SEEDINGS_MAX && (e = next_until(trace, to)) != NULL) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (is_seeding(site))
            found[n++] = (seeding){site, e->key};
    }
    if (n == 0 || fb_trace_seek_event(other, 0, NULL) != FB_OK)
        return (seeding){NULL, 0};
    while ((e = next_until(other, to)) != NULL) {
        const fb_site *site = fb_trace_site(other, e->site);

        for (size_t i = 0; i < n && is_seeding(site); i++)
            if (found[i].site != NULL && found[i].key == e->key &&
                strcmp(fb__text(found[i].site->stream), fb__text(site->stream)) == 0)
                found[i].site = NULL;
    }
    for (size_t i = 0; i < n; i++)
        if (found[i].site != NULL)
            return found[i];
    return (seeding){NULL, 0};
}

/* Signature: other contents enter, and only one run has seeded the generators outside of torch, or
 * with another number. */
bool fb__rule_unseeded(fb_diff_cause *out, const fb__case *c)
{
    const uint64_t step = c->report->first.name.step;
    fb_trace *a = c->pair->a.trace, *b = c->pair->b.trace;
    seeding lone;
    bool in_a;

    if (!fb__is_other_content(c))
        return false;
    lone = seeded_alone(a, b, step);
    in_a = lone.site != NULL;
    if (!in_a)
        lone = seeded_alone(b, a, step);
    if (lone.site == NULL)
        return false;
    fb__say(out, "only %s seeds %s with %llu, and what enters %s differs", in_a ? "a" : "b",
            fb__text(lone.site->stream), (unsigned long long)lone.key,
            fb__where_of(fb__culprit_event(c)).text);
    fb__say_fix(out, "seed %s alike in both, before anything draws from it",
                fb__text(lone.site->stream));
    return true;
}

/* --- Never seeded ----------------------------------------------------------------------------- */

/* Whether a run that never seeds the generator has drawn from it in this step, or before the first
 * one. Of such a generator the recorder tells its position, as a note. */
static bool has_drawn_unseeded(fb_trace *trace, uint64_t to, const char *stream)
{
    uint64_t position = UNTOUCHED, at;
    bool moved = false;
    const fb_event *e;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return false;
    while ((e = next_until(trace, to)) != NULL) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || strcmp(fb__text(site->stream), stream) != 0)
            continue;
        if (site->kind == FB_KIND_SEED)
            return false;
        if (site->kind != FB_KIND_DRAW || !site->note || strcmp(fb__text(site->op), "state") != 0)
            continue;
        at = e->counter < UNTOUCHED ? e->counter : UNTOUCHED;
        moved = at != position && (e->step == to || to <= 1);
        position = at;
        if (moved && to <= 1)
            break;
    }
    return moved;
}

/* The last generator of the program's own that a run has made without a seed and drawn from in this
 * step, or before the first one: notes are told of it. NULL: none. */
static const char *own_unseeded(fb_trace *trace, uint64_t to)
{
    const char *found = NULL;
    const fb_event *e;

    if (fb_trace_seek(trace, to <= 1 ? 0 : to, NULL) != FB_OK)
        return NULL;
    while ((e = next_until(trace, to)) != NULL) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site != NULL && site->kind == FB_KIND_DRAW && site->note &&
            fb__is_own_generator(fb__text(site->stream)) && is_outside(fb__text(site->stream)))
            found = fb__text(site->stream);
    }
    return found;
}

/* Says that both runs draw from a generator that they make without a seed. */
static bool say_own_unseeded(fb_diff_cause *out, const fb__case *c, uint64_t step)
{
    const fb__step_event *e = fb__culprit_event(c);
    const char *in_a = own_unseeded(c->pair->a.trace, step);
    const char *in_b = own_unseeded(c->pair->b.trace, step);
    const char *call;

    if (in_a == NULL || in_b == NULL || strcmp(in_a, in_b) != 0)
        return false;
    call = fb__is_same_family(in_a, "numpy") ? "numpy.random.default_rng" : "random.Random";
    fb__say(out,
            "both runs draw from %s, which is made without a seed (%s()): the system seeds it, "
            "otherwise in each run, and %s differs",
            in_a, call,
            e->site->kind == FB_KIND_SAMPLE ? "what is in the samples" : fb__text(e->site->op));
    fb__say_fix(out, "give it a seed: %s(0)", call);
    return true;
}

/* Whether one program does something else, not the same with another result. */
static bool does_otherwise(const fb__case *c)
{
    fb__argument_pair p;

    return fb__culprit_event(c)->site->kind != FB_KIND_SEED && fb__has_same_settings(c) &&
           (!fb__is_pair(c) || fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site));
}

/* Signature: other contents enter, or one program calls an op with other numbers or not at all,
 * and both runs have drawn from a generator outside of torch that neither seeds. The system seeds
 * it then, otherwise in each process. */
bool fb__rule_never_seeded(fb_diff_cause *out, const fb__case *c)
{
    const uint64_t step = c->report->first.name.step;
    const fb__step_event *e = fb__culprit_event(c);

    if (!fb__is_other_content(c) && !does_otherwise(c))
        return false;
    if (say_own_unseeded(out, c, step))
        return true;
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        if (!has_drawn_unseeded(c->pair->a.trace, step, outside[i]) ||
            !has_drawn_unseeded(c->pair->b.trace, step, outside[i]))
            continue;
        fb__say(out,
                "both runs draw from %s, which neither seeds: the system seeds it, otherwise in "
                "each run, and %s differs",
                i == 0 ? "numpy.random" : "Python's random",
                e->site->kind == FB_KIND_SAMPLE ? "what is in the samples" : fb__text(e->site->op));
        fb__say_fix(out, "call %s(...) before anything draws from it",
                    i == 0 ? "numpy.random.seed" : "random.seed");
        return true;
    }
    return false;
}
