/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_values.c - the recorded contents of one tensor, read from the chunk of its event and the
 * chunks that go on with them, without disturbing who reads events.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tracer/read/trace_state.h"

struct fb_values_reader {
    fb_chunk_reader chunk;
    bool loaded;
    bool resumable; /* the loaded chunk goes on with contents of event `number` at byte `at` */
    uint64_t number, at, total;
};

void fb__values_reader_destroy(fb_values_reader *v)
{
    if (v == NULL)
        return;
    fb__chunk_reader_free(&v->chunk);
    free(v);
}

static fb_status make_reader(fb_trace *t, fb_error *err)
{
    if (t->values != NULL)
        return FB_OK;
    t->values = calloc(1, sizeof *t->values);
    if (t->values == NULL || !fb__chunk_reader_init(&t->values->chunk, t->sites)) {
        free(t->values);
        t->values = NULL;
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", t->path);
    }
    return FB_OK;
}

/* Unpacks the chunk, unless that was done last. */
static fb_status load(fb_trace *t, const fb_chunk_header *head, fb_error *err)
{
    fb_values_reader *v = t->values;
    const size_t bytes = (size_t)(fb__chunk_bytes(head) - FB_CHUNK_HEADER_BYTES);
    uint8_t *body;
    fb_status status;
    size_t got;

    if (v->loaded && v->chunk.head.offset == head->offset)
        return FB_OK;
    v->loaded = v->resumable = false;
    body = fb__chunk_reader_body(&v->chunk);
    if (body == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", t->path);
    status = fb__trace_read(t, body, bytes, head->offset + FB_CHUNK_HEADER_BYTES, &got, err);
    if (status != FB_OK)
        return status;
    if (got < bytes)
        return fb__fail(err, FB_E_CORRUPT, head->offset,
                        "%s: chunk %llu at byte %llu: the file ends within it", t->path,
                        (unsigned long long)head->sequence, (unsigned long long)head->offset);
    status = fb__chunk_reader_unpack(&v->chunk, head, err);
    if (status != FB_OK)
        return fb__fail_in(err, status, "%s: ", t->path);
    v->loaded = true;
    return FB_OK;
}

/* What one call is after: bytes [from, to) of the contents, and how far they are known. */
typedef struct wanted {
    uint8_t *out;
    uint64_t from, to, at, total;
    bool found;
} wanted;

/* Takes what the loaded chunk has of event `number`; false where it goes on wrongly. */
static bool take_pieces(fb_extras_reader *x, uint64_t code, wanted *w)
{
    fb_piece piece;

    fb__pieces_rewind(x);
    while (fb__pieces_next(x, &piece)) {
        if (piece.code != code)
            continue;
        if (piece.offset != w->at || (w->found && piece.total != w->total))
            return false;
        w->found = true;
        w->total = piece.total;
        w->at = piece.offset + piece.bytes;
        if (w->at > w->from && piece.offset < w->to) {
            const uint64_t begin = w->from > piece.offset ? w->from : piece.offset;
            const uint64_t end = w->to < w->at ? w->to : w->at;

            fb__piece_copy(w->out + (begin - w->from), &piece, (uint32_t)(begin - piece.offset),
                           (uint32_t)(end - begin));
        }
    }
    return true;
}

/* The chunk to begin with: the one read last where a caller goes through a large tensor. */
static fb_status first_chunk(fb_trace *t, uint64_t number, wanted *w, fb_chunk_header *head,
                             fb_error *err)
{
    const fb_values_reader *v = t->values;

    if (v->loaded && v->resumable && v->number == number && v->at <= w->from) {
        *head = v->chunk.head;
        w->found = true;
        w->at = v->at;
        w->total = v->total;
        return FB_OK;
    }
    return fb__trace_find_chunk(t, FB_TARGET_EVENT, number, head, err);
}

static fb_status read_values(fb_trace *t, uint64_t number, wanted *w, fb_error *err)
{
    fb_chunk_header head;
    fb_status status = first_chunk(t, number, w, &head, err);

    while (status == FB_OK) {
        const uint64_t code = number >= head.first_event ? number - head.first_event + 1 : 0;
        const bool before = w->found;
        const uint64_t at = w->at;

        status = load(t, &head, err);
        if (status != FB_OK)
            return status;
        if (!take_pieces(&t->values->chunk.extras, code, w) || (before && w->at == at))
            return fb__fail(err, FB_E_CORRUPT, head.offset,
                            "%s: chunk %llu at byte %llu: contents of event %llu do not go on",
                            t->path, (unsigned long long)head.sequence,
                            (unsigned long long)head.offset, (unsigned long long)number);
        if (!w->found)
            return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET,
                            "%s: event %llu: its contents were not recorded", t->path,
                            (unsigned long long)number);
        t->values->resumable = true;
        t->values->number = number;
        t->values->at = at;
        t->values->total = w->total;
        if (w->at >= w->to || w->at == w->total)
            return FB_OK;
        if (fb__align_up(head.offset + fb__chunk_bytes(&head)) >= t->end)
            return fb__fail(err, FB_E_TORN, t->end,
                            "%s: event %llu: the trace ends after %llu of %llu bytes of its "
                            "contents",
                            t->path, (unsigned long long)number, (unsigned long long)w->at,
                            (unsigned long long)w->total);
        status = fb__trace_chunk_header(t, fb__align_up(head.offset + fb__chunk_bytes(&head)),
                                        &head, err);
        if (status == FB_OK && (head.type != FB_CHUNK_EVENTS || head.first_event != number + 1))
            return fb__fail(err, FB_E_CORRUPT, head.offset,
                            "%s: byte %llu: contents of event %llu do not go on", t->path,
                            (unsigned long long)head.offset, (unsigned long long)number);
    }
    return status;
}

fb_status fb_trace_values(fb_trace *trace, uint64_t number, uint64_t offset, void *to, size_t bytes,
                          size_t *got, uint64_t *total, fb_error *err)
{
    wanted w = {.out = to, .from = offset, .to = offset + bytes};
    fb_status status;

    *got = 0;
    if (offset > FB_STEP_MAX || bytes > FB_STEP_MAX)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: no tensor has so many bytes",
                        trace->path);
    status = make_reader(trace, err);
    if (status == FB_OK)
        status = read_values(trace, number, &w, err);
    if (w.at > w.from)
        *got = (size_t)((w.at < w.to ? w.at : w.to) - w.from);
    if (total != NULL)
        *total = w.total;
    return status;
}
