/* SPDX-License-Identifier: Apache-2.0
 *
 * noise.c - repeats of a run under noise, and what they have in common with it.
 */
#include "diff/rounding/noise.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/temporary.h"
#include "engine/files/json.h"
#include "firstbit/recorder.h"
#include "replay/rebuild.h"

/* --- One repeat ------------------------------------------------------------------------------- */

static fb_status step_through(fb__rebuilt *r, uint64_t last, uint64_t noise,
                              const fb_noise_options *options, fb_error *err)
{
    fb_status status = fb_run_begin(r->run, err);

    while (status == FB_OK && fb_run_current_step(r->run) < last) {
        status = fb_run_step(r->run, err);
        if (options->progress != NULL)
            options->progress(options->argument,
                              noise == 0 ? "making the run again" : "measuring rounding",
                              fb_run_current_step(r->run), last);
    }
    return status;
}

static fb_status record_rebuilt(fb__rebuilt *r, const char *to, uint64_t last, uint64_t noise,
                                const fb_noise_options *options, fb_error *err)
{
    const fb_recorder_options how = {.size = sizeof how,
                                     .level = FB_LEVEL_SKETCH,
                                     .header = fb_run_header(r->run),
                                     .no_stacks = true};
    fb_recorder *recorder = NULL;
    fb_recorder_stats stats;
    fb_status status = fb_recorder_open(&recorder, to, &how, err);

    if (status != FB_OK)
        return status;
    fb_run_observe(r->run, fb_recorder_observer(recorder));
    status = step_through(r, last, noise, options, err);
    fb_run_observe(r->run, NULL);
    fb_recorder_get_stats(recorder, &stats);
    const fb_status closed = fb_recorder_close(recorder, status == FB_OK ? err : NULL);
    if (status == FB_OK)
        status = closed;
    if (status == FB_OK && stats.stopped)
        status = fb__fail(err, stats.error.status, FB_NO_OFFSET, "%s", stats.error.text);
    return status;
}

fb_status fb__record_again(const char *to, const char *path, uint64_t noise, uint64_t last,
                           const fb_noise_options *options, fb_error *err)
{
    const fb_replay_options how = {
        .size = sizeof how, .as_recorded = true, .data = options->data, .noise = noise};
    fb__rebuilt r = {.run = NULL};
    fb_trace *trace;
    fb_status status = fb_trace_open(&trace, path, err);

    if (status != FB_OK)
        return status;
    if (last == 0 || last > fb_trace_get_info(trace)->last_step)
        last = fb_trace_get_info(trace)->last_step;
    status = fb__rebuild(&r, path, trace, &how, err);
    if (status == FB_OK && r.header.has_resume)
        status =
            fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET,
                     "%s: goes on from a checkpoint: noise needs a run from its beginning", path);
    if (status == FB_OK)
        status = record_rebuilt(&r, to, last, noise, options, err);
    fb__rebuilt_free(&r);
    fb_trace_close(trace);
    return status;
}

/* --- The envelope ----------------------------------------------------------------------------- */

typedef struct repeats {
    fb_trace *base, *at[FB_NOISE_REPEATS_MAX];
    unsigned count;
    fb_recorder *out;
    uint32_t *sites; /* by number of the base's site: the envelope's, UINT32_MAX: not yet */
    size_t site_count;
} repeats;

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "measuring rounding: out of memory");
}

/* The distance of two events of one identity; NaN where it is not known. */
static double distance_of(const fb_site *site, const fb_event *a, const fb_event *b)
{
    double square = 0;

    if (site->kind == FB_KIND_SCALAR)
        return fabs(a->value - b->value);
    if (fb_hash_equal(a->hash, b->hash))
        return 0;
    if (a->sketch == NULL || b->sketch == NULL)
        return (double)NAN;
    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        const double d = a->sketch->linear[i] - b->sketch->linear[i];
        square += d * d;
    }
    return sqrt(square);
}

static bool is_measured(const fb_site *site)
{
    return !site->note && site->phase != FB_PHASE_EVAL && site->phase != FB_PHASE_INIT &&
           (site->kind == FB_KIND_TENSOR || site->kind == FB_KIND_PARAM ||
            site->kind == FB_KIND_SCALAR);
}

/* The same event in every repeat is the next one of its kind: a run's events come in one order. */
static fb_status largest_distance(double *out, repeats *r, const fb_event *base,
                                  const fb_site *site, fb_error *err)
{
    *out = 0;
    for (unsigned k = 0; k < r->count; k++) {
        const fb_event *e;
        const fb_status status = fb_trace_next(r->at[k], &e, NULL, err);
        double d;

        if (status != FB_OK)
            return status;
        if (e == NULL || e->step != base->step || e->micro != base->micro ||
            !fb_hash_equal(fb_site_hash(fb_trace_site(r->at[k], e->site)), fb_site_hash(site)))
            return fb__fail(err, FB_E_CHANGED, FB_NO_OFFSET,
                            "measuring rounding: a repeat does other things than the run");
        d = distance_of(site, base, e);
        if (!(d <= *out)) /* NaN stays */
            *out = d;
    }
    return FB_OK;
}

