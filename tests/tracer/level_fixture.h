/* SPDX-License-Identifier: Apache-2.0
 *
 * level_fixture.h - a made-up trace of levels sketch and values, written through the chunk builder
 * as the recorder does: tensors of many sizes and dtypes, some with contents over several chunks.
 */
#ifndef FB_TESTS_LEVEL_FIXTURE_H
#define FB_TESTS_LEVEL_FIXTURE_H

#include "base/sketch.h"
#include "tests/tracer/trace_fixture.h"
#include "tracer/format/chunk_builder.h"
#include "tracer/format/trace_file.h"

enum {
    LEVEL_SITES = 12,
    LEVEL_BYTES_MAX = 3 * FB_CONTENTS_PIECE + 40000, /* four pieces */
};

static inline fb_site level_site(int which)
{
    static const struct {
        fb_dtype dtype;
        uint64_t elements;
    } tensors[LEVEL_SITES] = {
        {FB_DTYPE_F32, 0},    {FB_DTYPE_F32, 1},     {FB_DTYPE_F32, 63},
        {FB_DTYPE_F32, 384},  {FB_DTYPE_F32, 40000}, {FB_DTYPE_F64, 5000},
        {FB_DTYPE_BF16, 999}, {FB_DTYPE_BOOL, 70},   {FB_DTYPE_C64, 100},
        {FB_DTYPE_I64, 7},    {FB_DTYPE_F32, 12},    {FB_DTYPE_F32, LEVEL_BYTES_MAX / 4},
    };
    static const char *const paths[LEVEL_SITES] = {"a", "b", "c", "d", "e", "f",
                                                   "g", "h", "i", "j", "k", "l"};

    return (fb_site){.size = sizeof(fb_site),
                     .kind = which % 3 == 2   ? FB_KIND_PARAM
                             : which % 3 == 1 ? FB_KIND_COLLECTIVE
                                              : FB_KIND_TENSOR,
                     .phase = FB_PHASE_FORWARD,
                     .path = paths[which],
                     .op = "op",
                     .slot = "out",
                     .dtype = tensors[which].dtype,
                     .rank = 1,
                     .shape = {tensors[which].elements}};
}

typedef struct level_event {
    fb_event event;
    fb_sketch sketch;
    fb_hash blocks[64];
    bool recorded; /* contents too */
} level_event;

/* Event `which` of a step. Large contents are made once in a while, in one static buffer. */
static inline void make_level_event(level_event *out, int which, uint64_t step, uint64_t *random)
{
    static uint8_t data[LEVEL_BYTES_MAX];
    const fb_site site = level_site(which);
    const size_t bytes = (size_t)site.shape[0] * fb_dtype_bytes(site.dtype);
    const bool large = bytes > 1 << 20;
    bool nonfinite = false;

    for (size_t i = 0; i < bytes; i += 8) {
        /* Alternately floats of one size and anything at all. */
        const uint64_t r = next_random(random);
        const uint64_t word =
            step % 2 == 0 ? (r & UINT64_C(0x80ffffff807fffff)) | UINT64_C(0x3f0000003f000000) : r;
        memcpy(data + i, &word, bytes - i < 8 ? bytes - i : 8);
    }
    out->event = (fb_event){.size = sizeof out->event,
                            .site = (uint32_t)which,
                            .step = step,
                            .micro = which % 2 == 0 ? FB_MICRO_NONE : 1,
                            .data = data,
                            .data_bytes = bytes};
    if (site.dtype == FB_DTYPE_BOOL)
        for (size_t i = 0; i < bytes; i++)
            data[i] &= 1;
    out->event.hash =
        fb_tensor_sketch(&out->sketch, out->blocks, NULL, site.dtype, data, bytes, &nonfinite);
    if (nonfinite)
        out->event.flags |= FB_EVENT_NONFINITE;
    out->recorded = large ? step == 3 : which % 4 != 1 && step % 3 == 0;
    if (out->recorded)
        out->event.flags |= FB_EVENT_VALUES;
    if (which != 10) /* one without */
        out->event.sketch = &out->sketch;
    out->event.block_count = fb_sketch_blocks(bytes);
    if (out->event.block_count > 0)
        out->event.blocks = out->blocks;
}

