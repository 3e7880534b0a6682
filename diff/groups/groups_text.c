/* SPDX-License-Identifier: Apache-2.0
 *
 * groups_text.c - groups of runs for people and as JSON.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "diff/groups/groups.h"
#include "engine/files/json.h"

enum { COLUMNS = 80, INDENT = 18, GROUPS_MAX = 12, TEXT_MAX = 3 * FB_NAME_MAX + 256 };

/* --- Lines ------------------------------------------------------------------------------------ */

/* Prints text from `column` on, broken between words; the lines after the first are indented. */
static void put_wrapped(FILE *out, size_t column, const char *text)
{
    bool first = true;

    while (*text != '\0') {
        const size_t n = strcspn(text, " ");

        if (!first && column + 1 + n > COLUMNS) {
            fprintf(out, "\n%*s", INDENT, "");
            column = INDENT;
            first = true;
        }
        fprintf(out, "%s%.*s", first ? "" : " ", (int)n, text);
        column += n + !first;
        first = false;
        text += n;
        text += strspn(text, " ");
    }
    putc('\n', out);
}

static void put_entry(FILE *out, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void put_entry(FILE *out, const char *label, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(out, "%-*s", INDENT, label);
    put_wrapped(out, INDENT, text);
}

/* --- The verdict ------------------------------------------------------------------------------ */

/* The runs outside of the first group by name, where they are few. */
static void name_odd(char *out, size_t size, const fb_groups *g)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < g->run_count && used < size; i++)
        if (g->runs[i].group != 0)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     g->runs[i].path);
}

static void put_headline(FILE *out, const fb_groups *g)
{
    const size_t odd = g->run_count - g->groups[0].size;
    char names[TEXT_MAX - 128], text[TEXT_MAX], start[96];

    if (g->group_count == 1) {
        fprintf(out, "%s: %zu runs in one group\n",
                g->verdict == FB_DIFF_SAME ? "SAME" : "UNDECIDABLE", g->run_count);
        return;
    }
    (void)snprintf(start, sizeof start, "%s: %zu groups of %zu runs",
                   g->verdict == FB_DIFF_DIFFER ? "DIVERGED" : "UNDECIDABLE", g->group_count,
                   g->run_count);
    name_odd(names, sizeof names, g);
    if (!g->majority)
        (void)snprintf(text, sizeof text, "%s; %s", start,
                       g->group_count == g->run_count ? "no two are the same"
                                                      : "no group has more than half of them");
    else if (odd <= 3)
        (void)snprintf(text, sizeof text, "%s; the odd one%s out %s %s", start, odd == 1 ? "" : "s",
                       odd == 1 ? "is" : "are", names);
    else
        (void)snprintf(text, sizeof text, "%s; %zu are odd", start, odd);
    put_wrapped(out, 0, text);
}

/* --- The groups ------------------------------------------------------------------------------- */

static void put_runs(FILE *out, const fb_groups *g, size_t k)
{
    char label[40];
    size_t column = INDENT, told = 0;

    (void)snprintf(label, sizeof label, "group %zu", k + 1);
    fprintf(out, "%-*s%4zu run%s ", 8, label, g->groups[k].size,
            g->groups[k].size == 1 ? " " : "s");
    for (size_t i = 0; i < g->run_count; i++) {
        const fb_groups_run *run = &g->runs[i];
        char name[FB_NAME_MAX];
        size_t n;

        if (run->group != k)
            continue;
        (void)snprintf(name, sizeof name, "%s%s", run->path,
                       run->ambiguous ? "(?)"
                       : run->shorter ? "(shorter)"
                                      : "");
        n = strlen(name);
        if (told > 0 && column + 1 + n > COLUMNS) {
            fprintf(out, "\n%*s", INDENT, "");
            column = INDENT;
            told = 0;
        }
        fprintf(out, "%s%s", told > 0 ? " " : "", name);
        column += n + (told > 0);
        told++;
    }
    putc('\n', out);
}

static void put_parting(FILE *out, const fb_group *g)
{
    char name[TEXT_MAX];

    if (g->verdict != FB_DIFF_DIFFER) {
        put_entry(out, "        cannot be", "compared with group 1: %s",
                  g->why != NULL ? g->why : "no reason is known");
        return;
    }
    fb_event_name_text(name, sizeof name, &g->first);
    put_entry(out, "        parts at", "%s%s%s%s", name,
              g->what == FB_DIFF_ONLY_A   ? ", only in group 1"
              : g->what == FB_DIFF_ONLY_B ? ", only here"
                                          : "",
              g->part[0] != '\0' ? ", process " : "", g->part);
    if (g->cause != NULL)
        put_entry(out, "        cause", "%s: %s [%s]", g->cause, g->cause_text,
                  g->confirmed  ? "confirmed"
                  : g->replayed ? "likely"
                                : "a guess: not replayed");
}

static void put_remarks(FILE *out, const fb_groups *g)
{
    bool shorter = false, ambiguous = false;

    for (size_t i = 0; i < g->run_count; i++) {
        shorter |= g->runs[i].shorter && !g->runs[i].ambiguous;
        ambiguous |= g->runs[i].ambiguous;
    }
    if (g->group_count > 1)
        fputs("a is a run of group 1, b one of the group that is told of\n", out);
    if (shorter)
        fputs("(shorter) equal to its group as far as it goes\n", out);
    if (ambiguous)
        fputs("(?) shorter, and equal to more than one group as far as it goes\n", out);
    if (g->unverified > 0)
        fprintf(out, "not read in full: %zu traces of more than 32 MiB (firstbit verify)\n",
                g->unverified);
}

