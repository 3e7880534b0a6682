/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.c - reading a trace: open, seek, event by event, the chains of any step.
 */
#include "tracer/read/trace_state.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

const char *fb_trace_status_name(fb_trace_status status)
{
    switch (status) {
#define STATUS_CASE(name, number, text)                                                            \
    case FB_TRACE_##name:                                                                          \
        return text;
        FB_TRACE_STATUS_LIST(STATUS_CASE)
#undef STATUS_CASE
    }
    return "?";
}

/* The table of sites: the one of `beside`, or one of its own. */
static bool take_sites(fb_trace *t, fb_trace *beside)
{
    if (beside != NULL) {
        t->sites = beside->sites;
        t->sites->readers++;
        return true;
    }
    t->sites = malloc(sizeof *t->sites);
    if (t->sites == NULL || fb__sites_init(t->sites))
        return t->sites != NULL;
    free(t->sites);
    t->sites = NULL;
    return false;
}

static void leave_sites(fb_trace *t)
{
    if (t->sites == NULL || --t->sites->readers > 0)
        return;
    fb__sites_free(t->sites);
    free(t->sites);
}

fb_status fb_trace_open(fb_trace **out, const char *path, fb_error *err)
{
    return fb_trace_open_beside(out, path, NULL, err);
}

fb_status fb_trace_open_beside(fb_trace **out, const char *path, fb_trace *beside, fb_error *err)
{
    fb_trace *t = calloc(1, sizeof *t);
    fb_status status;

    *out = NULL;
    if (t == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    t->descriptor = -1;
    status = fb__trace_open_source(t, path, err);
    if (status == FB_OK && (!take_sites(t, beside) || !fb__chunk_reader_init(&t->chunk, t->sites)))
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    if (status == FB_OK)
        status = fb__trace_find_end(t, err);
    if (status != FB_OK) {
        fb_trace_close(t);
        return status;
    }
    t->next_offset = t->header.span;
    *out = t;
    return FB_OK;
}

void fb_trace_close(fb_trace *trace)
{
    fb_trace *t = trace;

    if (t == NULL)
        return;
    free(t->stack);
    fb__frame_texts_free(&t->frame_texts);
    fb__values_reader_destroy(t->values);
    free(t->steps);
    fb_buffer_free(&t->tail);
    fb__chunk_reader_free(&t->chunk);
    fb__kept_bodies_free(&t->kept);
    leave_sites(t);
    free(t->json);
    free(t->path);
    if (t->descriptor >= 0)
        (void)close(t->descriptor);
    free(t);
}

const fb_trace_info *fb_trace_get_info(const fb_trace *trace)
{
    return &trace->info;
}

uint64_t fb_trace_bytes_read(const fb_trace *trace)
{
    return trace->bytes_read;
}

/* --- Chains ------------------------------------------------------------------------------------
 */

/* The steps part of a chunk, checked; kept, because a search asks for neighbours. */
static fb_status read_steps(fb_trace *t, const fb_chunk_header *head, fb_error *err)
{
    fb_status status;
    uint8_t *bytes;
    size_t got;

    if (t->steps != NULL && t->steps_offset == head->offset)
        return FB_OK;
    bytes = realloc(t->steps, head->steps_bytes + 1);
    if (bytes == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", t->path);
    t->steps = bytes;
    t->steps_offset = 0;
    status = fb__trace_read(t, bytes, head->steps_bytes, head->offset + FB_CHUNK_HEADER_BYTES, &got,
                            err);
    if (status != FB_OK)
        return status;
    if (got < head->steps_bytes || fb__check(bytes, got) != head->steps_check)
        return fb__fail(err, FB_E_CORRUPT, head->offset,
                        "%s: chunk %llu at byte %llu: checksum mismatch", t->path,
                        (unsigned long long)head->sequence, (unsigned long long)head->offset);
    t->steps_offset = head->offset;
    t->steps_bytes = head->steps_bytes;
    return FB_OK;
}

/* A class that a step does not record has the chain of the step before. chain: those of the entries
 * before this one in its chunk; `told` of them are known, others end the chunk before. */
static fb_status carry_chains(fb_trace_step *entry, const fb_hash chain[FB_CLASS_COUNT],
                              uint32_t told, fb_trace *t, const fb_chunk_header *head,
                              fb_error *err)
{
    const uint32_t all = (1u << FB_CLASS_COUNT) - 1;
    fb_chunk_header before = {0};
    fb_status status;

    if ((~(entry->classes | told) & all) != 0 && head->skip[0] != 0) {
        status = fb__trace_chunk_header(t, head->skip[0], &before, err);
        if (status != FB_OK)
            return status;
        if (before.sequence + 1 != head->sequence)
            return fb__fail(err, FB_E_CORRUPT, head->offset,
                            "%s: chunk %llu at byte %llu: skip pointer leads astray", t->path,
                            (unsigned long long)head->sequence, (unsigned long long)head->offset);
    }
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        if ((entry->classes & 1u << c) == 0)
            entry->chain[c] = (told & 1u << c) != 0 ? chain[c] : before.chain[c];
    return FB_OK;
}

fb_status fb_trace_find_step(fb_trace *trace, uint64_t step, fb_trace_step *out, fb_error *err)
{
    fb_trace *t = trace;
    fb_hash chain[FB_CLASS_COUNT] = {{0, 0}};
    uint32_t told = 0;
    fb_chunk_header head;
    fb_trace_step entry;
    fb_bytes steps;
    fb_status status = fb__trace_find_chunk(t, FB_TARGET_FINISHED, step, &head, err);

    if (status == FB_OK)
        status = read_steps(t, &head, err);
    if (status != FB_OK)
        return status;
    steps = fb_bytes_of(t->steps, t->steps_bytes);
    while (fb_bytes_left(&steps) > 0) {
        if (!fb__get_step_entry(&steps, &entry))
            return fb__fail(err, FB_E_CORRUPT, head.offset, "%s: chunk %llu at byte %llu: bad step",
                            t->path, (unsigned long long)head.sequence,
                            (unsigned long long)head.offset);
        if (entry.step >= step) {
            status = carry_chains(&entry, chain, told, t, &head, err);
            *out = entry;
            return status;
        }
        for (int c = 0; c < FB_CLASS_COUNT; c++)
            if ((entry.classes & 1u << c) != 0)
                chain[c] = entry.chain[c];
        told |= entry.classes;
    }
    return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET, "%s: step %llu is not in this trace",
                    t->path, (unsigned long long)step);
}

fb_status fb_trace_get_step(fb_trace *trace, uint64_t step, fb_trace_step *out, fb_error *err)
{
    fb_trace_step found;
    const fb_status status = fb_trace_find_step(trace, step, &found, err);

    if (status != FB_OK)
        return status;
    if (found.step != step)
        return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET, "%s: step %llu is not in this trace",
                        trace->path, (unsigned long long)step);
    *out = found;
    return FB_OK;
}

