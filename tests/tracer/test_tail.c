/* SPDX-License-Identifier: Apache-2.0
 *
 * test_tail.c - what is read while a trace is written, closed and forked, and what ends or limits a
 * recording.
 */
#include "tests/sanitized.h"
#include "tests/tracer/tail_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tracer/record/recorder_state.h"

/* --- Without a crash ---------------------------------------------------------------------------
 */

static void record_some(const char *path, fb_recorder **out, uint64_t count)
{
    assert_int_equal(fb_recorder_open(out, path, NULL, NULL), FB_OK);
    for (uint64_t n = 1; n <= count; n++)
        (void)fb_recorder_scalar(*out, FB_PHASE_LOSS, "thread0", "loss", FB_DTYPE_F64, (double)n);
}

static void a_closed_trace_leaves_no_tail(void **state)
{
    test_folder folder;
    char tail[160];
    fb_recorder *r;

    (void)state;
    make_folder(&folder);
    tail_of(tail, &folder);
    record_some(folder.file, &r, 10);
    assert_true(exists(tail));
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    assert_false(exists(tail));
    drop_folder(&folder);
}

/* The live trace of a program that goes on can be read too. */
static void a_trace_is_read_while_it_is_written(void **state)
{
    const oracle known = {.committed = {70000}, .began = {70000}};
    test_folder folder;
    fb_recorder *r;

    (void)state;
    make_folder(&folder);
    record_some(folder.file, &r, 70000);
    check_numbers(folder.file, &known, 1);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    check_numbers(folder.file, &known, 1);
    drop_folder(&folder);
}

/* Rows go from the tail into the file between a reader's look at the one and at the other. */
static void what_was_recorded_before_a_reader_looked_is_seen_by_it(void **state)
{
    enum { EVENTS = 1000000 / EVERY };
    oracle known = {.committed = {0}};
    recording all = {.oracle = &known, .limit = EVENTS};
    test_folder folder;
    pthread_t thread;
    unsigned looks = 0;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&all.recorder, folder.file, NULL, NULL), FB_OK);
    assert_int_equal(pthread_create(&thread, NULL, report_numbers, &all), 0);
    for (uint64_t before = 0; before < EVENTS; looks++) {
        fb_trace *t;

        before = __atomic_load_n(&known.committed[0], __ATOMIC_ACQUIRE);
        t = open_trace(folder.file);
        if (fb_trace_get_info(t)->events < before)
            fail_msg("look %u: %llu events of %llu", looks,
                     (unsigned long long)fb_trace_get_info(t)->events, (unsigned long long)before);
        fb_trace_close(t);
    }
    assert_true(looks > 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(fb_recorder_close(all.recorder, NULL), FB_OK);
    drop_folder(&folder);
}

/* Records all its numbers and closes. */
static void *report_and_close(void *argument)
{
    recording *r = argument;

    (void)report_numbers(r);
    if (fb_recorder_close(r->recorder, NULL) != FB_OK)
        abort();
    __atomic_store_n(&r->oracle->began[0], 0, __ATOMIC_RELEASE);
    return NULL;
}

/* Between a reader's look at the file and that at its tail, the file may get its end and the tail
 * go: what is torn has what was committed, what is whole has all. */
static void who_opens_a_trace_that_is_being_closed_sees_all_of_it(void **state)
{
    const uint64_t rounds = 100 / EVERY;

    (void)state;
    for (uint64_t round = 0; round < rounds; round++) {
        oracle known = {.began = {1}};
        recording all = {.oracle = &known, .limit = 200};
        bool closed = false, whole = false;
        test_folder folder;
        pthread_t thread;

        make_folder(&folder);
        assert_int_equal(fb_recorder_open(&all.recorder, folder.file, NULL, NULL), FB_OK);
        assert_int_equal(pthread_create(&thread, NULL, report_and_close, &all), 0);
        while (!whole) {
            const uint64_t before = __atomic_load_n(&known.committed[0], __ATOMIC_ACQUIRE);
            const fb_trace_info *info;
            fb_trace *t;

            closed = __atomic_load_n(&known.began[0], __ATOMIC_ACQUIRE) == 0;
            t = open_trace(folder.file);
            info = fb_trace_get_info(t);
            whole = info->status == FB_TRACE_COMPLETE;
            if (info->events < (whole ? all.limit : before) || (closed && !whole))
                fail_msg("round %llu: %s with %llu events of %llu", (unsigned long long)round,
                         fb_trace_status_name(info->status), (unsigned long long)info->events,
                         (unsigned long long)before);
            fb_trace_close(t);
        }
        assert_int_equal(pthread_join(thread, NULL), 0);
        drop_folder(&folder);
    }
}

