/* SPDX-License-Identifier: Apache-2.0
 *
 * report_sections.c - the parts of the page below its first answer.
 */
#include "diff/report/report_sections.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "diff/read/headers.h"
#include "diff/parts.h"
#include "diff/report/report_escape.h"
#include "diff/report/report_notes.h"
#include "diff/report/report_plot.h"

enum {
    NOTE_MAX = 4096, /* bytes of one */
    LIST_MAX = 60,   /* notes, differences of headers: more are counted */
    POINTS_MAX = 40, /* rows of the table of tensors */
    OPS_MAX = 24,    /* and of the table of ops */
    TEXT_MAX = 1024
};

void fb__put_tagged(FILE *out, const char *before, const char *text, const char *after)
{
    fputs(before, out);
    fb__put_html(out, text);
    fputs(after, out);
}

void fb__put_count(FILE *out, uint64_t n)
{
    char digits[32];
    fputs(fb__grouped(digits, n), out);
}

/* --- Pictures --------------------------------------------------------------------------------- */

/* Only ops that differ have a row; the others are counted. */
static void put_ops(FILE *out, const fb_picture *p)
{
    size_t rows = 0, equal = 0;
    uint64_t left_out = p->ops_left_out;

    if (p->op_count == 0)
        return;
    fputs("<div class=\"scroll\" role=\"region\" aria-label=\"table\" "
          "tabindex=\"0\">\n<table><thead><tr><th>phase</th><th>op</th><th "
          "class=\"num\">differ</th>"
          "<th class=\"num\">events</th><th></th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < p->op_count; i++) {
        const fb_picture_op *o = &p->ops[i];

        equal += o->differing == 0;
        if (o->differing > 0 && rows >= OPS_MAX)
            left_out += o->events;
        if (o->differing == 0 || rows++ >= OPS_MAX)
            continue;
        fprintf(out, "<tr><td>%s</td>", fb_phase_name(o->phase));
        if (o->op[0] != '\0')
            fb__put_tagged(out, "<td><code>", o->op, "</code></td>");
        else
            fputs("<td>values and settings</td>", out);
        fprintf(out,
                "<td class=\"num\">%" PRIu64 "</td><td class=\"num\">%" PRIu64
                "</td><td><span class=\"bar\"><i style=\"width:%.1f%%\"></i></span></td></tr>\n",
                o->differing, o->events, 100.0 * (double)o->differing / (double)o->events);
    }
    fputs("</tbody></table></div>\n", out);
    fputs("<p class=\"note\">Counted from the first difference on", out);
    if (equal > 0)
        fprintf(out, "; %zu further op%s equal", equal, equal == 1 ? " is" : "s are");
    if (left_out > 0) {
        fputs("; further ops, not shown, have ", out);
        fb__put_count(out, left_out);
        fputs(left_out == 1 ? " event" : " events", out);
    }
    fputs(".</p>\n", out);
}

static void put_points(FILE *out, const fb_growth *g)
{
    fputs("<details><summary>these tensors as a table</summary><div class=\"scroll\" "
          "role=\"region\" aria-label=\"table\" "
          "tabindex=\"0\"><table><thead><tr><th>phase</th><th>tensor</th><th class=\"num\">relative"
          "</th><th class=\"num\">median ulps</th><th class=\"num\">elements that differ</th></tr>"
          "</thead><tbody>\n",
          out);
    for (size_t i = 0; i < g->count && i < POINTS_MAX; i++) {
        const fb_growth_point *p = &g->points[i];

        fprintf(out, "<tr><td>%s</td>", fb_phase_name(p->phase));
        fb__put_tagged(out, "<td><code>", p->path, "");
        fb__put_tagged(out, p->slot[0] != '\0' ? " " : "", p->slot, "</code></td>");
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
        fb__put_tagged(out, "<p class=\"note\">Of the tensors whose values are at hand only <code>",
                       g->points[0].path, "</code> differs in this step.</p>\n");
    } else if (g->why[0] != '\0') {
        fb__put_tagged(
            out, "<p class=\"note\">How large the difference is, tensor by tensor, is not shown: ",
            g->why, ".</p>\n");
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
                "<p class=\"note\">The losses are furthest apart at step %" PRIu64 ": %.3g"
                ".</p>\n",
                worst->step, fabs(worst->a - worst->b));
}

