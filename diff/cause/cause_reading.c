/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_reading.c - causes in which part of its data a recorded program reads, where it cuts
 * batches by itself: other rows, more of them, other tokens, places that are drawn from another
 * range.
 */
#include <inttypes.h>
#include <string.h>

#include "diff/cause/evidence.h"

enum { NEAR = 4096 };

static bool is_outside(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && fb__text(site->path)[0] == '\0' &&
           (site->phase == FB_PHASE_INIT || site->phase == FB_PHASE_FORWARD);
}

static bool is_embedding(const fb_site *site)
{
    return fb__op_is(site, "embedding");
}

static void say_fix(fb_diff_cause *out)
{
    fb__say_fix(out, "compare how the batch is cut out of the data: first row, length, step");
}

/* --- Rows ------------------------------------------------------------------------------------- */

static bool is_row_pick(const fb_site *site)
{
    return is_outside(site) && (fb__op_is(site, "index") || fb__op_is(site, "index_select"));
}

static bool is_pick_or_module(const fb_site *site)
{
    return is_row_pick(site) || fb__text(site->path)[0] != '\0';
}

/* Whether the events are rows of one table, of which the two sides take another number. */
static bool is_other_height(const fb_site *x, const fb_site *y)
{
    return x->rank > 0 && x->rank == y->rank && x->dtype == y->dtype &&
           x->shape[0] != y->shape[0] &&
           memcmp(x->shape + 1, y->shape + 1, (x->rank - 1) * sizeof x->shape[0]) == 0;
}

/* Signature: rows are picked out of the data by an index, and one run picks more of them. */
bool fb__rule_row_count(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const bool index = fb__is_pair(c) && strcmp(fb__text(a->site->slot), "in1") == 0;

    if (!fb__is_pair(c) || !is_row_pick(a->site) || !is_other_height(a->site, b->site))
        return false;
    fb__say(out, "%" PRIu64 " | %" PRIu64 " rows are read (%s%s)", a->site->shape[0],
            b->site->shape[0], fb__text(a->site->op), index ? ", the numbers of the rows" : "");
    fb__say_fix(out, "compare the size of the batches, what is cut off the data, and how it is "
                     "split");
    return true;
}

/* The input whose place in its memory differs: data, if it was made outside of all modules and is
 * no parameter. */
static bool is_data(const fb__case *c, const char *argument)
{
    const fb__step_event *e = c->culprit->a;
    const uint32_t k = (uint32_t)(argument[2] - '0');
    const fb_site *site;

    if (strncmp(argument, "in", 2) != 0 || argument[3] != '.' || k >= e->input_count)
        return strncmp(argument, "in", 2) == 0 && e->input_count == 0;
    site = fb__input_site(c, e, k);
    if (site == NULL)
        return true;
    return site->kind == FB_KIND_TENSOR && fb__text(site->path)[0] == '\0' &&
           (!fb__is_real(site->dtype) || site->phase == FB_PHASE_INIT ||
            strncmp(fb__text(site->slot), "in", 2) == 0);
}

/* Whether a module begins with what it was given: it reads parameters beside it, and nothing that a
 * module has made. */
static bool is_given(const fb__case *c)
{
    const fb__step_event *e = c->culprit->a;
    bool parameter = false;

    for (uint32_t k = 0; k < e->input_count; k++) {
        const fb_site *site = fb__input_site(c, e, k);

        if (site == NULL || (site->kind == FB_KIND_TENSOR && fb__text(site->path)[0] != '\0'))
            return false;
        parameter |= site->kind == FB_KIND_PARAM;
    }
    return parameter;
}

/* Signature: an op reads another part of the same tensor of data; or an index that picks rows of
 * data is counted from elsewhere. */
