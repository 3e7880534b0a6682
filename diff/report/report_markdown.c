/* SPDX-License-Identifier: Apache-2.0
 *
 * report_markdown.c - a comparison for an issue or a pull request: the first screen as it is on a
 * terminal, then tables. Names stand in code spans, so none of them is a link, a tag or a mention.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diff/read/headers.h"
#include "diff/report/picture.h"
#include "diff/report/report_escape.h"
#include "diff/report/report_words.h"

enum { LIST_MAX = 30, TEXT_MAX = 256 };

static void put_title(FILE *out, const fb_diff_report *r)
{
    switch (r->verdict) {
    case FB_DIFF_DIFFER:
        fprintf(out, "### firstbit: diverged at step %" PRIu64 ", ", r->first.name.step);
        fb__put_markdown_code(out, fb__place_name(&r->first.name));
        if (r->has_cause)
            fprintf(out, " (%s%s)", r->cause.name,
                    r->cause.confirmed                      ? ", confirmed"
                    : strcmp(r->cause.name, "unknown") == 0 ? ""
                                                            : ", likely");
        break;
    case FB_DIFF_SAME:
        fprintf(out, "### firstbit: same through step %" PRIu64, r->equal_through);
        break;
    case FB_DIFF_ROUNDING:
        fprintf(out, "### firstbit: within rounding through step %" PRIu64, r->equal_through);
        break;
    case FB_DIFF_UNDECIDABLE:
        fputs("### firstbit: undecidable", out);
        break;
    }
    fputs("\n\n", out);
}

static void cell(FILE *out, const char *text)
{
    fputs(" ", out);
    fb__put_markdown_code(out, text);
    fputs(" |", out);
}

static void put_events(FILE *out, const fb_picture *p)
{
    static const char *const states[] = {"equal", "**differs**", "**other inputs**",
                                         "**only in a**", "**only in b**"};

    if (p == NULL || p->row_count == 0)
        return;
    fputs("<details><summary>The events around it</summary>\n\n"
          "| event | phase | path | op | what | a against b |\n|--:|---|---|---|---|---|\n",
          out);
    for (size_t i = 0; i < p->row_count; i++) {
        const fb_picture_row *row = &p->rows[i];
        char digits[32];

        fprintf(out, "| %s | %s |",
                fb__grouped(digits, row->number_a != UINT64_MAX ? row->number_a : row->number_b),
                fb_phase_name(row->name.phase));
        cell(out, row->name.path);
        cell(out, row->name.op);
        cell(out, fb_slot_word(row->name.slot));
        fprintf(out, " %s%s |\n", states[row->mark],
                row->first      ? ": the first"
                : row->inherits ? ", from its inputs"
                                : "");
    }
    fputs("\n</details>\n\n", out);
}

static void put_candidates(FILE *out, const fb_diff_report *r)
{
    if (r->candidate_count == 0)
        return;
    fputs("<details><summary>What differs between the recordings</summary>\n\n"
          "| what | key | a | b |\n|---|---|---|---|\n",
          out);
    for (size_t i = 0; i < r->candidate_count && i < LIST_MAX; i++) {
        const fb_diff_candidate *k = &r->candidates[i];
        char text[TEXT_MAX];

        fprintf(out, "| %s |", k->what);
        cell(out, k->key);
        cell(out, fb__json_plain(text, sizeof text, k->a));
        cell(out, fb__json_plain(text, sizeof text, k->b));
        fputc('\n', out);
    }
    if (r->candidate_count > LIST_MAX)
        fprintf(out, "\n%d of %zu\n", LIST_MAX, r->candidate_count);
    fputs("\n</details>\n\n", out);
}

char *fb_diff_report_markdown(const fb_diff_report *report, const fb_picture *picture)
{
    char *text = NULL, *screen = fb_diff_report_text(report);
    size_t size;
    FILE *out = screen != NULL ? open_memstream(&text, &size) : NULL;

    if (out == NULL) {
        free(screen);
        return NULL;
    }
    put_title(out, report);
    fputs("```text\n", out);
    fb__put_markdown_block(out, screen);
    fputs("```\n\n", out);
    put_events(out, picture);
    put_candidates(out, report);
    free(screen);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
