/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_state.h - an open trace as the reader's parts see it: trace_source.c (bytes and chunk
 * headers), trace.c (open, seek, next), trace_verify.c, trace_recover.c, event_json.c, and others.
 * Private to tracer.
 */
#ifndef FB_TRACER_READ_TRACE_STATE_H
#define FB_TRACER_READ_TRACE_STATE_H

#include "firstbit/trace.h"
#include "tracer/format/chunk_reader.h"
#include "tracer/format/format.h"
#include "tracer/format/sites.h"
#include "tracer/format/tail.h"
#include "tracer/read/kept_bodies.h"
#include "tracer/stack/stack.h"

typedef struct fb_values_reader fb_values_reader; /* trace_values.c */

/* Where a part of a packed trace lies in the file: pieces of equal size at equal distances. */
typedef struct fb_part_place {
    uint64_t first, stride; /* offset of the first piece's bytes; from a piece to the next one */
    uint64_t piece_bytes;   /* of each but the last; 0: the trace is a file of its own */
} fb_part_place;

struct fb_trace {
    char *path;
    int descriptor;
    fb_part_place part;
    uint64_t size, bytes_read;
    fb_file_header header;
    char *json;
    fb_trace_info info;
    fb_error damage; /* why reading ends at info.damage */
    fb_error unread; /* the last read that failed; status FB_OK: none did */

    fb_footer footer;
    bool has_footer, has_last;
    fb_chunk_header last; /* of the last sound chunk with events */
    uint64_t end;         /* where sound chunks with events end */

    fb_buffer tail;   /* chunks made from the tail file of a torn trace, read as if they lay ... */
    uint64_t tail_at; /* ... at this offset of the file */
    uint64_t tail_events; /* how many events they hold */

    fb_sites *sites;          /* shared with the traces that were opened beside it */
    fb_values_reader *values; /* made by the first fb_trace_values */
    fb_chunk_reader chunk;
    fb_kept_bodies kept;
    uint64_t next_offset; /* of the chunk after the one being read */
    uint64_t next_sequence, next_event;
    uint64_t seek_step, seek_event; /* earlier events are passed over */

    uint8_t *steps; /* of the chunk that fb_trace_get_step read last */
    uint64_t steps_offset;
    uint32_t steps_bytes;

    char *stack; /* text of the stack asked for last */
    uint32_t stack_site;
    fb_frame_texts frame_texts;
};

/* --- trace_source.c ----------------------------------------------------------------------------
 */

/* Reads up to `count` bytes at `offset`; *got is less only at the end of the file. FB_E_IO. */
FB_NODISCARD fb_status fb__trace_read(fb_trace *t, void *to, size_t count, uint64_t offset,
                                      size_t *got, fb_error *err);

/* Reads a chunk header and nothing more. FB_E_CORRUPT where there is no sound one; FB_E_IO. */
FB_NODISCARD fb_status fb__trace_chunk_header(fb_trace *t, uint64_t offset, fb_chunk_header *out,
                                              fb_error *err);

/* Reads a chunk's body into t->chunk and lets it check and take it. FB_E_CORRUPT, FB_E_IO,
 * FB_E_LIMIT, FB_E_MEMORY. */
FB_NODISCARD fb_status fb__trace_load(fb_trace *t, const fb_chunk_header *head, fb_error *err);

/* Whether a whole chunk with a right body check lies at `offset`; false also where reading fails.
 */
bool fb__trace_sound_chunk(fb_trace *t, uint64_t offset, fb_chunk_header *out);

/* The last sound chunk at or before `from`, looking at every page; false where there is none. *end:
 * where the chunk may end at most: UINT64_MAX for the first call, kept for later ones, which look
 * further back. */
bool fb__trace_scan_back(fb_trace *t, uint64_t from, uint64_t *end, fb_chunk_header *out);

/* What a chunk is looked for by: all grow from chunk to chunk. */
typedef enum fb_target {
    FB_TARGET_FINISHED, /* a step that finished in it */
    FB_TARGET_STEP,     /* the step of its last record */
    FB_TARGET_EVENT,    /* the number of its last event */
} fb_target;

/* The first chunk that reaches `value`, by skip pointers from the last one: O(log n) chunk headers
 * are read. FB_E_NOT_FOUND where even the last chunk does not; FB_E_CORRUPT, FB_E_IO. */
FB_NODISCARD fb_status fb__trace_find_chunk(fb_trace *t, fb_target target, uint64_t value,
                                            fb_chunk_header *out, fb_error *err);

/* Opens the file and reads its header. As fb_trace_open. */
FB_NODISCARD fb_status fb__trace_open_source(fb_trace *t, const char *path, fb_error *err);

/* Finds the footer or the last sound chunk; fills t->info. */
FB_NODISCARD fb_status fb__trace_find_end(fb_trace *t, fb_error *err);

/* --- unpack.c ----------------------------------------------------------------------------------
 */

/* Opens "packed.fbt/run.child1.fbt", a part as it lies in its packed trace: sets t's descriptor,
 * size and place. FB_E_NOT_FOUND where there is no such part, or no packed trace of that name. */
FB_NODISCARD fb_status fb__trace_open_packed(fb_trace *t, fb_error *err);

/* --- trace_tail.c ------------------------------------------------------------------------------
 */

/* A tail file as it was read. */
typedef struct fb_tail_copy {
    uint8_t *bytes; /* of the halves; NULL: there is no tail of this trace */
    size_t half_bytes;
    fb_tail_half_head head[FB_TAIL_HALVES]; /* sequence 0: says nothing */
} fb_tail_copy;

/* Reads the tail file. Its program may go on: a half that it fills again meanwhile says nothing,
 * all its rows are in the trace. FB_E_MEMORY, FB_E_IO. */
FB_NODISCARD fb_status fb__trace_copy_tail(fb_tail_copy *out, fb_trace *t, fb_error *err);
void fb__tail_copy_free(fb_tail_copy *copy);

/* Joins what the copy adds to the chunks that the trace has; these must have been looked for after
 * the copy was made. FB_E_MEMORY, FB_E_IO. */
FB_NODISCARD fb_status fb__trace_join_tail(fb_trace *t, const fb_tail_copy *tail, fb_error *err);

/* --- trace_values.c ----------------------------------------------------------------------------
 */

void fb__values_reader_destroy(fb_values_reader *v); /* NULL is fine */

/* --- trace.c -----------------------------------------------------------------------------------
 */

/* Loads the chunk at t->next_offset unless one is loaded; at the end none is. As fb_trace_next. */
FB_NODISCARD fb_status fb__trace_next_chunk(fb_trace *t, fb_error *err);

/* Begins anew with an empty table of sites, whose strings are renamed (sites.h). For the only
 * reader of its table. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__trace_rename(fb_trace *t,
                                        size_t (*rename)(const void *self, char *out,
                                                         const char *text, size_t count),
                                        const void *self, fb_error *err);

/* The next event or end of step, in t->chunk. As fb_trace_next. */
FB_NODISCARD fb_status fb__trace_next_item(fb_trace *t, fb_item *item, fb_error *err);

#endif
