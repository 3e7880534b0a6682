/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_chain.c - from a trace to the one before it, by id or by the checkpoint between them.
 */
#include "replay/trace_chain.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "replay/locate.h"
#include "replay/trace_header.h"

/* --- One trace -------------------------------------------------------------------------------- */

static fb_status no_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "chain of traces: out of memory");
}

typedef enum has_checkpoint { HAS_IT, HAS_ANOTHER, HAS_NONE } has_checkpoint;

/* What a trace says of the checkpoint that its run wrote at the end of a step. */
static has_checkpoint checkpoint_in(fb_trace *trace, uint64_t step, fb_hash hash)
{
    const fb_event *event;

    if (fb_trace_seek(trace, step, NULL) != FB_OK)
        return HAS_NONE;
    while (fb_trace_next(trace, &event, NULL, NULL) == FB_OK && event != NULL &&
           event->step == step) {
        const fb_site *site = fb_trace_site(trace, event->site);

        if (site != NULL && site->kind == FB_KIND_CHECKPOINT && site->op != NULL &&
            strcmp(site->op, "checkpoint") == 0)
            return fb_hash_equal(event->hash, hash) ? HAS_IT : HAS_ANOTHER;
    }
    return HAS_NONE;
}

/* What the next file back is known by. */
typedef struct wanted {
    const char *name; /* NULL: unknown */
    bool has_id;
    fb_hash id;
    uint64_t step; /* of the checkpoint between the two */
    fb_hash checkpoint;
} wanted;

/* Opens a trace and takes it where it is the wanted one; *out is NULL where it is not. */
static void take(fb_trace **out, const char *path, const wanted *want)
{
    fb_trace *trace;

    *out = NULL;
    if (fb_trace_open(&trace, path, NULL) != FB_OK)
        return;
    if (want->has_id ? fb_hash_equal(fb_trace_get_info(trace)->id, want->id)
                     : checkpoint_in(trace, want->step, want->checkpoint) == HAS_IT)
        *out = trace;
    else
        fb_trace_close(trace);
}

/* --- The traces of a folder ------------------------------------------------------------------- */

static bool is_trace_name(const char *name)
{
    const size_t length = strlen(name);

    return length > 4 && strcmp(name + length - 4, ".fbt") == 0;
}

/* The wanted trace in a folder: under its name, else under any. */
static fb_status find_in(fb_trace **out, char **path, const char *folder, const wanted *want,
                         fb_error *err)
{
    const struct dirent *entry;
    int tried = 0;
    DIR *dir;

    *out = NULL;
    *path = NULL;
    if (want->name != NULL) {
        /* A name out of a header must not lead anywhere else. */
        *path = fb__join_path(folder, fb__base_name(want->name));
        if (*path == NULL)
            return no_memory(err);
        take(out, *path, want);
    }
    dir = *out == NULL ? opendir(folder) : NULL;
    while (dir != NULL && *out == NULL && tried < FB_TRACE_SIBLINGS_MAX &&
           (entry = readdir(dir)) != NULL) {
        if (!is_trace_name(entry->d_name))
            continue;
        tried++;
        free(*path);
        *path = fb__join_path(folder, entry->d_name);
        if (*path == NULL) {
            closedir(dir);
            return no_memory(err);
        }
        take(out, *path, want);
    }
    if (dir != NULL)
        closedir(dir);
    if (*out == NULL) {
        free(*path);
        *path = NULL;
    }
    return FB_OK;
}

/* --- A chain ---------------------------------------------------------------------------------- */

static fb_status add_link(fb_trace_chain *chain, fb_trace_link link, fb_error *err)
{
    fb_trace_link *grown = realloc(chain->links, (chain->count + 1) * sizeof *grown);

    if (grown == NULL) {
        free(link.path);
        free(link.name);
        return no_memory(err);
    }
    chain->links = grown;
    chain->links[chain->count++] = link;
    return FB_OK;
}

static bool is_in(const fb_trace_chain *chain, fb_hash id)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain->links[i].has_id && fb_hash_equal(chain->links[i].id, id))
            return true;
    return false;
}

/* Adds a trace that was found; takes ownership of path and name. */
static fb_status add_trace(fb_trace_chain *chain, const fb_trace *trace,
                           const fb__run_header *header, char *path, char *name, fb_error *err)
{
    const fb_trace_info *info = fb_trace_get_info(trace);

    return add_link(chain,
                    (fb_trace_link){.path = path,
                                    .name = name,
                                    .has_id = true,
                                    .id = info->id,
                                    .status = info->status,
                                    .first_step = info->steps > 0 ? info->first_step : 1,
                                    .last_step = info->steps > 0 ? info->last_step : 0,
                                    .resumed = header->has_resume,
                                    .resumed_step = header->resume_step},
                    err);
}

/* The trace before the last link, if there is one: adds its link, and leaves it open where it was
 * found. */
static fb_status go_back(fb_trace_chain *chain, fb_trace **trace, const char *folder,
                         fb__run_header *header, fb_error *err)
{
    const wanted want = {.name = header->before_file,
                         .has_id = header->has_before,
                         .id = header->before,
                         .step = header->resume_step,
                         .checkpoint = header->resume_hash};
    const bool named = header->before_file != NULL;
    char *name = named ? strdup(header->before_file) : NULL;
    fb__run_header before = {0};
    char *path;
    fb_status status = find_in(trace, &path, folder, &want, err);

    fb__run_header_free(header); /* one at a time: each may be as large as a reader allows */
    if (status == FB_OK && named && name == NULL)
        status = no_memory(err);
    if (status == FB_OK && *trace != NULL &&
        fb__run_header_read(&before, fb_trace_get_info(*trace)->header, path, NULL) != FB_OK) {
        fb_trace_close(*trace);
        *trace = NULL;
        free(path);
        path = NULL;
    }
    if (status != FB_OK) {
        free(name);
        free(path);
        return status;
    }
    if (*trace == NULL) {
        status = add_link(chain,
                          (fb_trace_link){.name = name, .has_id = want.has_id, .id = want.id}, err);
    } else if (is_in(chain, fb_trace_get_info(*trace)->id)) { /* a circle ends here */
        fb_trace_close(*trace);
        *trace = NULL;
        free(name);
        free(path);
    } else {
        status = add_trace(chain, *trace, &before, path, name, err);
    }
    *header = before;
    return status;
}

