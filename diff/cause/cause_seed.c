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

/* A generator outside of torch that a run seeds up to the culprit; NULL: none, or `like` is given
 * and it is not seeded so. */
static const fb_site *seeded(fb_trace *trace, uint64_t to, const fb_site *like, uint64_t key,
                             uint64_t *value)
{
    const fb_event *e;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return NULL;
    while ((e = next_until(trace, to)) != NULL) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || site->kind != FB_KIND_SEED ||
            !fb__is_one_of(fb__text(site->stream), outside, 2))
            continue;
        if (like == NULL ||
            (strcmp(fb__text(site->stream), fb__text(like->stream)) == 0 && e->key == key)) {
            *value = e->key;
            return site;
        }
    }
    return NULL;
}

/* Signature: other contents enter, and only one run has seeded the generators outside of torch, or
 * with another number. */
bool fb__rule_unseeded(fb_diff_cause *out, const fb__case *c)
{
    const uint64_t step = c->report->first.name.step;
    fb_trace *a = c->pair->a.trace, *b = c->pair->b.trace;
    uint64_t key = 0, none = 0;
    const fb_site *in_a, *in_b, *site;

    if (!fb__is_other_content(c))
        return false;
    in_a = seeded(a, step, NULL, 0, &key);
    site = in_a != NULL && seeded(b, step, in_a, key, &none) == NULL ? in_a : NULL;
    if (site == NULL) {
        in_b = seeded(b, step, NULL, 0, &key);
        in_a = NULL;
        site = in_b != NULL && seeded(a, step, in_b, key, &none) == NULL ? in_b : NULL;
    }
    if (site == NULL)
        return false;
    fb__say(out, "only %s seeds %s with %llu, and what enters at %s differs",
            in_a != NULL ? "a" : "b", fb__text(site->stream), (unsigned long long)key,
            fb__place_of(fb__culprit_event(c)));
    fb__say_fix(out, "seed %s alike in both, before anything draws from it",
                fb__text(site->stream));
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
