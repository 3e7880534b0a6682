/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder.c - the life of a recorder: its files from open to close, and the observer's four calls.
 */
#include "tracer/record/recorder_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/hash.h"
#include "firstbit/trace.h"
#include "tracer/record/header_json.h"

static const uint64_t VALUES_BYTES = UINT64_C(1) << 30;

/* --- The observer ------------------------------------------------------------------------------
 */

static uint32_t observe_wants(void *self, uint64_t step)
{
    fb_recorder *r = self;
    uint32_t classes;

    if (!fb__recorder_on(r)) /* in a forked child the lock may be held by a thread that it lacks */
        return 0;
    fb__lock_take(&r->lock);
    classes = fb__recorder_on(r) ? fb__recorder_classes(r, step) : 0;
    fb__lock_give_back(&r->lock);
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
    if (!fb__recorder_on(r))
        return FB_OK;
    fb__lock_take(&r->lock);
    if (fb__recorder_on(r) && add_observer_site(r, number, site, &failure) != FB_OK)
        fb__sealing_stop(&r->sealing, &failure);
    fb__lock_give_back(&r->lock);
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
    if (!fb__recorder_on(r))
        return FB_OK;
    fb__lock_take(&r->lock);
    if (!known_sites(r, event)) {
        (void)fb__fail(&failure, FB_E_USAGE, FB_NO_OFFSET, "event %llu: unknown site",
                       (unsigned long long)r->events);
        fb__sealing_stop(&r->sealing, &failure);
    } else {
        fb__recorder_event(r, r->observer_sites[event->site], event, r->observer_sites,
                           __builtin_return_address(0));
    }
    fb__lock_give_back(&r->lock);
    return FB_OK;
}

static fb_status observe_step_end(void *self, uint64_t step, fb_error *err)
{
    fb_recorder *r = self;

    (void)err;
    if (!fb__recorder_on(r))
        return FB_OK;
    fb__lock_take(&r->lock);
    if (fb__recorder_on(r) && step <= FB_STEP_MAX && fb__recorder_enter_step(r, step))
        fb__recorder_end_step(r);
    fb__lock_give_back(&r->lock);
    return FB_OK;
}

const fb_observer *fb_recorder_observer(fb_recorder *recorder)
{
    return recorder == NULL ? NULL : &recorder->observer;
}

void fb_recorder_stop(fb_recorder *recorder, const char *reason)
{
    fb_error err;

    if (recorder == NULL || !fb__recorder_on(recorder))
        return;
    (void)fb__fail(&err, FB_E_STOPPED, FB_NO_OFFSET, "%s", reason);
    fb__sealing_stop(&recorder->sealing, &err);
}

/* --- Open and close ----------------------------------------------------------------------------
 */

static fb_status check_options(fb_recorder *r, fb_error *err)
{
    fb_status status;

    if (fb_level_classes(r->options.level) == 0)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "no level has number %d",
                        (int)r->options.level);
    if (r->options.values_bytes == 0)
        r->options.values_bytes = VALUES_BYTES;
    status = fb__step_list_read(&r->values_steps, r->options.values_steps, err);
    if (status != FB_OK)
        return fb__fail_in(err, status, "values_steps: ");
    if (r->options.values_path != NULL && (r->values_path = strdup(r->options.values_path)) == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    status = fb__step_list_read(&r->ops_steps, r->options.ops_steps, err);
    return status == FB_OK ? FB_OK : fb__fail_in(err, status, "ops_steps: ");
}

/* What the header says of the depth, malloc'd; NULL where every step is recorded alike, and where
 * memory is out. The list of steps has been read: nothing in it needs escaping. */
static char *recording_text(const fb_recorder *r)
{
    const bool listed = r->ops_steps.count > 0;
    const unsigned long long every = fb__recorder_state_every(r);
    char *text = NULL;
    int length = 0;

    if (listed)
        length = asprintf(&text, "{\"ops_steps\":\"%s\",\"state_every\":%llu}",
                          r->options.ops_steps, every);
    else if (r->options.level < FB_LEVEL_OPS)
        length = asprintf(&text, "{\"ops_steps\":null,\"state_every\":%llu}", every);
    return length < 0 ? NULL : text;
}

static fb_status create_file(fb_recorder *r, const char *path, fb_error *err)
{
    char *json = NULL, *recording = recording_text(r);
    fb_status status = fb__header_json(&json, r->options.header, recording, err);
    fb_file_header header = {.version = FB_FORMAT_VERSION, .id = r->id, .level = r->options.level};
    uint8_t *image;

    free(recording);
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
    status = fb__trace_file_begin(&r->sealing.file, path, err);
    if (status == FB_OK)
        status = fb__trace_file_append(&r->sealing.file, image, header.span, err);
    if (status == FB_OK)
        status = fb__trace_file_publish(&r->sealing.file, err);
    free(image);
    free(json);
    return status;
}

static void destroy(fb_recorder *r, bool remove_tail)
{
    fb__stage_close(&r->stage, remove_tail);
    fb__sealing_free(&r->sealing);
    fb__recorder_free_direct(r);
    fb__sites_free(&r->sites);
    free(r->observer_sites);
    free(r->marks);
    fb__recorder_free_pages(r);
    free(r->main_path);
    free(r->values_path);
    free(r);
}

