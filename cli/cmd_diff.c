/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_diff.c - firstbit diff: where two traces part, and why.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/temporary.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/whole_file.h"
#include "diff/diff.h"
#include "diff/digest/digest.h"
#include "diff/expect.h"
#include "diff/groups/groups.h"
#include "diff/report/picture.h"

static void show_progress(void *argument, const char *doing, uint64_t step, uint64_t to)
{
    cli_progress *progress = argument;

    if (cli_progress_due(progress))
        cli_progress_show(progress, "%s: step %llu of %llu", doing, (unsigned long long)step,
                          (unsigned long long)to);
}

static int exit_status_of(fb_diff_verdict verdict)
{
    switch (verdict) {
    case FB_DIFF_SAME:
    case FB_DIFF_ROUNDING:
        return CLI_SAME;
    case FB_DIFF_DIFFER:
        return CLI_DIFFERENT;
    case FB_DIFF_UNDECIDABLE:
        break;
    }
    return CLI_UNDECIDABLE;
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

static void show_digest_progress(void *argument, uint64_t step, uint64_t last)
{
    cli_progress *progress = argument;

    if (cli_progress_due(progress))
        cli_progress_show(progress, "step %llu of %llu%s", (unsigned long long)step,
                          (unsigned long long)last, cli_progress_left(progress, step, last));
}

/* One side, or both, is a digest. */
static int run_digest(const cli_args *args)
{
    cli_progress progress = cli_progress_start();
    fb_digest_report report;
    fb_status status;
    fb_error err;
    char *text;

    status = fb_digest_diff(&report, args->positional[0], args->positional[1],
                            cli_has(args, "prefix"), show_digest_progress, &progress, &err);
    cli_progress_end(&progress);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    text = cli_has(args, "json") ? fb_digest_report_json(&report) : fb_digest_report_text(&report);
    if (text == NULL)
        return cli_fail(args, "out of memory");
    if (cli_has(args, "json"))
        printf("%s\n", text);
    else
        put_lines(text);
    free(text);
    return exit_status_of(report.verdict);
}

/* The report on stdout: as text, JSON or markdown. */
static int print_report(const cli_args *args, const fb_diff_report *report,
                        const fb_picture *picture)
{
    char *text = cli_has(args, "json")       ? fb_diff_report_json(report)
                 : cli_has(args, "markdown") ? fb_diff_report_markdown(report, picture)
                                             : fb_diff_report_text(report);

    if (text == NULL)
        return cli_fail(args, "out of memory");
    if (cli_has(args, "json"))
        printf("%s\n", text);
    else
        put_lines(text);
    free(text);
    return 0;
}

static int write_page(const cli_args *args, const fb_diff_report *report, const fb_picture *picture)
{
    const char *path = cli_value(args, "html");
    char *page;
    int status;

    if (path == NULL)
        return 0;
    page = fb_diff_report_html(report, picture);
    status = page == NULL ? cli_fail(args, "out of memory") : cli_write_whole(args, path, page);
    free(page);
    return status;
}

/* What --expect makes: run a under other settings, in a folder that goes away again. */
typedef struct expectation {
    char folder[FB_TEMPORARY_FOLDER_BYTES], path[540]; /* path "": there is none */
    fb_diff_list lines;                                /* none: nothing was made */
    char *data; /* where the data of a lies, for replays of what was made */
} expectation;

static void drop_expectation(expectation *x)
{
    if (x->path[0] != '\0') {
        (void)unlink(x->path);
        (void)rmdir(x->folder);
    }
    fb_expect_free(&x->lines);
    free(x->data);
}

static int make_expectation(const cli_args *args, expectation *x, fb_diff_options *how)
{
    const char *a = args->positional[0], *slash = strrchr(a, '/'), *key;
    const char **keys;
    size_t at = 0, count = 0;
    fb_status status;
    fb_error err;

    keys = calloc(args->given_count, sizeof *keys);
    x->data = slash != NULL ? strndup(a, (size_t)(slash - a) + 1) : strdup(".");
    if (keys == NULL || x->data == NULL || !fb__temporary_folder(x->folder)) {
        free(keys);
        return cli_fail(args, "%s: %s", x->folder, strerror(errno));
    }
    (void)snprintf(x->path, sizeof x->path, "%s/expected.fbt", x->folder);
    while ((key = cli_next_value(args, "expect", &at)) != NULL)
        keys[count++] = key;
    status = fb_expect_record(x->path, a, args->positional[1], keys, count, how, &x->lines, &err);
    free(keys);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    if (x->lines.count > 0 && how->data == NULL)
        how->data = x->data;
    return 0;
}

/* Everything that is said of a comparison. */
static int tell(const cli_args *args, fb_diff_report *report, const fb_diff_options *how,
                expectation *expected, cli_progress *progress)
{
    fb_picture *picture = NULL;
    fb_status status = FB_OK;
    fb_error err;
    int failed;

    if (cli_has(args, "html") || cli_has(args, "markdown")) {
        picture = calloc(1, sizeof *picture);
        if (picture == NULL)
            return cli_fail(args, "out of memory");
        status = fb_picture_gather(picture, report, how, &err);
    }
    if (status == FB_OK && expected->lines.count > 0) /* nothing reads the traces from here on */
        status = fb_expect_tell(report, args->positional[0], &expected->lines, &err);
    cli_progress_end(progress);
    failed = status == FB_OK ? write_page(args, report, picture) : cli_fail_error(args, &err);
    if (failed == 0)
        failed = print_report(args, report, picture);
    if (picture != NULL)
        fb_picture_free(picture);
    free(picture);
    return failed;
}

static void show_groups_progress(void *argument, const char *doing, uint64_t done, uint64_t all)
{
    cli_progress *progress = argument;

    if (cli_progress_due(progress))
        cli_progress_show(progress, "%s: run %llu of %llu", doing, (unsigned long long)done,
                          (unsigned long long)all);
}

/* More than two traces. */
static int run_groups(const cli_args *args, fb_diff_options *how, cli_progress *progress)
{
    fb_groups groups;
    fb_error err;
    fb_status status;
    char *text;
    int result;

    how->progress = show_groups_progress;
    how->bitwise = true;
    status = fb_groups_find(&groups, args->positional, args->positional_count, how, &err);
    cli_progress_end(progress);
    if (status != FB_OK)
        return cli_fail_error(args, &err);
    text = cli_has(args, "json") ? fb_groups_json(&groups) : fb_groups_text(&groups);
    result = exit_status_of(groups.verdict);
    fb_groups_free(&groups);
    if (text == NULL)
        return cli_fail(args, "out of memory");
    if (cli_has(args, "json"))
        printf("%s\n", text);
    else
        put_lines(text);
    free(text);
    return result;
}

static int compare_pair(const cli_args *args, const fb_diff_options *how, expectation *expected,
                        cli_progress *progress)
{
    const char *a = expected->lines.count > 0 ? expected->path : args->positional[0];
    fb_diff_report report;
    fb_error err;
    int result;

    if (fb_diff(&report, a, args->positional[1], how, &err) != FB_OK) {
        cli_progress_end(progress);
        return cli_fail_error(args, &err);
    }
    result = tell(args, &report, how, expected, progress);
    if (result == 0)
        result = exit_status_of(report.verdict);
    fb_diff_report_free(&report);
    return result;
}

static int run_pair(const cli_args *args, fb_diff_options *how, cli_progress *progress)
{
    expectation expected = {.path = ""};
    const char **noise = calloc(args->given_count + 1, sizeof *noise), *trace;
    size_t at = 0;
    int result = 0;

    if (noise == NULL)
        return cli_fail(args, "out of memory");
    while ((trace = cli_next_value(args, "noise", &at)) != NULL)
        noise[how->noise_count++] = trace;
    how->noise = noise;
    if (cli_has(args, "expect"))
        result = make_expectation(args, &expected, how);
    if (result == 0)
        result = compare_pair(args, how, &expected, progress);
    cli_progress_end(progress);
    drop_expectation(&expected);
    free(noise);
    return result;
}

/* "12:3": two steps from 1 on. */
static bool read_align(fb_diff_options *how, const char *text)
{
    char *end, *rest;

    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    how->align_a = strtoull(text, &end, 10);
    if (*end != ':' || end[1] < '0' || end[1] > '9')
        return false;
    how->align_b = strtoull(end + 1, &rest, 10);
    return *rest == '\0' && errno == 0 && how->align_a > 0 && how->align_b > 0;
}

static int take_align(const cli_args *args, fb_diff_options *how, size_t digests)
{
    const char *align = cli_value(args, "align");

    if (align == NULL)
        return 0;
    if (!read_align(how, align))
        return cli_fail(args, "--align: expected a step of A and one of B, as 12:3, not '%s'",
                        align);
    if (digests > 0 || args->positional_count > 2)
        return cli_fail(args, "--align lays the steps of two traces beside each other");
    if (cli_has(args, "rounding") || cli_has(args, "noise") || cli_has(args, "map") ||
        cli_has(args, "expect"))
        return cli_fail(args, "--align compares bits: not with --rounding, --noise, --map or "
                              "--expect");
    return 0;
}

/* Options that exclude each other, or what is given. */
static int check(const cli_args *args, size_t digests)
{
    const bool page = cli_has(args, "html"), markdown = cli_has(args, "markdown");

    if (cli_has(args, "bitwise") && (cli_has(args, "rounding") || cli_has(args, "noise")))
        return cli_fail(args, "--bitwise excludes --rounding and --noise");
    if ((cli_has(args, "noise") || cli_has(args, "map") || cli_has(args, "rounding")) &&
        (digests > 0 || args->positional_count > 2))
        return cli_fail(args, "--rounding, --noise and --map: compare two traces");
    if (cli_has(args, "expect") && (digests > 0 || args->positional_count > 2))
        return cli_fail(args, "--expect makes run a again: compare two traces");
    if (markdown && cli_has(args, "json"))
        return cli_fail(args, "--markdown and --json are two forms of one report: choose one");
    if (!page && !markdown && (digests == 0 || args->positional_count == 2))
        return 0;
    if (args->positional_count > 2 && digests > 0)
        return cli_fail(args, "digests are compared two at a time");
    if (args->positional_count > 2)
        return cli_fail(args, "--%s shows two traces, not %zu", page ? "html" : "markdown",
                        args->positional_count);
    return digests == 0 ? 0
                        : cli_fail(args, "--%s: a digest has no events to show: compare two traces",
                                   page ? "html" : "markdown");
}

static int run(const cli_args *args)
{
    fb_diff_options how = {.size = sizeof how};
    cli_progress progress = cli_progress_start();
    size_t digests = 0;

    for (size_t i = 0; i < args->positional_count; i++)
        digests += fb_digest_is_file(args->positional[i]);
    if (check(args, digests) != 0 || take_align(args, &how, digests) != 0)
        return CLI_TROUBLE;
    if (digests > 0)
        return run_digest(args);
    how.strict = cli_has(args, "strict");
    how.prefix = cli_has(args, "prefix");
    how.bitwise = cli_has(args, "bitwise");
    how.rounding = cli_has(args, "rounding");
    how.map = cli_value(args, "map");
    how.data = cli_value(args, "data");
    how.progress = show_progress;
    how.argument = &progress;
    return args->positional_count > 2 ? run_groups(args, &how, &progress)
                                      : run_pair(args, &how, &progress);
}

static const cli_option options[] = {
    {"bitwise", 0, NULL, "compare bits, also of different frameworks or kernels", false},
    {"rounding", 0, NULL, "tell rounding from bugs, also of one program", false},
    {"noise", 0, "TRACE",
     "how far rounding may carry a or b: of firstbit noise, or\na repeat of either; repeatable",
     true},
    {"map", 0, "FILE", "lines PATTERN -> REPLACEMENT: names of a as names of b", false},
    {"strict", 0, NULL, "notes count: evaluation, checkpoints, unused draws", false},
    {"prefix", 0, NULL, "equal to the end of the shorter trace is the same", false},
    {"data", 0, "PATH", "a further place for the data of replays: a folder or a\nfile", false},
    {"expect", 0, "KEY",
     "a key of the configuration that may differ, and all\nbelow it: run a is made again with the "
     "value of b,\nand that is compared; repeatable",
     true},
    {"align", 0, "A:B",
     "compare from step A of the first and step B of the\nsecond on: a resumed run, shifted steps",
     false},
    {"html", 0, "FILE", "also write the report as one page that needs no network", false},
    {"markdown", 0, NULL, "print the report for an issue or a pull request", false},
    {"json", 0, NULL, "one JSON object on stdout", false},
    {0},
};

const cli_command cli_diff = {
    .name = "diff",
    .summary = "find the first event in which two traces part, and the cause",
    .synopsis = "A B [--bitwise | --rounding] [--noise TRACE]... [--map FILE] [--strict] "
                "[--prefix] [--data PATH] [--expect KEY]... [--align "
                "A:B] [--html FILE] [--markdown] [--json]",
    .options = options,
    .positional_min = 2,
    .positional_max = FB_GROUPS_RUNS_MAX,
    .details = "Bisects over the steps, aligns the events of the first step that differs, and\n"
               "blames the earliest event whose inputs are equal while it is not. Runs of\n"
               "`firstbit train` are replayed for the values and to confirm the cause. Notes\n"
               "(evaluation, checkpoints, draws that nothing uses) do not count. A or B may be a\n"
               "digest (firstbit digest): then chains of some steps are compared, no events.\n"
               "Of more than two traces it says which are the same, where the others part from\n"
               "the most, and which one is odd.\n"
               "\n"
               "Exit status: 0 same, 1 different, 2 trouble, 3 undecidable.\n"
               "\n"
               "  firstbit diff a.fbt b.fbt\n"
               "  firstbit diff a.fbt b.fbt --html diff.html\n"
               "  firstbit diff --prefix killed.fbt whole.fbt --json\n"
               "  firstbit diff a.fbt b.fbt --expect optimizer.adamw.lr\n"
               "  firstbit diff run.lock new.fbt\n"
               "  firstbit diff run.worker*.fbt\n",
    .run = run,
};