static void the_tail_of_another_trace_is_ignored(void **state)
{
    test_folder folder;
    char tail[160], saved[176];
    fb_recorder *r;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    tail_of(tail, &folder);
    (void)snprintf(saved, sizeof saved, "%s/old", folder.path);
    record_some(folder.file, &r, 10);
    assert_int_equal(link(tail, saved), 0);
    fb_recorder_close(r, NULL);
    record_some(folder.file, &r, 5);
    assert_int_equal(rename(saved, tail), 0);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_get_info(t)->events, 0);
    fb_trace_close(t);
    fb_recorder_close(r, NULL);
    drop_folder(&folder);
}

static size_t load(const char *path, uint8_t *bytes, size_t size)
{
    const int descriptor = open(path, O_RDONLY);
    const ssize_t count = read(descriptor, bytes, size);

    assert_true(count >= 0 && close(descriptor) == 0);
    return (size_t)count;
}

static void store(const char *path, const uint8_t *bytes, size_t count)
{
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    assert_int_equal(write(descriptor, bytes, count), count);
    assert_int_equal(close(descriptor), 0);
}

/* A trace with one chunk of ten events, and a tail that goes on with fillings 2 and 3, ten events
 * each. Where sealing ended at the very end of filling 1, nothing is missing; where it ended
 * before, something is, and the tail must not be believed. */
static void fillings_follow_each_other_without_a_gap(void **state)
{
    static const struct {
        uint64_t staged, events;
    } cases[] = {{UINT64_C(2) << 32, 30}, {UINT64_C(1) << 32 | 640, 30}, {8, 10}};
    static uint8_t trace[1 << 16], rows[2 << 20];
    test_folder folder;
    char tail[160];
    fb_recorder *r;
    size_t trace_bytes, tail_bytes;

    (void)state;
    make_folder(&folder);
    tail_of(tail, &folder);
    record_some(folder.file, &r, 10);
    fb__recorder_seal(r);
    trace_bytes = load(folder.file, trace, sizeof trace);
    for (int i = 0; i < 10; i++)
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "thread0", "loss", FB_DTYPE_F64, 11 + i);
    fb__recorder_seal(r);
    for (int i = 0; i < 10; i++)
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "thread0", "loss", FB_DTYPE_F64, 21 + i);
    tail_bytes = load(tail, rows, sizeof rows);
    fb_recorder_close(r, NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const oracle known = {.committed = {cases[i].events}, .began = {cases[i].events}};
        uint8_t *head = trace + trace_bytes - FB_FORMAT_ALIGN; /* of the chunk: one page */
        uint64_t check;

        memcpy(head + 120, &cases[i].staged, 8);
        check = fb__check(head, 504);
        memcpy(head + 504, &check, 8);
        store(folder.file, trace, trace_bytes);
        store(tail, rows, tail_bytes);
        check_numbers(folder.file, &known, 1);
    }
    drop_folder(&folder);
}

/* Any bit of the tail: what is read is a prefix, or the bit is in padding. */
static void a_flipped_bit_of_the_tail_is_never_believed(void **state)
{
    enum { EVENTS = 40 };
    const uint64_t stride = environment_number("FIRSTBIT_TEST_STRIDE", 7 * EVERY);
    test_folder folder;
    char tail[160];
    uint8_t bytes[FB_TAIL_HEAD_BYTES + 8192];
    fb_recorder *r;
    int descriptor;

    (void)state;
    make_folder(&folder);
    tail_of(tail, &folder);
    record_some(folder.file, &r, EVENTS);
    descriptor = open(tail, O_RDWR);
    assert_int_equal(pread(descriptor, bytes, sizeof bytes, 0), sizeof bytes);
    for (uint64_t bit = 0; bit < sizeof bytes * 8; bit += stride) {
        const uint8_t flipped = bytes[bit / 8] ^ (uint8_t)(1u << bit % 8);
        uint64_t n = 0;
        const fb_event *e;
        fb_trace *t;

        assert_int_equal(pwrite(descriptor, &flipped, 1, (off_t)(bit / 8)), 1);
        t = open_trace(folder.file);
        for (; fb_trace_next(t, &e, NULL, NULL) == FB_OK && e != NULL; n++)
            if (e->value != (double)(n + 1))
                fail_msg("bit %llu: event %llu is %g", (unsigned long long)bit,
                         (unsigned long long)n, e->value);
        assert_true(n <= EVENTS);
        fb_trace_close(t);
        assert_int_equal(pwrite(descriptor, &bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
    }
    (void)close(descriptor);
    fb_recorder_close(r, NULL);
    drop_folder(&folder);
}

/* --- Children ----------------------------------------------------------------------------------
 */

static void check_child(const test_folder *folder, const char *name, fb_hash parent, uint64_t count,
                        fb_trace_status status)
{
    const oracle known = {.committed = {count}, .began = {count}};
    char path[192], hex[FB_HASH_HEX_BYTES], want[128];
    fb_trace_info info;
    fb_trace *t;

    (void)snprintf(path, sizeof path, "%s/t.%s.fbt", folder->path, name);
    (void)snprintf(want, sizeof want, "\"parent\":\"%s\",\"role\":\"%s\"", fb_hash_hex(hex, parent),
                   name);
    t = open_trace(path);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, NULL), FB_OK);
    assert_int_equal(info.status, status);
    assert_non_null(strstr(info.header, want));
    fb_trace_close(t);
    check_numbers(path, &known, 1);
}

