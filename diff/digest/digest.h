/* SPDX-License-Identifier: Apache-2.0
 *
 * digest.h - a run in at most 10 KB of text, to commit beside its code: chains of some steps, the
 * environment, the contract, the final hash; and holding a new run against it. Rules:
 * docs/digest.md.
 */
#ifndef FB_DIFF_DIGEST_DIGEST_H
#define FB_DIFF_DIGEST_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diff/diff.h"
#include "firstbit/trace.h"

enum {
    FB_DIGEST_CLASSES = 4,    /* all but notes, which never are training state */
    FB_DIGEST_STEPS_MAX = 46, /* at most 160 bytes each: 7.3 KB */
    FB_DIGEST_FACTS_MAX = 16, /* of the environment, at most 108 bytes each: 1.7 KB */
    FB_DIGEST_BYTES_MAX = 10240,
};

/* In which steps a class was recorded: chains can be compared where both recorded the same. */
typedef struct fb_digest_class {
    uint64_t recorded; /* steps that did */
    fb_hash pattern;   /* over their numbers */
} fb_digest_class;

typedef struct fb_digest_step {
    uint64_t step;
    fb_hash chain[FB_DIGEST_CLASSES];
} fb_digest_step;

typedef struct fb_digest {
    fb_level level;
    uint64_t first_step, last_step, steps, events;
    bool complete;
    bool exact;        /* bits depend on no environment: an engine under a contract of 1 or more */
    uint64_t contract; /* 0: none, or no promise */
    fb_hash configuration;               /* 0: none */
    fb_hash final_hash;                  /* 0: none */
    char facts[FB_DIGEST_FACTS_MAX][96]; /* "cpu: ...", in order of name */
    size_t fact_count;
    fb_digest_class classes[FB_DIGEST_CLASSES];
    fb_digest_step at[FB_DIGEST_STEPS_MAX]; /* ascending */
    size_t at_count;
} fb_digest;

typedef void (*fb_digest_progress)(void *argument, uint64_t step, uint64_t last);

/*
 * The digest of a trace; every chunk and root of it is checked first.
 *
 * FB_E_CORRUPT where the trace is damaged; FB_E_DATA where no step has ended; as fb_trace_open.
 */
FB_NODISCARD fb_status fb_digest_of_trace(fb_digest *out, const char *path,
                                          fb_digest_progress progress, void *argument,
                                          fb_error *err);

/* The text of a digest: at most FB_DIGEST_BYTES_MAX bytes, the same for the same digest. malloc'd;
 * NULL when memory is out. */
char *fb_digest_text(const fb_digest *digest);

/* Whether the file begins as a digest does; false also where it cannot be read. */
bool fb_digest_is_file(const char *path);

/* Reads a digest file. FB_E_FORMAT, FB_E_CORRUPT (err names the line), FB_E_LIMIT, FB_E_IO. */
FB_NODISCARD fb_status fb_digest_read(fb_digest *out, const char *path, fb_error *err);

/* How two runs compare by a digest. */
typedef struct fb_digest_report {
    const char *name_a, *name_b; /* borrowed from the caller */
    fb_diff_verdict verdict;
    bool has_first; /* they part after `after` (where has_after), at or before `step` */
    bool has_after;
    uint64_t after, step;
    uint32_t differing; /* classes that differ at `step`, bits 1u << FB_CLASS_... */
    uint32_t classes;   /* compared */
    uint64_t compared;  /* steps at which chains were compared */
    bool has_equal_through;
    uint64_t equal_through;
    char why[512]; /* of UNDECIDABLE; else "" */
    char notes[6][256];
    size_t note_count;
    char left_out[6][256];
    size_t left_out_count;
    uint64_t bytes_read;
} fb_digest_report;

/*
 * Compares `a` and `b`, of which at least one is a digest file and the other one may be a trace.
 *
 * FB_OK whatever the verdict; as fb_digest_read and fb_digest_of_trace.
 */
FB_NODISCARD fb_status fb_digest_diff(fb_digest_report *out, const char *a, const char *b,
                                      bool prefix, fb_digest_progress progress, void *argument,
                                      fb_error *err);

/* For people, and as a JSON object with the keys of docs/diff.md. malloc'd; NULL: memory is out. */
char *fb_digest_report_text(const fb_digest_report *report);
char *fb_digest_report_json(const fb_digest_report *report);

#endif