/* What a recorder does, and no more. */
typedef struct level_writer {
    fb_trace_file file;
    fb_sites sites;
    fb_builder builder;
    fb_hash id, root[FB_CLASS_COUNT], chain[FB_CLASS_COUNT];
    uint64_t offsets[256], chunks, events, steps, first_nonfinite;
    fb_chunk_header sealed;
} level_writer;

static inline void level_seal(level_writer *w)
{
    fb_chunk_header head = {.id = w->id,
                            .sequence = w->chunks,
                            .first_event = w->events - w->builder.events,
                            .finished_step = w->steps == 0 ? FB_NO_STEP : w->steps - 1,
                            .finished_steps = w->steps,
                            .offset = w->file.bytes,
                            .first_nonfinite = w->first_nonfinite};
    const uint8_t *image;
    size_t bytes;
    fb_error err;

    memcpy(head.chain, w->chain, sizeof head.chain);
    for (int k = 0; k < FB_CHUNK_SKIPS && UINT64_C(1) << k <= w->chunks; k++)
        head.skip[k] = w->offsets[w->chunks - (UINT64_C(1) << k)];
    if (fb__builder_seal(&w->builder, &head, &image, &bytes, &err) != FB_OK)
        fail_msg("%s", err.text);
    assert_int_equal(fb__trace_file_append(&w->file, image, bytes, &err), FB_OK);
    assert_true(w->chunks < COUNT_OF(w->offsets));
    w->offsets[w->chunks++] = head.offset;
    w->sealed = head;
}

static inline void level_event_put(level_writer *w, int which, level_event *made)
{
    const uint32_t width = (uint32_t)fb_dtype_bytes(level_site(which).dtype);
    const fb_site_entry *entry = fb__sites_get(&w->sites, (uint32_t)which);
    const size_t total = made->event.data_bytes;
    size_t at = 0;

    fb__builder_event(&w->builder, (uint32_t)which, &made->event);
    w->root[fb_site_class(&entry->site)] = fb_hash_add(
        w->root[fb_site_class(&entry->site)],
        fb_event_hash(fb_identity_hash(entry->hash, made->event.step, made->event.micro),
                      &entry->site, &made->event, NULL));
    if ((made->event.flags & FB_EVENT_NONFINITE) != 0 && w->first_nonfinite == FB_NO_EVENT)
        w->first_nonfinite = w->events;
    w->events++;
    if (!made->recorded)
        return;
    do {
        const size_t bytes = total - at < FB_CONTENTS_PIECE ? total - at : FB_CONTENTS_PIECE;

        if (at > 0 && fb__builder_full(&w->builder, UINT64_MAX))
            level_seal(w);
        fb__builder_contents(&w->builder, width, total, at, (const uint8_t *)made->event.data + at,
                             bytes);
        at += bytes;
    } while (at < total);
}

/* Ends a step of `events` events, as all before it had. */
static inline void level_end_of_step(level_writer *w, uint64_t step, uint64_t events)
{
    const uint32_t classes = (1u << FB_CLASS_COUNT) - 1;

    for (int c = 0; c < FB_CLASS_COUNT; c++)
        w->chain[c] = fb_chain_next(w->chain[c], step, w->root[c]);
    fb__builder_step_end(&w->builder, step, step * events, events, classes, w->root, w->chain);
    memset(w->root, 0, sizeof w->root);
    w->steps++;
    if (fb__builder_full(&w->builder, UINT64_MAX))
        level_seal(w);
}

static inline void level_step_end(level_writer *w, uint64_t step)
{
    level_end_of_step(w, step, LEVEL_SITES);
}

