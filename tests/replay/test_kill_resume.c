/* SPDX-License-Identifier: Apache-2.0
 *
 * test_kill_resume.c - a run that is killed at random moments, and each time goes on from its
 * newest checkpoint, is the uninterrupted one: the same roots in every step, the same final hash;
 * no kill leaves a checkpoint that is not whole; and the traces of the pieces are linked.
 *
 * Real processes and SIGKILL. FIRSTBIT_KILLS=N: N kills instead of what fits into some seconds.
 * FIRSTBIT_KILLS_SEED=N: other moments.
 */
#include "tests/diff/recorded_run.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/hash.h"
#include "engine/files/safetensors.h"
#include "replay/checkpoint_folder.h"
#include "replay/trace_chain.h"

enum {
    STEPS = 60,
    PIECES_MAX = 40, /* of one run; after so many kills it is let run to its end */
    QUICK_KILLS = 40,
    QUICK_SECONDS = 7,
};

typedef struct fixture {
    test_folder folder;
    fb_hash final_hash;
    double seconds; /* that a whole run takes */
    uint64_t random;
    uint64_t kills, resumes, torn_files, compared, chains;
} fixture;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- The program ------------------------------------------------------------------------------ */

/* Starts `firstbit train` in the folder; resume NULL: from the beginning. */
static pid_t start_training(const fixture *f, const char *trace, const char *resume)
{
    const char *arguments[] = {"firstbit",  "train", "run.json", "-o",   trace,
                               "--threads", "2",     "--resume", resume, NULL};
    const pid_t child = fork();

    assert_true(child >= 0);
    if (child > 0)
        return child;
    if (resume == NULL)
        arguments[7] = NULL;
    const int quiet = open("/dev/null", O_WRONLY);
    if (chdir(f->folder.path) != 0 || dup2(quiet, STDOUT_FILENO) < 0)
        _exit(127);
    execv(FIRSTBIT_PROGRAM, (char *const *)arguments);
    _exit(127);
}

/* Whether the child ended by itself, and well; false: by our SIGKILL. */
static bool ended(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return false;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("firstbit train: wait status 0x%x", (unsigned)status);
    return true;
}

/* firstbit COMMAND A [B] in the folder, silent; its exit status. */
static int run_program(const fixture *f, const char *command, const char *a, const char *b)
{
    char line[512];
    int status;

    (void)snprintf(line, sizeof line, "cd %s && %s %s %s %s >out.txt 2>&1", f->folder.path,
                   FIRSTBIT_PROGRAM, command, a, b == NULL ? "" : b);
    status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* --- Checkpoints ------------------------------------------------------------------------------ */

static uint64_t step_of_name(const char *name)
{
    uint64_t step = 0;
    int end = 0;

    if (sscanf(name, "step-%8" SCNu64 ".safetensors%n", &step, &end) != 1 || name[end] != '\0')
        return 0;
    return step;
}

/* Every checkpoint of a killed run is, byte for byte, that of the whole run: equal states are equal
 * files. Returns the newest one's step, 0 where there is none. */
static uint64_t check_checkpoints(fixture *f, const char *folder)
{
    char path[400], whole[400];
    const struct dirent *entry;
    uint64_t newest = 0;
    fb_hash a, b;
    fb_error err;
    DIR *dir;

    (void)snprintf(path, sizeof path, "%s/%s", f->folder.path, folder);
    dir = opendir(path);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        const uint64_t step = step_of_name(entry->d_name);

        if (step == 0) {
            f->torn_files += strstr(entry->d_name, ".tmp") != NULL;
            continue;
        }
        (void)snprintf(path, sizeof path, "%s/%s/%s", f->folder.path, folder, entry->d_name);
        (void)snprintf(whole, sizeof whole, "%s/whole.ckpt/%s", f->folder.path, entry->d_name);
        assert_ok(fb_hash_file(&a, NULL, path, &err));
        assert_ok(fb_hash_file(&b, NULL, whole, &err));
        if (!fb_hash_equal(a, b))
            fail_msg("%s is not the checkpoint of the whole run", path);
        newest = step > newest ? step : newest;
    }
    if (dir != NULL)
        closedir(dir);
    return newest;
}

/* What the library takes for the newest is the newest. */
static void check_newest(const fixture *f, const char *folder, uint64_t step)
{
    char *path, name[64];
    fb_error err;

    assert_ok(fb_newest_checkpoint(&path, in_folder(&f->folder, folder), &err));
    (void)snprintf(name, sizeof name, "/step-%08" PRIu64 ".safetensors", step);
    assert_non_null(strstr(path, name));
    free(path);
}

/* --- Traces ----------------------------------------------------------------------------------- */

/* Roots of the steps that the pieces of one run finished. */
typedef struct stitched {
    bool has[STEPS + 1];
    fb_hash root[STEPS + 1][FB_CLASS_COUNT];
} stitched;

/* Roots of every step that a piece finished after `after` (a piece that began by itself: all):
 * those of the whole run. Returns its last finished step. */
