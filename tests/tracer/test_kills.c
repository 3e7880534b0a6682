/* SPDX-License-Identifier: Apache-2.0
 *
 * test_kills.c - events outlive the program: killed at any moment, on a full disk too, all that was
 * reported is read.
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

/* --- Programs that are killed ------------------------------------------------------------------
 */

/* forked: NULL, or what a child of the program reports, in the midst of its threads. */
static void run_program(const char *path, oracle *known, oracle *forked, int threads,
                        fb_level level)
{
    const fb_recorder_options options = {.size = sizeof options, .level = level};
    recording all[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    fb_recorder *r;

    if (fb_recorder_open(&r, path, &options, NULL) != FB_OK)
        _exit(3);
    for (int i = 0; i < threads; i++) {
        all[i] = (recording){r, known, i, UINT64_MAX};
        if (i > 0 && pthread_create(&thread[i], NULL, report_numbers, &all[i]) != 0)
            _exit(3);
    }
    if (forked != NULL && fork() == 0)
        all[0].oracle = forked;
    (void)report_numbers(&all[0]);
}

static void check_killed(const test_folder *folder, const char *path, const oracle *known,
                         int threads)
{
    char whole[192];
    fb_trace_info info;
    fb_recovered dropped;
    fb_error err;
    fb_trace *t = open_trace(path);

    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, &err), FB_OK);
    assert_int_equal(info.status, FB_TRACE_TORN);
    fb_trace_close(t);
    check_numbers(path, known, threads);
    (void)snprintf(whole, sizeof whole, "%s/whole.fbt", folder->path);
    assert_int_equal(fb_trace_recover(&dropped, path, whole, NULL, NULL, &err), FB_OK);
    t = open_trace(whole);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, &err), FB_OK);
    assert_int_equal(info.status, FB_TRACE_COMPLETE);
    fb_trace_close(t);
    check_numbers(whole, known, threads);
}

/* One life and death of a program. known[0] is the program's, known[1] its child's. Its life is
 * counted from when its trace is there, with_child from the child's first event. */
static void live_and_die(oracle known[2], int threads, bool forks, fb_level level, useconds_t life,
                         bool with_child)
{
    char part[160];
    test_folder folder;
    int status;
    pid_t program;

    make_folder(&folder);
    (void)snprintf(part, sizeof part, "%s/t.child1.fbt", folder.path);
    memset(known, 0, 2 * sizeof *known);
    program = fork();
    if (program == 0) {
        if (setpgid(0, 0) != 0)
            _exit(3);
        run_program(folder.file, &known[0], forks ? &known[1] : NULL, threads, level);
        _exit(0);
    }
    (void)setpgid(program, program); /* whoever is first */
    while (!exists(folder.file))     /* before there is a trace nothing was committed */
        (void)usleep(50);
    while (with_child && __atomic_load_n(&known[1].committed[0], __ATOMIC_ACQUIRE) == 0)
        (void)usleep(50);
    (void)usleep(life);
    assert_int_equal(kill(-program, SIGKILL), 0);
    assert_int_equal(waitpid(program, &status, 0), program);
    assert_true(WIFSIGNALED(status));
    while (waitpid(-program, &status, 0) > 0) /* its child, which is ours now */
        ;
    check_killed(&folder, folder.file, &known[0], threads);
    if (known[1].committed[0] > 0)
        check_killed(&folder, part, &known[1], 1);
    drop_folder(&folder);
}

