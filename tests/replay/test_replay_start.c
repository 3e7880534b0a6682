/* SPDX-License-Identifier: Apache-2.0
 *
 * test_replay_start.c - where a replay starts and ends, and where it finds what it starts from:
 * checkpoints and data by contents, other steps than all of them, runs that go on from another.
 */
#include "replay_fixture.h"

#include <inttypes.h>
#include <sys/stat.h>

/* Moves a file to where no search looks: a hidden folder. Returns its new path. */
static const char *hide(const fixture *f, const char *path)
{
    const char *hidden = in_folder(&f->folder, ".hidden/file");

    (void)mkdir(in_folder(&f->folder, ".hidden"), 0777);
    assert_int_equal(rename(path, hidden), 0);
    return hidden;
}

/* --- Steps and checkpoints -------------------------------------------------------------------- */

static char *checkpoint_path(const fixture *f, int step)
{
    static char path[192];

    (void)snprintf(path, sizeof path, "%s/run.ckpt/step-%08d.safetensors", f->folder.path, step);
    return path;
}

static void from_starts_at_the_newest_checkpoint_that_is_whole(void **state)
{
    const fixture *f = *state;
    const char *away;
    fb_replay_report r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});

    assert_verified(&r);
    assert_int_equal(r.start, 6);
    assert_int_equal(r.note_count, 0);
    assert_true(fb_hash_equal(r.final_hash, f->final_hash));
    fb_replay_report_free(&r);
    r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 6, .has_to = true, .to = 7});
    assert_verified(&r);
    assert_int_equal(r.start, 3); /* that of step 6 is after step 6 */
    assert_int_equal(r.end, 7);
    fb_replay_report_free(&r);

    away = hide(f, checkpoint_path(f, 6));
    r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});
    assert_verified(&r);
    assert_int_equal(r.start, 3);
    assert_int_equal(r.note_count, 1);
    assert_string_equal(r.notes[0],
                        "the checkpoint of step 6 is not there: started from that of step 3");
    fb_replay_report_free(&r);

    write_file(checkpoint_path(f, 3), "changed", 7);
    r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});
    assert_verified(&r);
    assert_int_equal(r.start, 0);
    assert_int_equal(r.note_count, 1);
    assert_string_equal(r.notes[0], "2 checkpoints of steps 3 to 6 are not there or changed: "
                                    "started from the beginning");
    assert_int_equal(r.events_checked, f->events);
    fb_replay_report_free(&r);
    assert_int_equal(rename(away, checkpoint_path(f, 6)), 0);
}

static void a_checkpoint_is_found_by_contents_wherever_it_went(void **state)
{
    static const char *const places[] = {"moved.bin", "deep/down/moved.bin", "run.ckpt/other"};
    const fixture *f = *state;

    assert_int_equal(mkdir(in_folder(&f->folder, "deep"), 0777), 0);
    assert_int_equal(mkdir(in_folder(&f->folder, "deep/down"), 0777), 0);
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        const char *place = in_folder(&f->folder, places[i]);
        fb_replay_report r;

        assert_int_equal(rename(checkpoint_path(f, 6), place), 0);
        r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});
        assert_verified(&r);
        if (r.start != 6 || r.note_count != 0)
            fail_msg("%s: started from %" PRIu64, places[i], r.start);
        fb_replay_report_free(&r);
        assert_int_equal(rename(place, checkpoint_path(f, 6)), 0);
    }
}

/* Compared with the trace of another run, a replay starts from that run's checkpoints. */
static void checkpoints_are_those_of_the_trace_compared_with(void **state)
{
    static const recording how = {.checkpoints = true};
    const fixture *f = *state;
    const test_folder other = make_folder();
    const char *trace = record(&other, "other.fbt", &how);
    const char *hidden = hide(f, checkpoint_path(f, 6));
    fb_replay_report r =
        replay(f->trace, (fb_replay_options){.against = trace, .has_from = true, .from = 8});

    assert_verified(&r);
    assert_int_equal(r.start, 6);
    fb_replay_report_free(&r);
    assert_int_equal(rename(hidden, checkpoint_path(f, 6)), 0);
    drop_folder(&other);
}

