/* SPDX-License-Identifier: Apache-2.0
 *
 * picture_place.c - the first differing step of a picture: its ops, and the events around the first
 * difference.
 */
#include <stdio.h>
#include <string.h>

#include "diff/align/align.h"
#include "diff/report/picture_gathering.h"

typedef fb__picture_gathering gathering;

bool fb__picture_differs(const fb__step_event *e)
{
    return e->partner == UINT32_MAX || !e->equal;
}

/* --- Ops -------------------------------------------------------------------------------------- */

static void count_op(gathering *g, const fb__step_event *e)
{
    fb_picture *out = g->out;
    const char *op = e->site->op != NULL ? e->site->op : "";
    fb_picture_op *found = NULL;

    for (size_t i = 0; i < out->op_count && found == NULL; i++)
        if (out->ops[i].phase == e->site->phase &&
            strncmp(out->ops[i].op, op, sizeof out->ops[i].op - 1) == 0)
            found = &out->ops[i];
    if (found == NULL && out->op_count == FB_PICTURE_OPS_MAX) {
        out->ops_left_out++;
        return;
    }
    if (found == NULL) {
        found = &out->ops[out->op_count++];
        found->phase = e->site->phase;
        (void)snprintf(found->op, sizeof found->op, "%s", op);
    }
    found->events++;
    found->differing += fb__picture_differs(e);
}

/* --- Rows ------------------------------------------------------------------------------------- */

