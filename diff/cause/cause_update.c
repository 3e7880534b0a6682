/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_update.c - causes in the optimizer of a recorded program: its settings, its schedule, and
 * the parameters that it knows.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "diff/cause/evidence.h"
#include "diff/number.h"

enum { NONE = UINT32_MAX, SERIES_MAX = 512 };

static bool is_setting(const fb_site *site)
{
    return site->kind == FB_KIND_SCALAR && site->phase == FB_PHASE_OPTIMIZER &&
           strncmp(fb__text(site->path), "optimizer", 9) == 0;
}

/* --- Schedules -------------------------------------------------------------------------------- */

static bool is_rate_name(const char *name)
{
    return strcmp(name, "lr") == 0 || strcmp(name, "initial_lr") == 0 ||
           strcmp(name, "learning_rate") == 0;
}

/* By its slot or, in a program that records numbers under names of its own, by its path. */
static bool is_rate(const fb_site *site)
{
    const char *path = fb__text(site->path), *dot = strrchr(path, '.');

    return site->kind == FB_KIND_SCALAR &&
           (is_rate_name(fb__text(site->slot)) || is_rate_name(dot == NULL ? path : dot + 1));
}

/* The numbers of one place, step by step. */
typedef struct series {
    double at[SERIES_MAX];
    uint64_t step[SERIES_MAX]; /* ascending: an optimizer may not make an update in each */
    size_t count;
} series;

static void read_series(series *out, fb_trace *trace, const fb_site *like, const char *slot)
{
    const fb_event *e = NULL;

    out->count = 0;
    if (fb_trace_seek(trace, 1, NULL) != FB_OK)
        return;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && out->count < SERIES_MAX) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || e->step == 0 || site->kind != FB_KIND_SCALAR ||
            strcmp(fb__text(site->path), fb__text(like->path)) != 0 ||
            strcmp(fb__text(site->slot), slot) != 0 ||
            (out->count > 0 && e->step <= out->step[out->count - 1]))
            continue;
        out->step[out->count] = e->step;
        out->at[out->count++] = e->value;
    }
}

static bool is_near(double x, double y)
{
    return fabs(x - y) <= 1e-9 * fmax(fabs(x), fabs(y));
}

/* b[t] = a[t + shift] wherever both are known, and not a constant. */
static bool is_shifted(const series *a, const series *b, int shift)
{
    size_t compared = 0, moving = 0;

    for (size_t i = 0; i < b->count; i++) {
        const long long j = (long long)i + shift;

        if (j < 0 || (size_t)j >= a->count)
            continue;
        if (!is_near(b->at[i], a->at[j]))
            return false;
        compared++;
        moving += i > 0 && !is_near(b->at[i], b->at[i - 1]);
    }
    return compared >= 3 && moving >= 2;
}

static bool is_scaled(double *ratio, const series *a, const series *b)
{
    const size_t n = a->count < b->count ? a->count : b->count;

    if (n == 0 || a->at[0] == 0)
        return false;
    *ratio = b->at[0] / a->at[0];
    for (size_t i = 0; i < n; i++)
        if (!is_near(b->at[i], *ratio * a->at[i]))
            return false;
    return !is_near(*ratio, 1);
}

static size_t peak_of(const series *s)
{
    size_t best = 0;

    for (size_t i = 1; i < s->count; i++)
        if (s->at[i] > s->at[best])
            best = i;
    return best;
}

/* How b's learning rates follow from a's. */
static bool say_series(fb_diff_cause *out, const series *a, const series *b)
{
    size_t pa, pb;
    double ratio;

    for (int k = 1; k <= 4; k++)
        for (int sign = -1; sign <= 1; sign += 2)
            if (is_shifted(a, b, sign * k)) {
                fb__say(out,
                        "the schedule of b is %d step%s %s: lr of step t is a's of step t %c "
                        "%d, in all %zu steps",
                        k, k == 1 ? "" : "s", sign > 0 ? "ahead" : "behind", sign > 0 ? '+' : '-',
                        k, b->count);
                return true;
            }
    if (is_scaled(&ratio, a, b)) {
        fb__say(out, "the learning rate of b is %.6g times that of a in all %zu steps", ratio,
                b->count);
        return true;
    }
    if (a->count < 3 || b->count < 3)
        return false;
    pa = peak_of(a);
    pb = peak_of(b);
    fb__say(out,
            "the learning rate peaks with %.6g in step %" PRIu64 " | %.6g in step %" PRIu64
            " (of those recorded): warm-up or total differ",
            a->at[pa], a->step[pa], b->at[pb], b->step[pb]);
    return pa != pb || !is_near(a->at[pa], b->at[pb]);
}

