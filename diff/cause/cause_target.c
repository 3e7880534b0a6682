/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_target.c - causes in what the loss of a recorded program is held against.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

static bool is_loss_or_model(const fb_site *site)
{
    return fb__is_loss(site) || fb__op_is(site, "embedding") ||
           (site->phase == FB_PHASE_FORWARD && fb__is_real(site->dtype) && site->rank > 1);
}

static bool is_loss_or_softmax(const fb_site *site)
{
    return fb__is_loss(site) || fb__op_is(site, "_log_softmax");
}

static bool is_forward(fb_phase phase)
{
    return phase == FB_PHASE_FORWARD || phase == FB_PHASE_LOSS;
}

/* --- Targets ---------------------------------------------------------------------------------- */

/* How many targets counted, which the loss op leaves beside its result. */
static bool count_targets(double *n, const fb__step *step, const fb__step_event *e)
{
    const fb__step_event *next = e + 1;
    fb_sketch s;

    if (next >= step->events + step->count || !fb__is_loss(next->site) ||
        strcmp(fb__text(next->site->slot), "out1") != 0 || !fb__sketch(&s, step, next))
        return false;
    *n = s.sum;
    return true;
}

/* Where targets are held against what a part of the model has been cut out of: of the same memory
 * other whole numbers are compared and counted, outside of all modules. */
static bool is_other_cut(const fb__case *c)
{
    static const char *const compares[] = {"ne", "eq", "gt", "ge", "lt", "le", "count_nonzero"};
    const fb__step_event *e = fb__culprit_event(c);
    const fb_site *from = fb__input_site(c, e, 0);
    fb__argument_pair p;

    return fb__is_pair(c) && e->site->kind == FB_KIND_TENSOR &&
           fb__text(e->site->path)[0] == '\0' &&
           fb__is_one_of(fb__text(e->site->op), compares, COUNT_OF(compares)) && from != NULL &&
           fb__is_integer(from->dtype) &&
           fb__other_offset(&p, c->culprit->a->site, c->culprit->b->site);
}

static void say_target(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb__argument_pair p;
    double x, y;

    if (!fb__is_pair(c)) {
        fb__say(out, "only %s moves or changes targets or logits before the loss (%s)",
                fb__culprit_side(c), fb__text(e->site->op));
    } else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site)) {
        fb__say(out, "the loss is computed with %s %s | %s", p.name, p.a, p.b);
    } else if (is_other_cut(c)) {
        (void)fb__other_offset(&p, c->culprit->a->site, c->culprit->b->site);
        fb__say(out, "%s counts other targets: those from element %s | %s of the same tensor on",
                fb__text(e->site->op), p.a, p.b);
    } else if (fb__is_loss(e->site) && count_targets(&x, &c->pair->a, c->culprit->a) &&
               count_targets(&y, &c->pair->b, c->culprit->b) && x != y) {
        fb__say(out, "the loss is over other targets: %.0f | %.0f of them count, logits are equal",
                x, y);
    } else {
        fb__say(out, "the loss is over other targets, or in another order: what the model gives is "
                     "equal");
    }
    fb__say_fix(out, "compare the targets: shifted once, and which index is ignored");
}

/* Integers that the loss reads before anything of the model does. */
static bool is_target(const fb__case *c, const fb__step_event *e)
{
    enum { NEAR = 4096 };
    const fb__step_event *reader;

    if (e->site->kind != FB_KIND_TENSOR ||
        (!fb__is_integer(e->site->dtype) && e->site->dtype != FB_DTYPE_BOOL))
        return false;
    reader = fb__reader(c, e, is_loss_or_model, NEAR);
    return reader != NULL && fb__is_loss(reader->site);
}

/* Logits of other rows than the targets'. */
static bool is_cut(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    return fb__is_pair(c) && fb__op_is(a->site, "_log_softmax") && a->site->rank > 0 &&
           a->site->shape[0] != b->site->shape[0];
}

static const char *const moves[] = {"clone", "copy_", "constant_pad_nd", "cat",
                                    "index", "roll",  "index_select",    "gather",
                                    "stack", "flip",  "slice_copy"};

/* What computes something of what it reads: neither a move nor a factor of all of it. */
static bool is_computing(const fb_site *site)
{
    char number[64];

    return site->kind == FB_KIND_TENSOR &&
           !fb__is_one_of(fb__text(site->op), moves, COUNT_OF(moves)) &&
           !((fb__op_is(site, "mul") || fb__op_is(site, "div")) &&
             fb__argument(number, sizeof number, site, "other"));
}

