/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_page.c - the part of a page that only a comparison by the rounding rules has: what was
 * compared with what, how the difference grows, what has no partner.
 */
#include <inttypes.h>
#include <math.h>

#include "diff/report/report_sections.h"
#include "diff/rounding/proof.h"
#include "diff/rounding/rounding_text.h"

enum { NAMES_MAX = 30 };

static void put_number(FILE *out, double x)
{
    if (isfinite(x))
        fprintf(out, "<td class=\"mono\">%.2g</td>", x);
    else
        fputs("<td class=\"mono\">-</td>", out);
}

/* Relative differences after each step that is kept. */
static void put_growth(FILE *out, const fb_diff_rounding *r)
{
    if (r->size_count == 0)
        return;
    fputs("<div class=\"scroll\" role=\"region\" aria-label=\"growth by step\" tabindex=\"0\">\n"
          "<table><thead><tr><th>step</th><th>parameters, relative</th><th>envelope</th>"
          "<th>loss, relative</th></tr></thead><tbody>\n",
          out);
    for (size_t i = 0; i < r->size_count; i++) {
        fprintf(out, "<tr><td>%" PRIu64 "</td>", r->sizes[i].step);
        put_number(out, r->sizes[i].parameters);
        put_number(out, r->sizes[i].envelope);
        put_number(out, r->sizes[i].loss);
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
}

static void put_names(FILE *out, const char *side, const fb_diff_list *names)
{
    if (names->count == 0)
        return;
    fprintf(out, "<details><summary>%zu of %s have no partner</summary>\n<ul>\n", names->count,
            side);
    for (size_t i = 0; i < names->count && i < NAMES_MAX; i++)
        fb__put_tagged(out, "<li>", names->at[i], "</li>\n");
    fputs("</ul>\n", out);
    if (names->count > NAMES_MAX)
        fprintf(out, "<p class=\"note\">%d of %zu</p>\n", NAMES_MAX, names->count);
    fputs("</details>\n", out);
}

void fb__put_rounding(FILE *out, const fb_diff_report *r)
{
    const fb_diff_rounding *x = &r->rounding;
    char text[640];

    fb__proof_text(text, sizeof text, &r->proof);
    if (!x->used && text[0] == '\0')
        return;
    fputs("<section class=\"card\">\n<h2>Rounding or real</h2>\n", out);
    if (text[0] != '\0')
        fb__put_tagged(out, "<p>The contents of the inputs, evaluated in float64: ", text,
                       ".</p>\n");
    if (!x->used) {
        fputs("</section>\n", out);
        return;
    }
    fb__rounding_pairs_text(text, sizeof text, x);
    fb__put_tagged(out, "<p>Paired: ", text, ".</p>\n");
    fb__put_tagged(out, "<p class=\"note\">Envelope: ", x->envelope, ".</p>\n");
    if (x->has_largest)
        fprintf(out, "<p class=\"note\">The largest difference is %.2g times its envelope.</p>\n",
                x->largest);
    put_growth(out, x);
    put_names(out, "a", &x->unpaired_a);
    put_names(out, "b", &x->unpaired_b);
    fputs("</section>\n", out);
}
