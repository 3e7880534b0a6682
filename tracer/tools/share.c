/* SPDX-License-Identifier: Apache-2.0
 *
 * share.c - a trace without names: its events are read, renamed, and written into new chunks with
 * new roots and chains. What stays and what goes: docs/privacy.md.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/hash.h"
#include "tracer/format/chunk_builder.h"
#include "tracer/tools/chunk_link.h"
#include "tracer/format/sha256.h"
#include "tracer/format/trace_file.h"
#include "tracer/read/trace_state.h"

enum { SHARED_NAME = 13 }; /* "n" and 12 hex digits: 2^-15 that any two of 10^5 names meet */

typedef struct sharing {
    fb_trace *t;
    const void *key;
    size_t key_bytes;
    fb_builder builder; /* its sites are the reader's, which meets no name but as it is shared */
    fb_trace_file file;
    fb_hash *input_ids;
    uint32_t input_id_capacity;

    fb_hash root[FB_CLASS_COUNT];
    fb_chunk_header state; /* of the chunk to be sealed next: chains, finished steps, ... */
    fb_chunk_header sealed;
    uint64_t events;
} sharing;

static fb_status no_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

/* --- Names -------------------------------------------------------------------------------------
 */

/* Words of the format's own vocabulary: they tell nothing about the program. */
static bool is_public(const char *name, size_t count)
{
    static const char *const words[] = {
        "",        "out",       "grad",   "param",       "state", "final_hash", "philox4x32-10",
        "uniform", "bernoulli", "normal", "permutation", "raw",
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strlen(words[i]) == count && memcmp(name, words[i], count) == 0)
            return true;
    return false;
}

/* A name as it is shared: fb_sites.rename. */
static size_t neutral(const void *self, char *out, const char *name, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    const sharing *s = self;
    uint8_t digest[FB_SHA256_BYTES];

    if (is_public(name, count)) {
        memcpy(out, name, count);
        return count;
    }
    fb__hmac_sha256(digest, s->key, s->key_bytes, name, count);
    out[0] = 'n';
    for (size_t i = 1; i < SHARED_NAME; i++)
        out[i] = digits[digest[(i - 1) / 2] >> (i % 2 != 0 ? 4 : 0) & 15];
    return SHARED_NAME;
}

/* --- Chunks ------------------------------------------------------------------------------------
 */

static fb_status seal(sharing *s, fb_error *err)
{
    fb_chunk_header head = s->state;
    const uint8_t *image;
    size_t bytes;
    fb_status status;

    if (fb__builder_failed(&s->builder))
        return no_memory(err);
    if (fb__builder_empty(&s->builder))
        return FB_OK;
    head.first_event = s->events - s->builder.events;
    status = fb__chunk_link(&head, &s->file, s->sealed.offset, err);
    if (status == FB_OK)
        status = fb__builder_seal(&s->builder, &head, &image, &bytes, err);
    if (status == FB_OK)
        status = fb__trace_file_append(&s->file, image, bytes, err);
    if (status != FB_OK)
        return status;
    s->sealed = head;
    s->state.sequence++;
    return FB_OK;
}

/* --- Events ------------------------------------------------------------------------------------
 */

/* A file name or note tells of the program; the hash of a run's last parameters does not. */
static const char *shared_text(const fb_site *site, const char *text)
{
    fb_hash hash;

    return text != NULL && strcmp(site->slot, "final_hash") == 0 && fb_hash_of_hex(&hash, text)
               ? text
               : NULL;
}

