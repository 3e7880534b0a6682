/* SPDX-License-Identifier: Apache-2.0
 *
 * launch.c - finds the Python package, sets the program's environment, runs it and waits.
 */
#include "cli/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/family.h"
#include "cli/output.h"

/* --- Where the package is ----------------------------------------------------------------------
 */

/* Whether "folder/below" is there; its absolute path. */
static bool find_below(char out[PATH_MAX], const char *folder, const char *below)
{
    char path[PATH_MAX];

    return (size_t)snprintf(path, sizeof path, "%s/%s", folder, below) < sizeof path &&
           realpath(path, out) != NULL;
}

/* The folder of this program. */
static bool own_folder(char out[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);

    if (n <= 0)
        return false;
    out[n] = '\0';
    *strrchr(out, '/') = '\0';
    return true;
}

/* Named by FIRSTBIT_PYTHON; in a wheel, two folders up; installed, below share; in a build folder
 * of the source tree. */
static bool find_package(char out[PATH_MAX], const char *own)
{
    static const char *const places[] = {"../..", "../share/firstbit/python",
                                         "../../../recorders/python"};
    const char *named = getenv("FIRSTBIT_PYTHON");
    char hook[PATH_MAX];

    if (named != NULL)
        return find_below(out, named, ".") &&
               find_below(hook, named, "firstbit/_startup/sitecustomize.py");
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (find_below(out, own, places[i]) &&
            find_below(hook, out, "firstbit/_startup/sitecustomize.py"))
            return true;
    return false;
}

/* --- Its environment ---------------------------------------------------------------------------
 */

static bool set(const char *name, const char *value)
{
    return value == NULL ? unsetenv(name) == 0 : setenv(name, value, 1) == 0;
}

static bool set_number(const char *name, uint64_t value)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return set(name, value == 0 ? NULL : text);
}

/* The hook comes first in PYTHONPATH, and takes itself out again. */
static bool set_python_path(const char *package)
{
    const char *before = getenv("PYTHONPATH");
    const size_t size = strlen(package) + (before == NULL ? 0 : strlen(before)) + 64;
    char *path = malloc(size);
    bool done;

    if (path == NULL)
        return false;
    (void)snprintf(path, size, "%s/firstbit/_startup%s%s", package, before == NULL ? "" : ":",
                   before == NULL ? "" : before);
    done = set("PYTHONPATH", path);
    free(path);
    return done;
}

static bool set_environment(const cli_launch *launch, const char *trace, const char *package,
                            const char *library)
{
    const fb_recorder_options *o = launch->options;
    const bool named = getenv("FIRSTBIT_LIBRARY") != NULL;

    return set("FIRSTBIT_RECORD", trace) &&
           set("FIRSTBIT_LEVEL", launch->default_depth ? NULL : fb_level_name(o->level)) &&
           set("FIRSTBIT_OPS_STEPS", o->ops_steps) && set("FIRSTBIT_VALUES_PATH", o->values_path) &&
           set("FIRSTBIT_VALUES_STEPS", o->values_steps) &&
           set_number("FIRSTBIT_VALUES_BYTES", o->values_bytes) &&
           set_number("FIRSTBIT_MAX_BYTES", o->max_bytes) &&
           (named || library == NULL || set("FIRSTBIT_LIBRARY", library)) &&
           set_python_path(package);
}

/* --- Running -----------------------------------------------------------------------------------
 */

static volatile sig_atomic_t child;

static void pass_on(int signal_number)
{
    if (child > 0)
        (void)kill((pid_t)child, signal_number);
}

