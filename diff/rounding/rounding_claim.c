/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_claim.c - whether the first difference of two recorded programs, which were compared bit
 * for bit, is rounding: the same computed in another order, or in other operations.
 *
 * Everything before it is equal, so the step in which it lies is judged sharply: each operation by
 * what its own inputs differ. What comes behind may grow as it likes.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/cause/causes.h"
#include "diff/parts.h"
#include "diff/rounding/rounding.h"

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging differences: out of memory");
}

/* Rules that only know that something is computed otherwise. */
static bool is_open(const fb_diff_cause *cause)
{
    static const char *const names[] = {"forward-op", "backward-op", "code", "unknown"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(cause->name, names[i]) == 0)
            return !cause->confirmed;
    return false;
}

/* That a flag of the program differs says no more either. */
static bool is_argv(const fb_diff_report *r)
{
    bool argv = false;

    for (size_t i = 0; i < r->candidate_count; i++)
        argv |= strcmp(r->candidates[i].what, "argv") == 0;
    return argv && strcmp(r->cause.name, "config") == 0 && !r->cause.confirmed;
}

static bool may_be_rounding(const fb_diff_report *r)
{
    return r->has_cause && !r->engine && (is_open(&r->cause) || is_argv(r)) && r->has_first &&
           r->first.name.kind == FB_KIND_TENSOR && r->first.name.step > 0;
}

/* The contents say that no order of sums, and no other machine, made the difference. */
static bool is_proved_otherwise(const fb_diff_report *r)
{
    return r->proof.verdict == FB_DIFF_PROOF_REAL ||
           (r->proof.verdict == FB_DIFF_PROOF_SUSPECT && isfinite(r->proof.scale));
}

/* A cause that stands for another order of a sum is none then. */
static fb_status refute(fb_diff_cause *cause, const fb_diff_report *r, fb_error *err)
{
    const fb_event_name *name = &r->first.name;

    if (!r->has_cause || cause->confirmed ||
        (strcmp(cause->name, "environment") != 0 && strcmp(cause->name, "rounding") != 0))
        return FB_OK;
    cause->name = name->phase == FB_PHASE_BACKWARD ? "backward-op" : "forward-op";
    fb__say(cause,
            "%s%s%s computes something else in %s: its inputs are equal, and no order of its sums "
            "gives this",
            name->path, name->path[0] != '\0' ? " " : "", name->op, r->proof.of_b ? "b" : "a");
    fb__say_fix(cause,
                "look at what %s does with its inputs in %s, and at what may have changed "
                "them unseen: memory shared with NumPy, or a fault of the machine",
                name->op, r->proof.of_b ? "b" : "a");
    return cause->text != NULL && cause->fix != NULL ? FB_OK : out_of_memory(err);
}

static bool have_sketches(fb_trace *a, fb_trace *b)
{
    return fb_trace_get_info(a)->level >= FB_LEVEL_SKETCH &&
           fb_trace_get_info(b)->level >= FB_LEVEL_SKETCH;
}

/* It was asked whether it is rounding, and hashes do not say. */
static fb_status leave_open(fb_diff_report *report, fb_error *err)
{
    report->verdict = FB_DIFF_UNDECIDABLE;
    report->why = strdup("sizes are not known: record both with --level sketch");
    return report->why != NULL ? FB_OK : out_of_memory(err);
}

/* The rounding rules alone, from the step before, which is equal and says what parameters are, to
 * `last`. Free *out with fb_diff_report_free and free(). */
static fb_status judge_alone(fb_diff_report **out, const fb_diff_report *report,
                             const fb_diff_options *options, const fb__headers *headers,
                             fb_trace *a, fb_trace *b, uint64_t last, fb_error *err)
{
    const uint64_t step = report->first.name.step;
    fb_diff_report *r = calloc(1, sizeof *r);

    *out = r;
    if (r == NULL)
        return out_of_memory(err);
    r->name_a = strdup(report->name_a);
    r->name_b = strdup(report->name_b);
    if (r->name_a == NULL || r->name_b == NULL)
        return out_of_memory(err);
    return fb__rounding_compare(r, options, headers, a, b, step > 1 ? step - 1 : step, last, err);
}

static void drop(fb_diff_report *r)
{
    if (r != NULL)
        fb_diff_report_free(r);
    free(r);
}

/* One program, run twice with equal settings, that adds up in another order. */
static void say_nondeterminism(fb_diff_cause *cause, const char *what)
{
    cause->name = "nondeterminism";
    fb__say(cause,
            "one program with equal settings: %s comes out otherwise, and what comes of it agrees "
            "but for rounding: the order of a sum is not fixed",
            what);
    fb__say_fix(cause, "add up in a fixed order: not as threads or processes finish, and with "
                       "torch.use_deterministic_algorithms(True)");
}

/* The operations of a step with their arguments, in any order. */
static fb_hash calls_of(const fb__table *t)
{
    fb_hash sum = {0, 0};

    for (uint32_t i = t->start_count; i < t->count; i++) {
        fb_site site = *t->nodes[i].site;
        const char *arguments = site.arguments == NULL ? "" : site.arguments;
        fb_hash h;

        site.occurrence = 0;
        h = fb_site_hash(&site);
        sum.lo += h.lo ^ fb_hash_bytes(arguments, strlen(arguments)).lo;
        sum.hi += h.hi;
    }
    return sum;
}

