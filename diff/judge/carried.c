/* SPDX-License-Identifier: Apache-2.0
 *
 * carried.c - state that a program carries from step to step by itself.
 */
#include "diff/judge/carried.h"

#include <string.h>

#include "base/hash.h"

enum {
    NONE = UINT32_MAX,
    CARRIED_MAX = 256, /* of one side: the first of them speak for all */
    WALK_MAX = 32,     /* tensors between an earlier value and the next */
};

static bool is_same_form(const fb_site *x, const fb_site *y)
{
    return x->dtype == y->dtype && x->rank == y->rank &&
           memcmp(x->shape, y->shape, x->rank * sizeof *x->shape) == 0;
}

/* A number is no parameter's average: a loss is averaged in the same way, to be printed. */
static bool may_be_carried(const fb__step_event *e)
{
    const fb_site *site = e->site;

    return site->kind == FB_KIND_TENSOR && site->rank > 0 && site->dtype >= FB_DTYPE_F64 &&
           site->dtype <= FB_DTYPE_C128 && !e->same_content && (e->flags & FB_EVENT_UNDEFINED) == 0;
}

/* What an event is made from, through tensors of its own form. */
typedef struct walk {
    const fb__step *step;
    const fb__key_index *index;
    uint32_t at[WALK_MAX];
    uint32_t count;
    bool own;   /* its earlier value */
    bool other; /* a parameter, or what else of that form was there before the step */
} walk;

static void look_at(walk *w, const fb__step_event *root, uint32_t input)
{
    const fb__step *step = w->step;
    const uint32_t at = fb__key_index_find(w->index, step, step->inputs[input]);
    const uint32_t number = step->input_sites[input];
    const fb_site *site = at != NONE                     ? step->events[at].site
                          : number < step->site_capacity ? step->sites[number].site
                                                         : NULL;

    if (site == NULL || !is_same_form(site, root->site))
        return;
    if (site->kind == FB_KIND_PARAM || (at == NONE && number != root->site_number))
        w->other = true;
    else if (at == NONE)
        w->own = true;
    else if (w->count < WALK_MAX)
        w->at[w->count++] = at;
}

static bool is_carried(const fb__step *step, const fb__key_index *index, uint32_t i)
{
    walk w = {.step = step, .index = index, .at = {i}, .count = 1};

    for (uint32_t n = 0; n < w.count; n++) {
        const fb__step_event *e = &step->events[w.at[n]];

        for (uint32_t k = 0; k < e->input_count; k++)
            look_at(&w, &step->events[i], e->first_input + k);
    }
    return w.own && w.other;
}

static bool has_content(const fb__step *step, fb_hash hash)
{
    for (size_t i = 0; i < step->count; i++)
        if (fb_hash_equal(step->events[i].hash, hash))
            return true;
    return false;
}

static size_t find_carried(uint32_t *out, const fb__step *step, const fb__key_index *index,
                           const uint16_t *marks, const fb__step *other)
{
    size_t count = 0;

    for (size_t i = 0; i < step->count && count < CARRIED_MAX; i++)
        if ((marks[i] & FB__DIFFERS) != 0 && may_be_carried(&step->events[i]) &&
            is_carried(step, index, (uint32_t)i) && !has_content(other, step->events[i].hash))
            out[count++] = (uint32_t)i;
    return count;
}

/* The other side makes it too, and of something else: of the parameters themselves, where it holds
 * no copy of them. */
static void mark_partners(uint16_t *own, uint16_t *other, const fb__step *step, const uint32_t *at,
                          size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (step->events[at[i]].partner != NONE) {
            own[at[i]] |= FB__COUNTS;
            other[step->events[at[i]].partner] |= FB__COUNTS;
        }
}

void fb__mark_carried(fb__guilt *g)
{
    const fb__step *a = &g->pair->a, *b = &g->pair->b;
    uint32_t in_a[CARRIED_MAX], in_b[CARRIED_MAX];
    const size_t count_a = find_carried(in_a, a, &g->in_a, g->a, b);
    const size_t count_b = find_carried(in_b, b, &g->in_b, g->b, a);

    mark_partners(g->a, g->b, a, in_a, count_a);
    mark_partners(g->b, g->a, b, in_b, count_b);
    for (size_t i = 0; i < count_a; i++)
        for (size_t j = 0; j < count_b; j++)
            if (is_same_form(a->events[in_a[i]].site, b->events[in_b[j]].site)) {
                g->a[in_a[i]] |= FB__COUNTS;
                g->b[in_b[j]] |= FB__COUNTS;
            }
}
