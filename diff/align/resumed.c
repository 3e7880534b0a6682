/* SPDX-License-Identifier: Apache-2.0
 *
 * resumed.c - lays a resumed recording beside the uninterrupted one.
 */
#include "diff/align/resumed.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/align/resume.h"
#include "diff/align/resumed_data.h"
#include "diff/align/saved.h"
#include "diff/read/chains.h"
#include "diff/read/step_events.h"
#include "diff/read/step_table.h"

enum { FIRST_STEPS = 2 }; /* an optimizer beside the leading one steps at the start of the second */

typedef struct pair {
    fb_trace *whole, *part; /* part is the resumed one */
    fb__table whole_start, part_start;
    fb__saved saved; /* the checkpoint, where it is on record */
    fb__resumed *out;
} pair;

/* --- Which is resumed, and from where --------------------------------------------------------- */

static fb_status has_loaded(bool *out, fb_trace *trace, fb_error *err)
{
    fb_status status = fb_trace_seek(trace, 0, err);

    *out = false;
    while (status == FB_OK && !*out) {
        const fb_event *e;
        const fb_site *site;

        status = fb_trace_next(trace, &e, NULL, err);
        if (status != FB_OK || e == NULL || e->step > 0)
            break;
        site = fb_trace_site(trace, e->site);
        *out = site != NULL && site->kind == FB_KIND_CHECKPOINT && site->op != NULL &&
               strncmp(site->op, "load", 4) == 0;
    }
    return status;
}

/* The values that parameters have in the nodes [from, to) of a table, beside those with which the
 * resumed run begins. */
typedef struct matches {
    uint32_t known; /* of those that both have */
    uint32_t equal;
} matches;

static matches count_equal(const pair *p, const fb__table *t, uint32_t from, uint32_t to)
{
    matches m = {0};

    for (uint32_t i = from; i < to; i++) {
        const fb__node *n = &t->nodes[i];
        uint32_t mine;

        if (!fb__node_is_param(n) || n->site->path == NULL)
            continue;
        mine = fb__table_find_param(&p->part_start, n->site->path);
        if (mine == FB__NODE_NONE)
            continue;
        m.known++;
        m.equal += fb__node_equal(n, &p->part_start.nodes[mine]);
    }
    return m;
}

/* The step whose updates leave most parameters as the resumed run has them, and more than half of
 * those that it updates. What no step updates says nothing: a frozen layer, an average. */
static fb_status find_step(pair *p, fb_error *err)
{
    const uint64_t last = fb_trace_get_info(p->whole)->last_step;
    const matches start = count_equal(p, &p->whole_start, 0, p->whole_start.start_count);
    uint32_t most = 0;
    fb_status status = FB_OK;

    for (uint64_t step = 1; status == FB_OK && step <= last && start.equal < start.known; step++) {
        fb__table t;
        matches m = {0};

        status = fb__table_load(&t, p->whole, &p->whole_start, step, err);
        if (status == FB_OK)
            m = count_equal(p, &t, t.start_count, t.count);
        fb__table_free(&t);
        if (m.equal <= most || 2 * m.equal <= m.known)
            continue;
        most = m.equal;
        p->out->found = true;
        p->out->from = step;
        if (m.equal == m.known && m.known + start.equal >= start.known)
            break;
    }
    return status;
}

/* --- What it has otherwise -------------------------------------------------------------------- */

static bool is_equal(const fb__node *x, const fb__node *y)
{
    if (fb__node_is_scalar(x) || (!fb_hash_is_zero(x->hash) && !fb_hash_is_zero(y->hash)))
        return fb__node_equal(x, y);
    return true; /* nothing is known of the contents */
}

static fb__resumed_item item_of(const fb__node *n)
{
    const char *slot = n->site->slot == NULL ? "" : n->site->slot;

    if (n->site->kind == FB_KIND_PARAM)
        return fb__node_is_param(n) ? FB__RESUMED_OTHER : FB__RESUMED_STATE;
    if (fb__node_is_scalar(n))
        return strcmp(slot, "lr") == 0 ? FB__RESUMED_SCHEDULE : FB__RESUMED_OTHER;
    if (n->site->kind == FB_KIND_DRAW)
        return FB__RESUMED_GENERATOR;
    return n->site->phase == FB_PHASE_FORWARD ? FB__RESUMED_DATA : FB__RESUMED_OTHER;
}

