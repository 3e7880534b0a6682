/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_generator.c - causes that a seed shows first, or a state that a generator is put into: what
 * the generator is for says what went wrong.
 */
#include <inttypes.h>
#include <string.h>

#include "diff/cause/evidence.h"

static bool is_order(const fb_site *site)
{
    static const char *const orders[] = {"randperm", "permutation", "shuffle"};

    return fb__is_one_of(fb__text(site->distribution), orders, sizeof orders / sizeof orders[0]);
}

/* Whether the next that an event's generator draws behind it is an order, in its step or the next,
 * but for the single number that a loader draws for its workers. */
static bool serves_an_order(const fb__step *step, const fb__step_event *e)
{
    const fb_event *x = NULL;

    if (fb_trace_seek_event(step->trace, e->number, NULL) != FB_OK)
        return false;
    while (fb_trace_next(step->trace, &x, NULL, NULL) == FB_OK && x != NULL &&
           x->step <= step->step + 1) {
        const fb_site *site = fb_trace_site(step->trace, x->site);

        if (site != NULL && site->kind == FB_KIND_DRAW && x->count > 0 &&
            strcmp(fb__text(site->stream), fb__text(e->site->stream)) == 0 &&
            (is_order(site) || x->count > 1))
            return is_order(site);
    }
    return false;
}

/* Whether a run seeds this stream, or draws from it, anywhere. */
static bool has_stream(fb_trace *trace, const char *stream)
{
    const fb_event *x = NULL;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return false;
    while (fb_trace_next(trace, &x, NULL, NULL) == FB_OK && x != NULL) {
        const fb_site *site = fb_trace_site(trace, x->site);

        if (site != NULL && (site->kind == FB_KIND_DRAW || site->kind == FB_KIND_SEED) &&
            strcmp(fb__text(site->stream), stream) == 0)
            return true;
    }
    return false;
}

/* Signature: a generator of the program's own is seeded otherwise, or on one side only, and the
 * next that is drawn from it is an order. */
bool fb__rule_order_seed(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);

    if (e->site->kind != FB_KIND_SEED || !fb__is_own_generator(fb__text(e->site->stream)) ||
        strcmp(fb__text(e->site->op), "set_state") == 0 || !serves_an_order(fb__step_of(c, e), e))
        return false;
    if (fb__is_pair(c))
        fb__say(out, "the order is drawn by %s, which is seeded with %" PRIu64 " | %" PRIu64,
                fb__text(e->site->stream), c->culprit->a->stream_key, c->culprit->b->stream_key);
    else
        fb__say(out, "the order is drawn by %s, which only %s seeds here (with %" PRIu64 ")",
                fb__text(e->site->stream), fb__culprit_side(c), e->stream_key);
    fb__say_fix(out, "seed the sampler's generator once and alike, call set_epoch() in each epoch");
    return true;
}

/* How many generators of one library a run seeds with a number, at one place of the program where
 * `stack` is given. */
static size_t count_made(fb_trace *trace, const fb__step_event *like, const char *stack)
{
    const fb_event *x = NULL;
    size_t n = 0;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return 0;
    while (fb_trace_next(trace, &x, NULL, NULL) == FB_OK && x != NULL) {
        const fb_site *site = fb_trace_site(trace, x->site);

        n += site != NULL && site->kind == FB_KIND_SEED && x->key == like->stream_key &&
             strcmp(fb__text(site->op), fb__text(like->site->op)) == 0 &&
             fb__is_own_generator(fb__text(site->stream)) &&
             fb__is_same_family(fb__text(site->stream), fb__text(like->site->stream)) &&
             (stack == NULL || strcmp(fb__text(fb_trace_stack(trace, x->site)), stack) == 0);
    }
    return n;
}

/* Signature: one place of a program makes generators with one seed again and again, for no order,
 * and the other run makes fewer with it. */
bool fb__rule_made_again(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const bool in_a = c->culprit->a != NULL;
    fb_trace *own = fb__step_of(c, e)->trace, *other = (in_a ? &c->pair->b : &c->pair->a)->trace;
    const char *stack;
    size_t here, there;

    if (e->site->kind != FB_KIND_SEED || fb__is_pair(c) ||
        !fb__is_own_generator(fb__text(e->site->stream)) || serves_an_order(fb__step_of(c, e), e))
        return false;
    stack = fb__text(fb_trace_stack(own, e->site_number));
    here = count_made(own, e, NULL);
    there = count_made(other, e, NULL);
    if (there == 0 || here <= there || count_made(own, e, stack) < 2)
        return false;
    fb__say(out,
            "%s makes %zu generators with the seed %" PRIu64
            ", again and again at one place, and %s makes %zu: the same numbers come again",
            in_a ? "a" : "b", here, e->stream_key, in_a ? "b" : "a", there);
    fb__say_fix(out, "make the generator once, before the loop");
    return true;
}

/* Whether a side has a draw that the other lacks, from the generator that a library of such a
 * stream has for all. */
static bool has_lone_draw(const fb__step *step, const char *stream)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site->kind == FB_KIND_DRAW && step->events[i].count > 0 &&
            step->events[i].partner == UINT32_MAX &&
            strchr(fb__text(step->events[i].site->stream), '.') == NULL &&
            fb__is_same_family(fb__text(step->events[i].site->stream), stream))
            return true;
    return false;
}

/* Signature: a generator is seeded that the other run does not have at all, or for which it draws
 * from the default one. */
bool fb__rule_own_generator(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const bool in_a = c->culprit->a != NULL;
    const fb__step *other = in_a ? &c->pair->b : &c->pair->a;

    if (e->site->kind != FB_KIND_SEED || fb__is_pair(c) ||
        !fb__is_own_generator(fb__text(e->site->stream)) ||
        (has_stream(other->trace, fb__text(e->site->stream)) &&
         !has_lone_draw(other, fb__text(e->site->stream))))
        return false;
    fb__say(out, "only %s has a generator of its own here (%s): %s draws from another one",
            in_a ? "a" : "b", fb__text(e->site->stream), in_a ? "b" : "a");
    fb__say_fix(out, "give what is drawn a generator of its own in both, or in neither");
    return true;
}
