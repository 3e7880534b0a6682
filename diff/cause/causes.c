/* SPDX-License-Identifier: Apache-2.0
 *
 * causes.c - the table of causes.
 */
#include "diff/cause/causes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static bool rule_unknown(fb_diff_cause *out, const fb__case *c)
{
    (void)c;
    fb__say(out, "no rule knows this signature");
    fb__say_fix(out, "look at the event and at what differs between the headers");
    return true;
}

enum scope {
    ENGINE = 1,   /* runs of the engine: what happened is known from the configuration */
    RECORDED = 2, /* other programs: names and relations of what they do */
    ALL = ENGINE | RECORDED,
    BLIND = 4 /* also of results of operations that are on no record */
};

/* The first that fits wins. What is proved by replay stands before what a signature suggests; what
 * the user asked for (a seed, a key) before what only a program can do; a relation that was checked
 * before the name of an op, and that before the phase that it belongs to. */
static const struct {
    const char *name;
    fb__rule *fits;
    unsigned scope;
} rules[] = {
    {"bit-flip", fb__rule_bit_flip, ALL},
    {"checkpoint-resume", fb__rule_loaded_alone, RECORDED | BLIND},
    {"rng-key-reuse", fb__rule_seeded_alike, RECORDED},
    {"rng-key-reuse", fb__rule_made_again, RECORDED},
    {"rng-offset", fb__rule_own_generator, RECORDED},
    {"data-order", fb__rule_order_seed, RECORDED},
    {"rng-key-reuse", fb__rule_seed_again, RECORDED},
    {"rng-key-reuse", fb__rule_workers, RECORDED},
    {"checkpoint-resume", fb__rule_loaded_state, RECORDED | BLIND},
    {"rng-seed", fb__rule_seed, ALL},
    {"config", fb__rule_config, ALL | BLIND},
    {"config", fb__rule_argv, RECORDED | BLIND},
    {"nondeterminism", fb__rule_same_program, RECORDED | BLIND},
    {"checkpoint-resume", fb__rule_resume, ALL | BLIND},
    {"precision-cast", fb__rule_rounded_twin, RECORDED},
    {"checkpoint-resume", fb__rule_loaded, RECORDED | BLIND},
    {"collective", fb__rule_collective, RECORDED},
    {"optimizer-formula", fb__rule_setting_of_closure, RECORDED},
    {"grad-accumulation", fb__rule_further_pass, RECORDED},
    {"clipping", fb__rule_clip_order, RECORDED},
    {"clipping", fb__rule_clip_count, RECORDED},
    {"clipping", fb__rule_clip_by_hand, RECORDED},
    {"grad-accumulation", fb__rule_added_by_hand, RECORDED},
    {"grad-accumulation", fb__rule_kept_gradient, RECORDED},
    {"loss-normalization", fb__rule_scaled_gradients, RECORDED},
    {"loss-normalization", fb__rule_divided_by_hand, RECORDED},
    {"precision-cast", fb__rule_precision_cast, RECORDED},
    {"evaluation-leak", fb__rule_leak, RECORDED},
    {"evaluation-leak", fb__rule_fitted_on_all, RECORDED},
    {"sample-duplicated-or-missing", fb__rule_repeated_samples, RECORDED},
    {"sample-duplicated-or-missing", fb__rule_epoch_end, RECORDED},
    {"data-content", fb__rule_other_range, RECORDED},
    {"forward-op", fb__rule_exchanged, RECORDED},
    {"aliasing-or-tying", fb__rule_one_model, RECORDED},
    {"aliasing-or-tying", fb__rule_copy_missing, RECORDED},
    {"init", fb__rule_other_copy, RECORDED},
    {"aliasing-or-tying", fb__rule_aliasing, RECORDED},
    {"aliasing-or-tying", fb__rule_overwritten, RECORDED},
    {"aliasing-or-tying", fb__rule_not_a_copy, RECORDED},
    {"aliasing-or-tying", fb__rule_average_shared, RECORDED},
    {"rng-seed", fb__rule_unseeded, RECORDED},
    {"rng-seed", fb__rule_never_seeded, RECORDED},
    {"forward-op", fb__rule_distribution, RECORDED},
    {"data-order", fb__rule_listing, RECORDED},
    {"data-order", fb__rule_row_order, RECORDED},
    {"loss-target", fb__rule_sample_target, RECORDED},
    {"data-content", fb__rule_made_content, RECORDED},
    {"mask-or-position", fb__rule_mask_at_init, RECORDED},
    {"optimizer-formula", fb__rule_other_held, RECORDED},
    {"init", fb__rule_other_filling, RECORDED},
    {"forward-op", fb__rule_other_model, RECORDED},
    {"forward-op", fb__rule_other_number, RECORDED},
    {"optimizer-formula", fb__rule_optimizer_start, RECORDED},
    {"precision-cast", fb__rule_cast_state, RECORDED},
    {"init", fb__rule_init_kind, RECORDED},
    {"init", fb__rule_init, ALL},
    {"environment", fb__rule_hash_seed, RECORDED},
    {"data-content", fb__rule_data_content, ALL},
    {"rng-offset", fb__rule_more_numbers, RECORDED},
    {"forward-op", fb__rule_draw_parameters, ALL},
    {"data-order", fb__rule_order_draw, RECORDED},
    {"rng-key-reuse", fb__rule_key_reuse, RECORDED},
    {"forward-op", fb__rule_other_distribution, RECORDED},
    {"rng-seed", fb__rule_first_draw, ALL},
    {"mode-flag", fb__rule_dropout_mode, RECORDED},
    {"mode-flag", fb__rule_evaluated_dropout, RECORDED},
    {"rng-offset", fb__rule_other_draw, RECORDED},
    {"rng-offset", fb__rule_rng_offset, ALL},
    {"rng-offset", fb__rule_hidden_draws, RECORDED | BLIND},
    {"grad-accumulation", fb__rule_accumulation, RECORDED},
    {"schedule", fb__rule_schedule_call, RECORDED},
    {"forward-op", fb__rule_called, RECORDED},
    {"mode-flag", fb__rule_mode_flag, ALL},
    {"data-order", fb__rule_epoch_order, RECORDED},
    {"data-order", fb__rule_data_order, ALL},
    {"schedule", fb__rule_own_rate, RECORDED},
    {"optimizer-formula", fb__rule_own_update, RECORDED},
    {"loss-target", fb__rule_loss_target, RECORDED},
    {"loss-normalization", fb__rule_loss_normalization, RECORDED},
    {"mask-or-position", fb__rule_mask, RECORDED},
    {"data-order", fb__rule_outside_order, RECORDED},
    {"sample-duplicated-or-missing", fb__rule_row_count, RECORDED},
    {"data-content", fb__rule_other_rows, RECORDED},
    {"data-content", fb__rule_other_tokens, RECORDED},
    {"data-content", fb__rule_made_input, RECORDED},
    {"data-content", fb__rule_entered, RECORDED},
    {"mode-flag", fb__rule_inner_mode, RECORDED},
    {"clipping", fb__rule_clip_kind, RECORDED},
    {"clipping", fb__rule_clip_missed, RECORDED},
    {"environment", fb__rule_environment, ALL | BLIND},
    {"nondeterminism", fb__rule_nondeterminism, ALL | BLIND},
    {"code", fb__rule_code, ENGINE},
    {"clipping", fb__rule_clipping, ALL},
    {"schedule", fb__rule_schedule_kind, RECORDED},
    {"schedule", fb__rule_schedule, ALL},
    {"forward-op", fb__rule_running_average, RECORDED},
    {"optimizer-formula", fb__rule_update_formula, RECORDED},
    {"optimizer-formula", fb__rule_update_behind, RECORDED},
    {"optimizer-formula", fb__rule_update_kind, RECORDED},
    {"optimizer-formula", fb__rule_optimizer_formula, ALL},
    {"backward-op", fb__rule_backward_kind, RECORDED},
    {"backward-op", fb__rule_backward_op, ALL},
    {"forward-op", fb__rule_forward_kind, RECORDED},
    {"forward-op", fb__rule_forward_op, ALL},
    {"backward-op", fb__rule_plain_backward, RECORDED},
    {"forward-op", fb__rule_plain_forward, RECORDED},
    {"code", fb__rule_code, RECORDED},
    {"unknown", fb__rule_out_of_sight, RECORDED | BLIND},
    {"unknown", rule_unknown, ALL | BLIND},
};

