/* SPDX-License-Identifier: Apache-2.0
 *
 * diff_resumed.c - comparisons in which a run goes on from a checkpoint.
 */
#include "diff/comparison.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "diff/align/resume.h"
#include "diff/align/resumed.h"
#include "diff/cause/causes.h"
#include "diff/read/values.h"

fb_status fb__check_resume(fb__comparison *c, fb_error *err)
{
    fb_override_use use;
    bool in_b;
    fb__resume_difference d;
    fb_status status = fb__resume_compare(&d, c->a, c->b, &c->headers, err);

    if (status != FB_OK || !d.found)
        return status;
    c->judged = true;
    c->report->verdict = FB_DIFF_DIFFER;
    c->report->has_first = true;
    c->report->first = (fb_diff_first){.what = FB_DIFF_CONTENT,
                                       .name = d.name,
                                       .number_a = d.number_a,
                                       .number_b = d.number_b,
                                       .dtype = d.dtype};
    c->report->has_cause = true;
    c->report->cause.name = "checkpoint-resume";
    fb__say(&c->report->cause, "%s loads another %s of %s than %s has after step %" PRIu64,
            d.resumed_is_b ? "b" : "a", fb_slot_word(d.name.slot), d.name.path,
            d.resumed_is_b ? "a" : "b", d.name.step);
    fb__say_fix(&c->report->cause, "resume from the checkpoint of step %" PRIu64 " of that run",
                d.name.step);
    (void)fb__try_bank(&c->report->cause, &use, &in_b,
                       &(fb__case){.report = c->report,
                                   .options = c->options,
                                   .headers = &c->headers,
                                   .values = &(fb__values){.tried = false}});
    return c->report->cause.text != NULL && c->report->cause.fix != NULL
               ? FB_OK
               : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

static void take_first(fb_diff_report *r, const fb__resumed *d)
{
    r->verdict = FB_DIFF_DIFFER;
    r->has_first = true;
    r->first = (fb_diff_first){.what = FB_DIFF_CONTENT,
                               .name = d->name,
                               .number_a = d->number_a,
                               .number_b = d->number_b,
                               .dtype = d->dtype};
}

/* Of two that are equal as far as both go, one may have more steps left. */
static fb_status say_shorter(fb__comparison *c, uint64_t step_a, uint64_t step_b, fb_error *err)
{
    const uint64_t left_a = fb_trace_get_info(c->a)->last_step - step_a;
    const uint64_t left_b = fb_trace_get_info(c->b)->last_step - step_b;
    char why[96];

    if (left_a == left_b)
        return FB_OK;
    (void)snprintf(why, sizeof why, "%s ends first; equal through step %" PRIu64 " of a",
                   left_a < left_b ? "a" : "b", c->report->equal_through);
    return c->options->prefix ? fb__list_add(&c->report->left_out, err, "%s", why)
                              : fb__undecidable(c, err, why);
}

fb_status fb__check_shifted(fb__comparison *c, fb_error *err)
{
    const uint64_t step_a = c->options->align_a, step_b = c->options->align_b;
    fb_diff_report *r = c->report;
    fb__resumed d;
    fb_status status = fb__shifted_compare(&d, c->a, c->b, step_a, step_b, err);

    if (status != FB_OK)
        return status;
    c->judged = true;
    r->aligned = d.compared;
    r->unaligned = d.unmatched;
    r->has_equal_through = true;
    r->equal_through = step_a - 1 + d.steps;
    status = fb__list_add(&r->left_out, err,
                          "steps before %" PRIu64 " of a and before %" PRIu64
                          " of b; events that are no tensor, draw or scalar; other processes",
                          step_a, step_b);
    if (status == FB_OK)
        status = fb__check_integrity(c, err);
    if (status != FB_OK)
        return status;
    if (d.item == FB__RESUMED_EQUAL && d.compared == 0)
        return fb__undecidable(c, err, "of the steps laid beside each other nothing was compared");
    r->verdict = FB_DIFF_SAME;
    if (d.item == FB__RESUMED_EQUAL)
        return say_shorter(c, step_a, step_b, err);
    take_first(r, &d);
    fb__say_shifted(r, &d, step_a, step_b);
    return r->cause.text != NULL && r->cause.fix != NULL
               ? FB_OK
               : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}

fb_status fb__check_resumed(fb__comparison *c, fb_error *err)
{
    fb_diff_report *r = c->report;
    fb__resumed d;
    fb_status status;

    if (c->headers.a.configuration != NULL || c->headers.b.configuration != NULL || !c->chains.any)
        return FB_OK;
    status = fb__resumed_compare(&d, c->a, c->b, err);
    if (status != FB_OK || !d.found)
        return status;
    c->judged = true;
    r->aligned = d.compared;
    r->unaligned = d.unmatched;
    r->has_equal_through = true;
    r->equal_through = d.from + d.steps;
    status = fb__list_add(&r->left_out, err,
                          "steps before %" PRIu64 " of %s (%s goes on from there), and events "
                          "that are no batch, tensor, draw or scalar",
                          d.from + 1, d.is_b ? "a" : "b", d.is_b ? "b" : "a");
    if (status != FB_OK)
        return status;
    if (d.item == FB__RESUMED_EQUAL && d.compared == 0)
        return fb__undecidable(c, err, "a resumed run, of whose steps nothing could be compared");
    r->verdict = FB_DIFF_SAME;
    if (d.item == FB__RESUMED_EQUAL && d.generator_parts > 0)
        return fb__list_add(&r->notes, err,
                            "torch's generator stands elsewhere in %s at the end of step %" PRIu64
                            " of %s; nothing that was compared depends on it",
                            d.is_b ? "b" : "a", d.generator_parts, d.is_b ? "a" : "b");
    if (d.item == FB__RESUMED_EQUAL)
        return FB_OK;
    take_first(r, &d);
    fb__say_resumed(r, &d);
    return r->cause.text != NULL && r->cause.fix != NULL
               ? FB_OK
               : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
}