/* A wrong file under the right name does not hide the right one under another. */
static void the_right_contents_win_over_the_right_name(void **state)
{
    const fixture *f = *state;
    const char *place = in_folder(&f->folder, "kept.bin");
    fb_replay_report r;

    assert_int_equal(rename(checkpoint_path(f, 6), place), 0);
    write_file(checkpoint_path(f, 6), "changed", 7);
    r = replay(f->trace, (fb_replay_options){.has_from = true, .from = 8});
    assert_verified(&r);
    assert_int_equal(r.start, 6);
    fb_replay_report_free(&r);
    assert_int_equal(rename(place, checkpoint_path(f, 6)), 0);
}

static void to_is_inclusive(void **state)
{
    const fixture *f = *state;
    fb_replay_report r = replay(f->trace, (fb_replay_options){.has_to = true, .to = 0});

    assert_verified(&r);
    assert_int_equal(r.end, 0);
    assert_true(r.events_checked > 10);
    fb_replay_report_free(&r);
    r = replay(f->trace, (fb_replay_options){.has_to = true, .to = 2});
    assert_verified(&r);
    assert_int_equal(r.end, 2);
    assert_false(r.at_end);
    fb_replay_report_free(&r);
}

static void steps_that_the_trace_lacks_are_refused(void **state)
{
    const fixture *f = *state;

    assert_refused(f->trace, (fb_replay_options){.has_to = true, .to = 9}, FB_E_USAGE,
                   "ends at step 8");
    assert_refused(f->trace, (fb_replay_options){.has_from = true, .from = 12}, FB_E_USAGE,
                   "ends at step 8");
    assert_refused(f->trace,
                   (fb_replay_options){.has_from = true, .from = 4, .has_to = true, .to = 3},
                   FB_E_USAGE, "before");
}

/* --- Data ------------------------------------------------------------------------------------- */

static void other_data_is_refused_by_content(void **state)
{
    const fixture *f = *state;

    write_text(&f->folder, 310);
    assert_refused(f->trace, (fb_replay_options){0}, FB_E_CHANGED, "text.txt");
    write_text(&f->folder, SIZE_MAX);
}

static void renamed_data_beside_the_trace_is_found_by_contents(void **state)
{
    const fixture *f = *state;
    const char *text = in_folder(&f->folder, "text.txt"), *moved = in_folder(&f->folder, "t2");
    fb_replay_report r;

    assert_int_equal(rename(text, moved), 0);
    r = replay(f->trace, (fb_replay_options){0});
    assert_verified(&r);
    assert_int_equal(r.events_checked, f->events);
    fb_replay_report_free(&r);
    assert_int_equal(rename(moved, text), 0);
}

