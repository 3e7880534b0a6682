/* SPDX-License-Identifier: Apache-2.0
 *
 * tail_fixture.h - programs that count what they have recorded where it outlives them, and what a
 * reader must find then. For test_kills.c and test_tail.c.
 */
#ifndef FB_TESTS_TAIL_FIXTURE_H
#define FB_TESTS_TAIL_FIXTURE_H

#include "tests/tracer/trace_fixture.h"

static inline uint64_t environment_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static inline void tail_of(char out[160], const test_folder *folder)
{
    (void)snprintf(out, 160, "%s-tail", folder->file);
}

static inline bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* What the program knows to be recorded, in memory that outlives it: `threads` counters. */
enum { THREADS_MAX = 4 };

typedef struct oracle {
    uint64_t committed[THREADS_MAX];
    uint64_t began[THREADS_MAX];
} oracle;

typedef struct recording {
    fb_recorder *recorder;
    oracle *oracle;
    int thread;
    uint64_t limit;
} recording;

/* Numbered scalars of a path of its own. A large mark now and then goes past the halves. */
static inline void *report_numbers(void *argument)
{
    const recording *r = argument;
    char path[16];
    char *text = malloc(60001);

    memset(text, 'x', 60000);
    text[60000] = '\0';
    (void)snprintf(path, sizeof path, "thread%d", r->thread);
    for (uint64_t n = 1; n <= r->limit; n++) {
        __atomic_store_n(&r->oracle->began[r->thread], n, __ATOMIC_RELEASE);
        (void)fb_recorder_scalar(r->recorder, FB_PHASE_LOSS, path, "loss", FB_DTYPE_F64, (double)n);
        __atomic_store_n(&r->oracle->committed[r->thread], n, __ATOMIC_RELEASE);
        if (n % 5000 == 0)
            fb_recorder_mark(r->recorder, text);
        if (r->thread == 0 && n % 97 == 0)
            fb_recorder_step(r->recorder, n / 97);
    }
    free(text);
    return NULL;
}

/* Every number up to what was committed is there, in order, and none that was never begun. */
static inline void check_numbers(const char *path, const oracle *known, int threads)
{
    uint64_t seen[THREADS_MAX] = {0};
    fb_trace *t = open_trace(path);
    const fb_event *e;

    for (;;) {
        const fb_site *site;

        assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
        if (e == NULL)
            break;
        site = fb_trace_site(t, e->site);
        if (site->kind != FB_KIND_SCALAR)
            continue;
        const int thread = site->path[strlen("thread")] - '0';
        assert_in_range(thread, 0, threads - 1);
        seen[thread]++;
        if ((uint64_t)e->value != seen[thread])
            fail_msg("thread %d: %llu where %llu comes next", thread, (unsigned long long)e->value,
                     (unsigned long long)seen[thread]);
    }
    for (int i = 0; i < threads; i++)
        if (seen[i] < known->committed[i] || seen[i] > known->began[i])
            fail_msg("thread %d: %llu read, %llu committed, %llu begun", i,
                     (unsigned long long)seen[i], (unsigned long long)known->committed[i],
                     (unsigned long long)known->began[i]);
    fb_trace_close(t);
}

#endif
