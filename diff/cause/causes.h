/* SPDX-License-Identifier: Apache-2.0
 *
 * causes.h - from a culprit to the name of a cause: a table of rules, tried in order, each with its
 * signature, its sentence, its fix and, where runs can be replayed, its confirmation.
 * Text for users: docs/diff.md, "Causes".
 */
#ifndef FB_DIFF_CAUSE_CAUSES_H
#define FB_DIFF_CAUSE_CAUSES_H

#include "diff/align/resumed.h"
#include "diff/diff.h"
#include "diff/read/headers.h"
#include "diff/judge/judge.h"
#include "diff/read/values.h"

/* All that a rule may look at. */
typedef struct fb__case {
    const fb_diff_report *report; /* first, candidates and names are filled */
    const fb_diff_options *options;
    const fb__headers *headers;
    const fb__step_pair *pair;
    const fb__culprit *culprit;
    const fb__values *values;
    bool no_trials; /* a rule may not replay: a further guess is not worth it */
} fb__case;

/* Returns whether the signature fits; then *out is filled (a text stays NULL when memory is out).
 */
typedef bool fb__rule(fb_diff_cause *out, const fb__case *c);

/* cause_flip.c */
fb__rule fb__rule_bit_flip, fb__rule_nondeterminism;
/* cause_config.c */
fb__rule fb__rule_seed, fb__rule_config;
/* cause_data.c */
fb__rule fb__rule_resume, fb__rule_data_content, fb__rule_init, fb__rule_data_order;
/* cause_draw.c */
fb__rule fb__rule_other_distribution, fb__rule_distribution, fb__rule_draw_parameters,
    fb__rule_first_draw, fb__rule_rng_offset, fb__rule_mode_flag, fb__rule_schedule_call;
/* cause_formula.c */
fb__rule fb__rule_environment, fb__rule_code, fb__rule_clipping, fb__rule_schedule,
    fb__rule_optimizer_formula, fb__rule_backward_op, fb__rule_forward_op;
/* The next ones are made for recorded programs. cause_precision.c */
fb__rule fb__rule_rounded_twin, fb__rule_precision_cast, fb__rule_cast_state;
/* cause_mask.c */
fb__rule fb__rule_mask, fb__rule_mask_at_init;
/* cause_op.c */
fb__rule fb__rule_forward_kind, fb__rule_plain_forward, fb__rule_plain_backward;
/* cause_instances.c */
fb__rule fb__rule_one_model, fb__rule_copy_missing, fb__rule_other_copy;
/* cause_exchanged.c */
fb__rule fb__rule_exchanged;
/* cause_normalization.c */
fb__rule fb__rule_loss_normalization;
/* cause_target.c */
fb__rule fb__rule_loss_target, fb__rule_sample_target;
/* cause_accumulation.c */
fb__rule fb__rule_accumulation, fb__rule_further_pass;
/* cause_by_hand.c */
fb__rule fb__rule_clip_by_hand, fb__rule_added_by_hand, fb__rule_divided_by_hand;
/* cause_own_update.c */
fb__rule fb__rule_own_rate, fb__rule_own_update;
/* cause_kept_gradient.c */
fb__rule fb__rule_kept_gradient;
/* cause_reading.c */
fb__rule fb__rule_row_count, fb__rule_other_rows, fb__rule_other_range, fb__rule_other_tokens;
/* cause_clip.c */
fb__rule fb__rule_clip_missed, fb__rule_clip_kind, fb__rule_clip_order, fb__rule_scaled_gradients,
    fb__rule_clip_count;
/* cause_backward.c */
fb__rule fb__rule_backward_kind;
/* cause_collective.c */
fb__rule fb__rule_collective;
/* cause_update.c */
fb__rule fb__rule_setting_of_closure, fb__rule_schedule_kind, fb__rule_update_kind,
    fb__rule_running_average, fb__rule_optimizer_start;
/* cause_update_formula.c */
fb__rule fb__rule_update_formula, fb__rule_update_behind;
/* cause_generator.c */
fb__rule fb__rule_order_seed, fb__rule_own_generator, fb__rule_made_again;
/* cause_sharing.c */
fb__rule fb__rule_aliasing, fb__rule_overwritten, fb__rule_not_a_copy, fb__rule_average_shared;
/* cause_state.c */
fb__rule fb__rule_seed_again, fb__rule_seeded_alike, fb__rule_order_draw, fb__rule_key_reuse,
    fb__rule_workers, fb__rule_other_draw, fb__rule_more_numbers;
/* cause_mode.c */
fb__rule fb__rule_inner_mode, fb__rule_dropout_mode, fb__rule_evaluated_dropout, fb__rule_called;
/* cause_start.c */
fb__rule fb__rule_init_kind, fb__rule_other_model, fb__rule_other_held, fb__rule_other_filling;
/* cause_prepared.c */
fb__rule fb__rule_fitted_on_all, fb__rule_made_content, fb__rule_made_input, fb__rule_other_number,
    fb__rule_entered;
/* cause_seed.c */
fb__rule fb__rule_unseeded, fb__rule_never_seeded;
/* cause_header.c */
fb__rule fb__rule_argv, fb__rule_hash_seed, fb__rule_same_program;
/* cause_checkpoint.c */
fb__rule fb__rule_loaded_state, fb__rule_loaded, fb__rule_loaded_alone;
/* cause_depth.c */
fb__rule fb__rule_out_of_sight, fb__rule_hidden_draws;
/* cause_samples.c */
fb__rule fb__rule_leak, fb__rule_repeated_samples, fb__rule_epoch_end;
/* cause_order.c */
fb__rule fb__rule_row_order, fb__rule_epoch_order, fb__rule_outside_order, fb__rule_listing;

/* cause_depth.c: whether the culprit is a result of operations that are on no record. What rules
 * say of events cannot be said then. */
bool fb__is_out_of_sight(const fb__case *c);

/* The steps whose operations then are to be recorded. */
typedef struct fb__window {
    uint64_t first, last;
} fb__window;
fb__window fb__window_of(const fb__case *c);

/* cause_bank.c: overrides of the engine, tried one by one. Returns whether one of them makes the
 * run that is not the engine's own; then *out is that cause, confirmed, its name included, and
 * *use what makes the run of side b (in_b) or a. */
bool fb__try_bank(fb_diff_cause *out, fb_override_use *use, bool *in_b, const fb__case *c);

/* Fills report->cause with the first cause that fits, `unknown` always does, and report->guesses
 * with the next ones of other names. FB_E_MEMORY. */
FB_NODISCARD fb_status fb__find_cause(fb_diff_report *report, const fb__case *c, fb_error *err);

/* Sets text and fix of a cause. */
void fb__say(fb_diff_cause *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fb__say_fix(fb_diff_cause *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* cause_op.c: where the two sides say the same and it lies in another place of its memory, that
 * place is what `first` tells as contents. */
void fb__tell_places(fb_diff_first *first, const fb__culprit *culprit);

/* The event of the culprit that is there: a's, or b's where a lacks it. */
const fb__step_event *fb__culprit_event(const fb__case *c);
/* "a" or "b": the side that has it (ONLY_A, ONLY_B). */
const char *fb__culprit_side(const fb__case *c);

/* The cause of a resumed recording's first difference, by what it has otherwise. */
void fb__say_resumed(fb_diff_report *report, const fb__resumed *difference);
/* The same where the caller has laid these steps beside each other. */
void fb__say_shifted(fb_diff_report *r, const fb__resumed *d, uint64_t step_a, uint64_t step_b);

#endif
