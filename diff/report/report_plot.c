/* SPDX-License-Identifier: Apache-2.0
 *
 * report_plot.c - axes, lines and bars as SVG.
 *
 * Text is 12 units high in a drawing of 480 units, so that it can be read where the drawing is as
 * narrow as a telephone.
 */
#include "diff/report/report_plot.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "diff/report/report_escape.h"

enum {
    WIDTH = 480,
    LEFT = 56, /* room for the numbers of the y axis */
    RIGHT = 14,
    TOP = 26, /* room for what the y axis counts */
    BOTTOM = 38,
    PLOT_HEIGHT = 150,
    HEIGHT = TOP + PLOT_HEIGHT + BOTTOM,
    TICKS = 4,
    GRID_LEFT = 76, /* room for the names of phases */
    GRID_ROW = 20
};

/* A range of numbers on a stretch of the drawing. */
typedef struct axis {
    double low, high; /* in units of the data, or their logarithms */
    double from, to;  /* in the drawing */
} axis;

static double place(const axis *x, double value)
{
    return x->high > x->low ? x->from + (value - x->low) / (x->high - x->low) * (x->to - x->from)
                            : (x->from + x->to) / 2;
}

/* 1, 2 or 5 times a power of ten: about `count` of them in the range. */
static double nice_step(double range, int count)
{
    const double rough = range / count, power = pow(10, floor(log10(rough)));
    const double part = rough / power;

    return (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10) * power;
}

/* How many whole numbers there are from first to last; 0 where that is no sensible number. */
static int ticks(double first, double last)
{
    const double count = last - first + 1;

    return count > 0 && count < 1000 ? (int)count : 0;
}

static void begin(FILE *out, int height, const char *title)
{
    fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", WIDTH, height,
            title);
}

static void label(FILE *out, double x, double y, const char *anchor, const char *class_,
                  const char *text)
{
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">%s</text>\n", x, y,
            anchor, class_, text);
}

static void line(FILE *out, double x1, double y1, double x2, double y2, const char *class_)
{
    fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1,
            x2, y2, class_);
}

/* Horizontal lines with their numbers, and what is counted, above. */
static void y_axis(FILE *out, const axis *y, const char *what)
{
    const double wide = nice_step(y->high - y->low, TICKS);
    const bool alone = floor(y->high / wide + 1e-9) - ceil(y->low / wide - 1e-9) < 1;
    const double step = alone ? nice_step(y->high - y->low, 2 * TICKS) : wide;
    const double first = ceil(y->low / step - 1e-9);
    const int count = ticks(first, floor(y->high / step + 1e-9));

    for (int i = 0; i < count; i++) {
        const double v = (first + i) * step;
        char text[40];
        const double shown = fabs(v) < step * 1e-6 ? 0 : v;

        (void)snprintf(text, sizeof text, "%.4g", shown);
        line(out, LEFT, place(y, v), WIDTH - RIGHT, place(y, v), "grid");
        label(out, LEFT - 6, place(y, v) + 4, "end", "tick", text);
    }
    label(out, 2, 13, "start", "axis", what);
}

static void x_axis(FILE *out, const axis *x, double bottom, const char *what)
{
    const double step = fmax(1, nice_step(x->high > x->low ? x->high - x->low : 1, 6));
    const double first = ceil(x->low / step);
    const int count = ticks(first, floor(x->high / step));

    line(out, LEFT, bottom, WIDTH - RIGHT, bottom, "frame");
    for (int i = 0; i < count; i++) {
        const double v = (first + i) * step;
        char text[40];

        (void)snprintf(text, sizeof text, "%.10g", v);
        line(out, place(x, v), bottom, place(x, v), bottom + 4, "frame");
        label(out, place(x, v), bottom + 16, "middle", "tick", text);
    }
    label(out, WIDTH - RIGHT, bottom + 32, "end", "axis", what);
}

/* A line through the first difference. */
static void mark_first(FILE *out, const fb_diff_report *r, const axis *x, double top, double bottom)
{
    const double at = place(x, (double)r->first.name.step);
    char text[48];

    if (!r->has_first || (double)r->first.name.step < x->low ||
        (double)r->first.name.step > x->high)
        return;
    (void)snprintf(text, sizeof text, "step %" PRIu64, r->first.name.step);
    line(out, at, top, at, bottom, "here");
    label(out, at > WIDTH * 0.7 ? at - 5 : at + 5, top + 10, at > WIDTH * 0.7 ? "end" : "start",
          "here-text", text);
}

