/* SPDX-License-Identifier: Apache-2.0
 *
 * run_pairs.h - what the tests of diff on pairs of whole runs share: a folder with a clean run, and
 * how two are compared.
 */
#ifndef FB_TESTS_DIFF_RUN_PAIRS_H
#define FB_TESTS_DIFF_RUN_PAIRS_H

#include "recorded_run.h"

#include "diff/diff.h"

typedef struct fixture {
    test_folder folder;
    char clean[160]; /* SMALL_GPT as it is */
} fixture;

static inline int set_up(void **state)
{
    static const recording how = {0};
    fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->folder = make_folder();
    (void)snprintf(f->clean, sizeof f->clean, "%s", record(&f->folder, "clean.fbt", &how));
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    fixture *f = *state;

    drop_folder(&f->folder);
    free(f);
    return 0;
}

static inline fb_diff_report compare_with(const char *a, const char *b, fb_diff_options options)
{
    fb_diff_report r;
    fb_error err;

    options.size = sizeof options;
    options.no_stacks = true;
    assert_ok(fb_diff(&r, a, b, &options, &err));
    return r;
}

static inline fb_diff_report compare(const char *a, const char *b)
{
    return compare_with(a, b, (fb_diff_options){0});
}

static inline void assert_same(const char *what, const char *a, const char *b)
{
    fb_diff_report r = compare(a, b);
    char text[512];

    if (r.verdict != FB_DIFF_SAME)
        fail_msg("%s: %s at %s", what, fb_diff_verdict_name(r.verdict),
                 r.has_first ? fb_event_name_text(text, sizeof text, &r.first.name) : "nothing");
    fb_diff_report_free(&r);
}

static inline void assert_cause(const fb_diff_report *r, const char *name, bool confirmed)
{
    if (r->verdict != FB_DIFF_DIFFER || !r->has_cause || strcmp(r->cause.name, name) != 0 ||
        r->cause.confirmed != confirmed)
        fail_msg("%s, cause %s (%s): %s; expected %s", fb_diff_verdict_name(r->verdict),
                 r->has_cause ? r->cause.name : "none", r->cause.confirmed ? "confirmed" : "likely",
                 r->has_cause ? r->cause.text : "", name);
}

#endif
