/* SPDX-License-Identifier: Apache-2.0
 *
 * values.h - the numbers behind two hashes: both runs are replayed to the divergent event, and a
 * tensor that its own run's replay does not reproduce is recovered where one flipped bit explains
 * it.
 */
#ifndef FB_DIFF_READ_VALUES_H
#define FB_DIFF_READ_VALUES_H

#include "diff/diff.h"
#include "diff/read/flip_search.h"
#include "diff/read/headers.h"
#include "replay/replay.h"

typedef struct fb__side_value {
    bool replayed;    /* the replay came to the event, everything before it equal to the trace */
    bool reproduced;  /* and the event itself too */
    bool as_recorded; /* the replay ran with the recorded instruction set and threads */
    fb_replay_tensor tensor;
    bool flipped; /* not reproduced, and one flipped bit of what the replay gives explains it */
    fb_flip_search flip;
} fb__side_value;

typedef struct fb__values {
    bool tried; /* the runs can be replayed, and were */
    fb__side_value a, b;
    fb_error failure; /* why a replay could not be; .status FB_OK: it could */
} fb__values;

/* Replays both runs to `name` and fills the values of report->first where they can be known.
 * Failures of a replay end up in out->failure. FB_E_MEMORY. Free it in either case. */
FB_NODISCARD fb_status fb__values_find(fb__values *out, fb_diff_report *report,
                                       const fb__headers *headers, const fb_diff_options *options,
                                       fb_error *err);
/* The same where the run of one side was made with an override: that run is replayed with it. `of`:
 * what the replays without it gave. Leaves `first` alone where that does not make the event again.
 */
void fb__values_find_with(fb_diff_report *report, const fb__values *of,
                          const fb_diff_options *options, bool in_b, const fb_override_use *use);
void fb__values_free(fb__values *values);

/* The value that the trace of a side has in a float32 tensor: that of the replay, with the flipped
 * bit where there is one. Only where replayed and (reproduced or flipped). */
uint32_t fb__side_bits(const fb__side_value *side, uint64_t element);

#endif
