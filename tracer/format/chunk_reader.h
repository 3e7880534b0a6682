/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_reader.h - the bytes of one chunk become events again. Believes nothing that it reads.
 * Private to tracer.
 *
 * Rules: docs/trace-format.md, "Chunk body" and "What a reader must refuse".
 */
#ifndef FB_TRACER_FORMAT_CHUNK_READER_H
#define FB_TRACER_FORMAT_CHUNK_READER_H

#include <stdbool.h>
#include <stdint.h>

#include <zstd.h>

#include "base/bytes.h"
#include "firstbit/event.h"
#include "firstbit/trace.h"
#include "tracer/format/extras.h"
#include "tracer/format/format.h"
#include "tracer/format/sites.h"

/* A form as read; its inputs stay in the raw bytes and are decoded for each event. */
typedef struct fb_read_form {
    uint32_t site; /* number in the trace */
    uint32_t flags, bits, input_count, inputs_at;
    uint32_t follower, version, version_delta;
    uint64_t storage;
    uint64_t number[3], number_delta[3];
} fb_read_form;

typedef enum fb_item { FB_ITEM_EVENT, FB_ITEM_STEP_END, FB_ITEM_END } fb_item;

typedef struct fb_chunk_reader {
    fb_sites *sites; /* borrowed: sites of this chunk are added to them */
    ZSTD_DCtx *zstd;
    fb_chunk_header head;
    uint8_t *stored, *raw; /* FB_CHUNK_MAX each, made at the first load */
    size_t most_bytes;     /* of both together that a chunk has taken */
    size_t counted;        /* what sites->reader_bytes has of this reader */
    bool loaded;

    fb_bytes columns[FB_SECTION_COUNT], steps, hashes;
    fb_extras_reader extras;
    uint32_t *strings; /* local number -> number in the trace; likewise: */
    uint32_t *modules, *frames, *local_sites;
    uint32_t string_count, module_count, frame_count, site_count;
    uint32_t string_capacity, module_capacity, frame_capacity, site_capacity;
    uint32_t *site_frames; /* by site number in the trace: its innermost frame + 1, 0: none */
    uint32_t site_frame_capacity;
    fb_read_form *forms;
    uint32_t form_count, form_capacity;

    uint32_t previous; /* form of the previous event */
    uint32_t events_left, steps_left, inputs_left;
    bool has_step;
    uint64_t step;
    int32_t micro;

    fb_event event;
    fb_trace_step step_end;
    fb_ref *inputs;
    uint64_t *indices;
    char *text;
    uint32_t input_capacity, index_capacity, text_capacity;
} fb_chunk_reader;

bool fb__chunk_reader_init(fb_chunk_reader *c, fb_sites *sites); /* false when memory is out */
void fb__chunk_reader_free(fb_chunk_reader *c);

/* The innermost frame of a site's call stack, as this trace tells it; FB_FRAME_NONE. */
static inline uint32_t fb__chunk_reader_frame(const fb_chunk_reader *c, uint32_t site)
{
    return site < c->site_frame_capacity ? c->site_frames[site] - 1 : FB_FRAME_NONE;
}

/* Forgets what it knows of sites: the table has been emptied. */
void fb__chunk_reader_forget(fb_chunk_reader *c);

/* Room for the body of any chunk: FB_CHUNK_MAX bytes. NULL when memory is out. */
uint8_t *fb__chunk_reader_body(fb_chunk_reader *c);

/* The first half of fb__chunk_reader_load: checks and decompresses, finds the sections, takes the
 * extras; enough for who wants contents of tensors only. */
FB_NODISCARD fb_status fb__chunk_reader_unpack(fb_chunk_reader *c, const fb_chunk_header *head,
                                               fb_error *err);

/* Takes the chunk whose body is in fb__chunk_reader_body: checks, decompresses, reads the
 * dictionary. FB_E_CORRUPT (err->offset: of the chunk), FB_E_LIMIT, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__chunk_reader_load(fb_chunk_reader *c, const fb_chunk_header *head,
                                             fb_error *err);

/* The next item: an event in c->event, or the end of a step in c->step_end. Both live until the
 * next call. At FB_ITEM_END everything in the chunk has been used. FB_E_CORRUPT, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__chunk_reader_next(fb_chunk_reader *c, fb_item *item, fb_error *err);

/* The next entry of a steps part; false where it is damaged. Classes that were not recorded have
 * root and chain 0. */
bool fb__get_step_entry(fb_bytes *steps, fb_trace_step *out);

#endif
