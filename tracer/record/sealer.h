/* SPDX-License-Identifier: Apache-2.0
 *
 * sealer.h - rows of the tail become chunks: roots, chains and columns. The recorder runs one on a
 * thread of its own, behind the program; the reader of a torn trace runs one over what the program
 * left behind. Both see nothing but rows. Private to tracer.
 */
#ifndef FB_TRACER_RECORD_SEALER_H
#define FB_TRACER_RECORD_SEALER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/event.h"
#include "firstbit/status.h"
#include "tracer/format/chunk_builder.h"
#include "tracer/format/format.h"
#include "tracer/format/sites.h"

/* Where chunks go. */
typedef struct fb_sink {
    void *self;
    /* Where the next chunk will lie. */
    uint64_t (*end)(void *self);
    /* Fills the skip pointers of chunk `sequence`, which comes next. FB_E_CORRUPT, FB_E_IO. */
    fb_status (*skips)(void *self, uint64_t sequence, uint64_t skip[FB_CHUNK_SKIPS], fb_error *err);
    fb_status (*append)(void *self, const fb_chunk_header *head, const uint8_t *image, size_t bytes,
                        fb_error *err);
    /* Bytes that chunks may still take. NULL: no limit. */
    uint64_t (*room)(void *self);
} fb_sink;

/* What the sealer remembers of a site between its events. */
typedef struct fb_site_memory {
    bool has_identity;
    uint8_t class_number; /* FB_CLASS_COUNT: not looked up yet */
    int32_t micro;
    uint64_t step;
    fb_hash identity; /* of the latest event, most likely the next one's input */
} fb_site_memory;

/* A number in the rows -> a number in the sealer's tables, good for one half. */
typedef struct fb_numbers {
    struct fb_number {
        uint32_t epoch, to;
    } * of;
    uint32_t capacity;
} fb_numbers;

typedef struct fb_sealer {
    fb_sink sink;
    fb_hash id;
    fb_sites *sites; /* borrowed */
    fb_builder builder;
    fb_chunk_header sealed; /* the last chunk */
    uint64_t chunks;
    fb_chunk_header pending; /* a chunk that the sink refused; its bytes live in the builder */
    const uint8_t *pending_image;
    size_t pending_bytes; /* 0: there is none */

    uint64_t sequence; /* of the half being read */
    uint32_t epoch;
    fb_numbers site_numbers, frame_numbers, module_numbers;
    uint64_t row_step; /* place of the events that say none */
    int32_t row_micro;

    bool step_open;
    uint64_t step, step_first_event;
    uint32_t classes; /* recorded in this step */
    fb_hash root[FB_CLASS_COUNT], chain[FB_CLASS_COUNT];
    uint64_t first_step, finished_step, finished_steps; /* FB_NO_STEP: none */
    uint64_t events, first_nonfinite;

    fb_site_memory *memory; /* by our site number */
    uint32_t memory_capacity;
    fb_ref *inputs; /* scratch */
    fb_hash *input_ids;
    uint32_t input_capacity;
    uint64_t *indices;
    size_t index_capacity;
    fb_buffer text;
    fb_sketch sketch;
    fb_hash *blocks;
    size_t block_capacity;
    uint32_t contents_width; /* of the last event: how far its contents came; 0: it has none, ... */
    bool contents_unknown;   /* ... or chunks hold it and do not say */
    uint64_t contents_at, contents_total;
} fb_sealer;

/* A piece of contents in a row. */
typedef struct fb_tail_contents {
    uint32_t width, bytes;
    uint64_t total, offset;
    const uint8_t *data; /* NULL: none */
} fb_tail_contents;

/* sites: borrowed: those of the rows are added to them. False when memory is out. */
bool fb__sealer_init(fb_sealer *s, fb_hash id, fb_sink sink, fb_sites *sites);
void fb__sealer_free(fb_sealer *s);

/*
 * Takes the rows of one half, in order; chunks that get full are sealed. Rows before `from` were
 * taken earlier: they only define. *taken: bytes of the rows that were read, all of them unless it
 * fails.
 *
 * FB_E_CORRUPT  a row is damaged or contradicts those before it; err->offset is its place in rows
 * FB_E_LIMIT, FB_E_MEMORY, and what the sink says
 */
FB_NODISCARD fb_status fb__sealer_take(fb_sealer *s, uint64_t sequence, const uint8_t *rows,
                                       size_t bytes, size_t from, size_t *taken, fb_error *err);

/* Seals what is left, if anything. staged: the tail's position behind its last row. */
FB_NODISCARD fb_status fb__sealer_flush(fb_sealer *s, uint64_t staged, fb_error *err);

/* Gives the sink a chunk that it refused, if there is one, once more. What the sink says. */
FB_NODISCARD fb_status fb__sealer_retry(fb_sealer *s, fb_error *err);

/* Adds an event to the root of its class. False when memory is out. */
bool fb__sealer_add_to_root(fb_sealer *s, uint32_t site, const fb_event *e);

#endif
