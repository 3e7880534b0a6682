/* SPDX-License-Identifier: Apache-2.0
 *
 * groups.h - many runs at once: which of them are the same, where the others part from the most,
 * and which one is odd. Text for users: docs/diff.md, "Many traces".
 */
#ifndef FB_DIFF_GROUPS_GROUPS_H
#define FB_DIFF_GROUPS_GROUPS_H

#include "diff/diff.h"

enum { FB_GROUPS_RUNS_MAX = 256 };

/* One of the runs given. */
typedef struct fb_groups_run {
    const char *path; /* borrowed from the caller */
    uint64_t last_step;
    bool has_last_step;
    size_t group;
    bool shorter;   /* equal to its group as far as it goes, which is not to the end */
    bool ambiguous; /* and as equal to another group */
} fb_groups_run;

typedef struct fb_group {
    size_t representative, size; /* index of a run that goes furthest; how many there are */
    /* Against the representative of the first group; undefined for the first group itself. */
    fb_diff_verdict verdict; /* DIFFER, or UNDECIDABLE: no rule compares them */
    fb_event_name first;     /* DIFFER: the event in which they part, ... */
    char part[64];           /* ... in this process; "": the main one */
    fb_diff_what what;
    const char *cause;      /* its name, a static string; NULL: none */
    bool replayed;          /* runs were replayed for it, where they can be; else it is a guess */
    bool confirmed;         /* and that confirmed it */
    char *cause_text, *why; /* malloc'd; NULL where there is none */
    bool has_equal_through;
    uint64_t equal_through;
} fb_group;

/* The first group is the largest, of equals that of the run given first; the others in order of the
 * step in which they part from it. */
typedef struct fb_groups {
    fb_groups_run *runs; /* in the order given */
    size_t run_count;
    fb_group *groups;
    size_t group_count;
    fb_diff_verdict verdict; /* of all: DIFFER where any two differ */
    bool majority;           /* the first group has more than half of the runs */
    uint64_t first_step;     /* in which the earliest parts; where has_first_step */
    bool has_first_step;
    uint64_t comparisons; /* of two traces */
    uint64_t bytes_read;
    size_t unverified; /* traces of more than 32 MiB: not read in full */
} fb_groups;

/*
 * Groups the runs of `count` traces, 2 to FB_GROUPS_RUNS_MAX.
 *
 *   options  those of fb_diff: prefix, strict, no_replay, data. NULL: all defaults
 *   out      set on FB_OK; free with fb_groups_free
 *
 * Each run is compared with a representative of each group so far, by fb_diff: a run of n groups
 * costs n bisections. For the group that parts first, runs are replayed as fb_diff does. As
 * fb_diff; FB_E_USAGE for more or fewer traces.
 */
FB_NODISCARD fb_status fb_groups_find(fb_groups *out, const char *const *paths, size_t count,
                                      const fb_diff_options *options, fb_error *err);

void fb_groups_free(fb_groups *groups); /* all zeros are fine */

/* For a terminal of 80 columns, or as a JSON object with the keys of docs/diff.md. malloc'd; NULL
 * when memory is out. */
char *fb_groups_text(const fb_groups *groups);
char *fb_groups_json(const fb_groups *groups);

#endif
