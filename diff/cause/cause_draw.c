/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_draw.c - causes in random numbers and modes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "diff/cause/counterfactual.h"
#include "diff/cause/evidence.h"

static const char *name_or(const char *name, const char *otherwise)
{
    return name == NULL || name[0] == '\0' ? otherwise : name;
}

/* So many numbers more, which is what the fault of the engine can plant. */
static bool confirm_draws(const fb__case *c, const fb__step_event *e, uint64_t count, bool silent,
                          bool in_b)
{
    fb_fault draw = {.kind = FB_FAULT_DRAW,
                     .step = c->report->first.name.step,
                     .count = count,
                     .silent = silent};

    if (e->site->stream == NULL || strlen(e->site->stream) >= sizeof draw.stream)
        return false;
    (void)snprintf(draw.stream, sizeof draw.stream, "%s", e->site->stream);
    return fb__try_fault(c, !in_b, &draw) == FB__TRIAL_CONFIRMED;
}

static void say_one_sided(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const char *side = fb__culprit_side(c);
    const char *stream = name_or(e->site->stream, "(unnamed)");
    const char *consumer = name_or(e->site->consumer, "");
    const bool apart = consumer[0] != '\0' && strcmp(stream, consumer) != 0;
    char count[48];

    if (e->count == 1)
        (void)snprintf(count, sizeof count, "one extra draw");
    else
        (void)snprintf(count, sizeof count, "an extra draw of %" PRIu64 " numbers", e->count);
    out->confirmed = confirm_draws(c, e, e->count, false, c->culprit->b != NULL);
    fb__say(out,
            "%s from stream %s in %s%s%s; %" PRIu64
            " later events of the step are equal after realignment",
            count, stream, side, apart ? ", for " : "", apart ? consumer : "",
            c->culprit->later_equal);
    fb__say_fix(out, "find what draws from %s in %s only, and give it a generator of its own",
                stream, side);
}

/* Signature: a draw that one side lacks, or the same draw at another position of its stream. */
static bool same_name(const char *a, const char *b)
{
    return strcmp(name_or(a, ""), name_or(b, "")) == 0;
}

bool fb__rule_draw_parameters(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    if (c->report->first.name.kind != FB_KIND_DRAW || a == NULL || b == NULL ||
        a->stream_key != b->stream_key || a->counter != b->counter ||
        !same_name(a->site->distribution, b->site->distribution) ||
        (a->count == b->count && a->site->parameters[0] == b->site->parameters[0] &&
         a->site->parameters[1] == b->site->parameters[1]))
        return false;
    if (a->site->parameters[0] == b->site->parameters[0] &&
        a->site->parameters[1] == b->site->parameters[1])
        fb__say(out, "%s draws %" PRIu64 " | %" PRIu64 " numbers (%s) from the same state",
                name_or(a->site->consumer, "the program"), a->count, b->count,
                name_or(a->site->distribution, "draw"));
    else
        fb__say(out,
                "%s draws the same numbers with other parameters: %s(%g, %g) | (%g, %g), "
                "%" PRIu64 " | %" PRIu64 " of them",
                name_or(a->site->consumer, "the program"), name_or(a->site->distribution, "draw"),
                a->site->parameters[0], a->site->parameters[1], b->site->parameters[0],
                b->site->parameters[1], a->count, b->count);
    fb__say_fix(out, "make the distribution of %s equal in both: a dropout's probability, a range",
                name_or(a->site->consumer, "that draw"));
    return true;
}

static bool has_lone_draw(const fb__step *step, const char *stream)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site->kind == FB_KIND_DRAW && step->events[i].count > 0 &&
            step->events[i].partner == UINT32_MAX &&
            same_name(step->events[i].site->stream, stream))
            return true;
    return false;
}

/* Signature: as many numbers of another distribution, from the same state; and no run draws once
 * more in the step, so that a draw would stand where another one does. */
bool fb__rule_other_distribution(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    if (!fb__is_pair(c) || a->site->kind != FB_KIND_DRAW || a->stream_key != b->stream_key ||
        a->counter != b->counter || a->count != b->count ||
        same_name(a->site->distribution, b->site->distribution) ||
        has_lone_draw(&c->pair->a, a->site->stream) || has_lone_draw(&c->pair->b, a->site->stream))
        return false;
    fb__say(out, "%" PRIu64 " numbers are drawn as %s | %s, from the same state", a->count,
            name_or(a->site->distribution, "draw"), name_or(b->site->distribution, "draw"));
    fb__say_fix(out, "draw from the same distribution in both");
    return true;
}

/* Where the library's folder of distributions stands in an event's stack; NULL: it does not. */
static const char *distribution_of(const fb__step *step, const fb__step_event *e)
{
    static const char folder[] = "distributions/";
    const char *at =
        e == NULL ? NULL : strstr(fb__text(fb_trace_stack(step->trace, e->site_number)), folder);

    return at == NULL ? NULL : at + sizeof folder - 1;
}

/* Signature: what enters from outside enters in the making of a distribution of the library's: a
 * parameter of it. */