static inline void level_begin(level_writer *w, const char *path)
{
    const char json[] = "{}";
    const fb_file_header header = {.version = FB_FORMAT_VERSION,
                                   .id = {5, 6},
                                   .json_bytes = 2,
                                   .span = FB_FORMAT_ALIGN,
                                   .level = FB_LEVEL_VALUES};
    uint8_t page[FB_FORMAT_ALIGN] = {0};
    fb_error err;

    memset(w, 0, sizeof *w);
    w->id = header.id;
    w->first_nonfinite = FB_NO_EVENT;
    assert_true(fb__sites_init(&w->sites) && fb__builder_init(&w->builder, &w->sites));
    for (int i = 0; i < LEVEL_SITES; i++) {
        const fb_site site = level_site(i);
        uint32_t number;

        assert_int_equal(fb__sites_put(&w->sites, &site, &number, &err), FB_OK);
        assert_int_equal(number, i);
        fb__sites_get(&w->sites, number)->frame = FB_FRAME_NONE;
    }
    fb__put_file_header(page, &header, json);
    memcpy(page + FB_HEADER_BYTES, json, 2);
    assert_int_equal(fb__trace_file_begin(&w->file, path, &err), FB_OK);
    assert_int_equal(fb__trace_file_append(&w->file, page, sizeof page, &err), FB_OK);
    assert_int_equal(fb__trace_file_publish(&w->file, &err), FB_OK);
}

static inline void level_end(level_writer *w, bool whole)
{
    fb_footer footer = {.status = FB_TRACE_COMPLETE, .events = w->events, .steps = w->steps};
    fb_chunk_header head;
    fb_error err;

    if (whole && !fb__builder_empty(&w->builder))
        level_seal(w);
    head = w->sealed;
    head.sequence = footer.chunks = w->chunks;
    head.offset = w->file.bytes;
    head.first_event = w->events;
    head.skip[0] = w->sealed.offset;
    for (int k = 1; k < FB_CHUNK_SKIPS; k++)
        head.skip[k] = 0;
    footer.finished_step = w->steps == 0 ? FB_NO_STEP : w->steps - 1;
    if (whole)
        assert_int_equal(fb__trace_file_footer(&w->file, &head, &footer, &err), FB_OK);
    assert_int_equal(fb__trace_file_close(&w->file, &err), FB_OK);
    fb__builder_free(&w->builder);
    fb__sites_free(&w->sites);
}

static inline void write_steps(const char *path, uint64_t steps, bool with_extras)
{
    static level_event made;
    static level_writer w;
    uint64_t random = 7;

    level_begin(&w, path);
    for (uint64_t step = 0; step < steps; step++) {
        for (int which = 0; which < LEVEL_SITES; which++) {
            make_level_event(&made, which, step, &random);
            if (!with_extras) {
                made.event.sketch = NULL;
                made.event.blocks = NULL;
                made.event.block_count = 0;
                made.recorded = false;
            }
            level_event_put(&w, which, &made);
        }
        level_step_end(&w, step);
    }
    level_end(&w, true);
}

static inline void write_level_trace(const char *path, uint64_t steps)
{
    write_steps(path, steps, true);
}

static inline void write_plain_trace(const char *path, uint64_t steps)
{
    write_steps(path, steps, false);
}

/* A torn trace of one large tensor: its first piece in one chunk and, where `second` is not 0, a
 * second one from that offset in the next. Returns the event's number. */
static inline uint64_t write_pieces(const char *path, uint64_t second)
{
    static level_event made;
    static level_writer w;
    uint64_t random = 7;

    level_begin(&w, path);
    make_level_event(&made, LEVEL_SITES - 1, 3, &random);
    fb__builder_event(&w.builder, LEVEL_SITES - 1, &made.event);
    w.events++;
    fb__builder_contents(&w.builder, 4, LEVEL_BYTES_MAX, 0, made.event.data, FB_CONTENTS_PIECE);
    level_seal(&w);
    if (second != 0) {
        fb__builder_contents(&w.builder, 4, LEVEL_BYTES_MAX, second,
                             (const uint8_t *)made.event.data + second, FB_CONTENTS_PIECE);
        level_seal(&w);
    }
    level_end(&w, false);
    return 0;
}

#endif
