/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_tensor.c - causes in how one tensor of a recorded program is computed: rounded to fewer
 * bits, masked or placed otherwise, and for any other op which kind of difference it is. Structure
 * (an op more, another argument) is said where there is any; relations between sketches else.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

static bool is_tensor(const fb__step_event *e)
{
    return e->site->kind == FB_KIND_TENSOR || e->site->kind == FB_KIND_PARAM;
}

static bool is_pair(const fb__case *c)
{
    return c->culprit->a != NULL && c->culprit->b != NULL;
}

static const char *place_of(const fb__step_event *e)
{
    const char *path = fb__text(e->site->path);
    return path[0] != '\0' ? path : "the program";
}

/* --- Precision -------------------------------------------------------------------------------- */

static bool is_narrow(fb_dtype dtype)
{
    return dtype == FB_DTYPE_F16 || dtype == FB_DTYPE_BF16 || dtype == FB_DTYPE_F8_E4M3 ||
           dtype == FB_DTYPE_F8_E5M2;
}

/* Whether the sampled float32 elements are numbers of `zeros` fewer bits, and enough of them that
 * this is no accident of small whole numbers. */
static bool looks_rounded(const fb_sketch *s, int zeros)
{
    const uint64_t n = s->elements < FB_SKETCH_SAMPLES ? s->elements : FB_SKETCH_SAMPLES;
    const uint64_t low = (UINT64_C(1) << zeros) - 1;
    uint64_t different = 0;

    for (uint64_t i = 0; i < n; i++) {
        if ((s->samples[i] & low) != 0)
            return false;
        different += s->samples[i] << 1 != 0 && (i == 0 || s->samples[i] != s->samples[i - 1]);
    }
    return different >= 8;
}

/* One side holds only numbers of a narrower type. */
static bool is_rounded_twin(const char **side, const char **type, bool *exactly, const fb__case *c)
{
    static const struct {
        int zeros;
        const char *name;
    } types[] = {{16, "bf16"}, {13, "f16"}};
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    fb_sketch x, y;

    if (a->site->dtype != FB_DTYPE_F32 || b->site->dtype != FB_DTYPE_F32 ||
        !fb__sketch(&x, &c->pair->a, a) || !fb__sketch(&y, &c->pair->b, b))
        return false;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        const bool in_a = looks_rounded(&x, types[i].zeros);
        const bool in_b = looks_rounded(&y, types[i].zeros);

        if (in_a == in_b)
            continue;
        *side = in_a ? "a" : "b";
        *type = types[i].name;
        *exactly = i == 0 && fb_hash_equal(x.bf16, y.bf16);
        return true;
    }
    return false;
}

/* An op that one side lacks and that does nothing but change the type. */
static bool is_extra_cast(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb_site *from = fb__input_site(c, e, 0);

    if (!fb__op_is(e->site, "_to_copy") && !fb__op_is(e->site, "to") &&
        !fb__op_is(e->site, "copy_") && !fb__op_is(e->site, "type_as"))
        return false;
    if (!fb__is_real(e->site->dtype))
        return false;
    return is_narrow(e->site->dtype) ||
           (from != NULL && fb__is_real(from->dtype) && from->dtype != e->site->dtype);
}

/* Signature: types differ; or one side has a cast more; or one side is the other rounded. */
bool fb__rule_precision_cast(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const char *side, *type;
    bool exactly;

    if (!is_tensor(e))
        return false;
    if (is_pair(c)) {
        const fb_dtype x = c->culprit->a->site->dtype, y = c->culprit->b->site->dtype;

        if (x != y && fb__is_real(x) && fb__is_real(y))
            fb__say(out, "%s is computed in %s | %s", place_of(e), fb_dtype_name(x),
                    fb_dtype_name(y));
        else if (is_rounded_twin(&side, &type, &exactly, c))
            fb__say(out, "%s holds only %s numbers at %s%s", side, type, place_of(e),
                    exactly ? ": exactly the other side's, rounded" : "");
        else
            return false;
    } else if (is_extra_cast(c)) {
        fb__say(out, "only %s casts to %s at %s", fb__culprit_side(c),
                fb_dtype_name(e->site->dtype), place_of(e));
    } else {
        return false;
    }
    fb__say_fix(out, "compute %s in the same type in both; look for autocast, half(), bfloat16()",
                place_of(e));
    return true;
}