static const fb__step_event *find_number(const fb__step *step, uint64_t number)
{
    size_t low = 0, high = step->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;

        if (step->events[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < step->count && step->events[low].number == number ? &step->events[low] : NULL;
}

/* Whether one of the inputs is an event of this step that differs; index is that of side a. */
static bool inherits(const fb__step_pair *pair, const fb__step *own, const fb__key_index *index,
                     const fb__step_event *e)
{
    for (uint32_t i = 0; i < e->input_count; i++) {
        const uint32_t at = fb__key_index_find(index, &pair->a, own->inputs[e->first_input + i]);

        if (at != UINT32_MAX && fb__picture_differs(&pair->a.events[at]))
            return true;
    }
    return false;
}

static void add_row(gathering *g, const fb__step_pair *pair, const fb__key_index *index,
                    const fb__step_event *e, bool in_b)
{
    const fb__step *own = in_b ? &pair->b : &pair->a;
    const fb_diff_first *first = &g->report->first;
    fb_picture_row *row = &g->out->rows[g->out->row_count++];
    const fb__step_event *other =
        e->partner == UINT32_MAX ? NULL : &(in_b ? &pair->a : &pair->b)->events[e->partner];

    fb__step_event_name(&row->name, own, e);
    row->number_a = in_b ? UINT64_MAX : e->number;
    row->number_b = in_b ? e->number : other != NULL ? other->number : UINT64_MAX;
    row->mark = other == NULL      ? (in_b ? FB_PICTURE_ROW_ONLY_B : FB_PICTURE_ROW_ONLY_A)
                : e->equal         ? FB_PICTURE_ROW_EQUAL
                : !e->same_content ? FB_PICTURE_ROW_DIFFERS
                                   : FB_PICTURE_ROW_INPUTS;
    row->first = in_b ? row->number_b == first->number_b && first->what == FB_DIFF_ONLY_B
                      : row->number_a == first->number_a;
    row->inherits = fb__picture_differs(e) && !row->first && inherits(pair, own, index, e);
    fb__step_event_text(in_b ? row->b : row->a, sizeof row->a, own, e);
    if (other != NULL && !e->same_content)
        fb__step_event_text(row->b, sizeof row->b, &pair->b, other);
}

/* A row of the first difference where it is no event of the step that is compared with others: what
 * was learned by the end. */
static void tell_first(const gathering *g, fb_picture_row *row)
{
    const fb_diff_first *first = &g->report->first;

    row->first = true;
    row->number_a = first->number_a;
    row->number_b = first->number_b;
    row->mark = first->what == FB_DIFF_ONLY_A   ? FB_PICTURE_ROW_ONLY_A
                : first->what == FB_DIFF_ONLY_B ? FB_PICTURE_ROW_ONLY_B
                                                : FB_PICTURE_ROW_DIFFERS;
    (void)snprintf(row->a, sizeof row->a, "%.*s", (int)sizeof row->a - 1, first->content_a);
    (void)snprintf(row->b, sizeof row->b, "%.*s", (int)sizeof row->b - 1, first->content_b);
}

/* Events of a, or (only_b) of b, in front of the first difference: they are in the file. */
static fb_status rows_before(gathering *g, const fb__step_pair *pair, const fb__key_index *index,
                             bool in_b, fb_error *err)
{
    const fb_diff_first *first = &g->report->first;
    const fb__step *own = in_b ? &pair->b : &pair->a;
    const uint64_t at = in_b ? first->number_b : first->number_a;
    const uint64_t from = at > FB_PICTURE_BEFORE ? at - FB_PICTURE_BEFORE : 0;
    fb_status status = fb_trace_seek_event(own->trace, from, err);

    while (status == FB_OK) {
        const fb_event *e;
        uint64_t number = 0;

        status = fb_trace_next(own->trace, &e, &number, err);
        if (status != FB_OK || e == NULL || number > at)
            break;
        const fb_site *site = fb_trace_site(own->trace, e->site);
        if (e->step != own->step || site == NULL)
            continue;
        const fb__step_event *held = find_number(own, number);
        if (held != NULL && number == at)
            break; /* the rows behind begin with it */
        if (held != NULL) {
            add_row(g, pair, index, held, in_b);
            continue;
        }
        fb_picture_row *row = &g->out->rows[g->out->row_count++];
        fb_event_name_of(&row->name, site, e);
        row->number_a = in_b ? UINT64_MAX : number;
        row->number_b = in_b ? number : UINT64_MAX;
        fb_event_content_text(row->a, sizeof row->a, site, e);
        if (number == at)
            tell_first(g, row);
    }
    return status;
}

/* The first difference and what follows; events that only b has stand where b has them. */
static void rows_after(gathering *g, const fb__step_pair *pair, const fb__key_index *index)
{
    const fb_diff_first *first = &g->report->first;
    size_t i = 0, j = 0;

    if (first->what == FB_DIFF_ONLY_B) {
        while (j < pair->b.count && pair->b.events[j].number < first->number_b)
            j++;
        for (size_t k = j; k < pair->b.count && i == 0; k++)
            if (pair->b.events[k].partner != UINT32_MAX)
                i = pair->b.events[k].partner;
    } else {
        while (i < pair->a.count && pair->a.events[i].number < first->number_a)
            i++;
        j = SIZE_MAX;
    }
    for (; i < pair->a.count && g->out->row_count < FB_PICTURE_ROWS_MAX; i++) {
        const fb__step_event *e = &pair->a.events[i];

        if (e->partner != UINT32_MAX) {
            for (; j != SIZE_MAX && j < e->partner && g->out->row_count < FB_PICTURE_ROWS_MAX; j++)
                if (pair->b.events[j].partner == UINT32_MAX)
                    add_row(g, pair, index, &pair->b.events[j], true);
            if (j == SIZE_MAX || j < e->partner)
                j = e->partner;
            j += j == e->partner;
        }
        if (g->out->row_count < FB_PICTURE_ROWS_MAX)
            add_row(g, pair, index, e, false);
    }
}

fb_status fb__picture_place(gathering *g, fb_error *err)
{
    const bool in_b = g->report->first.what == FB_DIFF_ONLY_B;
    fb__key_index index = {0};
    fb__step_pair pair;
    fb_status status = fb__picture_load_step(&pair, g, g->report->first.name.step, err);

    if (status == FB_OK)
        status = fb__key_index_make(&index, &pair.a, err);
    if (status == FB_OK) {
        for (size_t i = 0; i < pair.a.count; i++)
            count_op(g, &pair.a.events[i]);
        for (size_t i = 0; i < pair.b.count; i++)
            if (pair.b.events[i].partner == UINT32_MAX)
                count_op(g, &pair.b.events[i]);
        status = rows_before(g, &pair, &index, in_b, err);
    }
    if (status == FB_OK)
        rows_after(g, &pair, &index);
    if (status == FB_OK)
        status = fb__picture_draws(g, &pair, err);
    fb__key_index_free(&index);
    fb__step_pair_free(&pair);
    return status;
}
