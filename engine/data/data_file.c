/* SPDX-License-Identifier: Apache-2.0
 *
 * data_file.c - reads a whole data file and hashes it.
 */
#include "engine/data/data_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"

/* Opens path, or folder/path where that is the one that exists. -1 and errno on failure. */
static int open_either(const char *path, const char *folder)
{
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hang it */
    char *longer;
    int second;

    if (file >= 0 || errno != ENOENT || folder == NULL || path[0] == '/')
        return file;
    if (asprintf(&longer, "%s/%s", folder, path) < 0) {
        errno = ENOMEM;
        return -1;
    }
    second = open(longer, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    free(longer);
    return second;
}

static fb_status read_bytes(fb__file *out, int file, const char *path, fb_error *err)
{
    struct stat info;
    size_t size, got = 0;

    if (fstat(file, &info) != 0)
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: not a regular file", path);
    size = (size_t)info.st_size;
    out->bytes = malloc(size + 1);
    if (out->bytes == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: no memory for %zu bytes", path, size);
    while (got < size) {
        const ssize_t n = read(file, out->bytes + got, size - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fb__fail(err, FB_E_IO, got, "%s: %s", path, strerror(errno));
        if (n == 0)
            return fb__fail(err, FB_E_IO, got, "%s: became shorter while it was read", path);
        got += (size_t)n;
    }
    out->count = size;
    return FB_OK;
}

fb_status fb__file_read(fb__file *out, const char *path, const char *folder, fb_error *err)
{
    const int file = open_either(path, folder);
    fb_status status;

    *out = (fb__file){0};
    if (file < 0)
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", path,
                        strerror(errno));
    status = read_bytes(out, file, path, err);
    (void)close(file);
    if (status != FB_OK)
        fb__file_free(out);
    else
        out->hash = fb_hash_bytes(out->bytes, out->count);
    return status;
}

void fb__file_free(fb__file *file)
{
    free(file->bytes);
    *file = (fb__file){0};
}
