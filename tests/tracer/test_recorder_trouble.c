/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorder_trouble.c - a program that misuses its recorder, a full disk, a signal, a fork: the
 * recording stops and keeps what was there, the program goes on.
 */
#include "tests/tracer/trace_fixture.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "tracer/record/recorder_state.h"

/* --- Misuse ------------------------------------------------------------------------------------
 */

static void stops_with(fb_status status, const char *part, void (*misuse)(fb_recorder *r))
{
    test_folder folder;
    fb_recorder_stats stats;
    fb_recorder *r;
    fb_error err;
    uint64_t random = 1;
    fb_trace *t;

    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, NULL), FB_OK);
    report_sites(fb_recorder_observer(r));
    report_steps(fb_recorder_observer(r), 0, 3, &random);
    misuse(r);
    report_steps(fb_recorder_observer(r), 4, 9, &random); /* does nothing, harms nothing */
    fb_recorder_get_stats(r, &stats);
    assert_true(stats.stopped);
    assert_int_equal(fb_recorder_close(r, &err), status);
    if (strstr(err.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
    assert_int_equal(verified(folder.file), FB_TRACE_FULL);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_get_info(t)->last_step, 3);
    assert_non_null(strstr(fb_trace_get_info(t)->reason, part));
    fb_trace_close(t);
    drop_folder(&folder);
}

static void report_late_tensor(fb_recorder *r)
{
    const fb_event e = {
        .size = sizeof e, .site = SITE_TENSOR, .step = 2, .micro = 0, .hash = {1, 1}};
    (void)fb_recorder_observer(r)->on_event(r, &e, NULL);
}

static void report_tensor_after_its_step(fb_recorder *r)
{
    const fb_event e = {
        .size = sizeof e, .site = SITE_TENSOR, .step = 3, .micro = 0, .hash = {1, 1}};
    (void)fb_recorder_observer(r)->on_event(r, &e, NULL);
}

static void report_unknown_site(fb_recorder *r)
{
    const fb_event e = {.size = sizeof e, .site = 1000, .step = 4, .micro = 0};
    (void)fb_recorder_observer(r)->on_event(r, &e, NULL);
}

static void report_unknown_input(fb_recorder *r)
{
    const fb_ref input = {.site = 1000, .step = 4};
    const fb_event e = {
        .size = sizeof e, .site = SITE_TENSOR, .step = 4, .inputs = &input, .input_count = 1};
    (void)fb_recorder_observer(r)->on_event(r, &e, NULL);
}

static void report_bad_site(fb_recorder *r)
{
    const fb_site site = {.size = sizeof site, .kind = (fb_kind)77, .path = "x"};
    (void)fb_recorder_observer(r)->on_site(r, SITE_COUNT, &site, NULL);
}

static void misuse_stops_the_recording_and_keeps_what_was_there(void **state)
{
    (void)state;
    stops_with(FB_E_USAGE, "step that has ended", report_late_tensor);
    stops_with(FB_E_USAGE, "step that has ended", report_tensor_after_its_step);
    stops_with(FB_E_USAGE, "unknown site", report_unknown_site);
    stops_with(FB_E_USAGE, "unknown site", report_unknown_input);
    stops_with(FB_E_USAGE, "unknown kind 77", report_bad_site);
}

static void give_up(fb_recorder *r)
{
    fb_recorder_stop(r, "the program cannot go on");
    fb_recorder_stop(r, "and again");
    fb_recorder_stop(NULL, "nothing to stop");
}

static void a_recording_that_its_program_gives_up_is_not_complete(void **state)
{
    (void)state;
    stops_with(FB_E_STOPPED, "the program cannot go on", give_up);
}

static void a_trace_that_was_removed_meanwhile_is_missed(void **state)
{
    const float values[1] = {1};
    test_folder folder;
    fb_recorder *r;
    fb_error err;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, &err), FB_OK);
    fb_recorder_step(r, 1);
    (void)fb_recorder_f32(r, FB_PHASE_FORWARD, "fc", "addmm", values, 1, 0);
    assert_int_equal(unlink(folder.file), 0);
    assert_int_equal(fb_recorder_close(r, &err), FB_E_IO);
    assert_non_null(strstr(err.text, folder.file));
    assert_non_null(strstr(err.text, "was removed while it was written"));
    assert_int_equal(rmdir(folder.path), 0);
}

static void a_bad_header_or_place_is_refused(void **state)
{
    fb_recorder_options options = {.size = sizeof options, .header = "[1]"};
    test_folder folder;
    fb_recorder *r;
    fb_error err;
    char path[160];

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, &err), FB_E_USAGE);
    options.header = "{\"a\": 1} x";
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, &err), FB_E_USAGE);
    assert_int_equal(fb_recorder_open(&r, folder.path, NULL, &err), FB_E_IO); /* a directory */
    (void)snprintf(path, sizeof path, "%s/none/t.fbt", folder.path);
    assert_int_equal(fb_recorder_open(&r, path, NULL, &err), FB_E_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
    assert_int_equal(rmdir(folder.path), 0); /* nothing was left behind */
}

