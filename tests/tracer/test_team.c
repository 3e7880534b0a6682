/* SPDX-License-Identifier: Apache-2.0
 *
 * test_team.c - tensors that several threads hash: the bits of one thread, nobody reads on when
 * the call has returned, and threads that save nothing are left alone.
 */
#include "tests/tracer/trace_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/fpenv.h"
#include "base/sketch.h"
#include "tracer/record/recorder_state.h"

enum { FLOATS = 1 << 20, ROUNDS = 200 };

static float *random_floats(size_t n, uint64_t seed)
{
    float *x = malloc(n * sizeof *x);

    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(int64_t)next_random(&seed) * 0x1p-40f;
    return x;
}

/* A team for which sharing has always been worth while: the next tensor is shared. */
static void make_eager(fb_team *team)
{
    for (int i = 0; i < 2; i++)
        team->sharing[i] = (fb_sharing){.alone = 1e12};
}

static void take(fb_event *event, fb_team *team, fb_dtype dtype, const void *data, size_t bytes,
                 fb_sketch *sketch, fb_hash **blocks)
{
    *event = (fb_event){.data = data, .data_bytes = bytes};
    fb__team_take(team, event, dtype, sketch != NULL, sketch, blocks);
}

static void check_bits(fb_team *team, fb_dtype dtype, const void *data, size_t bytes)
{
    fb_team alone = {.threads = 1};
    fb_sketch sketches[2];
    fb_hash *blocks[2];
    fb_event events[2];

    for (int sketched = 0; sketched < 2; sketched++) {
        make_eager(team);
        take(&events[0], &alone, dtype, data, bytes, sketched ? &sketches[0] : NULL, &blocks[0]);
        take(&events[1], team, dtype, data, bytes, sketched ? &sketches[1] : NULL, &blocks[1]);
        assert_true(fb_hash_equal(events[0].hash, events[1].hash));
        assert_int_equal(events[0].flags, events[1].flags);
        assert_int_equal(events[0].block_count, events[1].block_count);
        if (sketched) {
            assert_memory_equal(&sketches[0], &sketches[1], sizeof sketches[0]);
            assert_memory_equal(blocks[0], blocks[1], events[0].block_count * sizeof *blocks[0]);
        }
        free(blocks[0]);
        free(blocks[1]);
    }
}

static void threads_have_the_bits_of_one(void **state)
{
    const fb_dtype dtypes[] = {FB_DTYPE_F32, FB_DTYPE_F64, FB_DTYPE_BF16, FB_DTYPE_I64,
                               FB_DTYPE_U8};
    fb_team team = {.threads = 3};
    float *x = random_floats(FLOATS + 77, 1);

    (void)state;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        check_bits(&team, dtypes[i], x, 4 * (size_t)FLOATS + 8);
    check_bits(&team, FB_DTYPE_F32, x + 1, 4 * (size_t)(FLOATS + 76)); /* odd address, ragged end */
    x[FLOATS / 2] = __builtin_inff();
    x[FLOATS - 1] = __builtin_nanf("");
    check_bits(&team, FB_DTYPE_F32, x, 4 * (size_t)FLOATS);
    assert_int_equal(team.shared, 2 * (sizeof dtypes / sizeof *dtypes + 2));
    fb__team_end(&team);
    free(x);
}

/* --- Changes in place --------------------------------------------------------------------------
 */

typedef struct changing {
    fb_team *team;
    float *x;
    fb_hash want, got;
    int wrong;
    bool sketched;
    pthread_barrier_t begin;
} changing;

static void take_it(changing *c)
{
    fb_sketch sketch;
    fb_hash *blocks;
    fb_event event;

    take(&event, c->team, FB_DTYPE_F32, c->x, 4 * (size_t)FLOATS, c->sketched ? &sketch : NULL,
         &blocks);
    c->got = event.hash;
    free(blocks);
}

static void *take_it_later(void *argument)
{
    changing *c = argument;

    (void)pthread_barrier_wait(&c->begin);
    take_it(c);
    return NULL;
}

static void overwrite(float *x, float with)
{
    for (size_t i = FLOATS; i-- > 0;) /* from the end, which is hashed last */
        x[i] = with + (float)(i % 977);
}

/* How many of ROUNDS hashes are not of what the tensor held at the call, where it is overwritten as
 * soon as the call has returned; or, with a caller that does not wait, while it runs. */
static int wrong_hashes(bool waits)
{
    fb_team team = {.threads = 2};
    changing c = {.team = &team, .x = random_floats(FLOATS, 2)};
    int wrong = 0;

    assert_int_equal(pthread_barrier_init(&c.begin, NULL, 2), 0);
    for (int i = 0; i < ROUNDS; i++) {
        fb_hash want;
        pthread_t other;

        overwrite(c.x, (float)i);
        want = fb_tensor_hash(NULL, FB_DTYPE_F32, c.x, 4 * (size_t)FLOATS, NULL);
        c.sketched = i % 2 != 0;
        make_eager(&team);
        if (waits) {
            take_it(&c);
        } else {
            assert_int_equal(pthread_create(&other, NULL, take_it_later, &c), 0);
            (void)pthread_barrier_wait(&c.begin);
        }
        overwrite(c.x, -1.0f);
        if (!waits)
            (void)pthread_join(other, NULL);
        wrong += !fb_hash_equal(c.got, want);
    }
    assert_int_equal(team.shared, ROUNDS);
    (void)pthread_barrier_destroy(&c.begin);
    fb__team_end(&team);
    free(c.x);
    return wrong;
}