/* --- Masks and positions ---------------------------------------------------------------------- */

static const char *const mask_ops[] = {
    "masked_fill",  "masked_fill_",   "where",          "tril",        "tril_",
    "triu",         "triu_",          "bitwise_not",    "logical_not", "bitwise_not_",
    "tril_indices", "triu_indices",   "logical_and",    "bitwise_and", "logical_or",
    "bitwise_or",   "masked_scatter", "_masked_softmax"};
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

    if (!is_pair(c)) {
        fb__say(out, "only %s has the mask's op %s at %s", fb__culprit_side(c),
                fb__text(e->site->op), place_of(e));
    } else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site)) {
        fb__say(out, "the mask of %s is made with %s %s | %s", place_of(e), p.name, p.a, p.b);
    } else if (count_hidden(&x, &c->pair->a, c->culprit->a) &&
               count_hidden(&y, &c->pair->b, c->culprit->b) && x != y) {
        fb__say(out, "the mask of %s hides %" PRIu64 " | %" PRIu64 " elements", place_of(e), x, y);
    } else {
        fb__say(out, "the mask of %s is another one (%s)", place_of(e), fb__text(e->site->op));
    }
    fb__say_fix(out,
                "compare how the two mask at %s: what is visible, the diagonal, the fill value",
                place_of(e));
}

static void say_position(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb__argument_pair p;

    if (!is_pair(c))
        fb__say(out, "only %s has %s among the positions that %s uses", fb__culprit_side(c),
                fb__text(e->site->op), place_of(e));
    else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        fb__say(out, "the positions at %s are made with %s %s | %s", place_of(e), p.name, p.a, p.b);
    else
        fb__say(out, "%s uses other positions in the two runs (%s)", place_of(e),
                fb__text(e->site->op));
    fb__say_fix(out, "compare the indices that go into %s: first position, order, step",
                place_of(e));
}

static bool is_mask_name(const char *path)
{
    const char *dot = strrchr(path, '.');
    return strstr(dot == NULL ? path : dot, "mask") != NULL;
}

/* Scores that somebody added minus infinity to. */
static bool has_hidden_scores(const fb__case *c, const fb__step_event *e)
{
    fb_sketch s;

    return (fb__op_is(e->site, "add") || fb__op_is(e->site, "baddbmm")) &&
           fb__sketch(&s, fb__step_of(c, e), e) && s.infinite > 0 &&
           fb__reader(c, e, is_softmax, 64) != NULL;
}

static bool is_mask(const fb__case *c, const fb__step_event *e)
{
    enum { NEAR = 4096 };
    fb__argument_pair p;

    if (fb__is_one_of(fb__text(e->site->op), mask_ops, COUNT_OF(mask_ops)))
        return true;
    if (e->site->kind == FB_KIND_PARAM)
        return e->site->dtype == FB_DTYPE_BOOL || is_mask_name(fb__text(e->site->path));
    if (is_pair(c) && strstr(fb__text(e->site->op), "attention") != NULL)
        return c->culprit->a->input_count != c->culprit->b->input_count ||
               (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site) &&
                (strcmp(p.name, "is_causal") == 0 || strstr(p.name, "mask") != NULL ||
                 strstr(p.name, "window") != NULL));
    if (e->site->dtype == FB_DTYPE_BOOL)
        return fb__reader(c, e, reads_a_mask, NEAR) != NULL;
    return has_hidden_scores(c, e);
}

static bool is_position(const fb__case *c, const fb__step_event *e)
{
    enum { NEAR = 4096 };
    const fb__step_event *index = fb__op_is(e->site, "embedding") ? fb__input(c, e, 1) : NULL;

    if (index != NULL && fb__is_integer(index->site->dtype) && index->partner == UINT32_MAX)
        return true; /* looked up with indices that the other side does not have */
    if (e->site->kind != FB_KIND_TENSOR ||
        (!fb__is_integer(e->site->dtype) &&
         !fb__is_one_of(fb__text(e->site->op), position_ops, COUNT_OF(position_ops))))
        return false;
    return fb__reader(c, e, is_embedding, NEAR) != NULL;
}

/* Signature: booleans, or ops that hide elements; integers that an embedding looks up. */
bool fb__rule_mask(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);

    if (!is_tensor(e) || is_optimizing(e->site->phase))
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

