/* SPDX-License-Identifier: Apache-2.0
 *
 * rebuild.c - from a trace's header to a run that can step.
 */
#include "replay/rebuild.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/files/json.h"

/* --- Data ------------------------------------------------------------------------------------- */

static fb_status locate_all(fb__rebuilt *r, const char *path, fb_error *err)
{
    const size_t n = r->header.file_count;

    r->located = calloc(n + 1, sizeof *r->located);
    r->renamed = calloc(n + 1, sizeof *r->renamed);
    if (r->located == NULL || r->renamed == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    for (size_t i = 0; i < n; i++) {
        const fb__run_file *file = &r->header.files[i];
        const fb_status status = fb__locate_data(&r->located[i], file, &r->places, err);

        if (status != FB_OK)
            return status;
        if (strcmp(fb__base_name(r->located[i]), fb__base_name(file->path)) != 0)
            r->renamed[r->renamed_count++] = (fb__renamed){.now = fb__base_name(r->located[i]),
                                                           .recorded = fb__base_name(file->path)};
    }
    return FB_OK;
}

/* Puts the places where files were found into the configuration: into every string of it that is a
 * recorded path. */
static bool point_at_files(cJSON *item, const fb__rebuilt *r)
{
    cJSON *child;

    if (cJSON_IsString(item)) {
        for (size_t i = 0; i < r->header.file_count; i++)
            if (strcmp(item->valuestring, r->header.files[i].path) == 0)
                return cJSON_SetValuestring(item, r->located[i]) != NULL;
        return true;
    }
    cJSON_ArrayForEach(child, item) if (!point_at_files(child, r)) return false;
    return true;
}

static fb_status read_configuration(fb__rebuilt *r, const char *path,
                                    const fb_replay_options *options, fb_error *err)
{
    cJSON *json = cJSON_Duplicate(r->header.configuration, true);
    cJSON *data = cJSON_GetObjectItemCaseSensitive(json, "data");
    cJSON *weights = cJSON_GetObjectItemCaseSensitive(json, "weights");
    char *text = NULL;
    fb_status status;

    if (json != NULL && (data == NULL || point_at_files(data, r)) &&
        (weights == NULL || point_at_files(weights, r)))
        text = fb__json_print(json);
    cJSON_Delete(json);
    if (text == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    status = fb_config_parse(&r->config, text, path, options->sets, options->set_count, err);
    free(text);
    return status;
}

/* --- Kernels ---------------------------------------------------------------------------------- */

static fb_status check_contract(const fb__run_header *header, const char *path, fb_error *err)
{
    if (!header->has_contract || header->contract == FB_CONTRACT || header->contract == 0)
        return FB_OK;
    return fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET,
                    "%s: recorded under contract %" PRIu32 ", this build computes contract %d: "
                    "its bits cannot be made again here",
                    path, header->contract, FB_CONTRACT);
}

static fb_status choose_kernels(const fb_kernels **out, unsigned *threads,
                                const fb__run_header *header, const fb_replay_options *options,
                                fb_error *err)
{
    const bool openblas = fb__run_header_is_openblas(header);
    const fb_kernels *base = options->kernels;

    *threads = options->threads;
    /* Contract 0 promises bits to nobody, least of all under another number of threads. */
    if (*threads == 0 && (options->as_recorded || openblas))
        *threads = header->threads;
    if (base == NULL && (options->as_recorded || openblas) && header->isa != NULL)
        base = fb_kernels_named(header->isa);
    if (base == NULL)
        base = fb_kernels_best();
    *out = base;
    if (!openblas || base->contract == 0)
        return FB_OK;
    return fb_kernels_openblas(out, base, *threads == 0 ? 1 : *threads, err);
}

/* The run has just computed its own fingerprint: no need to do it twice. */
static fb_status check_fingerprint(fb__rebuilt *r, const char *path, fb_error *err)
{
    fb__run_header now;
    fb_status status;

    if (r->header.fingerprint == NULL || !r->header.has_contract || r->header.contract == 0)
        return FB_OK;
    status = fb__run_header_read(&now, fb_run_header(r->run), "this run", err);
    if (status != FB_OK)
        return status;
    if (now.fingerprint != NULL && strcmp(now.fingerprint, r->header.fingerprint) != 0)
        status = fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET,
                          "%s: recorded by kernels with fingerprint %s, those of this build have "
                          "%s: its bits cannot be made again here",
                          path, r->header.fingerprint, now.fingerprint);
    fb__run_header_free(&now);
    return status;
}

fb_status fb__rebuild(fb__rebuilt *out, const char *path, const fb_trace *trace,
                      const fb_replay_options *options, fb_error *err)
{
    fb_run_options run = {.size = sizeof run};
    fb_status status;

    *out = (fb__rebuilt){.places = {.trace = path, .elsewhere = options->data}};
    status = fb__run_header_read(&out->header, fb_trace_get_info(trace)->header, path, err);
    if (status != FB_OK)
        return status;
    if (out->header.configuration == NULL)
        return fb__fail(err, FB_E_UNSUPPORTED, FB_NO_OFFSET,
                        "%s: holds no configuration: only runs of `firstbit train` can be replayed",
                        path);
    status = check_contract(&out->header, path, err);
    if (status == FB_OK)
        status = locate_all(out, path, err);
    if (status == FB_OK)
        status = read_configuration(out, path, options, err);
    if (status == FB_OK)
        status = choose_kernels(&run.kernels, &run.threads, &out->header, options, err);
    if (status != FB_OK)
        return status;
    out->folder = fb__folder_of(path);
    run.folder = out->folder;
    run.faults = options->faults;
    run.fault_count = options->fault_count;
    run.override = options->override;
    run.memory_offset = options->memory_offset;
    run.noise = options->noise;
    status = fb_run_create(&out->run, &out->config, &run, err);
    return status == FB_OK ? check_fingerprint(out, path, err) : status;
}

void fb__rebuilt_free(fb__rebuilt *rebuilt)
{
    fb_run_destroy(rebuilt->run);
    fb_config_free(&rebuilt->config);
    for (size_t i = 0; rebuilt->located != NULL && i < rebuilt->header.file_count; i++)
        free(rebuilt->located[i]);
    free(rebuilt->located);
    free(rebuilt->renamed);
    free(rebuilt->folder);
    fb__places_free(&rebuilt->places);
    fb__run_header_free(&rebuilt->header);
    *rebuilt = (fb__rebuilt){0};
}

/* --- Notes ------------------------------------------------------------------------------------ */

fb_status fb__replay_note(fb_replay_report *report, fb_error *err, const char *format, ...)
{
    char **grown = realloc(report->notes, (report->note_count + 1) * sizeof *grown);
    va_list args;
    int length;

    if (grown == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "notes: out of memory");
    report->notes = grown;
    va_start(args, format);
    length = vasprintf(&grown[report->note_count], format, args);
    va_end(args);
    if (length < 0)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "notes: out of memory");
    fb__make_printable(grown[report->note_count++]);
    return FB_OK;
}
