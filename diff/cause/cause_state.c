/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_state.c - causes in the states of random generators: numbers that come again, orders that
 * are drawn otherwise.
 */
#include <inttypes.h>
#include <string.h>

#include "diff/cause/evidence.h"

/* The step of an earlier draw that began with the same state of the same generator, or UINT64_MAX.
 * A state is never met twice by drawing. */
static uint64_t drawn_before(const char **stream, const fb__step *step, const fb__step_event *e)
{
    const fb_event *x = NULL;
    uint64_t number = 0;

    if (fb_trace_seek_event(step->trace, 0, NULL) != FB_OK)
        return UINT64_MAX;
    while (fb_trace_next(step->trace, &x, &number, NULL) == FB_OK && x != NULL &&
           number < e->number) {
        const fb_site *site = fb_trace_site(step->trace, x->site);

        if (site != NULL && site->kind == FB_KIND_DRAW && x->key == e->stream_key && x->count > 0 &&
            e->count > 0 && x->counter == e->counter && fb__is_told_by_state(site)) {
            *stream = fb__text(site->stream);
            return x->step;
        }
    }
    return UINT64_MAX;
}

/* How often a run seeds a generator with this number. */
static size_t count_seeds(fb_trace *trace, const fb__step_event *e)
{
    const fb_event *x = NULL;
    size_t n = 0;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return 0;
    while (fb_trace_next(trace, &x, NULL, NULL) == FB_OK && x != NULL) {
        const fb_site *site = fb_trace_site(trace, x->site);

        n += site != NULL && site->kind == FB_KIND_SEED && x->key == e->stream_key &&
             strcmp(fb__text(site->stream), fb__text(e->site->stream)) == 0;
    }
    return n;
}

/* Another generator that a run has seeded with the number of this one, before it; NULL: none. */
static const char *seeded_alike(fb_trace *trace, const fb__step_event *e)
{
    const fb_event *x = NULL;
    uint64_t number = 0;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return NULL;
    while (fb_trace_next(trace, &x, &number, NULL) == FB_OK && x != NULL && number < e->number) {
        const fb_site *site = fb_trace_site(trace, x->site);

        if (site != NULL && site->kind == FB_KIND_SEED && x->key == e->stream_key &&
            strcmp(fb__text(site->stream), fb__text(e->site->stream)) != 0 &&
            fb__is_own_generator(fb__text(site->stream)) &&
            fb__is_same_family(fb__text(site->stream), fb__text(e->site->stream)))
            return fb__text(site->stream);
    }
    return NULL;
}

static bool is_set_state(const fb_site *site)
{
    return strcmp(fb__text(site->op), "set_state") == 0;
}

/* Signature: two generators are seeded with one number, in one run only. The default one may well
 * be seeded like a loader's. */
bool fb__rule_seeded_alike(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const char *in_a, *in_b, *other;

    if (!fb__is_pair(c) || a->site->kind != FB_KIND_SEED || is_set_state(a->site) ||
        !fb__is_own_generator(fb__text(a->site->stream)))
        return false;
    in_a = seeded_alike(c->pair->a.trace, a);
    in_b = seeded_alike(c->pair->b.trace, b);
    other = in_a != NULL ? in_a : in_b;
    if ((in_a == NULL) == (in_b == NULL))
        return false;
    fb__say(out, "%s seeds %s with %" PRIu64 ", as %s: the two give the same numbers",
            in_a != NULL ? "a" : "b", fb__text(a->site->stream), (in_a != NULL ? a : b)->stream_key,
            other);
    fb__say_fix(out, "give each generator a seed of its own");
    return true;
}

/* Signature: one run seeds a generator with the same number several times. */
bool fb__rule_seed_again(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    size_t a, b;

    if (e->site->kind != FB_KIND_SEED || fb__is_pair(c) || is_set_state(e->site))
        return false;
    a = count_seeds(c->pair->a.trace, e);
    b = count_seeds(c->pair->b.trace, e);
    if ((a > 1) == (b > 1) || a == 0 || b == 0)
        return false;
    fb__say(out, "%s is seeded with %" PRIu64 " %zu | %zu times: its numbers come again",
            fb__text(e->site->stream), e->stream_key, a, b);
    fb__say_fix(out, "seed %s once, at the start", fb__text(e->site->stream));
    return true;
}

