/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_header.h - what the header of a trace says about the run: its JSON, read and checked.
 */
#ifndef FB_REPLAY_TRACE_HEADER_H
#define FB_REPLAY_TRACE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "firstbit/event.h"
#include "firstbit/status.h"
#include "firstbit/trace.h"

/* A file that the run read: data or weights. */
typedef struct fb__run_file {
    const char *path; /* as configured */
    uint64_t bytes;
    fb_hash hash;
} fb__run_file;

/* Strings live as long as `json`. */
typedef struct fb__run_header {
    cJSON *json;
    const cJSON *configuration; /* object, or NULL: no run of the engine */
    bool has_contract;
    uint32_t contract;
    const char *fingerprint; /* NULL where there is none */
    unsigned threads;        /* 0: not recorded */
    const char *isa;         /* NULL: not recorded */
    const char *kernels;     /* NULL: not recorded */
    bool has_resume;         /* the run went on from a checkpoint: */
    uint64_t resume_step;    /* of that step, */
    const char *resume_file; /* called so, without folder, */
    fb_hash resume_hash;     /* of these contents, */
    bool has_before;         /* which was written by the run of a trace that was found then: */
    fb_hash before;          /* its id */
    const char *before_file; /* its name without folder; NULL: not recorded */
    fb__run_file *files;
    size_t file_count;
} fb__run_header;

/* `name` is how messages call the trace. FB_E_CORRUPT where the header is no JSON object or a key
 * has a wrong type; FB_E_MEMORY. */
FB_NODISCARD fb_status fb__run_header_read(fb__run_header *out, const char *text, const char *name,
                                           fb_error *err);
void fb__run_header_free(fb__run_header *header); /* all zeros are fine */

/* Whether the run's matrix products promise no bits (contract 0). */
bool fb__run_header_is_openblas(const fb__run_header *header);

/* Whether the trace may end before its run did, inside a step too: it is torn, or was when it was
 * recovered. */
bool fb__may_end_early(const fb_trace_info *info);

#endif
