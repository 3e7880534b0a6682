/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_checkpoint.c - causes in what a recorded program restores when it goes on from a
 * checkpoint.
 *
 * Many programs load states that are no checkpoint: an average that follows the model, a target
 * network, the generator that an evaluation put aside. A run goes on from a checkpoint where it
 * reads a file, or gives an optimizer or a schedule another state; and even then it is blamed only
 * for what a state decides.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

enum { LOADS_MAX = 32 };

/* What a run has restored in the step of the culprit and the one before. */
typedef struct loads {
    const fb_site *site[LOADS_MAX];
    size_t count;
    uint64_t last; /* step; with count > 0 */
    uint64_t file; /* number of the first event that reads a file, or UINT64_MAX */
} loads;

static bool is_load(const fb_site *site)
{
    const char *op = fb__text(site->op);

    return (site->kind == FB_KIND_CHECKPOINT || site->phase == FB_PHASE_CHECKPOINT) &&
           (strcmp(op, "load") == 0 || strcmp(op, "load_state_dict") == 0 ||
            strcmp(op, "set_rng_state") == 0);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_optimizer(const fb_site *site)
{
    return begins(fb__text(site->path), "optimizer") || begins(fb__text(site->path), "scheduler");
}

static void read_loads(loads *out, fb_trace *trace, uint64_t step)
{
    const fb_event *e = NULL;
    uint64_t number = 0;

    *out = (loads){.file = UINT64_MAX};
    if (fb_trace_seek(trace, step > 0 ? step - 1 : 0, NULL) != FB_OK)
        return;
    while (fb_trace_next(trace, &e, &number, NULL) == FB_OK && e != NULL && e->step <= step) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || !is_load(site))
            continue;
        out->last = e->step;
        if (strcmp(fb__text(site->op), "load") == 0 && out->file == UINT64_MAX)
            out->file = number;
        if (out->count < LOADS_MAX)
            out->site[out->count++] = site;
    }
}

static bool goes_on(const loads *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(fb__text(l->site[i]->op), "load") == 0 || is_optimizer(l->site[i]))
            return true;
    return false;
}

static size_t count_like(const loads *l, const fb_site *like)
{
    size_t n = 0;

    for (size_t i = 0; i < l->count; i++)
        n += strcmp(fb__text(l->site[i]->op), fb__text(like->op)) == 0 &&
             strcmp(fb__text(l->site[i]->path), fb__text(like->path)) == 0;
    return n;
}

/* Something that one side loads more often. */
static const fb_site *missing(const loads *has, const loads *lacks)
{
    for (size_t i = 0; i < has->count; i++)
        if (count_like(has, has->site[i]) > count_like(lacks, has->site[i]))
            return has->site[i];
    return NULL;
}

/* --- What a state decides --------------------------------------------------------------------- */

/* A generator is put into a state that was kept. */
static bool is_set_state(const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;
    return site->kind == FB_KIND_SEED && strcmp(fb__text(site->op), "set_state") == 0;
}

/* The same numbers asked for, of a generator that stands elsewhere. */
static bool is_other_position(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    return is_set_state(c) ||
           (fb__culprit_event(c)->site->kind == FB_KIND_DRAW &&
            (!fb__is_pair(c) || a->stream_key != b->stream_key || a->counter != b->counter));
}

/* A call with other arguments, or of another op, is no matter of a state. */
static bool is_other_call(const fb__case *c)
{
    fb__argument_pair p;

    return !fb__is_pair(c) || fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site);
}

static bool is_copy(const fb_site *site)
{
    return fb__op_is(site, "copy") || fb__op_is(site, "set");
}

/* Whether the culprit is what restoring `item` would have made equal. */
static bool is_decided_by(const fb__case *c, const fb_site *item)
{
    const fb_site *site = fb__culprit_event(c)->site;

    if (strcmp(fb__text(item->op), "set_rng_state") == 0)
        return is_other_position(c);
    if (is_optimizer(item))
        return site->phase == FB_PHASE_OPTIMIZER || site->phase == FB_PHASE_SCHEDULE;
    return site->kind == FB_KIND_PARAM ||
           (site->kind == FB_KIND_TENSOR && (is_copy(site) || !is_other_call(c)));
}

