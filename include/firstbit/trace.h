/* SPDX-License-Identifier: Apache-2.0
 *
 * trace.h - reads a trace. Trusts nothing in the file, needs at most 64 MiB, and opens torn traces
 * as they are. Format: docs/trace-format.md. Library firstbit_trace.
 */
#ifndef FIRSTBIT_TRACE_H
#define FIRSTBIT_TRACE_H

#include "firstbit/event.h"
#include "firstbit/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fb_trace fb_trace;

/* X(NAME, number, "name") */
#define FB_TRACE_STATUS_LIST(X)                                                                    \
    X(COMPLETE, 0, "complete") /* closed by its program */                                         \
    X(TORN, 1, "torn")         /* ends early: killed, or still being written */                    \
    X(FULL, 2, "full")         /* recording stopped: no space, a size limit, a fault */            \
    X(CORRUPT, 3, "corrupt")   /* bytes are not what was written; fb_trace_info.damage says where */

typedef enum fb_trace_status {
#define FB_TRACE_STATUS_ENUM(name, number, text) FB_TRACE_##name = (number),
    FB_TRACE_STATUS_LIST(FB_TRACE_STATUS_ENUM)
#undef FB_TRACE_STATUS_ENUM
} fb_trace_status;

FB_API const char *fb_trace_status_name(fb_trace_status status);

typedef struct fb_trace_info {
    fb_trace_status status;
    uint64_t damage; /* byte offset where reading must end, FB_NO_OFFSET when complete */
    uint32_t version;
    fb_hash id; /* unique id of the recording */
    fb_level level;
    uint64_t first_step, last_step; /* last finished step; first > last when there is none */
    uint64_t steps;                 /* finished ones, step 0 included */
    uint64_t events, bytes, chunks;
    const char *header;       /* JSON text, lives as long as the trace */
    uint64_t first_nonfinite; /* number of the first event with a NaN or infinity, or UINT64_MAX */
    uint64_t elapsed_ns;      /* from the making of the trace to its end; 0: not known */
    uint64_t own_ns;          /* processor time in which the recorder made chunks; 0: not known */
    bool recovered;           /* made by fb_trace_recover from a torn or corrupt trace */
    const char *reason; /* why it is not complete, "" where it is; lives as long as the trace */
} fb_trace_info;

/* Roots and chains of one finished step. Bit 1u << FB_CLASS_... of `classes`: recorded in this step
 * (a class that is not has root 0 and the chain of the step before). */
typedef struct fb_trace_step {
    uint64_t step;
    uint64_t first_event, events; /* event numbers count from 0 over the file */
    uint32_t classes;
    fb_hash root[FB_CLASS_COUNT];
    fb_hash chain[FB_CLASS_COUNT];
} fb_trace_step;

/*
 * Opens a trace for reading, torn or not.
 *
 * FB_E_NOT_FOUND, FB_E_IO   the file cannot be read (a directory, a pipe: FB_E_FORMAT)
 * FB_E_FORMAT               empty, or no trace at all
 * FB_E_VERSION              needs a feature that this reader lacks
 * FB_E_CORRUPT              the header fails its check (damage further on: fb_trace_info.status)
 */
FB_API FB_NODISCARD fb_status fb_trace_open(fb_trace **out, const char *path, fb_error *err);
FB_API void fb_trace_close(fb_trace *trace); /* NULL is fine */

/* The same for a trace that is read beside another one: both share one table of sites, which is
 * what takes most of a reader's memory. A number is then the same site for both, and lives as long
 * as one of them. For one thread. beside: NULL: as fb_trace_open. */
FB_API FB_NODISCARD fb_status fb_trace_open_beside(fb_trace **out, const char *path,
                                                   fb_trace *beside, fb_error *err);

/* Bytes of memory that a reader holds, nearly, with those that share its table. */
FB_API size_t fb_trace_memory(const fb_trace *trace);

/* Cheap facts, known after open (status and totals come from the end of the file; a full check is
 * fb_trace_verify). Lives as long as the trace. */
FB_API const fb_trace_info *fb_trace_get_info(const fb_trace *trace);

/* Bytes read from the file so far: the proof that a search was logarithmic. */
FB_API uint64_t fb_trace_bytes_read(const fb_trace *trace);

/* Roots and chains of a finished step, by O(log n) reads. FB_E_NOT_FOUND where that step is not in
 * the trace; FB_E_CORRUPT. */
FB_API FB_NODISCARD fb_status fb_trace_get_step(fb_trace *trace, uint64_t step, fb_trace_step *out,
                                                fb_error *err);

/* The same for the first finished step that is `step` or later: how to go through all of them, with
 * `step` one above the last answer. */
FB_API FB_NODISCARD fb_status fb_trace_find_step(fb_trace *trace, uint64_t step, fb_trace_step *out,
                                                 fb_error *err);

/* Puts the reader before the first event of `step`, or of the first later one that has events.
 * Without a call, reading starts at the first event. FB_E_CORRUPT. */
FB_API FB_NODISCARD fb_status fb_trace_seek(fb_trace *trace, uint64_t step, fb_error *err);

/* Puts the reader before event `number`, or at the end where there is none. FB_E_CORRUPT. */
FB_API FB_NODISCARD fb_status fb_trace_seek_event(fb_trace *trace, uint64_t number, fb_error *err);

/*
 * The next event; *event is NULL at the end (of the sound part, where the trace is torn).
 *
 *   event   lives until the next call that reads; event->site numbers a site of this reader,
 *           inputs are resolved to (site, step, micro)
 *   number  of the event in the file, from 0; may be NULL
 *
 * FB_E_CORRUPT   a chunk fails its check; err->offset says where
 */
