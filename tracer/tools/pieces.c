/* SPDX-License-Identifier: Apache-2.0
 *
 * pieces.c - pieces of files in the chunks of a packed trace.
 */
#include "tracer/tools/pieces.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "tracer/tools/chunk_link.h"

enum {
    SECTION_PART = 96,
    PIECE_HEAD = 40,
    NAMES_MAX = 512,
    PIECE_LOOK = 30 + PIECE_HEAD + NAMES_MAX, /* all of a piece but its bytes */
};

const char *fb__pack_base_name(const char *path)
{
    return strrchr(path, '/') == NULL ? path : strrchr(path, '/') + 1;
}

char *fb__pack_join(const char *folder, const char *name)
{
    const size_t count = strlen(folder);
    const bool ends = count > 0 && folder[count - 1] == '/';
    char *path;

    return asprintf(&path, "%s%s%s", folder, ends ? "" : "/", name) < 0 ? NULL : path;
}

fb_status fb__copy_chunks(fb_trace *t, fb_trace_file *file, uint64_t end, fb_pace *pace,
                          fb_error *err)
{
    uint8_t *buffer = malloc(FB__PIECE_BYTES);
    fb_status status = buffer == NULL ? fb__pack_memory(err) : FB_OK;

    for (uint64_t from = 0; from < end && status == FB_OK;) {
        const size_t count = end - from < FB__PIECE_BYTES ? (size_t)(end - from) : FB__PIECE_BYTES;
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

fb_status fb__packed_footer(const fb_trace *t, fb_trace_file *file, const fb_chunk_header *last,
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

fb_status fb__piece_put(fb_trace_file *file, fb_chunk_header *head, const fb__piece *p,
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
        return fb__pack_memory(err);
    }
    head->packed_raw = head->packed_stored = (uint32_t)(image.count - FB_CHUNK_HEADER_BYTES);
    head->steps_check = fb__check(NULL, 0);
    head->body_check = fb__check(image.data + FB_CHUNK_HEADER_BYTES, head->packed_stored);
    fb_buffer_append(&image, zeros, (size_t)(fb__align_up(image.count) - image.count));
    status = image.failed ? fb__pack_memory(err) : fb__chunk_link(head, file, head->offset, err);
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
static bool parse_piece(fb_bytes b, uint64_t left, fb__piece *p)
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
           p->count <= FB__PIECE_BYTES && p->offset <= p->total && p->count <= p->total - p->offset;
}

bool fb__piece_get(fb_trace *t, uint64_t offset, fb_chunk_header *head, fb__piece *p)
{
    return fb__trace_sound_chunk(t, offset, head) && may_hold_piece(head) &&
           parse_piece(fb_bytes_of(t->chunk.stored, head->packed_stored), head->packed_stored, p);
}

bool fb__piece_look(fb_trace *t, uint64_t offset, fb_chunk_header *head, fb__piece *p,
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

uint64_t fb__piece_first(fb_trace *t, fb_chunk_header *before)
{
    uint64_t at = t->end, bytes_at;
    fb_chunk_header head;
    fb__piece p;

    *before = t->last;
    while (t->has_last && before->sequence > 0 &&
           fb__piece_look(t, before->offset, &head, &p, &bytes_at)) {
        at = before->offset;
        if (fb__trace_chunk_header(t, head.skip[0], before, NULL) != FB_OK)
            break;
    }
    return at;
}
