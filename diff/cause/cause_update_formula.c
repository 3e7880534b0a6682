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

/* --- Behind the update ------------------------------------------------------------------------ */

static bool is_updated(const fb_site *site)
{
    return site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_OPTIMIZER;
}

static bool is_in_module(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && fb__text(site->path)[0] != '\0';
}

/* Whether a module reads what is made of the event where it reads a parameter on the other side. */
static bool stands_for_parameter(const fb__case *c, const fb__step_event *e)
{
    const fb__step *other = fb__step_of(c, e) == &c->pair->a ? &c->pair->b : &c->pair->a;
    const fb__step_event *reader = fb__reader(c, e, is_in_module, 1 << 14), *partner;

    if (reader == NULL || reader->partner == UINT32_MAX)
        return false;
    partner = &other->events[reader->partner];
    for (uint32_t k = 0; k < reader->input_count && k < partner->input_count; k++) {
        const fb_site *own = fb__input_site(c, reader, k), *others = fb__input_site(c, partner, k);

        if (own != NULL && others != NULL && fb__op_is(own, "copy") && is_updated(others))
            return true;
    }
    return false;
}

/* Signature: between two steps one side alone works on parameters that its optimizer has updated,
 * and the model goes on with what comes of it: an optimizer around another one. */
bool fb__rule_update_behind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);

    if (fb__is_pair(c) || e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_FORWARD ||
        fb__text(e->site->path)[0] != '\0' || fb__ancestor(c, e, is_updated, 16) == NULL ||
        !stands_for_parameter(c, e))
        return false;
    fb__say(out, "only %s changes the parameters once more behind the optimizer's update (%s)",
            fb__culprit_side(c), fb__text(e->site->op));
    fb__say_fix(out, "compare what is done behind the update: how often, and with which factor");
    return true;
}
