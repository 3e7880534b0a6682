/* SPDX-License-Identifier: Apache-2.0
 *
 * flip_write.c - preloaded: a disk that changes one bit of the first large write at an offset. What
 * is written must be read again before it is believed.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

typedef ssize_t (*write_at)(int, const void *, size_t, off_t);

static ssize_t flipped(const char *name, int file, const void *bytes, size_t count, off_t at)
{
    const write_at real = (write_at)dlsym(RTLD_NEXT, name);
    static int done;
    char *copy;
    ssize_t written;

    if (done || count < 8192 || (copy = malloc(count)) == NULL)
        return real(file, bytes, count, at);
    done = 1;
    memcpy(copy, bytes, count);
    copy[count / 2] ^= 4;
    written = real(file, copy, count, at);
    free(copy);
    return written;
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at);
ssize_t pwrite64(int file, const void *bytes, size_t count, off_t at);

ssize_t pwrite(int file, const void *bytes, size_t count, off_t at)
{
    return flipped("pwrite", file, bytes, count, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off_t at)
{
    return flipped("pwrite64", file, bytes, count, at);
}
