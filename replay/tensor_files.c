/* SPDX-License-Identifier: Apache-2.0
 *
 * tensor_files.c - tensors of a replay as .npy files, or as one safetensors file.
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
#include "base/hash.h"
#include "engine/files/safetensors.h"

/* With those above it. */
static fb_status make_folder(const char *folder, fb_error *err)
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

static bool ends_in(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);

    return n > m && strcmp(text + n - m, end) == 0;
}

fb_status fb__tensor_files_open(fb__tensor_files *files, const char *glob, const char *output,
                                uint64_t from, uint64_t to, fb_error *err)
{
    *files = (fb__tensor_files){.glob = glob, .from = from, .to = to};
    if (ends_in(output, ".safetensors"))
        return fb__tensor_archive_open(&files->archive, output, err);
    files->folder = output;
    return make_folder(output, err);
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

/* "step-000042.micro-0.forward.h.1.mlp.fc.out"; false where it does not fit. */
static bool spell(char *name, size_t size, const fb_site *site, const fb_event *event)
{
    char micro[24] = "", again[24] = "";
    int length;

    if (event->micro != FB_MICRO_NONE)
        (void)snprintf(micro, sizeof micro, ".micro-%" PRId32, event->micro);
    if (site->occurrence > 0)
        (void)snprintf(again, sizeof again, ".%" PRIu32, site->occurrence);
    length = snprintf(name, size, "step-%06" PRIu64 "%s.%s.%s.%s%s", event->step, micro,
                      fb_phase_name(site->phase), text_or_empty(site->path),
                      text_or_empty(site->slot), again);
    return length >= 0 && (size_t)length < size;
}

static fb_status write_npy(const fb__tensor_files *files, char *name, const fb_site *site,
                           const fb_event *event, fb_error *err)
{
    char *path;
    fb_status status;

    make_plain(name);
    if (asprintf(&path, "%s/%s.npy", files->folder, name) < 0)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", files->folder);
    status = fb_npy_write(path, site->dtype, site->rank, site->shape, event->data, err);
    free(path);
    return status;
}

fb_status fb__tensor_files_write(fb__tensor_files *files, const fb_site *site,
                                 const fb_event *event, bool checked, fb_error *err)
{
    char name[2 * FB_NAME_MAX + 128];
    fb_status status;

    /* 250 bytes and ".npy" are still a file name. */
    if (!spell(name, files->archive == NULL ? 251 : sizeof name, site, event))
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "%s: too long for a file name",
                        text_or_empty(site->path));
    status = files->archive == NULL
                 ? write_npy(files, name, site, event, err)
                 : fb__tensor_archive_add(files->archive, name, site->dtype, site->rank,
                                          site->shape, event->data, event->data_bytes, err);
    if (status == FB_OK) {
        files->made++;
        files->unchecked += !checked;
    }
    return status;
}

fb_status fb__tensor_files_finish(fb__tensor_files *files, fb_hash trace, fb_error *err)
{
    static const char *const keys[] = {"format", "trace", "unchecked"};
    char id[FB_HASH_HEX_BYTES], unchecked[24];
    const char *const values[] = {"firstbit-tensors-1", fb_hash_hex(id, trace), unchecked};

    if (files->archive == NULL || files->made == 0)
        return FB_OK;
    (void)snprintf(unchecked, sizeof unchecked, "%" PRIu64, files->unchecked);
    return fb__tensor_archive_write(files->archive, keys, values, 3, err);
}

void fb__tensor_files_close(fb__tensor_files *files)
{
    fb__tensor_archive_close(files->archive);
    files->archive = NULL;
}
