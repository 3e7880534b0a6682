/* SPDX-License-Identifier: Apache-2.0
 *
 * saved.c - the checkpoint that a run goes on from, found by what is in it.
 */
#include "diff/align/saved.h"

#include <string.h>

#include "base/hash.h"
#include "diff/read/step_events.h"

static bool is_noted(const fb_site *site, const char *op)
{
    return site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_CHECKPOINT && site->op != NULL &&
           strcmp(site->op, op) == 0;
}

static bool is_saved(const fb_site *site)
{
    return is_noted(site, "save");
}

static bool is_restored(const fb_site *site)
{
    return is_noted(site, "restore");
}

static bool has_slot(const fb_site *site, const char *slot)
{
    return site->slot != NULL && strcmp(site->slot, slot) == 0;
}

static bool is_generator(const fb_site *site)
{
    return has_slot(site, "state") && site->path != NULL && strcmp(site->path, "torch") == 0;
}

/* --- Which step ------------------------------------------------------------------------------- */

/* One step of the whole run. */
typedef struct candidate {
    uint64_t step, last;           /* of its events that tell what was saved: the last one */
    uint32_t known, equal;         /* of what was saved and has been restored */
    uint32_t params, equal_params; /* of these, parameters */
    bool updated_before, updated;  /* an optimizer's rate is on record before `last`, and behind */
} candidate;

typedef struct search {
    const fb__states *restored;
    candidate now, best;
    uint64_t generator; /* number of the state with which the resumed run begins; 0: unknown */
    uint64_t stood;     /* the state at the end of the step before */
    uint64_t stands_at; /* the step at whose end the generator has this state, and not before */
    uint32_t stands;    /* in how many steps it does */
} search;

static void settle(search *s)
{
    const candidate *c = &s->now;
    const bool fits = c->params > 0 ? 2 * c->equal_params > c->params : 2 * c->equal > c->known;

    if (c->step > 0 && fits && c->equal > s->best.equal)
        s->best = *c;
}

static void look_at(search *s, const fb_site *site, const fb_event *e, uint64_t number)
{
    candidate *c = &s->now;

    if (is_saved(site)) {
        const fb__state *mine = fb__states_find(s->restored, site);
        const bool param = has_slot(site, "param");

        c->last = number;
        c->updated_before |= c->updated;
        c->updated = false;
        if (mine == NULL || is_generator(site))
            return;
        c->known++;
        c->params += param;
        if (fb_hash_equal(mine->hash, e->hash)) {
            c->equal++;
            c->equal_params += param;
        }
    } else if (site->kind == FB_KIND_SCALAR && site->phase == FB_PHASE_OPTIMIZER &&
               has_slot(site, "lr")) {
        c->updated = true;
    } else if (fb__is_generator_state(site) && !site->note && site->stream != NULL &&
               strcmp(site->stream, "torch") == 0) {
        if (e->key != 0 && e->key == s->generator && e->key != s->stood && e->step > 0) {
            s->stands++;
            s->stands_at = e->step;
        }
        s->stood = e->key;
    }
}

/* Where PyTorch's generator stands as the first step begins: by the end of step 0, or the state
 * that it is put into behind that. */
static fb_status read_generator(uint64_t *key, fb_trace *part, fb_error *err)
{
    fb_status status = fb_trace_seek(part, 0, err);

    *key = 0;
    while (status == FB_OK) {
        const fb_event *e;
        const fb_site *site;

        status = fb_trace_next(part, &e, NULL, err);
        if (status != FB_OK || e == NULL || e->step > 1)
            break;
        site = fb_trace_site(part, e->site);
        if (site == NULL || site->note || site->stream == NULL ||
            strcmp(site->stream, "torch") != 0)
            continue;
        if ((e->step == 0 && fb__is_generator_state(site)) ||
            (site->kind == FB_KIND_SEED && site->op != NULL && strcmp(site->op, "set_state") == 0))
            *key = e->key;
    }
    return status;
}

static fb_status search_steps(search *s, fb_trace *whole, fb_error *err)
{
    fb_status status = fb_trace_seek(whole, 0, err);

    while (status == FB_OK) {
        const fb_event *e;
        const fb_site *site;
        uint64_t number;

        status = fb_trace_next(whole, &e, &number, err);
        if (status != FB_OK || e == NULL)
            break;
        if (e->step != s->now.step) {
            settle(s);
            s->now = (candidate){.step = e->step};
        }
        site = fb_trace_site(whole, e->site);
        if (site != NULL)
            look_at(s, site, e, number);
    }
    settle(s);
    return status;
}

fb_status fb__saved_find(fb__saved *out, fb_trace *whole, fb_trace *part, fb_error *err)
{
    search s = {.restored = &out->restored};
    fb_status status;

    *out = (fb__saved){.found = false};
    status = fb__states_read(&out->restored, part, 0, 1, is_restored, err);
    if (status == FB_OK)
        status = read_generator(&s.generator, part, err);
    if (status == FB_OK)
        status = search_steps(&s, whole, err);
    if (status != FB_OK)
        return status;
    if (s.best.equal > 0) {
        /* The recorder's step counts behind the update, a program that counts itself before it. */
        out->from = s.best.step - !(s.best.updated_before && !s.best.updated);
        out->found = out->from > 0;
        out->step = s.best.step;
        out->last = s.best.last;
        return fb__states_read(&out->saved, whole, out->step, out->step, is_saved, err);
    }
    out->found = s.stands == 1;
    out->from = s.stands_at;
    return FB_OK;
}

void fb__saved_free(fb__saved *s)
{
    fb__states_free(&s->saved);
    fb__states_free(&s->restored);
}

/* --- What was lost ---------------------------------------------------------------------------- */

const fb__state *fb__saved_other(const fb__state **restored, const fb__saved *s)
{
    for (uint32_t i = 0; i < fb__states_count(&s->saved); i++) {
        const fb__state *saved = &s->saved.at[i];

        *restored = fb__states_find(&s->restored, saved->site);
        if (*restored != NULL && !is_generator(saved->site) &&
            !fb_hash_equal(saved->hash, (*restored)->hash))
            return saved;
    }
    *restored = NULL;
    return NULL;
}

static const fb__state *lost(const fb__saved *s, bool buffer)
{
    for (uint32_t i = 0; i < fb__states_count(&s->saved); i++) {
        const fb_site *site = s->saved.at[i].site;

        if (!has_slot(site, "param") && !is_generator(site) && has_slot(site, "buffer") == buffer &&
            fb__states_find(&s->restored, site) == NULL)
            return &s->saved.at[i];
    }
    return NULL;
}

const fb__state *fb__saved_lost_state(const fb__saved *s)
{
    return lost(s, false);
}

const fb__state *fb__saved_lost_buffer(const fb__saved *s)
{
    return lost(s, true);
}