/* Whether the last link has one before it that is not in the chain yet. */
static bool goes_on(const fb_trace_chain *chain, const fb__run_header *header)
{
    return header->has_resume && chain->count < FB_TRACE_CHAIN_MAX &&
           (!header->has_before || !is_in(chain, header->before));
}

fb_status fb_trace_chain_read(fb_trace_chain *out, const char *path, fb_error *err)
{
    char *copy, *folder = fb__folder_of(path);
    fb__run_header header = {0};
    fb_trace *trace;
    fb_status status = fb_trace_open(&trace, path, err);

    *out = (fb_trace_chain){0};
    if (status != FB_OK) {
        free(folder);
        return status;
    }
    status = fb__run_header_read(&header, fb_trace_get_info(trace)->header, path, err);
    copy = status == FB_OK ? strdup(path) : NULL;
    if (status == FB_OK && (copy == NULL || folder == NULL)) {
        free(copy);
        status = no_memory(err);
    } else if (status == FB_OK) {
        status = add_trace(out, trace, &header, copy, NULL, err);
    }
    while (status == FB_OK && trace != NULL && goes_on(out, &header)) {
        fb_trace_close(trace);
        trace = NULL;
        status = go_back(out, &trace, folder, &header, err);
    }
    fb_trace_close(trace);
    fb__run_header_free(&header);
    free(folder);
    if (status != FB_OK)
        fb_trace_chain_free(out);
    return status;
}

void fb_trace_chain_free(fb_trace_chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        free(chain->links[i].path);
        free(chain->links[i].name);
    }
    free(chain->links);
    *chain = (fb_trace_chain){0};
}

/* --- The trace of a checkpoint ---------------------------------------------------------------- */

/* "a/x.ckpt" -> "a/x.fbt"; NULL for a folder of another name, and when memory is out. */
static char *trace_of_folder(const char *folder)
{
    const size_t length = strlen(folder);
    char *path;

    if (length <= 5 || strcmp(folder + length - 5, ".ckpt") != 0)
        return NULL;
    path = malloc(length);
    if (path != NULL) {
        memcpy(path, folder, length - 5);
        memcpy(path + length - 5, ".fbt", sizeof ".fbt");
    }
    return path;
}

static bool same_inputs(const char *a, const char *b)
{
    fb__run_header x, y;
    const cJSON *seed_x, *seed_y;
    bool same;

    if (fb__run_header_read(&x, a, "", NULL) != FB_OK)
        return false;
    if (fb__run_header_read(&y, b, "", NULL) != FB_OK) {
        fb__run_header_free(&x);
        return false;
    }
    seed_x = cJSON_GetObjectItemCaseSensitive(x.json, "seed");
    seed_y = cJSON_GetObjectItemCaseSensitive(y.json, "seed");
    same = x.file_count == y.file_count && cJSON_Compare(seed_x, seed_y, true);
    for (size_t i = 0; same && i < x.file_count; i++)
        same = fb_hash_equal(x.files[i].hash, y.files[i].hash);
    fb__run_header_free(&x);
    fb__run_header_free(&y);
    return same;
}

/* The trace that gave the checkpoint's folder its name. */
static bool is_namesake(fb_hash *id, const char *path, uint64_t step, fb_hash hash,
                        const char *header)
{
    fb_trace *trace;
    bool is;

    if (fb_trace_open(&trace, path, NULL) != FB_OK)
        return false;
    switch (checkpoint_in(trace, step, hash)) {
    case HAS_IT:
        is = true;
        break;
    case HAS_NONE:
        is = fb__may_end_early(fb_trace_get_info(trace)) &&
             fb_trace_get_info(trace)->last_step <= step &&
             same_inputs(fb_trace_get_info(trace)->header, header);
        break;
    default:
        is = false;
        break;
    }
    *id = fb_trace_get_info(trace)->id;
    fb_trace_close(trace);
    return is;
}

fb_status fb_trace_of_checkpoint(char **out, fb_hash *id, const char *checkpoint, uint64_t step,
                                 fb_hash hash, const char *header, fb_error *err)
{
    const wanted want = {.step = step, .checkpoint = hash};
    char *folder = fb__folder_of(checkpoint);
    char *above = folder == NULL ? NULL : fb__folder_of(folder);
    char *namesake = folder == NULL ? NULL : trace_of_folder(folder);
    fb_trace *trace = NULL;
    fb_status status = folder == NULL || above == NULL ? no_memory(err) : FB_OK;

    *out = NULL;
    if (status == FB_OK && namesake != NULL && is_namesake(id, namesake, step, hash, header)) {
        *out = namesake;
        namesake = NULL;
    }
    if (status == FB_OK && *out == NULL)
        status = find_in(&trace, out, above, &want, err);
    if (status == FB_OK && *out == NULL)
        status = find_in(&trace, out, folder, &want, err);
    if (trace != NULL)
        *id = fb_trace_get_info(trace)->id;
    fb_trace_close(trace);
    free(namesake);
    free(above);
    free(folder);
    return status;
}
