/* SPDX-License-Identifier: Apache-2.0
 *
 * align.h - which event of one side is which event of the other: by identity, and where an inserted
 * or removed event has shifted the occurrences of an identity, by contents.
 */
#ifndef FB_DIFF_ALIGN_ALIGN_H
#define FB_DIFF_ALIGN_ALIGN_H

#include "diff/read/step_events.h"

typedef struct fb__alignment {
    uint64_t aligned; /* pairs, the common start of the step included */
    uint64_t equal;   /* of these */
    uint64_t only_a, only_b;
    uint64_t moved;     /* pairs that stand in another order on the two sides */
    uint64_t exchanged; /* pairs whose occurrences say another order, and whose contents agree */
} fb__alignment;

/* Sets partner, equal, same_inputs and same_content of every event. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__align(fb__alignment *out, fb__step_pair *pair, fb_error *err);

/* The event of this key on a side, or NULL: for inputs. Valid while the pair lives. */
typedef struct fb__key_index {
    uint32_t *slots;
    size_t mask;
} fb__key_index;

FB_NODISCARD fb_status fb__key_index_make(fb__key_index *out, const fb__step *step, fb_error *err);
void fb__key_index_free(fb__key_index *index);

/* Index of the event, or UINT32_MAX. */
uint32_t fb__key_index_find(const fb__key_index *index, const fb__step *step, fb_hash key);

#endif
