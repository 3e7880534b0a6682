/* SPDX-License-Identifier: Apache-2.0
 *
 * glob.c - choosing tensors by a pattern.
 */
#include "base/glob.h"

#include <fnmatch.h>
#include <stdio.h>

#include "firstbit/event.h"

bool fb__glob_matches(const char *glob, const char *path, const char *slot)
{
    char both[2 * FB_NAME_MAX + 2];

    if (glob == NULL || fnmatch(glob, path, 0) == 0)
        return true;
    (void)snprintf(both, sizeof both, "%s:%s", path, slot);
    if (fnmatch(glob, both, 0) == 0)
        return true;
    (void)snprintf(both, sizeof both, "%s.%s", path, slot);
    return fnmatch(glob, both, 0) == 0;
}
