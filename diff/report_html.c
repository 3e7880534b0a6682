/* SPDX-License-Identifier: Apache-2.0
 *
 * report_html.c - a comparison as one page: where and why first, then how it spreads, the events
 * around it, what differs between the runs, and what was compared. No script, no link to anywhere.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "diff/headers.h"
#include "diff/picture.h"
#include "diff/report_escape.h"
#include "diff/report_plot.h"
#include "diff/report_style.h"

enum {
    LIST_MAX = 60,   /* notes, differences of headers: more are counted */
    POINTS_MAX = 40, /* rows of the table of tensors */
    FRAMES_MAX = 24, /* of a call stack */
    TEXT_MAX = 1024
};

/* Text of a trace between tags that are this file's own. */
static void tagged(FILE *out, const char *before, const char *text, const char *after)
{
    fputs(before, out);
    fb__put_html(out, text);
    fputs(after, out);
}

static void puts_count(FILE *out, uint64_t n)
{
    char digits[32];
    fputs(fb__grouped(digits, n), out);
}

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
        fb__put_html(out, r->first.name.path);
    }
    fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", fb__report_style);
    fputs(
        "<a class=\"skip\" href=\"#main\">Skip to the report</a>\n<header>\n"
        "<p class=\"runs\">firstbit diff &nbsp; <span class=\"key a\"></span>a <b class=\"mono\">",
        out);
    tagged(out, "", r->name_a, "</b> &nbsp; <span class=\"key b\"></span>b <b class=\"mono\">");
    tagged(out, "", r->name_b, "</b></p>\n");
}

static void put_where(FILE *out, const fb_diff_first *first)
{
    const fb_event_name *n = &first->name;
    const uint64_t event = first->number_a != UINT64_MAX ? first->number_a : first->number_b;

    fprintf(out,
            "<section class=\"verdict\" aria-label=\"verdict\">\n<h1>Diverged at step %" PRIu64,
            n->step);
    tagged(out, " in <code>", n->path, "</code></h1>\n<p>");
    if (n->micro != FB_MICRO_NONE)
        fprintf(out, "micro-batch %" PRIi32 ", ", n->micro);
    fprintf(out, "%s, ", fb_phase_name(n->phase));
    fb__put_html(out, fb_slot_word(n->slot));
    tagged(out, " of ", n->op, "");
    if (first->what == FB_DIFF_ONLY_A || first->what == FB_DIFF_ONLY_B)
        fprintf(out, ", <strong>only in %s</strong>", first->what == FB_DIFF_ONLY_A ? "a" : "b");
    if (event != UINT64_MAX) {
        fputs(" &middot; event ", out);
        puts_count(out, event);
    }
    fputs(first->what == FB_DIFF_CONTENT ? " &middot; all that it is made from is equal" : "", out);
    fputs("</p>\n</section>\n", out);
}