static void missing_data_is_looked_for_elsewhere(void **state)
{
    const fixture *f = *state;
    test_folder away = {"/tmp/fb-away-XXXXXX"};
    char from[192], folder[192], moved[256];
    fb_replay_report r;

    assert_non_null(mkdtemp(away.path));
    (void)snprintf(from, sizeof from, "%s/text.txt", f->folder.path);
    (void)snprintf(folder, sizeof folder, "%s/data", away.path);
    (void)snprintf(moved, sizeof moved, "%s/text.txt", folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    assert_int_equal(rename(from, moved), 0);
    assert_refused(f->trace, (fb_replay_options){0}, FB_E_NOT_FOUND, "text.txt: not found");
    r = replay(f->trace, (fb_replay_options){.data = folder});
    assert_verified(&r);
    fb_replay_report_free(&r);

    (void)snprintf(folder, sizeof folder, "%s/renamed.bin", away.path);
    assert_int_equal(rename(moved, folder), 0);
    for (int whole = 0; whole < 2; whole++) { /* the file itself, renamed; a folder that holds it */
        r = replay(f->trace, (fb_replay_options){.data = whole ? away.path : folder});
        assert_verified(&r);
        assert_int_equal(r.events_checked, f->events);
        fb_replay_report_free(&r);
    }
    assert_int_equal(rename(folder, from), 0);
    drop_folder(&away);
}

/* --- Runs that go on from another ----------------------------------------------------------------
 */

static void a_resumed_run_is_replayed_from_its_checkpoint(void **state)
{
    const fixture *f = *state;
    char checkpoint[192];
    fb_replay_report r;

    (void)snprintf(checkpoint, sizeof checkpoint, "%s/run.ckpt/step-00000006.safetensors",
                   f->folder.path);
    r = replay(record_resumed(&f->folder, "resumed.fbt", checkpoint, 6, NULL),
               (fb_replay_options){0});
    assert_verified(&r);
    assert_int_equal(r.start, 6);
    assert_true(fb_hash_equal(r.final_hash, f->final_hash));
    fb_replay_report_free(&r);
}

/* The checkpoint that it went on from is gone: its state is made again, and proven by the hashes of
 * what was loaded. */
static void a_resumed_run_without_its_checkpoint_is_replayed_from_the_beginning(void **state)
{
    const fixture *f = *state;
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 7,
                            .path = "ln",
                            .slot = "out",
                            .micro = 1,
                            .element = 2,
                            .bit = 3};
    const char *away, *resumed;
    char checkpoint[192];
    fb_replay_report r;

    (void)snprintf(checkpoint, sizeof checkpoint, "%s/run.ckpt/step-00000006.safetensors",
                   f->folder.path);
    resumed = record_resumed(&f->folder, "resumed.fbt", checkpoint, 6, NULL);
    away = hide(f, checkpoint);
    r = replay(resumed, (fb_replay_options){0});
    assert_verified(&r);
    assert_true(fb_hash_equal(r.final_hash, f->final_hash));
    assert_int_equal(r.note_count, 1);
    assert_string_equal(r.notes[0], "the checkpoint of step 6 that the run goes on from is not "
                                    "there: made its state again from the beginning, with equal "
                                    "hashes");
    fb_replay_report_free(&r);
    assert_int_equal(rename(away, checkpoint), 0);

    resumed = record_resumed(&f->folder, "resumed.fbt", checkpoint, 6, &fault);
    away = hide(f, checkpoint);
    r = replay(resumed, (fb_replay_options){0});
    assert_true(r.diverged);
    assert_int_equal(r.first.name.step, 7);
    assert_string_equal(r.first.name.path, "ln");
    fb_replay_report_free(&r);
    assert_int_equal(rename(away, checkpoint), 0);
}

/* What was loaded was not the state of this run: that cannot be made again, and is no divergence.
 */
static void a_state_that_cannot_be_proven_is_refused(void **state)
{
    const fixture *f = *state;
    const fb_fault early = {
        .kind = FB_FAULT_FLIP, .step = 2, .path = "ln", .slot = "out", .element = 2, .bit = 20};
    const recording damaged = {.checkpoints = true, .faults = &early, .fault_count = 1};
    char checkpoint[192];
    const char *resumed;

    (void)record(&f->folder, "damaged.fbt", &damaged);
    (void)snprintf(checkpoint, sizeof checkpoint, "%s/damaged.ckpt/step-00000006.safetensors",
                   f->folder.path);
    resumed = record_resumed(&f->folder, "resumed.fbt", checkpoint, 6, NULL);
    (void)hide(f, checkpoint);
    assert_refused(resumed, (fb_replay_options){0}, FB_E_NOT_FOUND, "step-00000006.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_resumed_run_is_replayed_from_its_checkpoint),
        cmocka_unit_test(to_is_inclusive),
        cmocka_unit_test(steps_that_the_trace_lacks_are_refused),
        cmocka_unit_test(other_data_is_refused_by_content),
        cmocka_unit_test(missing_data_is_looked_for_elsewhere),
        cmocka_unit_test(renamed_data_beside_the_trace_is_found_by_contents),
        cmocka_unit_test(a_checkpoint_is_found_by_contents_wherever_it_went),
        cmocka_unit_test(checkpoints_are_those_of_the_trace_compared_with),
        cmocka_unit_test(the_right_contents_win_over_the_right_name),
        cmocka_unit_test(a_resumed_run_without_its_checkpoint_is_replayed_from_the_beginning),
        cmocka_unit_test(a_state_that_cannot_be_proven_is_refused),
        cmocka_unit_test(from_starts_at_the_newest_checkpoint_that_is_whole),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