static void no_committed_event_is_lost_to_sigkill(void **state)
{
    const uint64_t kills = environment_number("FIRSTBIT_TEST_KILLS", 40);
    oracle *known =
        mmap(NULL, 2 * sizeof *known, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t random = environment_number("FIRSTBIT_TEST_SEED", 1), children = 0;

    (void)state;
    assert_true(known != MAP_FAILED);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    for (uint64_t k = 0; k < kills; k++) {
        /* Short lives show the start, long ones many halves. */
        const uint64_t longest = k % 4 == 0 ? 2000 : 60000;

        live_and_die(known, k % 3 == 0 ? 3 : 1, k % 2 == 0, (fb_level)(FB_LEVEL_STEPS + k % 5),
                     (useconds_t)(next_random(&random) % longest), k == 2);
        children += known[1].committed[0] > 0;
    }
    assert_true(kills < 3 || children > 0);
    assert_int_equal(munmap(known, 2 * sizeof *known), 0);
}

/* --- On a full disk ----------------------------------------------------------------------------
 */

/* Reports until the disk is full, then closes. Numbers count only while the recording goes on. */
static void fill_disk(const char *path, oracle *known)
{
    fb_recorder_stats now = {.stopped = false};
    fb_recorder *r;

    if (fb_recorder_open(&r, path, NULL, NULL) != FB_OK)
        _exit(3);
    for (uint64_t n = 1; !now.stopped; n++) {
        __atomic_store_n(&known->began[0], n, __ATOMIC_RELEASE);
        (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "thread0", "loss", FB_DTYPE_F64,
                                 (double)n * 1.000001);
        fb_recorder_get_stats(r, &now);
        if (!now.stopped)
            __atomic_store_n(&known->committed[0], n, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&known->began[1], 1, __ATOMIC_RELEASE);
    if (fb_recorder_close(r, NULL) != FB_E_FULL)
        _exit(4);
    __atomic_store_n(&known->began[2], 1, __ATOMIC_RELEASE);
}

/* How many numbers are in the trace. */
static uint64_t numbers_in(const char *path)
{
    fb_trace *t = open_trace(path);
    const fb_event *e;
    uint64_t count = 0;

    for (;;) {
        assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
        if (e == NULL)
            break;
        assert_true(e->value == (double)++count * 1.000001);
    }
    fb_trace_close(t);
    return count;
}

/* A program's end, while the recorder makes room for its last chunks: SIGKILL, or a reader. */
static void end_on_full_disk(const test_folder *folder, oracle *known, useconds_t life)
{
    char tail[160];
    int status;
    pid_t program;

    memset(known, 0, sizeof *known);
    program = fork();
    if (program == 0) {
        fill_disk(folder->file, known);
        _exit(0);
    }
    while (__atomic_load_n(&known->began[1], __ATOMIC_ACQUIRE) == 0 &&
           waitpid(program, &status, WNOHANG) == 0)
        (void)usleep(100);
    for (bool ended = false; life == 0 && !ended;) { /* looks on */
        ended = __atomic_load_n(&known->began[2], __ATOMIC_ACQUIRE) != 0;
        if (numbers_in(folder->file) < known->committed[0])
            fail_msg("events are missing while the trace is closed");
    }
    if (life > 0) {
        (void)usleep(life);
        (void)kill(program, SIGKILL);
    }
    assert_int_equal(waitpid(program, &status, 0), program);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    assert_in_range(numbers_in(folder->file), known->committed[0], known->began[0]);
    tail_of(tail, folder);
    if (WIFEXITED(status))
        assert_false(exists(tail));
    (void)unlink(tail);
    assert_int_equal(unlink(folder->file), 0);
}

/* The room of the last chunks is the tail's own, and yet nothing leaves it before it is in them. */
static void no_committed_event_is_lost_while_a_full_disk_is_left(void **state)
{
    const char *const sizes[] = {"size=128k", "size=300k", "size=700k"};
    oracle *known =
        mmap(NULL, sizeof *known, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const uint64_t rounds = environment_number("FIRSTBIT_TEST_KILLS", 24 / EVERY) / 3;
    uint64_t random = environment_number("FIRSTBIT_TEST_SEED", 1);
    test_folder folder;
    pid_t test;
    int status;

    (void)state;
    assert_true(known != MAP_FAILED);
    make_folder(&folder);
    test = fork(); /* in a namespace of its own */
    if (test == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
            _exit(99);
        for (unsigned i = 0; i < 3; i++) {
            if (mount("none", folder.path, "tmpfs", 0, sizes[i]) != 0)
                _exit(99);
            for (unsigned k = 0; k < rounds; k++)
                end_on_full_disk(&folder, known,
                                 k < 2 ? 0 : (useconds_t)(next_random(&random) % 4000 + 1));
            if (umount(folder.path) != 0)
                _exit(98);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(test, &status, 0), test);
    drop_folder(&folder);
    assert_int_equal(munmap(known, sizeof *known), 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
        skip(); /* no file system may be mounted here */
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_committed_event_is_lost_to_sigkill),
        cmocka_unit_test(no_committed_event_is_lost_while_a_full_disk_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