/* --- Events ------------------------------------------------------------------------------------
 */

static fb_status seek_chunk(fb_trace *t, fb_target target, uint64_t value, fb_error *err)
{
    fb_chunk_header head;
    fb_error failure;
    const fb_status status = fb__trace_find_chunk(t, target, value, &head, &failure);

    t->chunk.loaded = false;
    t->seek_step = t->seek_event = 0;
    if (status == FB_E_NOT_FOUND) {
        t->next_offset = t->end;
        return FB_OK;
    }
    if (status != FB_OK) {
        if (err != NULL)
            *err = failure;
        return status;
    }
    t->kept.wanted = FB_KEPT_AFTER_SEEK;
    t->next_offset = head.offset;
    t->next_sequence = head.sequence;
    t->next_event = head.first_event;
    return FB_OK;
}

fb_status fb_trace_seek(fb_trace *trace, uint64_t step, fb_error *err)
{
    const fb_status status = seek_chunk(trace, FB_TARGET_STEP, step, err);

    trace->seek_step = step;
    return status;
}

fb_status fb_trace_seek_event(fb_trace *trace, uint64_t number, fb_error *err)
{
    const fb_status status = seek_chunk(trace, FB_TARGET_EVENT, number, err);

    trace->seek_event = number;
    return status;
}

