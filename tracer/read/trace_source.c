/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_source.c - the bytes of a trace file: header, chunk headers, the end, the way back by skip
 * pointers. Every byte that is read is counted.
 */
#include "tracer/read/trace_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

/* Where byte `offset` of the trace lies in its file; *room: how many bytes lie there together. */
static uint64_t place_of(const fb_trace *t, uint64_t offset, uint64_t *room)
{
    const fb_part_place *part = &t->part;
    uint64_t within;

    if (part->piece_bytes == 0) {
        *room = UINT64_MAX;
        return offset;
    }
    within = offset % part->piece_bytes;
    *room = offset < t->size ? t->size - offset : 0;
    if (*room > part->piece_bytes - within)
        *room = part->piece_bytes - within;
    return part->first + offset / part->piece_bytes * part->stride + within;
}

static fb_status read_file(fb_trace *t, void *to, size_t count, uint64_t offset, size_t *got,
                           fb_error *err)
{
    *got = 0;
    while (*got < count) {
        uint64_t room;
        const uint64_t at = place_of(t, offset + *got, &room);
        const size_t want = count - *got < room ? count - *got : (size_t)room;
        const ssize_t n =
            want == 0 ? 0 : pread(t->descriptor, (uint8_t *)to + *got, want, (off_t)at);

        if (n == 0)
            return FB_OK;
        if (n < 0 && errno != EINTR) {
            (void)fb__fail(&t->unread, fb__status_of_errno(errno), offset, "%s: %s", t->path,
                           strerror(errno));
            return fb__fail(err, t->unread.status, offset, "%s", t->unread.text);
        }
        if (n > 0) {
            *got += (size_t)n;
            t->bytes_read += (uint64_t)n;
        }
    }
    return FB_OK;
}

/* From the chunks that the tail file became. */
static size_t read_tail(const fb_trace *t, uint8_t *to, size_t count, uint64_t offset)
{
    const uint64_t at = offset - t->tail_at;

    if (at >= t->tail.count)
        return 0;
    count = count < t->tail.count - at ? count : (size_t)(t->tail.count - at);
    memcpy(to, t->tail.data + at, count);
    return count;
}

fb_status fb__trace_read(fb_trace *t, void *to, size_t count, uint64_t offset, size_t *got,
                         fb_error *err)
{
    size_t before = 0; /* the tail */
    fb_status status = FB_OK;

    if (t->tail.count == 0)
        return read_file(t, to, count, offset, got, err);
    if (offset < t->tail_at) {
        before = count < t->tail_at - offset ? count : (size_t)(t->tail_at - offset);
        status = read_file(t, to, before, offset, got, err);
        /* The padding of the file's last chunk may be missing. */
        memset((uint8_t *)to + *got, 0, before - *got);
    }
    *got = before;
    if (status == FB_OK)
        *got += read_tail(t, (uint8_t *)to + before, count - before, offset + before);
    return status;
}

/* --- Chunks ------------------------------------------------------------------------------------
 */

fb_status fb__trace_chunk_header(fb_trace *t, uint64_t offset, fb_chunk_header *out, fb_error *err)
{
    uint8_t bytes[FB_CHUNK_HEADER_BYTES];
    const char *why = "ends within a chunk header";
    size_t got;
    const fb_status status = fb__trace_read(t, bytes, sizeof bytes, offset, &got, err);

    if (status != FB_OK)
        return status;
    if (got == sizeof bytes && fb__get_chunk_header(out, bytes, t->header.id, offset, &why))
        return FB_OK;
    return fb__fail(err, FB_E_CORRUPT, offset, "%s: byte %llu: %s", t->path,
                    (unsigned long long)offset, why);
}

