/* SPDX-License-Identifier: Apache-2.0
 *
 * tensor_archive.h - tensors gathered one by one into one safetensors file, which is whole or not
 * there. Their bytes wait in an unnamed temporary file beside it, so memory does not grow with
 * them and nothing is left behind by a process that is killed.
 */
#ifndef FB_REPLAY_TENSOR_ARCHIVE_H
#define FB_REPLAY_TENSOR_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "firstbit/event.h"
#include "firstbit/status.h"

typedef struct fb__tensor_archive fb__tensor_archive;

/* Starts what will be the file `path`. FB_E_NOT_FOUND (no such folder), FB_E_IO, FB_E_FULL,
 * FB_E_MEMORY. */
FB_NODISCARD fb_status fb__tensor_archive_open(fb__tensor_archive **out, const char *path,
                                               fb_error *err);

/* Adds a tensor; everything is copied. FB_E_IO, FB_E_FULL, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__tensor_archive_add(fb__tensor_archive *archive, const char *name,
                                              fb_dtype dtype, uint32_t rank, const uint64_t *shape,
                                              const void *data, size_t bytes, fb_error *err);

/* Writes the file, with this metadata. As fb_safetensors_write. */
FB_NODISCARD fb_status fb__tensor_archive_write(fb__tensor_archive *archive,
                                                const char *const *keys, const char *const *values,
                                                size_t metadata_count, fb_error *err);

void fb__tensor_archive_close(fb__tensor_archive *archive); /* NULL is fine */

#endif
