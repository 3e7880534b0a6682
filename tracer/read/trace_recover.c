/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_recover.c - the sound part of a torn trace as a whole one.
 *
 * Chunks are copied as they are, so that their pointers and checks stay right; a footer ends them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "tracer/format/trace_file.h"
#include "tracer/read/trace_state.h"

/* How far all of it is: three passes over the file. */
typedef struct passes {
    void (*tell)(void *, uint64_t, uint64_t);
    void *argument;
    uint64_t before, all; /* bytes of the passes that are done, and of all */
} passes;

static void tell_pass(void *argument, uint64_t done, uint64_t total)
{
    const passes *p = argument;

    (void)total;
    if (p->tell != NULL)
        p->tell(p->argument, p->before + done, p->all);
}

static bool one_file(const char *a, const char *b)
{
    struct stat sa, sb;

    return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

/* Copies the first `end` bytes of the trace. The padding of its last chunk may be missing. */
static fb_status copy_bytes(fb_trace *t, fb_trace_file *file, uint64_t end, passes *p,
                            fb_error *err)
{
    uint8_t *buffer = malloc(FB_CHUNK_RAW);
    fb_status status = FB_OK;

    if (buffer == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    for (uint64_t from = 0; from < end && status == FB_OK;) {
        const size_t count = end - from < FB_CHUNK_RAW ? (size_t)(end - from) : FB_CHUNK_RAW;
        size_t got;

        memset(buffer, 0, count);
        status = fb__trace_read(t, buffer, count, from, &got, err);
        if (status == FB_OK)
            status = fb__trace_file_append(file, buffer, count, err);
        from += count;
        tell_pass(p, from, end);
    }
    free(buffer);
    return status;
}

/* What the copied part holds, told by its last chunk. */
static fb_status describe(fb_trace *t, uint64_t end, fb_chunk_header *head, fb_footer *footer,
                          fb_error *err)
{
    fb_chunk_header first, last;
    uint64_t next = UINT64_MAX;
    fb_status status;

    *head = (fb_chunk_header){.id = t->header.id,
                              .offset = end,
                              .finished_step = FB_NO_STEP,
                              .first_nonfinite = FB_NO_EVENT};
    *footer =
        (fb_footer){.status = FB_TRACE_COMPLETE, .recovered = true, .finished_step = FB_NO_STEP};
    if (end == t->header.span)
        return FB_OK;
    status = fb__trace_chunk_header(t, t->header.span, &first, err);
    if (status != FB_OK)
        return status;
    if (!fb__trace_scan_back(t, end - FB_FORMAT_ALIGN, &next, &last))
        return fb__fail(err, FB_E_CORRUPT, end, "%s: no sound chunk before byte %llu", t->path,
                        (unsigned long long)end);
    *head = last;
    memset(head->skip, 0, sizeof head->skip);
    head->skip[0] = last.offset;
    head->offset = end;
    head->sequence = footer->chunks = last.sequence + 1;
    head->first_event = footer->events = last.first_event + last.events;
    footer->steps = last.finished_steps;
    footer->finished_step = last.finished_step;
    footer->first_step = footer->steps == 0 ? 0 : first.first_step;
    return FB_OK;
}

/* Nobody may trust what was not read again. */
static fb_status check_result(const char *path, uint64_t events, passes *p, fb_error *err)
{
    fb_trace_info info;
    fb_trace *t;
    fb_status status = fb_trace_open(&t, path, err);

    if (status != FB_OK)
        return status;
    status = fb_trace_verify(&info, t, tell_pass, p, err);
    fb_trace_close(t);
    if (status == FB_OK && (info.status != FB_TRACE_COMPLETE || info.events != events))
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: reads back as %s with %llu events", path,
                        fb_trace_status_name(info.status), (unsigned long long)info.events);
    return status;
}

/* Ends the copy with a footer, reads it again and gives it its name. */
static fb_status publish(fb_trace_file *file, fb_chunk_header *head, const fb_footer *footer,
                         passes *p, fb_error *err)
{
    fb_status status = fb__trace_file_footer(file, head, footer, err);

    if (status == FB_OK)
        status = check_result(file->temporary, footer->events, p, err);
    if (status == FB_OK)
        status = fb__trace_file_publish(file, err);
    return status;
}

/* Events in what is left out, told by chunk headers: the last sound one says how many came before
 * it, and the one that the file ends within how many it was to hold. */
static void count_dropped(fb_recovered *out, fb_trace *t, uint64_t end)
{
    fb_chunk_header cut;

    out->dropped_events = end < t->end ? t->info.events - out->events : 0;
    out->events_known = t->has_footer || t->size <= t->end;
    if (!out->events_known && fb__trace_chunk_header(t, t->end, &cut, NULL) == FB_OK &&
        cut.type == FB_CHUNK_EVENTS && cut.first_event == t->info.events) {
        out->events_known = true;
        out->dropped_events += cut.events;
    }
}

/* Takes t: two readers at once would need twice the memory. whole: nothing of it is lost, and its
 * own end is written again. */
static fb_status write_sound_part(fb_recovered *out, fb_trace *t, const char *to, uint64_t end,
                                  bool whole, passes *p, fb_error *err)
{
    fb_chunk_header head;
    fb_footer footer;
    fb_trace_file file;
    fb_status status = describe(t, end, &head, &footer, err);

    if (status == FB_OK && whole)
        footer = t->footer;
    out->events = footer.events;
    count_dropped(out, t, end);

    if (status == FB_OK)
        status = fb__trace_file_begin(&file, to, err);
    if (status != FB_OK) {
        fb_trace_close(t);
        return status;
    }
    p->before += end;
    status = copy_bytes(t, &file, end, p, err);
    fb_trace_close(t);
    p->before += end;
    if (status == FB_OK)
        status = publish(&file, &head, &footer, p, err);
    return status == FB_OK ? fb__trace_file_close(&file, err)
                           : (fb__trace_file_close(&file, NULL), status);
}

fb_status fb_trace_recover(fb_recovered *out, const char *path, const char *to,
                           void (*progress)(void *, uint64_t, uint64_t), void *argument,
                           fb_error *err)
{
    passes p = {.tell = progress, .argument = argument};
    fb_trace_info found;
    fb_error damage;
    fb_trace *t;
    uint64_t end;
    fb_status status;

    if (one_file(path, to))
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s and %s are one file", path, to);
    status = fb_trace_open(&t, path, err);
    if (status != FB_OK)
        return status;
    p.all = 3 * t->size;
    status = fb_trace_verify(&found, t, tell_pass, &p, &damage);
    if (status != FB_OK) {
        if (err != NULL)
            *err = damage;
        fb_trace_close(t);
        return status;
    }
    /* A damaged chunk ends what can be kept: chains and event numbers of later ones build on it.
     * The footer of a whole trace is written anew. */
    end = found.status == FB_TRACE_CORRUPT && found.damage < t->end ? found.damage : t->end;
    *out = (fb_recovered){.dropped_bytes = t->size > end ? t->size - end : 0};
    if (t->has_footer && end == t->end)
        out->dropped_bytes -= FB_FORMAT_ALIGN; /* it has been written anew */
    return write_sound_part(out, t, to, end, found.status == FB_TRACE_COMPLETE, &p, err);
}
