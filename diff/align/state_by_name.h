/* SPDX-License-Identifier: Apache-2.0
 *
 * state_by_name.h - the hashes of parameters, buffers and optimizer states that some events of a
 * trace tell, by path and slot; and where two such tables part.
 */
#ifndef FB_DIFF_STATE_BY_NAME_H
#define FB_DIFF_STATE_BY_NAME_H

#include "base/intern.h"
#include "firstbit/trace.h"
#include "replay/event_name.h"

typedef struct fb__state {
    const fb_site *site; /* lives as long as the trace */
    fb_hash hash;
    uint64_t number, step; /* of the event */
    int32_t micro;
} fb__state;

/* Of several events of one name the last one counts. Begin with {0}, free at the end. */
typedef struct fb__states {
    fb_intern *keys; /* names of wrappers left out */
    fb__state *at;   /* by number of the key, in the order of first events */
    size_t capacity;
} fb__states;

typedef bool fb__state_filter(const fb_site *site);

/* Adds all contents of kind param in the steps [first, last] whose site passes. Statuses of the
 * readers, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__states_read(fb__states *states, fb_trace *trace, uint64_t first,
                                       uint64_t last, fb__state_filter *passes, fb_error *err);
void fb__states_free(fb__states *states);

uint32_t fb__states_count(const fb__states *states);

/* NULL where there is none of this name. */
const fb__state *fb__states_find(const fb__states *states, const fb_site *site);

/* The first of `states` that is another in `others`; NULL. What only one has says nothing.
 * *other: its partner. */
const fb__state *fb__states_part(const fb__state **other, const fb__states *states,
                                 const fb__states *others);

#endif
