/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_header.c - causes of recorded programs that stand beside the computation: what was typed on
 * the command line, the hash seed of an interpreter.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff/cause/evidence.h"

/* --- The command line ------------------------------------------------------------------------- */

/* Names of places differ between any two runs and decide nothing. */
static bool is_place(const char *json)
{
    static const char *const ends[] = {".py", ".fbt", ".pt", ".json", ".txt", ".log"};

    if (strchr(json, '/') != NULL)
        return true;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (strstr(json, ends[i]) != NULL)
            return true;
    return false;
}

/* Whether the difference holds this number: the setting that it asks for. */
static bool is_at_work(const fb__case *c, const char *json)
{
    const fb__step *steps[2] = {&c->pair->a, &c->pair->b};
    char text[64], *end;
    const double number = strtod(fb__json_plain(text, sizeof text, json), &end);

    if (end == text || *end != '\0')
        return false;
    for (int side = 0; side < 2; side++)
        for (size_t i = 0; i < steps[side]->count; i++) {
            const fb__step_event *e = &steps[side]->events[i];

            if (e->site->kind == FB_KIND_SCALAR && !e->equal && !e->beyond &&
                e->site->phase == FB_PHASE_OPTIMIZER &&
                fabs(e->value - number) <= 1e-7 * fabs(number))
                return true;
        }
    return false;
}

static bool tells_sources(const fb__run_header *h)
{
    const cJSON *sources = cJSON_GetObjectItemCaseSensitive(h->json, "sources");
    return cJSON_IsObject(sources) && sources->child != NULL;
}

/* Whether the text of the two programs is known and the same. */
static bool has_same_sources(const fb__case *c)
{
    size_t at = 0;

    return tells_sources(&c->headers->a) && tells_sources(&c->headers->b) &&
           fb__candidate_next(c->report, &at, "code", "") == NULL;
}

/* The words of the command line that one side has more: "--bptt 10". */
static void join_lone(char *out, size_t size, const fb__case *c)
{
    const fb_diff_candidate *k;
    size_t at = 0, used = 0;
    char word[64];

    out[0] = '\0';
    while ((k = fb__candidate_next(c->report, &at, "argv", "")) != NULL && used < size) {
        const bool only_b = strcmp(k->a, "absent") == 0;

        if (only_b || strcmp(k->b, "absent") == 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? " " : "",
                                     fb__json_plain(word, sizeof word, only_b ? k->b : k->a));
    }
}

/* Signature: an argument has another value, and is no name of a file; or one run has some more, of
 * the same program, or of which one is the number of a setting that differs. */
bool fb__rule_argv(fb_diff_cause *out, const fb__case *c)
{
    const fb_diff_candidate *k, *first = NULL, *lone = NULL;
    size_t at = 0, n = 0;
    char a[160], b[64];

    while ((k = fb__candidate_next(c->report, &at, "argv", "")) != NULL) {
        if (strcmp(k->key, "argv[0]") == 0 || is_place(k->a) || is_place(k->b))
            continue;
        if (strcmp(k->a, "absent") != 0 && strcmp(k->b, "absent") != 0) {
            first = first == NULL ? k : first;
            n++;
        } else if (has_same_sources(c) ||
                   is_at_work(c, strcmp(k->a, "absent") == 0 ? k->b : k->a)) {
            lone = k; /* what else one more switch does, other rules say better */
        }
    }
    if ((first == NULL && lone == NULL) || n > 4)
        return false;
    if (first != NULL) {
        fb__say(out, "the command lines differ: %s %s | %s", first->key,
                fb__json_plain(a, sizeof a, first->a), fb__json_plain(b, sizeof b, first->b));
    } else {
        join_lone(a, sizeof a, c);
        fb__say(out, "only %s's command line has %s", strcmp(lone->a, "absent") == 0 ? "b" : "a",
                a);
    }
    fb__say_fix(out, "start both with the same arguments");
    return true;
}

/* --- The hash seed ---------------------------------------------------------------------------- */

/* Signature: the hash seed of Python differs and the programs do not; what differs is not an op's
 * arithmetic. */
bool fb__rule_hash_seed(fb_diff_cause *out, const fb__case *c)
{
    const fb_diff_candidate *k;
    size_t at = 0;
    char a[64], b[64];

    if (c->report->first.what == FB_DIFF_CONTENT &&
        fb__culprit_event(c)->site->kind == FB_KIND_TENSOR &&
        fb__text(fb__culprit_event(c)->site->path)[0] != '\0')
        return false;
    if (fb__candidate_next(c->report, &at, "code", "") != NULL)
        return false;
    at = 0;
    k = fb__candidate_next(c->report, &at, "environment", "variables.PYTHONHASHSEED");
    if (k == NULL)
        return false;
    fb__say(out, "the hash seed of Python differs, %s | %s: sets come in another order",
            fb__json_plain(a, sizeof a, k->a), fb__json_plain(b, sizeof b, k->b));
    fb__say_fix(out, "sort sets before going through them, or set PYTHONHASHSEED in both");
    return true;
}

/* --- The same program again ------------------------------------------------------------------- */

/* A program in another file: that its neighbours in the folder are the same says nothing. */
static bool is_other_file(const fb_diff_candidate *k)
{
    const char *a = strrchr(k->a, '/'), *b = strrchr(k->b, '/');

    return (strstr(k->a, ".py") != NULL || strstr(k->b, ".py") != NULL) &&
           strcmp(a == NULL ? k->a + 1 : a + 1, b == NULL ? k->b + 1 : b + 1) != 0;
}

bool fb__has_same_settings(const fb__case *c)
{
    for (size_t i = 0; i < c->report->candidate_count; i++) {
        const fb_diff_candidate *k = &c->report->candidates[i];

        if (strcmp(k->what, "recording") != 0 && (strcmp(k->what, "argv") != 0 || !is_place(k->a) ||
                                                  !is_place(k->b) || is_other_file(k)))
            return false;
    }
    return tells_sources(&c->headers->a) && tells_sources(&c->headers->b);
}

static bool has_lone_tensor(const fb__step *step)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site->kind == FB_KIND_TENSOR && step->events[i].partner == UINT32_MAX &&
            !step->events[i].beyond)
            return true;
    return false;
}

/* Signature: one program, with the same arguments in the same environment, does the same and gets
 * another result. What a variable of the environment or a file decides shows as another call. */
bool fb__rule_same_program(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    fb__argument_pair p;

    if ((e->site->kind != FB_KIND_TENSOR && e->site->kind != FB_KIND_COLLECTIVE) ||
        !fb__is_pair(c) || e->input_count == 0 ||
        fb__other_argument(&p, c->culprit->a->site, c->culprit->b->site) ||
        fb__other_offset(&p, c->culprit->a->site, c->culprit->b->site) ||
        has_lone_tensor(&c->pair->a) || has_lone_tensor(&c->pair->b) || !fb__has_same_settings(c))
        return false;
    fb__say(out,
            "sources, arguments and environment are the same, and %s %s is not: the program "
            "does not repeat itself",
            fb__text(e->site->op)[0] != '\0' ? fb__text(e->site->op) : fb__text(e->site->slot),
            fb__where_of(e).text);
    fb__say_fix(out, "look for threads or processes whose order is left to chance, and for "
                     "numbers of the clock; torch.use_deterministic_algorithms(True)");
    return true;
}
