/* SPDX-License-Identifier: Apache-2.0
 *
 * sealer.c - the state of a recording as its rows tell it: steps, roots, chains, chunks.
 */
#include "tracer/record/sealer.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "tracer/record/sealer_rows.h"
#include "tracer/format/tail.h"

bool fb__sealer_init(fb_sealer *s, fb_hash id, fb_sink sink, fb_sites *sites)
{
    *s = (fb_sealer){
        .sink = sink,
        .sites = sites,
        .id = id,
        .row_micro = FB_MICRO_NONE,
        .finished_step = FB_NO_STEP,
        .first_nonfinite = FB_NO_EVENT,
        .sealed = {.id = id, .finished_step = FB_NO_STEP, .first_nonfinite = FB_NO_EVENT}};
    return fb__builder_init(&s->builder, sites);
}

void fb__sealer_free(fb_sealer *s)
{
    fb__builder_free(&s->builder);
    free(s->site_numbers.of);
    free(s->frame_numbers.of);
    free(s->module_numbers.of);
    free(s->memory);
    free(s->inputs);
    free(s->input_ids);
    free(s->indices);
    free(s->blocks);
    fb_buffer_free(&s->text);
    memset(s, 0, sizeof *s);
}

/* --- Roots -------------------------------------------------------------------------------------
 */

static fb_site_memory *memory_of(fb_sealer *s, uint32_t site)
{
    /* Room for all sites at once, so that pointers to others stay good during one event. */
    if (s->sites->count > s->memory_capacity) {
        const uint32_t capacity = s->sites->count * 2 + 64;
        fb_site_memory *memory = realloc(s->memory, capacity * sizeof *memory);

        if (memory == NULL)
            return NULL;
        for (uint32_t i = s->memory_capacity; i < capacity; i++)
            memory[i] = (fb_site_memory){.class_number = FB_CLASS_COUNT};
        s->memory = memory;
        s->memory_capacity = capacity;
    }
    if (s->memory[site].class_number == FB_CLASS_COUNT)
        s->memory[site].class_number = (uint8_t)fb_site_class(&fb__sites_get(s->sites, site)->site);
    return &s->memory[site];
}

static fb_hash identity_of(fb_sealer *s, uint32_t site, fb_site_memory *memory, uint64_t step,
                           int32_t micro)
{
    if (!memory->has_identity || memory->step != step || memory->micro != micro) {
        memory->identity = fb_identity_hash(fb__sites_get(s->sites, site)->hash, step, micro);
        memory->step = step;
        memory->micro = micro;
        memory->has_identity = true;
    }
    return memory->identity;
}

bool fb__sealer_add_to_root(fb_sealer *s, uint32_t site, const fb_event *e)
{
    fb_site_memory *memory = memory_of(s, site);
    fb_hash identity;

    if (memory == NULL || !fb__sealer_reserve_inputs(s, e->input_count))
        return false;
    identity = identity_of(s, site, memory, e->step, e->micro);
    for (uint32_t i = 0; i < e->input_count; i++) {
        const fb_ref *ref = &e->inputs[i];
        s->input_ids[i] = identity_of(s, ref->site, memory_of(s, ref->site), ref->step, ref->micro);
    }
    s->root[memory->class_number] =
        fb_hash_add(s->root[memory->class_number],
                    fb_event_hash(identity, &fb__sites_get(s->sites, site)->site, e, s->input_ids));
    return true;
}

/* --- Chunks ------------------------------------------------------------------------------------
 */

fb_status fb__sealer_retry(fb_sealer *s, fb_error *err)
{
    fb_status status;

    if (s->pending_bytes == 0)
        return FB_OK;
    status = s->sink.append(s->sink.self, &s->pending, s->pending_image, s->pending_bytes, err);
    if (status != FB_OK)
        return status;
    s->sealed = s->pending;
    s->chunks++;
    s->pending_bytes = 0;
    return FB_OK;
}