/* Whether all that the numbers decide is which samples come. */
static bool is_order(const fb__step_event *e)
{
    static const char *const orders[] = {"randperm", "permutation", "shuffle"};

    return fb__is_one_of(fb__text(e->site->distribution), orders, sizeof orders / sizeof orders[0]);
}

static bool is_row_pick(const fb_site *site)
{
    return fb__text(site->path)[0] == '\0' &&
           (fb__op_is(site, "index") || fb__op_is(site, "index_select"));
}

/* Whether a run takes samples of this dataset through a sampler of this class anywhere. */
static bool uses_sampler(fb_trace *trace, const fb_site *like, const char *sampler)
{
    const fb_event *e = NULL;
    char own[64];

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return false;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site != NULL && site->kind == FB_KIND_SAMPLE && site->role == like->role &&
            strcmp(fb__text(site->dataset), fb__text(like->dataset)) == 0 &&
            fb__argument(own, sizeof own, site, "sampler") && strcmp(own, sampler) == 0)
            return true;
    }
    return false;
}

/* The first batches of the step, where their samplers are of other classes. Two loaders that both
 * runs have are none of another class: one run goes over from one to the other earlier. */
static bool other_sampler(fb__argument_pair *p, const fb__case *c)
{
    const fb__step_event *x = fb__first_different(&c->pair->a, FB_KIND_SAMPLE);
    const fb__step_event *y = fb__first_different(&c->pair->b, FB_KIND_SAMPLE);

    return x != NULL && y != NULL && x->site->role == y->site->role &&
           strcmp(fb__text(x->site->dataset), fb__text(y->site->dataset)) == 0 &&
           fb__argument(p->a, sizeof p->a, x->site, "sampler") &&
           fb__argument(p->b, sizeof p->b, y->site, "sampler") && strcmp(p->a, p->b) != 0 &&
           !(uses_sampler(c->pair->a.trace, x->site, p->b) &&
             uses_sampler(c->pair->b.trace, x->site, p->a));
}

static bool is_drawn_by_sampler(const fb__case *c, const fb__step_event *e)
{
    const char *stack = fb_trace_stack(fb__step_of(c, e)->trace, e->site_number);

    return strstr(fb__text(stack), "sampler.py") != NULL &&
           fb__first_different(&c->pair->a, FB_KIND_SAMPLE) != NULL;
}

/* Signature: a permutation differs or is missing, of a generator that draws nothing else here, or
 * that has drawn it before. */
bool fb__rule_order_draw(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b, *e = fb__culprit_event(c);
    const char *stream = "";
    fb__argument_pair p;
    bool again_a, again_b;

    if (e->site->kind == FB_KIND_DRAW && other_sampler(&p, c)) {
        fb__say(out, "samples are chosen by %s | %s, which draw other numbers", p.a, p.b);
        fb__say_fix(out, "shuffle in both or in neither, with a generator of its own and a fixed "
                         "seed");
        return true;
    }
    if (e->site->kind == FB_KIND_DRAW && (a == NULL || b == NULL) && is_drawn_by_sampler(c, e)) {
        fb__say(out, "only %s draws for the order of its samples", fb__culprit_side(c));
        fb__say_fix(out, "shuffle in both or in neither, with a generator of its own and a fixed "
                         "seed");
        return true;
    }

    if (fb__is_pair(c) && e->site->kind == FB_KIND_DRAW && is_order(a) != is_order(b) &&
        a->stream_key == b->stream_key) {
        fb__say(out, "%s draws an order of samples (%s) where %s draws for something else (%s)",
                is_order(a) ? "a" : "b", fb__text((is_order(a) ? a : b)->site->distribution),
                is_order(a) ? "b" : "a", fb__text((is_order(a) ? b : a)->site->distribution));
        fb__say_fix(out, "draw the order at the same place in both, from a generator of its own");
        return true;
    }
    if (e->site->kind != FB_KIND_DRAW || !is_order(e) ||
        (fb__is_pair(c) && a->stream_key == b->stream_key && a->counter != b->counter))
        return false; /* or its position alone is another one: something has drawn before */
    if (!fb__is_pair(c) && fb__reader(c, e, is_row_pick, 4096) != NULL) {
        fb__say(out, "only %s draws the order of its samples anew here", fb__culprit_side(c));
        fb__say_fix(out, "draw the permutation in each epoch in both, or in neither");
        return true;
    }
    if (strcmp(fb__text(e->site->stream), "torch") == 0)
        return false;
    again_a = a != NULL && drawn_before(&stream, &c->pair->a, a) != UINT64_MAX;
    again_b = b != NULL && drawn_before(&stream, &c->pair->b, b) != UINT64_MAX;
    if (again_a != again_b)
        fb__say(out, "%s takes the permutation of an earlier epoch again", again_a ? "a" : "b");
    else if (a == NULL || b == NULL)
        return false;
    else
        fb__say(out, "the permutation of %" PRIu64 " samples is drawn from another state of %s",
                e->count, fb__text(e->site->stream));
    fb__say_fix(out, "seed the sampler's generator once and alike, call set_epoch() in each epoch");
    return true;
}

