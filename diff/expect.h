/* SPDX-License-Identifier: Apache-2.0
 *
 * expect.h - a difference of the configuration that is expected: run a is made again with the other
 * run's value of it, and that run is compared instead. What then still differs, the expected
 * difference does not explain. Text for users: docs/diff.md, "Expected differences".
 */
#ifndef FB_DIFF_EXPECT_H
#define FB_DIFF_EXPECT_H

#include "diff/diff.h"

/*
 * Records to `to` the run of trace `a` with the values that `b` has of `keys`. A key stands for all
 * below it: "optimizer" for "optimizer.adamw.lr".
 *
 *   expected  gets a line for each difference that was applied; none: the runs are equal in all of
 *             the keys, and nothing is recorded. Free with the report that it is moved to, or with
 *             fb_expect_free
 *
 * FB_E_USAGE         a key that neither run has
 * FB_E_UNSUPPORTED   a run without configuration, or one that went on from a checkpoint; a key that
 *                    only one of the two has
 * as fb_replay, fb_recorder_open, fb_run_step
 */
FB_NODISCARD fb_status fb_expect_record(const char *to, const char *a, const char *b,
                                        const char *const *keys, size_t key_count,
                                        const fb_diff_options *options, fb_diff_list *expected,
                                        fb_error *err);

void fb_expect_free(fb_diff_list *expected); /* all zeros are fine */

/* Moves the lines into the report and gives it back the name of the run that was made again: call
 * it when nothing reads the traces any more. FB_E_MEMORY. */
FB_NODISCARD fb_status fb_expect_tell(fb_diff_report *report, const char *a, fb_diff_list *expected,
                                      fb_error *err);

#endif
