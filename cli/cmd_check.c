/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_check.c - firstbit check: is this program reproducible? Records it twice, compares, and
 * records what differs again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/check_knobs.h"
#include "cli/check_window.h"
#include "cli/command.h"
#include "cli/output.h"
#include "diff/diff.h"

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

/* The answer in one sentence, above what diff says. */
static void put_sentence(const cli_variation *v, fb_diff_verdict verdict)
{
    const char *answer = verdict == FB_DIFF_SAME     ? "reproducible"
                         : verdict == FB_DIFF_DIFFER ? "not reproducible"
                                                     : "undecidable";

    if (v->knob == CLI_KNOB_NONE)
        printf("%s: two runs %s\n", answer,
               verdict == FB_DIFF_SAME     ? "agree in all that was recorded"
               : verdict == FB_DIFF_DIFFER ? "of one program with equal settings part"
                                           : "could not be compared to their end");
    else
        printf("%s with %s %s and %s\n", answer, cli_knob_name(v->knob), v->value[0], v->value[1]);
}

static int print_report(const cli_checked *check, const fb_diff_report *report)
{
    char *text =
        cli_has(check->args, "json") ? fb_diff_report_json(report) : fb_diff_report_text(report);

    if (text == NULL)
        return cli_fail(check->args, "out of memory");
    if (cli_has(check->args, "json")) {
        printf("%s\n", text);
    } else {
        put_sentence(&check->variation, report->verdict);
        put_lines(text);
    }
    free(text);
    return exit_status_of(report->verdict);
}

/* Two runs that are the same as far as they came prove nothing of a program that failed. */
static bool doubt_failed(const cli_checked *check, fb_diff_report *report)
{
    char why[160];

    if (report->verdict != FB_DIFF_SAME || check->failure[0] == '\0')
        return true;
    (void)snprintf(why, sizeof why, "the program %s; its runs are the same up to there",
                   check->failure);
    free(report->why);
    report->why = strdup(why);
    report->verdict = FB_DIFF_UNDECIDABLE;
    return report->why != NULL;
}

/* One comparison, with nothing or one thing varied. Returns the exit status. */
static int check_once(cli_checked *check)
{
    const fb_recorder_options whole = {.size = sizeof whole, .level = FB_LEVEL_OPS};
    const fb_diff_options how = {.size = sizeof how};
    fb_diff_report report;
    fb_error err;
    int status;

    if (!cli_check_record(check, "", cli_has(check->args, "all-steps") ? &whole : NULL))
        return check->ended;
    if (fb_diff(&report, check->trace[0], check->trace[1], &how, &err) != FB_OK)
        return cli_fail_error(check->args, &err);
    if (report.verdict == FB_DIFF_DIFFER && report.has_first && !cli_has(check->args, "twice") &&
        !cli_check_look_closer(check, &report)) {
        fb_diff_report_free(&report);
        return check->ended;
    }
    status = doubt_failed(check, &report) ? print_report(check, &report)
                                          : cli_fail(check->args, "out of memory");
    fb_diff_report_free(&report);
    return status;
}

/* Of several variations: different before undecidable before same; trouble ends it. */
static int worse(int a, int b)
{
    static const int rank[] = {
        [CLI_SAME] = 0, [CLI_DIFFERENT] = 2, [CLI_TROUBLE] = 3, [CLI_UNDECIDABLE] = 1};

    if (a > CLI_UNDECIDABLE || b > CLI_UNDECIDABLE)
        return a > b ? a : b;
    return rank[a] > rank[b] ? a : b;
}

static int run(const cli_args *args)
{
    const char *prefix = cli_value(args, "output"), *vary;
    size_t at = 0, count = 0;
    char own[CLI_TRACE_NAME];
    int status = CLI_SAME;

    if (args->positional_options > 0)
        return cli_fail(args, "expected -- before the program");
    prefix = prefix == NULL ? "check" : prefix;
    for (cli_variation v; (vary = cli_next_value(args, "vary", &at)) != NULL;)
        if (cli_variation_read(args, vary, &v) != 0)
            return CLI_TROUBLE;
    at = 0;
    do {
        cli_checked check = {.args = args, .prefix = prefix};
        int done;

        vary = cli_next_value(args, "vary", &at);
        if (vary == NULL && count > 0)
            break;
        if (vary != NULL && cli_variation_read(args, vary, &check.variation) != 0)
            return CLI_TROUBLE;
        if (vary != NULL && snprintf(own, sizeof own, "%s-%s", prefix,
                                     cli_knob_name(check.variation.knob)) < (int)sizeof own)
            check.prefix = own;
        if (count++ > 0 && !cli_has(args, "json"))
            putchar('\n');
        done = check_once(&check);
        (void)fflush(stdout);
        cli_variation_undo(&check.variation);
        status = worse(status, done);
    } while (vary != NULL && status != CLI_TROUBLE && status <= CLI_UNDECIDABLE);
    return status;
}

static const cli_option options[] = {
    {"output", 'o', "PREFIX", "traces PREFIX-a.fbt and PREFIX-b.fbt (check)", false},
    {"vary", 0, "NAME=A,B",
     "run a with NAME set to A, run b with B, repeatable:\nthreads=1,2 hashseed=1,2 workers=0,2 "
     "affinity=0,0-3",
     true},
    {"all-steps", 0, NULL, "record every op of every step", false},
    {"twice", 0, NULL, "where they differ, do not record again", false},
    {"json", 0, NULL, "one JSON object on stdout for each comparison, as\ndiff --json", false},
    {0},
};

const cli_command cli_check = {
    .name = "check",
    .summary = "is a PyTorch program reproducible? record it twice, compare",
    .synopsis = "[-o PREFIX] [--vary NAME=A,B]... [--all-steps] [--twice] [--json]\n"
                "-- PROGRAM ARGUMENT...",
    .options = options,
    .positional_min = 1,
    .positional_max = (size_t)-1,
    .details =
        "Runs the program twice as firstbit record does, its output on stderr, and compares.\n"
        "Where the two part, the steps that were recorded without ops are recorded again with\n"
        "them, and then the step that differs with the contents of the tensors in question, so\n"
        "that the report has element, values and ulps, and says whether each side gives its\n"
        "result again. Each --vary is a comparison of its own, and traces PREFIX-NAME-a.fbt.\n"
        "The traces stay.\n"
        "\n"
        "Exit status: 0 same; 1 different; 2 trouble: not started, nothing recorded; 3\n"
        "undecidable: for one, the program failed, and its runs are the same up to there.\n"
        "\n"
        "    firstbit check -- python3 train.py --steps 20\n"
        "    firstbit check --vary threads=1,2 --vary hashseed=1,2 -- python3 train.py\n",
    .run = run,
};
