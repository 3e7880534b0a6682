/* SPDX-License-Identifier: Apache-2.0
 *
 * tensor_files.c - tensors of a replay as .npy files.
 */
#include "replay/tensor_files.h"

#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "engine/safetensors.h"

fb_status fb__make_folder(const char *folder, fb_error *err)
{
    char *path = strdup(folder);
    struct stat s;

    if (path == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", folder);
    for (char *c = path + 1; *c != '\0'; c++)
        if (*c == '/') {
            *c = '\0';
            (void)mkdir(path, 0777); /* an existing one is fine; the last call decides */
            *c = '/';
        }
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        const int error_number = errno;

        free(path);
        return fb__fail(err, fb__status_of_errno(error_number), FB_NO_OFFSET, "%s: %s", folder,
                        strerror(error_number));
    }
    free(path);
    if (stat(folder, &s) != 0 || !S_ISDIR(s.st_mode))
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: expected a folder", folder);
    return FB_OK;
}

static const char *text_or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

bool fb__tensor_files_want(const fb__tensor_files *files, const fb_site *site,
                           const fb_event *event)
{
    const char *path = text_or_empty(site->path);
    const char *slot = text_or_empty(site->slot);
    char both[2 * FB_NAME_MAX + 2];

    if (site->kind != FB_KIND_TENSOR && site->kind != FB_KIND_PARAM)
        return false;
    if (event->step < files->from || event->step > files->to || event->data == NULL)
        return false;
    if (fnmatch(files->glob, path, 0) == 0)
        return true;
    (void)snprintf(both, sizeof both, "%s:%s", path, slot);
    if (fnmatch(files->glob, both, 0) == 0)
        return true;
    (void)snprintf(both, sizeof both, "%s.%s", path, slot);
    return fnmatch(files->glob, both, 0) == 0;
}

/* A file name of it: whatever is no letter, digit, dot, dash or underscore becomes an underscore;
 * a path of dots cannot lead out of the folder, since the name starts with "step-". */
static void make_plain(char *name)
{
    for (char *c = name; *c != '\0'; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
              *c == '.' || *c == '-' || *c == '_'))
            *c = '_';
}

fb_status fb__tensor_files_write(fb__tensor_files *files, const fb_site *site,
                                 const fb_event *event, bool checked, fb_error *err)
{
    char micro[24] = "", again[24] = "", name[256], path[4096];
    fb_status status;
    int length;

    if (event->micro != FB_MICRO_NONE)
        (void)snprintf(micro, sizeof micro, ".micro-%" PRId32, event->micro);
    if (site->occurrence > 0)
        (void)snprintf(again, sizeof again, ".%" PRIu32, site->occurrence);
    length = snprintf(name, sizeof name, "step-%06" PRIu64 "%s.%s.%s.%s%s.npy", event->step, micro,
                      fb_phase_name(site->phase), text_or_empty(site->path),
                      text_or_empty(site->slot), again);
    if (length < 0 || (size_t)length >= sizeof name)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "%s: too long for a file name",
                        text_or_empty(site->path));
    make_plain(name);
    length = snprintf(path, sizeof path, "%s/%s", files->folder, name);
    if (length < 0 || (size_t)length >= sizeof path)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "%s: too long for a path", files->folder);
    status = fb_npy_write(path, site->dtype, site->rank, site->shape, event->data, err);
    if (status == FB_OK) {
        files->made++;
        files->unchecked += !checked;
    }
    return status;
}
