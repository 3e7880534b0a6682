/* SPDX-License-Identifier: Apache-2.0
 *
 * part_order.c - of two processes of a run that differ, which came first: that one speaks for it.
 */
#include <string.h>

#include "diff/parts.h"

static bool is_rank(const char *role)
{
    return strncmp(role, "rank", 4) == 0;
}

/* Ranks go through a step together; the main trace may be that of the first. */
static bool are_ranks(const char *x, const char *y)
{
    return (is_rank(x) || is_rank(y)) && (is_rank(x) || strcmp(x, "main") == 0) &&
           (is_rank(y) || strcmp(y, "main") == 0);
}

/* What processes have told each other: a collective, or gradients out of the buckets of
 * DistributedDataParallel, which calls its collectives where no recorder sees them. */
static bool is_from_others(const fb_event_name *name)
{
    return name->kind == FB_KIND_COLLECTIVE || name->phase == FB_PHASE_COMM ||
           (name->phase == FB_PHASE_BACKWARD && name->kind == FB_KIND_TENSOR &&
            (strcmp(name->op, "copy_") == 0 ||
             strncmp(name->path, "DistributedDataParallel", 23) == 0));
}

/* How many events of its step come before the first difference; UINT64_MAX: not known. */
static uint64_t place_of(const fb_diff_report *r, uint64_t *bytes_read)
{
    const bool in_a = r->first.number_a != UINT64_MAX;
    const uint64_t number = in_a ? r->first.number_a : r->first.number_b;
    uint64_t place = UINT64_MAX;
    fb_trace_step step;
    fb_trace *t;

    if (fb_trace_open(&t, in_a ? r->name_a : r->name_b, NULL) != FB_OK)
        return place;
    if (fb_trace_get_step(t, r->first.name.step, &step, NULL) == FB_OK &&
        number >= step.first_event)
        place = number - step.first_event;
    *bytes_read += fb_trace_bytes_read(t);
    fb_trace_close(t);
    return place;
}

bool fb__part_is_earlier(const fb_diff_report *x, const char *role_x, const fb_diff_report *than,
                         const char *role_than, uint64_t *bytes_read)
{
    const fb_event_name *own = &x->first.name, *other = &than->first.name;

    if (x->verdict != FB_DIFF_DIFFER || !x->has_first)
        return false;
    if (than->verdict != FB_DIFF_DIFFER || own->step != other->step)
        return than->verdict != FB_DIFF_DIFFER || own->step < other->step;
    if (!than->has_first || !are_ranks(role_x, role_than))
        return false;
    if (own->phase != other->phase)
        return own->phase < other->phase;
    if (is_from_others(own) != is_from_others(other))
        return is_from_others(other);
    return place_of(x, bytes_read) < place_of(than, bytes_read);
}