static uint64_t compare_roots(fixture *f, stitched *all, const char *piece, uint64_t after)
{
    uint64_t last;
    fb_trace *a, *b;
    fb_error err;

    assert_ok(fb_trace_open(&a, in_folder(&f->folder, "whole.fbt"), &err));
    assert_ok(fb_trace_open(&b, in_folder(&f->folder, piece), &err));
    assert_int_not_equal(fb_trace_get_info(b)->status, FB_TRACE_CORRUPT);
    last = fb_trace_get_info(b)->steps > 0 ? fb_trace_get_info(b)->last_step : 0;
    for (uint64_t step = after == 0 ? 0 : after + 1;
         step <= last && fb_trace_get_info(b)->steps > 0; step++) {
        fb_trace_step x, y;

        assert_ok(fb_trace_get_step(a, step, &x, &err));
        assert_ok(fb_trace_get_step(b, step, &y, &err));
        assert_int_equal(x.classes, y.classes);
        for (int c = 0; c < FB_CLASS_COUNT; c++)
            if (!fb_hash_equal(x.root[c], y.root[c]))
                fail_msg("%s: step %" PRIu64 ": another root of class %s", piece, step,
                         fb_class_name((fb_class)c));
        all->has[step] = true;
        memcpy(all->root[step], y.root, sizeof y.root);
        f->compared++;
    }
    fb_trace_close(a);
    fb_trace_close(b);
    return last;
}

/* The chains of the pieces laid end to end are those of the whole run. A kill between a checkpoint
 * and the end of its step leaves that step unfinished in every piece: then there are none. */
static void compare_chains(fixture *f, const stitched *all)
{
    fb_hash chain[FB_CLASS_COUNT] = {{0, 0}};
    fb_trace_step last;
    fb_trace *whole;
    fb_error err;

    for (uint64_t step = 0; step <= STEPS; step++) {
        if (!all->has[step])
            return;
        for (int c = 0; c < FB_CLASS_COUNT; c++)
            chain[c] = fb_chain_next(chain[c], step, all->root[step][c]);
    }
    assert_ok(fb_trace_open(&whole, in_folder(&f->folder, "whole.fbt"), &err));
    assert_ok(fb_trace_get_step(whole, STEPS, &last, &err));
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        assert_true(fb_hash_equal(chain[c], last.chain[c]));
    fb_trace_close(whole);
    f->chains++;
}

static fb_hash final_hash_of(const fixture *f, const char *name)
{
    const fb_event *event;
    fb_hash hash = {0, 0};
    bool found = false;
    fb_trace *trace;
    fb_error err;

    assert_ok(fb_trace_open(&trace, in_folder(&f->folder, name), &err));
    assert_int_equal(fb_trace_get_info(trace)->status, FB_TRACE_COMPLETE);
    assert_ok(fb_trace_seek(trace, STEPS, &err));
    for (;;) {
        assert_ok(fb_trace_next(trace, &event, NULL, &err));
        if (event == NULL)
            break;
        if (strcmp(fb_trace_site(trace, event->site)->slot, FB_FINAL_HASH_MARK) == 0)
            found = fb_hash_of_hex(&hash, event->text);
    }
    assert_true(found);
    fb_trace_close(trace);
    return hash;
}

static bool is_there(const fixture *f, const char *name)
{
    return access(in_folder(&f->folder, name), F_OK) == 0;
}

/* Killed before its first event, a run leaves a trace that proves nothing: replay says so, with 2.
 */
static bool holds_events(const fixture *f, const char *name)
{
    const fb_event *event;
    fb_trace *trace;
    fb_error err;

    assert_ok(fb_trace_open(&trace, in_folder(&f->folder, name), &err));
    assert_ok(fb_trace_next(trace, &event, NULL, &err));
    fb_trace_close(trace);
    return event != NULL;
}

/* --- One run in pieces ------------------------------------------------------------------------ */

typedef struct piece {
    char trace[32], folder[32];
    uint64_t from; /* step of its checkpoint, 0: it began */
} piece;

static void wait_and_kill(fixture *f, pid_t child, double most)
{
    const double at = most * (double)(next_random(&f->random) >> 11) / 9007199254740992.0;
    const struct timespec pause = {(time_t)at, (long)((at - (double)(time_t)at) * 1e9)};

    (void)nanosleep(&pause, NULL);
    (void)kill(child, SIGKILL);
}

/* Trains one piece, killed or not. */
static bool train_piece(fixture *f, const piece *p, const char *resume, bool let_it_end)
{
    const pid_t child = start_training(f, p->trace, resume);

    if (!let_it_end)
        wait_and_kill(f, child, f->seconds);
    if (ended(child))
        return true;
    f->kills++;
    return false;
}

