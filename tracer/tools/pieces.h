/* SPDX-License-Identifier: Apache-2.0
 *
 * pieces.h - the pieces of other files that a packed trace holds: written, found and read.
 *
 * The parts ride in chunks behind the main trace's own: chunks without events, whose only section
 * may be skipped. So every reader of version 1 takes the file for the main trace. A piece:
 *
 *     0 u32 part   4 u32 bytes of names   8 u64 offset in the part   16 u64 bytes of the part
 *     24 hash of the part   40 names: main file, zero, this file   then bytes of the part
 */
#ifndef FB_TRACER_PIECES_H
#define FB_TRACER_PIECES_H

#include "base/error.h"
#include "tracer/format/trace_file.h"
#include "tracer/read/trace_state.h"
#include "tracer/tools/pace.h"

enum { FB__PIECE_BYTES = 1 << 20 }; /* of a part in one chunk */

typedef struct fb__piece {
    uint32_t part;
    uint64_t offset, total;
    fb_hash hash;
    char main[256], name[256];
    const uint8_t *bytes;
    size_t count;
} fb__piece;

FB_NODISCARD static inline fb_status fb__pack_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

const char *fb__pack_base_name(const char *path); /* what stands behind the last slash */

/* "folder/name", malloc'd; NULL: no memory. */
char *fb__pack_join(const char *folder, const char *name);

/* Appends the trace's bytes up to `end` to a file. FB_E_IO, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__copy_chunks(fb_trace *t, fb_trace_file *file, uint64_t end,
                                       fb_pace *pace, fb_error *err);

/* Appends the footer of the trace, behind chunks up to `last`. FB_E_IO, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__packed_footer(const fb_trace *t, fb_trace_file *file,
                                         const fb_chunk_header *last, fb_error *err);

/* Appends a chunk that holds the piece. *head: of the chunk before it, with the new one's number;
 * then the new one's. FB_E_IO, FB_E_CORRUPT, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__piece_put(fb_trace_file *file, fb_chunk_header *head, const fb__piece *p,
                                     fb_error *err);

/* The piece in the chunk at `offset`, checked, whose bytes lie in the reader's buffer until the
 * next one. False where there is a chunk of another kind; that is no failure. */
bool fb__piece_get(fb_trace *t, uint64_t offset, fb_chunk_header *head, fb__piece *p);

/* The same without its bytes, which are not read: p->bytes is NULL, *bytes_at where they lie in the
 * file. What they hold is checked by who reads the part. */
bool fb__piece_look(fb_trace *t, uint64_t offset, fb_chunk_header *head, fb__piece *p,
                    uint64_t *bytes_at);

/* Where the pieces begin; the end of the chunks where there are none. *before: the last chunk of
 * the main trace itself. */
uint64_t fb__piece_first(fb_trace *t, fb_chunk_header *before);

#endif
