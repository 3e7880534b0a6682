/* SPDX-License-Identifier: Apache-2.0
 *
 * next_command.c - the command to go on with, its words quoted for a shell.
 */
#include "diff/next_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* A word as a shell reads it: as it is where nothing in it is special, else in single quotes. */
static void put_word(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./:=,+%@";

    if (word[0] != '\0' && word[strspn(word, plain)] == '\0') {
        fputs(word, out);
        return;
    }
    fputc('\'', out);
    for (; *word != '\0'; word++)
        if (*word == '\'')
            fputs("'\\''", out);
        else
            fputc(*word, out);
    fputc('\'', out);
}

/* The command line of a program that `firstbit record` can run, as the recording saw it, without
 * what it hides; NULL: not told. */
static const cJSON *argv_of(const fb__run_header *header)
{
    const cJSON *framework = cJSON_GetObjectItemCaseSensitive(header->json, "framework");
    const cJSON *environment = cJSON_GetObjectItemCaseSensitive(header->json, "environment");
    const cJSON *argv = cJSON_GetObjectItemCaseSensitive(environment, "argv");

    return cJSON_IsString(framework) && cJSON_IsArray(argv) && argv->child != NULL ? argv : NULL;
}

static void put_argv(FILE *out, const cJSON *argv)
{
    const cJSON *word;

    cJSON_ArrayForEach(word, argv)
    {
        fputc(' ', out);
        put_word(out, cJSON_IsString(word) ? word->valuestring : "");
    }
}

/* "firstbit record --at 3 --path 'h.0.attn' --level values -- python3 train.py": the contents of
 * the event, and where that makes a proof, of its inputs. Of what operations on no record have
 * computed: "firstbit record --ops-steps 15:16 -- python3 train.py". */
static void put_record(FILE *out, const fb_diff_report *r, const cJSON *argv)
{
    if (r->window_steps != NULL && r->window_path == NULL) {
        fprintf(out, "firstbit record --ops-steps %s --", r->window_steps);
        put_argv(out, argv);
        return;
    }
    if (r->window_steps != NULL && r->window_path != NULL) {
        fprintf(out, "firstbit record --at %s --path ", r->window_steps);
        put_word(out, r->window_path);
    } else {
        fprintf(out, "firstbit record --at %" PRIu64 " --path ", r->first.name.step);
        put_word(out, r->first.name.path);
    }
    fputs(" --level values --", out);
    put_argv(out, argv);
}

/* Whether it is rounding was asked, and sizes are not known: both once more with sketches, in the
 * step before the first difference, which says what parameters are, and in that step. */
static bool lacks_sketches(const fb_diff_report *r)
{
    return r->verdict == FB_DIFF_UNDECIDABLE &&
           (r->level_a < FB_LEVEL_SKETCH || r->level_b < FB_LEVEL_SKETCH);
}

static void put_sketches(FILE *out, const fb_diff_report *r, const cJSON *const argv[2])
{
    const uint64_t step = r->first.name.step;

    for (int side = 0; side < 2; side++) {
        fprintf(out,
                "firstbit record --level sketch --ops-steps %" PRIu64 ":%" PRIu64
                " -o sketch-%c.fbt --",
                step > 0 ? step - 1 : 0, step, 'a' + side);
        put_argv(out, argv[side]);
        fputs(" && ", out);
    }
    fputs("firstbit diff --rounding sketch-a.fbt sketch-b.fbt", out);
}

/* A pattern that begins with the path. */
static void put_pattern(FILE *out, const char *path)
{
    char pattern[FB_NAME_MAX + 2];

    (void)snprintf(pattern, sizeof pattern, "%s*", path);
    put_word(out, pattern);
}

static void put_show(FILE *out, const fb_diff_first *first, const char *trace)
{
    fputs("firstbit show ", out);
    put_word(out, trace);
    fprintf(out, " --step %" PRIu64, first->name.step);
    if (first->name.path[0] == '\0') { /* outside of all modules */
        fprintf(out, " --phase %s", fb_phase_name(first->name.phase));
        return;
    }
    fputs(" --path ", out);
    put_pattern(out, first->name.path);
}

static void put_command(FILE *out, const fb_diff_report *r, const fb__headers *headers)
{
    const fb_diff_first *first = &r->first;
    const fb_kind kind = first->name.kind;
    const cJSON *const both[2] = {argv_of(&headers->a), argv_of(&headers->b)}, *argv = both[0];
    const bool replayable = headers->a.configuration != NULL;

    if (first->has_element && replayable) {
        fputs("firstbit replay ", out);
        put_word(out, r->name_a);
        fprintf(out, " --to %" PRIu64 " --make ", first->name.step);
        put_pattern(out, first->name.path);
        fputs(" -o out/", out);
    } else if (lacks_sketches(r) && both[0] != NULL && both[1] != NULL) {
        put_sketches(out, r, both);
    } else if (argv != NULL && r->window_steps != NULL && r->window_path == NULL) {
        put_record(out, r, argv);
    } else if (!replayable && argv != NULL && first->what == FB_DIFF_CONTENT &&
               (!first->has_value || r->window_steps != NULL) &&
               (kind == FB_KIND_TENSOR || kind == FB_KIND_PARAM)) {
        put_record(out, r, argv);
    } else {
        put_show(out, first, first->what == FB_DIFF_ONLY_B ? r->name_b : r->name_a);
    }
}

fb_status fb__next_command(fb_diff_report *report, const fb__headers *headers, fb_error *err)
{
    size_t size;
    FILE *out;

    free(report->next);
    report->next = NULL;
    if (!report->has_first)
        return FB_OK;
    out = open_memstream(&report->next, &size);
    if (out != NULL) {
        put_command(out, report, headers);
        if (fclose(out) == 0)
            return FB_OK;
    }
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

bool fb__next_show(char **out, const fb_diff_report *report, const char *trace)
{
    size_t size;
    FILE *text;

    *out = NULL;
    if (!report->has_first)
        return true;
    text = open_memstream(out, &size);
    if (text == NULL)
        return false;
    put_show(text, &report->first, trace);
    return fclose(text) == 0;
}