/* --- Which kind of difference ----------------------------------------------------------------- */

/* Says how b's sampled elements follow from a's by one added number; false where they do not. */
static bool say_added(char *text, size_t size, const fb_sketch *a, const fb_sketch *b,
                      fb_dtype dtype)
{
    const uint64_t n = a->elements < FB_SKETCH_SAMPLES ? a->elements : FB_SKETCH_SAMPLES;
    double first = 0, largest = 0;

    if (dtype != FB_DTYPE_F32 || a->elements != b->elements || n < 2)
        return false;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t bits[2] = {(uint32_t)a->samples[i], (uint32_t)b->samples[i]};
        float x[2];
        double d;

        memcpy(x, bits, sizeof x);
        d = (double)x[1] - (double)x[0];
        if (!isfinite(d))
            return false;
        if (i == 0)
            first = d;
        largest = fmax(largest, fmax(fabs((double)x[0]), fabs((double)x[1])));
        if (fabs(d - first) > 4e-7 * largest)
            return false;
    }
    (void)snprintf(text, size, "b is a plus %.6g in every sampled element", first);
    return fabs(first) > 1e-5 * largest;
}

/* A relation between the two results, from their sketches; false where none is found. */
static bool say_relation(char *text, size_t size, const fb__case *c)
{
    const fb__step_event *e = c->culprit->a;
    fb_sketch x, y;
    fb__fit fit;

    if (!is_pair(c) || !fb__sketch(&x, &c->pair->a, e) ||
        !fb__sketch(&y, &c->pair->b, c->culprit->b))
        return false;
    fit = fb__fit_scale(&x, &y);
    if (x.elements == y.elements && fb__fits(fit) && fabs(fit.scale - 1) > 1e-5)
        (void)snprintf(text, size, "b is %.6g times a", fit.scale);
    else if (x.elements > 1 && fb_hash_equal(x.multiset, y.multiset))
        (void)snprintf(text, size, "the same numbers in another order");
    else if (!say_added(text, size, &x, &y, e->site->dtype)) {
        if (x.elements != y.elements || x.sum_square == 0)
            return false;
        /* With one factor taken out what is left tells how far from a scale it is. */
        (void)snprintf(text, size, "no scale, shift or permutation; relative difference %.2g",
                       sqrt(fit.residual * fit.residual + (fit.scale - 1) * (fit.scale - 1)));
    }
    return true;
}

static const char *const activations[] = {
    "gelu",        "relu", "relu_",    "silu",       "tanh",  "sigmoid",
    "leaky_relu",  "elu",  "hardtanh", "softplus",   "mish",  "hardswish",
    "threshold",   "celu", "selu",     "silu_",      "tanh_", "sigmoid_",
    "leaky_relu_", "erf",  "prelu",    "hardsigmoid"};

static const char *family(const char *op)
{
    if (fb__is_one_of(op, activations, COUNT_OF(activations)))
        return "the activation is another one";
    if (strstr(op, "softmax") != NULL)
        return "a softmax";
    if (strstr(op, "norm") != NULL)
        return "a normalization";
    return NULL;
}

/* "mul by 0.353553" where the op has a plain number. */
static void name_op(char *text, size_t size, const fb_site *site)
{
    char other[32];

    if (fb__argument(other, sizeof other, site, "other"))
        (void)snprintf(text, size, "%s by %s", fb__text(site->op), other);
    else
        (void)snprintf(text, size, "%s", fb__text(site->op));
}

