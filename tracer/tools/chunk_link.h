/* SPDX-License-Identifier: Apache-2.0
 *
 * chunk_link.h - skip pointers for a chunk that is appended to a file whose earlier chunks are
 * there. Private to tracer.
 */
#ifndef FB_TRACER_TOOLS_CHUNK_LINK_H
#define FB_TRACER_TOOLS_CHUNK_LINK_H

#include "tracer/format/format.h"
#include "tracer/format/trace_file.h"

/* Sets head->offset to the end of the file, and head->skip of chunk head->sequence, the chunk
 * before which begins at `previous`. A chunk's pointer k + 1 is pointer k of where its own pointer
 * k leads, so this reads at most 27 headers. FB_E_IO, FB_E_CORRUPT. */
FB_NODISCARD fb_status fb__chunk_link(fb_chunk_header *head, const fb_trace_file *file,
                                      uint64_t previous, fb_error *err);

#endif