static bool moves(const series *s)
{
    for (size_t i = 1; i < s->count; i++)
        if (!is_near(s->at[i], s->at[0]))
            return true;
    return false;
}

/* A momentum or a decay that changes from step to step in both runs: a schedule sets it. */
static bool is_scheduled(const fb__case *c, const fb_site *site)
{
    series a, b;

    if (!is_setting(site) || !fb__is_pair(c))
        return false;
    read_series(&a, c->pair->a.trace, site, fb__text(site->slot));
    read_series(&b, c->pair->b.trace, c->culprit->b->site, fb__text(site->slot));
    return moves(&a) && moves(&b);
}

/* Signature: a learning rate differs first, or another number that a schedule moves. */
bool fb__rule_schedule_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;
    const char *slot;
    char x[40], y[40];
    series a, b;

    if (!fb__is_pair(c) || (!is_rate(site) && !is_scheduled(c, site)))
        return false;
    slot = is_setting(site) ? "lr" : fb__text(site->slot);
    read_series(&a, c->pair->a.trace, site, slot);
    read_series(&b, c->pair->b.trace, c->culprit->b->site, slot);
    if (!say_series(out, &a, &b))
        fb__say(out, "%s of step %" PRIu64 " is %s | %s",
                is_rate(site) ? "the learning rate" : fb__text(site->slot),
                c->report->first.name.step, fb__shortest(x, FB_DTYPE_F64, c->culprit->a->value),
                fb__shortest(y, FB_DTYPE_F64, c->culprit->b->value));
    fb__say_fix(out, "compare the schedules: peak, warm-up, total, and when scheduler.step() is "
                     "called");
    return true;
}

/* --- Settings --------------------------------------------------------------------------------- */

/* Whether the update has the name of another optimizer on the other side. */
static const fb_site *other_optimizer(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step *other = c->culprit->a != NULL ? &c->pair->b : &c->pair->a;

    for (size_t i = 0; i < other->count; i++) {
        const fb_site *site = other->events[i].site;

        if (site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_OPTIMIZER &&
            strcmp(fb__text(site->path), fb__text(e->site->path)) == 0 &&
            strcmp(fb__text(site->slot), "param") == 0 &&
            strcmp(fb__text(site->op), fb__text(e->site->op)) != 0)
            return site;
    }
    return NULL;
}

static size_t count_alone(const fb__step *step, const char *slot, fb_phase phase)
{
    size_t n = 0;

    for (size_t i = 0; i < step->count; i++)
        n += step->events[i].partner == NONE && !step->events[i].beyond &&
             step->events[i].site->phase == phase &&
             strcmp(fb__text(step->events[i].site->slot), slot) == 0 &&
             step->events[i].site->kind != FB_KIND_SCALAR;
    return n;
}

/* Signature: a setting differs; or an update, or the gradient that an optimizer would take, is on
 * one side only while its backward pass is on both. */
bool fb__rule_update_kind(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb_site *site = e->site, *other;
    const bool in_a = c->culprit->a != NULL;
    const bool gradient = site->phase == FB_PHASE_BACKWARD && !fb__is_pair(c) &&
                          strcmp(fb__text(site->op), "grad") == 0;
    char x[40], y[40];
    size_t n;

    if (is_setting(site)) {
        if (fb__is_pair(c))
            fb__say(out, "%s of %s is %s | %s", fb__text(site->slot), fb__text(site->path),
                    fb__shortest(x, FB_DTYPE_F64, c->culprit->a->value),
                    fb__shortest(y, FB_DTYPE_F64, c->culprit->b->value));
        else
            fb__say(out, "only %s sets %s of %s", fb__culprit_side(c), fb__text(site->slot),
                    fb__text(site->path));
        fb__say_fix(out, "give the optimizer the same %s in both", fb__text(site->slot));
        return true;
    }
    if (!gradient &&
        (site->phase != FB_PHASE_OPTIMIZER || site->kind != FB_KIND_PARAM || fb__is_pair(c)))
        return false;
    other = gradient ? NULL : other_optimizer(c);
    if (other != NULL) {
        fb__say(out, "the optimizer is %s | %s", fb__text(in_a ? site->op : other->op),
                fb__text(in_a ? other->op : site->op));
        fb__say_fix(out, "use the same optimizer in both");
        return true;
    }
    if (!gradient && strcmp(fb__text(site->slot), "param") != 0) {
        fb__say(out, "only %s keeps %s of %s", fb__culprit_side(c), fb__text(site->slot),
                fb__text(site->path));
        fb__say_fix(out, "compare the options of the optimizers");
        return true;
    }
    n = count_alone(in_a ? &c->pair->a : &c->pair->b, gradient ? "grad" : "param",
                    gradient ? FB_PHASE_BACKWARD : FB_PHASE_OPTIMIZER);
    fb__say(out,
            n == 1 ? "%zu parameter, %s, is never updated in %s: its optimizer does not know it, "
                     "or it has no gradient"
                   : "%zu parameters, %s the first, are never updated in %s: its optimizer does "
                     "not know them, or they have no gradient",
            n, fb__text(site->path), in_a ? "b" : "a");
    fb__say_fix(out, "give all of model.parameters() to the optimizer, and look for "
                     "requires_grad_(False)");
    return true;
}

