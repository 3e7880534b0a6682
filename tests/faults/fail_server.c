/* SPDX-License-Identifier: Apache-2.0
 *
 * fail_server.c - runs the program into which it is preloaded once for each request, without the
 * cost of starting it anew: the process stays before main and forks.
 *
 * With FAIL_SERVER set, a request is a line on descriptor 198,
 *     KIND K LATER ERRNO ARMED OUT ERR
 * KIND: nothing, files, memory, threads, system; ERRNO: a number; ARMED: 0 where counting begins
 * with the first file that is created; OUT, ERR: files for standard output and error. The answer on
 * descriptor 199 is a line with the wait status and how many calls were counted.
 */
#include "tests/faults/fail_kth.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REQUESTS = 198, ANSWERS = 199, LINE_MAX_BYTES = 1024 };

typedef struct request {
    fail_plan plan;
    char out[400], err[400];
} request;

static bool read_line(char line[LINE_MAX_BYTES])
{
    size_t count = 0;

    while (count + 1 < LINE_MAX_BYTES && read(REQUESTS, line + count, 1) == 1)
        if (line[count++] == '\n') {
            line[count] = 0;
            return true;
        }
    return false;
}

static bool read_request(request *r)
{
    static const char *const kinds[] = {"nothing", "files", "memory", "threads", "system"};
    char line[LINE_MAX_BYTES], kind[16];
    int later, armed;

    *r = (request){.plan.kind = FAIL_NOTHING};
    if (!read_line(line) || sscanf(line, "%15s %lu %d %d %d %399s %399s", kind, &r->plan.k, &later,
                                   &r->plan.error, &armed, r->out, r->err) != 7)
        return false;
    for (int i = 0; i < (int)(sizeof kinds / sizeof kinds[0]); i++)
        if (strcmp(kind, kinds[i]) == 0)
            r->plan.kind = (fail_kind)i;
    r->plan.later = later != 0;
    r->plan.armed = armed != 0;
    return true;
}

static void redirect(int to, const char *path)
{
    const int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

    if (descriptor < 0 || dup2(descriptor, to) < 0)
        _exit(126);
    (void)close(descriptor);
}

/* The child goes on to main. What it starts itself fails at nothing. */
static void become_the_program(const request *r, unsigned long *calls)
{
    (void)close(REQUESTS);
    (void)close(ANSWERS);
    redirect(STDOUT_FILENO, r->out);
    redirect(STDERR_FILENO, r->err);
    (void)unsetenv("LD_PRELOAD");
    (void)unsetenv("FAIL_SERVER");
    fail_begin(&r->plan, calls);
    if (r->plan.kind == FAIL_SYSTEM) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(126);
        (void)raise(SIGSTOP);
    }
}

__attribute__((constructor)) static void serve(void)
{
    unsigned long *calls;
    request r;

    if (getenv("FAIL_SERVER") == NULL)
        return;
    calls = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (calls == MAP_FAILED)
        _exit(126);
    while (read_request(&r)) {
        char answer[64];
        int status = 0, length;
        pid_t child;

        *calls = 0;
        child = fork();
        if (child < 0)
            _exit(126);
        if (child == 0) {
            become_the_program(&r, calls);
            return;
        }
        if (r.plan.kind == FAIL_SYSTEM)
            status = fail_trace(child, &r.plan, calls);
        else if (waitpid(child, &status, 0) != child)
            _exit(126);
        length = snprintf(answer, sizeof answer, "%d %lu\n", status, *calls);
        if (write(ANSWERS, answer, (size_t)length) != length)
            _exit(126);
    }
    _exit(0);
}
