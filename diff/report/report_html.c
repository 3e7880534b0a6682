/* SPDX-License-Identifier: Apache-2.0
 *
 * report_html.c - a comparison as one page: where and why first, then how it spreads, the events
 * around it, what differs between the runs, and what was compared. No script, no link to anywhere.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "diff/report/picture.h"
#include "diff/report/report_escape.h"
#include "diff/number.h"
#include "diff/report/report_sections.h"
#include "diff/report/report_style.h"
#include "diff/report/report_words.h"

enum {
    FRAMES_MAX = 24, /* of a call stack */
    TEXT_MAX = 1024
};

/* --- Verdict ---------------------------------------------------------------------------------- */

static void put_head(FILE *out, const fb_diff_report *r)
{
    static const char *const titles[] = {"same", "rounding", "diverged", "undecidable"};

    fprintf(out,
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
            "style-src 'unsafe-inline'\">\n<title>firstbit: %s",
            titles[r->verdict]);
    if (r->verdict == FB_DIFF_DIFFER && r->has_first) {
        fprintf(out, " at step %" PRIu64 ", ", r->first.name.step);
        fb__put_html(out, fb__place_name(&r->first.name));
    }
    fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", fb__report_style);
    fputs(
        "<a class=\"skip\" href=\"#main\">Skip to the report</a>\n<header>\n"
        "<p class=\"runs\">firstbit diff &nbsp; <span class=\"key a\"></span>a <b class=\"mono\">",
        out);
    fb__put_tagged(out, "", r->name_a,
                   "</b> &nbsp; <span class=\"key b\"></span>b <b class=\"mono\">");
    fb__put_tagged(out, "", r->name_b, "</b></p>\n");
}

/* What was learned by the end: the op of that note is no operation. */
static bool is_end(const fb_event_name *n)
{
    return n->phase == FB_PHASE_CHECKPOINT && n->kind == FB_KIND_PARAM && strcmp(n->op, "end") == 0;
}

static void put_where(FILE *out, const fb_diff_report *r)
{
    const fb_diff_first *first = &r->first;
    const fb_event_name *n = &first->name;
    const uint64_t event = first->number_a != UINT64_MAX ? first->number_a : first->number_b;

    fprintf(out,
            "<section class=\"verdict\" aria-label=\"verdict\">\n<h1>Diverged at step %" PRIu64,
            n->step);
    fb__put_tagged(out, " in <code>", fb__place_name(n), "</code></h1>\n<p>");
    if (n->micro != FB_MICRO_NONE)
        fprintf(out, "micro-batch %" PRIi32 ", ", n->micro);
    fprintf(out, "%s, ", fb_phase_name(n->phase));
    if (is_end(n)) {
        fputs("parameter or buffer, at the end of the recording", out);
    } else {
        fb__put_html(out, fb_slot_word(n->slot));
        if (n->op[0] != '\0')
            fb__put_tagged(out, n->slot[0] != '\0' ? " of " : "", n->op, "");
    }
    if (first->what == FB_DIFF_ONLY_A || first->what == FB_DIFF_ONLY_B)
        fprintf(out, ", <strong>only in %s</strong>", first->what == FB_DIFF_ONLY_A ? "a" : "b");
    if (event != UINT64_MAX) {
        fputs(" &middot; event ", out);
        fb__put_count(out, event);
    }
    if (first->what == FB_DIFF_CONTENT && first->alike && first->name.kind != FB_KIND_SCALAR &&
        (r->window_steps == NULL || r->window_path != NULL))
        fputs(" &middot; all that it is made from is equal", out);
    fputs("</p>\n</section>\n", out);
}

static void put_verdict(FILE *out, const fb_diff_report *r)
{
    switch (r->verdict) {
    case FB_DIFF_DIFFER:
        put_where(out, r);
        break;
    case FB_DIFF_ROUNDING:
        fprintf(out,
                "<section class=\"verdict same\" aria-label=\"verdict\">\n<h1>Within rounding "
                "through step %" PRIu64 "</h1>\n<p>other bits, and nothing beyond 10 times what "
                "rounding may do</p>\n</section>\n",
                r->equal_through);
        break;
    case FB_DIFF_SAME:
        fprintf(out,
                "<section class=\"verdict same\" aria-label=\"verdict\">\n<h1>Same through step "
                "%" PRIu64 "</h1>\n<p>bit for bit, in everything that both traces recorded</p>\n"
                "</section>\n",
                r->equal_through);
        break;
    case FB_DIFF_UNDECIDABLE:
        fputs("<section class=\"verdict undecidable\" aria-label=\"verdict\">\n<h1>Undecidable</h1>"
              "\n<p>",
              out);
        fb__put_tagged(out, "", r->why, "</p>\n</section>\n");
        break;
    }
    fputs("</header>\n<main id=\"main\">\n", out);
}