/* The last piece names the one before, and that the one before it, as far as traces were begun. */
static void check_chain(fixture *f, const piece *last)
{
    fb_trace_chain chain;
    fb_error err;

    assert_ok(fb_trace_chain_read(&chain, in_folder(&f->folder, last->trace), &err));
    for (size_t i = 0; i + 1 < chain.count; i++) {
        assert_true(chain.links[i].resumed);
        assert_non_null(chain.links[i + 1].path);
        assert_true(chain.links[i + 1].has_id);
    }
    assert_false(chain.links[chain.count - 1].resumed);
    fb_trace_chain_free(&chain);
}

static void remove_pieces(const fixture *f)
{
    char line[160];

    (void)snprintf(line, sizeof line, "rm -rf %s/r[0-9]*", f->folder.path);
    assert_int_equal(system(line), 0);
}

/* What one piece left behind, killed or not. Returns the step of its newest checkpoint. */
static uint64_t check_piece(fixture *f, stitched *all, const piece *p, bool replay_it)
{
    const uint64_t written = check_checkpoints(f, p->folder);
    uint64_t last;

    if (!is_there(f, p->trace)) {
        assert_int_equal(written, 0);
        return 0;
    }
    last = compare_roots(f, all, p->trace, p->from);
    if (written > 0) {
        check_newest(f, p->folder, written);
        assert_true(last + 1 >= written); /* what had been reported before it is in the trace */
    }
    if (replay_it)
        assert_int_equal(run_program(f, "replay", p->trace, NULL),
                         holds_events(f, p->trace) ? 0 : 2);
    return written;
}

/* Kills and resumes until the run is at its end; then all of it is compared. */
static void run_in_pieces(fixture *f, uint64_t number)
{
    char resume[96], previous[32] = "";
    stitched all = {.has = {false}};
    piece p = {.from = 0};
    bool done = false;

    for (int i = 0; !done; i++) {
        uint64_t written;

        (void)snprintf(p.trace, sizeof p.trace, "r%" PRIu64 "p%d.fbt", number, i);
        (void)snprintf(p.folder, sizeof p.folder, "r%" PRIu64 "p%d.ckpt", number, i);
        (void)snprintf(resume, sizeof resume, "%s/step-%08" PRIu64 ".safetensors", previous,
                       p.from);
        f->resumes += p.from > 0;
        done = train_piece(f, &p, p.from > 0 ? resume : NULL, i >= PIECES_MAX);
        written = check_piece(f, &all, &p, number % 4 == 1);
        if (written == STEPS) /* killed behind its last step: nothing would be left to go on to */
            written = p.from < STEPS - 1 ? STEPS - 1 : 0;
        if (written > 0 && !done) {
            p.from = written;
            (void)snprintf(previous, sizeof previous, "%s", p.folder);
        }
    }
    assert_true(fb_hash_equal(final_hash_of(f, p.trace), f->final_hash));
    compare_chains(f, &all);
    check_chain(f, &p);
    if (number % 4 == 0)
        assert_int_equal(run_program(f, "diff", "whole.fbt", p.trace), 0);
    remove_pieces(f);
}

/* --- Tests ------------------------------------------------------------------------------------ */

/* SMALL_GPT with more steps and a checkpoint after each, so that many kills hit its writing. */
static void write_configuration(const fixture *f)
{
    const fb_config_set sets[] = {{"steps", "60"}, {"checkpoint.every", "1"}};
    fb_config config;
    fb_error err;

    assert_ok(fb_config_parse(&config, SMALL_GPT, "test", sets, COUNT_OF(sets), &err));
    write_file(in_folder(&f->folder, "run.json"), config.resolved, strlen(config.resolved));
    fb_config_free(&config);
}

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    const char *seed = getenv("FIRSTBIT_KILLS_SEED");
    double before;

    assert_non_null(f);
    f->folder = make_folder();
    f->random = seed == NULL ? 1 : strtoull(seed, NULL, 10);
    write_configuration(f);
    *state = f;
    before = now();
    assert_int_equal(run_program(f, "train", "run.json --threads 2 -o whole.fbt", NULL), 0);
    f->seconds = now() - before;
    f->final_hash = final_hash_of(f, "whole.fbt");
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;

    drop_folder(&f->folder);
    free(f);
    return 0;
}

/* Without a number asked for: some seconds, and at least one run of each kind. */
static bool has_enough(const fixture *f, const char *asked, double started)
{
    if (asked != NULL)
        return f->kills >= strtoull(asked, NULL, 10);
    return f->resumes > 0 && f->chains > 0 &&
           (f->kills >= QUICK_KILLS || now() - started > QUICK_SECONDS);
}

static void a_killed_run_that_goes_on_is_the_uninterrupted_one(void **state)
{
    const char *asked = getenv("FIRSTBIT_KILLS");
    const double started = now();
    fixture *f = *state;

    for (uint64_t number = 0; !has_enough(f, asked, started); number++)
        run_in_pieces(f, number);
    printf("%" PRIu64 " kills, %" PRIu64 " resumed, %" PRIu64
           " files begun and not finished, %" PRIu64 " steps and %" PRIu64 " chains compared\n",
           f->kills, f->resumes, f->torn_files, f->compared, f->chains);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_run_that_goes_on_is_the_uninterrupted_one),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
