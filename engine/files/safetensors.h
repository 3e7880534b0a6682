/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors.h - reads and writes safetensors files: weights and checkpoints.
 * Format: https://github.com/huggingface/safetensors (8 bytes of header length, JSON, data).
 */
#ifndef FB_ENGINE_FILES_SAFETENSORS_H
#define FB_ENGINE_FILES_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "firstbit/event.h"
#include "firstbit/status.h"

typedef struct fb_safetensors fb_safetensors;

typedef struct fb_safetensor {
    const char *name;
    fb_dtype dtype;
    uint32_t rank;
    uint64_t shape[FB_RANK_MAX];
    const void *data; /* reading: lives until close; alignment of 1 only */
    size_t bytes;
} fb_safetensor;

/* Maps a file and checks all of it: header length and JSON, names unique, offsets in order and
 * inside the file, sizes that fit shape and dtype. FB_E_NOT_FOUND, FB_E_IO, FB_E_MEMORY,
 * FB_E_FORMAT, FB_E_CORRUPT, FB_E_UNSUPPORTED (a dtype that fb_dtype lacks). */
FB_NODISCARD fb_status fb_safetensors_open(fb_safetensors **out, const char *path, fb_error *err);
void fb_safetensors_close(fb_safetensors *file); /* NULL is fine */

size_t fb_safetensors_count(const fb_safetensors *file);
const fb_safetensor *fb_safetensors_at(const fb_safetensors *file, size_t index);
const fb_safetensor *fb_safetensors_find(const fb_safetensors *file,
                                         const char *name); /* or NULL */

/* A string of "__metadata__", or NULL. */
const char *fb_safetensors_metadata(const fb_safetensors *file, const char *key);

/* Writes a file under a temporary name, syncs and renames it: it is whole or not there. keys and
 * values: metadata. A NaN of float32 is written as 0x7fc00000. hash (may be NULL): content hash of
 * the file. path NULL: writes nothing, only computes the hash that the file would have. FB_E_IO,
 * FB_E_FULL, FB_E_MEMORY. */
FB_NODISCARD fb_status fb_safetensors_write(const char *path, const fb_safetensor *tensors,
                                            size_t count, const char *const *keys,
                                            const char *const *values, size_t metadata_count,
                                            fb_hash *hash, fb_error *err);

/* Writes one tensor as NumPy .npy (version 1.0), the same way. Also FB_E_UNSUPPORTED (bfloat16 and
 * 8-bit floats, which NumPy lacks), FB_E_USAGE (a shape that overflows). */
FB_NODISCARD fb_status fb_npy_write(const char *path, fb_dtype dtype, uint32_t rank,
                                    const uint64_t *shape, const void *data, fb_error *err);

#endif