/* --- Cause ------------------------------------------------------------------------------------ */

/* The bits of a float, those that differ marked: sign, exponent, fraction. */
static void put_bits(FILE *out, fb_dtype dtype, uint64_t bits, uint64_t other)
{
    const int width = dtype == FB_DTYPE_F32 ? 32 : 64, fraction = dtype == FB_DTYPE_F32 ? 23 : 52;

    fputs("<span class=\"bits mono\">", out);
    for (int i = width - 1; i >= 0; i--) {
        const char digit = bits >> i & 1 ? '1' : '0';

        if (((bits ^ other) >> i & 1) != 0)
            fprintf(out, "<mark>%c</mark>", digit);
        else
            putc(digit, out);
        if (i == width - 1 || i == fraction)
            fputs("<i>&#8203;|</i>", out);
    }
    fputs("</span>", out);
}

static void put_value(FILE *out, const char *side, const fb_diff_first *first,
                      const fb_diff_value *own, const fb_diff_value *other)
{
    char number[40];

    fprintf(out, "<dt><span class=\"key %s\"></span>%s</dt><dd><code>%s</code> ", side, side,
            fb__shortest(number, first->dtype, own->number));
    fprintf(out, "<code>0x%0*" PRIx64 "</code>", first->dtype == FB_DTYPE_F32 ? 8 : 16, own->bits);
    if (first->dtype == FB_DTYPE_F32) {
        fputs("<br>", out);
        put_bits(out, first->dtype, own->bits, other->bits);
    }
    fputs("</dd>\n", out);
}

static void put_element(FILE *out, const fb_diff_first *first)
{
    uint64_t rest = first->element, stride = 1;

    if (first->rank == 0)
        return; /* the only number of its tensor */
    fprintf(out, "<dt>element</dt><dd><code>[");
    for (uint32_t i = 0; i < first->rank && i < FB_RANK_MAX; i++)
        stride *= first->shape[i];
    for (uint32_t i = 0; i < first->rank && i < FB_RANK_MAX; i++) {
        stride /= first->shape[i] > 0 ? first->shape[i] : 1;
        fprintf(out, "%s%" PRIu64, i > 0 ? ", " : "", stride > 0 ? rest / stride : rest);
        rest = stride > 0 ? rest % stride : 0;
    }
    fprintf(out, "]</code> of <code>%s[", fb_dtype_name(first->dtype));
    for (uint32_t i = 0; i < first->rank && i < FB_RANK_MAX; i++)
        fprintf(out, "%s%" PRIu64, i > 0 ? ", " : "", first->shape[i]);
    fputs("]</code>", out);
    if (first->differing > 1) {
        fputs(", and ", out);
        fb__put_count(out, first->differing - 1);
        fputs(" more elements of it", out);
    } else {
        fputs(", and no other", out);
    }
    if (first->ulps < 1 << 20)
        fprintf(out, "; %" PRIu64 " ulp%s apart", first->ulps, first->ulps == 1 ? "" : "s");
    fputs("</dd>\n", out);
}

static void put_contents(FILE *out, const fb_diff_first *first)
{
    if (first->has_value) {
        if (first->has_element)
            put_element(out, first);
        put_value(out, "a", first, &first->a, &first->b);
        put_value(out, "b", first, &first->b, &first->a);
        return;
    }
    if (first->content_a[0] != '\0')
        fb__put_tagged(out, "<dt><span class=\"key a\"></span>a</dt><dd>", first->content_a,
                       "</dd>\n");
    if (first->content_b[0] != '\0')
        fb__put_tagged(out, "<dt><span class=\"key b\"></span>b</dt><dd>", first->content_b,
                       "</dd>\n");
}

