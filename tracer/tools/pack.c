/* SPDX-License-Identifier: Apache-2.0
 *
 * pack.c - a run of several files as one, and back.
 *
 * The parts ride in chunks behind the main trace's own: chunks without events, whose only section
 * may be skipped. So every reader of version 1 takes the file for the main trace. A piece:
 *
 *     0 u32 part   4 u32 bytes of names   8 u64 offset in the part   16 u64 bytes of the part
 *     24 hash of the part   40 names: main file, zero, this file   then bytes of the part
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "tracer/tools/chunk_link.h"
#include "tracer/tools/pace.h"
#include "tracer/read/linked.h"
#include "tracer/format/trace_file.h"
#include "tracer/read/trace_state.h"

enum {
    SECTION_PART = 96,
    PIECE_HEAD = 40,
    PIECE_BYTES = 1 << 20, /* of a part in one chunk */
    NAMES_MAX = 512,
    PIECE_LOOK = 30 + PIECE_HEAD + NAMES_MAX, /* all of a piece but its bytes */
};

typedef struct piece {
    uint32_t part;
    uint64_t offset, total;
    fb_hash hash;
    char main[256], name[256];
    const uint8_t *bytes;
    size_t count;
} piece;

static fb_status no_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

static const char *base_name(const char *path)
{
    return strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
}

static char *join(const char *folder, const char *name)
{
    const size_t count = strlen(folder);
    const bool ends = count > 0 && folder[count - 1] == '/';
    char *path;

    return asprintf(&path, "%s%s%s", folder, ends ? "" : "/", name) < 0 ? NULL : path;
}

/* --- Copying -----------------------------------------------------------------------------------
 */

static fb_status copy_trace(fb_trace *t, fb_trace_file *file, uint64_t end, fb_pace *pace,
                            fb_error *err)
{
    uint8_t *buffer = malloc(PIECE_BYTES);
    fb_status status = buffer == NULL ? no_memory(err) : FB_OK;

    for (uint64_t from = 0; from < end && status == FB_OK;) {
        const size_t count = end - from < PIECE_BYTES ? (size_t)(end - from) : PIECE_BYTES;
        size_t got;

        memset(buffer, 0, count);
        status = fb__trace_read(t, buffer, count, from, &got, err);
        if (status == FB_OK)
            status = fb__trace_file_append(file, buffer, count, err);
        from += count;
        fb__pace_advance(pace, count);
    }
    free(buffer);
    return status;
}

/* The footer of the trace behind chunks up to `last`. */
static fb_status put_footer(const fb_trace *t, fb_trace_file *file, const fb_chunk_header *last,
                            fb_error *err)
{
    fb_footer footer = t->footer;
    fb_chunk_header head = *last;

    footer.chunks = head.sequence = last->sequence + 1;
    head.first_event = footer.events;
    head.offset = file->bytes;
    head.staged = 0;
    memset(head.skip, 0, sizeof head.skip);
    head.skip[0] = last->offset;
    return fb__trace_file_footer(file, &head, &footer, err);
}

/* --- Pieces ------------------------------------------------------------------------------------
 */

