/* SPDX-License-Identifier: Apache-2.0
 *
 * team.c - hashes and sketches of reported tensors, shared out over threads.
 */
#include "tracer/record/team.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fpenv.h"
#include "base/hash.h"
#include "base/sketch.h"

enum {
    LEAST_HASHED = 1 << 20,   /* bytes: below, waking a thread takes as long as the work */
    LEAST_SKETCHED = 1 << 18, /* the same */
    TRIAL = 8,
    PAUSE_MIN = 8,
    PAUSE_MAX = 1024,
};

static double now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* --- Whether to share --------------------------------------------------------------------------
 */

static bool is_to_share(fb_sharing *s)
{
    if (s->alone == 0)
        return false;
    if (s->pause > 0 && --s->pause > 0)
        return false;
    if (s->trial == 0) {
        s->trial = TRIAL;
        s->saved = 0;
    }
    return true;
}

static void learn(fb_sharing *s, bool shared, size_t bytes, double ns)
{
    const double rate = ns / (double)bytes, expected = s->alone * (double)bytes;

    if (!shared) {
        s->alone = s->alone == 0 ? rate : s->alone + (rate - s->alone) / 8;
        return;
    }
    s->saved += expected - ns;
    s->trial--;
    if (s->trial > 0 && s->saved >= -expected)
        return;
    s->trial = 0;
    if (s->saved > 0) {
        s->longer = PAUSE_MIN;
        s->pause = 2; /* one alone, to know how long that takes by now */
    } else {
        s->pause = s->longer < PAUSE_MIN ? PAUSE_MIN : s->longer;
        s->longer = s->pause < PAUSE_MAX ? 2 * s->pause : PAUSE_MAX;
    }
}

/* --- Threads -----------------------------------------------------------------------------------
 */

/* The program's signals are not for these threads, and its floating-point environment stays. */
static bool start(fb_team *team)
{
    const fb_fpenv_saved environment = fb_fpenv_save();
    sigset_t all, before;
    fb_status status;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    status = fb_pool_create(&team->pool, team->threads, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    fb_fpenv_restore(environment);
    if (status != FB_OK) {
        team->pool = NULL;
        team->threads = 1;
    }
    return status == FB_OK;
}

/* Whoever takes the team gives it back. */
static bool take(fb_team *team)
{
    return team->threads > 1 && !__atomic_exchange_n(&team->taken, true, __ATOMIC_ACQUIRE);
}

static void give_back(fb_team *team)
{
    __atomic_store_n(&team->taken, false, __ATOMIC_RELEASE);
}

void fb__team_end(fb_team *team)
{
    fb_pool_destroy(team->pool);
    team->pool = NULL;
}

void fb__team_forget(fb_team *team)
{
    *team = (fb_team){.threads = 1};
}

/* --- Contents ----------------------------------------------------------------------------------
 */

static void compute(fb_pool *pool, fb_event *event, fb_dtype dtype, fb_sketch *sketch,
                    fb_hash *blocks)
{
    bool nonfinite = false;

    event->hash = sketch != NULL
                      ? fb_tensor_sketch(sketch, blocks, pool, dtype, event->data,
                                         event->data_bytes, &nonfinite)
                      : fb_tensor_hash(pool, dtype, event->data, event->data_bytes, &nonfinite);
    if (nonfinite)
        event->flags |= FB_EVENT_NONFINITE;
}

static void compute_timed(fb_team *team, fb_event *event, fb_dtype dtype, fb_sketch *sketch,
                          fb_hash *blocks)
{
    fb_sharing *sharing = &team->sharing[sketch != NULL];
    const bool shared = is_to_share(sharing) && (team->pool != NULL || start(team));
    const double begun = now_ns();

    compute(shared ? team->pool : NULL, event, dtype, sketch, blocks);
    learn(sharing, shared, event->data_bytes, now_ns() - begun);
    team->shared += shared;
}

void fb__team_take(fb_team *team, fb_event *event, fb_dtype dtype, bool sketched, fb_sketch *sketch,
                   fb_hash **blocks)
{
    const size_t least = sketched ? LEAST_SKETCHED : LEAST_HASHED;
    const size_t count = sketched ? fb_sketch_blocks(event->data_bytes) : 0;

    *blocks = count == 0 ? NULL : malloc(count * sizeof **blocks);
    if (!sketched)
        sketch = NULL;
    if (event->data_bytes >= least && take(team)) {
        compute_timed(team, event, dtype, sketch, *blocks);
        give_back(team);
    } else {
        compute(NULL, event, dtype, sketch, *blocks);
    }
    event->sketch = sketch;
    event->blocks = *blocks;
    event->block_count = *blocks == NULL ? 0 : count;
}
