/* SPDX-License-Identifier: Apache-2.0
 *
 * fail_trace.c - makes the k-th system call of a traced program fail, of those that can: whichever
 * of its threads makes it, and also where the C library makes it by itself. x86-64.
 */
#include "tests/faults/fail_kth.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS_MAX = 64, SYSCALL_STOP = SIGTRAP | 0x80 };

/* What a kernel may refuse. Not among them: waiting, ending, signals, giving back or
 * removing something, and brk, which has no error to return. */
/* clang-format off */
static const uint16_t refusable[] = {
    SYS_read, SYS_write, SYS_open, SYS_stat, SYS_fstat, SYS_lstat, SYS_lseek, SYS_mmap,
    SYS_mprotect, SYS_ioctl, SYS_pread64, SYS_pwrite64, SYS_readv, SYS_writev, SYS_access,
    SYS_pipe, SYS_mremap, SYS_msync, SYS_madvise, SYS_dup, SYS_dup2, SYS_clone, SYS_fork,
    SYS_vfork, SYS_execve, SYS_wait4, SYS_uname, SYS_fcntl, SYS_flock, SYS_fsync, SYS_fdatasync,
    SYS_truncate, SYS_ftruncate, SYS_getcwd, SYS_rename, SYS_mkdir, SYS_link, SYS_readlink,
    SYS_chmod, SYS_fchmod, SYS_getdents64, SYS_openat, SYS_mkdirat, SYS_newfstatat,
    SYS_renameat, SYS_linkat, SYS_readlinkat, SYS_faccessat, SYS_fallocate, SYS_dup3, SYS_pipe2,
    SYS_prlimit64, SYS_renameat2, SYS_getrandom, SYS_statx, SYS_clone3, SYS_faccessat2,
    SYS_sysinfo, SYS_sched_getaffinity,
};
/* clang-format on */

typedef struct thread {
    pid_t id;
    bool inside;  /* a system call, since its last stop */
    bool refused; /* that call */
} thread;

static thread *thread_of(thread *threads, pid_t id)
{
    for (int i = 0; i < THREADS_MAX; i++) {
        if (threads[i].id == 0)
            threads[i].id = id;
        if (threads[i].id == id)
            return &threads[i];
    }
    return NULL;
}

/* Not what goes to standard output and error: the test reads it. */
static bool can_fail(const struct user_regs_struct *registers)
{
    const unsigned long long number = registers->orig_rax;

    if ((number == SYS_write || number == SYS_writev || number == SYS_fstat ||
         number == SYS_newfstatat) &&
        registers->rdi <= STDERR_FILENO)
        return false;
    for (size_t i = 0; i < sizeof refusable / sizeof refusable[0]; i++)
        if (refusable[i] == number)
            return true;
    return false;
}

static void at_system_call(thread *t, const fail_plan *plan, unsigned long *calls)
{
    struct user_regs_struct registers;

    t->inside = !t->inside;
    if (ptrace(PTRACE_GETREGS, t->id, NULL, &registers) != 0)
        return;
    if (t->inside) {
        t->refused = can_fail(&registers) && fail_planned(plan, ++*calls);
        if (!t->refused)
            return;
        registers.orig_rax = (unsigned long long)-1; /* no such call: nothing happens */
    } else if (t->refused) {
        registers.rax = (unsigned long long)-plan->error;
    } else {
        return;
    }
    (void)ptrace(PTRACE_SETREGS, t->id, NULL, &registers);
}

int fail_trace(pid_t child, const fail_plan *plan, unsigned long *calls)
{
    thread threads[THREADS_MAX] = {{.id = child}};
    int status;

    (void)waitpid(child, &status, 0);
    (void)ptrace(PTRACE_SETOPTIONS, child, NULL,
                 PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL);
    (void)ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    for (;;) {
        const pid_t id = waitpid(-1, &status, __WALL);
        int signal = 0;
        thread *t;

        if (id < 0)
            return status;
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (id == child)
                return status;
            continue;
        }
        t = thread_of(threads, id);
        if (WSTOPSIG(status) == SYSCALL_STOP && t != NULL)
            at_system_call(t, plan, calls);
        else if (WSTOPSIG(status) != SIGSTOP && WSTOPSIG(status) != SIGTRAP)
            signal = WSTOPSIG(status);
        (void)ptrace(PTRACE_SYSCALL, id, NULL, (void *)(intptr_t)signal);
    }
}