static bool is_named(const fb_diff_report *r, const char *name)
{
    for (size_t i = 0; i < r->guess_count; i++)
        if (strcmp(r->guesses[i].name, name) == 0)
            return true;
    return r->cause.name != NULL && strcmp(r->cause.name, name) == 0;
}

static void free_cause(fb_diff_cause *cause)
{
    free(cause->text);
    free(cause->fix);
    *cause = (fb_diff_cause){0};
}

/* A guess, and a repeat that differs, prove nothing yet: a run that was computed by another formula
 * gives the same signatures. What is proved needs no guesses beside it. */
static void try_bank(fb_diff_report *report, const fb__case *c)
{
    fb_override_use use;
    bool in_b;

    if (report->cause.confirmed && strcmp(report->cause.name, "nondeterminism") != 0)
        return;
    if (!fb__try_bank(&report->cause, &use, &in_b, c))
        return;
    fb__values_find_with(report, c->values, c->options, in_b, &use);
    while (report->guess_count > 0)
        free_cause(&report->guesses[--report->guess_count]);
}

fb_status fb__find_cause(fb_diff_report *report, const fb__case *c, fb_error *err)
{
    const unsigned wanted =
        (report->engine ? ENGINE : RECORDED) | (fb__is_out_of_sight(c) ? BLIND : 0u);
    fb__case k = *c;

    report->cause = (fb_diff_cause){0};
    report->guess_count = 0;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        fb_diff_cause found = {0};

        if (report->guess_count == FB_DIFF_GUESSES || is_named(report, rules[i].name) ||
            (rules[i].scope & wanted) != wanted)
            continue;
        if (report->cause.name != NULL && strcmp(rules[i].name, "unknown") == 0)
            break;
        if (!rules[i].fits(&found, &k)) {
            free_cause(&found);
            continue;
        }
        found.name = rules[i].name;
        if (report->cause.name == NULL)
            report->cause = found;
        else
            report->guesses[report->guess_count++] = found;
        k.no_trials = true;
    }
    try_bank(report, c);
    for (size_t i = 0; i < report->guess_count; i++)
        if (report->guesses[i].text == NULL || report->guesses[i].fix == NULL)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "naming the cause: out of memory");
    if (report->cause.text == NULL || report->cause.fix == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "naming the cause: out of memory");
    return FB_OK;
}

static void say(char **to, const char *format, va_list args)
{
    free(*to);
    if (vasprintf(to, format, args) < 0)
        *to = NULL;
    else
        fb__make_printable(*to);
}

void fb__say(fb_diff_cause *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(&out->text, format, args);
    va_end(args);
}

void fb__say_fix(fb_diff_cause *out, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(&out->fix, format, args);
    va_end(args);
}

const fb__step_event *fb__culprit_event(const fb__case *c)
{
    return c->culprit->a != NULL ? c->culprit->a : c->culprit->b;
}

const char *fb__culprit_side(const fb__case *c)
{
    return c->culprit->a != NULL ? "a" : "b";
}