static fb_status seal(fb_sealer *s, uint64_t staged, fb_error *err)
{
    fb_status status;

    s->pending = (fb_chunk_header){.id = s->id,
                                   .sequence = s->chunks,
                                   .first_event = s->events - s->builder.events,
                                   .finished_step = s->finished_step,
                                   .finished_steps = s->finished_steps,
                                   .offset = s->sink.end(s->sink.self),
                                   .first_nonfinite = s->first_nonfinite,
                                   .staged = staged};
    memcpy(s->pending.chain, s->chain, sizeof s->chain);
    status = s->sink.skips(s->sink.self, s->chunks, s->pending.skip, err);
    if (status == FB_OK)
        status =
            fb__builder_seal(&s->builder, &s->pending, &s->pending_image, &s->pending_bytes, err);
    return status == FB_OK ? fb__sealer_retry(s, err) : status;
}

fb_status fb__sealer_flush(fb_sealer *s, uint64_t staged, fb_error *err)
{
    return fb__builder_empty(&s->builder) ? FB_OK : seal(s, staged, err);
}

/* --- Rows --------------------------------------------------------------------------------------
 */

static fb_status damaged(uint64_t offset, const char *what, fb_error *err)
{
    return fb__fail(err, FB_E_CORRUPT, offset, "row at byte %llu: %s", (unsigned long long)offset,
                    what);
}

static const char *take_step(fb_sealer *s, fb_bytes *b)
{
    const uint64_t step = fb_bytes_u64(b), classes = fb_bytes_u64(b);

    if (b->failed || step > FB_STEP_MAX || classes >= UINT64_C(1) << FB_CLASS_COUNT)
        return "bad step";
    s->classes = (uint32_t)classes;
    if (s->step_open && step == s->step) /* told again at the start of a half */
        return NULL;
    if (s->step_open || (s->finished_step != FB_NO_STEP && step <= s->finished_step))
        return "step out of order";
    s->step_open = true;
    s->step = step;
    s->step_first_event = s->events;
    memset(s->root, 0, sizeof s->root);
    return NULL;
}

/* A step that chunks hold the beginning of: they do not say which classes it records. */
static const char *retake_step(fb_sealer *s, fb_bytes *b)
{
    const uint64_t step = fb_bytes_u64(b), classes = fb_bytes_u64(b);

    if (b->failed || classes >= UINT64_C(1) << FB_CLASS_COUNT)
        return "bad step";
    if (s->step_open && step == s->step)
        s->classes = (uint32_t)classes;
    return NULL;
}

static const char *take_step_end(fb_sealer *s, fb_bytes *b)
{
    const uint64_t step = fb_bytes_u64(b);

    if (b->failed || !s->step_open || step != s->step)
        return "end of a step that is not open";
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        if (s->classes & 1u << c)
            s->chain[c] = fb_chain_next(s->chain[c], s->step, s->root[c]);
    fb__builder_step_end(&s->builder, s->step, s->step_first_event, s->events - s->step_first_event,
                         s->classes, s->root, s->chain);
    s->step_open = false;
    if (s->finished_steps++ == 0)
        s->first_step = s->step;
    s->finished_step = s->step;
    return NULL;
}

/* Contents go on where they ended, to their end. */
static const char *take_contents(fb_sealer *s, const fb_tail_contents *c)
{
    if (c->data == NULL)
        return NULL;
    fb__builder_contents(&s->builder, c->width, c->total, c->offset, c->data, c->bytes);
    s->contents_width = c->width;
    s->contents_total = c->total;
    s->contents_at = c->offset + c->bytes;
    return NULL;
}

static const char *take_piece(fb_sealer *s, fb_bytes *b)
{
    fb_tail_contents c;
    const char *flaw = fb__sealer_read_contents(&c, fb_bytes_u64(b), b);

    if (flaw != NULL)
        return flaw;
    if (!s->contents_unknown && (c.width != s->contents_width || c.total != s->contents_total ||
                                 c.offset != s->contents_at))
        return "contents that do not go on";
    s->contents_unknown = false;
    return take_contents(s, &c);
}