static fb_status read_body(fb_trace *t, const fb_chunk_header *head, fb_error *err)
{
    const size_t bytes = (size_t)(fb__chunk_bytes(head) - FB_CHUNK_HEADER_BYTES);
    uint8_t *body = fb__chunk_reader_body(&t->chunk);
    fb_status status;
    size_t got;

    if (body == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", t->path);
    status = fb__trace_read(t, body, bytes, head->offset + FB_CHUNK_HEADER_BYTES, &got, err);
    if (status == FB_OK && got < bytes)
        status = fb__fail(err, FB_E_CORRUPT, head->offset,
                          "%s: chunk %llu at byte %llu: the file ends within it", t->path,
                          (unsigned long long)head->sequence, (unsigned long long)head->offset);
    return status;
}

fb_status fb__trace_load(fb_trace *t, const fb_chunk_header *head, fb_error *err)
{
    const size_t bytes = (size_t)(fb__chunk_bytes(head) - FB_CHUNK_HEADER_BYTES);
    uint8_t *body = fb__chunk_reader_body(&t->chunk);
    fb_status status = FB_OK;

    if (body == NULL || !fb__kept_body(&t->kept, head->offset, body, bytes)) {
        status = read_body(t, head, err);
        if (status != FB_OK)
            return status;
        fb__keep_body(&t->kept, head->offset, body, bytes);
    }
    status = fb__chunk_reader_load(&t->chunk, head, err);
    return status == FB_OK ? FB_OK : fb__fail_in(err, status, "%s: ", t->path);
}

static bool has_sound_body(fb_trace *t, const fb_chunk_header *head)
{
    return read_body(t, head, NULL) == FB_OK &&
           fb__check(t->chunk.stored, (size_t)(fb__chunk_bytes(head) - FB_CHUNK_HEADER_BYTES)) ==
               head->body_check;
}

bool fb__trace_sound_chunk(fb_trace *t, uint64_t offset, fb_chunk_header *out)
{
    return fb__trace_chunk_header(t, offset, out, NULL) == FB_OK && has_sound_body(t, out);
}

/* Chunks do not overlap: one that goes beyond the next sound header is none. So no byte is read for
 * two of them, however many headers a hostile file has. */
bool fb__trace_scan_back(fb_trace *t, uint64_t from, uint64_t *end, fb_chunk_header *out)
{
    for (uint64_t at = from / FB_FORMAT_ALIGN * FB_FORMAT_ALIGN; at >= t->header.span;
         at -= FB_FORMAT_ALIGN) {
        const uint64_t most = *end;

        if (fb__trace_chunk_header(t, at, out, NULL) != FB_OK)
            continue;
        *end = at;
        if (at + fb__chunk_bytes(out) <= most && has_sound_body(t, out))
            return true;
    }
    return false;
}

static bool reaches(const fb_chunk_header *head, fb_target target, uint64_t value)
{
    switch (target) {
    case FB_TARGET_FINISHED:
        return head->finished_step != FB_NO_STEP && head->finished_step >= value;
    case FB_TARGET_STEP:
        return head->last_step >= value;
    case FB_TARGET_EVENT:
        break;
    }
    return head->first_event + head->events > value;
}

fb_status fb__trace_find_chunk(fb_trace *t, fb_target target, uint64_t value, fb_chunk_header *out,
                               fb_error *err)
{
    fb_chunk_header found = t->last;

    if (t->info.status == FB_TRACE_CORRUPT && !t->has_last) {
        if (err != NULL)
            *err = t->damage;
        return t->damage.status;
    }
    if (!t->has_last || !reaches(&t->last, target, value))
        return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET, "%s: %s %llu is not in this trace",
                        t->path, target == FB_TARGET_EVENT ? "event" : "step",
                        (unsigned long long)value);
    for (int k = FB_CHUNK_SKIPS; k-- > 0;) {
        fb_chunk_header back;
        fb_status status;

        if (found.skip[k] == 0)
            continue;
        status = fb__trace_chunk_header(t, found.skip[k], &back, err);
        if (status != FB_OK)
            return status;
        if (back.type != FB_CHUNK_EVENTS || back.sequence + (UINT64_C(1) << k) != found.sequence)
            return fb__fail(err, FB_E_CORRUPT, found.offset,
                            "%s: chunk %llu at byte %llu: skip pointer leads astray", t->path,
                            (unsigned long long)found.sequence, (unsigned long long)found.offset);
        if (reaches(&back, target, value))
            found = back;
    }
    *out = found;
    return FB_OK;
}

/* --- Opening -----------------------------------------------------------------------------------
 */

