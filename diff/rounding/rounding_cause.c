/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_cause.c - what made a difference that rounding does not explain, by its shape: a factor,
 * a part of the parameter itself, a cast; else by the operation that it is in.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "diff/cause/causes.h"
#include "diff/rounding/rounding.h"

typedef struct culprit {
    const fb__pairing *p;
    const fb__judged *at;
    const fb__node *a, *b;
    char where_a[256], where_b[256];
} culprit;

static const char *text_of(const char *text)
{
    return text == NULL ? "" : text;
}

static void describe(char out[256], const fb__node *n)
{
    const char *path = text_of(n->site->path), *op = text_of(n->site->op);

    if (op[0] != '\0' && path[0] != '\0')
        (void)snprintf(out, 256, "%.150s (%.80s)", path, op);
    else
        (void)snprintf(out, 256, "%.200s", path[0] != '\0' ? path : op);
}

static bool is_slot(const fb__node *n, const char *slot)
{
    return strcmp(text_of(n->site->slot), slot) == 0;
}

static bool is_factor(const fb__judged *j)
{
    return j->along > 0.9 && isfinite(j->scale) && fabs(j->scale - 1) > 1e-7;
}

/* --- By shape --------------------------------------------------------------------------------- */

static bool is_cast(fb_diff_cause *out, const culprit *c)
{
    const char *who = c->b->bf16_values ? "b" : "a";

    if (!c->at->cast)
        return false;
    out->name = "precision-cast";
    fb__say(out, "%s has %s rounded to bfloat16", who, c->where_a);
    fb__say_fix(out, "compute it in float32 in both, or in bfloat16 in both");
    return true;
}

static bool is_init(fb_diff_cause *out, const culprit *c)
{
    if (!c->a->start)
        return false;
    out->name = "init";
    if (fb__node_norm(c->b) == 0)
        fb__say(out, "parameter %s is all zeros in b (%s)", c->where_a, c->where_b);
    else if (fb__node_norm(c->a) == 0)
        fb__say(out, "parameter %s is all zeros in a, and not in b (%s)", c->where_a, c->where_b);
    else
        fb__say(out, "parameter %s does not begin with the value that %s has in b", c->where_a,
                c->where_b);
    fb__say_fix(out, "load all weights from one file in both");
    return true;
}

/* --- By place --------------------------------------------------------------------------------- */

static bool is_scalar(fb_diff_cause *out, const culprit *c)
{
    if (!fb__node_is_scalar(c->a))
        return false;
    if (is_slot(c->a, "lr")) {
        out->name = "schedule";
        fb__say(out, "the learning rate is %.9g in a and %.9g in b", c->a->value, c->b->value);
        fb__say_fix(out,
                    "compare warm-up, total steps, and whether the first step counts as 0 or 1");
    } else if (is_slot(c->a, "grad_norm")) {
        out->name = "clipping";
        fb__say(out, "the norm of the gradients is %.9g in a and %.9g in b", c->a->value,
                c->b->value);
        fb__say_fix(out, "compare which parameters are clipped, and with which norm");
    } else {
        out->name = "loss-normalization";
        fb__say(out, "the loss is %.9g in a and %.9g in b, and what it is made of agrees",
                c->a->value, c->b->value);
        fb__say_fix(out, "divide by the number of targets of the whole batch in both");
    }
    return true;
}

/* Whether gradient `i` of the step is off by this factor too. */
static bool all_gradients_are_off(const culprit *c, const fb__judged *at)
{
    const fb__table *t = c->p->a;
    uint32_t off = 0, all = 0;

    for (uint32_t i = t->start_count; i < t->count; i++) {
        const fb__node *n = &t->nodes[i];

        if (!at[i].known || n->site->phase != FB_PHASE_BACKWARD || isnan(at[i].scale))
            continue;
        all++;
        off += at[i].along > 0.9 && fabs(at[i].scale / c->at->scale - 1) < 1e-3;
    }
    return all > 0 && 4 * off > 3 * all;
}

static bool is_gradient(fb_diff_cause *out, const culprit *c, const fb__judged *at)
{
    if (c->a->site->phase != FB_PHASE_BACKWARD && !is_slot(c->a, "grad.clip"))
        return false;
    if (is_slot(c->a, "grad.clip") || strcmp(text_of(c->a->site->op), "clip") == 0) {
        out->name = "clipping";
        fb__say(out, "the clipped gradient of %s differs, the gradient before does not",
                c->where_a);
        fb__say_fix(out, "compare the limit, the norm, and which parameters are clipped");
    } else if (is_factor(c->at) && all_gradients_are_off(c, at)) {
        out->name = "loss-normalization";
        fb__say(out, "all gradients of b are %.7g times those of a", c->at->scale);
        fb__say_fix(out, "divide the loss by the targets of the whole batch, once, in both");
    } else if (is_factor(c->at)) {
        out->name = "backward-op";
        fb__say(out, "the gradient of %s in b is %.7g times that in a", c->where_a, c->at->scale);
        fb__say_fix(out, "compare the backward pass of this operation");
    } else {
        out->name = "backward-op";
        fb__say(out, "the gradient of %s differs (%s in b), what it is computed from agrees",
                c->where_a, c->where_b);
        fb__say_fix(out, "compare the backward pass of this operation");
    }
    return true;
}

