/* SPDX-License-Identifier: Apache-2.0
 *
 * damage.h - what the tests of damaged traces share: a trace in memory beside a digest of each of
 * its events, the chunks and tail rows that it consists of, and the reading of a damaged copy.
 */
#ifndef FB_TESTS_DAMAGE_H
#define FB_TESTS_DAMAGE_H

#include "tests/tracer/trace_fixture.h"

#include <sys/mman.h>

#include "tracer/format/format.h"

/* A number from the environment: how thorough to be. */
static inline uint64_t thoroughness(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

typedef struct file_copy {
    uint8_t *bytes;
    size_t count;
} file_copy;

static inline file_copy load_file(const char *path)
{
    file_copy copy = {NULL, 0};
    const int descriptor = open(path, O_RDONLY);
    const off_t size = lseek(descriptor, 0, SEEK_END);

    assert_true(size > 0);
    copy.count = (size_t)size;
    copy.bytes = malloc(copy.count);
    assert_int_equal(pread(descriptor, copy.bytes, copy.count, 0), size);
    assert_int_equal(close(descriptor), 0);
    return copy;
}

static inline void store_file(const char *path, const void *bytes, size_t count)
{
    const int descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);

    assert_int_equal(pwrite(descriptor, bytes, count, 0), count);
    assert_int_equal(close(descriptor), 0);
}

/* --- Events ------------------------------------------------------------------------------------
 */

/* Of everything that an event says, names by their text: the reader's numbers are its own. */
static inline uint64_t digest_name(uint64_t digest, const char *name)
{
    return fb__check(name, strlen(name)) ^ (digest << 7 | digest >> 57);
}

static inline uint64_t digest_site(uint64_t digest, const fb_trace *t, uint32_t number)
{
    const fb_site *site = fb_trace_site(t, number);
    const uint64_t fixed[] = {site->kind, site->phase, site->occurrence, site->dtype, site->rank};

    digest = digest_name(digest, site->path);
    digest = digest_name(digest, site->op);
    digest = digest_name(digest, site->slot);
    digest ^= fb__check(site->shape, site->rank * sizeof site->shape[0]);
    return (digest << 9 | digest >> 55) ^ fb__check(fixed, sizeof fixed);
}

static inline uint64_t digest_event(const fb_trace *t, const fb_event *e)
{
    uint64_t value, digest;

    memcpy(&value, &e->value, sizeof value);
    {
        const uint64_t fixed[] = {e->step,    (uint64_t)e->micro, e->version, e->storage,
                                  e->hash.lo, e->hash.hi,         value,      e->key,
                                  e->counter, e->count,           e->flags,   e->input_count};
        digest = fb__check(fixed, sizeof fixed);
    }
    digest = digest_site(digest, t, e->site);
    for (uint32_t i = 0; i < e->input_count; i++)
        digest = digest_site(digest, t, e->inputs[i].site) + e->inputs[i].step * 31 +
                 (uint64_t)e->inputs[i].micro;
    if (e->indices != NULL)
        digest ^= fb__check(e->indices, (size_t)e->count * sizeof *e->indices);
    if (e->sketch != NULL)
        digest = (digest << 5 | digest >> 59) ^ fb__check(e->sketch, sizeof *e->sketch);
    if (e->blocks != NULL)
        digest ^= fb__check(e->blocks, (size_t)e->block_count * sizeof *e->blocks);
    return e->text != NULL ? digest_name(digest, e->text) : digest;
}

/* The digests of all events of a sound trace. */
typedef struct truth {
    uint64_t *digest;
    uint64_t events;
} truth;

static inline truth read_truth(const char *path)
{
    fb_trace *t = open_trace(path);
    const fb_event *e;
    truth all = {.events = fb_trace_get_info(t)->events};
    uint64_t n = 0;

    all.digest = malloc((all.events + 1) * sizeof *all.digest);
    for (; fb_trace_next(t, &e, NULL, NULL) == FB_OK && e != NULL; n++) {
        assert_true(n < all.events);
        all.digest[n] = digest_event(t, e);
    }
    assert_int_equal(n, all.events);
    fb_trace_close(t);
    return all;
}

/* --- What reading a damaged trace gave ---------------------------------------------------------
 */

typedef struct outcome {
    fb_status opened;
    fb_trace_status status; /* that verify found, where it opened */
    uint64_t promised;      /* events, by what is known after opening */
    uint64_t events;        /* that were read */
} outcome;

/* Opens, reads to the end and verifies. Every event must be the true one of its number. */
static inline outcome read_all(const char *path, const truth *all)
{
    outcome o = {.events = 0};
    fb_trace_info info;
    const fb_event *e;
    uint64_t number;
    fb_trace *t;
    fb_error err;

    o.opened = fb_trace_open(&t, path, &err);
    if (o.opened != FB_OK) {
        assert_non_null(strstr(err.text, "t.fbt"));
        return o;
    }
    o.promised = fb_trace_get_info(t)->events;
    while (fb_trace_next(t, &e, &number, &err) == FB_OK && e != NULL) {
        if (number != o.events || number >= all->events ||
            digest_event(t, e) != all->digest[number])
            fail_msg("event %llu is not what was recorded", (unsigned long long)number);
        o.events++;
    }
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, &err), FB_OK);
    o.status = info.status;
    fb_trace_close(t);
    return o;
}

/* --- Chunks ------------------------------------------------------------------------------------
 */

enum { CHUNKS_MAX = 4096 };

/* Where the chunks of a trace lie; the last one is the footer, if there is one. */
typedef struct layout {
    size_t count;
    struct {
        size_t at, end; /* of its bytes, without the padding behind */
        uint64_t first_event, events;
    } chunk[CHUNKS_MAX];
    size_t header_end; /* of the file header, without padding */
} layout;

static inline void find_chunks(layout *out, const file_copy *file)
{
    uint64_t json, span;
    fb_hash id;

    memcpy(&id, file->bytes + 40, sizeof id);
    memcpy(&json, file->bytes + 56, sizeof json);
    memcpy(&span, file->bytes + 64, sizeof span);
    out->header_end = FB_HEADER_BYTES + (size_t)json;
    out->count = 0;
    for (size_t at = (size_t)span; at < file->count;) {
        fb_chunk_header head;
        const char *why;

        assert_true(out->count < CHUNKS_MAX);
        assert_true(fb__get_chunk_header(&head, file->bytes + at, id, at, &why));
        out->chunk[out->count].at = at;
        out->chunk[out->count].end = at + (size_t)fb__chunk_bytes(&head);
        out->chunk[out->count].first_event = head.first_event;
        out->chunk[out->count].events = head.events;
        out->count++;
        at = (size_t)fb__align_up(at + fb__chunk_bytes(&head));
    }
}

/* The chunk that byte `at` is in, padding included; -1 in the file header. */
static inline int chunk_of(const layout *l, size_t at)
{
    int found = -1;

    for (size_t i = 0; i < l->count && l->chunk[i].at <= at; i++)
        found = (int)i;
    return found;
}

static inline bool is_padding(const layout *l, size_t at)
{
    const int chunk = chunk_of(l, at);

    return chunk < 0 ? at >= l->header_end : at >= l->chunk[chunk].end;
}

/* Events in chunks of which all bytes lie before `end`. */
static inline uint64_t whole_events(const layout *l, size_t end)
{
    uint64_t events = 0;

    for (size_t i = 0; i < l->count && l->chunk[i].end <= end; i++)
        events += l->chunk[i].events;
    return events;
}

#endif
