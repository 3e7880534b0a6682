/* SPDX-License-Identifier: Apache-2.0
 *
 * team.h - what is in a tensor that a program reports: its hash, at level sketch its sketch,
 * computed by several threads where that is seen to be faster. Private to tracer.
 *
 * The caller waits until the last thread has read the last byte, so what it does to the tensor
 * afterwards is in no hash. Who computes changes no bit, and how it is decided (by the clock)
 * neither.
 */
#ifndef FB_TRACER_TEAM_H
#define FB_TRACER_TEAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "firstbit/event.h"

/* Whether threads are worth their while: what they saved is added up. Other programs may need the
 * processors, and then to wait for a thread costs more than it saves. */
typedef struct fb_sharing {
    double alone; /* ns a byte on one thread, a moving mean; 0: not measured yet */
    double
        saved; /* ns, since the trial began; it ends early where more is lost than a tensor takes */
    uint32_t trial;  /* tensors that are still to be shared in it */
    uint32_t pause;  /* tensors until the next trial, itself included */
    uint32_t longer; /* the next pause after a trial that saved nothing; doubles each time */
} fb_sharing;

typedef struct fb_team {
    unsigned threads;      /* the caller included; less than 2: it works alone */
    fb_pool *pool;         /* made when it is first wanted */
    bool taken;            /* atomic: by a thread that records; others work alone meanwhile */
    uint64_t shared;       /* tensors that several threads were asked to share */
    fb_sharing sharing[2]; /* hashes; sketches */
} fb_team;

/* The contents of a tensor, or of `count` drawn values, whose event has `data`: sets its hash,
 * flags and, where `sketched`, sketch and block hashes. *blocks is malloc'd or NULL; without memory
 * there are no block hashes. Several threads may call it at once. */
void fb__team_take(fb_team *team, fb_event *event, fb_dtype dtype, bool sketched, fb_sketch *sketch,
                   fb_hash **blocks);

/* Ends its threads. */
void fb__team_end(fb_team *team);

/* In a forked child, whose parent had the threads: the caller works alone from now on. */
void fb__team_forget(fb_team *team);

#endif