bool fb__rule_other_rows(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *reader;
    fb__argument_pair p;

    if (!fb__is_pair(c) || e->site->kind != FB_KIND_TENSOR)
        return false;
    /* What a module cuts out of what it was given is a matter of the module, but for the first of
     * what the program has cut out of its data and gives it. */
    if ((is_outside(e->site) || is_embedding(e->site) || is_given(c)) &&
        fb__other_offset(&p, c->culprit->a->site, c->culprit->b->site) && is_data(c, p.name)) {
        fb__say(out, "%s (%s) reads another part of the same data: from element %s | %s on",
                fb__place_of(e), fb__text(e->site->op), p.a, p.b);
        say_fix(out);
        return true;
    }
    if (!is_outside(e->site) || !fb__is_integer(e->site->dtype) ||
        !fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        return false;
    reader = fb__reader(c, e, is_pick_or_module, NEAR);
    if (reader == NULL || !is_row_pick(reader->site))
        return false;
    fb__say(out, "other rows of the data are read: %s with %s %s | %s", fb__text(e->site->op),
            p.name, p.a, p.b);
    say_fix(out);
    return true;
}

/* --- Ranges ----------------------------------------------------------------------------------- */

static bool is_any_tensor(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR;
}

/* Whether a run calls this op with this argument anywhere up to a step. */
static bool calls_with(fb_trace *trace, uint64_t to, const char *op, const char *name,
                       const char *value)
{
    const fb_event *e = NULL;
    char own[64];

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return false;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= to) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site != NULL && site->kind == FB_KIND_TENSOR && strcmp(fb__text(site->op), op) == 0 &&
            fb__argument(own, sizeof own, site, name) && strcmp(own, value) == 0)
            return true;
    }
    return false;
}

/* Two ranges that both runs draw from are two draws, of which one run has one more. */
static bool is_range_of_both(const fb__case *c, const char *op, const fb__argument_pair *p)
{
    return calls_with(c->pair->b.trace, c->pair->b.step, op, p->name, p->a) &&
           calls_with(c->pair->a.trace, c->pair->a.step, op, p->name, p->b);
}

/* Signature: whole numbers are drawn from one state of the generator, within other bounds. */
bool fb__rule_other_range(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const fb__step_event *x, *y;
    fb__argument_pair p;

    if (!fb__is_pair(c) || a->site->kind != FB_KIND_DRAW || a->stream_key != b->stream_key ||
        a->counter != b->counter)
        return false;
    x = fb__reader(c, a, is_any_tensor, 4);
    y = fb__reader(c, b, is_any_tensor, 4);
    if (x == NULL || y == NULL || !fb__is_integer(x->site->dtype) ||
        !fb__other_argument(&p, x->site, y->site) ||
        (strcmp(p.name, "high") != 0 && strcmp(p.name, "low") != 0 && strcmp(p.name, "to") != 0 &&
         strcmp(p.name, "from") != 0) ||
        is_range_of_both(c, fb__text(x->site->op), &p))
        return false;
    fb__say(out, "%s draws from another range, %s %s | %s, from one state of the generator",
            fb__text(x->site->op), p.name, p.a, p.b);
    fb__say_fix(out, "compare the bounds: is the data that they stand for of the same length, and "
                     "is the part for tests cut off?");
    return true;
}

/* --- Tokens ----------------------------------------------------------------------------------- */

/* What the other side has as well, and uses elsewhere, is no other data. */
static bool is_own(const fb__step_event *e)
{
    return e != NULL && (e->partner == UINT32_MAX || !e->same_content);
}

/* The table that is looked up with `e`, or with what is made from it; NULL: none is. */
static const fb__step_event *lookup_of(const fb__case *c, const fb__step_event *e)
{
    if (!is_embedding(e->site))
        return fb__is_integer(e->site->dtype) ? fb__reader(c, e, is_embedding, NEAR) : NULL;
    if (e->input_count == 0)
        return strcmp(fb__text(e->site->slot), "in1") == 0 ? e : NULL;
    return fb__is_pair(c) && e->input_count > 1 && c->culprit->b->input_count > 1 &&
                   !fb__is_same_input(c, 1) &&
                   (is_own(fb__input(c, e, 1)) || is_own(fb__input(c, c->culprit->b, 1)))
               ? e
               : NULL;
}

/* Signature: whole numbers that a table is looked up with, and that are no places. */
bool fb__rule_other_tokens(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step_event *table = e->site->kind == FB_KIND_TENSOR ? lookup_of(c, e) : NULL;
    char inputs[FB__INPUTS_TEXT];

    if (table == NULL)
        return false;
    if (table == e && fb__other_inputs(inputs, sizeof inputs, c))
        fb__say(out, "%s looks up other tokens or classes: it %s", fb__place_of(e), inputs);
    else if (table == e)
        fb__say(out, "%s looks up other tokens or classes, which enter from outside",
                fb__place_of(e));
    else if (fb__is_pair(c))
        fb__say(out, "%s looks up other tokens or classes (%s)", fb__place_of(table),
                fb__text(e->site->op));
    else
        fb__say(out, "%s looks up tokens or classes that only %s has changed by %s",
                fb__place_of(table), fb__culprit_side(c), fb__text(e->site->op));
    fb__say_fix(out, "compare what makes them: the vocabulary, how the text is cut and laid out, "
                     "what is replaced");
    return true;
}
