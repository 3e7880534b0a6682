/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_formula.c - causes in how something is computed: equal inputs, another result. Ordered from
 * what the headers explain to the phase that it happened in.
 */
#include <string.h>

#include "diff/cause/causes.h"
#include "diff/cause/evidence.h"

static bool is_result(fb_kind kind)
{
    return kind == FB_KIND_TENSOR || kind == FB_KIND_PARAM || kind == FB_KIND_SCALAR ||
           kind == FB_KIND_COLLECTIVE;
}

static bool has_two_sides(const fb__case *c)
{
    return c->culprit->a != NULL && c->culprit->b != NULL;
}

/* The difference of one event in words. */
static void say_result(fb_diff_cause *out, const fb__case *c, const char *result)
{
    const fb_diff_first *first = &c->report->first;
    const char *name = first->name.path[0] != '\0' ? first->name.path : first->name.op;
    char inputs[FB__INPUTS_TEXT];

    switch (first->what) {
    case FB_DIFF_CONTENT:
        if (fb__other_inputs(inputs, sizeof inputs, c))
            fb__say(out, "%s of %s differs: it %s", result, name, inputs);
        else
            fb__say(out, "%s of %s differs, all that it is computed from is equal", result, name);
        break;
    case FB_DIFF_ARGUMENTS:
        fb__say(out, "%s of %s is equal, its arguments are not", result, name);
        break;
    case FB_DIFF_INPUTS:
        fb__say(out, "%s of %s is computed from other events in the two runs", result, name);
        break;
    case FB_DIFF_ONLY_A:
    case FB_DIFF_ONLY_B:
        fb__say(out, "%s of %s exists in %s only", result, name, fb__culprit_side(c));
        break;
    }
}

/* What no op's arithmetic can depend on, once its inputs are equal. */
static bool leaves_sums_alone(const char *key)
{
    static const char *const parts[] = {"PYTHONHASHSEED", "variables.LANG", "variables.LC_",
                                        "page_bytes"};

    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (strstr(key, parts[i]) != NULL)
            return true;
    return strcmp(key, "kernel") == 0; /* the system's */
}

/* A learning rate is computed by the program itself, not by a kernel. */
static bool is_schedule(const fb__case *c)
{
    return c->report->first.name.phase == FB_PHASE_SCHEDULE;
}

/* Kernels of contract 0 promise no bits: not between builds, nor between numbers of threads. */
/* Another argument of the op, or another setting of the optimizer: no order of a sum is that. */
static bool is_told_otherwise(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    fb__argument_pair p;

    if (c->report->engine || a == NULL || b == NULL)
        return false;
    return fb__other_argument(&p, a->site, b->site) ||
           (a->site->kind == FB_KIND_SCALAR && a->site->phase == FB_PHASE_OPTIMIZER &&
            strncmp(fb__text(a->site->path), "optimizer", 9) == 0);
}

bool fb__rule_environment(fb_diff_cause *out, const fb__case *c)
{
    const fb__run_header *a = &c->headers->a, *b = &c->headers->b;
    const bool loose = fb__run_header_is_openblas(a) || fb__run_header_is_openblas(b) ||
                       (a->has_contract && a->contract == 0) ||
                       (b->has_contract && b->contract == 0);
    const bool declared = a->configuration == NULL || b->configuration == NULL;
    const fb_diff_candidate *k;
    size_t at = 0;
    char x[64], y[64];

    if (!is_result(c->report->first.name.kind) || !has_two_sides(c) || is_schedule(c) ||
        is_told_otherwise(c) || (!loose && !declared))
        return false;
    k = fb__candidate_next(c->report, &at, "environment", "kernels");
    at = 0;
    if (k == NULL)
        k = fb__candidate_next(c->report, &at, "environment", "threads");
    at = 0;
    if (k == NULL)
        do
            k = fb__candidate_next(c->report, &at, "environment", "");
        while (k != NULL && leaves_sums_alone(k->key));
    if (k == NULL)
        return false;
    fb__say(out, "%s %s | %s may change the order of a sum", k->key,
            fb__json_plain(x, sizeof x, k->a), fb__json_plain(y, sizeof y, k->b));
    if (c->report->engine)
        fb__say_fix(out,
                    "make %s equal in both, or use the ordered kernels, whose bits do not depend "
                    "on it",
                    k->key);
    else if (strcmp(k->key, "threads") == 0)
        fb__say_fix(out, "torch.set_num_threads(N) alike in both, or accept it: firstbit diff "
                         "--rounding");
    else
        fb__say_fix(out, "make %s equal in both, or accept it: firstbit diff --rounding", k->key);
    return true;
}

