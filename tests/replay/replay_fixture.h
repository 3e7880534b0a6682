/* SPDX-License-Identifier: Apache-2.0
 *
 * replay_fixture.h - what the tests of replay share: one recorded run with checkpoints.
 */
#ifndef FB_TESTS_REPLAY_REPLAY_FIXTURE_H
#define FB_TESTS_REPLAY_REPLAY_FIXTURE_H

#include "tests/diff/recorded_run.h"

#include "base/hash.h"
#include "replay/replay.h"

typedef struct fixture {
    test_folder folder;
    char trace[160]; /* SMALL_GPT with checkpoints of steps 3 and 6 */
    uint64_t events;
    fb_hash final_hash;
} fixture;

static inline void read_totals(fixture *f)
{
    const fb_event *event, *last = NULL;
    fb_trace *trace;
    fb_error err;

    assert_ok(fb_trace_open(&trace, f->trace, &err));
    f->events = fb_trace_get_info(trace)->events;
    for (;;) {
        assert_ok(fb_trace_next(trace, &event, NULL, &err));
        if (event == NULL)
            break;
        last = event;
        if (strcmp(fb_trace_site(trace, last->site)->slot, FB_FINAL_HASH_MARK) == 0)
            assert_true(fb_hash_of_hex(&f->final_hash, last->text));
    }
    fb_trace_close(trace);
}

static inline int set_up(void **state)
{
    static const recording how = {.checkpoints = true};
    fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->folder = make_folder();
    (void)snprintf(f->trace, sizeof f->trace, "%s", record(&f->folder, "run.fbt", &how));
    read_totals(f);
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

static inline fb_replay_report replay(const char *path, fb_replay_options options)
{
    fb_replay_report r;
    fb_error err;

    options.size = sizeof options;
    options.no_stack = true;
    assert_ok(fb_replay(&r, path, &options, &err));
    return r;
}

static inline void assert_verified(const fb_replay_report *r)
{
    char text[512];

    if (r->diverged)
        fail_msg("diverged at %s: %s | %s", fb_event_name_text(text, sizeof text, &r->first.name),
                 r->first.expected, r->first.came);
}

static inline void assert_refused(const char *path, fb_replay_options options, fb_status status,
                                  const char *says)
{
    fb_replay_report r;
    fb_error err = {.text = ""};

    options.size = sizeof options;
    if (fb_replay(&r, path, &options, &err) != status || strstr(err.text, says) == NULL)
        fail_msg("status %d: %s; expected %d: %s", err.status, err.text, status, says);
}

#endif
