/* SPDX-License-Identifier: Apache-2.0
 *
 * tail.c - the tail file: its name, its head, its making and its end.
 */
#include "tracer/format/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "tracer/format/format.h"
#include "tracer/format/size_guard.h"

static const uint8_t tail_magic[8] = {'F', 'B', 'T', 'A', 'I', 'L', 1, 0};

/* Magic, id, bytes of a half, then zeros, then the check of all that. */
enum { HEAD_ID = 8, HEAD_HALF = 24, HEAD_CHECK = FB_TAIL_HEAD_BYTES - 8 };

char *fb__tail_path(const char *trace_path)
{
    static const char suffix[] = "-tail";
    const size_t count = strlen(trace_path);
    char *path = malloc(count + sizeof suffix);

    if (path != NULL) {
        memcpy(path, trace_path, count);
        memcpy(path + count, suffix, sizeof suffix);
    }
    return path;
}

void fb__put_tail_head(uint8_t out[FB_TAIL_HEAD_BYTES], fb_hash id, uint64_t half_bytes)
{
    uint64_t check;

    memset(out, 0, FB_TAIL_HEAD_BYTES);
    memcpy(out, tail_magic, sizeof tail_magic);
    memcpy(out + HEAD_ID, &id, sizeof id);
    memcpy(out + HEAD_HALF, &half_bytes, sizeof half_bytes);
    check = fb__check(out, HEAD_CHECK);
    memcpy(out + HEAD_CHECK, &check, sizeof check);
}

bool fb__get_tail_head(const uint8_t bytes[FB_TAIL_HEAD_BYTES], fb_hash id, uint64_t *half_bytes)
{
    uint64_t check;

    memcpy(&check, bytes + HEAD_CHECK, sizeof check);
    memcpy(half_bytes, bytes + HEAD_HALF, sizeof *half_bytes);
    return memcmp(bytes, tail_magic, sizeof tail_magic) == 0 &&
           memcmp(bytes + HEAD_ID, &id, sizeof id) == 0 && check == fb__check(bytes, HEAD_CHECK) &&
           *half_bytes >= FB_TAIL_HALF_HEAD_BYTES && *half_bytes <= FB_TAIL_HALF_MAX &&
           *half_bytes % 8 == 0;
}

uint32_t fb__tail_check(uint64_t sequence, const uint8_t *row, size_t bytes)
{
    const size_t from = offsetof(fb_tail_row_head, type);

    return (uint32_t)(fb__check(row + from, bytes - from) + sequence);
}

/* --- The area ----------------------------------------------------------------------------------
 */

static size_t area_bytes(size_t half_bytes)
{
    return FB_TAIL_HEAD_BYTES + FB_TAIL_HALVES * half_bytes;
}

/* Room behind the halves for the chunks of one of them and the footer, whatever else is full. */
static size_t reserve_bytes(size_t half_bytes)
{
    return half_bytes + (size_t)4 * FB_FORMAT_ALIGN;
}

/* A mapped file whose blocks are all allocated: a write into it cannot fail later. */
static uint8_t *map_file(fb_stage *s, size_t half_bytes, size_t reserve)
{
    const size_t bytes = area_bytes(half_bytes);
    fb_size_guard guard;
    uint8_t *map;
    int failure;

    fb__size_guard_begin(&guard);
    failure = posix_fallocate(s->descriptor, 0, (off_t)(bytes + reserve));
    fb__size_guard_end(&guard);
    if (failure != 0) {
        if (ftruncate(s->descriptor, 0) != 0) /* gives back what it got */
            errno = failure;
        return NULL;
    }
    map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->descriptor, 0);
    return map == MAP_FAILED ? NULL : map;
}

static bool open_file(fb_stage *s)
{
    s->descriptor = -1;
    if (s->path == NULL)
        return false;
    (void)unlink(s->path);
    s->descriptor = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (s->descriptor < 0)
        return false;
    for (size_t half = FB_TAIL_HALF_MAX; half >= FB_TAIL_HALF_MIN && s->map == NULL; half /= 2) {
        s->map = map_file(s, half, reserve_bytes(half));
        s->half_bytes = half;
    }
    if (s->map == NULL)
        s->map = map_file(s, s->half_bytes, 0);
    s->on_disk = s->map != NULL;
    if (!s->on_disk) {
        (void)close(s->descriptor);
        (void)unlink(s->path);
        s->descriptor = -1;
    }
    return s->on_disk;
}

void fb__stage_give_reserve(const fb_stage *s)
{
    if (s->on_disk && ftruncate(s->descriptor, (off_t)s->map_bytes) != 0)
        errno = 0; /* then it stays */
}

void fb__stage_give_half(const fb_stage *s, unsigned half)
{
    if (s->on_disk &&
        fallocate(s->descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(FB_TAIL_HEAD_BYTES + half * s->half_bytes), (off_t)s->half_bytes) != 0)
        errno = 0; /* not on every file system */
}

fb_status fb__stage_open(fb_stage *s, const char *trace_path, fb_hash id, fb_error *err)
{
    *s = (fb_stage){.path = fb__tail_path(trace_path)};
    if (!open_file(s)) {
        s->half_bytes = FB_TAIL_HALF_MAX;
        s->map = mmap(NULL, area_bytes(s->half_bytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (s->map == MAP_FAILED) {
            s->map = NULL;
            fb__stage_close(s, false);
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", trace_path);
        }
    }
    s->map_bytes = area_bytes(s->half_bytes);
    fb__put_tail_head(s->map, id, s->half_bytes);
    fb__stage_begin(s, 0);
    return FB_OK;
}

void fb__stage_close(fb_stage *s, bool remove)
{
    if (s->map != NULL)
        (void)munmap(s->map, s->map_bytes);
    if (s->on_disk) {
        (void)close(s->descriptor);
        if (remove)
            (void)unlink(s->path);
    }
    free(s->path);
    free(s->sites.of);
    free(s->frames.of);
    free(s->modules.of);
    *s = (fb_stage){.descriptor = -1};
}

void fb__stage_begin_in(fb_stage *s, fb_tail_half_head *head, uint8_t *rows, size_t room)
{
    s->head = head;
    s->rows = rows;
    s->room = room;
    s->used = 0;
    s->sequence++;
    s->epoch++;
    s->has_place = false;
    /* Whoever finds this half after a crash sees no rows before they are those of `sequence`. */
    __atomic_store_n(&head->committed, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&head->first_event, s->events, __ATOMIC_RELEASE);
    __atomic_store_n(&head->sequence, s->sequence, __ATOMIC_RELEASE);
}

void fb__stage_begin(fb_stage *s, unsigned half)
{
    uint8_t *at = s->map + FB_TAIL_HEAD_BYTES + half * s->half_bytes;

    s->half = half;
    fb__stage_begin_in(s, (fb_tail_half_head *)(void *)at, at + FB_TAIL_HALF_HEAD_BYTES,
                       s->half_bytes - FB_TAIL_HALF_HEAD_BYTES);
}

void fb__stage_sync(const fb_stage *s)
{
    if (s->on_disk)
        (void)msync(s->map, s->map_bytes, MS_SYNC);
}
