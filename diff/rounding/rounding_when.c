/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_when.c - which comparisons the rounding rules judge.
 */
#include "diff/rounding/rounding_judging.h"

#include <string.h>

#include "diff/read/chains.h"
#include "diff/read/optimizers.h"
#include "diff/rounding/noise.h"

bool fb__is_engine_run(const fb__run_header *header)
{
    return header->configuration != NULL;
}

/* The only difference of two configurations is how a batch is cut. */
static bool differs_in_micro_only(const fb_diff_report *report)
{
    bool micro = false;

    for (size_t i = 0; i < report->candidate_count; i++) {
        const fb_diff_candidate *k = &report->candidates[i];

        if (strcmp(k->what, "config") != 0 && strcmp(k->what, "seed") != 0 &&
            strcmp(k->what, "file") != 0)
            continue;
        if (strcmp(k->key, "batch.micro") != 0)
            return false;
        micro = true;
    }
    return micro;
}

static bool has_sketches(fb_trace *trace)
{
    return fb_trace_get_info(trace)->level >= FB_LEVEL_SKETCH;
}

/* Two recorded programs whose parameters have other names: most of them; or all are the same ones
 * by content, a quarter of them is called, laid out or cut otherwise, and there are sizes to judge
 * by. Where less differs, one program is a change of the other: layers in another order. */
static fb_status has_other_names(bool *out, fb_trace *a, fb_trace *b, fb_error *err)
{
    fb__table x, y = {.trace = NULL};
    fb__pairing p = {.a = &x, .b = &y, .by_name = true, .budget = FB__PAIRING_BUDGET};
    uint32_t shared = 0, paired = 0, named = 0;
    fb__numbering numbering;
    bool equal = false;
    fb_status status = fb__first_steps_equal(&equal, a, b, err);

    *out = false;
    if (status != FB_OK || equal)
        return status;
    fb__number_optimizers(&numbering, a, b);
    if (numbering.exchanged)
        return FB_OK; /* a parameter that only its optimizer names has another number in its name */
    status = fb__table_load(&x, a, NULL, 0, err);
    if (status == FB_OK)
        status = fb__table_load(&y, b, NULL, 0, err);
    if (status == FB_OK)
        status = fb__pair_params(&p, err);
    for (uint32_t i = 0; status == FB_OK && i < x.start_count; i++) {
        shared += fb__table_find_param(&y, x.nodes[i].site->path) != FB__NODE_NONE;
        named += x.nodes[i].how == FB__HOW_NAME;
        paired += fb__is_paired(&x.nodes[i]);
    }
    for (uint32_t i = 0; status == FB_OK && i < y.start_count; i++)
        paired += fb__is_paired(&y.nodes[i]);
    if (x.start_count >= 2 && y.start_count >= 2)
        *out = (2 * shared < x.start_count && 2 * shared < y.start_count) ||
               (paired == x.start_count + y.start_count && 4 * named < 3 * x.start_count &&
                has_sketches(a) && has_sketches(b));
    fb__pairing_free(&p);
    fb__table_free(&x);
    fb__table_free(&y);
    return status;
}

fb_status fb__rounding_applies(bool *applies, const fb_diff_report *report,
                               const fb_diff_options *options, const fb__headers *headers,
                               fb_trace *a, fb_trace *b, fb_error *err)
{
    const bool engine_a = fb__is_engine_run(&headers->a), engine_b = fb__is_engine_run(&headers->b);

    *applies = !options->bitwise && (options->map != NULL || options->noise_count > 0);
    if (*applies || options->bitwise)
        return FB_OK;
    if (!engine_a && !engine_b)
        return has_other_names(applies, a, b, err);
    *applies = options->rounding || engine_a != engine_b || differs_in_micro_only(report) ||
               fb__run_header_is_openblas(&headers->a) != fb__run_header_is_openblas(&headers->b);
    return FB_OK;
}