static fb_status site_in(uint32_t *out, repeats *r, uint32_t number, const fb_site *site,
                         fb_error *err)
{
    if (number >= r->site_count) {
        const size_t count = ((size_t)number + 1) * 2;
        uint32_t *grown = realloc(r->sites, count * sizeof *grown);

        if (grown == NULL)
            return out_of_memory(err);
        memset(grown + r->site_count, 0xff, (count - r->site_count) * sizeof *grown);
        r->sites = grown;
        r->site_count = count;
    }
    if (r->sites[number] == UINT32_MAX) {
        const fb_site scalar = {.size = sizeof scalar,
                                .kind = FB_KIND_SCALAR,
                                .phase = site->phase,
                                .path = site->path,
                                .op = site->op,
                                .slot = site->slot,
                                .occurrence = site->occurrence,
                                .dtype = FB_DTYPE_F64};
        r->sites[number] = fb_recorder_site(r->out, &scalar);
    }
    *out = r->sites[number];
    return FB_OK;
}

static fb_status merge(repeats *r, fb_error *err)
{
    uint64_t step = 0;
    fb_status status = FB_OK;

    while (status == FB_OK) {
        const fb_event *e;
        const fb_site *site;
        double distance = 0;
        uint32_t number = 0;

        status = fb_trace_next(r->base, &e, NULL, err);
        if (status != FB_OK || e == NULL)
            break;
        site = fb_trace_site(r->base, e->site);
        status = largest_distance(&distance, r, e, site, err);
        if (status != FB_OK || !is_measured(site))
            continue;
        for (; step < e->step; step++)
            fb_recorder_step(r->out, step + 1);
        status = site_in(&number, r, e->site, site, err);
        fb_recorder_micro(r->out, e->micro);
        if (status == FB_OK)
            fb_recorder_event(r->out,
                              &(fb_event){.size = sizeof *e, .site = number, .value = distance});
    }
    return status;
}

/* {"envelope": {"of": id, "repeats": 3, "noise": "one unit in the last place"}} */
static char *header_text(const fb_trace *base, unsigned count)
{
    cJSON *json = cJSON_CreateObject(), *o = cJSON_AddObjectToObject(json, "envelope");
    char hex[FB_HASH_HEX_BYTES], *text;

    cJSON_AddStringToObject(o, "of", fb_hash_hex(hex, fb_trace_get_info(base)->id));
    cJSON_AddNumberToObject(o, "repeats", count);
    cJSON_AddStringToObject(o, "noise", "one unit in the last place");
    text = fb__json_print(json);
    cJSON_Delete(json);
    return text;
}

static fb_status write_envelope(repeats *r, const char *to, const fb_trace *of, fb_error *err)
{
    char *header = header_text(of, r->count);
    const fb_recorder_options how = {
        .size = sizeof how, .level = FB_LEVEL_STEPS, .header = header, .no_stacks = true};
    fb_recorder_stats stats;
    fb_status status =
        header != NULL ? fb_recorder_open(&r->out, to, &how, err) : out_of_memory(err);

    free(header);
    if (status != FB_OK)
        return status;
    status = merge(r, err);
    fb_recorder_get_stats(r->out, &stats);
    const fb_status closed = fb_recorder_close(r->out, status == FB_OK ? err : NULL);
    if (status == FB_OK)
        status = closed;
    if (status == FB_OK && stats.stopped)
        status = fb__fail(err, stats.error.status, FB_NO_OFFSET, "%s", stats.error.text);
    if (status != FB_OK)
        (void)unlink(to);
    return status;
}

/* --- Files ------------------------------------------------------------------------------------ */

static void name_repeat(char out[540], const char *folder, unsigned k)
{
    (void)snprintf(out, 540, "%s/%u.fbt", folder, k);
}

static fb_status make_repeats(repeats *r, const char *folder, const char *path,
                              const fb_noise_options *options, fb_error *err)
{
    char name[540];
    fb_status status = FB_OK;

    for (unsigned k = 0; k <= r->count && status == FB_OK; k++) {
        name_repeat(name, folder, k);
        status = fb__record_again(name, path, k, options->to, options, err);
        if (status == FB_OK)
            status = fb_trace_open_beside(k == 0 ? &r->base : &r->at[k - 1], name, r->base, err);
    }
    return status;
}

static void drop_repeats(repeats *r, const char *folder)
{
    char name[540];

    fb_trace_close(r->base);
    for (unsigned k = 0; k < r->count; k++)
        fb_trace_close(r->at[k]);
    for (unsigned k = 0; k <= r->count; k++) {
        name_repeat(name, folder, k);
        (void)unlink(name);
    }
    (void)rmdir(folder);
    free(r->sites);
}

fb_status fb_noise(const char *to, const char *path, const fb_noise_options *options, fb_error *err)
{
    const fb_noise_options defaults = {.size = sizeof defaults};
    char folder[FB_TEMPORARY_FOLDER_BYTES];
    repeats r = {.base = NULL};
    fb_trace *of = NULL;
    fb_status status;

    options = options != NULL ? options : &defaults;
    r.count = options->repeats == 0 ? FB_NOISE_REPEATS : options->repeats;
    if (r.count > FB_NOISE_REPEATS_MAX)
        return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET, "more than %d repeats",
                        FB_NOISE_REPEATS_MAX);
    if (!fb__temporary_folder(folder))
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: %s", folder, strerror(errno));
    status = fb_trace_open(&of, path, err);
    if (status == FB_OK)
        status = make_repeats(&r, folder, path, options, err);
    if (status == FB_OK)
        status = write_envelope(&r, to, of, err);
    drop_repeats(&r, folder);
    fb_trace_close(of);
    return status;
}

bool fb__is_envelope(const fb_trace *trace)
{
    cJSON *json = fb__json_parse(fb_trace_get_info(trace)->header, NULL);
    const bool found =
        cJSON_IsObject(json) && cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(json, "envelope"));

    cJSON_Delete(json);
    return found;
}
