/* SPDX-License-Identifier: Apache-2.0
 *
 * check_window.c - further recordings of a program that differed, and what they prove.
 */
#include "cli/check_window.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/launch.h"
#include "cli/output.h"

/* --- Recording -------------------------------------------------------------------------------- */

/* Records one side. -1: go on; else the exit status of the whole command. */
static int record_side(cli_checked *check, int side, const fb_recorder_options *options)
{
    const cli_args *args = check->args;
    const fb_recorder_options none = {.size = sizeof none, .level = FB_LEVEL_OPS};
    const cli_launch launch = {
        .program = args->positional,
        .count = args->positional_count,
        .trace = check->trace[side],
        .default_depth = options == NULL,
        .options = options == NULL ? &none : options,
        .quiet = true,
    };
    bool recorded = false;
    int status = 0;

    if (!cli_variation_apply(&check->variation, side))
        return cli_fail(args, "%s %s: not possible on this machine",
                        cli_knob_name(check->variation.knob), check->variation.value[side]);
    if (cli_launch_run(args, &launch, &status, &recorded) != 0)
        return CLI_TROUBLE;
    if (WIFSIGNALED(status) && (WTERMSIG(status) == SIGINT || WTERMSIG(status) == SIGTERM))
        return cli_launch_end(status);
    if (!recorded && (WIFSIGNALED(status) || WEXITSTATUS(status) != 0))
        return cli_fail(args, "run %c failed before anything was recorded: %s %d", 'a' + side,
                        WIFSIGNALED(status) ? "signal" : "status",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if (!recorded)
        return cli_fail(args, "%s: " CLI_NOTHING_RECORDED, check->trace[side]);
    if (!WIFSIGNALED(status) && WEXITSTATUS(status) == 0)
        return -1;
    (void)snprintf(check->failure, sizeof check->failure, "%s %d",
                   WIFSIGNALED(status) ? "was ended by signal" : "ended with status",
                   WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    (void)cli_fail(args, "run %c %s; compared is what it did before", 'a' + side, check->failure);
    return -1;
}

bool cli_check_record(cli_checked *check, const char *name, const fb_recorder_options *options)
{
    for (int side = 0; side < CLI_SIDES; side++) {
        const int length = snprintf(check->trace[side], CLI_TRACE_NAME, "%s-%c%s.fbt",
                                    check->prefix, 'a' + side, name);

        check->ended = length >= CLI_TRACE_NAME ? cli_fail(check->args, "too long a name")
                                                : record_side(check, side, options);
        if (check->ended >= 0)
            return false;
    }
    return true;
}

/* --- Where to look ---------------------------------------------------------------------------- */

/* The last step before `step` in which the trace has ops; 0 where there is none near. */
static uint64_t last_deep_step(const char *path, uint64_t step)
{
    enum { NEAR = 1000 }; /* the default depth has one in so many */
    fb_trace *trace;
    uint64_t found = 0;

    if (fb_trace_open(&trace, path, NULL) != FB_OK)
        return 0;
    for (uint64_t s = step; s > 0 && s + NEAR >= step && found == 0; s--) {
        fb_trace_step roots;

        if (fb_trace_get_step(trace, s - 1, &roots, NULL) == FB_OK &&
            (roots.classes & 1u << FB_CLASS_OPS) != 0)
            found = s - 1;
    }
    fb_trace_close(trace);
    return found;
}

/* Compares the pair recorded last; false where that fails or finds nothing. */
static bool compare_again(const cli_checked *check, fb_diff_report *out)
{
    const fb_diff_options how = {.size = sizeof how};

    if (fb_diff(out, check->trace[0], check->trace[1], &how, NULL) != FB_OK)
        return false;
    if (out->verdict == FB_DIFF_DIFFER && out->has_first)
        return true;
    fb_diff_report_free(out);
    return false;
}

/* Ops of the steps between the last that had them and the one that differs. */
static bool find_operation(cli_checked *check, fb_diff_report *report)
{
    const uint64_t step = report->first.name.step;
    const uint64_t from = last_deep_step(report->name_a, step);
    char steps[64];
    const fb_recorder_options options = {
        .size = sizeof options, .level = FB_LEVEL_OPS, .ops_steps = steps};
    fb_diff_report deeper;

    if (from + 1 >= step)
        return true;
    (void)snprintf(steps, sizeof steps, "%" PRIu64 ":%" PRIu64, from, step);
    fprintf(stderr, "firstbit check: steps %" PRIu64 "-%" PRIu64 " again, with every operation\n",
            from, step);
    if (!cli_check_record(check, "-ops", &options))
        return false;
    if (compare_again(check, &deeper)) {
        fb_diff_report_free(report);
        *report = deeper;
    }
    return true;
}

/* --- Numbers, and whether they come again ----------------------------------------------------- */

static bool is_tensor(const fb_diff_first *first)
{
    return first->what == FB_DIFF_CONTENT &&
           (first->name.kind == FB_KIND_TENSOR || first->name.kind == FB_KIND_PARAM);
}

static bool is_same_event(const fb_event_name *a, const fb_event_name *b)
{
    return a->step == b->step && a->micro == b->micro && a->phase == b->phase &&
           a->occurrence == b->occurrence && strcmp(a->path, b->path) == 0 &&
           strcmp(a->op, b->op) == 0 && strcmp(a->slot, b->slot) == 0;
}

/* Whether two recordings of one side agree through the step. */
static bool agree_through(const char *x, const char *y, uint64_t step)
{
    const fb_diff_options how = {.size = sizeof how, .no_replay = true, .no_stacks = true};
    fb_diff_report report;
    bool agree;

    if (fb_diff(&report, x, y, &how, NULL) != FB_OK)
        return false;
    agree = report.verdict == FB_DIFF_SAME || (report.has_first && report.first.name.step > step) ||
            (report.verdict == FB_DIFF_UNDECIDABLE && report.has_equal_through &&
             report.equal_through >= step);
    fb_diff_report_free(&report);
    return agree;
}

static void say(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(char **out, const char *format, ...)
{
    char *text;
    va_list args;
    int length;

    va_start(args, format);
    length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        return;
    free(*out);
    *out = text;
}

static const char outside_fix[] =
    "what comes from NumPy, a file or the clock: seed it, sort it, or keep it out";

/* Slots in0, in1, ...: what no recorded operation made. */
static bool is_from_outside(const fb_diff_first *first)
{
    const char *slot = first->name.slot;

    return strncmp(slot, "in", 2) == 0 && slot[2] >= '0' && slot[2] <= '9';
}

/* The operation was called with something else, or a parameter began otherwise: the cause is known,
 * and that it comes from outside the program. */
static void blame_outside(fb_diff_report *report, size_t results, size_t runs)
{
    char *known = report->cause.text;

    report->cause.text = NULL;
    say(&report->cause.text, "%s; it was %zu different ones in %zu runs with equal settings",
        known != NULL ? known : "what it is made of differs", results, runs);
    free(known);
    if (report->first.name.kind != FB_KIND_TENSOR)
        return;
    report->cause.name = "data-content";
    say(&report->cause.fix, "%s", outside_fix);
}

/* Equal settings, equal inputs, other outputs: nothing but the operation is left. */
static void blame_operation(fb_diff_report *report, size_t results, size_t runs)
{
    const bool outside = is_from_outside(&report->first);

    report->has_cause = true;
    report->cause.name = outside ? "data-content" : "nondeterminism";
    report->cause.confirmed = !outside;
    if (outside) {
        say(&report->cause.text,
            "no recorded operation made this input, and it was %zu different ones in %zu runs",
            results, runs);
        say(&report->cause.fix, "%s", outside_fix);
        return;
    }
    say(&report->cause.text, "equal inputs and settings, and %zu different results in %zu runs",
        results, runs);
    say(&report->cause.fix,
        "torch.use_deterministic_algorithms(True) replaces or refuses such operations; with one "
        "thread most of them repeat");
}

static void blame_setting(const cli_checked *check, fb_diff_report *report)
{
    const cli_variation *v = &check->variation;
    const char *name = cli_knob_name(v->knob);

    report->has_cause = true;
    report->cause.name = "environment";
    report->cause.confirmed = true;
    say(&report->cause.text, "%s %s | %s decides: each gave its own result again", name,
        v->value[0], v->value[1]);
    say(&report->cause.fix, "%s", cli_knob_fix(v->knob));
}

/* How many different contents four recordings gave the event. */
static size_t count_results(const fb_diff_first *x, const fb_diff_first *y)
{
    const char *const contents[] = {x->content_a, x->content_b, y->content_a, y->content_b};
    size_t count = 0;

    for (size_t i = 0; i < 4; i++) {
        bool known = contents[i][0] == '\0';

        for (size_t k = 0; k < i; k++)
            known = known || strcmp(contents[i], contents[k]) == 0;
        count += !known;
    }
    return count;
}

/* Whether nothing but what it does can have made the difference. */
static bool is_only_operation(const fb_diff_first *first)
{
    return first->alike &&
           !(first->name.kind == FB_KIND_PARAM &&
             (first->name.phase == FB_PHASE_INIT || first->name.phase == FB_PHASE_CHECKPOINT));
}

static void take_values(fb_diff_first *to, const fb_diff_first *from)
{
    to->has_value = from->has_value;
    to->has_element = from->has_element;
    to->element = from->element;
    to->differing = from->differing;
    to->a = from->a;
    to->b = from->b;
    to->ulps = from->ulps;
}

/* The event's numbers, recorded in both once more. */
static bool find_values(cli_checked *check, fb_diff_report *report)
{
    const fb_diff_first *first = &report->first;
    char steps[32];
    fb_recorder_options options = {.size = sizeof options,
                                   .level = FB_LEVEL_VALUES,
                                   .ops_steps = steps,
                                   .values_steps = steps,
                                   .values_path = first->name.path};
    fb_diff_report again = {.verdict = FB_DIFF_SAME};
    bool seen, repeats;

    (void)snprintf(steps, sizeof steps, "%" PRIu64, first->name.step);
    if (report->window_path != NULL && report->window_steps != NULL) { /* its inputs too */
        options.ops_steps = options.values_steps = report->window_steps;
        options.values_path = report->window_path;
    }
    fprintf(stderr, "firstbit check: step %" PRIu64 " again, with the contents of ",
            first->name.step);
    cli_put(stderr, first->name.path[0] != '\0' ? first->name.path : first->name.op);
    fputc('\n', stderr);
    if (!cli_check_record(check, "-values", &options))
        return false;
    seen = compare_again(check, &again);
    repeats = agree_through(report->name_a, check->trace[0], first->name.step) &&
              agree_through(report->name_b, check->trace[1], first->name.step);
    if (seen && is_same_event(&first->name, &again.first.name)) {
        take_values(&report->first, &again.first);
        report->proof = again.proof;
        if (again.next != NULL)
            say(&report->next, "%s", again.next);
    }
    if (check->variation.knob == CLI_KNOB_NONE && is_only_operation(first))
        blame_operation(report, count_results(first, &again.first), 4);
    else if (check->variation.knob == CLI_KNOB_NONE)
        blame_outside(report, count_results(first, &again.first), 4);
    else if (repeats)
        blame_setting(check, report);
    fb_diff_report_free(&again);
    return true;
}

bool cli_check_look_closer(cli_checked *check, fb_diff_report *report)
{
    if (!cli_has(check->args, "all-steps") && !find_operation(check, report))
        return false;
    return !is_tensor(&report->first) || find_values(check, report);
}
