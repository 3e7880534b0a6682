/* SPDX-License-Identifier: Apache-2.0
 *
 * earlier.c - the inputs that a step has from the steps before it.
 */
#include "diff/judge/earlier.h"

#include <stdlib.h>

#include "base/error.h"

static void collect(fb__earlier *out, const fb__step *step, const fb__key_index *index,
                    const uint16_t *marks)
{
    for (size_t i = 0; i < step->count; i++) {
        const fb__step_event *e = &step->events[i];

        for (uint32_t k = 0; k < e->input_count && (marks[i] & FB__COUNTS) != 0; k++) {
            const fb_hash key = step->inputs[e->first_input + k];

            if (fb__key_index_find(index, step, key) == UINT32_MAX)
                out->keys[out->count++] = key;
        }
    }
}

fb_status fb__earlier_collect(fb__earlier *out, const fb__guilt *g, fb_error *err)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;

    *out = (fb__earlier){.keys = calloc(a->input_count + b->input_count + 1, sizeof(fb_hash))};
    if (out->keys == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "judging a step: out of memory");
    collect(out, a, &g->in_a, g->a);
    collect(out, b, &g->in_b, g->b);
    return FB_OK;
}