static void say_one_sided(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *instead = fb__replacement(c);
    const bool in_a = c->culprit->a != NULL;
    const char *kind = family(fb__text(e->site->op));
    char own[96], others[96], scale[64] = "";
    fb_sketch x, y;

    name_op(own, sizeof own, e->site);
    if (instead != NULL) {
        name_op(others, sizeof others, instead->site);
        fb__say(out, "%s computes %s in a and %s in b%s%s", place_of(e), in_a ? own : others,
                in_a ? others : own, kind != NULL ? ": " : "",
                kind == NULL               ? ""
                : strcmp(own, others) == 0 ? "other settings"
                                           : kind);
        fb__say_fix(out, "use the same op at %s in both", place_of(e));
        return;
    }
    if (fb__input_sketch(&x, c, e, 0) && fb__sketch(&y, fb__step_of(c, e), e) &&
        x.elements == y.elements && x.elements > 1) {
        const fb__fit fit = fb__fit_scale(&x, &y);

        if (fb__fits(fit) && fabs(fit.scale - 1) > 1e-5)
            (void)snprintf(scale, sizeof scale, ": a scale of %.6g", fit.scale);
    }
    fb__say(out, "only %s has %s (%s) at %s%s", fb__culprit_side(c), own,
            kind != NULL && strstr(kind, "the ") == NULL ? kind : "an op more", place_of(e), scale);
    fb__say_fix(out, "%s %s at %s in both", in_a ? "keep" : "leave out", own, place_of(e));
}

/* Signature: an output differs, all that it is computed from is equal. */
bool fb__rule_forward_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    char relation[128] = "";
    fb__argument_pair p;
    bool known;

    if (e->site->kind != FB_KIND_TENSOR ||
        (e->site->phase != FB_PHASE_FORWARD && e->site->phase != FB_PHASE_LOSS))
        return false;
    if (!is_pair(c)) {
        say_one_sided(out, c);
        return true;
    }
    known = say_relation(relation, sizeof relation, c);
    if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site)) {
        fb__say(out, "%s calls %s with %s %s | %s%s%s", place_of(e), fb__text(e->site->op), p.name,
                p.a, p.b, known ? ": " : "", relation);
        fb__say_fix(out, "set %s of %s (%s) alike in both", p.name, place_of(e),
                    fb__text(e->site->op));
        return true;
    }
    if (!known)
        return false;
    fb__say(out, "the output of %s (%s) differs, all that it is computed from is equal: %s",
            place_of(e), fb__text(e->site->op), relation);
    fb__say_fix(out, "compare %s (%s) in both", place_of(e), fb__text(e->site->op));
    return true;
}

/* Signature: an op of a program without steps, or before they begin; its name says whether it is of
 * a backward pass. */
static bool is_plain(const fb__case *c, bool backward)
{
    const fb_site *site = fb__culprit_event(c)->site;

    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_INIT &&
           (strstr(fb__text(site->op), "backward") != NULL) == backward;
}

static void say_plain(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb__argument_pair p;

    if (!is_pair(c))
        say_one_sided(out, c);
    else if (fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        fb__say(out, "%s calls %s with %s %s | %s", place_of(e), fb__text(e->site->op), p.name, p.a,
                p.b);
    else
        fb__say(out, "%s of %s differs, all that it is computed from is equal",
                fb__text(e->site->op), place_of(e));
    if (is_pair(c))
        fb__say_fix(out, "compare %s at %s in both", fb__text(e->site->op), place_of(e));
}

bool fb__rule_plain_forward(fb_diff_cause *out, const fb__case *c)
{
    if (!is_plain(c, false))
        return false;
    say_plain(out, c);
    return true;
}

bool fb__rule_plain_backward(fb_diff_cause *out, const fb__case *c)
{
    if (!is_plain(c, true))
        return false;
    say_plain(out, c);
    return true;
}

/* Casts to fewer bits that only one side does in this step. */
static size_t count_casts(const fb__step *step, fb_dtype *type)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];

        if (e->partner == UINT32_MAX && !e->beyond && is_narrow(e->site->dtype) &&
            fb__op_is(e->site, "_to_copy")) {
            *type = e->site->dtype;
            n++;
        }
    }
    return n;
}

/* Signature: a parameter differs, and only one side casts something to fewer bits in this step. */
bool fb__rule_cast_state(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb_dtype type = FB_DTYPE_NONE;
    size_t a, b;

    if (e->site->kind != FB_KIND_PARAM || e->site->phase != FB_PHASE_OPTIMIZER)
        return false;
    a = count_casts(&c->pair->a, &type);
    b = count_casts(&c->pair->b, &type);
    if ((a > 0) == (b > 0))
        return false;
    fb__say(out, "%s casts %zu tensors to %s in this step, %s none, and the update differs",
            a > 0 ? "a" : "b", a > 0 ? a : b, fb_dtype_name(type), a > 0 ? "b" : "a");
    fb__say_fix(out,
                "keep parameters and their updates in float32; cast copies for the computation");
    return true;
}
