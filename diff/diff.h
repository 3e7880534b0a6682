/* SPDX-License-Identifier: Apache-2.0
 *
 * diff.h - compares two traces: finds the first event in which they part, names the cause, and says
 * what was compared. Finding is here; saying is in report/report_text.c and report/report_json.c.
 * How it decides: docs/diff.md.
 */
#ifndef FB_DIFF_DIFF_H
#define FB_DIFF_DIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstbit/event.h"
#include "firstbit/status.h"
#include "firstbit/trace.h"
#include "replay/event_name.h"

typedef enum fb_diff_verdict {
    FB_DIFF_SAME,
    FB_DIFF_ROUNDING, /* different bits, and no more than rounding explains */
    FB_DIFF_DIFFER,
    FB_DIFF_UNDECIDABLE
} fb_diff_verdict;

/* How the first event differs. */
typedef enum fb_diff_what {
    FB_DIFF_CONTENT,  /* the same event, other contents, equal inputs */
    FB_DIFF_INPUTS,   /* the same event is made from other events */
    FB_DIFF_ONLY_A,   /* b lacks it */
    FB_DIFF_ONLY_B,   /* a lacks it */
    FB_DIFF_ARGUMENTS /* an op with other arguments: an equal result, and other gradients */
} fb_diff_what;

/* One bit pattern and the number that it is. */
typedef struct fb_diff_value {
    uint64_t bits;
    double number;
} fb_diff_value;

typedef struct fb_diff_first {
    fb_diff_what what;
    fb_event_name name;
    uint64_t number_a, number_b; /* event numbers; UINT64_MAX on the side that lacks it */
    fb_dtype dtype;
    uint32_t rank;
    uint64_t shape[FB_RANK_MAX];
    char content_a[256], content_b[256]; /* in one line each; "" on the side that lacks it */

    bool alike; /* both sides have it, with equal arguments, and name the same inputs */

    bool has_value; /* the four below: of a scalar, or by replaying both runs */
    fb_diff_value a, b;
    uint64_t ulps;
    bool has_element; /* of a tensor: flat index of the first differing element, how many differ */
    uint64_t element, differing;

    bool has_previous; /* the last equal event before it */
    fb_event_name previous;
    char *stack_a, *stack_b; /* innermost frame first, one a line; NULL where none was recorded */
    uint64_t later_equal;    /* events after it, in its step, that are equal after alignment */
} fb_diff_first;

typedef struct fb_diff_cause {
    const char *name; /* of docs/diff.md, "Causes": a static string */
    bool confirmed;   /* else likely */
    char *text;       /* one sentence */
    char *fix;        /* in the user's terms */
} fb_diff_cause;

/* Something that the headers say differently: a candidate, never the verdict. */
typedef struct fb_diff_candidate {
    const char *what; /* "config", "seed", "file", "contract", "environment", "code", "argv",
                       * "other" */
    char *key;        /* "optimizer.adamw.lr" */
    char *a, *b;      /* as JSON text; "absent" where a side lacks it */
} fb_diff_candidate;

typedef struct fb_diff_list {
    char **at;
    size_t count;
} fb_diff_list;

/* A process of both runs, or of one of them: what its traces are to each other. */
typedef struct fb_diff_part {
    char role[64]; /* "child1", "worker0", "rank2" */
    char *a, *b;   /* as fb_trace_open takes them; NULL: that run has no such process */
    fb_diff_verdict verdict;
    bool has_first; /* of DIFFER */
    uint64_t first_step;
    uint64_t events_a, events_b;
    char *why;  /* of UNDECIDABLE */
    bool empty; /* UNDECIDABLE, and the verdict of the run does not mind: there are no steps */
} fb_diff_part;

enum { FB_DIFF_GUESSES = 2 }; /* beside the cause */

enum { FB_DIFF_GROWTH_MAX = 64 };

/* How large differences are in a step, relative to what they are differences of. */
typedef struct fb_diff_step_size {
    uint64_t step;
    double parameters, loss; /* NaN where there is none */
    double envelope;         /* of the parameters: how far rounding alone may carry them */
} fb_diff_step_size;

/* What a comparison by the rounding rules has besides (docs/diff.md, "Rounding or real"). */
typedef struct fb_diff_rounding {
    bool used;
    uint64_t params, params_paired; /* of a */
    uint64_t boundaries,
        boundaries_paired; /* outputs, gradients, updates, scalars of one step of a */
    fb_diff_list unpaired_a, unpaired_b;
    fb_diff_list pairs;       /* of the same step: a's name, b's name, how; these three in turn */
    char envelope[160];       /* what it is made of, for people */
    uint64_t compared, equal; /* pairs over all steps; of these bit for bit */
    double largest;           /* difference to envelope, of all that was compared */
    bool has_largest;
    fb_event_name largest_at;
    fb_diff_step_size sizes[FB_DIFF_GROWTH_MAX]; /* of steps that are spread over all */
    size_t size_count;
    bool has_size; /* of the first difference: */
    double relative, ratio;
    bool has_name_b;
    fb_event_name name_b; /* and how b calls it */
    uint64_t missing;     /* losses, gradients and updates that have no partner */
} fb_diff_rounding;

/* What contents say of the first difference: the operation is evaluated in float64 from the
 * recorded inputs, and each side's result is held against how far any order of its sums may be from
 * that (docs/diff.md, "Proof from contents"). */