/* Whether a run puts a generator back between two steps, both included. */
static bool puts_back(fb_trace *trace, uint64_t from, uint64_t to)
{
    const fb_event *e = NULL;

    if (fb_trace_seek(trace, from, NULL) != FB_OK)
        return false;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= to) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site != NULL && strcmp(fb__text(site->op), "set_rng_state") == 0)
            return true;
    }
    return false;
}

/* Signature: a draw from a state that its run has drawn from before, where the other run's is new.
 * A state that is put back on purpose, around an evaluation, is no reuse. */
bool fb__rule_key_reuse(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const char *before = "", *stream = fb__text(fb__culprit_event(c)->site->stream);
    uint64_t in_a = UINT64_MAX, in_b = UINT64_MAX, at;

    if (fb__culprit_event(c)->site->kind != FB_KIND_DRAW)
        return false;
    if (a != NULL && a->count > 0)
        in_a = drawn_before(&before, &c->pair->a, a);
    if (b != NULL && b->count > 0)
        in_b = drawn_before(&before, &c->pair->b, b);
    if ((in_a == UINT64_MAX) == (in_b == UINT64_MAX))
        return false;
    at = in_a != UINT64_MAX ? in_a : in_b;
    if (puts_back(in_a != UINT64_MAX ? c->pair->a.trace : c->pair->b.trace, at, c->pair->a.step))
        return false;
    /* A library's generator for all and one of the program's own may well be seeded alike. */
    if (strcmp(before, stream) != 0 &&
        (!fb__is_own_generator(before) || !fb__is_own_generator(stream)))
        return false;
    if (strcmp(before, stream) == 0)
        fb__say(out,
                "%s draws the numbers of %s again that it has drawn in step %" PRIu64
                ": the generator was set back to that state",
                in_a != UINT64_MAX ? "a" : "b", stream, at);
    else
        fb__say(out,
                "%s draws from %s the numbers that %s has given in step %" PRIu64
                ": the two are seeded alike",
                in_a != UINT64_MAX ? "a" : "b", stream, before, at);
    fb__say_fix(out, "seed once, at the start; give each worker, epoch or use a seed of its own");
    return true;
}

/* --- Draws for a reader ----------------------------------------------------------------------- */

static bool is_draw(const fb_site *site)
{
    return site->kind == FB_KIND_DRAW;
}

static bool is_outside(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && fb__text(site->path)[0] == '\0';
}

/* The draw that the k-th input has its numbers from, a few ops before, outside of all modules;
 * NULL: it has none. */
static const fb_site *drawn_for(const fb__case *c, const fb__step_event *e, uint32_t k)
{
    const fb_site *site = fb__input_site(c, e, k);

    return site == NULL || !is_outside(site) ? NULL : fb__origin(c, e, k, is_draw, is_outside, 4);
}

/* Signature: an op reads the numbers of one draw in one run, those of another in the other. */
bool fb__rule_other_draw(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    char inputs[FB__INPUTS_TEXT];

    if (!fb__is_pair(c) || a->site->kind != FB_KIND_TENSOR)
        return false;
    for (uint32_t k = 0; k < a->input_count && k < b->input_count; k++) {
        const fb_site *in_a = drawn_for(c, a, k), *in_b = drawn_for(c, b, k);

        if (in_a == NULL || in_b == NULL || fb__is_same_input(c, k) ||
            strcmp(fb__text(fb__input_site(c, a, k)->op), fb__text(fb__input_site(c, b, k)->op)) !=
                0 ||
            (in_a->occurrence == in_b->occurrence &&
             strcmp(fb__text(in_a->stream), fb__text(in_b->stream)) == 0) ||
            !fb__other_inputs(inputs, sizeof inputs, c))
            continue;
        fb__say(out, "%s %s: the numbers of another draw", fb__text(a->site->op), inputs);
        fb__say_fix(out, "draw once and keep the result where it is used again, in both");
        return true;
    }
    return false;
}