static fb_status add_to_root(sharing *s, const fb_event *e, fb_error *err)
{
    const fb_site_entry *entry = fb__sites_get(s->t->sites, e->site);
    const fb_class c = fb_site_class(&entry->site);

    if (e->input_count > s->input_id_capacity) {
        fb_hash *ids = realloc(s->input_ids, e->input_count * sizeof *ids);

        if (ids == NULL)
            return no_memory(err);
        s->input_ids = ids;
        s->input_id_capacity = e->input_count;
    }
    for (uint32_t i = 0; i < e->input_count; i++) {
        const fb_ref *ref = &e->inputs[i];
        s->input_ids[i] =
            fb_identity_hash(fb__sites_get(s->t->sites, ref->site)->hash, ref->step, ref->micro);
    }
    s->root[c] =
        fb_hash_add(s->root[c], fb_event_hash(fb_identity_hash(entry->hash, e->step, e->micro),
                                              &entry->site, e, s->input_ids));
    return FB_OK;
}

static fb_status take_event(sharing *s, fb_error *err)
{
    fb_event e = s->t->chunk.event;
    fb_status status = FB_OK;

    e.text = shared_text(&fb__sites_get(s->t->sites, e.site)->site, e.text);
    e.flags &= FB_EVENT_NONFINITE | FB_EVENT_UNDEFINED;
    e.data = NULL;
    e.data_bytes = 0;
    e.sketch = NULL;
    e.blocks = NULL;
    e.block_count = 0;
    /* A note behind the end of its step enters no root. */
    if (s->state.finished_step == FB_NO_STEP || e.step > s->state.finished_step)
        status = add_to_root(s, &e, err);
    if ((e.flags & FB_EVENT_NONFINITE) != 0 && s->state.first_nonfinite == FB_NO_EVENT)
        s->state.first_nonfinite = s->events;
    fb__builder_event(&s->builder, e.site, &e);
    s->events++;
    return status;
}

static void take_step_end(sharing *s)
{
    const fb_trace_step *end = &s->t->chunk.step_end;

    for (int c = 0; c < FB_CLASS_COUNT; c++)
        if ((end->classes & 1u << c) != 0)
            s->state.chain[c] = fb_chain_next(s->state.chain[c], end->step, s->root[c]);
    fb__builder_step_end(&s->builder, end->step, end->first_event, end->events, end->classes,
                         s->root, s->state.chain);
    memset(s->root, 0, sizeof s->root);
    s->state.finished_step = end->step;
    s->state.finished_steps++;
}

static fb_status copy_events(sharing *s, void (*progress)(void *, uint64_t, uint64_t),
                             void *argument, fb_error *err)
{
    for (;;) {
        fb_item item;
        fb_status status = fb__trace_next_item(s->t, &item, err);

        if (status != FB_OK || item == FB_ITEM_END)
            return status;
        if (item == FB_ITEM_EVENT)
            status = take_event(s, err);
        else
            take_step_end(s);
        if (status == FB_OK && fb__builder_full(&s->builder, UINT64_MAX)) {
            status = seal(s, err);
            if (progress != NULL)
                progress(argument, s->events, s->t->info.events);
        }
        if (status != FB_OK)
            return status;
    }
}

/* --- The file ----------------------------------------------------------------------------------
 */

static fb_status put_header(sharing *s, fb_error *err)
{
    static const char json[] = "{\"shared\":1,\"environment\":null}";
    uint8_t image[FB_FORMAT_ALIGN] = {0};
    const fb_level level = s->t->header.level;
    const fb_file_header header = {.version = FB_FORMAT_VERSION,
                                   .id = s->state.id,
                                   .json_bytes = sizeof json - 1,
                                   .span = sizeof image,
                                   .level = level > FB_LEVEL_OPS ? FB_LEVEL_OPS : level};

    fb__put_file_header(image, &header, json);
    memcpy(image + FB_HEADER_BYTES, json, sizeof json - 1);
    return fb__trace_file_append(&s->file, image, sizeof image, err);
}

