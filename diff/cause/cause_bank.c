/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_bank.c - a run of the engine that its own replay does not reproduce was computed otherwise:
 * which formula of the bank (engine/override/override.h) makes it, bit for bit?
 *
 * Every entry that can act in the culprit's phase is tried by a replay of that run through the end
 * of the divergent step, the rest of the bank after these. Several that fit are told apart by the
 * steps that follow; where even these agree, all are named.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "diff/cause/causes.h"
#include "diff/cause/counterfactual.h"

enum {
    FOUND_MAX = 8,        /* entries that fit and are told apart by later steps */
    STEPS_BEHIND = 16,    /* how many of these */
    SECONDS_MAX = 20,     /* replays of a large model take long: the search gives up */
    SAMPLER_BATCHES = 16, /* how far a sampler may have run ahead */
};

/* Seeds that people use; the run's own neighbours are added. */
static const uint64_t usual_seeds[] = {0,    1,    2,    3,    4,    5,    7,
                                       10,   13,   42,   100,  123,  1234, 1337,
                                       2021, 2022, 2023, 2024, 2025, 2026, 12345};

typedef struct bank_search {
    const fb__case *of;
    bool in_b;                     /* the side that is not the engine's own */
    struct timespec began, worked; /* by the clock, and of the processor */
    bool expired;
    fb_override_use found[FOUND_MAX];
    size_t found_count;
} bank_search;

/* On a busy machine the clock goes on while the search does not: processor time counts as well. */
static bool is_expired(bank_search *s)
{
    struct timespec now, worked;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &worked);
    s->expired |= now.tv_sec - s->began.tv_sec >= SECONDS_MAX &&
                  worked.tv_sec - s->worked.tv_sec >= SECONDS_MAX / 2;
    return s->expired;
}

/* Whether exactly one run is not reproduced by its own replay, and which. */
static bool find_strange_side(bool *in_b, const fb__case *c)
{
    const fb__values *v = c->values;
    const uint64_t step = c->report->first.name.step;
    fb__trial a, b;

    if (v->tried && v->a.replayed && v->b.replayed) {
        *in_b = !v->b.reproduced;
        return v->a.reproduced != v->b.reproduced;
    }
    a = fb__try_override(c, false, NULL, step);
    b = a == FB__TRIAL_UNKNOWN ? a : fb__try_override(c, true, NULL, step);
    *in_b = b == FB__TRIAL_REFUTED;
    return a != FB__TRIAL_UNKNOWN && b != FB__TRIAL_UNKNOWN && a != b;
}

static bool try_use(bank_search *s, const fb_override_use *use)
{
    const uint64_t step = s->of->report->first.name.step;

    if (s->found_count == FOUND_MAX || is_expired(s) ||
        fb__try_override(s->of, s->in_b, use, step) != FB__TRIAL_CONFIRMED)
        return false;
    s->found[s->found_count++] = *use;
    return true;
}

/* Everywhere, then in the culprit's layer alone. */
static void try_places(bank_search *s, const fb_override *what)
{
    const char *path = s->of->report->first.name.path;
    fb_override_use use = {.what = what};

    if (try_use(s, &use) || !what->takes_path || path[0] == '\0' || strlen(path) >= sizeof use.path)
        return;
    memcpy(use.path, path, strlen(path) + 1);
    (void)try_use(s, &use);
}

static void try_numbers(bank_search *s, const fb_override *what)
{
    const fb__run_header *header = s->in_b ? &s->of->headers->b : &s->of->headers->a;
    const double seed =
        cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(header->configuration, "seed"));
    const bool seeds = strstr(what->name, "seed") != NULL;
    fb_override_use use = {.what = what};

    if (seeds && seed >= 0.0 && seed < 0x1p53) {
        use.number = (uint64_t)seed + 1;
        if (try_use(s, &use))
            return;
        use.number = seed > 0.0 ? (uint64_t)seed - 1 : 0;
        if (try_use(s, &use))
            return;
    }
    for (size_t i = 0; i < sizeof usual_seeds / sizeof usual_seeds[0] && seeds; i++) {
        use.number = usual_seeds[i];
        if (try_use(s, &use))
            return;
    }
    for (use.number = 1; use.number <= SAMPLER_BATCHES && !seeds; use.number++)
        if (try_use(s, &use))
            return;
}

/* Entries of the culprit's phase, or all others. */
static void try_entries(bank_search *s, bool of_phase)
{
    const uint32_t phase = 1u << s->of->report->first.name.phase;

    for (size_t i = 0; i < fb_override_count(); i++) {
        const fb_override *what = fb_override_at(i);

        if (((what->phases & phase) != 0) != of_phase)
            continue;
        if (what->takes_number)
            try_numbers(s, what);
        else
            try_places(s, what);
    }
}

