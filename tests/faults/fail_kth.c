/* SPDX-License-Identifier: Apache-2.0
 *
 * fail_kth.c - preloaded into a program, makes the k-th of its calls of some kind fail.
 *
 * FAIL_KIND=file|memory|thread  which calls are counted
 * FAIL_K=N                      the one that fails, from 1; 0: none
 * FAIL_LATER=1                  all later ones fail too
 * FAIL_ERRNO=N                  with which error (files; memory always says ENOMEM)
 * FAIL_ARMED=create             counting begins with the first file that is created
 * FAIL_COUNT=PATH               how many calls there were, written at the end of the program
 *
 * What the C library calls within itself is not counted, nor is what goes to standard output.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
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

typedef enum kind { NO_KIND, FILES, MEMORY, THREADS } kind;

static kind failing_kind;
static unsigned long failing_call, calls;
static bool fail_later, is_armed;
static int failing_errno;
static int (*real_pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

static unsigned long number_of(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);

    return text == NULL ? otherwise : strtoul(text, NULL, 10);
}

__attribute__((constructor)) static void begin(void)
{
    const char *name = getenv("FAIL_KIND");
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");

    memcpy(&real_pthread_create, &symbol, sizeof symbol);
    failing_call = number_of("FAIL_K", 0);
    fail_later = number_of("FAIL_LATER", 0) != 0;
    failing_errno = (int)number_of("FAIL_ERRNO", ENOSPC);
    is_armed = getenv("FAIL_ARMED") == NULL;
    if (name != NULL)
        failing_kind = strcmp(name, "file") == 0     ? FILES
                       : strcmp(name, "memory") == 0 ? MEMORY
                                                     : THREADS;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FAIL_COUNT");
    char text[24];
    const unsigned long count = calls;
    long descriptor;
    int length;

    failing_kind = NO_KIND;
    if (path == NULL)
        return;
    length = snprintf(text, sizeof text, "%lu\n", count);
    descriptor = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (descriptor >= 0) {
        (void)syscall(SYS_write, descriptor, text, (size_t)length);
        (void)syscall(SYS_close, descriptor);
    }
}

/* Counts a call; true where it fails, errno is set then. */
static bool fails(kind k)
{
    unsigned long call;

    if (k != failing_kind || !is_armed)
        return false;
    call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    if (failing_call == 0 || (fail_later ? call < failing_call : call != failing_call))
        return false;
    errno = k == FILES ? failing_errno : k == MEMORY ? ENOMEM : EAGAIN;
    return true;
}

/* --- Memory ------------------------------------------------------------------------------------
 */

EXPORT void *malloc(size_t size)
{
    return fails(MEMORY) ? NULL : __libc_malloc(size);
}

EXPORT void *calloc(size_t count, size_t size)
{
    return fails(MEMORY) ? NULL : __libc_calloc(count, size);
}

EXPORT void *realloc(void *block, size_t size)
{
    return fails(MEMORY) ? NULL : __libc_realloc(block, size);
}

EXPORT void *mmap(void *at, size_t bytes, int protection, int flags, int descriptor, off_t offset)
{
    /* Both: a file may refuse it, and memory may be out. */
    if (fails(MEMORY) || (descriptor >= 0 && fails(FILES)))
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
        is_armed = true;
    }
    return fails(FILES) ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

EXPORT ssize_t write(int descriptor, const void *bytes, size_t count)
{
    return descriptor > STDERR_FILENO && fails(FILES)
               ? -1
               : syscall(SYS_write, descriptor, bytes, count);
}

EXPORT ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset)
{
    return fails(FILES) ? -1 : syscall(SYS_pwrite64, descriptor, bytes, count, offset);
}

EXPORT int ftruncate(int descriptor, off_t size)
{
    return fails(FILES) ? -1 : (int)syscall(SYS_ftruncate, descriptor, size);
}

EXPORT int posix_fallocate(int descriptor, off_t offset, off_t bytes)
{
    if (fails(FILES))
        return failing_errno;
    return syscall(SYS_fallocate, descriptor, 0, offset, bytes) == 0 ? 0 : errno;
}

EXPORT int msync(void *at, size_t bytes, int flags)
{
    return fails(FILES) ? -1 : (int)syscall(SYS_msync, at, bytes, flags);
}

EXPORT int fsync(int descriptor)
{
    return fails(FILES) ? -1 : (int)syscall(SYS_fsync, descriptor);
}

EXPORT int fdatasync(int descriptor)
{
    return fails(FILES) ? -1 : (int)syscall(SYS_fdatasync, descriptor);
}

EXPORT int rename(const char *from, const char *to)
{
    return fails(FILES) ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

/* --- Threads -----------------------------------------------------------------------------------
 */

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument)
{
    return fails(THREADS) ? EAGAIN : real_pthread_create(thread, attributes, start, argument);
}