static void take(pair *p, const fb__table *whole, const fb__node *x, const fb__node *y,
                 fb__resumed_item item)
{
    fb__resumed *out = p->out;
    const fb_event bare = {.step = x->start ? 0 : whole->step, .micro = x->micro};

    out->item = item;
    fb_event_name_of(&out->name, x->site, &bare);
    out->number_a = out->is_b ? x->number : y->number;
    out->number_b = out->is_b ? y->number : x->number;
    out->dtype = x->site->dtype;
}

/* A parameter that the resumed run does not begin with. What is in the checkpoint was asked
 * already: another optimizer may have changed it since. */
static void compare_start(pair *p, const fb__table *whole)
{
    for (uint32_t i = whole->start_count; i < whole->count; i++) {
        const fb__node *n = &whole->nodes[i];
        uint32_t mine;

        if (!fb__node_is_param(n) || n->site->path == NULL ||
            fb__states_find(&p->saved.saved, n->site) != NULL)
            continue;
        mine = fb__table_find_param(&p->part_start, n->site->path);
        if (mine != FB__NODE_NONE && !is_equal(n, &p->part_start.nodes[mine])) {
            take(p, whole, n, &p->part_start.nodes[mine], FB__RESUMED_PARAMETER);
            return;
        }
    }
}

/* The first node that differs while all that it is made from is equal; of an update the states,
 * where they differ too: the rate is in the optimizer's state_dict() with them. */
static void compare_nodes(pair *p, const fb__table *whole, const fb__table *part, bool *differs)
{
    uint32_t first = FB__NODE_NONE, partner = FB__NODE_NONE;

    for (uint32_t i = part->start_count; i < part->count; i++) {
        const fb__node *y = &part->nodes[i];
        const uint32_t at = fb__table_find(whole, y->key);
        bool handed = false;

        if (at == FB__NODE_NONE) {
            p->out->unmatched++;
            continue;
        }
        p->out->compared++;
        if (is_equal(&whole->nodes[at], y))
            continue;
        differs[i] = true;
        for (uint32_t k = 0; k < y->input_count; k++)
            handed |= differs[part->edges[y->first_input + k]];
        if (handed)
            continue;
        if (first == FB__NODE_NONE || item_of(y) == FB__RESUMED_STATE) {
            first = i;
            partner = at;
        }
        if (y->site->phase != FB_PHASE_OPTIMIZER || item_of(y) == FB__RESUMED_STATE)
            break;
    }
    if (first != FB__NODE_NONE)
        take(p, whole, &whole->nodes[partner], &part->nodes[first], item_of(&part->nodes[first]));
}

/* A tensor of the checkpoint that the resumed run has as another one, or as none. */
static void take_saved(pair *p, const fb__state *saved, const fb__state *mine,
                       fb__resumed_item item)
{
    const fb_event bare = {.step = p->out->from, .micro = saved->micro};
    const uint64_t number = mine == NULL ? 0 : mine->number;
    fb__resumed *out = p->out;

    out->item = item;
    out->lost = mine == NULL;
    fb_event_name_of(&out->name, saved->site, &bare);
    out->number_a = out->is_b ? saved->number : number;
    out->number_b = out->is_b ? number : saved->number;
    out->dtype = saved->site->dtype;
}

/* What is in the checkpoint, and was restored as something else. A generator may have moved on. */
static void compare_saved(pair *p)
{
    const fb__state *mine, *saved = fb__saved_other(&mine, &p->saved);
    const char *slot;

    p->out->all = p->saved.last > 0 && fb__saved_lost_state(&p->saved) == NULL &&
                  fb__saved_lost_buffer(&p->saved) == NULL;
    if (saved == NULL)
        return;
    slot = saved->site->slot == NULL ? "" : saved->site->slot;
    take_saved(p, saved, mine,
               strcmp(slot, "param") == 0    ? FB__RESUMED_PARAMETER
               : strcmp(slot, "buffer") == 0 ? FB__RESUMED_BUFFER
                                             : FB__RESUMED_STATE);
}