static bool is_trained_on(const fb_site *site)
{
    return site->phase == FB_PHASE_BACKWARD || site->kind == FB_KIND_PARAM;
}

/* Signature: more numbers of the same kind from one state, for something that training does not
 * use. */
bool fb__rule_more_numbers(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    if (!fb__is_pair(c) || a->site->kind != FB_KIND_DRAW || a->stream_key != b->stream_key ||
        a->counter != b->counter || a->count == b->count ||
        a->site->parameters[0] != b->site->parameters[0] ||
        a->site->parameters[1] != b->site->parameters[1] ||
        (a->site->phase == FB_PHASE_INIT && !fb__comes_again(c, a)) ||
        fb__reader(c, a, is_trained_on, 1 << 14) != NULL ||
        fb__reader(c, b, is_trained_on, 1 << 14) != NULL)
        return false;
    fb__say(out,
            "%" PRIu64 " | %" PRIu64 " numbers are drawn from %s (%s) for what no training uses: "
            "the generator stands elsewhere behind it",
            a->count, b->count, fb__text(a->site->stream), fb__text(a->site->distribution));
    fb__say_fix(out, "give what is drawn for evaluation or pictures a generator of its own");
    return true;
}

/* --- Workers ---------------------------------------------------------------------------------- */

enum { WORKERS_MAX = 64 };

/* The state in which each worker's generator of one kind begins. */
typedef struct beginnings {
    const char *stream[WORKERS_MAX];
    uint64_t key[WORKERS_MAX];
    size_t count;
} beginnings;

/* "numpy" of "worker3.numpy"; NULL: no stream of a worker. */
static const char *of_worker(const char *stream)
{
    const char *dot = strncmp(stream, "worker", 6) == 0 ? strchr(stream, '.') : NULL;
    return dot == NULL ? NULL : dot + 1;
}

static void read_beginnings(beginnings *out, fb_trace *trace)
{
    const fb_event *e = NULL;

    out->count = 0;
    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return;
    while (out->count < WORKERS_MAX && fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL) {
        const fb_site *site = fb_trace_site(trace, e->site);
        size_t i = 0;

        if (site == NULL || site->kind != FB_KIND_DRAW || of_worker(fb__text(site->stream)) == NULL)
            continue;
        while (i < out->count && strcmp(out->stream[i], site->stream) != 0)
            i++;
        if (i == out->count) {
            out->stream[i] = site->stream;
            out->key[i] = e->key;
            out->count++;
        }
    }
}

/* A stream whose workers begin alike; NULL: none. */
static const char *alike(const beginnings *w)
{
    for (size_t i = 0; i < w->count; i++)
        for (size_t k = 0; k < i; k++)
            if (w->key[i] == w->key[k] &&
                strcmp(of_worker(w->stream[i]), of_worker(w->stream[k])) == 0)
                return of_worker(w->stream[i]);
    return NULL;
}

/* Signature: two workers of one run begin with one state of a generator, those of the other do not,
 * and what differs first is such a state or what a worker made. */
bool fb__rule_workers(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;
    const char *in_a, *in_b;
    beginnings w;

    if (site->kind != FB_KIND_SAMPLE &&
        (site->kind != FB_KIND_DRAW || of_worker(fb__text(site->stream)) == NULL))
        return false;
    read_beginnings(&w, c->pair->a.trace);
    in_a = alike(&w);
    read_beginnings(&w, c->pair->b.trace);
    in_b = alike(&w);
    if ((in_a != NULL) == (in_b != NULL))
        return false;
    fb__say(out, "the workers of %s begin with one state of %s: they draw the same numbers",
            in_a != NULL ? "a" : "b", in_a != NULL ? in_a : in_b);
    fb__say_fix(out, "seed %s in worker_init_fn with torch.initial_seed() and the worker's number",
                in_a != NULL ? in_a : in_b);
    return true;
}
