/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_update_formula.c - the formula behind an update of a recorded program, where contents were
 * recorded: one run follows the usual formula of its optimizer, the other an entry of the bank.
 */
#include <stdio.h>
#include <string.h>

#include "diff/cause/evidence.h"
#include "diff/cause/update_match.h"

static const char *const usual[] = {"adamw", "adam", "sgd"};

/* The optimizer that one of the sides names, for whose usual formula the other is looked at. */
static const char *optimizer_of(const fb__case *c)
{
    const fb__step *steps[2] = {&c->pair->a, &c->pair->b};

    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < steps[side]->count; i++) {
            const fb_site *site = steps[side]->events[i].site;

            if (site->kind != FB_KIND_PARAM || site->phase != FB_PHASE_OPTIMIZER)
                continue;
            for (size_t k = 0; k < sizeof usual / sizeof usual[0]; k++)
                if (strcmp(fb__text(site->op), usual[k]) == 0)
                    return usual[k];
        }
    return NULL;
}

static void describe(char *out, size_t size, const char *side, const fb__update_match *m,
                     const char *optimizer)
{
    if (m->what == NULL)
        (void)snprintf(out, size, "%s updates as %s does", side, optimizer);
    else
        (void)snprintf(out, size, "in %s %s (as %s%s)", side, m->what->words, m->what->name,
                       m->others > 0 ? ", or another that these values do not tell from it" : "");
}

/* Signature: parameters or states differ behind equal gradients and settings, and the contents of
 * either run are those of another formula, within rounding. */
bool fb__rule_update_formula(fb_diff_cause *out, const fb__case *c)
{
    const fb_event_name *name = &c->report->first.name;
    const char *optimizer = optimizer_of(c);
    fb__update_match a, b;
    char one[320], other[320];

    if (c->no_trials || name->phase != FB_PHASE_OPTIMIZER || name->kind != FB_KIND_PARAM ||
        optimizer == NULL)
        return false;
    fb__match_updates(&a, c->pair->a.trace, name->step, optimizer);
    fb__match_updates(&b, c->pair->b.trace, name->step, optimizer);
    if (!a.known || !b.known || a.what == b.what)
        return false;
    describe(one, sizeof one, a.what != NULL ? "a" : "b", a.what != NULL ? &a : &b, optimizer);
    describe(other, sizeof other, a.what != NULL ? "b" : "a", a.what != NULL ? &b : &a, optimizer);
    fb__say(out, "%s; %s: within rounding in %zu updates of %zu parameters", one, other, a.updates,
            a.parameters);
    fb__say_fix(out, "use one formula in both optimizers");
    return true;
}
