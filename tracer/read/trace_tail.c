/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_tail.c - a torn trace whose program left a tail file: its rows become chunks in memory,
 * behind those of the file, and everything reads on into them.
 *
 * Rules: docs/trace-format.md, "Tail file".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "tracer/record/sealer.h"
#include "tracer/read/trace_state.h"

/* --- Reading the file --------------------------------------------------------------------------
 */

static fb_status fail_tail(const fb_trace *t, int error_number, fb_error *err)
{
    return fb__fail(err, fb__status_of_errno(error_number), FB_NO_OFFSET, "%s-tail: %s", t->path,
                    strerror(error_number));
}

/* *whole: false where the file ends before. FB_E_IO. */
static fb_status read_at(fb_trace *t, int descriptor, void *to, size_t count, size_t offset,
                         bool *whole, fb_error *err)
{
    const ssize_t n = pread(descriptor, to, count, (off_t)offset);

    t->bytes_read += n > 0 ? (uint64_t)n : 0;
    *whole = n == (ssize_t)count;
    return n < 0 ? fail_tail(t, errno, err) : FB_OK;
}

/* The head first: what it says is committed has been written before. And last: rows of a half that
 * is filled again are not those that it spoke of. */
static fb_status read_half(fb_trace *t, fb_tail_copy *tail, int half, int descriptor, fb_error *err)
{
    const size_t at = FB_TAIL_HEAD_BYTES + (size_t)half * tail->half_bytes;
    fb_tail_half_head *head = &tail->head[half], after = {.sequence = 0};
    bool whole;
    fb_status status = read_at(t, descriptor, head, sizeof *head, at, &whole, err);

    whole = whole && head->committed <= tail->half_bytes - sizeof *head;
    if (status == FB_OK && whole)
        status = read_at(t, descriptor, tail->bytes + (size_t)half * tail->half_bytes,
                         (size_t)head->committed, at + sizeof *head, &whole, err);
    if (status == FB_OK && whole)
        status = read_at(t, descriptor, &after, sizeof after, at, &whole, err);
    if (!whole || after.sequence != head->sequence)
        head->sequence = 0; /* cut off: the other half may be whole */
    return status;
}

static fb_status read_open_tail(fb_trace *t, fb_tail_copy *out, int descriptor, fb_error *err)
{
    uint8_t head[FB_TAIL_HEAD_BYTES];
    uint64_t half_bytes;
    bool whole;
    fb_status status = read_at(t, descriptor, head, sizeof head, 0, &whole, err);

    if (status != FB_OK || !whole || !fb__get_tail_head(head, t->header.id, &half_bytes))
        return status;
    out->half_bytes = (size_t)half_bytes;
    out->bytes = malloc(FB_TAIL_HALVES * out->half_bytes);
    if (out->bytes == NULL)
        return fail_tail(t, ENOMEM, err);
    for (int i = 0; i < FB_TAIL_HALVES && status == FB_OK; i++)
        status = read_half(t, out, i, descriptor, err);
    return status;
}

/* What cannot be read is not taken for missing: events would be lost without a word. */
fb_status fb__trace_copy_tail(fb_tail_copy *out, fb_trace *t, fb_error *err)
{
    char *path = fb__tail_path(t->path);
    int descriptor;
    fb_status status;

    *out = (fb_tail_copy){.bytes = NULL};
    if (path == NULL)
        return fail_tail(t, ENOMEM, err);
    descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    free(path);
    if (descriptor < 0)
        return errno == ENOENT || errno == ENOTDIR ? FB_OK : fail_tail(t, errno, err);
    status = read_open_tail(t, out, descriptor, err);
    (void)close(descriptor);
    return status;
}

void fb__tail_copy_free(fb_tail_copy *copy)
{
    free(copy->bytes);
    copy->bytes = NULL;
}

/* --- Where the chunks go -----------------------------------------------------------------------
 */

static uint64_t tail_end(void *self)
{
    const fb_trace *t = self;

    return t->tail_at + t->tail.count;
}

/* Pointer k of a chunk is pointer k - 1 of the chunk that its pointer k - 1 leads to. */
static fb_status tail_skips(void *self, uint64_t sequence, uint64_t skip[FB_CHUNK_SKIPS],
                            fb_error *err)
{
    fb_trace *t = self;

    if (sequence == 0)
        return FB_OK;
    skip[0] = t->last.offset;
    for (int k = 1; k < FB_CHUNK_SKIPS && UINT64_C(1) << k <= sequence; k++) {
        fb_chunk_header back;
        const fb_status status = fb__trace_chunk_header(t, skip[k - 1], &back, err);

        if (status != FB_OK)
            return status;
        skip[k] = back.skip[k - 1];
    }
    return FB_OK;
}

