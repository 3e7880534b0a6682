/* SPDX-License-Identifier: Apache-2.0
 *
 * test_args.c - the argument parser of the subcommands; what it prints is tested in cases/usage.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/args.h"

static const cli_option OPTIONS[] = {
    {"threads", 0, "N", "a number", false},      {"step", 0, "N[:M]", "a range", false},
    {"set", 0, "KEY=VALUE", "repeatable", true}, {"output", 'o', "FILE", "has a letter", false},
    {"json", 'j', NULL, "a switch", false},      {0},
};

static const cli_command COMMAND = {
    .name = "probe",
    .summary = "a command of this test",
    .synopsis = "FILE [OTHER]",
    .options = OPTIONS,
    .positional_min = 1,
    .positional_max = 2,
};

/* Sends stderr nowhere while the parser complains. */
static int parse_quietly(cli_args *out, int argc, char **argv)
{
    const int saved = dup(STDERR_FILENO);

    fflush(stderr);
    assert_non_null(freopen("/dev/null", "w", stderr));
    const int status = cli_args_parse(out, &COMMAND, argc, argv);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    return status;
}

/* Splits at blanks; words are at most 15. */
static int parse(cli_args *out, const char *line)
{
    static char copy[256];
    char *argv[16];
    int argc = 0;

    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = word;
    return parse_quietly(out, argc, argv);
}

static void assert_refused(const char *line)
{
    cli_args args;

    if (parse(&args, line) != CLI_TROUBLE)
        fail_msg("accepted: %s", line);
    cli_args_free(&args);
}

static void both_ways_to_give_a_value_are_the_same(void **state)
{
    static const char *const lines[] = {"a --output x", "a --output=x", "a -o x",
                                        "a -ox",        "--output x a", "-o=x a"};
    (void)state;

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        cli_args args;
        assert_int_equal(parse(&args, lines[i]), 0);
        assert_int_equal(args.positional_count, 1);
        assert_string_equal(args.positional[0], "a");
        /* -o=x: a letter takes the rest as it is, like the tools that everybody knows */
        assert_string_equal(cli_value(&args, "output"), i == 5 ? "=x" : "x");
        cli_args_free(&args);
    }
}

static void values_may_be_empty_or_look_like_options(void **state)
{
    cli_args args;
    (void)state;

    assert_int_equal(parse(&args, "a --output= --set --json"), 0);
    assert_string_equal(cli_value(&args, "output"), "");
    assert_string_equal(cli_value(&args, "set"), "--json");
    assert_false(cli_has(&args, "json"));
    cli_args_free(&args);
}

static void double_dash_ends_options_and_is_remembered(void **state)
{
    cli_args args;
    (void)state;

    assert_int_equal(parse(&args, "a -- --json"), 0);
    assert_int_equal(args.positional_count, 2);
    assert_int_equal(args.positional_options, 1);
    assert_string_equal(args.positional[1], "--json");
    assert_false(cli_has(&args, "json"));
    cli_args_free(&args);
}

static void single_dash_is_a_positional(void **state)
{
    cli_args args;
    (void)state;

    assert_int_equal(parse(&args, "-"), 0);
    assert_string_equal(args.positional[0], "-");
    cli_args_free(&args);
}

static void repeatable_options_keep_their_order(void **state)
{
    cli_args args;
    size_t at = 0;
    (void)state;

    assert_int_equal(parse(&args, "--set a=1 x --set b=2 --json --set c=3"), 0);
    assert_string_equal(cli_next_value(&args, "set", &at), "a=1");
    assert_string_equal(cli_next_value(&args, "set", &at), "b=2");
    assert_string_equal(cli_next_value(&args, "set", &at), "c=3");
    assert_null(cli_next_value(&args, "set", &at));
    assert_string_equal(cli_value(&args, "set"), "c=3");
    cli_args_free(&args);
}

static void wrong_command_lines_are_refused(void **state)
{
    static const char *const lines[] = {
        "",       "a b c",      "a --thread 3", "a --threads",     "a -o",
        "a -x",   "a --json=1", "a -jj",        "a --json --json", "a --threads 1 --threads 1",
        "a --=x", "a ---json",
    };
    (void)state;

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_refused(lines[i]);
}