static bool same_kernels(const fb__case *c)
{
    const char *a = c->headers->a.fingerprint, *b = c->headers->b.fingerprint;
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

bool fb__rule_code(fb_diff_cause *out, const fb__case *c)
{
    const fb_diff_candidate *k;
    size_t at = 0;
    char x[64], y[64];

    if (!is_result(c->report->first.name.kind))
        return false;
    k = fb__candidate_next(c->report, &at, "contract", "");
    at = 0;
    if (k == NULL && !same_kernels(c)) /* equal fingerprints: the arithmetic is the same */
        k = fb__candidate_next(c->report, &at, "code", "");
    if (k == NULL)
        return false;
    fb__say(out, "the programs differ: %s %s | %s", k->key, fb__json_plain(x, sizeof x, k->a),
            fb__json_plain(y, sizeof y, k->b));
    fb__say_fix(out, "run both with the same version of the program");
    return true;
}

bool fb__rule_clipping(fb_diff_cause *out, const fb__case *c)
{
    const fb_event_name *name = &c->report->first.name;

    if (strcmp(name->op, "clip") != 0 && strcmp(name->slot, "grad_norm") != 0)
        return false;
    say_result(out, c, fb_slot_word(name->slot));
    fb__say_fix(out, "compare how the two runs clip: norm, limit, epsilon, which parameters");
    return true;
}

bool fb__rule_schedule(fb_diff_cause *out, const fb__case *c)
{
    const fb_event_name *name = &c->report->first.name;

    if (name->kind != FB_KIND_SCALAR ||
        (name->phase != FB_PHASE_SCHEDULE && strcmp(name->slot, "lr") != 0))
        return false;
    if (has_two_sides(c))
        fb__say(out, "the learning rate of step %llu is %s | %s", (unsigned long long)name->step,
                c->report->first.content_a, c->report->first.content_b);
    else
        say_result(out, c, "learning rate");
    fb__say_fix(out, "compare the schedules: warm-up, total, and when the step is counted");
    return true;
}

bool fb__rule_optimizer_formula(fb_diff_cause *out, const fb__case *c)
{
    const fb_event_name *name = &c->report->first.name;

    if (name->phase != FB_PHASE_OPTIMIZER && name->kind != FB_KIND_PARAM)
        return false;
    if (!is_result(name->kind))
        return false;
    say_result(out, c, strcmp(name->slot, "param") == 0 ? "the update" : fb_slot_word(name->slot));
    fb__say_fix(out, "compare the optimizers: bias correction, where eps stands, weight decay, "
                     "momentum");
    return true;
}

bool fb__rule_backward_op(fb_diff_cause *out, const fb__case *c)
{
    const fb_event_name *name = &c->report->first.name;

    if (name->phase != FB_PHASE_BACKWARD || !is_result(name->kind))
        return false;
    say_result(out, c, "the gradient");
    fb__say_fix(out, "compare the backward pass of %s (%s) in both",
                name->path[0] != '\0' ? name->path : "code outside of all modules", name->op);
    return true;
}

bool fb__rule_forward_op(fb_diff_cause *out, const fb__case *c)
{
    const fb_event_name *name = &c->report->first.name;

    if ((name->phase != FB_PHASE_FORWARD && name->phase != FB_PHASE_LOSS) || !is_result(name->kind))
        return false;
    say_result(out, c, name->phase == FB_PHASE_LOSS ? "the loss" : "the output");
    fb__say_fix(out, "compare %s (%s) in both",
                name->path[0] != '\0' ? name->path : "code outside of all modules", name->op);
    return true;
}