/* --- Strip ------------------------------------------------------------------------------------ */

/* Where the runs are the same, what differs is noted and does not count. */
static void strip_row(FILE *out, const fb_picture *p, int k, double y, double cell, bool same)
{
    const char *const classes[] = {"absent", "equal", same ? "noted" : "differ"};

    for (size_t i = 0, end; i < p->column_count; i = end) {
        const fb_picture_state state = p->columns[i].state[k];
        /* Not by colour alone: what differs is tall. */
        const double height = state == FB_PICTURE_DIFFERENT ? 16
                              : state == FB_PICTURE_EQUAL   ? 6
                                                            : 2;

        for (end = i; end < p->column_count && p->columns[end].state[k] == state;)
            end++;
        fprintf(out, "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%.0f\" class=\"%s\"/>\n",
                LEFT + cell * (double)i, y + 8 - height / 2, cell * (double)(end - i), height,
                classes[state]);
    }
}

bool fb__plot_strip(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    const double cell =
        (double)(WIDTH - LEFT - RIGHT) / (double)(p->column_count + !p->column_count);
    const double bottom = 4 + 20 * FB_CLASS_COUNT;
    size_t here = p->column_count;

    if (p->column_count == 0)
        return false;
    begin(out, (int)bottom + 22, "which classes of events agree, by step");
    for (int k = 0; k < FB_CLASS_COUNT; k++) {
        label(out, LEFT - 6, 4 + 20 * k + 12, "end", "tick", fb_class_name((fb_class)k));
        strip_row(out, p, k, 4 + 20 * k, cell, r->verdict == FB_DIFF_SAME);
    }
    for (size_t i = 0; r->has_first && i < p->column_count; i++)
        if (p->columns[i].first <= r->first.name.step && r->first.name.step <= p->columns[i].last)
            here = i;
    const double x = LEFT + cell * (double)here;
    char first[48], last[48], at[48];
    (void)snprintf(first, sizeof first, "step %" PRIu64, p->columns[0].first);
    (void)snprintf(last, sizeof last, "%" PRIu64, p->columns[p->column_count - 1].last);
    (void)snprintf(at, sizeof at, "step %" PRIu64, r->first.name.step);
    if (here == p->column_count || x > LEFT + 70)
        label(out, LEFT, bottom + 14, "start", "tick", first);
    if (here == p->column_count || x < WIDTH - RIGHT - 60)
        label(out, WIDTH - RIGHT, bottom + 14, "end", "tick", last);
    if (here < p->column_count) {
        line(out, x, 0, x, bottom, "here");
        label(out, x, bottom + 14,
              x > WIDTH - RIGHT - 30 ? "end"
              : x < LEFT + 20        ? "start"
                                     : "middle",
              "here-text", at);
    }
    fputs("</svg>\n", out);
    return true;
}

/* --- Loss ------------------------------------------------------------------------------------- */

static double loss_at(const fb_picture_loss *l, bool of_b)
{
    return of_b ? l->b : l->a;
}

static void loss_line(FILE *out, const fb_picture *p, bool of_b, const axis *x, const axis *y)
{
    bool pen = false;

    fprintf(out, "<path class=\"%s\" d=\"", of_b ? "line-b" : "line-a");
    for (size_t i = 0; i < p->loss_count; i++) {
        const double v = loss_at(&p->losses[i], of_b);

        if (isfinite(v))
            fprintf(out, "%c%.1f %.1f", pen ? 'L' : 'M', place(x, (double)p->losses[i].step),
                    place(y, v));
        pen = isfinite(v);
    }
    fputs("\"/>\n", out);
}

