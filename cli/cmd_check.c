/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_check.c - firstbit check: is this program reproducible? Records it twice and compares.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/launch.h"
#include "cli/output.h"
#include "cli/recording.h"
#include "diff/diff.h"

enum { SIDES = 2, NAME = 4096, VALUE = 64 };

/* What --vary can set, and the variables that set it. */
typedef struct knob {
    const char *name;
    const char *variables[3];
} knob;

static const knob knobs[] = {
    {"threads", {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}},
    {"hashseed", {"PYTHONHASHSEED"}},
};

typedef struct variation {
    const knob *knob; /* NULL: nothing is varied */
    char value[SIDES][VALUE];
} variation;

/* "threads=1,2". */
static int read_variation(const cli_args *args, variation *out)
{
    const char *text = cli_value(args, "vary"), *equals, *comma;

    *out = (variation){0};
    if (text == NULL)
        return 0;
    equals = strchr(text, '=');
    comma = equals == NULL ? NULL : strchr(equals, ',');
    for (size_t i = 0; equals != NULL && i < sizeof knobs / sizeof knobs[0]; i++)
        if (strlen(knobs[i].name) == (size_t)(equals - text) &&
            strncmp(text, knobs[i].name, (size_t)(equals - text)) == 0)
            out->knob = &knobs[i];
    if (out->knob == NULL || comma == NULL || comma == equals + 1 || comma[1] == '\0' ||
        strchr(comma + 1, ',') != NULL || comma - equals > VALUE || strlen(comma) > VALUE)
        return cli_fail(args, "--vary %s: expected threads=N,M or hashseed=N,M", text);
    (void)snprintf(out->value[0], VALUE, "%.*s", (int)(comma - equals - 1), equals + 1);
    (void)snprintf(out->value[1], VALUE, "%s", comma + 1);
    return 0;
}

static bool apply(const variation *v, int side)
{
    bool done = true;

    for (size_t i = 0; v->knob != NULL && i < 3 && v->knob->variables[i] != NULL; i++)
        done = setenv(v->knob->variables[i], v->value[side], 1) == 0 && done;
    return done;
}

/* Records the program once. -1: go on; else the exit status of the whole command. */
static int record(const cli_args *args, const char *trace, const char *side)
{
    const fb_recorder_options options = {.size = sizeof options, .level = FB_LEVEL_OPS};
    const cli_launch launch = {
        .program = args->positional,
        .count = args->positional_count,
        .trace = trace,
        .default_depth = !cli_has(args, "all-steps"),
        .options = &options,
        .quiet = true,
    };
    bool recorded = false;
    int status = 0;

    if (cli_launch_run(args, &launch, &status, &recorded) != 0)
        return CLI_TROUBLE;
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
        return cli_launch_end(status);
    if (!recorded)
        return cli_fail(args, "%s: nothing recorded: no Python in it imported torch", trace);
    if (WIFSIGNALED(status))
        (void)cli_fail(args, "run %s was ended by signal %d", side, WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        (void)cli_fail(args, "run %s ended with status %d", side, WEXITSTATUS(status));
    return -1;
}

static int exit_status_of(fb_diff_verdict verdict)
{
    return verdict == FB_DIFF_DIFFER        ? CLI_DIFFERENT
           : verdict == FB_DIFF_UNDECIDABLE ? CLI_UNDECIDABLE
                                            : CLI_SAME;
}

/* Names in the text come from files: escaped line by line. */
static void put_lines(char *text)
{
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        cli_put(stdout, line);
        putchar('\n');
    }
}

static int compare(const cli_args *args, const char *a, const char *b, const variation *v)
{
    const fb_diff_options how = {.size = sizeof how};
    fb_diff_report report;
    fb_error err;
    char *text;
    int status;

    if (fb_diff(&report, a, b, &how, &err) != FB_OK)
        return cli_fail_error(args, &err);
    text = cli_has(args, "json") ? fb_diff_report_json(&report) : fb_diff_report_text(&report);
    status = exit_status_of(report.verdict);
    fb_diff_report_free(&report);
    if (text == NULL)
        return cli_fail(args, "out of memory");
    if (cli_has(args, "json")) {
        printf("%s\n", text);
    } else {
        if (v->knob != NULL && status == CLI_SAME)
            printf("reproducible with %s %s and %s\n", v->knob->name, v->value[0], v->value[1]);
        else if (v->knob != NULL && status == CLI_DIFFERENT)
            printf("not reproducible with %s %s and %s\n", v->knob->name, v->value[0], v->value[1]);
        put_lines(text);
    }
    free(text);
    return status;
}

static int run(const cli_args *args)
{
    const char *prefix = cli_value(args, "output");
    char trace[SIDES][NAME];
    variation v;

    if (args->positional_options > 0)
        return cli_fail(args, "expected -- before the program");
    if (read_variation(args, &v) != 0)
        return CLI_TROUBLE;
    for (int side = 0; side < SIDES; side++) {
        const int length =
            snprintf(trace[side], NAME, "%s-%c.fbt", prefix == NULL ? "check" : prefix, 'a' + side);
        int status;

        if (length >= NAME || !apply(&v, side))
            return cli_fail(args, "%s: too long a name", prefix);
        status = record(args, trace[side], side == 0 ? "a" : "b");
        if (status >= 0)
            return status;
    }
    return compare(args, trace[0], trace[1], &v);
}

static const cli_option options[] = {
    {"output", 'o', "PREFIX", "traces PREFIX-a.fbt and PREFIX-b.fbt (check)", false},
    {"vary", 0, "NAME=A,B", "run a with NAME set to A, run b with B: threads=1,2 or\nhashseed=1,2",
     false},
    {"all-steps", 0, NULL, "record every op of every step", false},
    {"json", 0, NULL, "one JSON object on stdout, as diff --json", false},
    {0},
};

const cli_command cli_check = {
    .name = "check",
    .summary = "is a PyTorch program reproducible? record it twice, compare",
    .synopsis = "[-o PREFIX] [--vary NAME=A,B] [--all-steps] [--json] -- PROGRAM ARGUMENT...",
    .options = options,
    .positional_min = 1,
    .positional_max = (size_t)-1,
    .details = "Runs the program twice as firstbit record does, its output on stderr, and prints\n"
               "what firstbit diff says of the two traces, which stay.\n"
               "\n"
               "Exit status: 0 same; 1 different; 2 trouble: not started, nothing recorded; 3\n"
               "undecidable.\n"
               "\n"
               "    firstbit check -- python3 train.py --steps 20\n"
               "    firstbit check --vary threads=1,2 -- python3 train.py\n",
    .run = run,
};