FB_API FB_NODISCARD fb_status fb_trace_next(fb_trace *trace, const fb_event **event,
                                            uint64_t *number, fb_error *err);

/*
 * Recorded contents of event `number`, which has the flag FB_EVENT_VALUES and event->data_bytes of
 * them: copies up to `bytes` from `offset` on. Does not move the reader.
 *
 *   got    bytes copied: less than asked for only at the end of the contents, or on failure
 *   total  bytes of the whole contents; may be NULL
 *
 * FB_E_NOT_FOUND  no such event, or its contents were not recorded
 * FB_E_TORN       the trace ends within them
 * FB_E_CORRUPT, FB_E_IO, FB_E_MEMORY
 */
FB_API FB_NODISCARD fb_status fb_trace_values(fb_trace *trace, uint64_t number, uint64_t offset,
                                              void *to, size_t bytes, size_t *got, uint64_t *total,
                                              fb_error *err);

/* Mean and standard deviation (of the whole, not of a sample) of a sketch's finite elements; NaN
 * where it has none. */
FB_API double fb_sketch_mean(const fb_sketch *sketch);
FB_API double fb_sketch_deviation(const fb_sketch *sketch);

/* One line for people, at most 80 columns: "min -1.25 max 3.5 mean 0.01 sd 0.9" and, where there
 * are any, "nan 3" and "inf 1". Returns out. */
enum { FB_SKETCH_TEXT_BYTES = 128 };
FB_API char *fb_sketch_text(char out[FB_SKETCH_TEXT_BYTES], const fb_sketch *sketch);

/* The site of an event or of an input reference of it: lives as long as the trace. NULL for a
 * number that this reader has not met. */
FB_API const fb_site *fb_trace_site(const fb_trace *trace, uint32_t site);

/* The site's call stack as text, one frame a line ("function at file:line" where symbols are found,
 * else "module+0xoffset"), innermost first; "" where none was recorded. Program files are looked
 * for on this machine by build id. Lives until the next call of this function for this trace. */
FB_API const char *fb_trace_stack(fb_trace *trace, uint32_t site);

/*
 * Reads everything: checks of all chunks, roots and chains recomputed from the events, order of
 * steps, footer against contents.
 *
 *   out       what was found; out->status is exact
 *   progress  called now and then with bytes done and total; may be NULL
 *
 * FB_OK also for a torn, full or corrupt trace: see out->status; err then says why.
 */
FB_API FB_NODISCARD fb_status fb_trace_verify(fb_trace_info *out, fb_trace *trace,
                                              void (*progress)(void *, uint64_t, uint64_t),
                                              void *argument, fb_error *err);

/* What became of a trace that was recovered. */
typedef struct fb_recovered {
    uint64_t events;        /* kept, and checked */
    uint64_t dropped_bytes; /* of the file, left out */
    bool events_known;      /* whether headers that are sound say how many events these held: */
    uint64_t dropped_events;
} fb_recovered;

/* Writes the sound part of `path` as a complete trace `to` and checks the result. progress: as in
 * fb_trace_verify; all is read twice and written once. FB_E_USAGE when both are one file; as
 * fb_trace_open and fb_recorder_open. */
FB_API FB_NODISCARD fb_status fb_trace_recover(fb_recovered *out, const char *path, const char *to,
                                               void (*progress)(void *, uint64_t, uint64_t),
                                               void *argument, fb_error *err);

/*
 * Writes the main trace `path` of a run with all of its parts (traces of its other processes, which
 * lie beside it) as one file, which every reader takes for the main trace. What was written is read
 * again before it gets its name. Rules: docs/trace-format.md, "Linked files".
 *
 *   *parts    how many were found
 *   progress  as in fb_trace_verify
 *
 * FB_E_TORN where one of them is not whole (recover it first); FB_E_USAGE where `path` is packed
 * already, or both are one file; FB_E_LIMIT for too many parts.
 */
FB_API FB_NODISCARD fb_status fb_trace_pack(size_t *parts, const char *path, const char *to,
                                            void (*progress)(void *, uint64_t, uint64_t),
                                            void *argument, fb_error *err);

/* Writes the files of a packed trace into a folder that is there, byte for byte as they were; none
 * is replaced. FB_E_USAGE for a trace that is not packed, or a file that is there already. */
FB_API FB_NODISCARD fb_status fb_trace_unpack(size_t *files, const char *path, const char *folder,
                                              void (*progress)(void *, uint64_t, uint64_t),
                                              void *argument, fb_error *err);

/*
 * Writes `to`, a trace that can be given to others: every event of `path` with its hashes, numbers
 * and references, but without names, call stacks, configuration, argv, environment, file names and
 * texts, sketches and values. Roots and chains are made anew, so the result verifies. What remains,
 * and what it may still tell: docs/privacy.md.
 *
 *   key  a name becomes a number that depends on the name and these bytes alone, so that traces
 *        shared with one key can be compared; NULL and 0: no key, and a name can be guessed
 *
 * FB_E_USAGE when both are one file; FB_E_CORRUPT; as fb_trace_open and fb_recorder_open.
 */
FB_API FB_NODISCARD fb_status fb_trace_share(const char *path, const char *to, const void *key,
                                             size_t key_bytes,
                                             void (*progress)(void *, uint64_t, uint64_t),
                                             void *argument, fb_error *err);

/* One event as one line of JSON (no newline), keys as in docs/trace-format.md, "JSON lines"; what
 * `show --json` and `export jsonl` print. Returns malloc'd text, NULL when memory is out. */
FB_API char *fb_trace_event_json(fb_trace *trace, const fb_event *event, uint64_t number);

#ifdef __cplusplus
}
#endif
#endif
