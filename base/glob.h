/* SPDX-License-Identifier: Apache-2.0
 *
 * glob.h - choosing tensors by a pattern of the shell's kind.
 */
#ifndef FB_BASE_GLOB_H
#define FB_BASE_GLOB_H

#include <stdbool.h>

/* Whether the glob matches "path", "path:slot" or "path.slot"; '*' also matches dots. Several globs
 * are separated by commas. NULL matches everything. */
bool fb__glob_matches(const char *glob, const char *path, const char *slot);

#endif
