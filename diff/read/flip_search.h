/* SPDX-License-Identifier: Apache-2.0
 *
 * flip_search.h - which single bit, flipped, gives a tensor the hash that a trace recorded?
 *
 * The hash of the damaged tensor is all that is left of it; the undamaged one comes from a replay.
 * Every candidate changes one 64 KiB block, and in that block a single pair of the eight lanes of
 * XXH3, so a candidate costs some tens of nanoseconds instead of a hash of the tensor.
 */
#ifndef FB_DIFF_READ_FLIP_SEARCH_H
#define FB_DIFF_READ_FLIP_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "firstbit/event.h"

typedef struct fb_flip_search {
    bool found;
    uint64_t element;
    uint32_t bit;  /* 0 the lowest */
    bool complete; /* every candidate was tried, or one was found */
} fb_flip_search;

/*
 * Tries every bit of every element, at most for `seconds`.
 *
 *   data    the undamaged tensor of float32 (another dtype: nothing is found)
 *   wanted  the tensor hash of the damaged one
 *   pool    shares out the work; NULL: the calling thread alone
 *
 * FB_E_MEMORY
 */
FB_NODISCARD fb_status fb_search_flip(fb_flip_search *out, fb_pool *pool, fb_dtype dtype,
                                      const void *data, size_t bytes, fb_hash wanted,
                                      double seconds, fb_error *err);

#endif