char *fb_groups_text(const fb_groups *groups)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    put_headline(out, groups);
    for (size_t k = 0; k < groups->group_count && k < GROUPS_MAX; k++) {
        put_runs(out, groups, k);
        if (k > 0)
            put_parting(out, &groups->groups[k]);
    }
    if (groups->group_count > GROUPS_MAX)
        fprintf(out, "and %zu more groups (--json has them)\n", groups->group_count - GROUPS_MAX);
    put_remarks(out, groups);
    if (groups->verdict == FB_DIFF_DIFFER)
        fprintf(out, "next    firstbit diff %s %s\n",
                groups->runs[groups->groups[0].representative].path,
                groups->runs[groups->groups[1].representative].path);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void add_text(cJSON *o, const char *key, const char *text)
{
    if (text == NULL)
        cJSON_AddNullToObject(o, key);
    else
        cJSON_AddStringToObject(o, key, text);
}

static void add_first(cJSON *o, const fb_group *g, bool known)
{
    static const char *const whats[] = {"content", "inputs", "only_a", "only_b", "arguments"};
    cJSON *first;

    if (!known) {
        cJSON_AddNullToObject(o, "first");
        return;
    }
    first = cJSON_AddObjectToObject(o, "first");
    cJSON_AddNumberToObject(first, "step", (double)g->first.step);
    if (g->first.micro == FB_MICRO_NONE)
        cJSON_AddNullToObject(first, "micro");
    else
        cJSON_AddNumberToObject(first, "micro", g->first.micro);
    cJSON_AddStringToObject(first, "phase", fb_phase_name(g->first.phase));
    cJSON_AddStringToObject(first, "path", g->first.path);
    cJSON_AddStringToObject(first, "op", g->first.op);
    cJSON_AddStringToObject(first, "kind", fb_kind_name(g->first.kind));
    cJSON_AddStringToObject(first, "slot", g->first.slot);
    cJSON_AddStringToObject(first, "what", whats[g->what]);
    if (g->part[0] != '\0')
        cJSON_AddStringToObject(first, "part", g->part);
    else
        cJSON_AddNullToObject(first, "part");
}

static void add_group(cJSON *array, const fb_groups *groups, size_t k)
{
    const fb_group *g = &groups->groups[k];
    const bool differs = k > 0 && g->verdict == FB_DIFF_DIFFER;
    cJSON *o = cJSON_CreateObject();
    cJSON *runs = cJSON_AddArrayToObject(o, "runs");

    for (size_t i = 0; i < groups->run_count; i++)
        if (groups->runs[i].group == k)
            cJSON_AddItemToArray(runs, cJSON_CreateString(groups->runs[i].path));
    cJSON_AddStringToObject(o, "verdict", k == 0 ? "same" : fb_diff_verdict_name(g->verdict));
    add_text(o, "why", k > 0 ? g->why : NULL);
    add_first(o, g, differs);
    add_text(o, "cause", differs ? g->cause : NULL);
    add_text(o, "confidence",
             !differs || g->cause == NULL ? NULL
             : g->confirmed               ? "confirmed"
             : g->replayed                ? "likely"
                                          : "guess");
    add_text(o, "cause_text", differs ? g->cause_text : NULL);
    if (k > 0 && g->has_equal_through)
        cJSON_AddNumberToObject(o, "equal_through", (double)g->equal_through);
    else
        cJSON_AddNullToObject(o, "equal_through");
    cJSON_AddItemToArray(array, o);
}

static void add_list(cJSON *object, const char *key, const fb_groups *g, bool ambiguous)
{
    cJSON *array = cJSON_AddArrayToObject(object, key);

    for (size_t i = 0; i < g->run_count; i++)
        if (ambiguous ? g->runs[i].ambiguous : g->runs[i].shorter)
            cJSON_AddItemToArray(array, cJSON_CreateString(g->runs[i].path));
}

char *fb_groups_json(const fb_groups *groups)
{
    cJSON *object = cJSON_CreateObject(), *array, *odd;
    char *text;

    cJSON_AddNumberToObject(object, "schema", 1);
    cJSON_AddStringToObject(object, "verdict", fb_diff_verdict_name(groups->verdict));
    cJSON_AddNumberToObject(object, "runs", (double)groups->run_count);
    array = cJSON_AddArrayToObject(object, "groups");
    for (size_t k = 0; k < groups->group_count; k++)
        add_group(array, groups, k);
    odd = cJSON_AddArrayToObject(object, "odd");
    for (size_t i = 0; i < groups->run_count && groups->majority; i++)
        if (groups->runs[i].group != 0)
            cJSON_AddItemToArray(odd, cJSON_CreateString(groups->runs[i].path));
    add_list(object, "shorter", groups, false);
    add_list(object, "ambiguous", groups, true);
    cJSON_AddNumberToObject(object, "unverified", (double)groups->unverified);
    cJSON_AddNumberToObject(object, "comparisons", (double)groups->comparisons);
    cJSON_AddNumberToObject(object, "bytes_read", (double)groups->bytes_read);
    text = fb__json_print(object);
    cJSON_Delete(object);
    return text;
}