fb_status fb__trace_next_chunk(fb_trace *t, fb_error *err)
{
    while (t->next_offset < t->end && !t->chunk.loaded) {
        fb_chunk_header head;
        fb_status status = fb__trace_chunk_header(t, t->next_offset, &head, err);

        if (status != FB_OK)
            return status;
        if (head.sequence != t->next_sequence || head.first_event != t->next_event ||
            fb__align_up(head.offset + fb__chunk_bytes(&head)) > t->end)
            return fb__fail(err, FB_E_CORRUPT, head.offset,
                            "%s: chunk %llu at byte %llu: does not follow the one before", t->path,
                            (unsigned long long)head.sequence, (unsigned long long)head.offset);
        if (head.type == FB_CHUNK_EVENTS) {
            status = fb__trace_load(t, &head, err);
            if (status != FB_OK)
                return status;
        }
        t->next_offset = fb__align_up(head.offset + fb__chunk_bytes(&head));
        t->next_sequence++;
        t->next_event += head.events;
    }
    return FB_OK;
}

fb_status fb__trace_next_item(fb_trace *t, fb_item *item, fb_error *err)
{
    for (;;) {
        fb_status status;

        if (!t->chunk.loaded) {
            status = fb__trace_next_chunk(t, err);
            if (status != FB_OK)
                return status;
            if (!t->chunk.loaded) {
                *item = FB_ITEM_END;
                return FB_OK;
            }
        }
        status = fb__chunk_reader_next(&t->chunk, item, err);
        if (status != FB_OK) {
            t->chunk.loaded = false;
            t->next_offset = t->chunk.head.offset; /* asked again, it fails again */
            t->next_sequence = t->chunk.head.sequence;
            t->next_event = t->chunk.head.first_event;
            return fb__fail_in(err, status, "%s: ", t->path);
        }
        if (*item != FB_ITEM_END)
            return FB_OK;
        t->chunk.loaded = false;
    }
}

fb_status fb_trace_next(fb_trace *trace, const fb_event **event, uint64_t *number, fb_error *err)
{
    fb_trace *t = trace;
    uint64_t at;
    fb_item item;

    *event = NULL;
    do {
        const fb_status status = fb__trace_next_item(t, &item, err);

        if (status != FB_OK)
            return status;
        if (item == FB_ITEM_END)
            return FB_OK;
        at = t->next_event - t->chunk.events_left - 1;
    } while (item != FB_ITEM_EVENT || t->chunk.event.step < t->seek_step || at < t->seek_event);
    *event = &t->chunk.event;
    if (number != NULL)
        *number = at;
    return FB_OK;
}

const fb_site *fb_trace_site(const fb_trace *trace, uint32_t site)
{
    return site < trace->sites->count ? &fb__sites_get(trace->sites, site)->site : NULL;
}

size_t fb_trace_memory(const fb_trace *trace)
{
    const fb_trace *t = trace;

    return fb__sites_memory(t->sites) + t->sites->reader_bytes + t->tail.capacity;
}

fb_status fb__trace_rename(fb_trace *t,
                           size_t (*rename)(const void *self, char *out, const char *text,
                                            size_t count),
                           const void *self, fb_error *err)
{
    fb__sites_free(t->sites);
    fb__chunk_reader_forget(&t->chunk);
    if (!fb__sites_init(t->sites))
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", t->path);
    t->sites->rename = rename;
    t->sites->rename_self = self;
    return FB_OK;
}