static void report_more(fb_recorder *r, uint64_t first, uint64_t last)
{
    for (uint64_t n = first; n <= last; n++)
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "thread0", "loss", FB_DTYPE_F64, (double)n);
}

static void wait_for(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The child closes its file, a grandchild just ends; the parent goes on as if nothing had been. */
static void children_write_files_of_their_own(void **state)
{
    const oracle known = {.committed = {3000}, .began = {3000}};
    test_folder folder;
    fb_recorder *r;
    fb_hash id;
    fb_trace *t;
    pid_t child;

    (void)state;
    make_folder(&folder);
    record_some(folder.file, &r, 1000);
    child = fork();
    if (child == 0) {
        report_more(r, 1, 20000);
        child = fork();
        if (child == 0) {
            report_more(r, 1, 7);
            _exit(0);
        }
        wait_for(child);
        report_more(r, 20001, 20002);
        _exit(fb_recorder_close(r, NULL) == FB_OK ? 0 : 1);
    }
    report_more(r, 1001, 2000);
    wait_for(child);
    report_more(r, 2001, 3000);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    t = open_trace(folder.file);
    id = fb_trace_get_info(t)->id;
    fb_trace_close(t);
    check_numbers(folder.file, &known, 1);
    check_child(&folder, "child1", id, 20002, FB_TRACE_COMPLETE);
    check_child(&folder, "child2", id, 7, FB_TRACE_TORN);
    drop_folder(&folder);
}

/* --- Little room -------------------------------------------------------------------------------
 */

/* With a limit that leaves no room for a chunk, the tail makes it: nothing reported before the
 * limit was met is lost, and the trace says that it is full. */
static void what_was_staged_when_the_disk_filled_up_is_kept(void **state)
{
    test_folder folder;
    struct rlimit before, limit;
    struct stat file;
    fb_recorder_stats stats;
    fb_recorder *r;
    fb_error err;

    (void)state;
    make_folder(&folder);
    record_some(folder.file, &r, 100);
    assert_int_equal(stat(folder.file, &file), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){(rlim_t)file.st_size + 3 * FB_FORMAT_ALIGN, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    do {
        for (int i = 0; i < 1000; i++)
            (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "thread0", "loss", FB_DTYPE_F64, 1.0);
        fb_recorder_get_stats(r, &stats);
    } while (!stats.stopped);
    assert_int_equal(stats.error.status, FB_E_FULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(fb_recorder_close(r, &err), FB_E_FULL);
    fb_trace *t = open_trace(folder.file);
    assert_int_equal(fb_trace_get_info(t)->status, FB_TRACE_FULL);
    assert_int_equal(fb_trace_get_info(t)->events, stats.events);
    fb_trace_close(t);
    drop_folder(&folder);
}

/* The beginning of the run is kept, as much of it as fits, however small the limit. */
static void record_up_to(uint64_t limit, uint64_t least_events)
{
    const fb_recorder_options options = {.size = sizeof options, .max_bytes = limit};
    test_folder folder;
    char text[64];
    fb_recorder_stats stats;
    fb_trace_info info;
    struct stat file;
    fb_recorder *r;
    fb_error err;
    fb_trace *t;

    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, NULL), FB_OK);
    do {
        for (int i = 0; i < 1000; i++)
            (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "thread0", "loss", FB_DTYPE_F64,
                                     (double)i * 1.1);
        fb_recorder_get_stats(r, &stats);
    } while (!stats.stopped);
    assert_int_equal(fb_recorder_close(r, &err), FB_E_FULL);
    (void)snprintf(text, sizeof text, "limit of %llu bytes", (unsigned long long)limit);
    assert_non_null(strstr(err.text, text));
    assert_int_equal(stat(folder.file, &file), 0);
    assert_in_range(file.st_size, limit - 2 * FB_FORMAT_ALIGN, limit);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, &err), FB_OK);
    assert_int_equal(info.status, FB_TRACE_FULL);
    assert_true(info.events >= least_events);
    fb_trace_close(t);
    drop_folder(&folder);
}

