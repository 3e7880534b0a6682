/* SPDX-License-Identifier: Apache-2.0
 *
 * chains.c - bisection over steps.
 */
#include "diff/read/chains.h"

#include <string.h>

#include "base/hash.h"

static fb_status get_step(bool *present, fb_trace *trace, uint64_t step, fb_trace_step *out,
                          fb_error *err)
{
    const fb_status status = fb_trace_get_step(trace, step, out, err);

    *present = status == FB_OK;
    return status == FB_E_NOT_FOUND ? FB_OK : status;
}

fb_status fb__chains_step(const fb__chains_slot **slot, fb__chains *chains, uint64_t step,
                          fb_error *err)
{
    fb__chains_slot *s = &chains->cache[step % FB__CHAINS_CACHE];
    bool in_a = false, in_b = false;
    fb_status status = FB_OK;

    if (!s->used || s->step != step) {
        s->used = false;
        status = get_step(&in_a, chains->a, step, &s->a, err);
        if (status == FB_OK && in_a)
            status = get_step(&in_b, chains->b, step, &s->b, err);
        if (status != FB_OK)
            return status;
        s->used = true;
        s->present = in_a && in_b;
        s->step = step;
    }
    *slot = s->present ? s : NULL;
    return FB_OK;
}

void fb__chains_open(fb__chains *out, fb_trace *a, fb_trace *b, uint64_t from)
{
    const fb_trace_info *ia = fb_trace_get_info(a), *ib = fb_trace_get_info(b);

    memset(out, 0, sizeof *out);
    out->a = a;
    out->b = b;
    if (ia->steps == 0 || ib->steps == 0)
        return;
    out->first = ia->first_step > ib->first_step ? ia->first_step : ib->first_step;
    if (out->first < from)
        out->first = from;
    out->last = ia->last_step < ib->last_step ? ia->last_step : ib->last_step;
    out->any = out->first <= out->last;
    out->same_start = ia->first_step == ib->first_step;
}

fb_status fb__chains_common(uint32_t *classes, fb__chains *chains, uint64_t step, fb_error *err)
{
    const fb__chains_slot *slot;
    const fb_status status = fb__chains_step(&slot, chains, step, err);

    *classes = status == FB_OK && slot != NULL ? slot->a.classes & slot->b.classes : 0;
    return status;
}

/* The next step at or after *step, up to `last`, that both have. Steps may be sparse: a reader's
 * position tells where the next one is. */
static fb_status snap(bool *found, const fb__chains_slot **slot, fb__chains *chains, uint64_t *step,
                      uint64_t last, fb_error *err)
{
    *found = false;
    while (*step <= last) {
        fb_trace *const sides[2] = {chains->a, chains->b};
        fb_status status = fb__chains_step(slot, chains, *step, err);
        uint64_t next = *step + 1;

        if (status != FB_OK)
            return status;
        if (*slot != NULL) {
            *found = true;
            return FB_OK;
        }
        for (int side = 0; side < 2; side++) {
            const fb_event *event;

            status = fb_trace_seek(sides[side], *step, err);
            if (status == FB_OK)
                status = fb_trace_next(sides[side], &event, NULL, err);
            if (status != FB_OK)
                return status;
            if (event == NULL)
                return FB_OK;
            if (event->step > next)
                next = event->step;
        }
        *step = next;
    }
    return FB_OK;
}

fb_status fb__first_steps_equal(bool *out, fb_trace *a, fb_trace *b, fb_error *err)
{
    const fb_trace_info *ia = fb_trace_get_info(a), *ib = fb_trace_get_info(b);
    fb_trace_step x, y;
    bool in_a = false, in_b = false;
    fb_status status = FB_OK;

    *out = false;
    if (ia->steps == 0 || ib->steps == 0 || ia->first_step != ib->first_step)
        return FB_OK;
    status = get_step(&in_a, a, ia->first_step, &x, err);
    if (status == FB_OK && in_a)
        status = get_step(&in_b, b, ib->first_step, &y, err);
    if (status != FB_OK || !in_b)
        return status;
    *out = x.classes == y.classes && x.events == y.events;
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        *out = *out && fb_hash_equal(x.root[c], y.root[c]);
    return FB_OK;
}

