/* SPDX-License-Identifier: Apache-2.0
 *
 * first_event.c - from a culprit to the first event of a report.
 */
#include "diff/judge/first_event.h"

#include <assert.h>
#include <string.h>

static void fill_values(fb_diff_first *first, const fb__step_event *a, const fb__step_event *b)
{
    if (a->site->kind != FB_KIND_SCALAR || a->same_content)
        return;
    first->has_value = true;
    first->a.number = a->value;
    first->b.number = b->value;
    if (first->dtype == FB_DTYPE_F32) {
        float x = (float)a->value, y = (float)b->value;
        uint32_t bits_x, bits_y;

        memcpy(&bits_x, &x, sizeof bits_x);
        memcpy(&bits_y, &y, sizeof bits_y);
        first->a.bits = bits_x;
        first->b.bits = bits_y;
        first->ulps = fb_ulps_f32(bits_x, bits_y);
        return;
    }
    memcpy(&first->a.bits, &a->value, sizeof first->a.bits);
    memcpy(&first->b.bits, &b->value, sizeof first->b.bits);
    first->ulps = fb_ulps_f64(first->a.bits, first->b.bits);
}

static bool is_alike(const fb__step_event *a, const fb__step_event *b)
{
    const char *x = a->site->arguments, *y = b->site->arguments;

    return a->same_inputs && strcmp(x == NULL ? "" : x, y == NULL ? "" : y) == 0;
}

static char *stack_of(fb_trace *trace, const fb__step_event *event)
{
    const char *stack = event == NULL ? NULL : fb_trace_stack(trace, event->site_number);
    return stack == NULL || stack[0] == '\0' ? NULL : strdup(stack);
}

void fb__first_event_fill(fb_diff_report *report, const fb__step_pair *pair,
                          const fb__culprit *culprit, uint64_t step, bool stacks)
{
    fb_diff_first *first = &report->first;
    const fb__step_event *a = culprit->a, *b = culprit->b, *e = a != NULL ? a : b;

    assert(e != NULL);
    report->has_first = true;
    *first = (fb_diff_first){.what = culprit->what,
                             .number_a = a != NULL ? a->number : UINT64_MAX,
                             .number_b = b != NULL ? b->number : UINT64_MAX,
                             .dtype = e->site->dtype,
                             .rank = e->site->rank,
                             .has_previous = culprit->has_previous,
                             .previous = culprit->previous,
                             .later_equal = culprit->later_equal,
                             .stack_a = stacks ? stack_of(pair->a.trace, a) : NULL,
                             .stack_b = stacks ? stack_of(pair->b.trace, b) : NULL};
    memcpy(first->shape, e->site->shape, sizeof first->shape);
    fb__step_event_name(&first->name, a != NULL ? &pair->a : &pair->b, e);
    first->name.step = step;
    if (a != NULL)
        fb__step_event_text(first->content_a, sizeof first->content_a, &pair->a, a);
    if (b != NULL)
        fb__step_event_text(first->content_b, sizeof first->content_b, &pair->b, b);
    if (a != NULL && b != NULL) {
        first->alike = is_alike(a, b);
        fill_values(first, a, b);
    }
}