static const char *take_event(fb_sealer *s, const fb_tail_row_head *head, fb_bytes *b,
                              bool *no_memory)
{
    fb_tail_contents contents;
    const char *flaw;
    fb_event e;
    uint32_t site;

    *no_memory = false;
    flaw = fb__sealer_read_event(s, &e, &site, &contents, head, b, no_memory);
    if (flaw != NULL || *no_memory)
        return flaw;
    if (s->step_open ? e.step > s->step
                     : s->finished_step == FB_NO_STEP || e.step > s->finished_step)
        return "event of a step that has not begun";
    if (s->step_open && e.step == s->step) {
        *no_memory = !fb__sealer_add_to_root(s, site, &e);
        if (*no_memory) /* told again, this row must not count twice */
            return NULL;
        if ((s->classes & 1u << s->memory[site].class_number) == 0)
            return "event of a class that its step does not record";
    } else {
        fb_site_memory *memory = memory_of(s, site);

        *no_memory = memory == NULL;
        if (memory == NULL)
            return NULL;
        if (memory->class_number != FB_CLASS_NOTES)
            return "event after the end of its step";
    }
    if ((e.flags & FB_EVENT_NONFINITE) != 0 && s->first_nonfinite == FB_NO_EVENT)
        s->first_nonfinite = s->events;
    fb__builder_event(&s->builder, site, &e);
    s->events++;
    s->contents_width = 0;
    s->contents_unknown = false;
    return take_contents(s, &contents);
}

/* Definitions, and the place of later events, count for rows that were taken already too. */
static const char *take_row(fb_sealer *s, const fb_tail_row_head *head, fb_bytes *b, bool taken,
                            bool *no_memory)
{
    *no_memory = false;
    switch (head->type) {
    case FB_TAIL_MODULE:
        return fb__sealer_read_module(s, head->number, b, no_memory);
    case FB_TAIL_FRAME:
        return fb__sealer_read_frame(s, head->number, b, no_memory);
    case FB_TAIL_SITE:
        return fb__sealer_read_site(s, head->number, b, no_memory);
    case FB_TAIL_STEP:
        return taken ? retake_step(s, b) : take_step(s, b);
    case FB_TAIL_STEP_END:
        return taken ? NULL : take_step_end(s, b);
    case FB_TAIL_EVENT:
        if (!taken)
            return take_event(s, head, b, no_memory);
        s->contents_unknown = (head->mask & FB_TAIL_CONTENTS) != 0;
        fb__sealer_read_place(s, head, b);
        return b->failed ? "bad event" : NULL;
    case FB_TAIL_PIECE:
        return taken ? NULL : take_piece(s, b);
    default:
        return "unknown kind of row";
    }
}

/* Near a limit of the file's size, chunks take half of what is left: one that would not fit would
 * be lost as a whole. */
static bool is_full(const fb_sealer *s)
{
    return !fb__builder_empty(&s->builder) &&
           fb__builder_full(&s->builder,
                            s->sink.room == NULL ? UINT64_MAX : s->sink.room(s->sink.self) / 2);
}

fb_status fb__sealer_take(fb_sealer *s, uint64_t sequence, const uint8_t *rows, size_t bytes,
                          size_t from, size_t *taken, fb_error *err)
{
    *taken = 0;
    s->sequence = sequence;
    s->epoch++;
    s->row_micro = FB_MICRO_NONE;
    while (*taken < bytes) {
        const uint8_t *row = rows + *taken;
        fb_tail_row_head head;
        const char *flaw;
        bool no_memory;
        fb_bytes body;

        if (bytes - *taken < sizeof head)
            return damaged(*taken, "cut off", err);
        memcpy(&head, row, sizeof head);
        if (head.bytes < sizeof head || head.bytes > bytes - *taken || head.bytes % 8 != 0)
            return damaged(*taken, "impossible length", err);
        if (head.check != fb__tail_check(sequence, row, head.bytes))
            return damaged(*taken, "checksum mismatch", err);
        body = fb_bytes_of(row + sizeof head, head.bytes - sizeof head);
        flaw = take_row(s, &head, &body, *taken < from, &no_memory);
        if (no_memory || fb__builder_failed(&s->builder))
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
        if (flaw != NULL)
            return damaged(*taken, flaw, err);
        *taken += head.bytes;
        if (is_full(s)) {
            const fb_status status = seal(s, fb__tail_position(sequence, *taken), err);
            if (status != FB_OK)
                return status;
        }
    }
    return FB_OK;
}