static bool roots_differ(const fb__chains_slot *slot, fb_class c)
{
    return (slot->a.classes & slot->b.classes & 1u << c) != 0 &&
           !fb_hash_equal(slot->a.root[c], slot->b.root[c]);
}

static fb_status first_by_roots(bool *found, uint64_t *step, fb__chains *chains, fb_class c,
                                uint64_t from, fb_error *err)
{
    const fb__chains_slot *slot;
    fb_status status;

    for (uint64_t s = from; s <= chains->last; s++) {
        status = snap(found, &slot, chains, &s, chains->last, err);
        if (status != FB_OK || !*found)
            return status;
        if (roots_differ(slot, c)) {
            *step = s;
            return FB_OK;
        }
        if (s == UINT64_MAX)
            break;
    }
    *found = false;
    return FB_OK;
}

static bool chains_equal(const fb__chains_slot *slot, fb_class c)
{
    return fb_hash_equal(slot->a.chain[c], slot->b.chain[c]);
}

/* The first common step whose chains differ, given that those of `high` do and that all before
 * `low` are equal. What is looked for lies in [low, top) or is *step. */
static fb_status bisect(uint64_t *step, fb__chains *chains, fb_class c, uint64_t low, uint64_t high,
                        fb_error *err)
{
    uint64_t top = high;

    *step = high;
    while (low < top) {
        const uint64_t middle = low + (top - low) / 2;
        uint64_t at = middle;
        const fb__chains_slot *slot;
        bool found;
        const fb_status status = snap(&found, &slot, chains, &at, top - 1, err);

        if (status != FB_OK)
            return status;
        if (!found) {
            top = middle;
        } else if (chains_equal(slot, c)) {
            low = at + 1;
        } else {
            *step = at;
            top = middle;
        }
    }
    return FB_OK;
}

/* The last common step: `last` itself, but for sparse traces. */
static fb_status last_common(bool *found, uint64_t *step, fb__chains *chains, uint64_t from,
                             fb_error *err)
{
    const fb__chains_slot *slot;

    *found = false;
    for (uint64_t s = chains->last;; s--) {
        const fb_status status = fb__chains_step(&slot, chains, s, err);

        if (status != FB_OK)
            return status;
        *found = slot != NULL;
        *step = s;
        if (slot != NULL || s == from)
            return FB_OK;
    }
}

fb_status fb__chains_first(bool *found, uint64_t *step, fb__chains *chains, fb_class c,
                           uint64_t from, bool equal_before, fb_error *err)
{
    const fb__chains_slot *slot;
    uint64_t end = 0, at = 0;
    fb_status status;

    *found = false;
    if (!chains->any || from > chains->last)
        return FB_OK;
    if (from < chains->first)
        from = chains->first;
    if (!equal_before || !chains->same_start)
        return first_by_roots(found, step, chains, c, from, err);
    status = last_common(found, &end, chains, from, err);
    if (status != FB_OK || !*found)
        return status;
    status = fb__chains_step(&slot, chains, end, err);
    *found = false;
    if (status != FB_OK || chains_equal(slot, c))
        return status;
    status = bisect(&at, chains, c, from, end, err);
    if (status == FB_OK)
        status = fb__chains_step(&slot, chains, at, err);
    if (status != FB_OK)
        return status;
    if (roots_differ(slot, c)) {
        *found = true;
        *step = at;
        return FB_OK;
    }
    /* One side recorded the class in a step in which the other did not: from here on the chains say
     * nothing, the roots do. */
    return first_by_roots(found, step, chains, c, at, err);
}
