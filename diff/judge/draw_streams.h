/* SPDX-License-Identifier: Apache-2.0
 *
 * draw_streams.h - of which streams of random numbers an aligned step says that they stand
 * elsewhere.
 */
#ifndef FB_DIFF_JUDGE_DRAW_STREAMS_H
#define FB_DIFF_JUDGE_DRAW_STREAMS_H

#include "base/intern.h"
#include "diff/read/step_events.h"

typedef struct fb__draw_streams {
    fb_intern *names; /* of the draws of the step */
    bool *differs;    /* by number of the name */
} fb__draw_streams;

/* Looks at all draws once. FB_E_MEMORY. Free it in either case. */
FB_NODISCARD fb_status fb__draw_streams_find(fb__draw_streams *out, const fb__step_pair *pair,
                                             fb_error *err);
void fb__draw_streams_free(fb__draw_streams *streams);

/* Whether a draw of this stream that both sides have says something else on the other side, and the
 * last one of the step does too: where that is equal the generator stands where it would have
 * stood, and what was drawn before counts by who reads it. */
bool fb__stream_differs(const fb__draw_streams *streams, const char *stream);

#endif
