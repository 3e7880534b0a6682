/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_config.c - causes that the headers declare: another seed, another key of the configuration.
 *
 * A declared difference is blamed only where it can act on the culprit, and where runs can be
 * replayed, only when the replay of a with b's value does not refute it.
 */
#include <string.h>

#include "diff/cause/causes.h"
#include "diff/cause/counterfactual.h"
#include "diff/cause/evidence.h"

enum { TRIALS_MAX = 4, TEXT_MAX = 96 };

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* A file's name may differ while its contents do not. */
static bool is_path_only(const fb__case *c, const fb_diff_candidate *k)
{
    return k->a[0] == '"' && k->b[0] == '"' && fb__headers_same_files(c->headers) &&
           (begins(k->key, "data") || begins(k->key, "weights"));
}

/* Whether a key of the configuration can change the culprit without changing anything before it. */
static bool can_act(const fb__case *c, const fb_diff_candidate *k)
{
    const fb_phase phase = c->report->first.name.phase;
    const bool update = phase == FB_PHASE_OPTIMIZER || phase == FB_PHASE_SCHEDULE;

    if (begins(k->key, "eval") || begins(k->key, "checkpoint") || strcmp(k->key, "steps") == 0)
        return false;
    if (is_path_only(c, k))
        return false;
    if (begins(k->key, "optimizer") || begins(k->key, "schedule") || begins(k->key, "clip"))
        return update;
    if (begins(k->key, "loss") || begins(k->key, "ignore_index"))
        return phase == FB_PHASE_LOSS || phase == FB_PHASE_BACKWARD;
    if (begins(k->key, "weights"))
        return phase == FB_PHASE_INIT;
    if (begins(k->key, "batch"))
        return phase != FB_PHASE_INIT;
    return true;
}

static bool can_be_set(const fb_diff_candidate *k)
{
    return strcmp(k->a, "absent") != 0 && strcmp(k->b, "absent") != 0;
}

static void say_key(fb_diff_cause *out, const fb_diff_candidate *k, size_t others)
{
    char a[TEXT_MAX], b[TEXT_MAX];

    fb__json_plain(a, sizeof a, k->a);
    fb__json_plain(b, sizeof b, k->b);
    if (others == 0)
        fb__say(out, "%s %s | %s", k->key, a, b);
    else
        fb__say(out, "%s %s | %s, and %zu more keys", k->key, a, b, others);
    fb__say_fix(out, "set %s to the same value in both", k->key);
}

/* A generator that is put into a state, as recorders tell it: its number is a hash. */
static bool say_state(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;

    if (strcmp(fb__text(site->op), "begins") == 0) {
        if (fb__is_pair(c))
            fb__say(out, "generator %s begins in another state: it was seeded otherwise",
                    fb__text(site->stream));
        else
            fb__say(out, "only %s has a generator %s", fb__culprit_side(c), fb__text(site->stream));
        fb__say_fix(out, "make %s with the same seed in both", fb__text(site->stream));
        return true;
    }
    if (strcmp(fb__text(site->op), "set_state") != 0)
        return false;
    if (fb__is_pair(c))
        fb__say(out, "generator %s is put into another state here", fb__text(site->stream));
    else
        fb__say(out, "generator %s is put into an earlier state, or a saved one, in %s only",
                fb__text(site->stream), fb__culprit_side(c));
    fb__say_fix(out, "restore the state of %s in both, from the same place",
                fb__text(site->stream));
    return true;
}

/* Whose generator an event seeds: numpy, python, torch, torch.generator2. */
static const char *seeded(const fb__step_event *e)
{
    const char *stream = fb__text(e->site->stream);

    return stream[0] != '\0' ? stream : fb__text(e->site->path);
}

bool fb__rule_seed(fb_diff_cause *out, const fb__case *c)
{
    size_t at = 0;
    const fb_diff_candidate *k = fb__candidate_next(c->report, &at, "seed", "");
    const fb_kind kind = c->report->first.name.kind;
    const fb__culprit *u = c->culprit;

    if (k != NULL && (kind == FB_KIND_SEED || kind == FB_KIND_DRAW || kind == FB_KIND_SAMPLE ||
                      kind == FB_KIND_PARAM)) {
        const fb_config_set set = {"seed", k->b};

        out->confirmed = fb__try_settings(c, &set, 1) == FB__TRIAL_CONFIRMED;
        fb__say(out, "the runs have different seeds: %s | %s", k->a, k->b);
        fb__say_fix(out, "set seed to the same value in both");
        return true;
    }
    if (kind != FB_KIND_SEED)
        return false;
    if (say_state(out, c))
        return true;
    if (u->a == NULL || u->b == NULL)
        fb__say(out, "the generator of %s is seeded in %s only", seeded(fb__culprit_event(c)),
                fb__culprit_side(c));
    else
        fb__say(out, "the generator of %s is seeded with %llu | %llu", seeded(u->a),
                (unsigned long long)u->a->stream_key, (unsigned long long)u->b->stream_key);
    fb__say_fix(out, "seed every generator, with the same value in both");
    return true;
}

bool fb__rule_config(fb_diff_cause *out, const fb__case *c)
{
    const fb_diff_candidate *able[TRIALS_MAX] = {NULL}, *k;
    fb_config_set sets[TRIALS_MAX];
    size_t n = 0, all = 0, at = 0;
    bool refuted = true;

    while ((k = fb__candidate_next(c->report, &at, "config", "")) != NULL)
        if (can_act(c, k)) {
            if (n < TRIALS_MAX)
                able[n++] = k;
            all++;
        }
    if (all == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        fb__trial trial = FB__TRIAL_UNKNOWN;

        sets[i] = (fb_config_set){able[i]->key, able[i]->b};
        if (can_be_set(able[i]))
            trial = fb__try_settings(c, &sets[i], 1);
        if (trial == FB__TRIAL_CONFIRMED) {
            out->confirmed = true;
            say_key(out, able[i], 0);
            return true;
        }
        refuted &= trial == FB__TRIAL_REFUTED;
    }
    if (refuted && n > 1) {
        const fb__trial trial = fb__try_settings(c, sets, n);

        out->confirmed = trial == FB__TRIAL_CONFIRMED;
        refuted = trial == FB__TRIAL_REFUTED;
    }
    if (refuted && all <= TRIALS_MAX)
        return false;
    say_key(out, able[0], all - 1);
    return true;
}
