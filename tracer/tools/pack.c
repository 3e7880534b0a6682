/* SPDX-License-Identifier: Apache-2.0
 *
 * pack.c - a run of several files as one.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "tracer/read/linked.h"
#include "tracer/tools/pieces.h"

static fb_status pack_part(fb_trace_file *file, fb_chunk_header *head, fb__piece *p,
                           const char *path, fb_pace *pace, fb_error *err)
{
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *buffer = malloc(FB__PIECE_BYTES);
    fb_status status =
        buffer == NULL ? fb__pack_memory(err) : fb_hash_file(&p->hash, &p->total, path, err);

    for (p->offset = 0; status == FB_OK && p->offset < p->total; p->offset += p->count) {
        const uint64_t left = p->total - p->offset;
        const size_t want = left < FB__PIECE_BYTES ? (size_t)left : FB__PIECE_BYTES;

        p->bytes = buffer;
        p->count = want;
        if (pread(descriptor, buffer, want, (off_t)p->offset) != (ssize_t)want) {
            status = fb__fail(err, FB_E_IO, p->offset, "%s: changed while it was read", path);
            break;
        }
        head->sequence++;
        status = fb__piece_put(file, head, p, err);
        fb__pace_advance(pace, want);
    }
    free(buffer);
    if (descriptor >= 0)
        (void)close(descriptor);
    return status;
}

static fb_status pack_parts(fb_trace_file *file, fb_chunk_header *head, const fb_linked *linked,
                            const char *path, fb_pace *pace, fb_error *err)
{
    char *folder = strndup(path, (size_t)(fb__pack_base_name(path) - path));
    fb__piece p = {.part = 0};
    fb_status status = folder == NULL ? fb__pack_memory(err) : FB_OK;

    (void)snprintf(p.main, sizeof p.main, "%s", fb__pack_base_name(path));
    for (size_t i = 0; i < linked->count && status == FB_OK; i++) {
        const fb_linked_part *part = &linked->parts[i];
        char *whole = fb__pack_join(folder[0] == '\0' ? "." : folder, part->name);

        p.part = (uint32_t)i;
        memcpy(p.name, part->name, sizeof p.name);
        if (whole == NULL)
            status = fb__pack_memory(err);
        else if (part->status != FB_TRACE_COMPLETE && part->status != FB_TRACE_FULL)
            status = fb__fail(err, FB_E_TORN, FB_NO_OFFSET, "%s: is %s: recover it first", whole,
                              fb_trace_status_name(part->status));
        else
            status = pack_part(file, head, &p, whole, pace, err);
        free(whole);
    }
    free(folder);
    return status;
}

/* Reads what was written: the main trace by its own rules, the parts by their hashes. What is
 * damaged in the copy is so in `from`, byte for byte, unless the disk did it. */
static fb_status check_packed(const char *path, const char *from, const fb_linked *linked,
                              fb_pace *pace, fb_error *err)
{
    fb_chunk_header before, head;
    fb_trace_info info;
    fb_trace *t;
    size_t whole = 0;
    fb__piece p;
    fb_status status = fb_trace_open(&t, path, err);

    if (status != FB_OK)
        return status;
    status = fb_trace_verify(&info, t, fb__pace_within, pace, err);
    for (uint64_t at = fb__piece_first(t, &before);
         status == FB_OK && at < t->end && fb__piece_get(t, at, &head, &p);
         at = fb__align_up(at + fb__chunk_bytes(&head)))
        whole += p.offset + p.count == p.total;
    fb_trace_close(t);
    if (status == FB_OK && info.status == FB_TRACE_CORRUPT)
        return fb__fail(err, FB_E_CORRUPT, info.damage,
                        "%s: its copy is corrupt at byte %" PRIu64 ": see firstbit verify", from,
                        info.damage);
    if (status == FB_OK && (whole != linked->count || info.status == FB_TRACE_TORN))
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: reads back as %s with %zu parts of %zu",
                        path, fb_trace_status_name(info.status), whole, linked->count);
    return status;
}

static fb_status write_packed(fb_trace *t, const fb_linked *linked, const char *path,
                              const char *to, fb_pace *pace, fb_error *err)
{
    fb_chunk_header head = t->last;
    fb_trace_file file;
    fb_status status = fb__trace_file_begin(&file, to, err);

    if (status != FB_OK)
        return status;
    head.codec = FB_CODEC_NONE;
    head.first_event += head.events;
    head.events = head.steps = head.hash_bytes = head.steps_bytes = 0;
    head.first_step = head.last_step;
    status = fb__copy_chunks(t, &file, t->end, pace, err);
    if (status == FB_OK)
        status = pack_parts(&file, &head, linked, path, pace, err);
    if (status == FB_OK)
        status = fb__packed_footer(t, &file, linked->count > 0 ? &head : &t->last, err);
    if (status == FB_OK)
        status = check_packed(file.temporary, path, linked, pace, err);
    if (status == FB_OK)
        status = fb__trace_file_publish(&file, err);
    return status == FB_OK ? fb__trace_file_close(&file, err)
                           : (fb__trace_file_close(&file, NULL), status);
}

static fb_status may_pack(fb_trace *t, const char *path, const char *to, fb_error *err)
{
    const fb_trace_status status = t->info.status;
    fb_chunk_header before;
    struct stat a, b;

    if (stat(path, &a) == 0 && stat(to, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s and %s are one file", path, to);
    if (status != FB_TRACE_COMPLETE && status != FB_TRACE_FULL)
        return fb__fail(err, FB_E_TORN, FB_NO_OFFSET, "%s: is %s: recover it first", path,
                        fb_trace_status_name(status));
    if (!t->has_last)
        return fb__fail(err, FB_E_DATA, FB_NO_OFFSET, "%s: has no events", path);
    if (strlen(fb__pack_base_name(path)) > 255)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "%s: name too long", path);
    if (fb__piece_first(t, &before) < t->end)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: is packed already", path);
    return FB_OK;
}

fb_status fb_trace_pack(size_t *parts, const char *path, const char *to,
                        void (*progress)(void *, uint64_t, uint64_t), void *argument, fb_error *err)
{
    fb_pace pace = {progress, argument, 0, 0};
    fb_linked linked = {0};
    fb_trace *t;
    fb_status status = fb_trace_open(&t, path, err);

    if (status != FB_OK)
        return status;
    status = may_pack(t, path, to, err);
    if (status == FB_OK)
        status = fb_linked_find(&linked, t, path, err);
    if (status == FB_OK && linked.more)
        status = fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "%s: has too many parts", path);
    pace.total = 2 * t->end;
    for (size_t i = 0; i < linked.count; i++)
        pace.total += 2 * linked.parts[i].bytes;
    if (status == FB_OK)
        status = write_packed(t, &linked, path, to, &pace, err);
    *parts = linked.count;
    fb_linked_free(&linked);
    fb_trace_close(t);
    return status;
}
