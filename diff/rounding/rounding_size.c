/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_size.c - how large the first difference of a bitwise comparison is beside the rounding
 * of that one operation, whose inputs are equal.
 */
#include <math.h>
#include <string.h>

#include "diff/cause/causes.h"
#include "diff/rounding/rounding.h"

static const fb__node *node_of(const fb__table *t, uint64_t number)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->nodes[i].number == number)
            return &t->nodes[i];
    return NULL;
}

static void measure(fb_diff_rounding *out, const fb__table *a, const fb__node *x, const fb__node *y)
{
    const double distance = fb__node_distance(x, y), norm = fb__node_norm(x);
    const double own = fb__rounding_own(a, x);

    if (!isfinite(distance) || !(norm > 0) || !(own > 0))
        return;
    out->has_size = true;
    out->relative = distance / norm;
    out->ratio = distance / own;
}

fb_status fb__rounding_measure_first(fb_diff_report *report, fb_trace *a, fb_trace *b,
                                     fb_error *err)
{
    const fb_diff_first *first = &report->first;
    fb__table ta = {.trace = NULL}, tb = {.trace = NULL};
    fb_status status;

    if (first->what != FB_DIFF_CONTENT || first->name.kind != FB_KIND_TENSOR ||
        fb_trace_get_info(a)->level < FB_LEVEL_SKETCH ||
        fb_trace_get_info(b)->level < FB_LEVEL_SKETCH)
        return FB_OK;
    status = fb__table_load(&ta, a, NULL, first->name.step, err);
    if (status == FB_OK)
        status = fb__table_load(&tb, b, NULL, first->name.step, err);
    if (status == FB_OK) {
        const fb__node *x = node_of(&ta, first->number_a), *y = node_of(&tb, first->number_b);

        if (x != NULL && y != NULL && x->real && y->real)
            measure(&report->rounding, &ta, x, y);
    }
    fb__table_free(&ta);
    fb__table_free(&tb);
    return status;
}
