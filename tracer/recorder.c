/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder.c - the life of a recorder: file, steps, chunks, footer, and the observer's four calls.
 */
#include "tracer/recorder_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include "base/error.h"
#include "base/hash.h"
#include "firstbit/trace.h"
#include "tracer/header_json.h"

enum { STATE_EVERY = 100, SEAL_SECONDS = 1 };

static int64_t now_seconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec;
}

void fb__recorder_stop(fb_recorder *r, const fb_error *err)
{
    if (r->stopped)
        return;
    r->stopped = true;
    r->error = *err;
}

/* --- Steps -------------------------------------------------------------------------------------
 */

uint32_t fb__recorder_classes(const fb_recorder *r, uint64_t step)
{
    const uint64_t every = r->options.state_every == 0 ? STATE_EVERY : r->options.state_every;
    const uint64_t checkpoint = r->options.checkpoint_every;
    uint32_t classes = fb_level_classes(r->options.level);

    if (step % every == 0 || (checkpoint != 0 && step % checkpoint == 0))
        classes |= 1u << FB_CLASS_STATE;
    return classes;
}

bool fb__recorder_enter_step(fb_recorder *r, uint64_t step)
{
    if (r->step_begun && step == r->step)
        return r->step_open;
    if (r->step_begun && step < r->step)
        return false;
    if (r->step_open)
        fb__recorder_end_step(r);
    if (!r->step_begun)
        r->first_step = step;
    r->step_begun = r->step_open = true;
    r->step = step;
    r->step_first_event = r->events;
    r->classes = fb__recorder_classes(r, step);
    memset(r->root, 0, sizeof r->root);
    return true;
}

void fb__recorder_end_step(fb_recorder *r)
{
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        if (r->classes & 1u << c)
            r->chain[c] = fb_chain_next(r->chain[c], r->step, r->root[c]);
    fb__builder_step_end(&r->builder, r->step, r->step_first_event, r->events - r->step_first_event,
                         r->classes, r->root, r->chain);
    r->step_open = false;
    r->finished_step = r->step;
    r->finished_steps++;
    if (fb__builder_full(&r->builder) || now_seconds() - r->sealed_at >= SEAL_SECONDS)
        fb__recorder_seal(r);
}

/* --- Chunks ------------------------------------------------------------------------------------
 */

static bool reserve_offset(fb_recorder *r)
{
    uint64_t *offsets;

    if (r->chunk_count < r->chunk_capacity)
        return true;
    offsets = realloc(r->chunk_offsets, (r->chunk_capacity * 2 + 64) * sizeof *offsets);
    if (offsets == NULL)
        return false;
    r->chunk_offsets = offsets;
    r->chunk_capacity = r->chunk_capacity * 2 + 64;
    return true;
}

static fb_chunk_header chunk_header(const fb_recorder *r)
{
    fb_chunk_header head = {.id = r->id,
                            .sequence = r->chunk_count,
                            .first_event = r->events - r->builder.events,
                            .finished_step = r->finished_step,
                            .finished_steps = r->finished_steps,
                            .offset = r->file.bytes,
                            .first_nonfinite = r->first_nonfinite};

    memcpy(head.chain, r->chain, sizeof head.chain);
    for (int k = 0; k < FB_CHUNK_SKIPS && UINT64_C(1) << k <= r->chunk_count; k++)
        head.skip[k] = r->chunk_offsets[r->chunk_count - (UINT64_C(1) << k)];
    return head;
}