static const int passed[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
static const int shared[] = {SIGINT, SIGQUIT}; /* a terminal sends them to both */

/* Becomes the program; what went wrong goes through the pipe. */
static void become(const cli_launch *launch, int told)
{
    char **argv = calloc(launch->count + 1, sizeof *argv);
    int failure = ENOMEM;

    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        (void)signal(shared[i], SIG_DFL);
    cli_restore_limits();
    for (size_t i = 0; argv != NULL && i < launch->count; i++)
        argv[i] = strdup(launch->program[i]);
    if (launch->quiet)
        (void)dup2(2, 1);
    if (argv != NULL && argv[0] != NULL) {
        (void)execvp(argv[0], argv);
        failure = errno;
    }
    (void)!write(told, &failure, sizeof failure);
    _exit(CLI_LAUNCH_FAILED);
}

/* 0, or the errno of what failed. */
static int run_and_wait(const cli_launch *launch, int *status)
{
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    int ends[2], failure = 0;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    (void)fflush(NULL);
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++)
        (void)sigaction(passed[i], &action, NULL);
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        (void)signal(shared[i], SIG_IGN);
    child = (sig_atomic_t)fork();
    if (child < 0)
        return errno;
    if (child == 0) {
        (void)close(ends[0]);
        become(launch, ends[1]);
    }
    (void)close(ends[1]);
    while (read(ends[0], &failure, sizeof failure) < 0 && errno == EINTR)
        ;
    (void)close(ends[0]);
    while (waitpid((pid_t)child, status, 0) < 0 && errno == EINTR)
        ;
    child = 0;
    return failure;
}

/* The file as it was before, to know a new one. */
typedef struct file_state {
    bool there;
    struct stat stat;
} file_state;

static file_state look(const char *path)
{
    file_state s = {0};

    s.there = stat(path, &s.stat) == 0;
    return s;
}

static bool is_new(const file_state *before, const file_state *now)
{
    return now->there && (!before->there || before->stat.st_ino != now->stat.st_ino ||
                          before->stat.st_mtim.tv_sec != now->stat.st_mtim.tv_sec ||
                          before->stat.st_mtim.tv_nsec != now->stat.st_mtim.tv_nsec);
}

static bool absolute(char out[PATH_MAX], const char *path)
{
    char here[PATH_MAX];
    int length;

    if (path[0] == '/')
        length = snprintf(out, PATH_MAX, "%s", path);
    else if (getcwd(here, sizeof here) != NULL)
        length = snprintf(out, PATH_MAX, "%s/%s", here, path);
    else
        return false;
    return length > 0 && length < PATH_MAX;
}

/* Whether a trace can be written there; else errno. Asked before the program runs: a slip in the
 * name of a folder should not cost a training. */
static bool can_be_written(const char *trace)
{
    char folder[PATH_MAX];
    struct stat s;

    if (stat(trace, &s) == 0) {
        if (!S_ISREG(s.st_mode))
            errno = S_ISDIR(s.st_mode) ? EISDIR : EINVAL;
        return S_ISREG(s.st_mode) && access(trace, W_OK) == 0;
    }
    (void)snprintf(folder, sizeof folder, "%s", trace);
    strrchr(folder, '/')[1] = '\0';
    return access(folder, W_OK | X_OK) == 0;
}

int cli_launch_run(const cli_args *args, const cli_launch *launch, int *status, bool *recorded)
{
    char own[PATH_MAX], package[PATH_MAX], library[PATH_MAX], trace[PATH_MAX];
    file_state before, now;
    cli_family family;
    bool has_library;
    int failure;

    if (!own_folder(own) || !find_package(package, own))
        return cli_fail(args, "the Python package of firstbit is not to be found; set "
                              "FIRSTBIT_PYTHON to the folder that holds it");
    has_library = find_below(library, own, "../tracer/libfirstbit_trace.so");
    if (!absolute(trace, launch->trace))
        return cli_fail(args, "%s: %s", launch->trace, strerror(errno));
    if (!can_be_written(trace))
        return cli_fail(args, "%s: %s", launch->trace,
                        errno == EINVAL ? "not a regular file" : strerror(errno));
    if (!set_environment(launch, trace, package, has_library ? library : NULL))
        return cli_fail(args, "out of memory");
    if (!cli_family_begin(&family))
        return cli_fail(args, "a temporary folder: %s", strerror(errno));
    before = look(trace);
    failure = run_and_wait(launch, status);
    now = look(trace);
    *recorded = is_new(&before, &now);
    cli_family_end(&family, args, trace, recorded);
    if (failure != 0)
        return cli_fail(args, "%s: %s", launch->program[0], strerror(failure));
    return 0;
}

int cli_launch_end(int status)
{
    const struct rlimit none = {0, 0};

    if (!WIFSIGNALED(status))
        return WEXITSTATUS(status);
    (void)setrlimit(RLIMIT_CORE, &none); /* the program has left its own */
    (void)signal(WTERMSIG(status), SIG_DFL);
    (void)raise(WTERMSIG(status));
    return 128 + WTERMSIG(status);
}
