/* SPDX-License-Identifier: Apache-2.0
 *
 * linked.c - finds the parts of a run beside its main trace.
 */
#include "tracer/read/linked.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

static const char suffix[] = ".fbt";

static bool ends_so(const char *name)
{
    const size_t n = strlen(name);

    return n > sizeof suffix - 1 && strcmp(name + n - (sizeof suffix - 1), suffix) == 0;
}

size_t fb__linked_stem(const char *name)
{
    return strlen(name) - (ends_so(name) ? sizeof suffix - 1 : 0);
}

/* "run.child1.fbt" beside "run.fbt". */
static bool may_be_part(const char *name, const char *main_name)
{
    const size_t stem = fb__linked_stem(main_name);

    return ends_so(name) && strcmp(name, main_name) != 0 &&
           strlen(name) < sizeof((fb_linked_part *)0)->name &&
           strncmp(name, main_name, stem) == 0 && name[stem] == '.';
}

/* A role is a word: it stands in reports and JSON as it is. */
void fb__make_word(char *text)
{
    for (; *text != '\0'; text++)
        if (!(*text >= 'a' && *text <= 'z') && !(*text >= 'A' && *text <= 'Z') &&
            !(*text >= '0' && *text <= '9') && strchr("._-+", *text) == NULL)
            *text = '?';
}

/* Whether the trace's header names `parent`; copies its role. */
static bool is_part_of(const fb_trace *t, fb_hash parent, fb_linked_part *part)
{
    cJSON *header = cJSON_Parse(fb_trace_get_info(t)->header);
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(header, "parent"));
    const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(header, "role"));
    fb_hash named;
    const bool is = id != NULL && fb_hash_of_hex(&named, id) && fb_hash_equal(named, parent);

    if (role != NULL)
        (void)snprintf(part->role, sizeof part->role, "%s", role);
    fb__make_word(part->role);
    cJSON_Delete(header);
    return is;
}

static fb_status look_into(fb_linked *out, const char *folder, const char *name, size_t stem,
                           fb_hash parent, fb_error *err)
{
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    fb_linked_part part = {.bytes = 0};
    bool found = false;
    fb_trace *t;

    if (path == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    (void)snprintf(path, size, "%s/%s", folder, name);
    if (fb_trace_open(&t, path, NULL) == FB_OK) {
        const fb_trace_info *info = fb_trace_get_info(t);

        (void)snprintf(part.role, sizeof part.role, "%.*s", (int)(fb__linked_stem(name) - stem) - 1,
                       name + stem + 1);
        found = is_part_of(t, parent, &part);
        (void)snprintf(part.name, sizeof part.name, "%s", name);
        part.id = info->id;
        part.status = info->status;
        part.bytes = info->bytes;
        part.events = info->events;
        fb_trace_close(t);
    }
    free(path);
    if (found && out->count == FB_LINKED_MAX)
        out->more = true;
    else if (found)
        out->parts[out->count++] = part;
    return FB_OK;
}

static int by_name(const void *a, const void *b)
{
    const fb_linked_part *x = a, *y = b;

    return strverscmp(x->name, y->name);
}

static fb_status look_around(fb_linked *out, const fb_trace *main, const char *folder,
                             const char *main_name, fb_error *err)
{
    const fb_hash parent = fb_trace_get_info(main)->id;
    DIR *files = opendir(folder);
    fb_status status = FB_OK;
    int looked = 0;

    if (files == NULL && errno == ENOTDIR) /* a part inside a packed trace has no parts */
        return FB_OK;
    if (files == NULL)
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", folder,
                        strerror(errno));
    for (const struct dirent *file; status == FB_OK && (file = readdir(files)) != NULL;) {
        if (!may_be_part(file->d_name, main_name))
            continue;
        out->more |= looked == FB_LINKED_LOOKED_MAX;
        if (out->more)
            break;
        looked++;
        status = look_into(out, folder, file->d_name, fb__linked_stem(main_name), parent, err);
    }
    (void)closedir(files);
    qsort(out->parts, out->count, sizeof *out->parts, by_name);
    return status;
}

fb_status fb_linked_find(fb_linked *out, const fb_trace *main, const char *path, fb_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL   ? strdup(".")
                   : slash == path ? strdup("/")
                                   : strndup(path, (size_t)(slash - path));
    fb_status status;

    *out = (fb_linked){.parts = calloc(FB_LINKED_MAX, sizeof *out->parts)};
    if (folder == NULL || out->parts == NULL)
        status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    else
        status = look_around(out, main, folder, slash == NULL ? path : slash + 1, err);
    free(folder);
    if (status != FB_OK)
        fb_linked_free(out);
    return status;
}

fb_status fb_linked_parts(fb_linked *out, fb_trace *main, const char *path, fb_error *err)
{
    const fb_status status = fb_packed_find(out, main, err);

    if (status != FB_OK || out->count > 0)
        return status;
    fb_linked_free(out);
    return fb_linked_find(out, main, path, err);
}

char *fb_linked_path(const fb_linked_part *part, const char *main)
{
    const char *slash = strrchr(main, '/');
    const size_t folder = part->inside    ? strlen(main)
                          : slash != NULL ? (size_t)(slash - main) + 1
                                          : 0;
    const size_t size = folder + strlen(part->name) + 2;
    char *path = malloc(size);

    if (path != NULL)
        (void)snprintf(path, size, "%.*s%s%s", (int)folder, main, part->inside ? "/" : "",
                       part->name);
    return path;
}

void fb_linked_free(fb_linked *linked)
{
    free(linked->parts);
    *linked = (fb_linked){0};
}
