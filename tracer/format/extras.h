/* SPDX-License-Identifier: Apache-2.0
 *
 * extras.h - the sections of a chunk that a reader may skip: sketches, block hashes, contents of
 * tensors. Private to tracer.
 *
 * Rules: docs/trace-format.md, "Sections of the levels sketch and values".
 */
#ifndef FB_TRACER_FORMAT_EXTRAS_H
#define FB_TRACER_FORMAT_EXTRAS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "firstbit/event.h"
#include "tracer/format/format.h"

enum {
    FB_SKETCH_REALS = 5 + FB_SKETCH_BUCKETS, /* min, max, three sums, the linear sketch */
    FB_SKETCH_HASHES = 2,
    FB_EXTRA_SECTIONS = FB_SECTION_EXTRA_END - FB_SECTION_SKIPPABLE
};

/* Numbers that a sketch may have; its real numbers may be any. */
bool fb__sketch_is_sound(const fb_sketch *s);

/* --- Writing -----------------------------------------------------------------------------------
 */

typedef struct fb_extras_builder {
    fb_buffer sketch_rows, sketch_reals, samples, sketch_hashes;
    fb_buffer block_rows, block_hashes;
    fb_buffer content_rows, contents;
    uint32_t sketches, blocks, pieces;
    uint32_t next_sketch, next_block; /* smallest event number that the next row may have */
    uint64_t content_end;             /* of the last piece, within its tensor */
    fb_buffer sections[FB_EXTRA_SECTIONS];
} fb_extras_builder;

void fb__extras_free(fb_extras_builder *x);
void fb__extras_reset(fb_extras_builder *x);
bool fb__extras_failed(const fb_extras_builder *x);

/* Bytes so far, before compression. */
size_t fb__extras_bytes(const fb_extras_builder *x);

/* Takes the sketch and the block hashes of event `index` of the chunk, if it has them. dtype: of
 * the event's site. */
void fb__extras_event(fb_extras_builder *x, uint32_t index, fb_dtype dtype, const fb_event *e);

/* Takes a piece of contents; code: 0 for the last event before the chunk, n + 1 for event n. */
void fb__extras_contents(fb_extras_builder *x, uint64_t code, uint32_t width, uint64_t total,
                         uint64_t offset, const void *data, size_t bytes);

/* Fills x->sections: what is not there has no bytes. */
void fb__extras_pack(fb_extras_builder *x);

/* --- Reading -----------------------------------------------------------------------------------
 */

/* A piece of the contents of a tensor, within a chunk's raw bytes. */
typedef struct fb_piece {
    uint64_t code; /* as in fb__extras_contents */
    uint64_t total, offset;
    uint32_t width, bytes;
    const uint8_t *planes; /* byte 0 of every element, byte 1 of every element, ... */
} fb_piece;

typedef struct fb_extras_reader {
    uint32_t events; /* of the chunk */

    fb_bytes sketch_rows; /* the rows behind the next one, whose gap has been read */
    uint32_t sketches, sketch_number, next_sketch;
    bool editions; /* rows of sketches have one */
    const uint8_t *reals, *samples, *sketch_hashes;

    fb_bytes block_rows;
    uint32_t blocks_left, next_block;
    const uint8_t *block_hashes;

    fb_bytes piece_rows, pieces_at; /* from the first piece */
    const uint8_t *planes_at;
    uint32_t pieces, pieces_left;
    fb_piece piece; /* the next one, where pieces_left > 0 */

    fb_sketch sketch;
    fb_hash *block; /* of the latest event that has them */
    uint32_t block_capacity;
} fb_extras_reader;

/* Takes the sections of a chunk of `events` events; checks everything that can be checked without
 * its events. NULL, or what is wrong. */
const char *fb__extras_load(fb_extras_reader *x, const fb_bytes sections[FB_EXTRA_SECTIONS],
                            uint32_t events);
void fb__extras_reader_free(fb_extras_reader *x);

/* Sets sketch, blocks, flag and size of contents of event `index`; indices ascend. dtype and
 * has_shape: of the event's site. NULL, or what is wrong. */
const char *fb__extras_next(fb_extras_reader *x, uint32_t index, fb_dtype dtype, bool has_shape,
                            fb_event *e);

/* Goes over the pieces of a chunk, first to last; false at the end. */
void fb__pieces_rewind(fb_extras_reader *x);
bool fb__pieces_next(fb_extras_reader *x, fb_piece *out);

/* Copies bytes [from, from + count) of a piece. */
void fb__piece_copy(void *to, const fb_piece *piece, uint32_t from, uint32_t count);

#endif