/* Whether one side alone works on what was copied from elsewhere before this step. */
static bool reads_restored(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    for (uint32_t k = 0; !is_other_call(c) && k < a->input_count && k < b->input_count; k++) {
        const fb_site *x = fb__input_site(c, a, k), *y = fb__input_site(c, b, k);

        if (x != NULL && y != NULL && is_copy(x) != is_copy(y))
            return true;
    }
    return false;
}

/* What kind of state shows first, where nothing says which call is missing; NULL: none does. */
static const char *item_of(const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;

    switch (site->kind) {
    case FB_KIND_SEED:
    case FB_KIND_DRAW:
        return is_other_position(c) ? "the state of a random generator" : NULL;
    case FB_KIND_SAMPLE:
        return "the place in the data";
    case FB_KIND_SCALAR:
        if (!fb__is_pair(c) || site->phase != FB_PHASE_OPTIMIZER)
            return NULL;
        return strcmp(fb__text(site->slot), "lr") == 0 ? "the schedule" : NULL;
    case FB_KIND_PARAM:
        return strcmp(fb__text(site->op), "buffer") == 0 ? "a buffer" : "the optimizer's state";
    case FB_KIND_TENSOR:
        if (begins(fb__text(site->slot), "in") && fb__culprit_event(c)->input_count == 0)
            return "the place in the data, or a generator outside of torch,";
        return is_copy(site) || reads_restored(c) ? "part of the state" : NULL;
    default:
        return NULL;
    }
}

/* --- Before the first step -------------------------------------------------------------------- */

/* Whether the value of a parameter is one that was copied in behind the reading of a file. */
static bool is_restored(const fb__step *step, const fb__step_event *parameter, uint64_t file)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].number > file && step->events[i].site->kind == FB_KIND_TENSOR &&
            is_copy(step->events[i].site) && fb_hash_equal(step->events[i].hash, parameter->hash))
            return true;
    return false;
}

static bool has_lone_draw(const fb__step *step, const char *stream)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site->kind == FB_KIND_DRAW && step->events[i].count > 0 &&
            !step->events[i].equal && strcmp(fb__text(step->events[i].site->stream), stream) == 0)
            return true;
    return false;
}

/* Signature: both runs read a checkpoint before the first step, and behind it a parameter, or where
 * a generator stands, is another. First weights that are read too do not decide what is filled or
 * drawn by the program itself. */
static bool say_begun(fb_diff_cause *out, const fb__case *c, const loads *in_a, const loads *in_b)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b, *e = fb__culprit_event(c);

    if ((a != NULL && a->number < in_a->file) || (b != NULL && b->number < in_b->file))
        return false;
    if (e->site->kind == FB_KIND_TENSOR && is_copy(e->site)) {
        if (fb__is_pair(c))
            fb__say(out, "both read a checkpoint, and copy other values behind it (%s)",
                    fb__text(e->site->op));
        else
            fb__say(out, "both read a checkpoint, and only %s copies this behind it (%s)",
                    fb__culprit_side(c), fb__text(e->site->op));
        return true;
    }
    if (is_set_state(c)) {
        fb__say(out, "both read a checkpoint, and %s the state of generator %s behind it",
                fb__is_pair(c)          ? "restore another value as"
                : c->culprit->a != NULL ? "only a restores"
                                        : "only b restores",
                fb__text(e->site->stream));
        return true;
    }
    if (!fb__is_pair(c))
        return false;
    if (a->site->kind == FB_KIND_PARAM && a->site->phase == FB_PHASE_INIT) {
        const bool x = is_restored(&c->pair->a, a, in_a->file);
        const bool y = is_restored(&c->pair->b, b, in_b->file);

        if (!x && !y)
            return false;
        if (x != y)
            fb__say(out, "both read a checkpoint, and only %s restores %s from it", x ? "a" : "b",
                    fb__text(a->site->path));
        else
            fb__say(out, "both read a checkpoint, and restore other values of %s",
                    fb__text(a->site->path));
        return true;
    }
    if (!fb__is_generator_state(a->site) || has_lone_draw(&c->pair->a, fb__text(a->site->stream)) ||
        has_lone_draw(&c->pair->b, fb__text(a->site->stream)))
        return false;
    fb__say(out,
            "both read a checkpoint, no draw behind it differs, and generator %s stands elsewhere: "
            "its state is restored otherwise, or on one side only",
            fb__text(a->site->stream));
    return true;
}