/* Of several that fit the divergent step, keeps those that fit the steps behind it too. */
static void tell_apart(bank_search *s)
{
    const fb_diff_report *r = s->of->report;
    const uint64_t step = r->first.name.step;
    const uint64_t to = r->last_step < step + STEPS_BEHIND ? r->last_step : step + STEPS_BEHIND;
    fb_override_use kept[FOUND_MAX];
    size_t count = 0;

    if (s->found_count < 2 || to <= step)
        return;
    for (size_t i = 0; i < s->found_count && !is_expired(s); i++)
        if (fb__try_override(s->of, s->in_b, &s->found[i], to) == FB__TRIAL_CONFIRMED)
            kept[count++] = s->found[i];
    if (count == 0 || s->expired)
        return;
    memcpy(s->found, kept, count * sizeof kept[0]);
    s->found_count = count;
}

/* --- Words ------------------------------------------------------------------------------------ */

static const char *fix_of(const char *cause)
{
    static const struct {
        const char *cause, *fix;
    } fixes[] = {
        {"optimizer-formula", "give both runs one optimizer"},
        {"schedule", "give both runs one schedule, and step it at the same place"},
        {"clipping", "clip both runs alike"},
        {"loss-normalization", "divide the loss of the whole batch by what counts in all of it"},
        {"loss-target", "shift and mask the targets alike in both runs"},
        {"grad-accumulation", "set gradients to zero once a step and add up every micro-batch"},
        {"mode-flag", "call train() before every training step, after each evaluation too"},
        {"rng-key-reuse", "let every step draw with a key, or from a position, of its own"},
        {"rng-offset", "let both runs draw the same numbers"},
        {"data-order", "give the sampler of both runs one seed and one state"},
        {"sample-duplicated-or-missing", "look at how the sampler makes up a batch"},
        {"init", "initialize both runs alike"},
        {"checkpoint-resume", "save and restore that with the checkpoint"},
        {"mask-or-position", "compare masks and positions of the two programs"},
        {"precision-cast", "keep that tensor in float32 in both runs"},
        {"aliasing-or-tying", "tie the weights in both runs"},
        {"backward-op", "compare the backward pass of that layer"},
    };

    for (size_t i = 0; i < sizeof fixes / sizeof fixes[0]; i++)
        if (strcmp(fixes[i].cause, cause) == 0)
            return fixes[i].fix;
    return "compare that layer in the two programs";
}

/* "NAME, or NAME" as --override takes them. */
static void name_all(char *out, size_t size, const bank_search *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->found_count && n < size; i++) {
        const fb_override_use *u = &s->found[i];

        n += (size_t)snprintf(out + n, size - n, "%s%s", i == 0 ? "" : " or ", u->what->name);
        if (n < size && u->what->takes_number)
            n += (size_t)snprintf(out + n, size - n, "=%llu", (unsigned long long)u->number);
        if (n < size && u->path[0] != '\0')
            n += (size_t)snprintf(out + n, size - n, "@%s", u->path);
    }
}

/* Kernels of contract 0 give other bits in a repeat; no formula explains that. */
static bool promises_nothing(const fb__run_header *header)
{
    return fb__run_header_is_openblas(header) || (header->has_contract && header->contract == 0);
}

bool fb__try_bank(fb_diff_cause *out, fb_override_use *use, bool *in_b, const fb__case *c)
{
    bank_search s = {.of = c};
    char names[512];
    const fb_override *what;

    if (c->no_trials || c->options->no_replay || !c->report->engine ||
        promises_nothing(&c->headers->a) || promises_nothing(&c->headers->b) ||
        !find_strange_side(&s.in_b, c))
        return false;
    (void)clock_gettime(CLOCK_MONOTONIC, &s.began);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &s.worked);
    try_entries(&s, true);
    if (s.found_count == 0)
        try_entries(&s, false);
    tell_apart(&s);
    if (s.found_count == 0)
        return false;
    what = s.found[0].what;
    *use = s.found[0];
    *in_b = s.in_b;
    name_all(names, sizeof names, &s);
    out->name = what->cause;
    out->confirmed = true;
    fb__say(out, "in %s %s%s%s (override %s)%s", s.in_b ? "b" : "a", what->words,
            s.found[0].path[0] != '\0' ? ", in " : "", s.found[0].path, names,
            s.found_count > 1 ? "; the traces do not tell these apart" : "");
    fb__say_fix(out, "%s", fix_of(what->cause));
    return true;
}