static void help_wins_over_what_is_missing(void **state)
{
    cli_args args;
    (void)state;

    assert_int_equal(parse(&args, "--help"), 0);
    assert_true(args.help);
    cli_args_free(&args);
    assert_int_equal(parse(&args, "-h"), 0);
    assert_true(args.help);
    cli_args_free(&args);
}

static int read_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *argv[] = {(char *)"a", (char *)"--threads", (char *)text};
    const int saved = dup(STDERR_FILENO);
    cli_args args;

    assert_int_equal(cli_args_parse(&args, &COMMAND, 3, argv), 0);
    assert_non_null(freopen("/dev/null", "w", stderr));
    const int status = cli_number(&args, "threads", min, max, out);
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    cli_args_free(&args);
    return status;
}

static void numbers_are_decimal_and_bounded(void **state)
{
    static const char *const wrong[] = {"",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "0x1",
                                        "1e3",
                                        "17",
                                        "0",
                                        "18446744073709551616",
                                        "99999999999999999999"};
    uint64_t n = 77;
    (void)state;

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        if (read_number(wrong[i], 1, 16, &n) != CLI_TROUBLE || n != 77)
            fail_msg("accepted as a number: \"%s\"", wrong[i]);
    }
    assert_int_equal(read_number("16", 1, 16, &n), 0);
    assert_int_equal(n, 16);
    assert_int_equal(read_number("18446744073709551615", 0, UINT64_MAX, &n), 0);
    assert_true(n == UINT64_MAX);
}

static void ranges_are_inclusive_and_ordered(void **state)
{
    static const char *const wrong[] = {"5:4", ":", "1:", ":1", "1:2:3", "a", "1-2"};
    uint64_t first = 70, last = 71;
    cli_args args;
    (void)state;

    assert_int_equal(parse(&args, "a --step 3:9"), 0);
    assert_int_equal(cli_range(&args, "step", &first, &last), 0);
    cli_args_free(&args);
    assert_int_equal(first, 3);
    assert_int_equal(last, 9);
    assert_int_equal(parse(&args, "a --step 4"), 0);
    assert_int_equal(cli_range(&args, "step", &first, &last), 0);
    cli_args_free(&args);
    assert_int_equal(first, 4);
    assert_int_equal(last, 4);
    assert_int_equal(parse(&args, "a"), 0);
    assert_int_equal(cli_range(&args, "step", &first, &last), 0);
    cli_args_free(&args);
    assert_int_equal(first, 4); /* not given: left alone */

    const int saved = dup(STDERR_FILENO);
    assert_non_null(freopen("/dev/null", "w", stderr));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char *argv[] = {(char *)"a", (char *)"--step", (char *)wrong[i]};
        assert_int_equal(cli_args_parse(&args, &COMMAND, 3, argv), 0);
        assert_int_equal(cli_range(&args, "step", &first, &last), CLI_TROUBLE);
        cli_args_free(&args);
    }
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
}

static void suggestions_are_close_or_absent(void **state)
{
    static const char *const list[] = {"train", "replay", "diff", "show", "threads"};
    (void)state;

    assert_string_equal(cli_suggest("trian", list, 5), "train");
    assert_string_equal(cli_suggest("thread", list, 5), "threads");
    assert_string_equal(cli_suggest("dif", list, 5), "diff");
    assert_string_equal(cli_suggest("Show", list, 5), "show");
    assert_null(cli_suggest("photosynthesis", list, 5));
    assert_null(cli_suggest("x", list, 5));
    assert_null(cli_suggest("", list, 5));
    assert_null(cli_suggest("a-word-that-is-much-longer-than-any-command-ever-was", list, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ways_to_give_a_value_are_the_same),
        cmocka_unit_test(values_may_be_empty_or_look_like_options),
        cmocka_unit_test(double_dash_ends_options_and_is_remembered),
        cmocka_unit_test(single_dash_is_a_positional),
        cmocka_unit_test(repeatable_options_keep_their_order),
        cmocka_unit_test(wrong_command_lines_are_refused),
        cmocka_unit_test(help_wins_over_what_is_missing),
        cmocka_unit_test(numbers_are_decimal_and_bounded),
        cmocka_unit_test(ranges_are_inclusive_and_ordered),
        cmocka_unit_test(suggestions_are_close_or_absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
