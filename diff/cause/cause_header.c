/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_header.c - causes of recorded programs that stand beside the computation: what was typed on
 * the command line, the hash seed of an interpreter, a checkpoint that was loaded.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "diff/cause/evidence.h"

enum { LOADS_MAX = 32 };

/* --- The command line ------------------------------------------------------------------------- */

/* Names of places differ between any two runs and decide nothing. */
static bool is_place(const char *json)
{
    static const char *const ends[] = {".py", ".fbt", ".pt", ".json", ".txt", ".log"};

    if (strchr(json, '/') != NULL)
        return true;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (strstr(json, ends[i]) != NULL)
            return true;
    return false;
}

/* Signature: an argument has another value, and is no name of a file. */
bool fb__rule_argv(fb_diff_cause *out, const fb__case *c)
{
    const fb_diff_candidate *k, *first = NULL;
    size_t at = 0, n = 0;
    char a[64], b[64];

    while ((k = fb__candidate_next(c->report, &at, "argv", "")) != NULL) {
        if (strcmp(k->key, "argv[0]") == 0 || is_place(k->a) || is_place(k->b))
            continue;
        if (strcmp(k->a, "absent") == 0 || strcmp(k->b, "absent") == 0)
            return false; /* what one more switch does, other rules say better */
        first = first == NULL ? k : first;
        n++;
    }
    if (first == NULL || n > 4)
        return false;
    fb__say(out, "the command lines differ: %s %s | %s", first->key,
            fb__json_plain(a, sizeof a, first->a), fb__json_plain(b, sizeof b, first->b));
    fb__say_fix(out, "start both with the same arguments");
    return true;
}

/* --- The hash seed ---------------------------------------------------------------------------- */

/* Signature: the hash seed of Python differs and the programs do not; what differs is not an op's
 * arithmetic. */
bool fb__rule_hash_seed(fb_diff_cause *out, const fb__case *c)
{
    const fb_diff_candidate *k;
    size_t at = 0;
    char a[64], b[64];

    if (c->report->first.what == FB_DIFF_CONTENT &&
        fb__culprit_event(c)->site->kind == FB_KIND_TENSOR &&
        fb__text(fb__culprit_event(c)->site->path)[0] != '\0')
        return false;
    if (fb__candidate_next(c->report, &at, "code", "") != NULL)
        return false;
    at = 0;
    k = fb__candidate_next(c->report, &at, "environment", "variables.PYTHONHASHSEED");
    if (k == NULL)
        return false;
    fb__say(out, "the hash seed of Python differs, %s | %s: sets come in another order",
            fb__json_plain(a, sizeof a, k->a), fb__json_plain(b, sizeof b, k->b));
    fb__say_fix(out, "sort sets before going through them, or set PYTHONHASHSEED in both");
    return true;
}

/* --- Checkpoints ------------------------------------------------------------------------------ */

/* What a run has loaded up to an event. */
typedef struct loads {
    const fb_site *site[LOADS_MAX];
    size_t count;
    uint64_t last; /* step; with count > 0 */
} loads;

static bool is_load(const fb_site *site)
{
    const char *op = fb__text(site->op);

    return (site->kind == FB_KIND_CHECKPOINT || site->phase == FB_PHASE_CHECKPOINT) &&
           (strcmp(op, "load") == 0 || strcmp(op, "load_state_dict") == 0 ||
            strcmp(op, "set_rng_state") == 0);
}

static void read_loads(loads *out, fb_trace *trace, uint64_t step)
{
    const fb_event *e = NULL;

    *out = (loads){.count = 0};
    if (fb_trace_seek(trace, step > 0 ? step - 1 : 0, NULL) != FB_OK)
        return;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= step) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || !is_load(site))
            continue;
        out->last = e->step;
        if (out->count < LOADS_MAX)
            out->site[out->count++] = site;
    }
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

/* What kind of state shows first, where nothing says which call is missing. */
static const char *item_of(const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;

    switch (site->kind) {
    case FB_KIND_DRAW:
        return "the state of a random generator";
    case FB_KIND_SAMPLE:
        return "the place in the data";
    case FB_KIND_SCALAR:
        return strcmp(fb__text(site->slot), "lr") == 0 ? "the schedule" : fb__text(site->slot);
    case FB_KIND_PARAM:
        return strcmp(fb__text(site->op), "buffer") == 0 ? "a buffer" : "the optimizer's state";
    default:
        return strncmp(fb__text(site->op), "index", 5) == 0 ? "the place in the data"
                                                            : "part of the state";
    }
}

/* Signature: both runs load a checkpoint, and part right behind it. */
bool fb__rule_loaded(fb_diff_cause *out, const fb__case *c)
{
    const uint64_t step = c->report->first.name.step;
    const fb_site *site;
    loads a, b;
    bool in_a;

    if (step == 0)
        return false;
    read_loads(&a, c->pair->a.trace, step);
    read_loads(&b, c->pair->b.trace, step);
    site = missing(&a, &b);
    in_a = site != NULL;
    if (site == NULL)
        site = missing(&b, &a);
    if (site == NULL && (a.count == 0 || b.count == 0))
        return false;
    if (site != NULL)
        fb__say(out, "after loading a checkpoint in step %" PRIu64 ", only %s restores %s (%s)",
                in_a ? a.last : b.last, in_a ? "a" : "b",
                fb__text(site->path)[0] != '\0' ? fb__text(site->path) : "the random state",
                fb__text(site->op));
    else
        fb__say(out,
                "the runs part behind the checkpoint that both load in step %" PRIu64
                ": %s is another",
                a.last, item_of(c));
    fb__say_fix(out, "save and restore all of it: parameters, buffers, optimizer, schedule, random "
                     "states, place in the data");
    return true;
}
