/* SPDX-License-Identifier: Apache-2.0
 *
 * test_reader_memory.c - at most 64 MiB for reading, verifying, recovering and comparing, however
 * large or strange the trace is: measured as the peak of a process that does nothing else.
 */
#include "tests/faults/damage.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "diff/diff.h"
#include "diff/digest/digest.h"
#include "diff/why/why.h"

/* share reads one trace and writes another, and holds the sites of both. */
enum { LIMIT_KB = 64 << 10, SHARE_KB = 96 << 10 };

static void must(bool holds)
{
    if (!holds)
        _exit(3);
}

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

static void verify(const char *path, const char *other)
{
    fb_trace_info info;
    fb_trace *t;

    (void)other;
    if (fb_trace_open(&t, path, NULL) != FB_OK)
        return;
    (void)!fb_trace_verify(&info, t, NULL, NULL, NULL);
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

static void compare(const char *path, const char *other)
{
    const fb_diff_options options = {.size = sizeof options, .no_replay = true, .no_stacks = true};
    fb_diff_report report;

    if (fb_diff(&report, path, other, &options, NULL) == FB_OK)
        fb_diff_report_free(&report);
}

static void compare_equal(const char *path, const char *other)
{
    (void)other;
    compare(path, path);
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

static void expect_little_memory(const char *what, const char *path, const char *other)
{
    static const struct {
        const char *name;
        void (*work)(const char *, const char *);
    } works[] = {{"read", read_events}, {"verify", verify},      {"recover", recover},
                 {"diff", compare},     {"same", compare_equal}, {"share", share},
                 {"digest", digest},    {"why", ask_why}};

    for (size_t i = 0; i < COUNT_OF(works); i++) {
        const long peak = peak_of(works[i].work, path, other);

        print_message("%-28s %-8s %6.1f MiB\n", what, works[i].name, (double)peak / 1024);
        if (peak > (works[i].work == share ? SHARE_KB : LIMIT_KB))
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

static fb_recorder *open_recorder(const char *path)
{
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    fb_recorder *r;

    must(fb_recorder_open(&r, path, &options, NULL) == FB_OK);
    return r;
}

/* As many sites as a trace may have, with names as long as they may be together. */
static void record_many_sites(const char *path, uint64_t changed)
{
    fb_recorder *r = open_recorder(path);
    const fb_observer *o = fb_recorder_observer(r);
    char name[64];

    for (uint32_t i = 0; i < FB_TRACE_SITES_MAX; i++) {
        const fb_site site = {.size = sizeof site,
                              .kind = FB_KIND_SCALAR,
                              .phase = FB_PHASE_LOSS,
                              .path = name,
                              .slot = "out",
                              .dtype = FB_DTYPE_F64};
        fb_event e = {.size = sizeof e, .site = i, .step = 1 + i / 20000, .value = i, .micro = -1};

        (void)snprintf(name, sizeof name, "a.rather.long.path.of.a.layer.to.fill.the.names.%06u",
                       i);
        e.value += i == changed;
        must(o->on_site(o->self, i, &site, NULL) == FB_OK &&
             o->on_event(o->self, &e, NULL) == FB_OK);
        if (i % 20000 == 19999)
            must(o->on_step_end(o->self, e.step, NULL) == FB_OK);
    }
    must(o->on_step_end(o->self, 1 + (FB_TRACE_SITES_MAX - 1) / 20000, NULL) == FB_OK);
    (void)fb_recorder_close(r, NULL);
}

/* Events as large as they may be: indices, inputs, texts. */
static void record_large_events(const char *path, uint64_t changed)
{
    fb_recorder *r = open_recorder(path);
    uint64_t *indices = calloc(FB_INDICES_MAX, sizeof *indices), random = 1;
    fb_ref *inputs = calloc(FB_INPUTS_MAX, sizeof *inputs);
    char *text = malloc(FB_TEXT_MAX + 1);

    for (int i = 0; i < FB_TEXT_MAX; i++)
        text[i] = (char)(32 + next_random(&random) % 90);
    text[FB_TEXT_MAX] = '\0';
    for (uint64_t step = 1; step <= 6; step++) {
        fb_recorder_step(r, step);
        for (uint32_t i = 0; i < FB_INDICES_MAX; i++)
            indices[i] = next_random(&random);
        inputs[0] = fb_recorder_sample(r, "data", FB_ROLE_TRAIN, 0, indices, FB_INDICES_MAX,
                                       &changed, step == 4 ? sizeof changed : 0);
        for (uint32_t i = 1; i < FB_INPUTS_MAX; i++)
            inputs[i] = inputs[0];
        (void)fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out",
                                 FB_DTYPE_F32, 0, NULL, &step, inputs, FB_INPUTS_MAX);
        fb_recorder_mark(r, text);
    }
    (void)fb_recorder_close(r, NULL);
    free(indices);
    free(inputs);
    free(text);
}

/* 300,000 events in few steps: more than a comparison can hold at once. */
static void record_large_steps(const char *path, uint64_t changed)
{
    fb_recorder *r = open_recorder(path);
    made_event made[64];
    uint64_t random = 1;

    report_sites(fb_recorder_observer(r));
    for (uint64_t step = 0; step <= 20000; step++) {
        const size_t n = fixture_step(made, step, &random);

        for (size_t i = 0; i < n; i++) {
            fb_event e = made[i].event;
            e.inputs = e.input_count > 0 ? made[i].inputs : NULL;
            e.step = step / 10000; /* few steps, of many events each */
            for (uint32_t k = 0; k < e.input_count; k++)
                made[i].inputs[k].step = e.step;
            e.hash.lo += step == changed && e.hash.lo != 0;
            must(fb_recorder_observer(r)->on_event(fb_recorder_observer(r)->self, &e, NULL) ==
                 FB_OK);
        }
        if (step % 10000 == 9999)
            must(fb_recorder_observer(r)->on_step_end(fb_recorder_observer(r)->self, step / 10000,
                                                      NULL) == FB_OK);
    }
    (void)fb_recorder_close(r, NULL);
}

static void measure(const char *what, void (*record)(const char *, uint64_t))
{
    test_folder folder;
    char other[160];

    make_folder(&folder);
    (void)snprintf(other, sizeof other, "%s/other.fbt", folder.path);
    make(record, folder.file, UINT64_MAX);
    make(record, other, 15000);
    expect_little_memory(what, folder.file, other);
    drop_folder(&folder);
}

static void many_sites_take_little_memory(void **state)
{
    (void)state;
    measure("98,304 sites", record_many_sites);
}

static void large_events_take_little_memory(void **state)
{
    (void)state;
    measure("events of the largest size", record_large_events);
}

static void large_steps_take_little_memory(void **state)
{
    (void)state;
    measure("steps of 140,000 events", record_large_steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_sites_take_little_memory),
        cmocka_unit_test(large_events_take_little_memory),
        cmocka_unit_test(large_steps_take_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
