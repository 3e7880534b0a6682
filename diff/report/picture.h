/* SPDX-License-Identifier: Apache-2.0
 *
 * picture.h - what a page shows beside the report of a comparison: curves, how the difference
 * spreads, the events around it. Gathered from the two traces; every part is capped, and says so.
 */
#ifndef FB_DIFF_REPORT_PICTURE_H
#define FB_DIFF_REPORT_PICTURE_H

#include "diff/diff.h"
#include "diff/judge/growth.h"
#include "diff/read/step_events.h"

enum {
    FB_PICTURE_LOSSES_MAX = 600, /* steps of the curve */
    FB_PICTURE_COLUMNS_MAX = 96, /* of the strip: a column stands for one step or for several */
    FB_PICTURE_SHARES_MAX = 40,  /* steps in which events are counted */
    FB_PICTURE_OPS_MAX = 128,
    FB_PICTURE_BEFORE = 6,    /* events shown in front of the first difference, */
    FB_PICTURE_ROWS_MAX = 24, /* and in all */
    FB_PICTURE_DRAWS_BEFORE = 8,
    FB_PICTURE_DRAWS_MAX = 24,
};

/* The training loss of one step; NaN where a run has none. */
typedef struct fb_picture_loss {
    uint64_t step;
    double a, b;
} fb_picture_loss;

typedef enum fb_picture_state {
    FB_PICTURE_ABSENT, /* one side, or both, did not record it */
    FB_PICTURE_EQUAL,
    FB_PICTURE_DIFFERENT
} fb_picture_state;

/* How the classes of events compare in the steps first..last. */
typedef struct fb_picture_column {
    uint64_t first, last;
    fb_picture_state state[FB_CLASS_COUNT];
} fb_picture_column;

/* How many events of a step differ, or have no partner; also by phase, whose number is the index.
 */
typedef struct fb_picture_share {
    uint64_t step, events, differing;
    struct {
        uint64_t events, differing;
    } phases[FB__STEP_PHASES];
} fb_picture_share;

/* The same for one kind of op in the first differing step, in order of the first difference. */
typedef struct fb_picture_op {
    fb_phase phase;
    char op[64];
    uint64_t events, differing;
} fb_picture_op;

typedef enum fb_picture_mark {
    FB_PICTURE_ROW_EQUAL,
    FB_PICTURE_ROW_DIFFERS,
    FB_PICTURE_ROW_INPUTS, /* equal contents, made from other events */
    FB_PICTURE_ROW_ONLY_A,
    FB_PICTURE_ROW_ONLY_B
} fb_picture_mark;

/* One event around the first difference. */
typedef struct fb_picture_row {
    fb_event_name name;
    uint64_t number_a, number_b; /* UINT64_MAX where that side lacks it or is not known */
    fb_picture_mark mark;
    bool first;        /* it is the one to blame */
    bool inherits;     /* an input of it differs: it passes the difference on */
    char a[96], b[96]; /* contents in one line; b is "" where equal */
} fb_picture_row;

/* One entry of the ledger of random draws: a draw or a seed of the first differing step. */
typedef struct fb_picture_draw {
    fb_event_name name;
    char stream[64], distribution[96], consumer[96]; /* cut; "" where not known */
    fb_picture_mark mark;                            /* never FB_PICTURE_ROW_INPUTS */
    bool seed;                                       /* key_a and key_b are seeds */
    bool counted;                                    /* the stream has positions */
    uint64_t key_a, counter_a, count_a;              /* zeros where that side lacks it */
    uint64_t key_b, counter_b, count_b;
} fb_picture_draw;

typedef struct fb_picture {
    fb_picture_loss losses[FB_PICTURE_LOSSES_MAX];
    size_t loss_count;
    bool losses_sampled; /* not every step is there */
    fb_picture_column columns[FB_PICTURE_COLUMNS_MAX];
    size_t column_count;
    fb_picture_share shares[FB_PICTURE_SHARES_MAX];
    size_t share_count;
    fb_picture_op ops[FB_PICTURE_OPS_MAX];
    size_t op_count;
    uint64_t ops_left_out; /* events of further ops */
    fb_picture_row rows[FB_PICTURE_ROWS_MAX];
    size_t row_count;
    fb_picture_draw draws[FB_PICTURE_DRAWS_MAX];
    size_t draw_count;
    uint64_t draws_in_all; /* of that step, both sides' together */
    fb_growth growth;
} fb_picture;

/*
 * Gathers what there is to show of a comparison that is done.
 *
 *   options  those of the comparison; NULL: all defaults
 *   out      set on FB_OK; free with fb_picture_free
 *
 * Reads at most some millions of events a side. As fb_trace_open and fb_trace_next; FB_E_MEMORY.
 */
FB_NODISCARD fb_status fb_picture_gather(fb_picture *out, const fb_diff_report *report,
                                         const fb_diff_options *options, fb_error *err);

void fb_picture_free(fb_picture *picture); /* all zeros are fine */

/* The comparison as one page of HTML that needs nothing but itself, or as GitHub markdown. picture
 * may be NULL. All text of a trace is escaped. malloc'd; NULL when memory is out. */
char *fb_diff_report_html(const fb_diff_report *report, const fb_picture *picture);
char *fb_diff_report_markdown(const fb_diff_report *report, const fb_picture *picture);

#endif
