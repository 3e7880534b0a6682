/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_precision.c - causes in the type in which a tensor is computed or kept: rounded to fewer
 * bits.
 */
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

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

static bool is_cast(const fb_site *site)
{
    return fb__op_is(site, "_to_copy") || fb__op_is(site, "to") || fb__op_is(site, "copy") ||
           fb__op_is(site, "type_as");
}

/* Whether the side computes more than the other in the same module: a cast to more bits is made for
 * an op, and goes where that goes. */
static bool serves_another_op(const fb__case *c, const fb__step_event *e)
{
    const fb__step *step = fb__step_of(c, e);

    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *x = &step->events[i];

        if (x->partner == UINT32_MAX && !x->beyond && x->site->kind == FB_KIND_TENSOR &&
            x->site->phase == e->site->phase && fb__is_real(x->site->dtype) && !is_cast(x->site) &&
            strcmp(fb__text(x->site->path), fb__text(e->site->path)) == 0)
            return true;
    }
    return false;
}

/* An op that one side lacks and that does nothing but change the type. */
static bool is_extra_cast(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb_site *from = fb__input_site(c, e, 0);

    if (!is_cast(e->site) || !fb__is_real(e->site->dtype))
        return false;
    if (is_narrow(e->site->dtype))
        return true;
    return !serves_another_op(c, e) &&
           (from != NULL && fb__is_real(from->dtype) && from->dtype != e->site->dtype);
}

/* Signature: one side holds exactly the other's numbers, rounded: no other mechanism does that. */
bool fb__rule_rounded_twin(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const char *side, *type;
    bool exactly = false;

    if (!fb__is_tensor(e) || !fb__is_pair(c) || !is_rounded_twin(&side, &type, &exactly, c) ||
        !exactly)
        return false;
    fb__say(out, "%s holds the other side's numbers %s (%s), rounded to %s", side,
            fb__where_of(e).text, fb__text(e->site->op), type);
    fb__say_fix(out, "keep %s in the same type in both; look for bfloat16() before it is stored",
                fb__place_of(e));
    return true;
}

/* Signature: types differ; or one side has a cast more; or one side is the other rounded. */
bool fb__rule_precision_cast(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const char *side, *type;
    bool exactly;

    if (!fb__is_tensor(e))
        return false;
    if (fb__is_pair(c)) {
        const fb_dtype x = c->culprit->a->site->dtype, y = c->culprit->b->site->dtype;

        if (x != y && fb__is_real(x) && fb__is_real(y))
            fb__say(out, "%s is computed in %s | %s", fb__place_of(e), fb_dtype_name(x),
                    fb_dtype_name(y));
        else if (is_rounded_twin(&side, &type, &exactly, c))
            fb__say(out, "%s holds only %s numbers %s%s", side, type, fb__where_of(e).text,
                    exactly ? ": exactly the other side's, rounded" : "");
        else
            return false;
    } else if (is_extra_cast(c)) {
        fb__say(out, "only %s casts to %s %s", fb__culprit_side(c), fb_dtype_name(e->site->dtype),
                fb__where_of(e).text);
    } else {
        return false;
    }
    fb__say_fix(out, "compute %s in the same type in both; look for autocast, half(), bfloat16()",
                fb__place_of(e));
    return true;
}

/* The narrower of the two types that an op casts between; FB_DTYPE_NONE: it is no such cast. */
static fb_dtype narrow_end(const fb__case *c, const fb__step_event *e)
{
    const fb_site *from = fb__input_site(c, e, 0);

    if (!fb__op_is(e->site, "_to_copy") && !fb__op_is(e->site, "copy"))
        return FB_DTYPE_NONE;
    if (is_narrow(e->site->dtype))
        return fb__op_is(e->site, "_to_copy") ? e->site->dtype : FB_DTYPE_NONE;
    return from != NULL && is_narrow(from->dtype) && fb__is_real(e->site->dtype) ? from->dtype
                                                                                 : FB_DTYPE_NONE;
}

/* Casts to fewer bits and back that only one side does in this step. */
static size_t count_casts(const fb__case *c, const fb__step *step, fb_dtype *type)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];
        const fb_dtype narrow =
            e->partner == UINT32_MAX && !e->beyond ? narrow_end(c, e) : FB_DTYPE_NONE;

        if (narrow != FB_DTYPE_NONE) {
            *type = narrow;
            n++;
        }
    }
    return n;
}

/* A parameter as it begins, or a copy that is made of it. */
static bool is_first_value(const fb__step_event *e)
{
    return e->site->phase == FB_PHASE_INIT && fb__is_real(e->site->dtype) &&
           (e->site->kind == FB_KIND_PARAM ||
            (fb__op_is(e->site, "clone") && fb__text(e->site->path)[0] == '\0'));
}

/* Signature: a parameter differs, and only one side casts something to fewer bits in this step. */
bool fb__rule_cast_state(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb_dtype type = FB_DTYPE_NONE;
    size_t a, b;

    if ((e->site->kind != FB_KIND_PARAM || e->site->phase != FB_PHASE_OPTIMIZER) &&
        !is_first_value(e))
        return false;
    a = count_casts(c, &c->pair->a, &type);
    b = count_casts(c, &c->pair->b, &type);
    if ((a > 0) == (b > 0))
        return false;
    fb__say(out, "%s casts %zu tensors to or from %s %s, %s none, and the %s differs",
            a > 0 ? "a" : "b", a > 0 ? a : b, fb_dtype_name(type),
            is_first_value(e) ? "before training begins" : "in this step", a > 0 ? "b" : "a",
            is_first_value(e) ? "first value of a parameter" : "update");
    fb__say_fix(out,
                "keep parameters and their updates in float32; cast copies for the computation");
    return true;
}
