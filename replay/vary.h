/* SPDX-License-Identifier: Apache-2.0
 *
 * vary.h - replays one run under every environment that contract 1 says is irrelevant: threads,
 * instruction sets, places in memory, stack, locale, the caller's floating-point state. That all
 * give the recorded bits is the run's certificate of reproducibility. It holds no date and no time,
 * so it is itself reproducible. Text for users: docs/replay.md.
 */
#ifndef FB_REPLAY_VARY_H
#define FB_REPLAY_VARY_H

#include "replay/replay.h"

/* One way to run. */
typedef struct fb_vary_environment {
    unsigned threads;
    const fb_kernels *kernels;
    size_t memory_offset; /* of the run's numbers, as in fb_run_options */
    size_t stack_bytes;   /* of the thread that runs; 0: what the system gives */
    const char *locale;   /* of that thread; NULL: that of the process */
    bool flush_to_zero;   /* its floating-point state flushes subnormals when the run is made */
} fb_vary_environment;

enum { FB_VARY_MAX = 32 };

/*
 * The environments of this machine, at most FB_VARY_MAX: 1, 2, 3 and 7 threads with the fastest
 * instruction set, every other instruction set, and each of the rest in turn. Returns how many.
 *
 *   not_tried  one line that says what this machine lacks, "" where nothing is
 */
size_t fb_vary_environments(fb_vary_environment out[FB_VARY_MAX], char *not_tried, size_t size);

typedef struct fb_vary_options {
    size_t size;                             /* sizeof(fb_vary_options) */
    const fb_vary_environment *environments; /* NULL: those of fb_vary_environments */
    size_t environment_count;
    const char *data; /* as in fb_replay_options, like the next four */
    bool has_from, has_to;
    uint64_t from, to;

    /* After each step of a row; called from another thread while the caller waits. NULL: none. */
    void (*progress)(void *argument, size_t row, size_t rows, uint64_t step, uint64_t to);
    void *argument;
} fb_vary_options;

typedef struct fb_vary_row {
    fb_vary_environment environment;
    bool same;      /* the recorded bits, and the final hash of the first row */
    bool refused;   /* it could not run: its kernels have not the fingerprint of the contract */
    fb_error error; /* then: why */
    fb_replay_report replay;
} fb_vary_row;

typedef struct fb_vary_report {
    fb_hash trace; /* id of the recording */
    bool has_contract;
    uint32_t contract;
    char fingerprint[64]; /* "" where none was recorded */
    fb_vary_row *rows;
    size_t row_count;
    size_t differing;       /* rows that are not the same */
    size_t first_differing; /* row_count where there is none */
    char not_tried[128];    /* "" where nothing was left out */
} fb_vary_report;

/*
 * Replays the run of the trace `path` in every environment.
 *
 *   options  NULL: all of it, in the environments of this machine
 *   out      set on FB_OK, the same bits or not; free with fb_vary_report_free
 *
 * FB_E_USAGE   also where the trace has no event to compare with
 * Statuses as fb_replay, where not even the first environment can run; FB_E_THREAD.
 */
FB_NODISCARD fb_status fb_vary(fb_vary_report *out, const char *path,
                               const fb_vary_options *options, fb_error *err);

void fb_vary_report_free(fb_vary_report *report); /* all zeros are fine */

/* As fb_replay_report_json and fb_replay_report_text. */
char *fb_vary_report_json(const fb_vary_report *report);
char *fb_vary_report_text(const fb_vary_report *report, const char *name);

#endif