static fb_status open_file(fb_trace *t, fb_error *err)
{
    struct stat st;

    /* Without O_NONBLOCK a pipe would wait for its writer. */
    t->descriptor = open(t->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (t->descriptor < 0 && errno == ENOTDIR)
        return fb__trace_open_packed(t, err);
    if (t->descriptor < 0 || fstat(t->descriptor, &st) != 0)
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", t->path,
                        strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fb__fail(err, FB_E_FORMAT, FB_NO_OFFSET, "%s: not a regular file", t->path);
    t->size = (uint64_t)st.st_size;
    return FB_OK;
}

fb_status fb__trace_open_source(fb_trace *t, const char *path, fb_error *err)
{
    uint8_t fixed[FB_HEADER_BYTES];
    fb_status status;
    size_t got;

    t->path = strdup(path);
    if (t->path == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    status = open_file(t, err);
    if (status == FB_OK)
        status = fb__trace_read(t, fixed, sizeof fixed, 0, &got, err);
    if (status != FB_OK)
        return status;
    status = fb__get_file_header(&t->header, fixed, got, err);
    if (status != FB_OK)
        return fb__fail_in(err, status, "%s: ", path);
    t->json = malloc(t->header.json_bytes + 1);
    if (t->json == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    status = fb__trace_read(t, t->json, t->header.json_bytes, FB_HEADER_BYTES, &got, err);
    if (status != FB_OK)
        return status;
    if (got < t->header.json_bytes)
        return fb__fail(err, FB_E_FORMAT, t->size, "%s: ends within the header, at byte %llu", path,
                        (unsigned long long)t->size);
    t->json[got] = '\0';
    if (!fb__file_header_sound(fixed, t->json, got) || memchr(t->json, 0, got) != NULL)
        return fb__fail(err, FB_E_CORRUPT, 0, "%s: header at byte 0: checksum mismatch", path);
    if (t->header.incompatible != 0)
        return fb__fail(err, FB_E_VERSION, 0,
                        "%s: needs features that this reader does not know (0x%llx)", path,
                        (unsigned long long)t->header.incompatible);
    if (t->header.level < FB_LEVEL_STEPS || t->header.level > FB_LEVEL_VALUES)
        return fb__fail(err, FB_E_CORRUPT, 0, "%s: header at byte 0: unknown level", path);
    return FB_OK;
}

/* --- The end -----------------------------------------------------------------------------------
 */

/* The footer page, and the chunk that it follows. */
static bool find_footer(fb_trace *t, uint64_t offset)
{
    fb_chunk_header head;

    if (!fb__trace_sound_chunk(t, offset, &head) || head.type != FB_CHUNK_FOOTER ||
        !fb__get_footer(&t->footer, t->chunk.stored + head.steps_bytes, head.packed_stored) ||
        t->footer.chunks != head.sequence)
        return false;
    t->end = offset;
    t->has_footer = true;
    if (head.sequence > 0) {
        t->has_last = fb__trace_chunk_header(t, head.skip[0], &t->last, &t->damage) == FB_OK &&
                      t->last.type == FB_CHUNK_EVENTS && t->last.sequence + 1 == head.sequence &&
                      fb__align_up(head.skip[0] + fb__chunk_bytes(&t->last)) == offset;
        if (!t->has_last) {
            t->info.status = FB_TRACE_CORRUPT;
            t->info.damage = head.skip[0];
            (void)fb__fail(&t->damage, FB_E_CORRUPT, head.skip[0],
                           "%s: byte %llu: the last chunk before the footer is damaged", t->path,
                           (unsigned long long)head.skip[0]);
        }
    }
    return true;
}

static void describe_tear(fb_trace *t)
{
    const uint64_t sound = t->tail.count > 0 ? t->tail_at : t->end;
    char tail[64] = "";

    if (t->tail.count > 0)
        (void)snprintf(tail, sizeof tail, ", and %llu events in its tail file",
                       (unsigned long long)t->tail_events);
    t->info.status = FB_TRACE_TORN;
    t->info.damage = sound < t->size ? sound : t->size;
    (void)fb__fail(&t->damage, FB_E_TORN, t->info.damage,
                   "%s: ends early: sound up to byte %llu of %llu%s", t->path,
                   (unsigned long long)t->info.damage, (unsigned long long)t->size, tail);
}

/* No footer where one belongs: the last sound chunk tells where the trace ends. */
static void find_tear(fb_trace *t)
{
    fb_chunk_header head;
    uint64_t from = t->size, next = UINT64_MAX;

    t->end = t->header.span;
    while (from >= t->header.span && fb__trace_scan_back(t, from, &next, &head)) {
        if (head.type == FB_CHUNK_EVENTS) {
            t->last = head;
            t->has_last = true;
            t->end = fb__align_up(head.offset + fb__chunk_bytes(&head));
            break;
        }
        if (head.offset < FB_FORMAT_ALIGN)
            break;
        from = head.offset - 1;
    }
}

static void fill_totals(fb_trace *t)
{
    fb_trace_info *info = &t->info;
    fb_chunk_header first;

    info->first_step = 1; /* none: first > last */
    info->first_nonfinite = FB_NO_EVENT;
    info->recovered = t->has_footer && t->footer.recovered;
    info->elapsed_ns = t->has_footer ? t->footer.elapsed_ns : 0;
    info->own_ns = t->has_footer ? t->footer.own_ns : 0;
    info->reason = info->status == FB_TRACE_COMPLETE ? ""
                   : info->status == FB_TRACE_FULL   ? t->footer.reason
                                                     : t->damage.text;
    if (!t->has_last)
        return;
    info->events = t->last.first_event + t->last.events;
    info->chunks = t->last.sequence + 1;
    info->first_nonfinite = t->last.first_nonfinite;
    if (t->last.finished_step == FB_NO_STEP)
        return;
    info->steps = t->last.finished_steps;
    info->last_step = t->last.finished_step;
    if (fb__trace_chunk_header(t, t->header.span, &first, NULL) == FB_OK)
        info->first_step = first.first_step;
}

static void look_for_end(fb_trace *t)
{
    t->info.status = FB_TRACE_COMPLETE;
    t->info.damage = FB_NO_OFFSET;
    t->has_last = t->has_footer = false;
    if (t->size < t->header.span + FB_FORMAT_ALIGN || t->size % FB_FORMAT_ALIGN != 0 ||
        !find_footer(t, t->size - FB_FORMAT_ALIGN))
        find_tear(t);
    else if (t->info.status == FB_TRACE_COMPLETE && t->footer.status == FB_TRACE_FULL)
        t->info.status = FB_TRACE_FULL;
}

/* What was committed when the tail was looked at is in what was seen of it or in the file by now:
 * a program that goes on may have sealed rows meanwhile, or closed the trace. */
static fb_status look_behind_tail(fb_trace *t, fb_error *err)
{
    struct stat now;

    if (t->part.piece_bytes != 0) /* lies within a packed trace */
        return FB_OK;
    if (fstat(t->descriptor, &now) != 0)
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", t->path,
                        strerror(errno));
    if ((uint64_t)now.st_size != t->size) {
        t->size = t->info.bytes = (uint64_t)now.st_size;
        look_for_end(t);
    }
    return FB_OK;
}

/* The trace has no end: what its tail adds. */
static fb_status join_tail(fb_trace *t, fb_error *err)
{
    fb_tail_copy tail;
    fb_status status = fb__trace_copy_tail(&tail, t, err);

    if (status == FB_OK)
        status = look_behind_tail(t, err);
    if (status == FB_OK && !t->has_footer) {
        status = fb__trace_join_tail(t, &tail, err);
        describe_tear(t);
    }
    fb__tail_copy_free(&tail);
    return status;
}

fb_status fb__trace_find_end(fb_trace *t, fb_error *err)
{
    fb_status status = FB_OK;

    t->info.version = t->header.version;
    t->info.id = t->header.id;
    t->info.level = t->header.level;
    t->info.bytes = t->size;
    t->info.header = t->json;
    if (fb__chunk_reader_body(&t->chunk) == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", t->path);
    look_for_end(t);
    if (!t->has_footer)
        status = join_tail(t, err);
    fill_totals(t);
    if (status == FB_OK && t->unread.status != FB_OK) { /* which is no damage of the trace */
        status = t->unread.status;
        if (err != NULL)
            *err = t->unread;
    }
    return status;
}