/* What b has more than a is b's gradient of the step before: it was not set to zero. */
static fb_status find_accumulation(bool *found, const culprit *c, fb_error *err)
{
    const fb__table *t = c->p->b;
    fb__table before;
    uint32_t node;
    fb_status status;

    *found = false;
    if (c->a->site->phase != FB_PHASE_BACKWARD || t->step < 2 || !c->a->has_sketch ||
        !c->b->has_sketch)
        return FB_OK;
    status = fb__table_load(&before, t->trace, NULL, t->step - 1, err);
    node = status == FB_OK ? fb__table_find(&before, c->b->key) : FB__NODE_NONE;
    if (node != FB__NODE_NONE && before.nodes[node].has_sketch) {
        fb__node more = *c->b;

        for (int i = 0; i < FB_SKETCH_BUCKETS; i++)
            more.linear[i] -= c->a->linear[i];
        *found = fb__node_cosine(&more, &before.nodes[node]) > 0.99;
    }
    fb__table_free(&before);
    return status;
}

static void say_accumulation(fb_diff_cause *out, const culprit *c)
{
    out->name = "grad-accumulation";
    fb__say(out, "the gradient of %s in b has that of the step before added to it", c->where_a);
    fb__say_fix(out, "call zero_grad() in every step of b, before its first backward()");
}

/* Decay that one side lacks leaves a part of the parameter itself in the difference. */
static bool is_update(fb_diff_cause *out, const culprit *c)
{
    if (c->a->site->kind != FB_KIND_PARAM)
        return false;
    if (is_slot(c->a, "buffer")) {
        out->name = "forward-op";
        fb__say(out, "the buffer %s differs, and what it is made from agrees", c->where_a);
        fb__say_fix(out, "compare its momentum, and whether it is saved and loaded");
        return true;
    }
    out->name = "optimizer-formula";
    if (fb__node_is_param(c->a) && c->at->along > 0.7 && isfinite(c->at->scale)) {
        fb__say(out,
                "%s after its update is %.7g times a's in b: a part of the parameter itself, which "
                "is what weight decay takes",
                c->where_a, c->at->scale);
        fb__say_fix(out, "compare weight decay, and whether it is decoupled from the gradient");
    } else {
        fb__say(out, "%s differs after its update, and its gradient agrees", c->where_a);
        fb__say_fix(out, "compare the optimizer: bias correction, eps, betas, weight decay");
    }
    return true;
}

static void say_forward(fb_diff_cause *out, const culprit *c)
{
    static const struct {
        const char *part, *fix;
    } hints[] = {
        {"layernorm", "compare eps, and where it is added"},
        {"layer_norm", "compare eps, and where it is added"},
        {"attention", "compare the scale 1/sqrt(d), the mask, and the order of heads"},
        {"gelu", "compare the form: erf or tanh"},
        {"embedding", "compare the positions and the tokens"},
        {"linear", "compare the bias, and whether the weight is transposed"},
        {"addmm", "compare the bias, and whether the weight is transposed"},
        {"dropout", "compare the mode, train or eval"},
        {"cross_entropy", "compare the targets, ignored ones, and label smoothing"},
    };
    const char *op = text_of(c->a->site->op), *fix = "compare this operation in both programs";

    out->name = "forward-op";
    if (is_factor(c->at))
        fb__say(out, "%s: the output in b is %.7g times that in a; its inputs agree", c->where_a,
                c->at->scale);
    else
        fb__say(out, "%s computes something else than %s in b; its inputs agree", c->where_a,
                c->where_b);
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++)
        if (strstr(op, hints[i].part) != NULL) {
            fix = hints[i].fix;
            break;
        }
    fb__say_fix(out, "%s", fix);
}

fb_status fb__rounding_cause(fb_diff_report *report, const fb__headers *headers,
                             const fb__pairing *p, const fb__step_judgement *s, fb_error *err)
{
    culprit c = {.p = p, .at = &s->at[s->culprit], .a = &p->a->nodes[s->culprit]};
    fb_diff_cause *out = &report->cause;
    bool accumulated = false;
    fb_status status;

    (void)headers;
    c.b = &p->b->nodes[c.a->partner];
    describe(c.where_a, c.a);
    describe(c.where_b, c.b);
    status = find_accumulation(&accumulated, &c, err);
    if (status != FB_OK)
        return status;
    report->has_cause = true;
    if (accumulated)
        say_accumulation(out, &c);
    else if (!is_cast(out, &c) && !is_init(out, &c) && !is_scalar(out, &c) && !is_update(out, &c) &&
             !is_gradient(out, &c, s->at))
        say_forward(out, &c);
    return out->text != NULL && out->fix != NULL
               ? FB_OK
               : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}