static fb_status put_piece(fb_trace_file *file, fb_chunk_header *head, const piece *p,
                           fb_error *err)
{
    const uint32_t names = (uint32_t)(strlen(p->main) + 1 + strlen(p->name));
    const size_t section = PIECE_HEAD + names + p->count;
    static const uint8_t zeros[FB_FORMAT_ALIGN];
    uint8_t fixed[FB_CHUNK_HEADER_BYTES];
    fb_buffer image = {0};
    fb_status status;

    fb_buffer_append(&image, zeros, FB_CHUNK_HEADER_BYTES);
    fb_buffer_varint(&image, 1);
    fb_buffer_varint(&image, SECTION_PART);
    fb_buffer_varint(&image, section);
    fb_buffer_u32(&image, p->part);
    fb_buffer_u32(&image, names);
    fb_buffer_u64(&image, p->offset);
    fb_buffer_u64(&image, p->total);
    fb_buffer_u64(&image, p->hash.lo);
    fb_buffer_u64(&image, p->hash.hi);
    fb_buffer_append(&image, p->main, strlen(p->main) + 1);
    fb_buffer_append(&image, p->name, strlen(p->name));
    fb_buffer_append(&image, p->bytes, p->count);
    if (image.failed) {
        fb_buffer_free(&image);
        return no_memory(err);
    }
    head->packed_raw = head->packed_stored = (uint32_t)(image.count - FB_CHUNK_HEADER_BYTES);
    head->steps_check = fb__check(NULL, 0);
    head->body_check = fb__check(image.data + FB_CHUNK_HEADER_BYTES, head->packed_stored);
    fb_buffer_append(&image, zeros, (size_t)(fb__align_up(image.count) - image.count));
    status = image.failed ? no_memory(err) : fb__chunk_link(head, file, head->offset, err);
    if (status == FB_OK) {
        fb__put_chunk_header(fixed, head);
        memcpy(image.data, fixed, sizeof fixed);
        status = fb__trace_file_append(file, image.data, image.count, err);
    }
    fb_buffer_free(&image);
    return status;
}

/* Whether a name can be a file's in a folder, and no more. */
static bool is_plain_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

static bool may_hold_piece(const fb_chunk_header *head)
{
    return head->type == FB_CHUNK_EVENTS && head->events == 0 && head->steps == 0 &&
           head->steps_bytes == 0 && head->codec == FB_CODEC_NONE;
}

/* A piece as far as `b` holds it, which is all of the chunk's body or its first bytes; `left`: of
 * the body. p->bytes is where its bytes begin. False where it is a chunk of another kind. */
static bool parse_piece(fb_bytes b, uint64_t left, piece *p)
{
    const uint8_t *const start = b.at;
    const uint8_t *names, *zero;
    uint64_t sections, kind, section;
    uint32_t count;

    sections = fb_bytes_varint(&b);
    kind = fb_bytes_varint(&b);
    if (sections != 1 || kind != SECTION_PART)
        return false;
    section = fb_bytes_varint(&b);
    left -= (uint64_t)(b.at - start) < left ? (uint64_t)(b.at - start) : left;
    p->part = fb_bytes_u32(&b);
    count = fb_bytes_u32(&b);
    p->offset = fb_bytes_u64(&b);
    p->total = fb_bytes_u64(&b);
    p->hash.lo = fb_bytes_u64(&b);
    p->hash.hi = fb_bytes_u64(&b);
    if (b.failed || count > NAMES_MAX || section < PIECE_HEAD + (uint64_t)count || section != left)
        return false;
    names = fb_bytes_take(&b, count);
    zero = names == NULL ? NULL : memchr(names, 0, count);
    if (zero == NULL || zero - names > 255 || names + count - zero - 1 > 255)
        return false;
    (void)snprintf(p->main, sizeof p->main, "%s", (const char *)names);
    (void)snprintf(p->name, sizeof p->name, "%.*s", (int)(names + count - zero - 1),
                   (const char *)zero + 1);
    p->bytes = b.at;
    p->count = (size_t)(section - PIECE_HEAD - count);
    return is_plain_name(p->main) && is_plain_name(p->name) && strcmp(p->main, p->name) != 0 &&
           p->count <= PIECE_BYTES && p->offset <= p->total && p->count <= p->total - p->offset;
}

/* The piece in the chunk at `offset`, checked, whose bytes lie in the reader's buffer until the
 * next one. False where there is a chunk of another kind; that is no failure. */
static bool get_piece(fb_trace *t, uint64_t offset, fb_chunk_header *head, piece *p)
{
    return fb__trace_sound_chunk(t, offset, head) && may_hold_piece(head) &&
           parse_piece(fb_bytes_of(t->chunk.stored, head->packed_stored), head->packed_stored, p);
}

/* The same without its bytes, which are not read: p->bytes is NULL, *bytes_at where they lie in the
 * file. What they hold is checked by who reads the part. */
