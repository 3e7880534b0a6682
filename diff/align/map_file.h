/* SPDX-License-Identifier: Apache-2.0
 *
 * map_file.h - what the user says about names: a file of regular expressions that turn paths of a
 * into paths of b. It overrides what is found by content.
 *
 * A line is `PATTERN -> REPLACEMENT`: a POSIX extended regular expression that must match a whole
 * path of a, and the path in b, where \1 to \9 stand for what the groups matched. The first line
 * that matches a path counts. Empty lines and lines that begin with # are left out.
 */
#ifndef FB_DIFF_ALIGN_MAP_FILE_H
#define FB_DIFF_ALIGN_MAP_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "firstbit/event.h"
#include "firstbit/status.h"

typedef struct fb__map fb__map;

enum { FB__MAP_LINES_MAX = 4096 };

/* FB_E_NOT_FOUND, FB_E_IO, FB_E_MEMORY; FB_E_FORMAT names the line that is wrong. */
FB_NODISCARD fb_status fb__map_read(fb__map **out, const char *path, fb_error *err);
void fb__map_free(fb__map *map); /* NULL is fine */

/* The path in b of a path in a; false where no line matches, or it would be too long. */
bool fb__map_apply(char out[FB_NAME_MAX + 1], const fb__map *map, const char *path);

#endif
