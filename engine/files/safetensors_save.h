/* SPDX-License-Identifier: Apache-2.0
 *
 * safetensors_save.h - writes a file that is whole or not there: a temporary name beside it, synced
 * and renamed at the end.
 */
#ifndef FB_ENGINE_FILES_SAFETENSORS_SAVE_H
#define FB_ENGINE_FILES_SAFETENSORS_SAVE_H

#include <stddef.h>
#include <stdint.h>

#include "firstbit/event.h"
#include "firstbit/status.h"

typedef struct fb__save fb__save;

/* Starts a file that will be `path`; NULL: only its hash is wanted. FB_E_IO, FB_E_FULL,
 * FB_E_NOT_FOUND (no such folder), FB_E_MEMORY. */
FB_NODISCARD fb_status fb__save_open(fb__save **out, const char *path, fb_error *err);

/* Appends bytes. A failure is kept and told by fb__save_close. */
void fb__save_put(fb__save *save, const void *bytes, size_t count);

/* Syncs, renames and frees; or, after a failure, removes what was written, frees and tells. hash
 * (may be NULL): XXH3-128 of the bytes. */
FB_NODISCARD fb_status fb__save_close(fb__save *save, fb_hash *hash, fb_error *err);

#endif
