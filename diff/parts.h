/* SPDX-License-Identifier: Apache-2.0
 *
 * parts.h - a run of several processes has a trace for each: main traces are compared with each
 * other, and each child, worker or rank with the one of its role. Private to diff. Rules:
 * docs/diff.md, "Runs of several processes".
 */
#ifndef FB_DIFF_PARTS_H
#define FB_DIFF_PARTS_H

#include "diff/diff.h"

/* Two files, whatever lies beside them. As fb_diff. */
FB_NODISCARD fb_status fb__diff_files(fb_diff_report *out, const char *a, const char *b,
                                      const fb_diff_options *options, fb_error *err);

/* Adds to the report of two main traces what their parts are: the verdict becomes that of the run,
 * and the report that of the pair in which the earliest difference lies. *report is changed or
 * replaced; it must be freed also after a failure. As fb_diff. */
FB_NODISCARD fb_status fb__diff_parts(fb_diff_report *report, const fb_diff_options *options,
                                      fb_error *err);

/*
 * Whether process x of a run differs before process `than`: in an earlier step; of ranks, which go
 * through a step together, also in an earlier phase or place of one step. What a rank was told by
 * the others, in a collective, comes behind what one of them has computed itself in that phase.
 *
 *   role_x, role_than  "main", or as in fb_diff_part
 *   bytes_read         what is read of their traces is added
 */
bool fb__part_is_earlier(const fb_diff_report *x, const char *role_x, const fb_diff_report *than,
                         const char *role_than, uint64_t *bytes_read);

void fb__candidates_free(fb_diff_report *report); /* leaves none */

/* "child1, child2: same; child3: differs, first at step 7": one line for people, cut where there
 * are many. Returns out. */
char *fb__parts_text(char *out, size_t size, const fb_diff_report *report);

#endif
