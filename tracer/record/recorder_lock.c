/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder_lock.c - the lock's slow side: its first owner, and the second thread that comes.
 */
#include "tracer/record/recorder_lock.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread const char fb__lock_me = 0;

/* A kernel that cannot do it has no fast side. */
void fb__lock_init(fb_recorder_lock *l)
{
    (void)pthread_mutex_init(&l->mutex, NULL);
    l->owned = l->inside = false;
    l->shared = syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0;
}

/* The first one to come; it is inside when another one gets the mutex. */
static void become_owner(fb_recorder_lock *l)
{
    l->owner = &fb__lock_me;
    __atomic_store_n(&l->inside, true, __ATOMIC_RELAXED);
    __atomic_store_n(&l->owned, true, __ATOMIC_RELEASE);
    (void)pthread_mutex_unlock(&l->mutex);
}

void fb__lock_take_slowly(fb_recorder_lock *l)
{
    (void)pthread_mutex_lock(&l->mutex);
    if (__atomic_load_n(&l->shared, __ATOMIC_RELAXED))
        return;
    if (!__atomic_load_n(&l->owned, __ATOMIC_RELAXED)) {
        become_owner(l);
        return;
    }
    __atomic_store_n(&l->shared, true, __ATOMIC_SEQ_CST);
    /* Once registered, it cannot fail. */
    (void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
    while (__atomic_load_n(&l->inside, __ATOMIC_ACQUIRE))
        (void)sched_yield();
}