static fb_status put_footer(sharing *s, fb_error *err)
{
    const fb_trace_info *info = &s->t->info;
    fb_chunk_header head = s->sealed;
    fb_footer footer = {.status = FB_TRACE_COMPLETE,
                        .recovered = info->recovered || info->status != FB_TRACE_COMPLETE,
                        .chunks = s->state.sequence,
                        .events = s->events,
                        .steps = s->state.finished_steps,
                        .first_step = s->state.finished_steps == 0 ? 0 : info->first_step,
                        .finished_step = s->state.finished_step};

    head.id = s->state.id;
    head.sequence = footer.chunks;
    head.offset = s->file.bytes;
    head.first_event = s->events;
    head.finished_step = s->state.finished_step;
    head.first_nonfinite = s->state.first_nonfinite;
    memset(head.skip, 0, sizeof head.skip);
    if (footer.chunks > 0)
        head.skip[0] = s->sealed.offset;
    return fb__trace_file_footer(&s->file, &head, &footer, err);
}

/* Nobody may be handed what was not read again. */
static fb_status check_result(const sharing *s, fb_error *err)
{
    fb_trace_info info;
    fb_trace *t;
    fb_status status = fb_trace_open(&t, s->file.temporary, err);

    if (status != FB_OK)
        return status;
    status = fb_trace_verify(&info, t, NULL, NULL, err);
    fb_trace_close(t);
    if (status == FB_OK && (info.status != FB_TRACE_COMPLETE || info.events != s->events))
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: reads back as %s with %llu events",
                        s->file.path, fb_trace_status_name(info.status),
                        (unsigned long long)info.events);
    return status;
}

/* What was read and is not needed to read the result. */
static void close_source(sharing *s)
{
    fb__builder_free(&s->builder);
    fb_trace_close(s->t);
    s->t = NULL;
}

static fb_status write_shared(sharing *s, void (*progress)(void *, uint64_t, uint64_t),
                              void *argument, fb_error *err)
{
    fb_status status = put_header(s, err);

    if (status == FB_OK)
        status = copy_events(s, progress, argument, err);
    if (status == FB_OK)
        status = seal(s, err);
    if (status == FB_OK)
        status = put_footer(s, err);
    close_source(s);
    if (status == FB_OK)
        status = check_result(s, err);
    return status == FB_OK ? fb__trace_file_publish(&s->file, err) : status;
}

static fb_status begin(sharing *s, const char *path, const char *to, fb_error *err)
{
    struct stat a, b;
    fb_status status;

    s->file.descriptor = -1;
    s->state = (fb_chunk_header){.finished_step = FB_NO_STEP, .first_nonfinite = FB_NO_EVENT};
    if (stat(path, &a) == 0 && stat(to, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "%s and %s are one file", path, to);
    if (getrandom(&s->state.id, sizeof s->state.id, 0) != (ssize_t)sizeof s->state.id)
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: no random numbers for an id", to);
    s->sealed = s->state;
    status = fb_trace_open(&s->t, path, err);
    if (status != FB_OK)
        return status;
    if (s->t->info.status == FB_TRACE_CORRUPT)
        return fb__fail(err, FB_E_CORRUPT, s->t->info.damage, "%s: corrupt at byte %llu", path,
                        (unsigned long long)s->t->info.damage);
    status = fb__trace_rename(s->t, neutral, s, err);
    if (status != FB_OK)
        return status;
    if (!fb__builder_init(&s->builder, s->t->sites))
        return no_memory(err);
    return fb__trace_file_begin(&s->file, to, err);
}

fb_status fb_trace_share(const char *path, const char *to, const void *key, size_t key_bytes,
                         void (*progress)(void *, uint64_t, uint64_t), void *argument,
                         fb_error *err)
{
    sharing *s = calloc(1, sizeof *s);
    fb_status status;

    if (s == NULL)
        return no_memory(err);
    s->key = key;
    s->key_bytes = key_bytes;
    status = begin(s, path, to, err);
    if (status == FB_OK)
        status = write_shared(s, progress, argument, err);
    if (s->file.descriptor >= 0) {
        fb_error late;
        const fb_status closed = fb__trace_file_close(&s->file, &late);

        if (status == FB_OK && closed != FB_OK) {
            status = closed;
            if (err != NULL)
                *err = late;
        }
    }
    close_source(s);
    free(s->input_ids);
    free(s);
    return status;
}
