/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_mask.c - causes in what is hidden and where things stand: masks and positions.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

static const char *const mask_ops[] = {
    "masked_fill",  "masked_fill_",   "where",          "tril",        "tril_",
    "triu",         "triu_",          "bitwise_not",    "logical_not", "bitwise_not_",
    "tril_indices", "triu_indices",   "logical_and",    "bitwise_and", "logical_or",
    "bitwise_or",   "masked_scatter", "_masked_softmax"};
/* Arithmetic of indices, before they are compared. */
static const char *const index_ops[] = {"add", "sub",    "rsub",         "mul",      "neg",
                                        "abs", "arange", "floor_divide", "remainder"};
static const char *const position_ops[] = {"arange", "flip", "roll", "cumsum", "outer", "linspace"};

static bool reads_a_mask(const fb_site *site)
{
    return fb__op_is(site, "masked_fill") || fb__op_is(site, "where") ||
           fb__op_is(site, "_softmax") || strstr(fb__text(site->op), "attention") != NULL;
}

static bool is_embedding(const fb_site *site)
{
    return fb__op_is(site, "embedding") || fb__op_is(site, "sin") || fb__op_is(site, "cos");
}

static bool is_softmax(const fb_site *site)
{
    return fb__op_is(site, "_softmax");
}

/* A contrastive loss hides what is like itself from the softmax of its loss. */
static bool is_any_softmax(const fb_site *site)
{
    return is_softmax(site) || fb__op_is(site, "_log_softmax");
}

static bool is_optimizing(fb_phase phase)
{
    return phase == FB_PHASE_OPTIMIZER || phase == FB_PHASE_BACKWARD;
}

/* How many elements are hidden: infinite before the softmax, zero behind it. */
static bool count_hidden(uint64_t *n, const fb__step *step, const fb__step_event *e)
{
    fb_sketch s;

    if (e == NULL || !fb__sketch(&s, step, e))
        return false;
    *n = s.infinite > 0 ? s.infinite : s.zero;
    return true;
}

static void say_mask(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb__argument_pair p;
    uint64_t x, y;

    if (!fb__is_pair(c)) {
        fb__say(out, "only %s has the mask's op %s %s", fb__culprit_side(c), fb__text(e->site->op),
                fb__where_of(e).text);
    } else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site)) {
        fb__say(out, "the mask %s is made with %s %s | %s", fb__where_of(e).text, p.name, p.a, p.b);
    } else if (count_hidden(&x, &c->pair->a, c->culprit->a) &&
               count_hidden(&y, &c->pair->b, c->culprit->b) && x != y) {
        fb__say(out, "the mask %s hides %" PRIu64 " | %" PRIu64 " elements", fb__where_of(e).text,
                x, y);
    } else {
        fb__say(out, "the mask %s is another one (%s)", fb__where_of(e).text,
                fb__text(e->site->op));
    }
    fb__say_fix(out, "compare how the two mask %s: what is visible, the diagonal, the fill value",
                fb__where_of(e).text);
}

static void say_position(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb__argument_pair p;

    if (!fb__is_pair(c))
        fb__say(out, "only %s has %s among the positions that %s uses", fb__culprit_side(c),
                fb__text(e->site->op), fb__place_of(e));
    else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        fb__say(out, "the positions %s are made with %s %s | %s", fb__where_of(e).text, p.name, p.a,
                p.b);
    else
        fb__say(out, "%s uses other positions in the two runs (%s)", fb__place_of(e),
                fb__text(e->site->op));
    fb__say_fix(out, "compare the indices that go into %s: first position, order, step",
                fb__place_of(e));
}

static bool is_mask_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return strstr(dot == NULL ? path : dot, "mask") != NULL;
}

/* Numbers that a softmax makes zero: minus infinity, or as good. */
static bool hides(const fb_sketch *s)
{
    return s->infinite > 0 || s->min <= -9999;
}

static bool has_hidden(const fb__step *step, const fb__step_event *e)
{
    fb_sketch s;

    return e != NULL && fb__sketch(&s, step, e) && hides(&s);
}

