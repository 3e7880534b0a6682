/* SPDX-License-Identifier: Apache-2.0
 *
 * whole_file.c - temporary name, sync, rename.
 */
#include "cli/whole_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/output.h"

/* errno says what failed. */
static bool write_text(const char *path, const char *mode, const char *text, bool sync)
{
    FILE *file = fopen(path, mode);
    bool written;
    int error;

    if (file == NULL)
        return false;
    written = fputs(text, file) != EOF && fflush(file) == 0 && (!sync || fsync(fileno(file)) == 0);
    error = errno;
    if (fclose(file) != 0 && written) {
        written = false;
        error = errno;
    }
    errno = error;
    return written;
}

int cli_write_whole(const cli_args *args, const char *path, const char *text)
{
    const size_t size = strlen(path) + 32;
    struct stat st;
    char *temporary;
    int error;

    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return write_text(path, "w", text, false) ? 0
                                                  : cli_fail(args, "%s: %s", path, strerror(errno));
    temporary = malloc(size);
    if (temporary == NULL)
        return cli_fail(args, "out of memory");
    (void)snprintf(temporary, size, "%s.%ld.part", path, (long)getpid());
    if (write_text(temporary, "wx", text, true) && rename(temporary, path) == 0) {
        free(temporary);
        return 0;
    }
    error = errno;
    (void)unlink(temporary);
    free(temporary);
    return cli_fail(args, "%s: %s", path, strerror(error));
}
