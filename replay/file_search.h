/* SPDX-License-Identifier: Apache-2.0
 *
 * file_search.h - files that may be the one that is looked for, under whatever name: folders are
 * walked once, to a bounded depth and number of entries, and candidates are told by their size or,
 * for checkpoints, by the first bytes. Whether one is right, its content hash decides.
 */
#ifndef FB_REPLAY_FILE_SEARCH_H
#define FB_REPLAY_FILE_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/status.h"

enum {
    FB__SEARCH_ENTRIES_MAX = 20000, /* of folders, looked at in one search */
    FB__SEARCH_DEPTH_MAX = 3,       /* folders below the one where a search starts */
};

typedef struct fb__found_file {
    char *path;
    uint64_t bytes;
    uint64_t step; /* of the checkpoint that the file says it is; 0: not looked, or none */
    bool looked;
} fb__found_file;

/* Starts as all zeros; nothing is read before the first question. */
typedef struct fb__file_search {
    fb__found_file *files;
    size_t count, capacity;
    size_t entries; /* looked at so far */
    bool walked;
} fb__file_search;

/* Walks the folders (NULL and files are passed over), unless that was done. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__file_search_walk(fb__file_search *search, const char *const *folders,
                                            size_t count, fb_error *err);

/* The next file of that size at or after *at, which moves behind it; NULL: no more. */
const char *fb__file_search_of_size(fb__file_search *search, size_t *at, uint64_t bytes);

/* The same for files that begin as firstbit's checkpoints of a step do. */
const char *fb__file_search_of_step(fb__file_search *search, size_t *at, uint64_t step);

void fb__file_search_free(fb__file_search *search);

#endif
