/* SPDX-License-Identifier: Apache-2.0
 *
 * test_tail.c - events outlive the program: killed at any moment, all that was reported is read.
 */
#include "tests/sanitized.h"
#include "tests/tracer/trace_fixture.h"

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

static uint64_t environment_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void tail_of(char out[160], const test_folder *folder)
{
    (void)snprintf(out, 160, "%s-tail", folder->file);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* --- Programs that are killed ------------------------------------------------------------------
 */

/* What the program knows to be recorded, in memory that outlives it: `threads` counters. */
enum { THREADS_MAX = 4 };

typedef struct oracle {
    uint64_t committed[THREADS_MAX];
    uint64_t began[THREADS_MAX];
} oracle;

typedef struct recording {
    fb_recorder *recorder;
    oracle *oracle;
    int thread;
    uint64_t limit;
} recording;

/* Numbered scalars of a path of its own. A large mark now and then goes past the halves. */
static void *report_numbers(void *argument)
{
    const recording *r = argument;
    char path[16];
    char *text = malloc(60001);

    memset(text, 'x', 60000);
    text[60000] = '\0';
    (void)snprintf(path, sizeof path, "thread%d", r->thread);
    for (uint64_t n = 1; n <= r->limit; n++) {
        __atomic_store_n(&r->oracle->began[r->thread], n, __ATOMIC_RELEASE);
        (void)fb_recorder_scalar(r->recorder, FB_PHASE_LOSS, path, "loss", FB_DTYPE_F64, (double)n);
        __atomic_store_n(&r->oracle->committed[r->thread], n, __ATOMIC_RELEASE);
        if (n % 5000 == 0)
            fb_recorder_mark(r->recorder, text);
        if (r->thread == 0 && n % 97 == 0)
            fb_recorder_step(r->recorder, n / 97);
    }
    free(text);
    return NULL;
}

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

/* Every number up to what was committed is there, in order, and none that was never begun. */
static void check_numbers(const char *path, const oracle *known, int threads)
{
    uint64_t seen[THREADS_MAX] = {0};
    fb_trace *t = open_trace(path);
    const fb_event *e;

    for (;;) {
        const fb_site *site;

        assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
        if (e == NULL)
            break;
        site = fb_trace_site(t, e->site);
        if (site->kind != FB_KIND_SCALAR)
            continue;
        const int thread = site->path[strlen("thread")] - '0';
        assert_in_range(thread, 0, threads - 1);
        seen[thread]++;
        if ((uint64_t)e->value != seen[thread])
            fail_msg("thread %d: %llu where %llu comes next", thread, (unsigned long long)e->value,
                     (unsigned long long)seen[thread]);
    }
    for (int i = 0; i < threads; i++)
        if (seen[i] < known->committed[i] || seen[i] > known->began[i])
            fail_msg("thread %d: %llu read, %llu committed, %llu begun", i,
                     (unsigned long long)seen[i], (unsigned long long)known->committed[i],
                     (unsigned long long)known->began[i]);
    fb_trace_close(t);
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

static void a_size_limit_ends_the_recording_in_time(void **state)
{
    const fb_recorder_options options = {.size = sizeof options, .max_bytes = 300000};
    test_folder folder;
    fb_recorder_stats stats;
    fb_trace_info info;
    struct stat file;
    fb_recorder *r;
    fb_error err;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, NULL), FB_OK);
    do {
        for (int i = 0; i < 1000; i++)
            (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "thread0", "loss", FB_DTYPE_F64,
                                     (double)i * 1.1);
        fb_recorder_get_stats(r, &stats);
    } while (!stats.stopped);
    assert_int_equal(fb_recorder_close(r, &err), FB_E_FULL);
    assert_non_null(strstr(err.text, "limit of 300000 bytes"));
    assert_int_equal(stat(folder.file, &file), 0);
    assert_in_range(file.st_size, 4 * FB_FORMAT_ALIGN, 300000);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, &err), FB_OK);
    assert_int_equal(info.status, FB_TRACE_FULL);
    fb_trace_close(t);
    drop_folder(&folder);
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
        cmocka_unit_test(no_committed_event_is_lost_to_sigkill),
        cmocka_unit_test(no_committed_event_is_lost_while_a_full_disk_is_left),
        cmocka_unit_test(a_closed_trace_leaves_no_tail),
        cmocka_unit_test(a_trace_is_read_while_it_is_written),
        cmocka_unit_test(what_was_recorded_before_a_reader_looked_is_seen_by_it),
        cmocka_unit_test(who_opens_a_trace_that_is_being_closed_sees_all_of_it),
        cmocka_unit_test(the_tail_of_another_trace_is_ignored),
        cmocka_unit_test(fillings_follow_each_other_without_a_gap),
        cmocka_unit_test(a_flipped_bit_of_the_tail_is_never_believed),
        cmocka_unit_test(children_write_files_of_their_own),
        cmocka_unit_test(what_was_staged_when_the_disk_filled_up_is_kept),
        cmocka_unit_test(a_size_limit_ends_the_recording_in_time),
        cmocka_unit_test(a_list_of_steps_limits_the_depth),
        cmocka_unit_test(a_class_that_a_step_leaves_out_keeps_its_chain),
        cmocka_unit_test(a_bad_list_of_steps_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
