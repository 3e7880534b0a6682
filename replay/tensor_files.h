/* SPDX-License-Identifier: Apache-2.0
 *
 * tensor_files.h - which tensors of a replay are wanted as files, and how those files are called.
 */
#ifndef FB_REPLAY_TENSOR_FILES_H
#define FB_REPLAY_TENSOR_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "firstbit/event.h"
#include "firstbit/status.h"
#include "replay/tensor_archive.h"

typedef struct fb__tensor_files {
    const char *glob;            /* over "path", "path:slot" and "path.slot" */
    const char *folder;          /* of .npy files; NULL: */
    fb__tensor_archive *archive; /* one file holds them all */
    uint64_t from, to;           /* steps, inclusive */
    uint64_t made, unchecked;
} fb__tensor_files;

/* output: a file where its name ends in ".safetensors", else a folder, which is made, and those
 * above it, where they are missing. FB_E_IO, FB_E_NOT_FOUND, FB_E_FULL, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__tensor_files_open(fb__tensor_files *files, const char *glob,
                                             const char *output, uint64_t from, uint64_t to,
                                             fb_error *err);

/* Whether the tensor of this event is wanted. */
bool fb__tensor_files_want(const fb__tensor_files *files, const fb_site *site,
                           const fb_event *event);

/* Writes it as "step-000042.micro-0.forward.h.1.mlp.fc.out.npy", or under that name without its
 * end into the one file. checked: its hash is the one in the trace. As fb_npy_write and
 * fb__tensor_archive_add. */
FB_NODISCARD fb_status fb__tensor_files_write(fb__tensor_files *files, const fb_site *site,
                                              const fb_event *event, bool checked, fb_error *err);

/* Writes the one file, where there is one and a tensor for it. trace: id of the recording, to say
 * where they come from. As fb__tensor_archive_write. */
FB_NODISCARD fb_status fb__tensor_files_finish(fb__tensor_files *files, fb_hash trace,
                                               fb_error *err);

void fb__tensor_files_close(fb__tensor_files *files); /* all zeros are fine */

#endif