typedef enum fb_diff_proof_verdict {
    FB_DIFF_PROOF_NONE,     /* no contents, or an operation that is not evaluated */
    FB_DIFF_PROOF_ROUNDING, /* both sides are as near as nearly all orders are */
    FB_DIFF_PROOF_REAL,     /* one side is where no order comes to, the other is not */
    FB_DIFF_PROOF_SUSPECT,  /* possible, but one side is much worse than the other */
    FB_DIFF_PROOF_OPEN      /* possible, no order being likely, and both sides about as far */
} fb_diff_proof_verdict;

typedef struct fb_diff_proof {
    fb_diff_proof_verdict verdict;
    bool of_b;                    /* REAL, SUSPECT: it is b; else a */
    char op[FB_NAME_MAX + 1];     /* that was evaluated */
    bool narrow;                  /* a result of 16 bits: sums may be made in these too */
    uint64_t terms;               /* of the longest sum */
    uint64_t elements, evaluated; /* of the result; of these */
    double worst_a, worst_b;      /* largest error, in bounds */
    double likely_a, likely_b;    /* the same in likely errors */
    uint64_t element;             /* where the worse side is worst */
    double exact, a, b;           /* there */
    bool has_slice;               /* all that differs has one index along a dimension */
    uint32_t slice_dim;
    uint64_t slice, slices; /* that index, of how many */
    double scale;           /* SUSPECT: a factor that explains the error; else NaN */
} fb_diff_proof;

typedef struct fb_diff_report {
    char *name_a, *name_b; /* the paths given */
    fb_diff_verdict verdict;
    bool has_first;
    fb_diff_first first;
    bool has_cause;
    fb_diff_cause cause;
    fb_diff_cause guesses[FB_DIFF_GUESSES]; /* the next best, in order */
    size_t guess_count;
    char *why;  /* of UNDECIDABLE: one sentence; else NULL */
    char *next; /* the command to go on with, for a shell; NULL without a first difference */

    fb_diff_candidate *candidates;
    size_t candidate_count;
    bool engine;              /* both are runs of the engine: their call stacks say nothing */
    bool environment_cleared; /* runs were replayed in both environments with one result */

    uint32_t classes; /* compared: bits 1u << FB_CLASS_... */
    fb_level level_a, level_b;
    fb_trace_status status_a, status_b;
    bool has_steps;
    uint64_t first_step, last_step; /* that both have */
    uint64_t events_a, events_b;    /* in both files */
    uint64_t aligned, unaligned;
    char *depth;           /* "ops in steps 0-10": NULL where ops and state are of every step */
    fb_diff_list left_out; /* what was not compared, one phrase each */
    fb_diff_list expected; /* "KEY a | b": differences that were applied to a before (expect.h) */
    fb_diff_list notes;    /* differences that never reach training state, and remarks */
    uint64_t notes_more;   /* of such differences: not in the list */

    fb_diff_rounding rounding;
    fb_diff_proof proof;
    /* Steps and tensors whose contents make that proof, as `record --at --path` takes them; NULL
     * where there is none to make. Steps alone: those whose operations are to be recorded. */
    char *window_steps, *window_path;

    bool has_equal_through;
    uint64_t equal_through; /* all that was compared is equal up to and including this step */
    uint64_t bytes_read;

    fb_diff_part *parts; /* the runs' other processes */
    size_t part_count;
    size_t part; /* 0: all above is of the main traces; k: of parts[k - 1], where the runs part
                  * first. Names and candidates then are the part's and the main traces' */
} fb_diff_report;

typedef struct fb_diff_options {
    size_t size;              /* sizeof(fb_diff_options) */
    bool strict;              /* notes count */
    bool prefix;              /* equal to the end of the shorter trace is the same */
    bool no_replay;           /* traces only: no values, nothing confirmed */
    bool no_stacks;           /* leave the call stacks out: spelling them takes time */
    bool bitwise;             /* compare bits, whatever the programs are */
    bool rounding;            /* judge by the rounding rules, whatever the programs are */
    const char *map;          /* file of names, diff/align/map_file.h; NULL: none */
    const char *const *noise; /* envelopes, or repeats of a's or b's program */
    size_t noise_count;
    uint64_t align_a, align_b; /* compare from this step of a and of b on, of the main traces alone;
                                * both 0: steps of one number, or what is found */
    bool no_verify;   /* equal chains are taken at their word: the caller has verified both */
    const char *data; /* a further place for the data of replays; NULL: none */
    void (*progress)(void *argument, const char *doing, uint64_t step, uint64_t to); /* or NULL */
    void *argument;
} fb_diff_options;

/*
 * Compares the traces `a` and `b`, and what they have beside or inside them: traces of their other
 * processes, each with the one of its role (docs/diff.md, "Runs of several processes").
 *
 *   options  NULL: all defaults
 *   out      set on FB_OK, whatever the verdict; free with fb_diff_report_free
 *
 * As fb_trace_open and fb_trace_next; FB_E_CORRUPT where a trace is damaged; FB_E_MEMORY. Failing
 * replays are no failure of the comparison: they are remarked in `notes`.
 *
 * Reads O(log steps) to find the step, then the events of that step; at most 64 MiB of memory, and
 * what training needs where runs are replayed.
 */
FB_NODISCARD fb_status fb_diff(fb_diff_report *out, const char *a, const char *b,
                               const fb_diff_options *options, fb_error *err);

void fb_diff_report_free(fb_diff_report *report); /* all zeros are fine */

const char *fb_diff_verdict_name(fb_diff_verdict verdict);

/* The report as at most 25 lines for a terminal of 80 columns, or as a JSON object with all keys of
 * docs/diff.md. malloc'd; NULL when memory is out. Text from traces is not escaped for a terminal
 * beyond control bytes. */
char *fb_diff_report_text(const fb_diff_report *report);
char *fb_diff_report_json(const fb_diff_report *report);

#endif
