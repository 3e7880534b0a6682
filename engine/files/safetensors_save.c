/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors_save.c - the temporary file, its hash, sync and rename.
 */
#include "engine/files/safetensors_save.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/temporary.h"

struct fb__save {
    char *path; /* NULL: the bytes are hashed and go nowhere */
    char *temporary;
    char *folder; /* that holds both */
    int file;
    int error; /* errno of the first failure, or 0 */
    XXH3_state_t *hash;
};

enum { NAMES_TRIED = 100, WRITE_MAX = 1 << 30 };

static void discard(fb__save *save)
{
    if (save->file >= 0)
        (void)close(save->file);
    if (save->hash != NULL)
        (void)XXH3_freeState(save->hash);
    free(save->path);
    free(save->temporary);
    free(save->folder);
    free(save);
}

/* Creates PATH.tmpPID.N for the first N that is free; mode as the umask wants it, which mkstemp
 * would ignore. */
static int create_temporary(fb__save *save)
{
    fb__temporary_sweep(save->path, ".tmp", "");
    for (int n = 0; n < NAMES_TRIED; n++) {
        if (asprintf(&save->temporary, "%s.tmp%ld.%d", save->path, (long)getpid(), n) < 0) {
            save->temporary = NULL;
            return ENOMEM;
        }
        save->file = open(save->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (save->file >= 0) {
            fb__temporary_hold(save->file);
            return 0;
        }
        free(save->temporary);
        save->temporary = NULL;
        if (errno != EEXIST)
            return errno;
    }
    return EEXIST;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
}

fb_status fb__save_open(fb__save **out, const char *path, fb_error *err)
{
    fb__save *save = calloc(1, sizeof *save);
    int error = ENOMEM;

    if (save == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory",
                        path == NULL ? "hash of a file" : path);
    save->file = -1;
    save->path = path == NULL ? NULL : strdup(path);
    save->folder = path == NULL ? NULL : folder_of(path);
    save->hash = XXH3_createState();
    if (path == NULL && save->hash != NULL)
        error = 0;
    else if (save->path != NULL && save->folder != NULL && save->hash != NULL)
        error = create_temporary(save);
    if (error != 0) {
        discard(save);
        return fb__fail(err, fb__status_of_errno(error), FB_NO_OFFSET, "%s: cannot write: %s",
                        path == NULL ? "hash of a file" : path, strerror(error));
    }
    (void)XXH3_128bits_reset(save->hash);
    *out = save;
    return FB_OK;
}

void fb__save_put(fb__save *save, const void *bytes, size_t count)
{
    const char *at = bytes;

    if (save->error != 0 || count == 0)
        return;
    (void)XXH3_128bits_update(save->hash, bytes, count);
    if (save->path == NULL)
        return;
    while (count > 0) {
        const ssize_t n = write(save->file, at, count < WRITE_MAX ? count : WRITE_MAX);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            save->error = n < 0 ? errno : EIO;
            return;
        }
        at += n;
        count -= (size_t)n;
    }
}

/* After a rename the folder holds the new name; it too has to reach the disk. Not every file system
 * can sync a folder, so a refusal is no failure. */
static void sync_folder(const char *folder)
{
    const int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (file >= 0) {
        (void)fsync(file);
        (void)close(file);
    }
}

/* Syncs the file and gives it its name; a failure goes to save->error. */
static void finish(fb__save *save)
{
    int closed;

    if (save->error == 0 && fsync(save->file) != 0)
        save->error = errno;
    closed = close(save->file);
    save->file = -1;
    if (save->error == 0 && closed != 0)
        save->error = errno;
    if (save->error == 0 && rename(save->temporary, save->path) != 0)
        save->error = errno;
}

fb_status fb__save_close(fb__save *save, fb_hash *hash, fb_error *err)
{
    fb_status status = FB_OK;

    if (save->path != NULL)
        finish(save);
    if (save->error != 0) {
        (void)unlink(save->temporary);
        status = fb__fail(err, fb__status_of_errno(save->error), FB_NO_OFFSET,
                          "%s: cannot write: %s", save->path, strerror(save->error));
    } else {
        const XXH128_hash_t h = XXH3_128bits_digest(save->hash);

        if (hash != NULL)
            *hash = (fb_hash){h.low64, h.high64};
        if (save->folder != NULL)
            sync_folder(save->folder);
    }
    discard(save);
    return status;
}
