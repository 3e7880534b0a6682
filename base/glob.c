/* SPDX-License-Identifier: Apache-2.0
 *
 * glob.c - choosing tensors by a pattern.
 */
#include "base/glob.h"

#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "firstbit/event.h"

static bool matches_one(const char *glob, const char *path, const char *slot)
{
    char both[2 * FB_NAME_MAX + 2];

    if (fnmatch(glob, path, 0) == 0)
        return true;
    (void)snprintf(both, sizeof both, "%s:%s", path, slot);
    if (fnmatch(glob, both, 0) == 0)
        return true;
    (void)snprintf(both, sizeof both, "%s.%s", path, slot);
    return fnmatch(glob, both, 0) == 0;
}

bool fb__glob_matches(const char *glob, const char *path, const char *slot)
{
    if (glob == NULL || matches_one(glob, path, slot))
        return true;
    while (strchr(glob, ',') != NULL) {
        const size_t length = strcspn(glob, ",");
        char one[2 * FB_NAME_MAX + 2];

        if (length < sizeof one) {
            memcpy(one, glob, length);
            one[length] = '\0';
            if (matches_one(one, path, slot))
                return true;
        }
        glob += length + 1;
    }
    return matches_one(glob, path, slot);
}