fb_status fb__recorder_begin(fb_recorder *r, const char *path, fb_error *err)
{
    fb_status status = FB_OK;

    r->sealing.max_bytes = r->options.max_bytes;
    if (!fb__sites_init(&r->sites))
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    if (status == FB_OK && (r->options.id.lo | r->options.id.hi) != 0)
        r->id = r->options.id;
    else if (status == FB_OK && getrandom(&r->id, sizeof r->id, 0) != (ssize_t)sizeof r->id)
        status = fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: no random numbers for an id", path);
    if (status == FB_OK)
        status = create_file(r, path, err);
    if (status == FB_OK)
        status = fb__stage_open(&r->stage, path, r->id, err);
    if (status == FB_OK)
        status = fb__sealing_begin(&r->sealing, r->id, &r->stage,
                                   fb__recorder_life(r) == FB_RECORDER_ALIVE, err);
    return status;
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
    fb__lock_init(&r->lock);
    r->observer = (fb_observer){.size = sizeof r->observer,
                                .self = r,
                                .wants = observe_wants,
                                .on_site = observe_site,
                                .on_event = observe_event,
                                .on_step_end = observe_step_end};
    r->sealing.file.descriptor = -1;
    r->direct_micro = FB_MICRO_NONE;
    r->team.threads = r->options.threads < FB_POOL_THREADS_MAX ? r->options.threads : 1;
    status = check_options(r, err);
    r->main_path = strdup(path);
    if (status == FB_OK && (r->main_path == NULL || !fb__recorder_make_pages(r)))
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    if (status == FB_OK)
        status = fb__recorder_begin(r, path, err);
    if (status != FB_OK) {
        destroy(r, true);
        return status;
    }
    r->main_id = r->id;
    r->options.id = (fb_hash){0, 0};                 /* of this process's trace alone */
    r->options.header = r->options.ops_steps = NULL; /* were borrowed */
    r->options.values_path = r->options.values_steps = NULL;
    *out = r;
    return FB_OK;
}

/* Seals what is staged, or what a limit of the file's size leaves of it; false where some of it
 * cannot be sealed. On a full disk the tail makes the room: first by its reserve, then by the half
 * that went there. */
static bool seal_rest(fb_recorder *r)
{
    const fb_staged current = {r->stage.rows, r->stage.used, r->stage.sequence};
    const unsigned other = 1 - r->stage.half;

    if (fb__sealing_rest(&r->sealing, current) || r->sealing.file.limited)
        return true;
    fb__stage_give_reserve(&r->stage);
    if (fb__sealing_rest(&r->sealing, current))
        return true;
    if (r->sealing.half[other].sequence == 0)
        fb__stage_give_half(&r->stage, other);
    return fb__sealing_rest(&r->sealing, current);
}

/* The end of the file. Where rows are left in a tail that outlives the program there is none: a
 * torn trace with its tail has all, a full one would lack them. */
static bool put_end(fb_recorder *r)
{
    fb_error failure;
    const bool sealed = seal_rest(r);

    if (!sealed && r->stage.on_disk)
        return false;
    if (fb__sealing_stopped(&r->sealing))
        fb__stage_close(&r->stage, true); /* its blocks may be the room */
    if (fb__sealing_footer(&r->sealing, &failure) == FB_OK)
        return true;
    fb__sealing_stop(&r->sealing, &failure);
    return false;
}

fb_status fb_recorder_close(fb_recorder *recorder, fb_error *err)
{
    fb_recorder *r = recorder;
    fb_error failure;
    fb_status status;
    bool has_footer;

    if (r == NULL)
        return FB_OK;
    if (fb__recorder_life(r) != FB_RECORDER_ALIVE) { /* a child: everything is its parent's */
        destroy(r, false);
        return FB_OK;
    }
    fb__team_end(&r->team);
    if (fb__recorder_on(r) && r->direct && r->step_open)
        fb__recorder_end_step(r);
    fb__sealing_end(&r->sealing);
    has_footer = put_end(r);
    if (fb__trace_file_close(&r->sealing.file, &failure) != FB_OK)
        fb__sealing_stop(&r->sealing, &failure);
    status = r->sealing.stopped ? r->sealing.error.status : FB_OK;
    if (status != FB_OK && err != NULL)
        *err = r->sealing.error;
    destroy(r, has_footer);
    return status;
}

void fb_recorder_get_stats(const fb_recorder *recorder, fb_recorder_stats *out)
{
    fb_recorder *r = (fb_recorder *)recorder; /* for its locks */

    *out = (fb_recorder_stats){.events = 0};
    if (r == NULL)
        return;
    fb__lock_take(&r->lock);
    *out = (fb_recorder_stats){.events = r->events,
                               .values_left_out = r->values_left_out,
                               .sealed = __atomic_load_n(&r->sealing.events, __ATOMIC_RELAXED),
                               .bytes = __atomic_load_n(&r->sealing.bytes, __ATOMIC_RELAXED)};
    (void)pthread_mutex_lock(&r->sealing.lock);
    out->stopped = r->sealing.stopped;
    out->error = r->sealing.error;
    (void)pthread_mutex_unlock(&r->sealing.lock);
    fb__lock_give_back(&r->lock);
}
