/* SPDX-License-Identifier: Apache-2.0
 *
 * locate.h - finds the files that a run needs again (data, weights, checkpoints) and accepts them
 * by content hash only.
 */
#ifndef FB_REPLAY_LOCATE_H
#define FB_REPLAY_LOCATE_H

#include "firstbit/event.h"
#include "firstbit/status.h"
#include "replay/trace_header.h"

/*
 * Finds the recorded file: by its path from the working directory, then from the trace's folder,
 * then by its name in the trace's folder, then at `elsewhere` (a folder or the file itself; may be
 * NULL). The first candidate whose contents are the recorded ones is taken.
 *
 *   out  malloc'd path
 *
 * FB_E_CHANGED     files of that name exist, but none has the recorded contents
 * FB_E_NOT_FOUND   none exists
 * FB_E_IO, FB_E_MEMORY
 */
FB_NODISCARD fb_status fb__locate_data(char **out, const fb__run_file *file, const char *trace,
                                       const char *elsewhere, fb_error *err);

/* The same for a checkpoint: in "<stem>.ckpt/" beside the trace, in the trace's folder, in the
 * working directory, at `elsewhere`, in other runs' folders "*.ckpt" beside the trace (a resumed
 * run goes on from one of those). */
FB_NODISCARD fb_status fb__locate_checkpoint(char **out, const char *name, fb_hash hash,
                                             const char *trace, const char *elsewhere,
                                             fb_error *err);

/* "dir/name", malloc'd; dir may be "" or "."; NULL when memory is out. */
char *fb__join_path(const char *dir, const char *name);

/* The folder of a path, malloc'd: "." where it names none. NULL when memory is out. */
char *fb__folder_of(const char *path);

/* What follows the last slash. */
const char *fb__base_name(const char *path);

#endif