static fb_status tail_append(void *self, const fb_chunk_header *head, const uint8_t *image,
                             size_t bytes, fb_error *err)
{
    fb_trace *t = self;

    fb_buffer_append(&t->tail, image, bytes);
    if (t->tail.failed)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", t->path);
    t->tail_events += head->events;
    t->last = *head;
    t->has_last = true;
    t->end = t->tail_at + t->tail.count;
    return FB_OK;
}

/* --- Taking up the recording where the chunks end ----------------------------------------------
 */

/* The root of a step that had begun and not ended with the last chunk. */
static fb_status take_up_step(fb_sealer *s, fb_trace *t, fb_error *err)
{
    const uint64_t step = t->last.last_step;
    const fb_event *e;
    uint64_t number;
    fb_status status;

    if (t->last.finished_step != FB_NO_STEP && step <= t->last.finished_step)
        return FB_OK;
    status = fb_trace_seek(t, step, err);
    while (status == FB_OK && (status = fb_trace_next(t, &e, &number, err)) == FB_OK && e != NULL) {
        if (e->step != step)
            continue;
        if (!s->step_open) {
            s->step_open = true;
            s->step = step;
            s->step_first_event = number;
        }
        if (!fb__sealer_add_to_root(s, e->site, e))
            status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", t->path);
    }
    return status;
}

static fb_status take_up(fb_sealer *s, fb_trace *t, fb_error *err)
{
    if (!t->has_last)
        return FB_OK;
    s->chunks = t->last.sequence + 1;
    s->events = t->last.first_event + t->last.events;
    s->finished_step = t->last.finished_step;
    s->finished_steps = t->last.finished_steps;
    s->first_nonfinite = t->last.first_nonfinite;
    memcpy(s->chain, t->last.chain, sizeof s->chain);
    s->contents_unknown =
        true; /* the chunks may hold the beginning of what the tail goes on with */
    return take_up_step(s, t, err);
}

/* The half of the lowest sequence from `least` on, or -1. */
static int next_half(const fb_tail_copy *tail, uint64_t least)
{
    int next = -1;

    for (int i = 0; i < FB_TAIL_HALVES; i++)
        if (tail->head[i].sequence >= least && tail->head[i].sequence != 0 &&
            (next < 0 || tail->head[i].sequence < tail->head[next].sequence))
            next = i;
    return next;
}

/* The halves that follow what is sealed, in order. The one in which sealing ended may be gone when
 * all of it is sealed; any other gap ends the tail, and so does a damaged row: what came before it
 * is sound. */
static fb_status take_halves(fb_sealer *s, const fb_tail_copy *tail, uint64_t staged, fb_error *err)
{
    uint64_t least = staged >> 32, most = least + 1;
    fb_status status = FB_OK;

    for (int i; status == FB_OK && (i = next_half(tail, least)) >= 0;) {
        const fb_tail_half_head *head = &tail->head[i];
        const uint8_t *rows = tail->bytes + (size_t)i * tail->half_bytes;
        const size_t from = head->sequence == staged >> 32 ? (uint32_t)staged : 0;
        size_t taken;

        /* A trace that lost chunks lacks the events between them and this filling. */
        if (head->sequence > most || (from == 0 && head->first_event != s->events))
            break;
        status =
            fb__sealer_take(s, head->sequence, rows, (size_t)head->committed, from, &taken, err);
        least = most = head->sequence + 1;
    }
    return status == FB_OK || status == FB_E_CORRUPT ? fb__sealer_flush(s, 0, err) : status;
}

/* Where memory runs out, what came before stays. */
static fb_status join(fb_trace *t, const fb_tail_copy *tail, uint64_t staged, fb_error *err)
{
    const fb_sink sink = {t, tail_end, tail_skips, tail_append, NULL};
    fb_sealer sealer;
    fb_status status = FB_OK;

    t->tail_at = t->end;
    if (!fb__sealer_init(&sealer, t->header.id, sink, t->sites))
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", t->path);
    if (status == FB_OK)
        status = take_up(&sealer, t, err);
    if (status == FB_OK)
        status = take_halves(&sealer, tail, staged, err);
    fb__sealer_free(&sealer);
    /* The chunks have them now: another trace may be read with this table. */
    for (uint32_t i = 0; i < t->sites->count; i++)
        fb__sites_get(t->sites, i)->frame = FB_FRAME_NONE;
    return status;
}

fb_status fb__trace_join_tail(fb_trace *t, const fb_tail_copy *tail, fb_error *err)
{
    const uint64_t staged = t->has_last ? t->last.staged : fb__tail_position(1, 0);
    fb_status status = FB_OK;

    if (staged != 0 && tail->bytes != NULL)
        status = join(t, tail, staged, err);
    /* Reading begins at the first event. */
    t->chunk.loaded = false;
    t->next_sequence = t->next_event = t->seek_step = t->seek_event = 0;
    return status == FB_E_CORRUPT ? FB_OK : status;
}
