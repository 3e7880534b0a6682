/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_report.c - any file compared with a sound trace and shown as a page; the slice of one of its
 * events; a group of it and others: no name of it gets out of its place, and nothing crashes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff/groups/groups.h"
#include "diff/report/picture.h"
#include "diff/why/why.h"
#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 8 != 0)
        fuzz_sign_trace(data, size);
    return size;
}

static void expect_harmless(const char *page)
{
    fuzz_expect(page != NULL, "a page can be written");
    fuzz_expect(strstr(page, "<script") == NULL, "a page has no script");
    for (const char *c = page; *c != '\0'; c++)
        fuzz_expect((unsigned char)*c >= 0x20 || *c == '\n', "a page has no control bytes");
}

static void show(const char *a, const char *b)
{
    const fb_diff_options options = {.size = sizeof options, .no_replay = true, .no_stacks = true};
    fb_picture *picture = calloc(1, sizeof *picture);
    fb_diff_report report;

    if (picture != NULL && fb_diff(&report, a, b, &options, NULL) == FB_OK) {
        if (fb_picture_gather(picture, &report, &options, NULL) == FB_OK) {
            char *const page = fb_diff_report_html(&report, picture);
            char *const text = fb_diff_report_markdown(&report, picture);

            expect_harmless(page);
            fuzz_expect(text != NULL && strchr(text, 27) == NULL, "markdown has no escapes");
            fb_picture_free(picture);
            free(page);
            free(text);
        }
        fb_diff_report_free(&report);
    }
    free(picture);
}

/* The name of the last event that can be read, as fb_why_find takes it. */
static void name_last(char *out, size_t size, const char *path)
{
    const fb_event *e = NULL;
    fb_trace *t;

    (void)snprintf(out, size, "x@1");
    if (fb_trace_open(&t, path, NULL) != FB_OK)
        return;
    while (fb_trace_next(t, &e, NULL, NULL) == FB_OK && e != NULL) {
        const fb_site *site = fb_trace_site(t, e->site);

        if (site != NULL && site->kind == FB_KIND_PARAM)
            (void)snprintf(out, size, "%s:%s@%" PRIu64, site->path, site->slot, e->step);
    }
    fb_trace_close(t);
}

static void explain(const char *path)
{
    char what[2 * FB_NAME_MAX + 64];
    fb_why *why;

    name_last(what, sizeof what, path);
    if (fb_why_find(&why, path, what, NULL, NULL) != FB_OK)
        return;
    char *const text = fb_why_text(why, 16), *const json = fb_why_json(why, UINT32_MAX - 1);
    fuzz_expect(text != NULL && json != NULL, "a slice can be written");
    fuzz_expect(why->in_slice >= 1 && why->in_slice <= why->count, "a slice is part of a step");
    free(text);
    free(json);
    fb_why_free(why);
}

static void group(const char *a, const char *b)
{
    const char *const paths[] = {a, b, a};
    const fb_diff_options options = {.size = sizeof options, .no_replay = true};
    fb_groups groups;

    if (fb_groups_find(&groups, paths, 3, &options, NULL) != FB_OK)
        return;
    char *const text = fb_groups_text(&groups), *const json = fb_groups_json(&groups);
    fuzz_expect(text != NULL && json != NULL, "groups can be written");
    fuzz_expect(groups.runs[0].group == groups.runs[2].group, "a run is in the group of itself");
    free(text);
    free(json);
    fb_groups_free(&groups);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t sound[FUZZ_TRACE_MAX];
    static size_t sound_bytes;
    const char *a, *b;

    if (sound_bytes == 0)
        sound_bytes = fuzz_make_trace(sound, FB_LEVEL_OPS);
    a = fuzz_file(0, sound, sound_bytes);
    b = fuzz_file(1, data, size);
    show(a, b);
    show(b, a);
    explain(b);
    group(a, b);
    return 0;
}
