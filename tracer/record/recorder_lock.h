/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder_lock.h - keeps the threads that record apart, at the price of two plain stores while
 * there is one of them. Private to tracer.
 *
 * A mutex waits, when it is taken and given back, until all earlier stores have arrived: here those
 * to lines of the tail that another processor has read, which cost more than the event itself. So
 * the first thread that records owns the lock and only says that it is inside. A second thread
 * makes the lock a shared one for ever: it says so, has the kernel put a memory barrier into every
 * running thread of the program (membarrier), and waits until the owner is out. After the barrier
 * the owner either sees what was said, or was seen inside. From then on all take the mutex.
 */
#ifndef FB_TRACER_RECORDER_LOCK_H
#define FB_TRACER_RECORDER_LOCK_H

#include <pthread.h>
#include <stdbool.h>

typedef struct fb_recorder_lock {
    pthread_mutex_t mutex;
    const char *owner; /* a thread: its fb__lock_me */
    bool owned;        /* atomic: there is an owner; set once */
    bool inside;       /* atomic: the owner is, without the mutex */
    bool shared;       /* atomic: by several threads; set once */
} fb_recorder_lock;

/* A thread is told by the address of its own; an address within the program costs no call. */
extern __thread const char fb__lock_me __attribute__((tls_model("initial-exec")));

/* Not taken, and owned by nobody. */
void fb__lock_init(fb_recorder_lock *l);

/* For who does not own it, and for all where it is shared. */
void fb__lock_take_slowly(fb_recorder_lock *l);

static inline bool fb__lock_is_mine(const fb_recorder_lock *l)
{
    return __atomic_load_n(&l->owned, __ATOMIC_ACQUIRE) && l->owner == &fb__lock_me;
}

static inline void fb__lock_take(fb_recorder_lock *l)
{
    if (fb__lock_is_mine(l)) {
        __atomic_store_n(&l->inside, true, __ATOMIC_RELAXED);
        __atomic_signal_fence(__ATOMIC_SEQ_CST); /* the processor's part is done by membarrier */
        if (!__atomic_load_n(&l->shared, __ATOMIC_ACQUIRE))
            return;
        __atomic_store_n(&l->inside, false, __ATOMIC_RELEASE);
    }
    fb__lock_take_slowly(l);
}

static inline void fb__lock_give_back(fb_recorder_lock *l)
{
    if (__atomic_load_n(&l->inside, __ATOMIC_RELAXED) && fb__lock_is_mine(l))
        __atomic_store_n(&l->inside, false, __ATOMIC_RELEASE);
    else
        (void)pthread_mutex_unlock(&l->mutex);
}

#endif