/* Logits that are cut or shifted on the way from the model to the loss: nothing is computed of them
 * before it. Keys that a product compares with are none. */
static bool is_move(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *reader;

    if (e->site->kind != FB_KIND_TENSOR || fb__text(e->site->path)[0] != '\0' ||
        !fb__is_one_of(fb__text(e->site->op), moves, COUNT_OF(moves)))
        return false;
    reader = fb__reader(c, e, is_computing, 64);
    return reader != NULL && fb__text(reader->site->path)[0] == '\0' &&
           is_loss_or_softmax(reader->site);
}

enum { SITES_MAX = 1 << 18 }; /* of a trace that are looked at */

/* Marks the sites of the step's tensors that differ; a flag for each site of the trace. */
static bool *differing_sites(const fb__step *step)
{
    bool *made = calloc(SITES_MAX, sizeof *made);

    for (size_t i = 0; i < step->count && made != NULL; i++)
        if (!step->events[i].equal && step->events[i].site_number < SITES_MAX)
            made[step->events[i].site_number] = true;
    return made;
}

/* Of tensors made before training begins: whether the loss of the next step reads one that differs,
 * itself or through what is made from it outside of all modules, and no module does. */
static bool is_target_of_next_step(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step *step = fb__step_of(c, e);
    const fb_event *x = NULL;
    bool loss = false, model = false, *before, *now;

    if (e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_INIT ||
        fb_trace_seek(step->trace, step->step + 1, NULL) != FB_OK)
        return false;
    before = differing_sites(step);
    now = calloc(SITES_MAX, sizeof *now);
    while (before != NULL && now != NULL && !model && !loss &&
           fb_trace_next(step->trace, &x, NULL, NULL) == FB_OK && x != NULL &&
           x->step == step->step + 1) {
        const fb_site *site = fb_trace_site(step->trace, x->site);
        bool reads = false;

        for (uint32_t k = 0; site != NULL && k < x->input_count; k++)
            if (x->inputs[k].site < SITES_MAX)
                reads |= x->inputs[k].step == step->step ? before[x->inputs[k].site]
                                                         : now[x->inputs[k].site];
        if (!reads || site == NULL)
            continue;
        /* Without an optimizer the first forward pass belongs to no step, and its backward pass
         * reads it. */
        loss = fb__is_loss(site) && site->phase != FB_PHASE_BACKWARD;
        model = !loss && (fb__text(site->path)[0] != '\0' || site->phase == FB_PHASE_BACKWARD);
        if (x->site < SITES_MAX)
            now[x->site] = true;
    }
    free(before);
    free(now);
    return loss;
}

/* --- Targets of samples ----------------------------------------------------------------------- */

/* What the modules of a run give from a step on, up to its first loss, as one hash; and that loss.
 */
typedef struct given {
    fb_hash model, loss;
    size_t outputs;
    bool found;
} given;

static given given_from(fb_trace *trace, uint64_t step)
{
    const fb_event *e = NULL;
    given g = {0};

    if (fb_trace_seek(trace, step, NULL) != FB_OK)
        return g;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= step + 1) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || site->kind != FB_KIND_TENSOR || site->phase == FB_PHASE_BACKWARD)
            continue;
        if (fb__is_loss(site) && strcmp(fb__text(site->slot), "out") == 0) {
            g.loss = e->hash;
            g.found = true;
            return g;
        }
        if (fb__text(site->path)[0] == '\0' || !fb__is_real(site->dtype) ||
            strcmp(fb__text(site->slot), "out") != 0)
            continue;
        g.model = fb_identity_hash(fb_identity_hash(g.model, e->hash.lo, 0), e->hash.hi, 0);
        g.outputs++;
    }
    return g;
}

/* Whether the culprit is how a batch is put together whose samples are the same. What is done to
 * the whole of the data before that is no matter of targets alone. */
static bool is_making_samples(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step *a = &c->pair->a;
    const char *stack;

    if (e->site->kind == FB_KIND_SAMPLE)
        return fb__is_other_content(c);
    stack = fb__text(fb_trace_stack(fb__step_of(c, e)->trace, e->site_number));
    if (e->site->kind != FB_KIND_TENSOR || fb__text(e->site->path)[0] != '\0' ||
        (strstr(stack, "collate") == NULL && strstr(stack, "__getitem__") == NULL))
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const fb__step_event *x = &a->events[i];

        if (x->site->kind == FB_KIND_SAMPLE && x->partner != UINT32_MAX && !x->same_content)
            return x->count == c->pair->b.events[x->partner].count &&
                   !fb_hash_equal(x->hash, c->pair->b.events[x->partner].hash);
    }
    return false;
}

