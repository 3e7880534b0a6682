/* SPDX-License-Identifier: Apache-2.0
 *
 * rebuild.h - makes the run of a trace again: configuration from the header, data by content,
 * kernels as recorded or as asked.
 */
#ifndef FB_REPLAY_REBUILD_H
#define FB_REPLAY_REBUILD_H

#include "engine/config/config.h"
#include "engine/run.h"
#include "firstbit/trace.h"
#include "replay/locate.h"
#include "replay/lockstep.h"
#include "replay/replay.h"
#include "replay/trace_header.h"

typedef struct fb__rebuilt {
    fb__run_header header;
    fb_config config;
    fb_run *run;
    fb__places places; /* where its files are looked for */
    char *folder;      /* of the trace */
    char **located;    /* for each file of the header, where it was found */
    fb__renamed *renamed;
    size_t renamed_count;
} fb__rebuilt;

/* Statuses: see fb_replay. Free it in either case. */
FB_NODISCARD fb_status fb__rebuild(fb__rebuilt *out, const char *path, const fb_trace *trace,
                                   const fb_replay_options *options, fb_error *err);
void fb__rebuilt_free(fb__rebuilt *rebuilt);

/* Adds a line to the notes. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__replay_note(fb_replay_report *report, fb_error *err, const char *format,
                                       ...) __attribute__((format(printf, 3, 4)));

#endif
