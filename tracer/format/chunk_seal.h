/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_seal.h - what building and sealing a chunk share. Private to tracer.
 */
#ifndef FB_TRACER_FORMAT_CHUNK_SEAL_H
#define FB_TRACER_FORMAT_CHUNK_SEAL_H

#include "tracer/format/chunk_builder.h"

/* The local number of a trace-wide one; a new local number at its first use in this chunk. */
uint32_t fb__local_put(fb_builder *b, fb_local *local, uint32_t number, bool *is_new);

/* Forgets the chunk's contents and begins an empty one. */
void fb__builder_reset(fb_builder *b);

#endif