static void what_a_program_changes_after_the_call_is_in_no_hash(void **state)
{
    (void)state;
    assert_int_equal(wrong_hashes(true), 0);
#if !defined(__SANITIZE_THREAD__)         /* which would see it too, and stop */
    assert_true(wrong_hashes(false) > 0); /* the check sees a caller that does not wait */
#endif
}

/* --- Beside others -----------------------------------------------------------------------------
 */

static void *take_many(void *argument)
{
    changing *c = argument;

    for (int i = 0; i < 50; i++) {
        take_it(c);
        c->wrong += !fb_hash_equal(c->got, c->want);
    }
    return NULL;
}

static void threads_that_record_at_the_same_time_do_not_mix(void **state)
{
    fb_team team = {.threads = 2};
    changing c[4];
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        c[i] = (changing){
            .team = &team, .x = random_floats(FLOATS, (uint64_t)i + 3), .sketched = i % 2 != 0};
        c[i].want = fb_tensor_hash(NULL, FB_DTYPE_F32, c[i].x, 4 * (size_t)FLOATS, NULL);
    }
    make_eager(&team);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &c[i]), 0);
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(c[i].wrong, 0);
        free(c[i].x);
    }
    fb__team_end(&team);
}

static void the_callers_signals_and_float_environment_stay(void **state)
{
    float *x = random_floats(FLOATS, 7);
    fb_team team = {.threads = 2};
    const fb_fpenv_saved before = fb_fpenv_save();
    sigset_t mask, after;
    fb_hash *blocks;
    fb_event event;

    (void)state;
    make_eager(&team);
    memset(&mask, 0, sizeof mask); /* the system sets a part of it */
    memset(&after, 0, sizeof after);
    (void)sigaddset(&mask, SIGUSR1);
    (void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040); /* as torch.set_flush_denormal(True) does */
#endif
    const fb_fpenv_saved flushing = fb_fpenv_save();
    take(&event, &team, FB_DTYPE_F32, x, 4 * (size_t)FLOATS, NULL, &blocks);
    const bool same = fb_fpenv_save() == flushing;
    fb_fpenv_restore(before);
    assert_true(same);
    assert_int_equal(team.shared, 1);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_memory_equal(&mask, &after, sizeof mask);
    fb__team_end(&team);
    free(x);
}

static void threads_that_save_nothing_are_left_alone(void **state)
{
    float *x = random_floats(FLOATS, 8);
    fb_team team = {.threads = 2};
    fb_hash *blocks;
    fb_event event;

    (void)state;
    for (int i = 0; i < 300; i++) {
        team.sharing[0].alone = 1e-9; /* as if one thread took no time */
        take(&event, &team, FB_DTYPE_F32, x, 4 * (size_t)FLOATS, NULL, &blocks);
    }
    assert_in_range(team.shared, 3, 7); /* pauses of 8, 16, 32, ... */
    team.sharing[0] = (fb_sharing){.alone = 0};
    take(&event, &team, FB_DTYPE_F32, x, 1024, NULL, &blocks);
    assert_true(team.sharing[0].alone == 0); /* small ones are not even timed */
    fb__team_end(&team);
    free(x);
}

/* --- Forks -------------------------------------------------------------------------------------
 */

static void record_tensors(fb_recorder *r, const float *x, uint64_t step)
{
    const uint64_t shape[1] = {FLOATS};

    make_eager(&r->team);
    fb_recorder_step(r, step);
    for (int i = 0; i < 4; i++)
        (void)fb_recorder_tensor(r, FB_KIND_TENSOR, FB_PHASE_FORWARD, "x", "op", "out",
                                 FB_DTYPE_F32, 1, shape, x, NULL, 0);
}

static int end_of_child(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void a_forked_child_hashes_alone_and_ends(void **state)
{
    const fb_recorder_options options = {.size = sizeof options, .threads = 2};
    float *x = random_floats(FLOATS, 9);
    test_folder folder;
    fb_recorder *r;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, NULL), FB_OK);
    record_tensors(r, x, 1);
    assert_true(r->team.shared > 0);
    for (int reports = 0; reports < 2; reports++) {
        const pid_t child = fork();

        if (child == 0) {
            (void)alarm(20); /* a child that waits for its parent's threads would do so for ever */
            if (reports)
                record_tensors(r, x, 2);
            _exit(fb_recorder_close(r, NULL) == FB_OK ? 0 : 1);
        }
        assert_int_equal(end_of_child(child), 0);
    }
    record_tensors(r, x, 2);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    free(x);
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_have_the_bits_of_one),
        cmocka_unit_test(what_a_program_changes_after_the_call_is_in_no_hash),
        cmocka_unit_test(threads_that_record_at_the_same_time_do_not_mix),
        cmocka_unit_test(the_callers_signals_and_float_environment_stay),
        cmocka_unit_test(threads_that_save_nothing_are_left_alone),
        cmocka_unit_test(a_forked_child_hashes_alone_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