static void put_steps(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    uint64_t wide;

    if (!fb__plot_strip(out, r, p)) {
        fputs("<p class=\"note\">There is no step that both runs have finished.</p>\n", out);
        return;
    }
    wide = p->columns[0].last - p->columns[0].first + 1;
    fprintf(out,
            "<p class=\"note\">Classes of events by step: tall where the two runs differ%s, low "
            "where they are equal, a thin line where one of them recorded nothing.",
            r->verdict == FB_DIFF_SAME ? " in what does not count (the notes below)" : "");
    if (wide > 1)
        fprintf(out, " A column stands for %" PRIu64 " steps; up to 8 of them are looked at.",
                wide);
    fputs("</p>\n", out);
}

static void put_losses(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    if (!fb__plot_loss(out, r, p)) {
        fputs("<p class=\"note\">Fewer than two training losses are recorded.</p>\n", out);
        return;
    }
    put_loss_distance(out, p);
    if (p->losses_sampled)
        fputs("<p class=\"note\">The curves show some of the steps, evenly spread.</p>\n", out);
}

/* In one card beside the cause; where there is none, in two beside each other. */
void fb__put_overview(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    fputs("<section class=\"card\">\n<h2>Where</h2>\n", out);
    put_steps(out, r, p);
    if (r->verdict != FB_DIFF_DIFFER)
        fputs("</section>\n<section class=\"card\">\n<h2>Losses</h2>\n", out);
    put_losses(out, r, p);
    fputs("</section>\n", out);
}

void fb__put_spread(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    fputs("<div class=\"two\">\n<section class=\"card\">\n<h2>How it grows</h2>\n", out);
    (void)fb__plot_phases(out, r, p);
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
    fb__put_count(out, number);
    fprintf(out, "</td><td class=\"phase\">%s", fb_phase_name(row->name.phase));
    if (row->name.micro != FB_MICRO_NONE)
        fprintf(out, " <span class=\"dim\">%" PRIi32 "</span>", row->name.micro);
    fb__put_tagged(out, "</td><td class=\"path\"><code>", row->name.path, "</code> ");
    fb__put_tagged(out, "<span class=\"dim\">", row->name.op, "</span></td>");
    fb__put_tagged(out, "<td>", fb_slot_word(row->name.slot), "</td>");
    put_row_state(out, row);
    fputs("<td class=\"mono\">", out);
    put_short(out, row->a);
    fputs(row->a[0] != '\0' && row->b[0] != '\0' ? "<br>" : "", out);
    put_short(out, row->b);
    fputs("</td></tr>\n", out);
}

