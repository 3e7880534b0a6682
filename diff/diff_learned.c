/* SPDX-License-Identifier: Apache-2.0
 *
 * diff_learned.c - what two runs have learned where nothing else says it: their parameters as
 * operations begin to be recorded in the midst of a run, and as the recordings end. Recorders note
 * that at every level.
 */
#include "diff/comparison.h"

#include "base/hash.h"
#include "diff/align/align.h"
#include "diff/read/step_events.h"

/* The first parameter that both have noted here, and that differs. One that only one side has says
 * nothing: its module was freed earlier, or the other side's operations begin elsewhere. */
static bool find(fb__culprit *out, const fb__step_pair *pair, const char *op)
{
    *out = (fb__culprit){.found = false};
    for (size_t i = 0; i < pair->a.count && !out->found; i++) {
        const fb__step_event *e = &pair->a.events[i];

        if (e->partner == UINT32_MAX || e->same_content || !fb__is_learned(e->site, op))
            continue;
        out->found = true;
        out->what = FB_DIFF_CONTENT;
        out->a = e;
        out->b = &pair->b.events[e->partner];
    }
    return out->found;
}

static size_t count_results(const fb__step *step)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count; i++)
        n += fb__is_result(step->events[i].site);
    return n;
}

/* The first result of a model that differs, where both have called theirs as often. */
static bool find_result(fb__culprit *out, const fb__step_pair *pair)
{
    *out = (fb__culprit){.found = false};
    if (count_results(&pair->a) != count_results(&pair->b))
        return false;
    for (size_t i = 0; i < pair->a.count && !out->found; i++) {
        const fb__step_event *e = &pair->a.events[i];

        if (!fb__is_result(e->site) || e->partner == UINT32_MAX || e->same_content)
            continue;
        out->found = true;
        out->what = FB_DIFF_CONTENT;
        out->a = e;
        out->b = &pair->b.events[e->partner];
    }
    return out->found;
}

/* Blames the first of these notes that differs in the step, if one does. op: of parameters; NULL:
 * what models gave. classes: what could have been read of the steps before it. */
static fb_status judge(fb__comparison *c, const char *op, uint64_t step, uint32_t classes,
                       fb_error *err)
{
    const fb__chains_slot *slot;
    fb__step_pair pair;
    fb__alignment alignment;
    fb__culprit culprit;
    fb_status status = fb__chains_step(&slot, &c->chains, step, err);

    if (status != FB_OK || slot == NULL ||
        fb_hash_equal(slot->a.root[FB_CLASS_NOTES], slot->b.root[FB_CLASS_NOTES]))
        return status; /* the notes are equal */
    status = fb__step_pair_load(&pair, c->a, c->b, step, 1u << FB_CLASS_NOTES, err);
    if (status == FB_OK)
        status = fb__align(&alignment, &pair, err);
    if (status == FB_OK &&
        (op == NULL ? find_result(&culprit, &pair) : find(&culprit, &pair, op))) {
        pair.classes = classes;
        status = fb__blame(c, &pair, &culprit, &alignment, step, err);
    }
    fb__step_pair_free(&pair);
    return status;
}

fb_status fb__judge_begin(fb__comparison *c, uint64_t step, fb_error *err)
{
    enum { BACK_MAX = 64 }; /* steps */
    const uint32_t ops = 1u << FB_CLASS_OPS;
    uint32_t classes = ops;

    for (int back = 0; back < BACK_MAX && step > 1 && step > c->chains.first; back++, step--) {
        const fb_status status = fb__chains_common(&classes, &c->chains, step - 1, err);

        if (status != FB_OK || (classes & ops) == 0)
            return status != FB_OK ? status : judge(c, FB__BEGIN, step, classes, err);
    }
    return FB_OK;
}

fb_status fb__judge_results(fb__comparison *c, fb_error *err)
{
    enum { STEPS_MAX = 256 }; /* with notes that differ, that are looked into */
    const uint32_t notes = 1u << FB_CLASS_NOTES;
    uint64_t step = 0, from = c->chains.first;
    fb_status status = FB_OK;
    bool found = c->chains.any, equal_before = true;

    for (int n = 0; n < STEPS_MAX && found && status == FB_OK && !c->judged; n++) {
        uint32_t classes = 0;

        status =
            fb__chains_first(&found, &step, &c->chains, FB_CLASS_NOTES, from, equal_before, err);
        if (status == FB_OK && found)
            status = fb__chains_common(&classes, &c->chains, step, err);
        if (status == FB_OK && found && (classes & 1u << FB_CLASS_OPS) == 0)
            status = judge(c, NULL, step, classes | notes, err);
        from = step + 1;
        equal_before = false;
    }
    return status;
}

/* Both recordings were ended by their programs, after as many steps. */
static bool ended_alike(const fb__comparison *c)
{
    const fb_trace_info *a = fb_trace_get_info(c->a), *b = fb_trace_get_info(c->b);

    return c->chains.any && !c->ended.found && a->status == FB_TRACE_COMPLETE &&
           b->status == FB_TRACE_COMPLETE && a->last_step == b->last_step &&
           c->chains.last == a->last_step;
}

fb_status fb__judge_end(fb__comparison *c, fb_error *err)
{
    uint32_t classes;
    fb_status status;

    if (!ended_alike(c))
        return FB_OK;
    status = fb__chains_common(&classes, &c->chains, c->chains.last, err);
    return status != FB_OK ? status : judge(c, FB__END, c->chains.last, classes, err);
}
