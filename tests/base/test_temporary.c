/* SPDX-License-Identifier: Apache-2.0
 *
 * test_temporary.c - temporary files of writers that are gone go away, and nothing else does.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/temporary.h"

static char folder[64];

static const char *at(const char *name)
{
    static char paths[4][160];
    static int next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int make(const char *name, long seconds_ago)
{
    const int file = open(at(name), O_RDWR | O_CREAT | O_EXCL, 0600);
    struct timespec times[2];

    assert_true(file >= 0);
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &times[0]), 0);
    times[0].tv_sec -= seconds_ago;
    times[1] = times[0];
    assert_int_equal(futimens(file, times), 0);
    return file;
}

static bool is_there(const char *name)
{
    return access(at(name), F_OK) == 0;
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/fb-temporary-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int drop_folder(void **state)
{
    char command[96];

    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command); /* NOLINT(cert-env33-c): a path of this test's own making */
}

static void what_a_killed_writer_left_goes_away(void **state)
{
    (void)state;
    (void)close(make("x.safetensors.tmp12.0", 120));
    (void)close(make("run.fbt.12.3.part", 120));
    fb__temporary_sweep(at("x.safetensors"), ".tmp", "");
    assert_false(is_there("x.safetensors.tmp12.0"));
    assert_true(is_there("run.fbt.12.3.part"));
    fb__temporary_sweep(at("run.fbt"), ".", ".part");
    assert_false(is_there("run.fbt.12.3.part"));
}

static void a_writer_that_lives_keeps_its_file(void **state)
{
    int ready[2], status;
    char byte;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    const pid_t writer = fork();
    if (writer == 0) {
        fb__temporary_hold(make("x.tmp1.0", 120));
        (void)!write(ready[1], "x", 1);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    fb__temporary_sweep(at("x"), ".tmp", "");
    assert_true(is_there("x.tmp1.0"));
    assert_int_equal(kill(writer, SIGKILL), 0);
    assert_int_equal(waitpid(writer, &status, 0), writer);
    fb__temporary_sweep(at("x"), ".tmp", "");
    assert_false(is_there("x.tmp1.0"));
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void nothing_else_is_touched(void **state)
{
    static const char *const others[] = {
        "x",         "x.tmp",     "x.tmp1",   "x.tmp1.",    "x.tmp.1", "x.tmp1.0.old",
        "xx.tmp1.0", "x.tmp1.0x", "x.tmpa.0", "x.1.0.part",
    };

    (void)state;
    (void)close(make("x.tmp2.0", 5)); /* young */
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        (void)close(make(others[i], 600));
    assert_int_equal(mkdir(at("x.tmp3.0"), 0700), 0);
    assert_int_equal(symlink("x", at("x.tmp4.0")), 0);
    fb__temporary_sweep(at("x"), ".tmp", "");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_true(is_there(others[i]));
    assert_true(is_there("x.tmp2.0") && is_there("x.tmp3.0") && is_there("x.tmp4.0"));
    fb__temporary_sweep("/nowhere/at/all/x", ".tmp", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_a_killed_writer_left_goes_away, make_folder,
                                        drop_folder),
        cmocka_unit_test_setup_teardown(a_writer_that_lives_keeps_its_file, make_folder,
                                        drop_folder),
        cmocka_unit_test_setup_teardown(nothing_else_is_touched, make_folder, drop_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
