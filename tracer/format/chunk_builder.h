/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_builder.h - events become the columns of one chunk; the chunk becomes bytes. A chunk stands
 * alone: it defines every name, site and form that it uses. Private to tracer.
 *
 * Rules: docs/trace-format.md, "Chunk body".
 */
#ifndef FB_TRACER_FORMAT_CHUNK_BUILDER_H
#define FB_TRACER_FORMAT_CHUNK_BUILDER_H

#include <stdbool.h>
#include <stdint.h>

#include <zstd.h>

#include "base/bytes.h"
#include "firstbit/event.h"
#include "firstbit/status.h"
#include "tracer/format/extras.h"
#include "tracer/format/format.h"
#include "tracer/format/sites.h"

/* Dense numbers, in order of first use within the chunk, for things numbered over the whole trace.
 */
typedef struct fb_local {
    struct fb_local_slot {
        uint32_t epoch, local;
    } * slots;       /* by number in the trace; current where epoch is the builder's */
    uint32_t *order; /* number in the trace, by local number */
    uint32_t slot_capacity, order_capacity, count;
} fb_local;

/* One input as the form tells it: relative to the event, so that it repeats every step. */
typedef struct fb_form_input {
    uint32_t site, micro_code;
    uint64_t step_code;
} fb_form_input;

/* What repeats from event to event: site, flags, present columns and inputs; and, to predict the
 * next event of the form, the columns of the last one. */
typedef struct fb_form {
    uint64_t key;
    uint32_t site, flags, bits, input_count;
    size_t inputs;     /* index of the first one in fb_builder.inputs */
    uint32_t follower; /* form that followed this one last time */
    uint32_t version, version_delta;
    uint64_t storage;
    uint64_t number[3], number_delta[3];
} fb_form;

typedef struct fb_builder {
    fb_sites *sites; /* borrowed */
    ZSTD_CCtx *zstd;
    uint32_t epoch; /* number of the chunk, for fb_local */
    fb_buffer columns[FB_SECTION_COUNT], steps, hashes;
    fb_extras_builder extras;
    fb_buffer packed, image; /* scratch of sealing */
    fb_local local_sites, local_strings, local_frames, local_modules;
    fb_form *forms;
    fb_form_input *inputs;
    uint32_t *form_slots; /* hash table: form number + 1 */
    uint32_t form_count, form_capacity, form_slot_mask;
    size_t input_count, input_capacity;
    size_t definition_bytes; /* estimate of the dictionary */
    bool failed;             /* memory is out */

    uint32_t events, step_ends, inputs_of_events;
    uint32_t previous; /* form of the previous event, FB_INTERN_NONE at the start */
    bool has_step;
    uint64_t step, first_step;
    int32_t micro;
} fb_builder;

bool fb__builder_init(fb_builder *b, fb_sites *sites); /* false when memory is out */
void fb__builder_free(fb_builder *b);

/* Appends an event of site `site`; sites of its inputs are numbers of the table too. Failure shows
 * in fb__builder_failed. */
void fb__builder_event(fb_builder *b, uint32_t site, const fb_event *e);

/*
 * Appends a piece of the contents of the last event (fb__builder_event itself stores none). The
 * first piece belongs into the event's chunk; before each later one the caller seals what is full,
 * and the contents go on in the next chunk.
 *
 *   width   bytes of an element
 *   total   bytes of all contents
 *   offset  of the piece; pieces come in order, from 0
 *   bytes   at most FB_CONTENTS_PIECE, a multiple of width
 */
void fb__builder_contents(fb_builder *b, uint32_t width, uint64_t total, uint64_t offset,
                          const void *data, size_t bytes);

/* Appends the end of a step. first_event .. out->events count the events of the step. */
void fb__builder_step_end(fb_builder *b, uint64_t step, uint64_t first_event, uint64_t events,
                          uint32_t classes, const fb_hash root[FB_CLASS_COUNT],
                          const fb_hash chain[FB_CLASS_COUNT]);

bool fb__builder_failed(const fb_builder *b);
bool fb__builder_empty(const fb_builder *b);

/* Whether the chunk has its size: `most` raw bytes, or FB_CHUNK_RAW if that is less; cheap. */
bool fb__builder_full(const fb_builder *b, uint64_t most);

/*
 * Turns the chunk into bytes with padding, ready to be written at head->offset, and begins an empty
 * one. Fills what `head` says about the body; the caller has filled the rest. *image lives until
 * the next seal. FB_E_MEMORY, FB_E_LIMIT (a chunk above the hard limit).
 */
FB_NODISCARD fb_status fb__builder_seal(fb_builder *b, fb_chunk_header *head, const uint8_t **image,
                                        size_t *image_bytes, fb_error *err);

#endif
