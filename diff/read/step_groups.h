/* SPDX-License-Identifier: Apache-2.0
 *
 * step_groups.h - how often each thing is done in a part of a step: events that share all of their
 * identity but the occurrence. So occurrences can be counted from the end, where two steps end
 * alike and one does more before.
 */
#ifndef FB_DIFF_READ_STEP_GROUPS_H
#define FB_DIFF_READ_STEP_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/intern.h"
#include "firstbit/trace.h"

typedef struct fb__group {
    uint32_t before; /* up to the event from which on the part begins */
    uint32_t count;  /* behind it */
} fb__group;

/* Begin with {0}, free at the end. */
typedef struct fb__groups {
    fb_intern *keys;
    fb__group *at;
    uint32_t capacity;
} fb__groups;

/* Identity of an event without its step; names of wrappers left out. */
fb_hash fb__group_key(const fb_site *site, int32_t micro, uint32_t occurrence);

/* Whether an event of a step is a node of its table: tensors, parameters, scalars, draws. */
bool fb__is_step_node(const fb_site *site, const fb_event *event);

/* Counts the nodes of a step, before and behind the event of the number `behind` (0: all are
 * behind). Statuses of the readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__groups_read(fb__groups *groups, fb_trace *trace, uint64_t step,
                                       uint64_t behind, fb_error *err);
void fb__groups_free(fb__groups *groups);

/* How many occurrences of this one's group come before those that both have, counted from the end.
 * What the other does not do at all has its own numbers behind the beginning of the part. Where one
 * backward pass finds gradients to add to and the other none, nothing says which additions both do:
 * all are left out. */
uint32_t fb__groups_skipped(const fb__groups *own, const fb__groups *other, const fb_site *site,
                            int32_t micro);

#endif