static uint32_t find_generator(const fb__table *t)
{
    for (uint32_t i = t->start_count; i < t->count; i++)
        if (fb__is_generator_state(t->nodes[i].site) && t->nodes[i].site->stream != NULL &&
            strcmp(t->nodes[i].site->stream, "torch") == 0)
            return i;
    return FB__NODE_NONE;
}

/* Whether PyTorch's generator stands elsewhere at the end of the step; that alone changes nothing.
 * Then *x and *y say so. */
static bool generator_parts(const fb__node **x, const fb__node **y, const fb__table *whole,
                            const fb__table *part)
{
    const uint32_t i = find_generator(whole), k = find_generator(part);

    if (i == FB__NODE_NONE || k == FB__NODE_NONE)
        return false;
    *x = &whole->nodes[i];
    *y = &part->nodes[k];
    return (*x)->generator != 0 && (*y)->generator != 0 && (*x)->generator != (*y)->generator;
}

/* A number that differs in a step of which nothing says what made it (a loss where no ops are on
 * record) is what something else made otherwise: a batch, a generator, what was not restored. */
static void explain(pair *p, uint64_t step, const fb__table *whole, const fb__table *part,
                    const fb__other_batch *other)
{
    const fb__state *lost_state = fb__saved_lost_state(&p->saved);
    const fb__state *lost_buffer = fb__saved_lost_buffer(&p->saved);
    const fb__node *x, *y;

    if (other->found) {
        const fb_event bare = {.step = whole->step, .micro = other->micro};

        p->out->item = FB__RESUMED_DATA;
        fb_event_name_of(&p->out->name, other->site, &bare);
        p->out->number_a = p->out->is_b ? other->number_whole : other->number_part;
        p->out->number_b = p->out->is_b ? other->number_part : other->number_whole;
        p->out->dtype = FB_DTYPE_NONE;
    }
    p->out->generator_too =
        p->out->item == FB__RESUMED_DATA && generator_parts(&x, &y, whole, part);
    if (other->found)
        return;
    if (p->out->item == FB__RESUMED_EQUAL && p->out->generator_parts == 0 &&
        generator_parts(&x, &y, whole, part))
        p->out->generator_parts = whole->step;
    if (p->out->item == FB__RESUMED_SCHEDULE && lost_state != NULL) /* it holds the rate too */
        take_saved(p, lost_state, NULL, FB__RESUMED_STATE);
    if (p->out->item != FB__RESUMED_OTHER)
        return;
    if (generator_parts(&x, &y, whole, part))
        take(p, whole, x, y, FB__RESUMED_GENERATOR);
    else if (lost_state != NULL && step > 1)
        take_saved(p, lost_state, NULL, FB__RESUMED_STATE);
    else if (lost_buffer != NULL)
        take_saved(p, lost_buffer, NULL, FB__RESUMED_BUFFER);
}

/* A first step of the resumed run. What the other did before it wrote the checkpoint, what this one
 * read to pass it over, what it did before its training began, and gradients that it has none of
 * yet to zero, are no part of what both do: that is counted from the end of the step. */
static fb_status load_first(pair *p, uint64_t step, fb__table *whole, fb__table *part,
                            uint64_t behind, uint64_t passed_over, fb_error *err)
{
    fb__groups x = {0}, y = {0};
    const uint64_t at = p->out->from + step;
    fb_status status = fb__groups_read(&x, p->whole, at, behind, err);

    if (status == FB_OK)
        status = fb__groups_read(&y, p->part, step, passed_over, err);
    if (status == FB_OK)
        status = fb__table_load_end(whole, p->whole, &p->whole_start, at, &x, &y, err);
    if (status == FB_OK)
        status = fb__table_load_end(part, p->part, &p->part_start, step, &y, &x, err);
    fb__groups_free(&x);
    fb__groups_free(&y);
    return status;
}