static bool has_infinite(const fb__step *step, const fb__step_event *e)
{
    fb_sketch s;

    return fb__sketch(&s, step, e) && s.infinite > 0;
}

/* Zeros and ones, or zeros and what hides: a mask that is added or multiplied. */
static bool is_additive(const fb__step *step, const fb__step_event *e)
{
    fb_sketch s;

    if (e == NULL || !fb__sketch(&s, step, e) || s.nan > 0 || s.elements < 2)
        return false;
    return s.zero > 0 && s.zero < s.elements &&
           (hides(&s) ? s.max <= 0
                      : s.min == 0 && s.max == 1 && s.sum == (double)(s.elements - s.zero));
}

/* Scores that somebody hides some of on one side or on both, and the mask that does it. Scores that
 * differ by themselves had been made otherwise before. */
static bool has_hidden_scores(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const fb__step_event *softmax = fb__reader(c, e, is_any_softmax, 256);
    const bool joins = fb__op_is(e->site, "add") || fb__op_is(e->site, "baddbmm") ||
                       fb__op_is(e->site, "fill") || fb__op_is(e->site, "index_put") ||
                       fb__op_is(e->site, "copy");
    fb_sketch scores;

    if (is_any_softmax(e->site))
        return fb__is_pair(c) && has_infinite(&c->pair->a, a) != has_infinite(&c->pair->b, b);
    if (softmax == NULL)
        return false;
    if (is_additive(&c->pair->a, a) || is_additive(&c->pair->b, b))
        return fb__input_sketch(&scores, c, softmax, 0);
    return joins && (has_hidden(&c->pair->a, a) || has_hidden(&c->pair->b, b));
}

static bool reads_a_choice(const fb_site *site)
{
    return reads_a_mask(site) || is_embedding(site) || fb__is_loss(site);
}

/* Whole numbers that are compared, and hide: those of an embedding are positions or data, those of
 * a loss targets. */
static bool makes_a_mask(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *reader = fb__reader(c, e, reads_a_choice, 4096);

    return reader != NULL && reads_a_mask(reader->site) &&
           (fb__is_real(reader->site->dtype) || reader->site->dtype == FB_DTYPE_BOOL);
}

/* An op by a number that hides what it is added to: (1 - mask) * -3.4e38. */
static bool is_hiding_factor(const fb_site *site)
{
    char number[64];

    return site != NULL && fb__op_is(site, "mul") &&
           fb__argument(number, sizeof number, site, "other") && strtod(number, NULL) <= -9999;
}

/* What becomes such a factor, or is added to what a softmax reads as one. */
static bool feeds_hiding_factor(const fb__case *c, const fb__step_event *e)
{
    if (!fb__is_real(e->site->dtype))
        return false;
    if (fb__op_is(e->site, "add"))
        for (uint32_t k = 0; k < e->input_count; k++)
            if (is_hiding_factor(fb__input_site(c, e, k)))
                return true;
    return is_hiding_factor(e->site) || fb__reader(c, e, is_hiding_factor, 8) != NULL;
}

static const char *const fillers[] = {"full", "full_like", "zeros",         "zeros_like",
                                      "ones", "ones_like", "scalar_tensor", "fill_"};

static bool is_fill(const fb_site *site)
{
    return fb__op_is(site, "masked_fill") || fb__op_is(site, "where");
}

static bool reads(const fb__case *c, const fb__step_event *reader, const fb__step_event *e)
{
    for (uint32_t k = 0; k < reader->input_count; k++)
        if (fb__input(c, reader, k) == e)
            return true;
    return false;
}

/* What stands in the hidden places of the scores of a softmax. */
static bool is_filler(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *fill;

    if (!fb__is_one_of(fb__text(e->site->op), fillers, COUNT_OF(fillers)))
        return false;
    fill = fb__reader(c, e, is_fill, 256);
    return fill != NULL && reads(c, fill, e) && fb__reader(c, fill, is_any_softmax, 256) != NULL;
}

