/* SPDX-License-Identifier: Apache-2.0
 *
 * temporary.c - recognizes temporary files of writers that are gone; makes temporary folders.
 */
#include "base/temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void fb__temporary_hold(int descriptor)
{
    (void)flock(descriptor, LOCK_EX | LOCK_NB);
}

static bool skip(const char **at, const char *text)
{
    const size_t count = strlen(text);
    const bool is = strncmp(*at, text, count) == 0;

    *at += is ? count : 0;
    return is;
}

static bool skip_digits(const char **at)
{
    const size_t count = strspn(*at, "0123456789");

    *at += count;
    return count > 0;
}

static bool is_temporary(const char *name, const char *base, const char *before, const char *after)
{
    return skip(&name, base) && skip(&name, before) && skip_digits(&name) && skip(&name, ".") &&
           skip_digits(&name) && skip(&name, after) && *name == '\0';
}

/* Nobody can lock it in between: who makes such a file makes it anew. */
static void remove_if_left(int folder, const char *name)
{
    const int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;

    if (file < 0)
        return;
    if (fstat(file, &st) == 0 && S_ISREG(st.st_mode) &&
        time(NULL) - st.st_mtime >= FB_TEMPORARY_AGE && flock(file, LOCK_EX | LOCK_NB) == 0)
        (void)unlinkat(folder, name, 0);
    (void)close(file);
}

void fb__temporary_sweep(const char *path, const char *before, const char *after)
{
    const int error_number = errno;
    const char *slash = strrchr(path, '/');
    const size_t count = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
    char folder[4096] = "";
    const struct dirent *file;
    DIR *files;

    if (count < sizeof folder)
        memcpy(folder, slash == NULL ? "." : path, count);
    files = opendir(folder);
    while (files != NULL && (file = readdir(files)) != NULL)
        if (is_temporary(file->d_name, slash == NULL ? path : slash + 1, before, after))
            remove_if_left(dirfd(files), file->d_name);
    if (files != NULL)
        (void)closedir(files);
    errno = error_number;
}

bool fb__temporary_folder(char folder[FB_TEMPORARY_FOLDER_BYTES])
{
    const char *place = getenv("TMPDIR");
    const int length = snprintf(folder, FB_TEMPORARY_FOLDER_BYTES, "%s/firstbit-XXXXXX",
                                place != NULL && place[0] == '/' ? place : "/tmp");

    if (length >= FB_TEMPORARY_FOLDER_BYTES) {
        errno = ENAMETOOLONG;
        return false;
    }
    return mkdtemp(folder) != NULL;
}
