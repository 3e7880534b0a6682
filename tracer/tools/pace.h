/* SPDX-License-Identifier: Apache-2.0
 *
 * pace.h - how far a long call of several parts has come, in bytes. Private to tracer.
 */
#ifndef FB_TRACER_PACE_H
#define FB_TRACER_PACE_H

#include <stddef.h>
#include <stdint.h>

typedef struct fb_pace {
    void (*tell)(void *argument, uint64_t done, uint64_t total); /* may be NULL */
    void *argument;
    uint64_t done, total;
} fb_pace;

static inline void fb__pace_advance(fb_pace *pace, uint64_t bytes)
{
    pace->done += bytes;
    if (pace->tell != NULL)
        pace->tell(pace->argument, pace->done < pace->total ? pace->done : pace->total,
                   pace->total);
}

/* For a call that tells of its own part from 0 on; pace->done is what lies before it. */
static inline void fb__pace_within(void *pace, uint64_t done, uint64_t total)
{
    fb_pace at = *(fb_pace *)pace;

    (void)total;
    fb__pace_advance(&at, done);
}

#endif