/* A number that hides, written into scores: fill_ with -inf. */
static bool is_hiding_write(const fb__step_event *e)
{
    char value[64];

    return e != NULL && e->partner == UINT32_MAX && fb__op_is(e->site, "fill") &&
           fb__argument(value, sizeof value, e->site, "value") &&
           (strcmp(value, "\"-inf\"") == 0 || strtod(value, NULL) <= -9999);
}

static bool reads_hiding_write(const fb__case *c, const fb__step_event *e)
{
    for (uint32_t k = 0; e != NULL && k < e->input_count; k++)
        if (is_hiding_write(fb__input(c, e, k)))
            return true;
    return false;
}

static bool is_mask(const fb__case *c, const fb__step_event *e)
{
    fb__argument_pair p;

    if (is_filler(c, e) || (is_any_softmax(e->site) && (reads_hiding_write(c, c->culprit->a) ||
                                                        reads_hiding_write(c, c->culprit->b))))
        return true;

    /* Where whole numbers are filled they are labels or tokens. */
    if (fb__is_one_of(fb__text(e->site->op), mask_ops, COUNT_OF(mask_ops)) &&
        (!fb__is_integer(e->site->dtype) || makes_a_mask(c, e)))
        return true;
    if (e->site->kind == FB_KIND_PARAM)
        return e->site->dtype == FB_DTYPE_BOOL || is_mask_name(fb__text(e->site->path));
    if (fb__is_pair(c) && strstr(fb__text(e->site->op), "attention") != NULL)
        return c->culprit->a->input_count != c->culprit->b->input_count ||
               (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site) &&
                (strcmp(p.name, "is_causal") == 0 || strstr(p.name, "mask") != NULL ||
                 strstr(p.name, "window") != NULL));
    if (e->site->dtype == FB_DTYPE_BOOL)
        return fb__reader(c, e, reads_a_mask, 4096) != NULL;
    if (fb__is_integer(e->site->dtype))
        return fb__is_one_of(fb__text(e->site->op), index_ops, COUNT_OF(index_ops)) &&
               makes_a_mask(c, e);
    return feeds_hiding_factor(c, e) || has_hidden_scores(c, e);
}

static bool counts_places(const fb_site *site)
{
    return fb__is_one_of(fb__text(site->op), position_ops, COUNT_OF(position_ops));
}

/* Whole numbers that come from counting are places; those that come from elsewhere, tokens or
 * classes, are data. */
static bool is_counted(const fb__case *c, const fb__step_event *e)
{
    return e != NULL && (counts_places(e->site) || fb__ancestor(c, e, counts_places, 64) != NULL);
}

static bool is_position(const fb__case *c, const fb__step_event *e)
{
    enum { NEAR = 4096 };
    const fb__step_event *index = fb__op_is(e->site, "embedding") ? fb__input(c, e, 1) : NULL;

    if (index != NULL && fb__is_integer(index->site->dtype) && index->partner == UINT32_MAX)
        return is_counted(c, index); /* looked up with what the other side does not have */
    if (e->site->kind != FB_KIND_TENSOR ||
        (!fb__is_integer(e->site->dtype) && !counts_places(e->site)) || !is_counted(c, e))
        return false;
    return fb__reader(c, e, is_embedding, NEAR) != NULL;
}

/* Signature: booleans, or ops that hide elements; integers that an embedding looks up. */
bool fb__rule_mask(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);

    if (!fb__is_tensor(e) || is_optimizing(e->site->phase))
        return false;
    if (is_mask(c, e))
        say_mask(out, c);
    else if (is_position(c, e))
        say_position(out, c);
    else
        return false;
    return true;
}

/* The same of a buffer or of what it is made from, before the rules of initialization see it. */
bool fb__rule_mask_at_init(fb_diff_cause *out, const fb__case *c)
{
    return fb__culprit_event(c)->site->phase == FB_PHASE_INIT && fb__rule_mask(out, c);
}