static void a_size_limit_ends_the_recording_in_time_and_keeps_its_beginning(void **state)
{
    (void)state;
    record_up_to(300000, 20000);
    record_up_to(60000, 2000);
    record_up_to(20000, 200);
    record_up_to(12288, 1);
}

/* --- Steps at full depth -----------------------------------------------------------------------
 */

static void a_list_of_steps_limits_the_depth(void **state)
{
    const fb_recorder_options options = {.size = sizeof options, .ops_steps = "0:2,every=5"};
    const float data[4] = {1, 2, 3, 4};
    const uint64_t shape[1] = {4};
    test_folder folder;
    const fb_event *e;
    uint32_t steps = 0;
    fb_recorder *r;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, NULL), FB_OK);
    for (uint64_t step = 0; step <= 12; step++) {
        if (step > 0)
            fb_recorder_step(r, step);
        (void)fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out",
                                 FB_DTYPE_F32, 1, shape, data, NULL, 0);
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "", "loss", FB_DTYPE_F32, 1.0);
    }
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    t = open_trace(folder.file);
    while (fb_trace_next(t, &e, NULL, NULL) == FB_OK && e != NULL)
        if (fb_trace_site(t, e->site)->kind == FB_KIND_TENSOR)
            steps |= 1u << e->step;
    assert_int_equal(steps, 1u << 0 | 1u << 1 | 1u << 2 | 1u << 5 | 1u << 10);
    fb_trace_close(t);
    drop_folder(&folder);
}

/* In the chunk of the last step that recorded it, and in later ones. */
static void a_class_that_a_step_leaves_out_keeps_its_chain(void **state)
{
    const fb_recorder_options options = {.size = sizeof options, .ops_steps = "0:2"};
    const uint64_t asked[] = {3, 1000, 20000}, last = 20000, shape[1] = {1};
    const float data = 1;
    fb_trace_step told, later;
    test_folder folder;
    fb_recorder *r;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, NULL), FB_OK);
    for (uint64_t step = 1; step <= last; step++) {
        fb_recorder_step(r, step);
        (void)fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out",
                                 FB_DTYPE_F32, 1, shape, &data, NULL, 0);
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "", "loss", FB_DTYPE_F64, (double)step * 1.1);
    }
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    t = open_trace(folder.file);
    assert_in_range(fb_trace_get_info(t)->chunks, 3, 1000);
    assert_int_equal(fb_trace_get_step(t, 2, &told, NULL), FB_OK);
    assert_false(fb_hash_is_zero(told.chain[FB_CLASS_OPS]));
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        assert_int_equal(fb_trace_get_step(t, asked[i], &later, NULL), FB_OK);
        assert_int_equal(later.classes & 1u << FB_CLASS_OPS, 0);
        assert_true(fb_hash_is_zero(later.root[FB_CLASS_OPS]));
        assert_true(fb_hash_equal(later.chain[FB_CLASS_OPS], told.chain[FB_CLASS_OPS]));
    }
    fb_trace_close(t);
    drop_folder(&folder);
}

static void a_bad_list_of_steps_is_refused(void **state)
{
    static const char *const bad[] = {
        "x", "1:", "2:1", "every=0", "1,,2", "1,", "every=", "-1", "99999999999999999999"};
    test_folder folder;

    (void)state;
    make_folder(&folder);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const fb_recorder_options options = {.size = sizeof options, .ops_steps = bad[i]};
        fb_recorder *r;
        fb_error err;

        assert_int_equal(fb_recorder_open(&r, folder.file, &options, &err), FB_E_USAGE);
        assert_non_null(strstr(err.text, "ops_steps"));
        assert_false(exists(folder.file));
    }
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_trace_leaves_no_tail),
        cmocka_unit_test(a_trace_is_read_while_it_is_written),
        cmocka_unit_test(what_was_recorded_before_a_reader_looked_is_seen_by_it),
        cmocka_unit_test(who_opens_a_trace_that_is_being_closed_sees_all_of_it),
        cmocka_unit_test(the_tail_of_another_trace_is_ignored),
        cmocka_unit_test(fillings_follow_each_other_without_a_gap),
        cmocka_unit_test(a_flipped_bit_of_the_tail_is_never_believed),
        cmocka_unit_test(children_write_files_of_their_own),
        cmocka_unit_test(what_was_staged_when_the_disk_filled_up_is_kept),
        cmocka_unit_test(a_size_limit_ends_the_recording_in_time_and_keeps_its_beginning),
        cmocka_unit_test(a_list_of_steps_limits_the_depth),
        cmocka_unit_test(a_class_that_a_step_leaves_out_keeps_its_chain),
        cmocka_unit_test(a_bad_list_of_steps_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