static bool is_of_lbfgs(const fb_site *site)
{
    return site->phase == FB_PHASE_OPTIMIZER && site->kind == FB_KIND_PARAM &&
           strstr(fb__text(site->op), "lbfgs") != NULL;
}

/* Signature: within the step of an optimizer that calls the model itself, several times, something
 * differs, and so does a setting of that optimizer, which is told when its step is over. */
bool fb__rule_setting_of_closure(fb_diff_cause *out, const fb__case *c)
{
    const fb__step *a = &c->pair->a, *b = &c->pair->b;
    const fb__step_event *found = NULL;
    bool lbfgs = false;
    char x[40], y[40];

    if (fb__culprit_event(c)->site->phase == FB_PHASE_INIT)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const fb__step_event *e = &a->events[i];

        lbfgs |= is_of_lbfgs(e->site);
        if (found == NULL && is_setting(e->site) && e->partner != NONE && !e->same_content)
            found = e;
    }
    if (!lbfgs || found == NULL)
        return false;
    fb__say(out, "%s of %s is %s | %s, and it calls the model several times in a step",
            fb__text(found->site->slot), fb__text(found->site->path),
            fb__shortest(x, FB_DTYPE_F64, found->value),
            fb__shortest(y, FB_DTYPE_F64, b->events[found->partner].value));
    fb__say_fix(out, "give the optimizer the same %s in both", fb__text(found->site->slot));
    return true;
}

/* Signature: before training begins, an optimizer fills its states otherwise. */
bool fb__rule_optimizer_start(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const char *stack = fb_trace_stack(fb__step_of(c, e)->trace, e->site_number);
    fb__argument_pair p;

    if (e->site->phase != FB_PHASE_INIT || e->site->kind != FB_KIND_TENSOR ||
        fb__text(e->site->path)[0] != '\0' || strstr(fb__text(stack), " at optim/") == NULL)
        return false;
    if (fb__is_pair(c) && fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site))
        fb__say(out, "the optimizer begins with other states: %s of %s is %s | %s", p.name,
                fb__text(e->site->op), p.a, p.b);
    else
        fb__say(out, "the optimizer begins with other states (%s)", fb__text(e->site->op));
    fb__say_fix(out, "give the optimizer the same options in both");
    return true;
}

static bool is_normalization(const fb_site *site, const char *module, size_t length)
{
    return site->phase == FB_PHASE_FORWARD && strstr(fb__text(site->op), "norm") != NULL &&
           strncmp(fb__text(site->path), module, length) == 0 &&
           fb__text(site->path)[length] == '\0';
}

/* The normalization of a module in the step: what it was called with. */
static const fb_site *normalization(fb_trace *trace, uint64_t step, const char *module,
                                    size_t length)
{
    const fb_event *e = NULL;

    if (fb_trace_seek(trace, step, NULL) != FB_OK)
        return NULL;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step == step) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site != NULL && is_normalization(site, module, length))
            return site;
    }
    return NULL;
}

/* Signature: a buffer differs behind a step in which its module's outputs are equal: a running
 * average with another momentum. */
bool fb__rule_running_average(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const char *path = fb__text(e->site->path), *dot = strrchr(path, '.');
    const fb_site *a, *b;
    fb__argument_pair p;

    if (!fb__is_pair(c) || e->site->kind != FB_KIND_PARAM || dot == NULL ||
        strcmp(fb__text(e->site->op), "buffer") != 0)
        return false;
    a = normalization(c->pair->a.trace, c->pair->a.step, path, (size_t)(dot - path));
    b = normalization(c->pair->b.trace, c->pair->b.step, path, (size_t)(dot - path));
    if (a != NULL && b != NULL && fb__other_argument(&p, a, b))
        fb__say(out, "%s calls %s with %s %s | %s: its outputs are equal, its averages are not",
                fb__text(a->path), fb__text(a->op), p.name, p.a, p.b);
    else
        fb__say(out, "buffer %s differs, and no output of its module does", path);
    fb__say_fix(out,
                "compare momentum and counting of the averages (frameworks define momentum the "
                "other way round)");
    return true;
}
