/* SPDX-License-Identifier: Apache-2.0
 *
 * report_text.c - a comparison as at most 25 lines of 80 columns: the first screen.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sketch.h"
#include "diff/diff.h"
#include "diff/read/headers.h"
#include "diff/parts.h"
#include "diff/number.h"
#include "diff/report/report_notes.h"
#include "diff/report/report_words.h"
#include "diff/rounding/proof.h"
#include "diff/rounding/rounding_text.h"

enum {
    COLUMNS = 80,
    INDENT = 8, /* where text begins behind a label */
    TEXT_MAX = 4096,
    LIST_MAX = 4,  /* notes, candidates, things left out: told one by one */
    LINES_MAX = 3, /* of one entry */
    SCREEN_LINES = 25,
};

/* --- Lines ------------------------------------------------------------------------------------ */

/* Bytes of the UTF-8 character at s; 1 where it is none. */
static size_t character_bytes(const char *s)
{
    size_t n = 1;

    while (n < 4 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n++;
    return n;
}

/* How many bytes of text fit into `width` columns, cut between words where there is one. */
static size_t fit(const char *text, size_t width)
{
    size_t at = 0, columns = 0, space = 0;

    while (text[at] != '\0' && columns < width) {
        if (text[at] == ' ')
            space = at;
        at += character_bytes(text + at);
        columns++;
    }
    if (text[at] == '\0')
        return at;
    if (text[at] != ' ' && space > 0)
        at = space;
    while (at > 1 && text[at - 1] == ' ') /* of two spaces none ends a line */
        at--;
    return at;
}

/* "label   text", wrapped, the lines after the first indented; cut with "..." after LINES_MAX. */
static void entry(FILE *out, const char *label, const char *text)
{
    fprintf(out, "%-*s", INDENT, label);
    for (int line = 0; line < LINES_MAX; line++) {
        const size_t n = fit(text, COLUMNS - INDENT);
        const bool last = text[n] == '\0';
        const size_t shown = !last && line == LINES_MAX - 1 ? fit(text, COLUMNS - INDENT - 4) : n;

        if (line > 0)
            fprintf(out, "%*s", INDENT, "");
        fprintf(out, "%.*s%s\n", (int)shown, text, !last && line == LINES_MAX - 1 ? " ..." : "");
        if (last)
            return;
        text += n;
        text += strspn(text, " ");
    }
}

static void entryf(FILE *out, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void entryf(FILE *out, const char *label, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    entry(out, label, text);
}

/* --- Parts of the screen ---------------------------------------------------------------------- */

static void print_headline(FILE *out, const fb_diff_first *first)
{
    char name[3 * FB_NAME_MAX + 128], text[TEXT_MAX], number[48] = "", digits[32];
    const uint64_t event = first->number_a != UINT64_MAX ? first->number_a : first->number_b;
    const char *side = first->what == FB_DIFF_ONLY_A   ? ", only in a"
                       : first->what == FB_DIFF_ONLY_B ? ", only in b"
                                                       : "";

    fb__plain_name(name, sizeof name, &first->name);
    (void)snprintf(text, sizeof text, "DIVERGED at %s%s", name, side);
    if (event != UINT64_MAX)
        (void)snprintf(number, sizeof number, "event %s", fb__grouped(digits, event));
    for (const char *at = text; *at != '\0';) {
        const size_t indent = at == text ? 0 : INDENT;
        const size_t bytes = fit(at, COLUMNS - indent), room = COLUMNS - indent - bytes;
        const bool last = at[bytes] == '\0';

        fprintf(out, "%*s%.*s", (int)indent, "", (int)bytes, at);
        if (last && number[0] != '\0' && strlen(number) + 2 <= room)
            fprintf(out, "%*s", (int)(room > 12 + strlen(number) ? 10 + strlen(number) : room),
                    number);
        else if (last && number[0] != '\0')
            fprintf(out, "\n%*s%s", INDENT, "", number);
        fputc('\n', out);
        at += bytes;
        at += strspn(at, " ");
    }
}

/* "f32[256,512] element [17,203]   a 0x3f8ccccd 1.1   b 0x3f8cccce 1.1000001   1 ulp" */
static void print_values(FILE *out, const fb_diff_first *first)
{
    char where[256] = "", text[256], ulps[40] = "", x[40], y[40], more[32];
    const int digits = 2 * (int)fb_sketch_element_bytes(first->dtype);
    size_t used = 0;
    uint64_t rest = first->element, stride = 1;

    if (!first->has_value)
        return;
    if (first->has_element) {
        used += (size_t)snprintf(where, sizeof where, "%s[", fb_dtype_name(first->dtype));
        for (uint32_t i = 0; i < first->rank && i < FB_RANK_MAX && used < 100; i++) {
            used += (size_t)snprintf(where + used, sizeof where - used, "%s%" PRIu64,
                                     i > 0 ? "," : "", first->shape[i]);
            stride *= first->shape[i];
        }
        used += (size_t)snprintf(where + used, sizeof where - used,
                                 first->rank > 0 ? "] element [" : "");
        for (uint32_t i = 0; i < first->rank && i < FB_RANK_MAX && used < 230; i++) {
            stride /= first->shape[i] > 0 ? first->shape[i] : 1;
            used += (size_t)snprintf(where + used, sizeof where - used, "%s%" PRIu64,
                                     i > 0 ? "," : "", stride > 0 ? rest / stride : rest);
            rest = stride > 0 ? rest % stride : 0;
        }
        (void)snprintf(where + used, sizeof where - used, "]");
    }
    /* Numbers of different size have no distance in ulps that says anything. */
    if (first->ulps < 1 << 20)
        (void)snprintf(ulps, sizeof ulps, "   %" PRIu64 " ulp%s", first->ulps,
                       first->ulps == 1 ? "" : "s");
    (void)snprintf(text, sizeof text, "a 0x%0*" PRIx64 " %s   b 0x%0*" PRIx64 " %s%s", digits,
                   first->a.bits, fb__shortest(x, first->dtype, first->a.number), digits,
                   first->b.bits, fb__shortest(y, first->dtype, first->b.number), ulps);
    if (where[0] != '\0' && strlen(where) + strlen(text) + 3 <= COLUMNS - INDENT) {
        entryf(out, "", "%s   %s", where, text);
    } else {
        if (where[0] != '\0')
            entry(out, "", where);
        if (strlen(text) <= COLUMNS - INDENT) {
            entry(out, "", text);
        } else { /* a number is not torn from its bits */
            entryf(out, "", "%.*s", (int)(strstr(text, "   b 0x") - text), text);
            entry(out, "", strstr(text, "   b 0x") + 3);
        }
    }
    if (first->has_element && first->differing > 1)
        entryf(out, "", "and %s more elements of it", fb__grouped(more, first->differing - 1));
}

/* Where there are no values: what either side says, unless the cause has said it. */
static void print_contents(FILE *out, const fb_diff_first *first)
{
    const fb_kind kind = first->name.kind;

    if (first->has_value || kind == FB_KIND_DRAW || kind == FB_KIND_MODE || kind == FB_KIND_SEED)
        return;
    if (first->content_a[0] != '\0')
        entryf(out, "", "a %s", first->content_a);
    if (first->content_b[0] != '\0')
        entryf(out, "", "b %s", first->content_b);
}

static void print_cause(FILE *out, const fb_diff_report *r)
{
    if (r->has_cause)
        entryf(out, "cause", "%s: %s%s", r->cause.name, r->cause.text,
               r->cause.confirmed                      ? "  [confirmed]"
               : strcmp(r->cause.name, "unknown") == 0 ? ""
                                                       : "  [likely]");
    print_values(out, &r->first);
    print_contents(out, &r->first);
}

/* What a parameter is before the first step is taken down when its module is first called. */
static bool is_seen_late(const fb_event_name *name)
{
    return name->kind == FB_KIND_PARAM && name->phase == FB_PHASE_INIT;
}

static void print_stacks(FILE *out, const fb_diff_report *r)
{
    const char *a = r->first.stack_a, *b = r->first.stack_b;
    const bool equal = a != NULL && b != NULL && strcmp(a, b) == 0;
    const char *seen = is_seen_late(&r->first.name) ? "first seen in " : "";

    if (r->engine)
        return;
    if (a != NULL)
        entryf(out, "stack", "%s%.*s%s", seen, (int)strcspn(a, "\n"), a,
               equal ? ", on both sides" : "");
    if (b != NULL && !equal)
        entryf(out, a != NULL ? "" : "stack", "b %s%.*s", seen, (int)strcspn(b, "\n"), b);
}

static void print_before(FILE *out, const fb_diff_first *first)
{
    fb_event_name name = first->previous;
    char text[3 * FB_NAME_MAX + 128];
    const char *shown = text;

    if (!first->has_previous)
        return;
    fb__plain_name(text, sizeof text, &name);
    if (name.step == first->name.step) /* "step 42, forward, ..." without the step */
        shown = strchr(text, ',') != NULL ? strchr(text, ',') + 2 : text;
    entryf(out, "before", "last equal: %s", shown);
}

/* A line in which differences of one kind are gathered. */
typedef struct gathered {
    char text[TEXT_MAX];
    size_t used;
} gathered;

/* A quoted hash: its digits tell nobody anything. */
static bool is_digest(const char *json)
{
    const size_t digits = strspn(json + 1, "0123456789abcdef");

    return digits >= 32 && strcmp(json + 1 + digits, "\"") == 0;
}

static void gather(gathered *line, const fb_diff_candidate *k, const char *a, const char *b)
{
    if (line->used + strlen(k->key) + strlen(a) + strlen(b) + 16 >= sizeof line->text)
        return;
    if (k->a[0] == '"' && k->b[0] == '"' && is_digest(k->a) && is_digest(k->b))
        line->used += (size_t)snprintf(line->text + line->used, sizeof line->text - line->used,
                                       "%s%s differs", line->used > 0 ? "    " : "", k->key);
    else
        line->used += (size_t)snprintf(line->text + line->used, sizeof line->text - line->used,
                                       "%s%s %s | %s", line->used > 0 ? "    " : "", k->key, a, b);
}

/* What was typed differs in nearly every pair; that a run was resumed is told by the scope. */
static bool is_told(const fb_diff_candidate *k)
{
    return strcmp(k->what, "argv") != 0 && strcmp(k->what, "recording") != 0 &&
           strncmp(k->key, "resume", 6) != 0;
}

/* "config: optimizer.adam.lr 0.001 | 0.002" is not repeated, unless more differs. */
static bool cause_tells(const fb_diff_report *r, const fb_diff_candidate *k)
{
    size_t alike = 0;

    for (size_t i = 0; i < r->candidate_count; i++)
        alike += strcmp(r->candidates[i].what, k->what) == 0;
    return alike == 1 && r->verdict == FB_DIFF_DIFFER && r->has_cause &&
           ((strcmp(k->what, "config") == 0 && strcmp(r->cause.name, "config") == 0) ||
            (strcmp(k->what, "seed") == 0 && strcmp(r->cause.name, "rng-seed") == 0)) &&
           strstr(r->cause.text, k->key) != NULL;
}

/* Code and environment in a line each, other differences one by one. */
static void print_candidates(FILE *out, const fb_diff_report *r)
{
    gathered environment = {.used = 0}, code = {.used = 0};
    size_t told = 0, others = 0;

    for (size_t i = 0; i < r->candidate_count; i++) {
        const fb_diff_candidate *k = &r->candidates[i];
        char a[64], b[64];

        if (!is_told(k) || cause_tells(r, k) ||
            (r->rounding.used && (strcmp(k->a, "absent") == 0 || strcmp(k->b, "absent") == 0)))
            continue; /* two frameworks record other things: that is no difference */
        fb__json_plain(a, sizeof a, k->a);
        fb__json_plain(b, sizeof b, k->b);
        if (strcmp(k->what, "environment") == 0)
            gather(&environment, k, a, b);
        else if (strcmp(k->what, "code") == 0)
            gather(&code, k, a, b);
        else if (told++ >= LIST_MAX)
            others++;
        else if (strcmp(k->what, "file") == 0)
            entryf(out, "file", "%s: contents differ", k->key);
        else
            entryf(out, strcmp(k->what, "contract") == 0 ? "kernels" : k->what, "%s %s | %s",
                   k->key, a, b);
    }
    if (others > 0)
        entryf(out, "", "and %zu more differences of the headers", others);
    if (code.used > 0)
        entry(out, "code", code.text);
    if (environment.used > 0)
        entryf(out, "run", "%s%s", environment.text,
               r->environment_cleared
                   ? "    (differ, and not the cause: replay with either is equal)"
                   : "");
}

/* A command longer than the lines of an entry is told whole: it is there to be copied. */
static void print_next(FILE *out, const fb_diff_report *r)
{
    if (r->next != NULL)
        fprintf(out, "%-*s%s\n", INDENT, "next", r->next);
}

static void print_list(FILE *out, const char *label, const fb_diff_list *list)
{
    for (size_t i = 0; i < list->count && i < LIST_MAX; i++)
        entry(out, i == 0 ? label : "", list->at[i]);
    if (list->count > LIST_MAX)
        entryf(out, "", "and %zu more", list->count - LIST_MAX);
}

/* Notes that say the same are one line. */
static void print_notes(FILE *out, const fb_diff_report *r)
{
    fb__note_line lines[LIST_MAX];
    const size_t count = fb__fold_notes(lines, LIST_MAX, &r->notes);
    uint64_t told = 0;
    char text[TEXT_MAX], digits[32];

    for (size_t i = 0; i < count; i++) {
        entry(out, i == 0 ? "notes" : "",
              fb__note_line_text(text, sizeof text, &r->notes, &lines[i]));
        told += lines[i].count;
    }
    if (told < r->notes.count + r->notes_more)
        entryf(out, "", "and %s more", fb__grouped(digits, r->notes.count + r->notes_more - told));
}

static void name_classes(char *out, size_t size, uint32_t classes)
{
    size_t used = 0;
    const uint32_t all = (1u << FB_CLASS_COUNT) - 1;

    if ((classes & all) == all) {
        (void)snprintf(out, size, "all classes");
        return;
    }
    out[0] = '\0';
    for (int k = 0; k < FB_CLASS_COUNT; k++)
        if ((classes & 1u << k) != 0 && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     fb_class_name((fb_class)k));
    if (used == 0)
        (void)snprintf(out, size, "nothing");
}

/* The runs' other processes: where the difference lies, and what each one is. */
static void print_parts(FILE *out, const fb_diff_report *r)
{
    char text[512];

    if (r->part_count == 0)
        return;
    if (r->part > 0)
        entryf(out, "in", "process %s", r->parts[r->part - 1].role);
    entry(out, "parts", fb__parts_text(text, sizeof text, r));
}

static void print_scope(FILE *out, const fb_diff_report *r)
{
    static const uint32_t deep = 1u << FB_CLASS_STATE | 1u << FB_CLASS_OPS;
    const bool whole = r->status_a == FB_TRACE_COMPLETE && r->status_b == FB_TRACE_COMPLETE;
    char classes[128], a[32], b[32], events[96], torn[96] = "";

    name_classes(classes, sizeof classes, r->depth == NULL ? r->classes : r->classes & ~deep);
    fb__grouped(a, r->events_a);
    fb__grouped(b, r->events_b);
    if (r->events_a == r->events_b)
        (void)snprintf(events, sizeof events, "%s event%s on both sides", a,
                       r->events_a == 1 ? "" : "s");
    else
        (void)snprintf(events, sizeof events, "%s | %s events", a, b);
    if (!whole)
        (void)snprintf(torn, sizeof torn, "; a is %s, b is %s", fb_trace_status_name(r->status_a),
                       fb_trace_status_name(r->status_b));
    entryf(out, "scope", "%s%s%s%s%s %s%s%s", classes,
           r->level_a == r->level_b ? "" : ", recorded at different levels",
           r->depth != NULL ? "; " : "", r->depth != NULL ? r->depth : "",
           r->depth != NULL ? ";" : ",", events, torn,
           whole && r->left_out.count == 0 && r->depth == NULL ? "; nothing left out" : "");
    print_list(out, "left", &r->left_out);
}

static void print_verdict(FILE *out, const fb_diff_report *r)
{
    switch (r->verdict) {
    case FB_DIFF_SAME:
        fprintf(out, "SAME through step %" PRIu64 ", bit for bit\n", r->equal_through);
        break;
    case FB_DIFF_ROUNDING:
        fprintf(out, "WITHIN ROUNDING through step %" PRIu64 "\n", r->equal_through);
        break;
    case FB_DIFF_DIFFER:
        print_headline(out, &r->first);
        print_cause(out, r);
        print_stacks(out, r);
        print_before(out, &r->first);
        break;
    case FB_DIFF_UNDECIDABLE:
        entryf(out, "UNDECIDABLE", " %s", r->why);
        break;
    }
}

/* What was compared with what, and how large differences are. */
static void print_rounding(FILE *out, const fb_diff_report *r)
{
    const fb_diff_rounding *x = &r->rounding;
    char text[3 * FB_NAME_MAX + 160], name[3 * FB_NAME_MAX + 128];

    if (x->has_size) {
        fb__rounding_size_text(text, sizeof text, x);
        entry(out, "size", text);
    }
    fb__proof_text(text, sizeof text, &r->proof);
    if (text[0] != '\0')
        entry(out, "proof", text);
    if (!x->used)
        return;
    if (x->has_name_b) {
        entryf(out, "in b", "%s", fb_event_name_text(name, sizeof name, &x->name_b));
    } else if (x->has_largest) {
        entryf(out, "largest", "%.2g times the envelope: %s", x->largest,
               fb_event_name_text(name, sizeof name, &x->largest_at));
    }
    if (x->size_count > 0) {
        fb__rounding_growth_text(text, sizeof text, x);
        entry(out, "growth", text);
    }
    fb__rounding_pairs_text(text, sizeof text, x);
    entry(out, "paired", text);
    print_list(out, "not", &x->unpaired_a);
    entryf(out, "bounds", "%s", x->envelope);
}

/* The next best causes by name; that the code differs has a line of its own. */
static void print_guesses(FILE *out, const fb_diff_report *r)
{
    char text[256] = "";
    size_t used = 0;

    for (size_t i = 0; i < r->guess_count && used < sizeof text; i++)
        if (strcmp(r->guesses[i].name, "code") != 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s",
                                     used > 0 ? " or " : "less likely: ", r->guesses[i].name);
    if (used > 0)
        entry(out, "or", text);
}

static char *write_report(const fb_diff_report *report, bool guesses)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    print_verdict(out, report);
    if (guesses)
        print_guesses(out, report);
    print_parts(out, report);
    print_rounding(out, report);
    print_candidates(out, report);
    if (report->has_cause && report->verdict == FB_DIFF_DIFFER)
        entry(out, "fix", report->cause.fix);
    if (report->verdict == FB_DIFF_DIFFER || report->verdict == FB_DIFF_UNDECIDABLE)
        print_next(out, report);
    print_list(out, "expect", &report->expected);
    if (report->expected.count > 0)
        entry(out, "", "run a was made again with the value of b, and is compared so");
    print_notes(out, report);
    print_scope(out, report);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* Guesses are shown where they leave the report on one screen. */
char *fb_diff_report_text(const fb_diff_report *report)
{
    char *text = write_report(report, report->guess_count > 0 && !report->engine &&
                                          report->verdict == FB_DIFF_DIFFER);
    size_t lines = 0;

    for (const char *at = text; at != NULL && *at != '\0'; at++)
        lines += *at == '\n';
    if (lines <= SCREEN_LINES)
        return text;
    free(text);
    return write_report(report, false);
}
