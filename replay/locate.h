/* SPDX-License-Identifier: Apache-2.0
 *
 * locate.h - finds the files that a run needs again (data, weights, checkpoints) and accepts them
 * by content hash only: by their names where they were, then by their contents near the trace.
 */
#ifndef FB_REPLAY_LOCATE_H
#define FB_REPLAY_LOCATE_H

#include "firstbit/event.h"
#include "firstbit/status.h"
#include "replay/file_search.h"
#include "replay/trace_header.h"

/* Where the files of a trace are looked for. Holds what was found while it was looked for: one for
 * all questions about one trace. */
typedef struct fb__places {
    const char *trace;     /* path */
    const char *elsewhere; /* a folder or a file; NULL: none */
    fb__file_search search;
} fb__places;

/*
 * Finds the recorded file: by its path from the working directory, then from the trace's folder,
 * then by its name in the trace's folder, then at `elsewhere`; then any file of its size in the
 * trace's folder and at `elsewhere`, some folders deep. The first one whose contents are the
 * recorded ones is taken.
 *
 *   out  malloc'd path
 *
 * FB_E_CHANGED     files of that name exist, but none has the recorded contents
 * FB_E_NOT_FOUND   none exists
 * FB_E_IO, FB_E_MEMORY
 */
FB_NODISCARD fb_status fb__locate_data(char **out, const fb__run_file *file, fb__places *places,
                                       fb_error *err);

/* The same for a checkpoint of a step: by name in "<stem>.ckpt/" beside the trace, in the trace's
 * folder, in the working directory, at `elsewhere`, in other runs' folders "*.ckpt" beside the
 * trace (a resumed run goes on from one of those); then any checkpoint of that step in the trace's
 * folder and at `elsewhere`. */
FB_NODISCARD fb_status fb__locate_checkpoint(char **out, const char *name, uint64_t step,
                                             fb_hash hash, fb__places *places, fb_error *err);

void fb__places_free(fb__places *places);

/* "dir/name", malloc'd; dir may be "" or "."; NULL when memory is out. */
char *fb__join_path(const char *dir, const char *name);

/* The folder of a path, malloc'd: "." where it names none. NULL when memory is out. */
char *fb__folder_of(const char *path);

/* What follows the last slash. */
const char *fb__base_name(const char *path);

#endif