bool fb__rule_distribution(fb_diff_cause *out, const fb__case *c)
{
    const char *in_a = distribution_of(&c->pair->a, c->culprit->a);
    const char *in_b = distribution_of(&c->pair->b, c->culprit->b);

    if (!fb__is_other_content(c) || !fb__is_pair(c) || in_a == NULL || in_b == NULL)
        return false;
    fb__say(out, "a distribution is made with other parameters (torch.distributions.%.*s)",
            (int)strcspn(in_a, ".:\n"), in_a);
    fb__say_fix(out, "give it the same parameters in both");
    return true;
}

/* What a run has done with a generator before a draw. */
typedef struct history {
    uint64_t draws, seeds, seed; /* the last seed */
} history;

static history history_of(const fb__step *step, const fb__step_event *e)
{
    const fb_event *x = NULL;
    uint64_t number = 0;
    history h = {0, 0, 0};

    if (fb_trace_seek_event(step->trace, 0, NULL) != FB_OK)
        return h;
    while (fb_trace_next(step->trace, &x, &number, NULL) == FB_OK && x != NULL &&
           number < e->number) {
        const fb_site *site = fb_trace_site(step->trace, x->site);

        if (site == NULL || !same_name(site->stream, e->site->stream))
            continue;
        h.draws += site->kind == FB_KIND_DRAW && x->count > 0;
        if (site->kind == FB_KIND_SEED) {
            h.seeds++;
            h.seed = x->key;
        }
    }
    return h;
}

/* Whether a generator gives other numbers though its key, its place and what is asked of it are
 * equal. */
static bool gives_other_numbers(const fb__step_event *a, const fb__step_event *b)
{
    return a->stream_key == b->stream_key && a->counter == b->counter && a->count == b->count &&
           same_name(a->site->distribution, b->site->distribution) &&
           a->site->parameters[0] == b->site->parameters[0] &&
           a->site->parameters[1] == b->site->parameters[1] && !fb__is_told_by_state(a->site);
}

/* Whether anything says that torch's generator is seeded: a seed, however late, or that its state
 * is told at the end of a step. Of one that only the system has seeded the place alone is told, as
 * a note; so a seed that came before the recording shows. */
static bool may_be_seeded(fb_trace *trace)
{
    const fb_event *x = NULL;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return true;
    while (fb_trace_next(trace, &x, NULL, NULL) == FB_OK && x != NULL && x->step <= 1) {
        const fb_site *site = fb_trace_site(trace, x->site);

        if (site == NULL || !same_name(site->stream, "torch"))
            continue;
        if (site->kind == FB_KIND_SEED ||
            (site->kind == FB_KIND_DRAW && same_name(site->op, "state") && !site->note))
            return true;
    }
    return false;
}

/* Signature: the first draw of all from a stream finds the generator in another state. */
bool fb__rule_first_draw(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const char *stream;
    history x, y;

    if (c->report->first.name.kind != FB_KIND_DRAW || a == NULL || b == NULL ||
        (a->stream_key == b->stream_key && !gives_other_numbers(a, b)) || c->pair->a.step > 0)
        return false;
    x = history_of(&c->pair->a, a);
    y = history_of(&c->pair->b, b);
    if (x.draws > 0 || y.draws > 0 || (x.seeds > 0 && y.seeds > 0 && x.seed == y.seed))
        return false;
    stream = name_or(a->site->stream, "(unnamed)");
    if (strcmp(stream, "torch") == 0 && !may_be_seeded(c->pair->a.trace) &&
        !may_be_seeded(c->pair->b.trace)) {
        fb__say(out, "neither run seeds torch: the system does, otherwise in each run");
        fb__say_fix(out, "call torch.manual_seed(...) before anything draws");
        return true;
    }
    fb__say(out,
            "generator %s is in another state when it is first used: seeded otherwise, or not "
            "at all",
            stream);
    fb__say_fix(out, "seed %s alike in both, before anything draws from it", stream);
    return true;
}

static bool is_any_tensor(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR;
}

/* One state of the generator serves two calls with other arguments: one of the runs has drawn once
 * more before. */
static bool say_other_call(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *x = fb__reader(c, c->culprit->a, is_any_tensor, 4);
    const fb__step_event *y = fb__reader(c, c->culprit->b, is_any_tensor, 4);
    fb__argument_pair p;

    if (x == NULL || y == NULL || !fb__other_argument(&p, x->site, y->site))
        return false;
    fb__say(
        out, "one state of stream %s serves %s with %s %s | %s: one run has drawn once more before",
        name_or(c->culprit->a->site->stream, "(unnamed)"), fb__text(x->site->op), p.name, p.a, p.b);
    return true;
}

/* Numbers that one side has drawn and not recorded. */
static void say_position(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const bool in_b = b->counter > a->counter;
    const uint64_t more = in_b ? b->counter - a->counter : a->counter - b->counter;

    out->confirmed = confirm_draws(c, a, more, true, in_b);
    fb__say(out,
            "stream %s stands at position %" PRIu64 " | %" PRIu64 ": %s has drawn %" PRIu64
            " more numbers from it before, unrecorded",
            name_or(a->site->stream, "(unnamed)"), a->counter, b->counter, in_b ? "b" : "a", more);
}