static bool look_at_piece(fb_trace *t, uint64_t offset, fb_chunk_header *head, piece *p,
                          uint64_t *bytes_at)
{
    uint8_t bytes[PIECE_LOOK];
    const uint64_t body = offset + FB_CHUNK_HEADER_BYTES;
    size_t got;

    if (fb__trace_chunk_header(t, offset, head, NULL) != FB_OK || !may_hold_piece(head) ||
        fb__trace_read(t, bytes, sizeof bytes, body, &got, NULL) != FB_OK)
        return false;
    got = got < head->packed_stored ? got : head->packed_stored;
    if (!parse_piece(fb_bytes_of(bytes, got), head->packed_stored, p))
        return false;
    *bytes_at = body + (uint64_t)(p->bytes - bytes);
    p->bytes = NULL;
    return true;
}

/* Where the pieces begin; the end of the chunks where there are none. *before: the last chunk of
 * the main trace itself. */
static uint64_t first_piece(fb_trace *t, fb_chunk_header *before)
{
    uint64_t at = t->end, bytes_at;
    fb_chunk_header head;
    piece p;

    *before = t->last;
    while (t->has_last && before->sequence > 0 &&
           look_at_piece(t, before->offset, &head, &p, &bytes_at)) {
        at = before->offset;
        if (fb__trace_chunk_header(t, head.skip[0], before, NULL) != FB_OK)
            break;
    }
    return at;
}

/* "child1" of run.child1.fbt in a run whose main trace was run.fbt. */
static void role_of_piece(fb_linked_part *part, const piece *p)
{
    const size_t main = fb__linked_stem(p->main), own = fb__linked_stem(p->name);

    if (own > main + 1 && strncmp(p->name, p->main, main) == 0)
        (void)snprintf(part->role, sizeof part->role, "%.*s", (int)(own - main - 1),
                       p->name + main + 1);
    fb__make_word(part->role);
}

fb_status fb_packed_find(fb_linked *out, fb_trace *packed, fb_error *err)
{
    fb_chunk_header before, head;
    uint64_t at, bytes_at;
    piece p;

    *out = (fb_linked){.parts = calloc(FB_LINKED_MAX, sizeof *out->parts)};
    if (out->parts == NULL)
        return no_memory(err);
    for (at = first_piece(packed, &before);
         at < packed->end && look_at_piece(packed, at, &head, &p, &bytes_at);
         at = fb__align_up(at + fb__chunk_bytes(&head))) {
        fb_linked_part *part = &out->parts[out->count];

        if (p.offset != 0)
            continue;
        if (out->count == FB_LINKED_MAX) {
            out->more = true;
            break;
        }
        memcpy(part->name, p.name, sizeof part->name);
        role_of_piece(part, &p);
        part->inside = true;
        part->bytes = p.total;
        out->count++;
    }
    return FB_OK;
}

/* --- Reading a part where it lies --------------------------------------------------------------
 */

/* Takes the part's pieces one after the other. False where there is none, or where they do not lie
 * as this program writes them. */
static bool find_place(fb_trace *packed, const char *name, fb_part_place *place, uint64_t *total)
{
    uint64_t bytes_at = 0, done = 0, count = 0;
    fb_chunk_header before, head;
    bool found = false;
    piece p;

    for (uint64_t at = first_piece(packed, &before);
         at < packed->end && look_at_piece(packed, at, &head, &p, &bytes_at);
         at = fb__align_up(at + fb__chunk_bytes(&head))) {
        if (found && done == *total)
            return true;
        if (strcmp(p.name, name) != 0)
            continue;
        if (p.offset != done || p.count == 0 || (found && p.total != *total))
            return false;
        if (count == 0)
            *place = (fb_part_place){bytes_at, 0, p.count};
        else if (count == 1)
            place->stride = bytes_at - place->first;
        if (bytes_at != place->first + count * place->stride ||
            (p.count != place->piece_bytes && done + p.count != p.total))
            return false;
        found = true;
        *total = p.total;
        done += p.count;
        count++;
    }
    return found && done == *total;
}

