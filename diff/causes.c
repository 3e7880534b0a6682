/* SPDX-License-Identifier: Apache-2.0
 *
 * causes.c - the table of causes.
 */
#include "diff/causes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

static bool rule_unknown(fb_diff_cause *out, const fb__case *c)
{
    (void)c;
    fb__say(out, "no rule knows this signature");
    fb__say_fix(out, "look at the event and at what differs between the headers");
    return true;
}

/* The first that fits wins. What is proved by replay stands before what a signature suggests; what
 * the user asked for (a seed, a key) before what only a program can do; names of single formulas
 * before the phase that they belong to. */
static const struct {
    const char *name;
    fb__rule *fits;
} rules[] = {
    {"bit-flip", fb__rule_bit_flip},
    {"rng-seed", fb__rule_seed},
    {"config", fb__rule_config},
    {"checkpoint-resume", fb__rule_resume},
    {"init", fb__rule_init},
    {"data-content", fb__rule_data_content},
    {"draw-parameters", fb__rule_draw_parameters},
    {"rng-seed", fb__rule_first_draw},
    {"rng-offset", fb__rule_rng_offset},
    {"mode-flag", fb__rule_mode_flag},
    {"data-order", fb__rule_data_order},
    {"environment", fb__rule_environment},
    {"nondeterminism", fb__rule_nondeterminism},
    {"code", fb__rule_code},
    {"clipping", fb__rule_clipping},
    {"schedule", fb__rule_schedule},
    {"optimizer-formula", fb__rule_optimizer_formula},
    {"backward-op", fb__rule_backward_op},
    {"forward-op", fb__rule_forward_op},
    {"unknown", rule_unknown},
};

fb_status fb__find_cause(fb_diff_cause *out, const fb__case *c, fb_error *err)
{
    *out = (fb_diff_cause){0};
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
        if (rules[i].fits(out, c)) {
            out->name = rules[i].name;
            break;
        }
    if (out->text == NULL || out->fix == NULL)
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