void fb__recorder_seal(fb_recorder *r)
{
    fb_chunk_header head = chunk_header(r);
    const uint8_t *image;
    size_t image_bytes;
    fb_error err;
    fb_status status;

    if (fb__builder_empty(&r->builder))
        return;
    r->sealed_at = now_seconds();
    if (!reserve_offset(r))
        status = fb__fail(&err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", r->file.path);
    else
        status = fb__builder_seal(&r->builder, &head, &image, &image_bytes, &err);
    if (status == FB_OK)
        status = fb__trace_file_append(&r->file, image, image_bytes, &err);
    if (status != FB_OK) {
        r->seal_failed = true;
        fb__recorder_stop(r, &err);
        return;
    }
    r->chunk_offsets[r->chunk_count++] = head.offset;
    r->sealed = head;
}

/* Tells of what is in the file, which may be less than what was reported. */
static fb_status write_footer(fb_recorder *r, fb_error *err)
{
    fb_footer footer = {.status = r->stopped ? FB_TRACE_FULL : FB_TRACE_COMPLETE,
                        .chunks = r->chunk_count,
                        .events = r->sealed.first_event + r->sealed.events,
                        .steps = r->sealed.finished_steps,
                        .first_step = r->chunk_count == 0 ? 0 : r->first_step,
                        .finished_step = r->sealed.finished_step};
    fb_chunk_header head = r->sealed;

    head.sequence = r->chunk_count;
    head.offset = r->file.bytes;
    head.first_event = footer.events;
    memset(head.skip, 0, sizeof head.skip);
    if (r->chunk_count > 0)
        head.skip[0] = r->sealed.offset;
    if (r->stopped)
        (void)snprintf(footer.reason, sizeof footer.reason, "%s", r->error.text);
    return fb__trace_file_footer(&r->file, &head, &footer, err);
}

/* --- The observer ------------------------------------------------------------------------------
 */

static uint32_t observe_wants(void *self, uint64_t step)
{
    fb_recorder *r = self;
    uint32_t classes;

    (void)pthread_mutex_lock(&r->lock);
    classes = fb__recorder_on(r) ? fb__recorder_classes(r, step) : 0;
    (void)pthread_mutex_unlock(&r->lock);
    return classes;
}

static fb_status add_observer_site(fb_recorder *r, uint32_t number, const fb_site *site,
                                   fb_error *err)
{
    if (number != r->observer_site_count)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "site number %u where %u comes next", number,
                        r->observer_site_count);
    if (number == r->observer_site_capacity) {
        const uint32_t capacity = r->observer_site_capacity * 2 + 64;
        uint32_t *sites = realloc(r->observer_sites, capacity * sizeof *sites);

        if (sites == NULL)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
        r->observer_sites = sites;
        r->observer_site_capacity = capacity;
    }
    r->observer_site_count++;
    return fb__sites_put(&r->sites, site, &r->observer_sites[number], err);
}

static fb_status observe_site(void *self, uint32_t number, const fb_site *site, fb_error *err)
{
    fb_recorder *r = self;
    fb_error failure;

    (void)err;
    (void)pthread_mutex_lock(&r->lock);
    if (fb__recorder_on(r) && add_observer_site(r, number, site, &failure) != FB_OK)
        fb__recorder_stop(r, &failure);
    (void)pthread_mutex_unlock(&r->lock);
    return FB_OK;
}

static bool known_sites(const fb_recorder *r, const fb_event *e)
{
    bool known = e->site < r->observer_site_count;

    for (uint32_t i = 0; i < e->input_count; i++)
        known &= e->inputs[i].site < r->observer_site_count;
    return known;
}

static fb_status observe_event(void *self, const fb_event *event, fb_error *err)
{
    fb_recorder *r = self;
    fb_error failure;

    (void)err;
    (void)pthread_mutex_lock(&r->lock);
    if (!fb__recorder_on(r)) {
        ;
    } else if (!known_sites(r, event)) {
        (void)fb__fail(&failure, FB_E_USAGE, FB_NO_OFFSET, "event %llu: unknown site",
                       (unsigned long long)r->events);
        fb__recorder_stop(r, &failure);
    } else {
        fb__recorder_event(r, r->observer_sites[event->site], event, r->observer_sites,
                           __builtin_return_address(0));
    }
    (void)pthread_mutex_unlock(&r->lock);
    return FB_OK;
}

static fb_status observe_step_end(void *self, uint64_t step, fb_error *err)
{
    fb_recorder *r = self;

    (void)err;
    (void)pthread_mutex_lock(&r->lock);
    if (fb__recorder_on(r) && step <= FB_STEP_MAX && fb__recorder_enter_step(r, step))
        fb__recorder_end_step(r);
    (void)pthread_mutex_unlock(&r->lock);
    return FB_OK;
}

const fb_observer *fb_recorder_observer(fb_recorder *recorder)
{
    return &recorder->observer;
}

/* --- Open and close ----------------------------------------------------------------------------
 */

static fb_status check_level(fb_level level, fb_error *err)
{
    if (level == FB_LEVEL_STEPS || level == FB_LEVEL_DRAWS || level == FB_LEVEL_OPS)
        return FB_OK;
    return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                    "level %s: this version records steps, draws and ops", fb_level_name(level));
}