bool fb__plot_loss(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    axis x = {0, 0, LEFT, WIDTH - RIGHT}, y = {INFINITY, -INFINITY, TOP + PLOT_HEIGHT, TOP};

    for (size_t i = 0; i < p->loss_count; i++)
        for (int side = 0; side < 2; side++) {
            const double v = loss_at(&p->losses[i], side == 1);

            y.low = isfinite(v) && v < y.low ? v : y.low;
            y.high = isfinite(v) && v > y.high ? v : y.high;
        }
    if (p->loss_count < 2 || y.low > y.high)
        return false;
    x.low = (double)p->losses[0].step;
    x.high = (double)p->losses[p->loss_count - 1].step;
    if (y.high - y.low < 1e-12 * fabs(y.high) + 1e-300) {
        y.low -= 0.5;
        y.high += 0.5;
    }
    const double room = 0.06 * (y.high - y.low);
    y.low -= room;
    y.high += room;
    begin(out, HEIGHT, "training loss of both runs by step");
    y_axis(out, &y, "training loss");
    x_axis(out, &x, TOP + PLOT_HEIGHT, "step");
    loss_line(out, p, false, &x, &y);
    loss_line(out, p, true, &x, &y);
    mark_first(out, r, &x, TOP, TOP + PLOT_HEIGHT);
    fputs("<path class=\"line-a\" d=\"M372 9L396 9\"/>"
          "<text x=\"401\" y=\"13\" class=\"tick\">a</text>"
          "<path class=\"line-b\" d=\"M422 9L446 9\"/>"
          "<text x=\"451\" y=\"13\" class=\"tick\">b</text>\n</svg>\n",
          out);
    return true;
}

/* --- Steps and phases ------------------------------------------------------------------------- */

/* A cell is as full as events differ in it, from the bottom: not by colour alone. */
static void put_cell(FILE *out, const fb_picture_share *s, fb_phase phase, double x, double y,
                     double width)
{
    const uint64_t events = s->phases[phase].events, differing = s->phases[phase].differing;
    const double full = GRID_ROW - 3, part = (double)differing / (double)(events + !events);
    const double red = differing > 0 ? fmax(2, full * part) : 0;

    fprintf(out,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"%s\"><title>"
            "step %" PRIu64 ", %s: %" PRIu64 " of %" PRIu64 " events differ</title></rect>\n",
            x, y, width, full, events == 0 ? "nothing" : "agrees", s->step, fb_phase_name(phase),
            differing, events);
    if (red > 0)
        fprintf(out,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"differ\">"
                "<title>step %" PRIu64 ", %s: %" PRIu64 " of %" PRIu64
                " events differ</title></rect>\n",
                x, y + full - red, width, red, s->step, fb_phase_name(phase), differing, events);
}

static bool has_phase(const fb_picture *p, int phase)
{
    for (size_t i = 0; i < p->share_count; i++)
        if (p->shares[i].phases[phase].events > 0)
            return true;
    return false;
}

static void steps_axis(FILE *out, const fb_diff_report *r, const fb_picture *p, double each,
                       double bottom)
{
    const fb_picture_share *last = &p->shares[p->share_count - 1];
    /* A number takes some 8 units a digit: under every column, or every how many? */
    const size_t every = (size_t)ceil(44 / each);

    for (size_t i = 0; i < p->share_count; i++) {
        const bool here = r->has_first && p->shares[i].step == r->first.name.step;
        char text[32];

        (void)snprintf(text, sizeof text, "%" PRIu64, p->shares[i].step);
        if (i % every == 0 || here)
            label(out, GRID_LEFT + each * ((double)i + 0.5), bottom + 14, "middle",
                  here ? "here-text" : "tick", text);
    }
    label(out, WIDTH - RIGHT, bottom + 30, "end", "axis",
          last->step - p->shares[0].step + 1 > p->share_count ? "step (the later ones at intervals)"
                                                              : "step");
}

bool fb__plot_phases(FILE *out, const fb_diff_report *r, const fb_picture *p)
{
    const double room = WIDTH - GRID_LEFT - RIGHT;
    const double each = fmin(48, room / (double)(p->share_count + !p->share_count));
    double y = TOP;
    int rows = 0;

    for (int phase = 0; phase < FB__STEP_PHASES; phase++)
        rows += has_phase(p, phase);
    if (p->share_count < 2 || rows == 0)
        return false;
    begin(out, TOP + rows * GRID_ROW + BOTTOM, "events that differ, by step and phase");
    label(out, 2, 13, "start", "axis",
          "events that differ, by phase: red as far as a cell is full");
    for (int phase = 0; phase < FB__STEP_PHASES; phase++) {
        if (!has_phase(p, phase))
            continue;
        label(out, GRID_LEFT - 6, y + GRID_ROW * 0.65, "end", "tick",
              fb_phase_name((fb_phase)phase));
        for (size_t i = 0; i < p->share_count; i++)
            put_cell(out, &p->shares[i], (fb_phase)phase, GRID_LEFT + each * (double)i + 0.75, y,
                     each - 1.5);
        y += GRID_ROW;
    }
    steps_axis(out, r, p, each, y);
    fputs("</svg>\n", out);
    return true;
}