static void the_header_keeps_the_callers_text(void **state)
{
    const fb_recorder_options options = {
        .size = sizeof options,
        .header = " {\"lr\": 0.1000000000000000055511151231257827,\n \"environment\": "
                  "{\"threads\": 3, \"cpu\": \"mine\"}, \"files\": [{\"a\": \"}\\\"]\"}]} "};
    test_folder folder;
    fb_recorder *r;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, NULL), FB_OK);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    t = open_trace(folder.file);
    const char *text = fb_trace_get_info(t)->header;
    assert_non_null(strstr(text, "\"lr\": 0.1000000000000000055511151231257827,"));
    assert_non_null(strstr(text, "\"files\": [{\"a\": \"}\\\"]\"}],"));
    assert_non_null(strstr(text, "\"threads\":3"));
    assert_non_null(strstr(text, "\"cpu\":\"mine\""));
    assert_non_null(strstr(text, "\"libraries\":{"));
    assert_null(strstr(text, folder.path));
    fb_trace_close(t);
    drop_folder(&folder);
}

/* --- Disks, signals, forks ---------------------------------------------------------------------
 */

/* In a child of its own, with files limited to `limit` bytes. Exits 0 when all went as promised. */
static int record_under_limit(const char *path, rlim_t limit)
{
    const struct rlimit rule = {limit, limit};
    fb_recorder *r;
    fb_error err;
    uint64_t random = 1;
    fb_status status;

    if (setrlimit(RLIMIT_FSIZE, &rule) != 0)
        return 10;
    status = fb_recorder_open(&r, path, NULL, &err);
    if (status != FB_OK)
        return status == FB_E_FULL ? 0 : 11;
    report_sites(fb_recorder_observer(r));
    report_steps(fb_recorder_observer(r), 0, 4000, &random);
    return fb_recorder_close(r, &err) == FB_E_FULL ? 0 : 12;
}

static void a_full_disk_stops_the_recording_not_the_program(void **state)
{
    const rlim_t limits[] = {100, 4096, 10000, 300000, 500000, 700001};
    test_folder folder;

    (void)state;
    make_folder(&folder);
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        int status;
        const pid_t child = fork();

        if (child == 0)
            _exit(record_under_limit(folder.file, limits[i]));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status)); /* SIGXFSZ would have ended it */
        assert_int_equal(WEXITSTATUS(status), 0);
        if (limits[i] < 4096) {
            assert_int_equal(access(folder.file, F_OK), -1); /* no header, no file */
            continue;
        }
        /* Only where not even a page is left does the footer not fit. */
        assert_int_equal(verified(folder.file), limits[i] == 4096 ? FB_TRACE_TORN : FB_TRACE_FULL);
        assert_int_equal(unlink(folder.file), 0);
    }
    assert_int_equal(rmdir(folder.path), 0); /* no temporary file stays */
}

static void a_killed_program_leaves_a_readable_trace(void **state)
{
    test_folder folder;
    fb_trace *t;
    int status;

    (void)state;
    make_folder(&folder);
    const pid_t child = fork();
    if (child == 0) {
        fb_recorder *r;
        uint64_t random = 1;

        if (fb_recorder_open(&r, folder.file, NULL, NULL) != FB_OK)
            _exit(1);
        report_sites(fb_recorder_observer(r));
        report_steps(fb_recorder_observer(r), 0, 2000, &random);
        (void)raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(verified(folder.file), FB_TRACE_TORN);
    t = open_trace(folder.file);
    assert_true(fb_trace_get_info(t)->steps > 500); /* what was sealed by then */
    fb_trace_close(t);
    drop_folder(&folder);
}

static void a_forked_engine_writes_nothing(void **state)
{
    test_folder folder;
    fb_recorder *r;
    uint64_t random = 1;
    int status;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, NULL), FB_OK);
    report_sites(fb_recorder_observer(r));
    report_steps(fb_recorder_observer(r), 0, 3, &random);
    const pid_t child = fork();
    if (child == 0) {
        report_steps(fb_recorder_observer(r), 4, 3000, &random);
        _exit(fb_recorder_close(r, NULL) == FB_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    report_steps(fb_recorder_observer(r), 4, 6, &random);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    assert_int_equal(verified(folder.file), FB_TRACE_COMPLETE);
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(misuse_stops_the_recording_and_keeps_what_was_there),
        cmocka_unit_test(a_recording_that_its_program_gives_up_is_not_complete),
        cmocka_unit_test(a_trace_that_was_removed_meanwhile_is_missed),
        cmocka_unit_test(a_bad_header_or_place_is_refused),
        cmocka_unit_test(the_header_keeps_the_callers_text),
        cmocka_unit_test(a_full_disk_stops_the_recording_not_the_program),
        cmocka_unit_test(a_killed_program_leaves_a_readable_trace),
        cmocka_unit_test(a_forked_engine_writes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
