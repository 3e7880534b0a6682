/* SPDX-License-Identifier: Apache-2.0
 *
 * verify_contents.h - holds block hashes and recorded contents of tensors against the hash of their
 * event. Private to tracer; a part of fb_trace_verify.
 */
#ifndef FB_TRACER_READ_VERIFY_CONTENTS_H
#define FB_TRACER_READ_VERIFY_CONTENTS_H

#include "tracer/format/extras.h"

/* An event of the chunk that has contents. */
typedef struct fb_contents_of {
    uint32_t index; /* in its chunk */
    fb_dtype dtype;
    fb_hash hash;
} fb_contents_of;

typedef struct fb_contents_check {
    fb_contents_of *of; /* ascending */
    uint32_t count, capacity;

    /* The tensor whose pieces come; they may go on in the next chunk. */
    bool open;
    fb_contents_of tensor;
    uint64_t at, total;
    uint8_t *block; /* FB_HASH_BLOCK_BYTES, filled up to `filled` */
    size_t filled;
    fb_hash *blocks;
    size_t block_count, block_capacity;
} fb_contents_check;

/* Takes notice of an event of the chunk, indices ascend, and checks its block hashes. NULL, or what
 * is wrong; *no_memory: could not be done. */
const char *fb__contents_event(fb_contents_check *c, uint32_t index, fb_dtype dtype,
                               const fb_event *e, bool *no_memory);

/* Goes over the pieces of a chunk whose events have all been told. */
const char *fb__contents_chunk(fb_contents_check *c, fb_extras_reader *x, bool *no_memory);

void fb__contents_free(fb_contents_check *c);

#endif