/* The headers tell of no other text and no other settings. */
static bool is_one_program(const fb_diff_report *r)
{
    for (size_t i = 0; i < r->candidate_count; i++)
        if (strcmp(r->candidates[i].what, "argv") != 0)
            return false;
    return true;
}

/* Whether both sides call the same operations with the same arguments in the step. */
static fb_status calls_the_same(bool *out, fb_trace *a, fb_trace *b, uint64_t step, fb_error *err)
{
    fb__table x, y = {.trace = NULL};
    fb_status status = fb__table_load(&x, a, NULL, step, err);

    if (status == FB_OK)
        status = fb__table_load(&y, b, NULL, step, err);
    *out = status == FB_OK && fb_hash_equal(calls_of(&x), calls_of(&y));
    fb__table_free(&x);
    fb__table_free(&y);
    return status;
}

static void say(fb_diff_report *report, const fb_diff_rounding *judged, bool same_calls)
{
    const fb_event_name *name = &report->first.name;
    fb_diff_cause *cause = &report->cause;
    char what[2 * FB_NAME_MAX + 8];

    (void)snprintf(what, sizeof what, "%s%s%s", name->path, name->path[0] != '\0' ? " " : "",
                   name->op);
    if (same_calls) {
        say_nondeterminism(cause, what);
        return;
    }
    cause->name = "rounding";
    if (report->first.what == FB_DIFF_CONTENT && report->rounding.has_size &&
        report->rounding.ratio <= FB__ROUNDING_LIMIT)
        fb__say(cause,
                "%s: the inputs are equal, and the outputs as far apart as another order of the "
                "same operation may take them",
                what);
    else {
        report->rounding.has_size = false; /* of what vanishes again */
        fb__say(cause,
                "%s: the same, computed otherwise; all that comes of it in this step agrees, but "
                "for at most %.2g times what an operation rounds by",
                what, judged->largest);
    }
    fb__say_fix(cause, "accept it: firstbit diff --rounding; or write the operation alike in both");
}

/* The verdict of the steps behind the first difference, which is rounding. */
static void take_verdict(fb_diff_report *report, fb_diff_report *judged)
{
    fb_diff_rounding *mine = &report->rounding, *theirs = &judged->rounding;

    report->verdict = judged->verdict;
    report->has_equal_through = judged->has_equal_through;
    report->equal_through = judged->equal_through;
    if (judged->verdict == FB_DIFF_SAME) /* a first difference was found */
        report->verdict = FB_DIFF_ROUNDING;
    if (!theirs->has_size && judged->verdict != FB_DIFF_DIFFER) {
        theirs->has_size = mine->has_size;
        theirs->relative = mine->relative;
        theirs->ratio = mine->ratio;
    }
    free(report->why);
    report->why = judged->why;
    judged->why = NULL;
    *mine = *theirs;
    *theirs = (fb_diff_rounding){.used = false};
    if (judged->verdict != FB_DIFF_DIFFER)
        return;
    report->first = judged->first;
    free(report->cause.text);
    free(report->cause.fix);
    report->cause = judged->cause;
    judged->cause = (fb_diff_cause){.name = NULL};
}

fb_status fb__rounding_claim(fb_diff_report *report, const fb_diff_options *options,
                             const fb__headers *headers, fb_trace *a, fb_trace *b, fb_error *err)
{
    fb_diff_report *judged = NULL;
    bool claimed = false, same_calls = false;
    fb_status status;

    if (is_proved_otherwise(report))
        return refute(&report->cause, report, err);
    if (!may_be_rounding(report) || report->proof.verdict == FB_DIFF_PROOF_SUSPECT)
        return FB_OK;
    if (!have_sketches(a, b))
        return options->rounding ? leave_open(report, err) : FB_OK;
    status = judge_alone(&judged, report, options, headers, a, b, report->first.name.step, err);
    if (status == FB_OK && judged->verdict == FB_DIFF_ROUNDING && judged->rounding.missing == 0) {
        if (is_one_program(report))
            status = calls_the_same(&same_calls, a, b, report->first.name.step, err);
        say(report, &judged->rounding, same_calls);
        claimed = strcmp(report->cause.name, "rounding") == 0;
    }
    drop(judged);
    if (status != FB_OK || !claimed || !options->rounding)
        return status;
    judged = NULL;
    status = judge_alone(&judged, report, options, headers, a, b, report->last_step, err);
    if (status == FB_OK)
        take_verdict(report, judged);
    drop(judged);
    return status;
}

fb_status fb__rounding_recheck(fb_diff_report *report, const char *a, const char *b,
                               const fb_diff_options *options, fb_error *err)
{
    fb_diff_options bitwise = *options;
    fb_diff_report exact;
    fb_status status;

    if (!report->engine || !options->rounding || report->verdict != FB_DIFF_ROUNDING)
        return FB_OK;
    bitwise.rounding = false;
    bitwise.bitwise = true;
    status = fb__diff_files(&exact, a, b, &bitwise, err);
    if (status != FB_OK)
        return status;
    if (exact.verdict == FB_DIFF_DIFFER && exact.cause.confirmed &&
        strcmp(exact.cause.name, "bit-flip") == 0) {
        fb_diff_report_free(report);
        *report = exact;
        return FB_OK;
    }
    fb_diff_report_free(&exact);
    return FB_OK;
}