/* The last draw of the same generator before the culprit, in the step, where it is on record and
 * differs; NULL: it does not, or there is none. */
static const fb__step_event *other_draw_before(const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *found = NULL;
    const fb__step *step = &c->pair->a;

    if (a < step->events || a >= step->events + step->count)
        return NULL;
    for (const fb__step_event *e = step->events; e < a; e++)
        if (e->site->kind == FB_KIND_DRAW && e->count > 0 &&
            same_name(e->site->stream, a->site->stream))
            found = e;
    return found == NULL || found->equal ? NULL : found;
}

/* A generator whose draws tell no position stands elsewhere. */
static void say_state(fb_diff_cause *out, const fb__case *c)
{
    const char *stream = name_or(c->culprit->a->site->stream, "(unnamed)");
    const fb__step_event *x = other_draw_before(c);
    const fb__step_event *y =
        x == NULL || x->partner == UINT32_MAX ? NULL : &c->pair->b.events[x->partner];

    if (y != NULL)
        fb__say(out,
                "generator %s stands in another state: the draw before this is %s of %" PRIu64
                " numbers | %s of %" PRIu64,
                stream, name_or(x->site->distribution, "one"), x->count,
                name_or(y->site->distribution, "one"), y->count);
    else if (x != NULL)
        fb__say(out, "generator %s stands in another state: only a has the draw before this (%s)",
                stream, name_or(x->site->distribution, "draw"));
    else
        fb__say(out,
                "generator %s stands in another state: something has drawn from it before, "
                "unrecorded, or it was seeded or put back (set_rng_state) otherwise",
                stream);
    fb__say_fix(out,
                "seed %s in both; find what else draws from it, and give that a generator of its "
                "own",
                stream);
}

bool fb__rule_rng_offset(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    if (c->report->first.name.kind != FB_KIND_DRAW)
        return false;
    if (a == NULL || b == NULL) {
        say_one_sided(out, c);
        return true;
    }
    if (a->stream_key != b->stream_key && fb__is_told_by_state(a->site)) {
        say_state(out, c);
        return true;
    }
    if (a->stream_key != b->stream_key) {
        fb__say(out, "stream %s has another key: 0x%" PRIx64 " | 0x%" PRIx64,
                name_or(a->site->stream, "(unnamed)"), a->stream_key, b->stream_key);
        fb__say_fix(out, "key the generator alike in both runs");
        return true;
    }
    if (a->counter != b->counter)
        say_position(out, c);
    else if (!same_name(a->site->distribution, b->site->distribution))
        fb__say(out, "the numbers of stream %s are used for %s | %s",
                name_or(a->site->stream, "(unnamed)"), name_or(a->site->distribution, "draw"),
                name_or(b->site->distribution, "draw"));
    else if (!say_other_call(out, c))
        fb__say(out, "a draw from stream %s differs: %s | %s",
                name_or(a->site->stream, "(unnamed)"), c->report->first.content_a,
                c->report->first.content_b);
    fb__say_fix(out, "find what else draws from stream %s, and give it a generator of its own",
                name_or(a->site->stream, "(unnamed)"));
    return true;
}

/* Signature: a schedule makes a step on one side only. */
bool fb__rule_schedule_call(fb_diff_cause *out, const fb__case *c)
{
    const fb_event_name *name = &c->report->first.name;

    if (name->kind != FB_KIND_MODE || strncmp(name->path, "scheduler", 9) != 0)
        return false;
    if (c->culprit->a != NULL && c->culprit->b != NULL)
        fb__say(out, "%s is called otherwise (%s)", name->path, name->op);
    else
        fb__say(out, "only %s calls %s here (%s)", fb__culprit_side(c), name->path, name->op);
    fb__say_fix(out,
                "call scheduler.step() at the same places in both, once for each step or epoch");
    return true;
}

/* Signature: a mode event differs. */
bool fb__rule_mode_flag(fb_diff_cause *out, const fb__case *c)
{
    const fb__culprit *u = c->culprit;

    if (c->report->first.name.kind != FB_KIND_MODE)
        return false;
    if (u->a != NULL && u->b != NULL)
        fb__say(out, "%s of %s is %s | %s", c->report->first.name.slot, c->report->first.name.path,
                u->a->value != 0 ? "on" : "off", u->b->value != 0 ? "on" : "off");
    else
        fb__say(out, "only %s sets a mode of %s here", fb__culprit_side(c),
                c->report->first.name.path);
    if (strcmp(c->report->first.name.slot, "zero_grad") == 0) {
        fb__say(out, "only %s sets the gradients of %s to zero here", fb__culprit_side(c),
                c->report->first.name.path);
        fb__say_fix(out, "call zero_grad() at the same places in both");
        return true;
    }
    fb__say_fix(out, "call train() and eval() at the same places in both");
    return true;
}