/* --- Growth ----------------------------------------------------------------------------------- */

static double size_of(const fb_growth *g, const fb_growth_point *p)
{
    return g->source == FB_GROWTH_VALUES ? p->ulps : p->relative;
}

/* Powers of ten as lines. */
static void log_axis(FILE *out, const axis *y, const char *what)
{
    const double step = fmax(1, ceil((y->high - y->low) / TICKS));

    const int count = ticks(0, floor((y->high - y->low) / step));

    for (int i = 0; i < count; i++) {
        const double v = y->low + i * step;
        char text[32];

        if (fabs(v) <= 3)
            (void)snprintf(text, sizeof text, "%g", pow(10, v));
        else
            (void)snprintf(text, sizeof text, "1e%.0f", v);
        line(out, LEFT, place(y, v), WIDTH - RIGHT, place(y, v), "grid");
        label(out, LEFT - 6, place(y, v) + 4, "end", "tick", text);
    }
    label(out, 2, 13, "start", "axis", what);
}

/* The names of the phases under the stretches of tensors that belong to them. */
static void phases_axis(FILE *out, const fb_growth *g, const axis *x, double bottom)
{
    line(out, LEFT, bottom, WIDTH - RIGHT, bottom, "frame");
    for (size_t i = 0, end; i < g->count; i = end) {
        const double from = place(x, (double)i - 0.5);

        for (end = i; end < g->count && g->points[end].phase == g->points[i].phase;)
            end++;
        const double to = place(x, (double)end - 0.5);
        if (i > 0)
            line(out, from, TOP, from, bottom + 18, "grid");
        if (to - from > 44)
            label(out, (from + to) / 2, bottom + 15, "middle", "tick",
                  fb_phase_name(g->points[i].phase));
    }
    label(out, WIDTH - RIGHT, bottom + 32, "end", "axis",
          "tensors of the first differing step, in order");
}

bool fb__plot_growth(FILE *out, const fb_growth *g)
{
    axis x = {-0.5, (double)g->count - 0.5, LEFT, WIDTH - RIGHT};
    axis y = {INFINITY, -INFINITY, TOP + PLOT_HEIGHT, TOP};
    const bool values = g->source == FB_GROWTH_VALUES;

    for (size_t i = 0; i < g->count; i++) {
        const double v = size_of(g, &g->points[i]);

        if (!isfinite(v) || v <= 0)
            continue;
        y.low = fmin(y.low, floor(log10(v)));
        y.high = fmax(y.high, ceil(log10(v)));
    }
    if (g->count < 2 || y.low > y.high)
        return false;
    y.high = y.high > y.low ? y.high : y.low + 1;
    begin(out, HEIGHT, "size of the difference by tensor");
    log_axis(out, &y,
             values ? "median difference in ulps (of the elements that differ)"
                    : "relative difference, ||a - b|| / ||a||");
    phases_axis(out, g, &x, y.from);
    for (size_t i = g->count; i-- > 0;) { /* the first on top */
        const fb_growth_point *p = &g->points[i];
        const double v = size_of(g, p);

        if (!isfinite(v) || v <= 0)
            continue;
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" class=\"%s\"><title>",
                place(&x, (double)i), place(&y, log10(v)), i == 0 ? "4.5" : "2.6",
                i == 0 ? "dot-first" : "dot");
        fb__put_html(out, p->path);
        fprintf(out, "%s", p->slot[0] != '\0' ? " " : "");
        fb__put_html(out, p->slot);
        fprintf(out, values ? ": about %.4g ulps" : ": %.3g", v);
        fputs("</title></circle>\n", out);
    }
    fputs("</svg>\n", out);
    return true;
}