static void say_fix(fb_diff_cause *out)
{
    fb__say_fix(out, "save and restore all of it: parameters, buffers, optimizer, schedule, random "
                     "states, place in the data");
}

/* Signature: a run goes on from a checkpoint, and right behind it shows what only one restores, or
 * what is restored otherwise. */
bool fb__rule_loaded(fb_diff_cause *out, const fb__case *c)
{
    const uint64_t step = c->report->first.name.step;
    const fb_site *site;
    loads a, b;
    bool in_a;

    read_loads(&a, c->pair->a.trace, step);
    read_loads(&b, c->pair->b.trace, step);
    if (step == 0 && a.file != UINT64_MAX && b.file != UINT64_MAX && say_begun(out, c, &a, &b)) {
        say_fix(out);
        return true;
    }
    if (step == 0 || (!goes_on(&a) && !goes_on(&b)))
        return false;
    site = missing(&a, &b);
    in_a = site != NULL;
    if (site == NULL)
        site = missing(&b, &a);
    if (site != NULL && is_decided_by(c, site))
        fb__say(out, "after loading a checkpoint in step %" PRIu64 ", only %s restores %s (%s)",
                in_a ? a.last : b.last, in_a ? "a" : "b",
                fb__text(site->path)[0] != '\0' ? fb__text(site->path) : "the random state",
                fb__text(site->op));
    else if (site == NULL && a.count > 0 && b.count > 0 && item_of(c) != NULL)
        fb__say(out,
                "the runs part behind the checkpoint that both load in step %" PRIu64
                ": %s is another",
                a.last, item_of(c));
    else
        return false;
    say_fix(out);
    return true;
}

/* What an optimizer or a schedule is given back from a file; NULL: nothing. */
static const char *restored_from_file(const loads *l)
{
    for (size_t i = 0; l->file != UINT64_MAX && i < l->count; i++)
        if (is_optimizer(l->site[i]))
            return fb__text(l->site[i]->path);
    return NULL;
}

/* Signature: before their first steps one run alone reads a checkpoint of a training. Where it is a
 * resumed one, the step that it goes on from would have been found by its parameters, had they been
 * on record. */
bool fb__rule_loaded_alone(fb_diff_cause *out, const fb__case *c)
{
    const char *in_a, *in_b, *restored;
    loads a, b;

    if (c->report->first.name.step != 0)
        return false;
    read_loads(&a, c->pair->a.trace, 0);
    read_loads(&b, c->pair->b.trace, 0);
    in_a = restored_from_file(&a);
    in_b = restored_from_file(&b);
    if ((in_a == NULL) == (in_b == NULL) || (in_a == NULL ? a.file : b.file) != UINT64_MAX)
        return false;
    restored = in_a != NULL ? in_a : in_b;
    fb__say(
        out,
        "only %s goes on from a checkpoint, which restores %s; no step of %s of which parameters "
        "are on record begins like it",
        in_a != NULL ? "a" : "b", restored, in_a != NULL ? "b" : "a");
    fb__say_fix(out, "if it goes on where the other was, say with which steps: firstbit diff "
                     "--align A:B; else load the checkpoint in both");
    return true;
}

/* Signature: the same, shown by a generator that is put into a state: no matter of a seed. */
bool fb__rule_loaded_state(fb_diff_cause *out, const fb__case *c)
{
    return is_set_state(c) && fb__rule_loaded(out, c);
}