static fb_status load_step(pair *p, uint64_t step, fb__table *whole, fb__table *part,
                           fb__other_batch *other, fb_error *err)
{
    const uint64_t at = p->out->from + step;
    const uint64_t behind = step == 1 && p->saved.step == at ? p->saved.last : 0;
    fb_status status = fb__other_batch_find(other, &(fb__reading){p->whole, at, behind},
                                            &(fb__reading){.trace = p->part, .step = step}, err);

    if (status == FB_OK && p->saved.found && step <= FIRST_STEPS)
        return load_first(p, step, whole, part, behind, step == 1 ? other->passed_over : 0, err);
    if (status == FB_OK)
        status = fb__table_load(whole, p->whole, &p->whole_start, at, err);
    if (status == FB_OK)
        status = fb__table_load(part, p->part, &p->part_start, step, err);
    return status;
}

static fb_status compare_step(pair *p, uint64_t step, fb_error *err)
{
    fb__table whole = {.trace = NULL}, part = {.trace = NULL};
    fb__other_batch other;
    bool *differs = NULL;
    fb_status status;

    if (step == 0) {
        status = fb__table_load(&whole, p->whole, &p->whole_start, p->out->from, err);
        if (status == FB_OK)
            compare_start(p, &whole);
        fb__table_free(&whole);
        return status;
    }
    status = load_step(p, step, &whole, &part, &other, err);
    if (status == FB_OK) {
        p->out->compared += other.compared;
        differs = calloc((size_t)part.count + 1, sizeof *differs);
        if (differs == NULL)
            status = fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "comparing steps: out of memory");
    }
    if (differs != NULL) {
        compare_nodes(p, &whole, &part, differs);
        explain(p, step, &whole, &part, &other);
        p->out->steps += p->out->item == FB__RESUMED_EQUAL;
    }
    free(differs);
    fb__table_free(&whole);
    fb__table_free(&part);
    return status;
}

/* What both have learned, where all that was compared is equal and both end with the same step. */
static fb_status compare_ends(pair *p, fb_error *err)
{
    fb__resumed *out = p->out;
    fb__resume_difference d;
    fb_status status;

    if (!out->found || out->item != FB__RESUMED_EQUAL ||
        out->from + fb_trace_get_info(p->part)->last_step != fb_trace_get_info(p->whole)->last_step)
        return FB_OK;
    status = fb__ends_compare(&d, out->is_b ? p->whole : p->part, out->is_b ? p->part : p->whole,
                              out->is_b, err);
    if (status != FB_OK || !d.found)
        return status;
    out->item = FB__RESUMED_END;
    out->name = d.name;
    out->number_a = d.number_a;
    out->number_b = d.number_b;
    out->dtype = d.dtype;
    out->steps -= out->steps > 0; /* the step of the end is not equal */
    return FB_OK;
}

static fb_status compare(pair *p, fb_error *err)
{
    const uint64_t last_whole = fb_trace_get_info(p->whole)->last_step;
    const uint64_t last_part = fb_trace_get_info(p->part)->last_step;
    fb_status status = fb__table_load(&p->part_start, p->part, NULL, 0, err);

    if (status == FB_OK)
        status = fb__table_load(&p->whole_start, p->whole, NULL, 0, err);
    if (status == FB_OK)
        status = fb__saved_find(&p->saved, p->whole, p->part, err);
    p->out->found = p->saved.found;
    p->out->from = p->saved.from;
    if (status == FB_OK && !p->out->found && p->part_start.start_count > 0)
        status = find_step(p, err);
    if (status == FB_OK && p->out->found)
        compare_saved(p);
    for (uint64_t step = 0; status == FB_OK && p->out->found && p->out->item == FB__RESUMED_EQUAL &&
                            step <= last_part && p->out->from + step <= last_whole;
         step++)
        status = compare_step(p, step, err);
    if (status == FB_OK)
        status = compare_ends(p, err);
    fb__saved_free(&p->saved);
    fb__table_free(&p->part_start);
    fb__table_free(&p->whole_start);
    return status;
}

