/* SPDX-License-Identifier: Apache-2.0
 *
 * tensor_archive.c - the temporary file, mapped when all tensors are there.
 */
#include "replay/tensor_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "engine/files/safetensors.h"
#include "replay/locate.h"

struct fb__tensor_archive {
    char *path;
    int file; /* unnamed; holds the tensors' bytes one after the other */
    size_t bytes;
    fb_safetensor *tensors; /* data: NULL until they are mapped */
    size_t count, capacity;
};

enum { WRITE_MAX = 1 << 30 };

/* A file without a name in the folder of the archive. Where the file system cannot make one, a
 * named one loses its name at once. */
static int open_unnamed(const char *folder)
{
    char *name;
    int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return file;
    name = fb__join_path(folder, ".firstbit-XXXXXX");
    if (name == NULL) {
        errno = ENOMEM;
        return -1;
    }
    file = mkostemp(name, O_CLOEXEC);
    if (file >= 0)
        (void)unlink(name);
    free(name);
    return file;
}

fb_status fb__tensor_archive_open(fb__tensor_archive **out, const char *path, fb_error *err)
{
    fb__tensor_archive *archive = calloc(1, sizeof *archive);
    char *folder = fb__folder_of(path);
    struct stat s;
    int error = ENOMEM;

    if (archive != NULL) {
        archive->file = -1;
        archive->path = strdup(path);
    }
    if (archive != NULL && archive->path != NULL && folder != NULL) {
        archive->file = open_unnamed(folder);
        error = archive->file < 0 ? errno : 0;
        if (error == 0 && stat(path, &s) == 0 && S_ISDIR(s.st_mode))
            error = EISDIR; /* told before the replay, not after it */
    }
    free(folder);
    if (error == 0) {
        *out = archive;
        return FB_OK;
    }
    fb__tensor_archive_close(archive);
    return fb__fail(err, fb__status_of_errno(error), FB_NO_OFFSET, "%s: cannot write: %s", path,
                    strerror(error));
}

static fb_status put(fb__tensor_archive *archive, const void *data, size_t count, fb_error *err)
{
    const char *at = data;

    while (count > 0) {
        const ssize_t n = write(archive->file, at, count < WRITE_MAX ? count : WRITE_MAX);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            const int error = n < 0 ? errno : EIO;

            return fb__fail(err, fb__status_of_errno(error), FB_NO_OFFSET, "%s: cannot write: %s",
                            archive->path, strerror(error));
        }
        at += n;
        count -= (size_t)n;
    }
    return FB_OK;
}

fb_status fb__tensor_archive_add(fb__tensor_archive *archive, const char *name, fb_dtype dtype,
                                 uint32_t rank, const uint64_t *shape, const void *data,
                                 size_t bytes, fb_error *err)
{
    fb_safetensor *tensor;

    if (archive->count == archive->capacity) {
        const size_t capacity = 2 * archive->capacity + 64;
        fb_safetensor *grown = realloc(archive->tensors, capacity * sizeof *grown);

        if (grown == NULL)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", archive->path);
        archive->tensors = grown;
        archive->capacity = capacity;
    }
    tensor = &archive->tensors[archive->count];
    *tensor = (fb_safetensor){.name = strdup(name), .dtype = dtype, .rank = rank, .bytes = bytes};
    if (tensor->name == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", archive->path);
    archive->count++;
    memcpy(tensor->shape, shape, rank * sizeof *shape);
    archive->bytes += bytes;
    return put(archive, data, bytes, err);
}

fb_status fb__tensor_archive_write(fb__tensor_archive *archive, const char *const *keys,
                                   const char *const *values, size_t metadata_count, fb_error *err)
{
    const char *map = "";
    size_t at = 0;
    fb_status status;

    if (archive->bytes > 0) {
        map = mmap(NULL, archive->bytes, PROT_READ, MAP_PRIVATE, archive->file, 0);
        if (map == MAP_FAILED)
            return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: cannot map: %s",
                            archive->path, strerror(errno));
    }
    for (size_t i = 0; i < archive->count; i++) {
        archive->tensors[i].data = map + at;
        at += archive->tensors[i].bytes;
    }
    status = fb_safetensors_write(archive->path, archive->tensors, archive->count, keys, values,
                                  metadata_count, NULL, err);
    if (archive->bytes > 0)
        (void)munmap((void *)map, archive->bytes);
    return status;
}

void fb__tensor_archive_close(fb__tensor_archive *archive)
{
    if (archive == NULL)
        return;
    if (archive->file >= 0)
        (void)close(archive->file);
    for (size_t i = 0; i < archive->count; i++)
        free((char *)archive->tensors[i].name);
    free(archive->tensors);
    free(archive->path);
    free(archive);
}
