/* SPDX-License-Identifier: Apache-2.0
 *
 * update_order.c - whether nothing differs but in which step updates stand.
 */
#include "diff/judge/update_order.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

enum { TAKEN_MAX = 1 << 16, SLOTS = 2 * TAKEN_MAX };

/* An event of one side that waits for that of the other. */
typedef struct waiting {
    fb_hash what; /* zero: none */
    uint64_t step;
    int32_t more; /* how many more a has; negative: b */
    bool movable;
} waiting;

typedef struct table {
    waiting *at;
    uint32_t *taken; /* slots, of events that have found each other too */
    size_t count;
    bool overflow; /* too many */
} table;

static bool is_movable(const fb_site *site)
{
    if (site->kind == FB_KIND_TENSOR)
        return site->phase == FB_PHASE_BACKWARD && site->slot != NULL &&
               strncmp(site->slot, "grad", 4) == 0;
    return site->phase == FB_PHASE_OPTIMIZER &&
           (site->kind == FB_KIND_PARAM || site->kind == FB_KIND_SCALAR);
}

/* What an event says and where, whatever the step. */
static fb_hash what_of(const fb_site *site, const fb_event *e)
{
    uint64_t bits[8];
    fb_hash at = fb_site_hash(site);

    memcpy(&bits[0], &e->value, sizeof bits[0]);
    bits[1] = e->hash.lo;
    bits[2] = e->hash.hi;
    bits[3] = e->key;
    bits[4] = e->counter;
    bits[5] = e->count;
    bits[6] = (uint64_t)(int64_t)e->micro;
    bits[7] = 0;
    for (uint64_t i = 0; i < e->count && e->indices != NULL; i++)
        bits[7] = (bits[7] ^ e->indices[i]) * UINT64_C(0x9e3779b97f4a7c15);
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        at = fb_identity_hash(at, bits[i], (int32_t)i);
    at.lo |= 1; /* never that of an empty slot */
    return at;
}

/* The slot of an event, taken if need be. NULL: there are too many. */
static waiting *slot_of(table *t, fb_hash what)
{
    size_t i = (size_t)what.hi % SLOTS;

    while (!fb_hash_is_zero(t->at[i].what) && !fb_hash_equal(t->at[i].what, what))
        i = (i + 1) % SLOTS;
    if (!fb_hash_is_zero(t->at[i].what))
        return &t->at[i];
    if (t->count == TAKEN_MAX)
        return NULL;
    t->at[i].what = what;
    t->taken[t->count++] = (uint32_t)i;
    return &t->at[i];
}

static void count(table *t, fb_hash what, uint64_t step, int32_t by, bool movable)
{
    waiting *w = slot_of(t, what);

    t->overflow |= w == NULL;
    if (w == NULL)
        return;
    if (w->more == 0 || (w->more > 0) != (by > 0))
        w->step = step; /* what waited longest has found its partner */
    w->movable = movable;
    w->more += by;
}

static fb_status read_step(table *t, fb_trace *trace, uint64_t step, int32_t by, fb_error *err)
{
    const fb_event *e = NULL;
    fb_status status = fb_trace_seek(trace, step, err);

    while (status == FB_OK && !t->overflow) {
        const fb_site *site;

        status = fb_trace_next(trace, &e, NULL, err);
        if (status != FB_OK || e == NULL || e->step != step)
            break;
        site = fb_trace_site(trace, e->site);
        if (site != NULL && !site->note)
            count(t, what_of(site, e), step, by, is_movable(site));
    }
    return status;
}

/* Forgets what has found its partner. Returns whether all that waits may wait on: it is movable,
 * and of this step. `kept` has room for TAKEN_MAX. */
static bool sweep(table *t, waiting *kept, uint64_t step)
{
    size_t n = 0;

    for (size_t i = 0; i < t->count; i++) {
        waiting *w = &t->at[t->taken[i]];

        if (w->more != 0 && (!w->movable || w->step < step))
            return false;
        if (w->more != 0)
            kept[n++] = *w;
        *w = (waiting){.more = 0};
    }
    t->count = 0;
    for (size_t i = 0; i < n; i++) {
        waiting *w = slot_of(t, kept[i].what);

        if (w != NULL)
            *w = kept[i];
    }
    return true;
}

static fb_status walk(bool *out, table *t, waiting *kept, fb_trace *a, fb_trace *b, uint64_t from,
                      fb_error *err)
{
    const uint64_t last = fb_trace_get_info(a)->last_step;

    if (last != fb_trace_get_info(b)->last_step)
        return FB_OK;
    /* The step behind the last one has what the program did until it ended. */
    for (uint64_t step = from; step <= last + 1; step++) {
        fb_status status = read_step(t, a, step, 1, err);

        if (status == FB_OK)
            status = read_step(t, b, step, -1, err);
        if (status != FB_OK)
            return status;
        if (t->overflow || !sweep(t, kept, step))
            return FB_OK;
    }
    *out = t->count == 0;
    return FB_OK;
}

fb_status fb__is_other_update_order(bool *out, fb_trace *a, fb_trace *b, uint64_t from,
                                    fb_error *err)
{
    table t = {.at = calloc(SLOTS, sizeof *t.at), .taken = calloc(TAKEN_MAX, sizeof *t.taken)};
    waiting *kept = calloc(TAKEN_MAX, sizeof *kept);
    fb_status status;

    *out = false;
    if (t.at == NULL || t.taken == NULL || kept == NULL)
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    else
        status = walk(out, &t, kept, a, b, from, err);
    free(t.at);
    free(t.taken);
    free(kept);
    return status;
}
