/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_chain.h - the files of one training: a run that goes on from a checkpoint starts a trace of
 * its own, whose header names the one before. The name is a hint; the id of the recording decides.
 */
#ifndef FB_REPLAY_TRACE_CHAIN_H
#define FB_REPLAY_TRACE_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/status.h"
#include "firstbit/trace.h"

/* One file of a chain. */
typedef struct fb_trace_link {
    char *path;  /* NULL: not found */
    char *name;  /* as the file behind it recorded it; NULL: it did not know */
    bool has_id; /* false: the one behind it knew no trace, and none here has its checkpoint */
    fb_hash id;
    fb_trace_status status;         /* of a file that was found, like the next four */
    uint64_t first_step, last_step; /* finished ones; first > last where there is none */
    bool resumed;                   /* it went on from a checkpoint: */
    uint64_t resumed_step;          /* of this step */
} fb_trace_link;

/* Starts with the given trace and goes back to the first run, or to a file that is not there. */
typedef struct fb_trace_chain {
    fb_trace_link *links;
    size_t count;
} fb_trace_chain;

enum {
    FB_TRACE_CHAIN_MAX = 256,   /* links; a chain that runs in a circle ends where it closes */
    FB_TRACE_SIBLINGS_MAX = 512 /* traces of a folder that are looked into */
};

/*
 * Reads the headers of `path` and of the traces that it goes on from, which are looked for beside
 * it. FB_E_MEMORY, and as fb_trace_open for `path` itself; another file that cannot be read is one
 * that is not there.
 */
FB_NODISCARD fb_status fb_trace_chain_read(fb_trace_chain *out, const char *path, fb_error *err);
void fb_trace_chain_free(fb_trace_chain *chain); /* all zeros are fine */

/*
 * Finds the trace of the run that wrote a checkpoint: "X.fbt" for "X.ckpt/step-...", then the other
 * traces of these two folders. It is told by the checkpoint's event, its step and content hash; a
 * killed run may have written the file and not the event, so of "X.fbt" it is enough that it ends
 * early, before that event, and read the same data with the same seed as `header` says.
 *
 *   out     malloc'd path, NULL where there is none
 *   id      of the recording
 *   header  JSON, of the run that goes on
 *
 * FB_E_MEMORY.
 */
FB_NODISCARD fb_status fb_trace_of_checkpoint(char **out, fb_hash *id, const char *checkpoint,
                                              uint64_t step, fb_hash hash, const char *header,
                                              fb_error *err);

#endif
