/* SPDX-License-Identifier: Apache-2.0
 *
 * fail_kth.c - stands in for calls of the C library, and makes the k-th of some kind fail.
 *
 * What the C library calls within itself is not counted, nor is what goes to standard output.
 */
#include "tests/faults/fail_kth.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);

static fail_plan plan;
static unsigned long *counter;
static int (*real_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

void fail_begin(const fail_plan *wanted, unsigned long *calls)
{
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");

    memcpy(&real_pthread_create, &symbol, sizeof symbol);
    counter = calls;
    plan = *wanted;
}

/* Counts a call; true where it fails, errno is set then. */
static bool fails(fail_kind kind)
{
    if (kind != plan.kind || !plan.armed ||
        !fail_planned(&plan, __atomic_add_fetch(counter, 1, __ATOMIC_RELAXED)))
        return false;
    errno = kind == FAIL_FILES ? plan.error : kind == FAIL_MEMORY ? ENOMEM : EAGAIN;
    return true;
}

/* --- Memory ------------------------------------------------------------------------------------
 */

EXPORT void *malloc(size_t size)
{
    return fails(FAIL_MEMORY) ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return fails(FAIL_MEMORY) ? NULL : __libc_calloc(count, size);
}

EXPORT void *realloc(void *block, size_t size)
{
    return fails(FAIL_MEMORY) ? NULL : __libc_realloc(block, size);
}

EXPORT void *mmap(void *at, size_t bytes, int protection, int flags, int descriptor, off_t offset)
{
    /* Both: a file may refuse it, and memory may be out. */
    if (fails(FAIL_MEMORY) || (descriptor >= 0 && fails(FAIL_FILES)))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, descriptor, offset);
}

/* --- Files -------------------------------------------------------------------------------------
 */

EXPORT int open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if ((flags & O_CREAT) != 0) {
        va_list rest;

        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
        plan.armed = true;
    }
    return fails(FAIL_FILES) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

EXPORT ssize_t write(int descriptor, const void *bytes, size_t count)
{
    return descriptor > STDERR_FILENO && fails(FAIL_FILES)
               ? -1
               : syscall(SYS_write, descriptor, bytes, count);
}

EXPORT ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset)
{
    return fails(FAIL_FILES) ? -1 : syscall(SYS_pwrite64, descriptor, bytes, count, offset);
}

EXPORT int ftruncate(int descriptor, off_t size)
{
    return fails(FAIL_FILES) ? -1 : (int)syscall(SYS_ftruncate, descriptor, size);
}

EXPORT int posix_fallocate(int descriptor, off_t offset, off_t bytes)
{
    if (fails(FAIL_FILES))
        return plan.error;
    return syscall(SYS_fallocate, descriptor, 0, offset, bytes) == 0 ? 0 : errno;
}

EXPORT int msync(void *at, size_t bytes, int flags)
{
    return fails(FAIL_FILES) ? -1 : (int)syscall(SYS_msync, at, bytes, flags);
}

EXPORT int fsync(int descriptor)
{
    return fails(FAIL_FILES) ? -1 : (int)syscall(SYS_fsync, descriptor);
}

EXPORT int fdatasync(int descriptor)
{
    return fails(FAIL_FILES) ? -1 : (int)syscall(SYS_fdatasync, descriptor);
}

EXPORT int rename(const char *from, const char *to)
{
    return fails(FAIL_FILES) ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

/* --- Threads -----------------------------------------------------------------------------------
 */

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument)
{
    return fails(FAIL_THREADS) ? EAGAIN : real_pthread_create(thread, attributes, start, argument);
}