void fb__put_events(FILE *out, const fb_picture *p)
{
    if (p->row_count == 0)
        return;
    fputs("<section class=\"card\">\n<h2>The events around it</h2>\n<div "
          "class=\"scroll\" role=\"region\" aria-label=\"table\" "
          "tabindex=\"0\">\n<table><thead><tr><th class=\"num\">event</th>"
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

/* --- The ledger of random draws ----------------------------------------------------------------
 */

static void put_draw_side(FILE *out, const fb_picture_draw *d, bool here, uint64_t key,
                          uint64_t counter, uint64_t count)
{
    if (!here)
        fputs("<td class=\"mono dim\">-</td>", out);
    else if (d->seed)
        fprintf(out, "<td class=\"mono\">seed %" PRIu64 "</td>", key);
    else if (d->counted && count > 0) {
        fputs("<td class=\"mono\">", out);
        fb__put_count(out, counter);
        if (count > 1) {
            fputs(" to ", out);
            fb__put_count(out, counter + count - 1);
        }
        fprintf(out, "<br><span class=\"dim\">key 0x%" PRIx64 "</span></td>", key);
    } else {
        fputs("<td class=\"mono\">", out);
        fb__put_count(out, count);
        fprintf(out, " from state %016" PRIx64 "</td>", counter != 0 ? counter : key);
    }
}

static void put_draw(FILE *out, const fb_picture_draw *d)
{
    static const char *const states[] = {"<span class=\"yes\">&#10003; equal</span>",
                                         "<span class=\"no\">&#10007; differs</span>", "",
                                         "<span class=\"no\">&#10007; only in a</span>",
                                         "<span class=\"no\">&#10007; only in b</span>"};

    fprintf(out, "<tr%s>", d->mark == FB_PICTURE_ROW_EQUAL ? "" : " class=\"here\"");
    fb__put_tagged(out, "<td><code>", d->stream, "</code></td>");
    fb__put_tagged(out, "<td>", d->seed ? "seed" : d->distribution, "</td>");
    fprintf(out, "<td>%s</td>", fb_phase_name(d->name.phase));
    fb__put_tagged(out, "<td class=\"path\"><code>",
                   d->consumer[0] != '\0' ? d->consumer : d->name.path, "</code></td>");
    fprintf(out, "<td class=\"state\">%s</td>", states[d->mark]);
    put_draw_side(out, d, d->mark != FB_PICTURE_ROW_ONLY_B, d->key_a, d->counter_a, d->count_a);
    put_draw_side(out, d, d->mark != FB_PICTURE_ROW_ONLY_A, d->key_b, d->counter_b, d->count_b);
    fputs("</tr>\n", out);
}

void fb__put_draws(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    if (p->draw_count == 0)
        return;
    fputs("<section class=\"card\">\n<h2>The random draws around it</h2>\n<div "
          "class=\"scroll\" role=\"region\" aria-label=\"random draws\" "
          "tabindex=\"0\">\n<table><thead><tr><th>stream</th><th>draw</th><th>phase</th>"
          "<th>for</th><th>a against b</th><th><span class=\"key a\"></span>a: numbers</th>"
          "<th><span class=\"key b\"></span>b: numbers</th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < p->draw_count; i++)
        put_draw(out, &p->draws[i]);
    fputs("</tbody></table></div>\n<p class=\"note\">", out);
    if (p->draws_in_all > p->draw_count) {
        fprintf(out, "%zu of ", p->draw_count);
        fb__put_count(out, p->draws_in_all);
        fputs(" draws and seeds", out);
    } else {
        fputs("All draws and seeds", out);
    }
    fprintf(out, " of step %" PRIu64 ", in the order of the run.</p>\n</section>\n",
            r->first.name.step);
}

/* --- The rest --------------------------------------------------------------------------------- */

void fb__put_candidates(FILE *out, const fb_diff_report *r)
{
    fputs("<section class=\"card\">\n<h2>What differs between the recordings</h2>\n", out);
    if (r->candidate_count == 0) {
        fputs("<p class=\"note\">Configuration, code, data files and environment are equal.</p>\n"
              "</section>\n",
              out);
        return;
    }
    fputs("<div class=\"scroll\" role=\"region\" aria-label=\"table\" "
          "tabindex=\"0\">\n<table><thead><tr><th>what</th><th>key</th>"
          "<th><span class=\"key a\"></span>a</th><th><span class=\"key b\"></span>b</th></tr>"
          "</thead><tbody>\n",
          out);
    for (size_t i = 0; i < r->candidate_count && i < LIST_MAX; i++) {
        const fb_diff_candidate *k = &r->candidates[i];
        char text[TEXT_MAX / 4];

        fb__put_tagged(out, "<tr><td>", k->what, "</td>");
        fb__put_tagged(out, "<td><code>", k->key, "</code></td>");
        fb__put_tagged(out, "<td class=\"mono\">", fb__json_plain(text, sizeof text, k->a),
                       "</td>");
        fb__put_tagged(out, "<td class=\"mono\">", fb__json_plain(text, sizeof text, k->b),
                       "</td></tr>\n");
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
        fb__put_tagged(out, "<li>", list->at[i], "</li>\n");
    if (list->count > LIST_MAX)
        fprintf(out, "<li>and %zu more</li>\n", list->count - LIST_MAX);
    fputs("</ul>\n", out);
}

static void put_notes(FILE *out, const fb_diff_report *r)
{
    fb__note_line lines[LIST_MAX];
    const size_t count = fb__fold_notes(lines, LIST_MAX, &r->notes);
    uint64_t told = 0;
    char text[NOTE_MAX];

    if (count == 0)
        return;
    fputs("<h3>notes: differences that do not count</h3>\n<ul>\n", out);
    for (size_t i = 0; i < count; i++) {
        fb__put_tagged(out, "<li>", fb__note_line_text(text, sizeof text, &r->notes, &lines[i]),
                       "</li>\n");
        told += lines[i].count;
    }
    if (told < r->notes.count + r->notes_more)
        fprintf(out, "<li>and %" PRIu64 " more</li>\n", r->notes.count + r->notes_more - told);
    fputs("</ul>\n", out);
}

static void put_side(FILE *out, const char *side, const char *name, uint64_t events, fb_level level,
                     fb_trace_status status)
{
    fprintf(out, "<tr><td><span class=\"key %s\"></span>%s</td>", side, side);
    fb__put_tagged(out, "<td class=\"mono\">", name, "</td><td class=\"num\">");
    fb__put_count(out, events);
    fprintf(out, "</td><td>%s</td><td>%s</td></tr>\n", fb_level_name(level),
            fb_trace_status_name(status));
}

static void put_parts(FILE *out, const fb_diff_report *r)
{
    char text[512];

    if (r->part_count == 0)
        return;
    if (r->part > 0)
        fb__put_tagged(out, "<p class=\"note\">The difference lies in process ",
                       r->parts[r->part - 1].role, ".</p>\n");
    fb__put_tagged(out, "<p class=\"note\">Other processes: ", fb__parts_text(text, sizeof text, r),
                   ".</p>\n");
}

void fb__put_scope(FILE *out, const fb_diff_report *r)
{
    const char *comma = "";

    fputs("<section class=\"card\">\n<h2>What was compared</h2>\n<div class=\"scroll\" "
          "role=\"region\" aria-label=\"table\" "
          "tabindex=\"0\"><table><thead><tr><th></th><th>trace</th><th class=\"num\">events</th>"
          "<th>level</th><th>status</th></tr></thead><tbody>\n",
          out);
    put_side(out, "a", r->name_a, r->events_a, r->level_a, r->status_a);
    put_side(out, "b", r->name_b, r->events_b, r->level_b, r->status_b);
    fputs("</tbody></table></div>\n<p class=\"note\">Classes of events:", out);
    for (int k = 0; k < FB_CLASS_COUNT; k++)
        if ((r->classes & 1u << k) != 0) {
            fprintf(out, "%s %s", comma, fb_class_name((fb_class)k));
            comma = ",";
        }
    if (r->has_steps)
        fprintf(out, "; steps %" PRIu64 " to %" PRIu64, r->first_step, r->last_step);
    fb__put_tagged(out, r->depth != NULL ? "; " : "", r->depth != NULL ? r->depth : "", "");
    fputs(r->left_out.count == 0 && r->depth == NULL && r->status_a == FB_TRACE_COMPLETE &&
                  r->status_b == FB_TRACE_COMPLETE
              ? "; nothing left out.</p>\n"
              : ".</p>\n",
          out);
    put_parts(out, r);
    put_list(out, "expected: run a was made again with the value of b", &r->expected);
    put_list(out, "not compared", &r->left_out);
    put_notes(out, r);
    fputs("</section>\n", out);
}
