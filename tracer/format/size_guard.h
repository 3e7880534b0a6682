/* SPDX-License-Identifier: Apache-2.0
 *
 * size_guard.h - a write beyond RLIMIT_FSIZE raises SIGXFSZ, which would end the program: between
 * begin and end it is held back for the calling thread, and taken away where the write raised it.
 * Private to tracer.
 */
#ifndef FB_TRACER_FORMAT_SIZE_GUARD_H
#define FB_TRACER_FORMAT_SIZE_GUARD_H

#include <errno.h>
#include <signal.h>
#include <time.h>

typedef struct fb_size_guard {
    sigset_t before;
    int was_pending;
} fb_size_guard;

static inline void fb__size_guard_begin(fb_size_guard *guard)
{
    sigset_t limit, pending;

    sigemptyset(&limit);
    sigaddset(&limit, SIGXFSZ);
    sigemptyset(&pending);
    (void)sigpending(&pending);
    guard->was_pending = sigismember(&pending, SIGXFSZ) == 1;
    (void)pthread_sigmask(SIG_BLOCK, &limit, &guard->before);
}

/* Keeps errno. */
static inline void fb__size_guard_end(const fb_size_guard *guard)
{
    const int error_number = errno;
    const struct timespec at_once = {0, 0};
    sigset_t limit;

    sigemptyset(&limit);
    sigaddset(&limit, SIGXFSZ);
    if (!guard->was_pending)
        (void)sigtimedwait(&limit, NULL, &at_once);
    (void)pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
    errno = error_number;
}

#endif