/* Signature: the same samples have other contents, all that the model gives of the first batch is
 * equal, and its loss is not: what differs are the targets. */
bool fb__rule_sample_target(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    given a, b;

    if (!is_making_samples(c))
        return false;
    a = given_from(c->pair->a.trace, c->pair->a.step);
    b = given_from(c->pair->b.trace, c->pair->b.step);
    if (!a.found || !b.found || a.outputs == 0 || a.outputs != b.outputs ||
        !fb_hash_equal(a.model, b.model) || fb_hash_equal(a.loss, b.loss))
        return false;
    if (e->site->kind == FB_KIND_SAMPLE)
        fb__say(out, "the same samples bring other targets: what the model gives is equal, the "
                     "loss is not");
    else
        fb__say(out,
                "the same samples bring other targets, which are made otherwise (%s): what the "
                "model gives is equal, the loss is not",
                fb__text(e->site->op));
    fb__say_fix(out, "compare how the labels are made and put together: collate_fn, transforms");
    return true;
}

static bool is_pick(const fb_site *site)
{
    return fb__op_is(site, "index") || fb__op_is(site, "gather") || fb__op_is(site, "take");
}

static bool is_pick_or_model(const fb_site *site)
{
    return is_pick(site) || fb__text(site->path)[0] != '\0' || fb__op_is(site, "embedding");
}

static bool is_in_module(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && fb__text(site->path)[0] != '\0';
}

/* What a classifier gives: chances, or their logarithms. */
static bool is_chance(const fb_site *site)
{
    return strstr(fb__text(site->op), "softmax") != NULL || fb__op_is(site, "sigmoid") ||
           fb__op_is(site, "exp") || fb__op_is(site, "log") || fb__op_is(site, "logsumexp");
}

/* Integers that pick the targets' own numbers from what the model gives: a loss written by hand. */
static bool is_picking(const fb__case *c, const fb__step_event *e)
{
    enum { NEAR = 1024 };
    const fb__step_event *reader;
    const fb_site *site;

    /* The place of the largest is a choice, no target. */
    if (fb__op_is(e->site, "argmax") || fb__op_is(e->site, "argmin") ||
        e->site->kind != FB_KIND_TENSOR || !fb__is_integer(e->site->dtype) ||
        fb__text(e->site->path)[0] != '\0')
        return false;
    reader = fb__reader(c, e, is_pick_or_model, NEAR);
    if (reader == NULL || !is_pick(reader->site) || !fb__is_real(reader->site->dtype))
        return false;
    site = fb__input_site(c, reader, 0);
    return site != NULL && fb__is_real(site->dtype) && site->phase == FB_PHASE_FORWARD &&
           fb__origin(c, reader, 0, is_in_module, NULL, 64) != NULL &&
           fb__origin(c, reader, 0, is_chance, NULL, 64) != NULL;
}

/* Weights of classes that one side alone gives to the loss, or that differ, are no matter of its
 * targets. */
static bool is_weighted(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    if (!fb__is_pair(c) || !fb__is_loss(a->site))
        return false;
    return fb__is_weight_of_loss(a) ||
           (a->input_count != b->input_count && a->input_count > 0 && b->input_count > 0);
}

/* Signature: the loss differs, its logits and settings are equal; or integers that it reads. */
bool fb__rule_loss_target(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb__argument_pair p = {.name = ""};

    if (is_target_of_next_step(c)) {
        fb__say(out, "the targets are made otherwise (%s): of what differs only the loss reads it",
                fb__text(e->site->op));
        fb__say_fix(out, "compare the targets: shifted once, and which index is ignored");
        return true;
    }
    /* Without an optimizer the first forward pass stands before the first step. */
    if (!is_forward(e->site->phase) && e->site->phase != FB_PHASE_INIT)
        return false;
    if (fb__is_pair(c) && fb__is_loss(e->site))
        (void)fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site);
    if (is_weighted(c) || (p.name[0] != '\0' && strcmp(p.name, "ignore_index") != 0 &&
                           strcmp(p.name, "reduction") != 0))
        return false; /* the loss itself is another one */
    if (!is_target(c, e) && !is_picking(c, e) && !is_cut(c) && !is_move(c, e) && !is_other_cut(c) &&
        !(fb__is_pair(c) && fb__is_loss(e->site) && strcmp(p.name, "reduction") != 0))
        return false;
    say_target(out, c);
    return true;
}
