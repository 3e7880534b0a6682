/* SPDX-License-Identifier: Apache-2.0
 *
 * test_reader_memory.c - at most 64 MiB for reading, verifying, recovering and comparing, however
 * large or strange the trace is: measured as the peak of a process that does nothing else.
 */
#include "tests/faults/hostile_traces.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "diff/diff.h"
#include "diff/digest/digest.h"
#include "diff/report/picture.h"
#include "diff/why/why.h"

enum { LIMIT_KB = 64 << 10 };

/* --- What readers do, each in a process of its own ---------------------------------------------
 */

static void read_events(const char *path, const char *other)
{
    const fb_event *e;
    uint64_t number;
    fb_trace *t;

    (void)other;
    if (fb_trace_open(&t, path, NULL) != FB_OK)
        return;
    for (uint64_t n = 0; fb_trace_next(t, &e, &number, NULL) == FB_OK && e != NULL; n++)
        if (n % 1000 == 0)
            free(fb_trace_event_json(t, e, number));
    fb_trace_close(t);
}

static void recover(const char *path, const char *other)
{
    char to[192];
    fb_recovered dropped;

    (void)other;
    (void)snprintf(to, sizeof to, "%s.whole", path);
    (void)!fb_trace_recover(&dropped, path, to, NULL, NULL, NULL);
    (void)unlink(to);
}

/* Compares, with everything that a page shows. */
static void make_page(const char *path, const char *other)
{
    const fb_diff_options options = {.size = sizeof options, .no_replay = true};
    fb_diff_report report;
    fb_picture picture;

    if (fb_diff(&report, path, other, &options, NULL) != FB_OK)
        return;
    if (fb_picture_gather(&picture, &report, &options, NULL) == FB_OK) {
        free(fb_diff_report_html(&report, &picture));
        fb_picture_free(&picture);
    }
    fb_diff_report_free(&report);
}

/* The other one as a repeat that says what rounding does. */
static void compare_with_noise(const char *path, const char *other)
{
    const char *const noise[] = {other, path, other};
    const fb_diff_options options = {.size = sizeof options,
                                     .no_replay = true,
                                     .no_stacks = true,
                                     .noise = noise,
                                     .noise_count = COUNT_OF(noise)};
    fb_diff_report report;

    if (fb_diff(&report, path, other, &options, NULL) == FB_OK)
        fb_diff_report_free(&report);
}

static void compare_equal(const char *path, const char *other)
{
    const fb_diff_options options = {.size = sizeof options, .no_replay = true};
    fb_diff_report report;

    (void)other;
    if (fb_diff(&report, path, path, &options, NULL) == FB_OK)
        fb_diff_report_free(&report);
}

static void share(const char *path, const char *other)
{
    char to[192];

    (void)other;
    (void)snprintf(to, sizeof to, "%s.shared", path);
    (void)!fb_trace_share(path, to, NULL, 0, NULL, NULL, NULL);
    (void)unlink(to);
}

static void digest(const char *path, const char *other)
{
    fb_digest *d = malloc(sizeof *d);

    (void)other;
    (void)!fb_digest_of_trace(d, path, NULL, NULL, NULL);
    free(d);
}

static void ask_why(const char *path, const char *other)
{
    static const char *const targets[] = {
        "fc@6", "a.rather.long.path.of.a.layer.to.fill.the.names.000007@1", "h.0.mlp.fc@1"};
    fb_why *why;

    (void)other;
    for (size_t i = 0; i < COUNT_OF(targets); i++)
        if (fb_why_find(&why, path, targets[i], NULL, NULL) == FB_OK)
            fb_why_free(why);
}

/* Peak of a child that does `work`, in KiB. */
static long peak_of(void (*work)(const char *, const char *), const char *path, const char *other)
{
    struct rusage usage;
    int status;
    const pid_t child = fork();

    if (child == 0) {
        work(path, other);
        _exit(0);
    }
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return usage.ru_maxrss;
}

/* Recovering and comparing verify too, a page begins with a comparison. Of each trace those are
 * made that take most; FIRSTBIT_TEST_MEMORY=1: all. */
enum { RECOVER = 2, PAGE = 4, NOISE = 8, SAME = 16, SHARE = 32, WHY = 128 };

static void expect_little_memory(const char *what, unsigned wanted, const char *path,
                                 const char *other)
{
    static const struct {
        const char *name;
        void (*work)(const char *, const char *);
    } works[] = {{"read", read_events},   {"recover", recover},
                 {"page", make_page},     {"noise", compare_with_noise},
                 {"same", compare_equal}, {"share", share},
                 {"digest", digest},      {"why", ask_why}};

    for (size_t i = 0; i < COUNT_OF(works); i++) {
        long peak;

        if ((wanted & 1u << i) == 0 && thoroughness("FIRSTBIT_TEST_MEMORY", 0) == 0)
            continue;
        peak = peak_of(works[i].work, path, other);
        print_message("%-28s %-8s %6.1f MiB\n", what, works[i].name, (double)peak / 1024);
        if (peak > LIMIT_KB)
            fail_msg("%s of %s takes %ld KiB", works[i].name, what, peak);
    }
}

/* --- Traces, each made by a process of its own: this one stays small ---------------------------
 */

static void make(void (*record)(const char *path, uint64_t changed), const char *path,
                 uint64_t changed)
{
    int status;
    const pid_t child = fork();

    if (child == 0) {
        record(path, changed);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void measure(const char *what, void (*record)(const char *, uint64_t), unsigned wanted)
{
    test_folder folder;
    char other[160];

    make_folder(&folder);
    (void)snprintf(other, sizeof other, "%s/other.fbt", folder.path);
    make(record, folder.file, UINT64_MAX);
    make(record, other, 15000);
    expect_little_memory(what, wanted, folder.file, other);
    drop_folder(&folder);
}

static void many_sites_take_little_memory(void **state)
{
    (void)state;
    measure("98,304 sites of one step", record_sites_of_one_step, PAGE | NOISE);
}

static void a_torn_step_takes_little_memory(void **state)
{
    (void)state;
    measure("98,304 sites, torn", record_torn_step, PAGE | SAME | WHY);
}

static void large_events_take_little_memory(void **state)
{
    (void)state;
    measure("events of the largest size", record_large_events, PAGE);
}

static void large_steps_take_little_memory(void **state)
{
    (void)state;
    measure("steps of 140,000 events", record_large_steps, NOISE);
}

static void all_maxima_take_little_memory(void **state)
{
    (void)state;
    measure("all maxima at once", record_all_maxima, RECOVER | PAGE | SHARE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_sites_take_little_memory),
        cmocka_unit_test(a_torn_step_takes_little_memory),
        cmocka_unit_test(large_events_take_little_memory),
        cmocka_unit_test(large_steps_take_little_memory),
        cmocka_unit_test(all_maxima_take_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
