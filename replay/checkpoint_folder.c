/* SPDX-License-Identifier: Apache-2.0
 *
 * checkpoint_folder.c - the newest of "step-00000042.safetensors".
 */
#include "replay/checkpoint_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "replay/locate.h"

/* 0 for any other name. Eight digits at least: a longer run has longer names. */
static uint64_t step_of_name(const char *name)
{
    static const char start[] = "step-", rest[] = ".safetensors";
    const char *digits = name + sizeof start - 1;
    size_t count;

    if (strncmp(name, start, sizeof start - 1) != 0)
        return 0;
    count = strspn(digits, "0123456789");
    if (count < 8 || count > 19 || strcmp(digits + count, rest) != 0)
        return 0;
    return strtoull(digits, NULL, 10);
}

fb_status fb_newest_checkpoint(char **out, const char *folder, fb_error *err)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    char newest[sizeof entry->d_name] = "";
    uint64_t newest_step = 0;

    if (dir == NULL)
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", folder,
                        strerror(errno));
    while ((entry = readdir(dir)) != NULL) {
        const uint64_t step = step_of_name(entry->d_name);

        if (step > newest_step) {
            newest_step = step;
            (void)snprintf(newest, sizeof newest, "%s", entry->d_name);
        }
    }
    (void)closedir(dir);
    if (newest_step == 0)
        return fb__fail(err, FB_E_NOT_FOUND, FB_NO_OFFSET, "%s: holds no checkpoint", folder);
    *out = fb__join_path(folder, newest);
    if (*out == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", folder);
    return FB_OK;
}