static uint8_t *make_alive_page(void)
{
    uint8_t *page =
        mmap(NULL, FB_FORMAT_ALIGN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return NULL;
    (void)madvise(page, FB_FORMAT_ALIGN,
                  MADV_WIPEONFORK); /* older kernels: the child must not use it */
    *page = 1;
    return page;
}

static fb_status create_file(fb_recorder *r, const char *path, fb_error *err)
{
    char *json = NULL;
    fb_status status = fb__header_json(&json, r->options.header, err);
    fb_file_header header = {.version = FB_FORMAT_VERSION, .id = r->id, .level = r->options.level};
    uint8_t *image;

    if (status != FB_OK)
        return status;
    header.json_bytes = strlen(json);
    header.span = fb__align_up(FB_HEADER_BYTES + header.json_bytes);
    image = calloc(1, header.span);
    if (image == NULL) {
        free(json);
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    }
    fb__put_file_header(image, &header, json);
    memcpy(image + FB_HEADER_BYTES, json, header.json_bytes);
    status = fb__trace_file_begin(&r->file, path, err);
    if (status == FB_OK)
        status = fb__trace_file_append(&r->file, image, header.span, err);
    if (status == FB_OK)
        status = fb__trace_file_publish(&r->file, err);
    free(image);
    free(json);
    return status;
}

static void destroy(fb_recorder *r)
{
    (void)fb__trace_file_close(&r->file, NULL);
    fb__recorder_free_direct(r);
    fb__builder_free(&r->builder);
    fb__sites_free(&r->sites);
    free(r->chunk_offsets);
    free(r->observer_sites);
    free(r->memory);
    free(r->input_ids);
    if (r->alive != NULL)
        (void)munmap(r->alive, FB_FORMAT_ALIGN);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

static void copy_options(fb_recorder_options *to, const fb_recorder_options *from)
{
    if (from != NULL)
        memcpy(to, from, from->size < sizeof *to ? from->size : sizeof *to);
    to->size = sizeof *to;
    if (to->level == FB_LEVEL_NONE)
        to->level = FB_LEVEL_OPS;
}

fb_status fb_recorder_open(fb_recorder **out, const char *path, const fb_recorder_options *options,
                           fb_error *err)
{
    fb_recorder *r = calloc(1, sizeof *r);
    fb_status status;

    *out = NULL;
    if (r == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    copy_options(&r->options, options);
    (void)pthread_mutex_init(&r->lock, NULL);
    r->observer = (fb_observer){.size = sizeof r->observer,
                                .self = r,
                                .wants = observe_wants,
                                .on_site = observe_site,
                                .on_event = observe_event,
                                .on_step_end = observe_step_end};
    r->file.descriptor = -1;
    r->sealed = (fb_chunk_header){.finished_step = FB_NO_STEP, .first_nonfinite = FB_NO_EVENT};
    r->finished_step = FB_NO_STEP;
    r->first_nonfinite = FB_NO_EVENT;
    r->direct_micro = FB_MICRO_NONE;
    r->sealed_at = now_seconds();
    r->alive = make_alive_page();
    status = check_level(r->options.level, err);
    if (status == FB_OK && (r->alive == NULL || !fb__sites_init(&r->sites) ||
                            !fb__builder_init(&r->builder, &r->sites)))
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    if (status == FB_OK && getrandom(&r->id, sizeof r->id, 0) != (ssize_t)sizeof r->id)
        status = fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: no random numbers for an id", path);
    r->sealed.id = r->id;
    if (status == FB_OK)
        status = create_file(r, path, err);
    if (status != FB_OK) {
        destroy(r);
        return status;
    }
    r->options.header = NULL;
    *out = r;
    return FB_OK;
}

fb_status fb_recorder_close(fb_recorder *recorder, fb_error *err)
{
    fb_recorder *r = recorder;
    fb_error failure;
    fb_status status;

    if (r == NULL)
        return FB_OK;
    if (fb__recorder_on(r) && r->direct && r->step_open)
        fb__recorder_end_step(r);
    if (*r->alive != 0) {
        if (!r->seal_failed)
            fb__recorder_seal(r);
        if (write_footer(r, &failure) != FB_OK)
            fb__recorder_stop(r, &failure);
    }
    if (fb__trace_file_close(&r->file, &failure) != FB_OK)
        fb__recorder_stop(r, &failure);
    status = r->stopped ? r->error.status : FB_OK;
    if (r->stopped && err != NULL)
        *err = r->error;
    destroy(r);
    return status;
}

void fb_recorder_get_stats(const fb_recorder *recorder, fb_recorder_stats *out)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&recorder->lock;

    (void)pthread_mutex_lock(lock);
    *out = (fb_recorder_stats){.events = recorder->events,
                               .bytes = recorder->file.bytes,
                               .stopped = recorder->stopped,
                               .error = recorder->error};
    (void)pthread_mutex_unlock(lock);
}
