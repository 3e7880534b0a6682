/* SPDX-License-Identifier: Apache-2.0
 *
 * test_recorder_lock.c - the lock of the recorder: its owner is never met inside by another thread,
 * at whatever moment that one comes.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tracer/record/recorder_lock.h"

enum { ROUNDS = 3000, CALLS = 200, COMERS = 2 };

typedef struct guarded {
    fb_recorder_lock lock;
    bool began;           /* atomic: the owner has the lock for the first time */
    unsigned delay;       /* of the others, in turns of an empty loop */
    unsigned stay;        /* inside, likewise */
    uint64_t first, last; /* plain: equal whenever nobody is inside */
    bool parted;
} guarded;

static void change(guarded *g)
{
    fb__lock_take(&g->lock);
    g->parted |= g->first != g->last;
    g->first++;
    for (volatile unsigned i = 0; i < g->stay; i++)
        continue;
    g->last++;
    fb__lock_give_back(&g->lock);
}

static void *own(void *argument)
{
    guarded *g = argument;

    for (int i = 0; i < CALLS; i++) {
        change(g);
        __atomic_store_n(&g->began, true, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *come(void *argument)
{
    guarded *g = argument;

    while (!__atomic_load_n(&g->began, __ATOMIC_ACQUIRE))
        continue;
    for (volatile unsigned i = 0; i < g->delay; i++)
        continue;
    for (int i = 0; i < 3; i++)
        change(g);
    return NULL;
}

static void two_that_come_at_any_moment_never_meet_the_owner_inside(void **state)
{
    uint64_t random = 1;

    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        guarded g = {.delay = (unsigned)((random = random * 6364136223846793005u + 1) >> 54),
                     .stay = round % 16 == 0 ? 4000 : (unsigned)round % 4};
        pthread_t owner, comer[COMERS];

        fb__lock_init(&g.lock);
        assert_int_equal(pthread_create(&owner, NULL, own, &g), 0);
        for (int i = 0; i < COMERS; i++)
            assert_int_equal(pthread_create(&comer[i], NULL, come, &g), 0);
        assert_int_equal(pthread_join(owner, NULL), 0);
        for (int i = 0; i < COMERS; i++)
            assert_int_equal(pthread_join(comer[i], NULL), 0);
        assert_false(g.parted);
        assert_int_equal(g.first, CALLS + 3 * COMERS);
        assert_int_equal(g.last, CALLS + 3 * COMERS);
        assert_true(g.lock.shared);
        assert_false(g.lock.inside);
    }
}

static void one_thread_alone_never_shares_it(void **state)
{
    guarded g = {.delay = 0};

    (void)state;
    fb__lock_init(&g.lock);
    if (g.lock.shared) /* a kernel without membarrier */
        skip();
    for (int i = 0; i < 10; i++)
        change(&g);
    assert_false(g.lock.shared);
    fb__lock_take(&g.lock);
    assert_true(g.lock.inside);
    fb__lock_give_back(&g.lock);
    assert_false(g.lock.inside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_alone_never_shares_it),
        cmocka_unit_test(two_that_come_at_any_moment_never_meet_the_owner_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