static void put_verdict(FILE *out, const fb_diff_report *r)
{
    switch (r->verdict) {
    case FB_DIFF_DIFFER:
        put_where(out, &r->first);
        break;
    case FB_DIFF_SAME:
    case FB_DIFF_ROUNDING:
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
        tagged(out, "", r->why, "</p>\n</section>\n");
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
    fprintf(out, "<dt><span class=\"key %s\"></span>%s</dt><dd><code>%.*g</code> ", side, side,
            first->dtype == FB_DTYPE_F32 ? 9 : 17, own->number);
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
        puts_count(out, first->differing - 1);
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
        tagged(out, "<dt><span class=\"key a\"></span>a</dt><dd>", first->content_a, "</dd>\n");
    if (first->content_b[0] != '\0')
        tagged(out, "<dt><span class=\"key b\"></span>b</dt><dd>", first->content_b, "</dd>\n");
}

static void put_stack(FILE *out, const char *title, const char *stack)
{
    int frames = 0;

    fprintf(out, "<details><summary>%s</summary><pre>", title);
    for (const char *at = stack; *at != '\0' && frames < FRAMES_MAX; frames++) {
        const size_t length = strcspn(at, "\n");
        char frame[TEXT_MAX];

        (void)snprintf(frame, sizeof frame, "%.*s", length < TEXT_MAX ? (int)length : TEXT_MAX - 1,
                       at);
        tagged(out, "", frame, "\n");
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
        put_stack(out, equal ? "call stack (equal on both sides)" : "call stack of a", a);
    if (b != NULL && !equal)
        put_stack(out, "call stack of b", b);
}

/* The command to go on with, for a shell: what a quote in a name would end is left to the user. */
static void put_next(FILE *out, const fb_diff_report *r)
{
    const fb_event_name *n = &r->first.name;
    char text[3 * FB_NAME_MAX];

    if (r->first.has_element)
        (void)snprintf(text, sizeof text,
                       "firstbit replay %s --to %" PRIu64 " --make '%s*' -o out/", r->name_a,
                       n->step, n->path);
    else
        (void)snprintf(text, sizeof text, "firstbit show %s --step %" PRIu64 " --path '%s*'",
                       r->first.what == FB_DIFF_ONLY_B ? r->name_b : r->name_a, n->step, n->path);
    tagged(out, "<h3>go on with</h3><pre>", text, "</pre>\n");
}

static void put_cause(FILE *out, const fb_diff_report *r)
{
    char previous[3 * FB_NAME_MAX + 128];

    fputs("<section class=\"card\">\n<h2>Why</h2>\n", out);
    if (r->has_cause) {
        tagged(out, "<span class=\"chip bad\">", r->cause.name, "</span> ");
        fprintf(out, "<span class=\"chip %s\">%s</span>\n", r->cause.confirmed ? "ok" : "warn",
                r->cause.confirmed ? "confirmed by replay" : "likely");
        tagged(out, "<p class=\"why\">", r->cause.text, "</p>\n");
    }
    fputs("<dl>\n", out);
    if (r->has_cause)
        tagged(out, "<dt>fix</dt><dd><strong>", r->cause.fix, "</strong></dd>\n");
    put_contents(out, &r->first);
    if (r->first.has_previous) {
        fb_event_name_text(previous, sizeof previous, &r->first.previous);
        tagged(out, "<dt>last equal</dt><dd>", previous, "</dd>\n");
    }
    fputs("</dl>\n", out);
    put_stacks(out, r);
    put_next(out, r);
    fputs("</section>\n", out);
}

/* --- Pictures --------------------------------------------------------------------------------- */

static void put_ops(FILE *out, const fb_picture *p)
{
    if (p->op_count == 0)
        return;
    fputs(
        "<h3>in this step, from the first difference on</h3>\n<div class=\"scroll\" "
        "tabindex=\"0\">\n<table><thead><tr><th>phase</th><th>op</th><th class=\"num\">differ</th>"
        "<th class=\"num\">events</th><th></th></tr></thead><tbody>\n",
        out);
    for (size_t i = 0; i < p->op_count; i++) {
        const fb_picture_op *o = &p->ops[i];

        fprintf(out, "<tr><td>%s</td>", fb_phase_name(o->phase));
        tagged(out, "<td><code>", o->op, "</code></td>");
        fprintf(out,
                "<td class=\"num\">%" PRIu64 "</td><td class=\"num\">%" PRIu64
                "</td><td><span class=\"bar\"><i style=\"width:%.1f%%\"></i></span></td></tr>\n",
                o->differing, o->events, 100.0 * (double)o->differing / (double)o->events);
    }
    fputs("</tbody></table></div>\n", out);
    fputs("<p class=\"note\">Counted from the first difference on", out);
    if (p->ops_left_out > 0) {
        fputs("; further ops, not shown, have ", out);
        puts_count(out, p->ops_left_out);
        fputs(" events", out);
    }
    fputs(".</p>\n", out);
}

static void put_points(FILE *out, const fb_growth *g)
{
    fputs("<details><summary>these tensors as a table</summary><div class=\"scroll\" "
          "tabindex=\"0\"><table><thead><tr><th>phase</th><th>tensor</th><th class=\"num\">relative"
          "</th><th class=\"num\">median ulps</th><th class=\"num\">elements that differ</th></tr>"
          "</thead><tbody>\n",
          out);
    for (size_t i = 0; i < g->count && i < POINTS_MAX; i++) {
        const fb_growth_point *p = &g->points[i];

        fprintf(out, "<tr><td>%s</td>", fb_phase_name(p->phase));
        tagged(out, "<td><code>", p->path, "");
        tagged(out, p->slot[0] != '\0' ? " " : "", p->slot, "</code></td>");
        fprintf(out, "<td class=\"num\">%.2g</td>", p->relative);
        if (g->source == FB_GROWTH_VALUES)
            fprintf(out, "<td class=\"num\">%.4g</td><td class=\"num\">%" PRIu64 " of %" PRIu64,
                    p->ulps, p->differing, p->elements);
        else
            fputs("<td class=\"num\">-</td><td class=\"num\">-", out);
        fputs("</td></tr>\n", out);
    }
    fputs("</tbody></table></div>", out);
    if (g->count + g->left_out > POINTS_MAX)
        fprintf(out, "<p class=\"note\">%d of %" PRIu64 "</p>", POINTS_MAX,
                (uint64_t)g->count + g->left_out);
    fputs("</details>\n", out);
}

static void put_growth(FILE *out, const fb_growth *g)
{
    if (fb__plot_growth(out, g)) {
        fprintf(out, "<p class=\"note\">The first is red. %s</p>\n",
                g->source == FB_GROWTH_VALUES
                    ? "Both runs were replayed for the values; a median is given as a power of two."
                    : "From the sketches of the two traces: right within some 20 %.");
        put_points(out, g);
    } else if (g->count == 1) {
        tagged(out, "<p class=\"note\">Of the tensors whose values are at hand only <code>",
               g->points[0].path, "</code> differs in this step.</p>\n");
    } else if (g->why[0] != '\0') {
        tagged(out, "<p class=\"note\">Not shown: ", g->why, ".</p>\n");
    }
}

/* The largest distance of the two curves: it may be too small to be seen. */
static void put_loss_distance(FILE *out, const fb_picture *p)
{
    const fb_picture_loss *worst = NULL;

    for (size_t i = 0; i < p->loss_count; i++) {
        const fb_picture_loss *l = &p->losses[i];
        const double d = fabs(l->a - l->b);

        if (d > 0 && isfinite(d) && (worst == NULL || d > fabs(worst->a - worst->b)))
            worst = l;
    }
    if (worst != NULL)
        fprintf(out,
                "<p class=\"note\">The losses are never further apart than %.3g, at step %" PRIu64
                ".</p>\n",
                fabs(worst->a - worst->b), worst->step);
}

static void put_overview(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    fputs("<section class=\"card\">\n<h2>Where</h2>\n", out);
    if (fb__plot_strip(out, r, p)) {
        const uint64_t wide = p->columns[0].last - p->columns[0].first + 1;

        fputs("<p class=\"note\">Classes of events by step: tall and red where the two runs "
              "differ, low and green where they are equal, a thin line where one of them recorded "
              "nothing.",
              out);
        if (wide > 1)
            fprintf(out, " A column stands for %" PRIu64 " steps; up to 8 of them are looked at.",
                    wide);
        fputs("</p>\n", out);
    } else {
        fputs("<p class=\"note\">There is no step that both runs have finished.</p>\n", out);
    }
    if (fb__plot_loss(out, r, p)) {
        put_loss_distance(out, p);
        if (p->losses_sampled)
            fputs("<p class=\"note\">The curves show some of the steps, evenly spread.</p>\n", out);
    }
    fputs("</section>\n", out);
}

static void put_spread(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    fputs("<div class=\"two\">\n<section class=\"card\">\n<h2>How it grows</h2>\n", out);
    (void)fb__plot_shares(out, r, p);
    put_growth(out, &p->growth);
    fprintf(out,
            "</section>\n<section class=\"card\">\n<h2>Which ops differ in step %" PRIu64 "</h2>\n",
            r->first.name.step);
    put_ops(out, p);
    fputs("</section>\n</div>\n", out);
}

/* --- Events ----------------------------------------------------------------------------------- */

static void put_row_state(FILE *out, const fb_picture_row *row)
{
    static const char *const states[] = {"<span class=\"yes\">&#10003; equal</span>",
                                         "<span class=\"no\">&#10007; differs</span>",
                                         "<span class=\"no\">&#10007; other inputs</span>",
                                         "<span class=\"no\">&#10007; only in a</span>",
                                         "<span class=\"no\">&#10007; only in b</span>"};

    fprintf(out, "<td class=\"state\">%s", states[row->mark]);
    if (row->first)
        fputs(" <span class=\"no\">&larr; first</span>", out);
    else if (row->inherits)
        fputs(" <span class=\"dim\">from its inputs</span>", out);
    fputs("</td>", out);
}

/* Contents with every hash cut to its first digits: a table of them is to be read. */
static void put_short(FILE *out, const char *text)
{
    char shown[TEXT_MAX];
    size_t used = 0;

    while (*text != '\0' && used + 64 < sizeof shown) {
        const size_t digits = strspn(text, "0123456789abcdef");

        if (digits == 32) {
            used += (size_t)snprintf(shown + used, sizeof shown - used, "%.12s...", text);
            text += 32;
        } else {
            const size_t n = digits > 0 ? (digits < 60 ? digits : 60) : 1;
            memcpy(shown + used, text, n);
            used += n;
            text += n;
        }
    }
    shown[used] = '\0';
    fb__put_html(out, shown);
}

static void put_row(FILE *out, const fb_picture_row *row)
{
    const uint64_t number = row->number_a != UINT64_MAX ? row->number_a : row->number_b;

    fprintf(out, "<tr%s><td class=\"num\">", row->first ? " class=\"here\"" : "");
    puts_count(out, number);
    fprintf(out, "</td><td>%s", fb_phase_name(row->name.phase));
    if (row->name.micro != FB_MICRO_NONE)
        fprintf(out, " <span class=\"dim\">%" PRIi32 "</span>", row->name.micro);
    tagged(out, "</td><td class=\"path\"><code>", row->name.path, "</code> ");
    tagged(out, "<span class=\"dim\">", row->name.op, "</span></td>");
    tagged(out, "<td>", fb_slot_word(row->name.slot), "</td>");
    put_row_state(out, row);
    fputs("<td class=\"mono\">", out);
    put_short(out, row->a);
    fputs(row->a[0] != '\0' && row->b[0] != '\0' ? "<br>" : "", out);
    put_short(out, row->b);
    fputs("</td></tr>\n", out);
}

static void put_events(FILE *out, const fb_picture *p)
{
    if (p->row_count == 0)
        return;
    fputs("<section class=\"card\">\n<h2>The events around it</h2>\n<div "
          "class=\"scroll\" tabindex=\"0\">\n<table><thead><tr><th class=\"num\">event</th>"
          "<th>phase</th><th>path and op</th><th>what</th><th>a against b</th><th>contents (of a, "
          "then of b)</th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < p->row_count; i++)
        put_row(out, &p->rows[i]);
    fputs("</tbody></table></div>\n<p class=\"note\">The first difference is the earliest event "
          "whose inputs are equal and which is not. &ldquo;From its inputs&rdquo;: it passes on "
          "what differs already.</p>\n</section>\n",
          out);
}

/* --- The rest --------------------------------------------------------------------------------- */

static void put_candidates(FILE *out, const fb_diff_report *r)
{
    fputs("<section class=\"card\">\n<h2>What differs between the recordings</h2>\n", out);
    if (r->candidate_count == 0) {
        fputs("<p class=\"note\">Configuration, code, data files and environment are equal.</p>\n"
              "</section>\n",
              out);
        return;
    }
    fputs("<div class=\"scroll\" tabindex=\"0\">\n<table><thead><tr><th>what</th><th>key</th>"
          "<th><span class=\"key a\"></span>a</th><th><span class=\"key b\"></span>b</th></tr>"
          "</thead><tbody>\n",
          out);
    for (size_t i = 0; i < r->candidate_count && i < LIST_MAX; i++) {
        const fb_diff_candidate *k = &r->candidates[i];
        char text[TEXT_MAX / 4];

        tagged(out, "<tr><td>", k->what, "</td>");
        tagged(out, "<td><code>", k->key, "</code></td>");
        tagged(out, "<td class=\"mono\">", fb__json_plain(text, sizeof text, k->a), "</td>");
        tagged(out, "<td class=\"mono\">", fb__json_plain(text, sizeof text, k->b), "</td></tr>\n");
    }
    fputs("</tbody></table></div>\n", out);
    if (r->candidate_count > LIST_MAX)
        fprintf(out, "<p class=\"note\">%d of %zu</p>\n", LIST_MAX, r->candidate_count);
    fputs(r->environment_cleared
              ? "<p class=\"note\">The environment is not the cause: both runs were replayed, each "
                "as it was recorded, with one result.</p>\n"
              : "<p class=\"note\">Candidates for the cause, not the verdict.</p>\n",
          out);
    fputs("</section>\n", out);
}

static void put_list(FILE *out, const char *title, const fb_diff_list *list)
{
    if (list->count == 0)
        return;
    fprintf(out, "<h3>%s</h3>\n<ul>\n", title);
    for (size_t i = 0; i < list->count && i < LIST_MAX; i++)
        tagged(out, "<li>", list->at[i], "</li>\n");
    if (list->count > LIST_MAX)
        fprintf(out, "<li>and %zu more</li>\n", list->count - LIST_MAX);
    fputs("</ul>\n", out);
}

static void put_side(FILE *out, const char *side, const char *name, uint64_t events, fb_level level,
                     fb_trace_status status)
{
    fprintf(out, "<tr><td><span class=\"key %s\"></span>%s</td>", side, side);
    tagged(out, "<td class=\"mono\">", name, "</td><td class=\"num\">");
    puts_count(out, events);
    fprintf(out, "</td><td>%s</td><td>%s</td></tr>\n", fb_level_name(level),
            fb_trace_status_name(status));
}

static void put_scope(FILE *out, const fb_diff_report *r)
{
    fputs("<section class=\"card\">\n<h2>What was compared</h2>\n<div class=\"scroll\" "
          "tabindex=\"0\"><table><thead><tr><th></th><th>trace</th><th class=\"num\">events</th>"
          "<th>level</th><th>status</th></tr></thead><tbody>\n",
          out);
    put_side(out, "a", r->name_a, r->events_a, r->level_a, r->status_a);
    put_side(out, "b", r->name_b, r->events_b, r->level_b, r->status_b);
    fputs("</tbody></table></div>\n<p class=\"note\">Classes of events:", out);
    for (int k = 0; k < FB_CLASS_COUNT; k++)
        if ((r->classes & 1u << k) != 0)
            fprintf(out, " %s", fb_class_name((fb_class)k));
    if (r->has_steps)
        fprintf(out, "; steps %" PRIu64 " to %" PRIu64, r->first_step, r->last_step);
    fputs(r->left_out.count == 0 ? "; nothing left out.</p>\n" : ".</p>\n", out);
    put_list(out, "expected: run a was made again with the value of b", &r->expected);
    put_list(out, "not compared", &r->left_out);
    put_list(out, "notes: differences that do not count", &r->notes);
    fputs("</section>\n", out);
}

static void put_reproduce(FILE *out, const fb_diff_report *r)
{
    char text[2 * TEXT_MAX];

    (void)snprintf(text, sizeof text, "firstbit diff %.900s %.900s", r->name_a, r->name_b);
    tagged(out, "<footer>Made by <code>", text, "</code>. This page needs no network.</footer>\n");
}

static void put_page(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    put_head(out, r);
    put_verdict(out, r);
    fputs(r->verdict == FB_DIFF_DIFFER && p != NULL ? "<div class=\"two\">\n" : "", out);
    if (r->verdict == FB_DIFF_DIFFER)
        put_cause(out, r);
    if (p != NULL)
        put_overview(out, r, p);
    fputs(r->verdict == FB_DIFF_DIFFER && p != NULL ? "</div>\n" : "", out);
    if (r->verdict == FB_DIFF_DIFFER && p != NULL && r->has_cause) {
        put_spread(out, r, p);
        put_events(out, p);
    }
    fputs("<div class=\"two\">\n", out);
    put_candidates(out, r);
    put_scope(out, r);
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
