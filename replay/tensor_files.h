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

typedef struct fb__tensor_files {
    const char *glob;   /* over "path", "path:slot" and "path.slot" */
    const char *folder; /* exists */
    uint64_t from, to;  /* steps, inclusive */
    uint64_t made, unchecked;
} fb__tensor_files;

/* Makes the folder, and those above it, where they are missing. FB_E_IO, FB_E_NOT_FOUND,
 * FB_E_FULL. */
FB_NODISCARD fb_status fb__make_folder(const char *folder, fb_error *err);

/* Whether the tensor of this event is wanted. */
bool fb__tensor_files_want(const fb__tensor_files *files, const fb_site *site,
                           const fb_event *event);

/* Writes it as "step-000042.micro-0.forward.h.1.mlp.fc.out.npy". checked: its hash is the one in
 * the trace. As fb_npy_write. */
FB_NODISCARD fb_status fb__tensor_files_write(fb__tensor_files *files, const fb_site *site,
                                              const fb_event *event, bool checked, fb_error *err);

#endif