fb_status fb__resumed_compare(fb__resumed *out, fb_trace *a, fb_trace *b, fb_error *err)
{
    bool equal = false; /* then both have loaded the same, or nothing */
    fb_status status = fb__first_steps_equal(&equal, a, b, err);

    *out = (fb__resumed){.found = false};
    for (int side = 1; side >= 0 && status == FB_OK && !equal && !out->found; side--) {
        pair p = {.whole = side == 1 ? a : b, .part = side == 1 ? b : a, .out = out};
        bool loaded = false;

        out->is_b = side == 1;
        status = has_loaded(&loaded, p.part, err);
        out->loaded = loaded;
        if (status == FB_OK && loaded)
            status = compare(&p, err);
    }
    return status;
}

/* --- Steps that the caller lays beside each other --------------------------------------------- */

/* What both are before the first step to compare: parameters and states of the optimizer. */
static fb_status compare_before(pair *p, uint64_t step, fb_error *err)
{
    fb__table whole = {.trace = NULL}, part = {.trace = NULL};
    fb_status status = fb__table_load(&whole, p->whole, &p->whole_start, p->out->from + step, err);

    if (status == FB_OK)
        status = fb__table_load(&part, p->part, &p->part_start, step, err);
    for (uint32_t i = step == 0 ? 0 : part.start_count;
         status == FB_OK && i < (step == 0 ? part.start_count : part.count) &&
         p->out->item == FB__RESUMED_EQUAL;
         i++) {
        const fb__node *y = &part.nodes[i];
        uint32_t at;

        if (y->site->kind != FB_KIND_PARAM || y->site->path == NULL)
            continue;
        at = p->out->from + step == 0 ? fb__table_find_param(&whole, y->site->path)
                                      : fb__table_find(&whole, y->key);
        if (at != FB__NODE_NONE && !is_equal(&whole.nodes[at], y))
            take(p, &whole, &whole.nodes[at], y,
                 fb__node_is_param(y) ? FB__RESUMED_PARAMETER : FB__RESUMED_STATE);
    }
    if (status == FB_OK && step == 0 && p->out->from > 0)
        compare_start(p, &whole);
    fb__table_free(&whole);
    fb__table_free(&part);
    return status;
}

static fb_status check_step(fb_trace *t, uint64_t step, const char *name, fb_error *err)
{
    const fb_trace_info *info = fb_trace_get_info(t);

    if (info->steps > 0 && step >= info->first_step && step <= info->last_step)
        return FB_OK;
    return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                    "no step %llu to align: %s has steps %llu to %llu", (unsigned long long)step,
                    name, (unsigned long long)info->first_step,
                    (unsigned long long)info->last_step);
}

fb_status fb__shifted_compare(fb__resumed *out, fb_trace *a, fb_trace *b, uint64_t step_a,
                              uint64_t step_b, fb_error *err)
{
    const bool is_b = step_a >= step_b;
    const uint64_t begin = is_b ? step_b : step_a;
    pair p = {.whole = is_b ? a : b, .part = is_b ? b : a, .out = out};
    fb_status status = check_step(a, step_a, "a", err);

    *out = (fb__resumed){
        .found = true, .is_b = is_b, .from = is_b ? step_a - step_b : step_b - step_a};
    if (status == FB_OK)
        status = check_step(b, step_b, "b", err);
    if (status == FB_OK)
        status = has_loaded(&out->loaded, p.part, err);
    if (status == FB_OK)
        status = fb__table_load(&p.part_start, p.part, NULL, 0, err);
    if (status == FB_OK)
        status = fb__table_load(&p.whole_start, p.whole, NULL, 0, err);
    if (status == FB_OK)
        status = compare_before(&p, begin - 1, err);
    for (uint64_t step = begin; status == FB_OK && out->item == FB__RESUMED_EQUAL &&
                                step <= fb_trace_get_info(p.part)->last_step &&
                                out->from + step <= fb_trace_get_info(p.whole)->last_step;
         step++)
        status = compare_step(&p, step, err);
    if (status == FB_OK)
        status = compare_ends(&p, err);
    fb__table_free(&p.part_start);
    fb__table_free(&p.whole_start);
    return status;
}