/* The innermost frame, the program's own line, is read without opening anything. */
static void put_stack(FILE *out, const char *title, const char *stack)
{
    char innermost[TEXT_MAX];
    int frames = 0;

    (void)snprintf(innermost, sizeof innermost, "%.*s", (int)strcspn(stack, "\n"), stack);
    fprintf(out, "<details><summary>%s: ", title);
    fb__put_tagged(out, "<code>", innermost, "</code></summary><pre>");
    for (const char *at = stack; *at != '\0' && frames < FRAMES_MAX; frames++) {
        const size_t length = strcspn(at, "\n");
        char frame[TEXT_MAX];

        (void)snprintf(frame, sizeof frame, "%.*s", length < TEXT_MAX ? (int)length : TEXT_MAX - 1,
                       at);
        fb__put_tagged(out, "", frame, "\n");
        at += length + (at[length] == '\n');
    }
    fputs("</pre></details>\n", out);
}

static void put_stacks(FILE *out, const fb_diff_report *r)
{
    const char *a = r->first.stack_a, *b = r->first.stack_b;
    const bool equal = a != NULL && b != NULL && strcmp(a, b) == 0;

    if (r->engine)
        return;
    if (a != NULL)
        put_stack(out, equal ? "call stack, equal on both sides" : "call stack of a", a);
    if (b != NULL && !equal)
        put_stack(out, "call stack of b", b);
}

static void put_next(FILE *out, const fb_diff_report *r)
{
    if (r->next != NULL)
        fb__put_tagged(out, "<h3>go on with</h3><pre>", r->next, "</pre>\n");
}

/* The next best causes; that the code differs is told below. */
static void put_guesses(FILE *out, const fb_diff_report *r)
{
    const char *before = "<dt>less likely</dt><dd>";

    for (size_t i = 0; i < r->guess_count; i++) {
        if (strcmp(r->guesses[i].name, "code") == 0)
            continue;
        fb__put_tagged(out, before, r->guesses[i].name, ": ");
        fb__put_tagged(out, "", r->guesses[i].text, "");
        before = "<br>";
    }
    fputs(strcmp(before, "<br>") == 0 ? "</dd>\n" : "", out);
}

static void put_cause(FILE *out, const fb_diff_report *r)
{
    char previous[3 * FB_NAME_MAX + 128];

    fputs("<section class=\"card\">\n<h2>Why</h2>\n", out);
    if (r->has_cause) {
        fb__put_tagged(out, "<span class=\"chip bad\">", r->cause.name, "</span> ");
        if (strcmp(r->cause.name, "unknown") != 0)
            fprintf(out, "<span class=\"chip %s\">%s</span>\n", r->cause.confirmed ? "ok" : "warn",
                    r->cause.confirmed ? "confirmed by replay" : "likely");
        fb__put_tagged(out, "<p class=\"why\">", r->cause.text, "</p>\n");
    }
    fputs("<dl>\n", out);
    if (r->has_cause)
        fb__put_tagged(out, "<dt>fix</dt><dd><strong>", r->cause.fix, "</strong></dd>\n");
    put_contents(out, &r->first);
    if (r->first.has_previous) {
        fb__plain_name(previous, sizeof previous, &r->first.previous);
        fb__put_tagged(out, "<dt>last equal</dt><dd>", previous, "</dd>\n");
    }
    put_guesses(out, r);
    fputs("</dl>\n", out);
    put_stacks(out, r);
    put_next(out, r);
    fputs("</section>\n", out);
}

/* --- The page --------------------------------------------------------------------------------- */

static void put_reproduce(FILE *out, const fb_diff_report *r)
{
    char text[2 * TEXT_MAX];

    (void)snprintf(text, sizeof text, "firstbit diff %.900s %.900s", r->name_a, r->name_b);
    fb__put_tagged(out, "<footer>Made by <code>", text,
                   "</code>. This page needs no network.</footer>\n");
}

static void put_page(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    put_head(out, r);
    put_verdict(out, r);
    fputs(p != NULL ? "<div class=\"two\">\n" : "", out);
    if (r->verdict == FB_DIFF_DIFFER)
        put_cause(out, r);
    if (p != NULL)
        fb__put_overview(out, r, p);
    fputs(p != NULL ? "</div>\n" : "", out);
    if (r->verdict == FB_DIFF_DIFFER && p != NULL && r->has_cause) {
        fb__put_spread(out, r, p);
        fb__put_events(out, p);
        fb__put_draws(out, r, p);
    }
    fputs("<div class=\"two\">\n", out);
    fb__put_rounding(out, r);
    fb__put_candidates(out, r);
    fb__put_scope(out, r);
    fputs("</div>\n", out);
    put_reproduce(out, r);
    fputs("</main>\n</body>\n</html>\n", out);
}

char *fb_diff_report_html(const fb_diff_report *report, const fb_picture *picture)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (out == NULL)
        return NULL;
    put_page(out, report, picture);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