fb_status fb__trace_open_packed(fb_trace *t, fb_error *err)
{
    const char *name = base_name(t->path);
    char *path = name == t->path ? NULL : strndup(t->path, (size_t)(name - t->path - 1));
    fb_trace *packed = NULL;
    struct stat st;
    fb_status status;

    /* A folder on the way that is none, and no packed trace either: as the system says it. */
    if (path == NULL || stat(path, &st) != 0 || !S_ISREG(st.st_mode) ||
        fb_trace_open(&packed, path, NULL) != FB_OK)
        status = fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET, "%s: %s", t->path, strerror(ENOTDIR));
    else if (!find_place(packed, name, &t->part, &t->size))
        status = fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET, "%s: holds no such part", t->path);
    else {
        t->descriptor = packed->descriptor;
        packed->descriptor = -1;
        status = FB_OK;
    }
    fb_trace_close(packed);
    free(path);
    return status;
}

/* --- Packing -----------------------------------------------------------------------------------
 */

static fb_status pack_part(fb_trace_file *file, fb_chunk_header *head, piece *p, const char *path,
                           fb_pace *pace, fb_error *err)
{
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *buffer = malloc(PIECE_BYTES);
    fb_status status =
        buffer == NULL ? no_memory(err) : fb_hash_file(&p->hash, &p->total, path, err);

    for (p->offset = 0; status == FB_OK && p->offset < p->total; p->offset += p->count) {
        const uint64_t left = p->total - p->offset;
        const size_t want = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;

        p->bytes = buffer;
        p->count = want;
        if (pread(descriptor, buffer, want, (off_t)p->offset) != (ssize_t)want) {
            status = fb__fail(err, FB_E_IO, p->offset, "%s: changed while it was read", path);
            break;
        }
        head->sequence++;
        status = put_piece(file, head, p, err);
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
    char *folder = strndup(path, (size_t)(base_name(path) - path));
    piece p = {.part = 0};
    fb_status status = folder == NULL ? no_memory(err) : FB_OK;

    (void)snprintf(p.main, sizeof p.main, "%s", base_name(path));
    for (size_t i = 0; i < linked->count && status == FB_OK; i++) {
        const fb_linked_part *part = &linked->parts[i];
        char *whole = join(folder[0] == '\0' ? "." : folder, part->name);

        p.part = (uint32_t)i;
        memcpy(p.name, part->name, sizeof p.name);
        if (whole == NULL)
            status = no_memory(err);
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

/* Reads what was written: the main trace by its own rules, the parts by their hashes. */
static fb_status check_packed(const char *path, const fb_linked *linked, fb_pace *pace,
                              fb_error *err)
{
    fb_chunk_header before, head;
    fb_trace_info info;
    fb_trace *t;
    size_t whole = 0;
    piece p;
    fb_status status = fb_trace_open(&t, path, err);

    if (status != FB_OK)
        return status;
    status = fb_trace_verify(&info, t, fb__pace_within, pace, err);
    for (uint64_t at = first_piece(t, &before);
         status == FB_OK && at < t->end && get_piece(t, at, &head, &p);
         at = fb__align_up(at + fb__chunk_bytes(&head)))
        whole += p.offset + p.count == p.total;
    fb_trace_close(t);
    if (status == FB_OK &&
        (whole != linked->count || info.status == FB_TRACE_TORN || info.status == FB_TRACE_CORRUPT))
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
    status = copy_trace(t, &file, t->end, pace, err);
    if (status == FB_OK)
        status = pack_parts(&file, &head, linked, path, pace, err);
    if (status == FB_OK)
        status = put_footer(t, &file, linked->count > 0 ? &head : &t->last, err);
    if (status == FB_OK)
        status = check_packed(file.temporary, linked, pace, err);
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
    if (strlen(base_name(path)) > 255)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "%s: name too long", path);
    if (first_piece(t, &before) < t->end)
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

/* --- Unpacking ---------------------------------------------------------------------------------
 */

/* Begins a file of the folder that is not there yet. */
static fb_status begin_file(fb_trace_file *file, const char *folder, const char *name,
                            fb_error *err)
{
    char *path = join(folder, name);
    fb_status status;

    if (path == NULL)
        return no_memory(err);
    status = access(path, F_OK) == 0
                 ? fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: is there already", path)
                 : fb__trace_file_begin(file, path, err);
    free(path);
    return status;
}

static fb_status end_file(fb_trace_file *file, fb_status status, fb_error *err)
{
    if (status == FB_OK)
        status = fb__trace_file_publish(file, err);
    return status == FB_OK ? fb__trace_file_close(file, err)
                           : (fb__trace_file_close(file, NULL), status);
}

static fb_status unpack_main(fb_trace *t, const fb_chunk_header *last, uint64_t end,
                             const char *folder, const char *name, fb_pace *pace, fb_error *err)
{
    fb_trace_file file;
    fb_status status = begin_file(&file, folder, name, err);

    if (status != FB_OK)
        return status;
    status = copy_trace(t, &file, end, pace, err);
    if (status == FB_OK)
        status = put_footer(t, &file, last, err);
    return end_file(&file, status, err);
}

/* One part, from its first piece at *at; leaves *at behind its last one. */
static fb_status unpack_part(fb_trace *t, uint64_t *at, const char *folder, fb_pace *pace,
                             fb_error *err)
{
    fb_chunk_header head;
    fb_trace_file file;
    fb_hash hash = {0, 0}, found = {0, 0};
    uint64_t done = 0, total = 0;
    fb_status status;
    piece p;

    if (!get_piece(t, *at, &head, &p))
        return fb__fail(err, FB_E_CORRUPT, *at, "%s: byte %llu: not a piece of a part", t->path,
                        (unsigned long long)*at);
    hash = p.hash;
    total = p.total;
    status = begin_file(&file, folder, p.name, err);
    if (status != FB_OK)
        return status;
    while (status == FB_OK && done < total) {
        if (*at >= t->end || !get_piece(t, *at, &head, &p) || p.offset != done || p.count == 0) {
            status = fb__fail(err, FB_E_CORRUPT, *at, "%s: byte %llu: a piece of %s is missing",
                              t->path, (unsigned long long)*at, file.path);
            break;
        }
        status = fb__trace_file_append(&file, p.bytes, p.count, err);
        done += p.count;
        fb__pace_advance(pace, p.count);
        *at = fb__align_up(*at + fb__chunk_bytes(&head));
    }
    if (status == FB_OK)
        status = fb_hash_file(&found, NULL, file.temporary, err);
    if (status == FB_OK && !fb_hash_equal(found, hash))
        status = fb__fail(err, FB_E_CORRUPT, *at, "%s: %s is not what was packed", t->path, p.name);
    return end_file(&file, status, err);
}

fb_status fb_trace_unpack(size_t *files, const char *path, const char *folder,
                          void (*progress)(void *, uint64_t, uint64_t), void *argument,
                          fb_error *err)
{
    fb_pace pace = {progress, argument, 0, 0};
    fb_chunk_header last, head;
    fb_trace *t;
    uint64_t at, end;
    piece p;
    fb_status status = fb_trace_open(&t, path, err);

    *files = 0;
    if (status != FB_OK)
        return status;
    at = end = first_piece(t, &last);
    pace.total = t->size;
    if (t->info.status != FB_TRACE_COMPLETE && t->info.status != FB_TRACE_FULL)
        status = fb__fail(err, FB_E_TORN, FB_NO_OFFSET, "%s: is %s", path,
                          fb_trace_status_name(t->info.status));
    else if (at >= t->end || !get_piece(t, at, &head, &p))
        status = fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s: is not a packed trace", path);
    else
        status = unpack_main(t, &last, end, folder, p.main, &pace, err);
    for (*files = status == FB_OK; status == FB_OK && at < t->end; *files += status == FB_OK)
        status = unpack_part(t, &at, folder, &pace, err);
    fb_trace_close(t);
    return status;
}
