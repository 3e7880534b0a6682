/* SPDX-License-Identifier: Apache-2.0
 *
 * rounding_tell.c - what a comparison by the rounding rules tells beside its verdict.
 */
#include "diff/rounding/rounding_judging.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "diff/diff_notes.h"

enum {
    UNPAIRED_MAX = 256, /* named in the report */
    PAIRS_MAX = 1024,   /* the same */
};

static bool is_boundary(const fb__node *n)
{
    return n->real && !n->start && !n->excluded && n->site->kind != FB_KIND_DRAW && n->elements > 0;
}

void fb__name_node(fb_event_name *out, const fb__table *t, uint32_t node)
{
    const fb_event bare = {.step = t->nodes[node].start ? 0 : t->step,
                           .micro = t->nodes[node].micro};
    fb_event_name_of(out, t->nodes[node].site, &bare);
}

static fb_status tell_unpaired(fb_diff_list *list, const fb__table *t, fb_error *err)
{
    fb_status status = FB_OK;
    uint64_t more = 0;

    for (uint32_t i = 0; i < t->count && status == FB_OK; i++) {
        const fb__node *n = &t->nodes[i];
        fb_event_name name;
        char text[3 * FB_NAME_MAX + 128];

        if (fb__is_paired(n) || n->site->kind == FB_KIND_DRAW || !n->real || n->excluded)
            continue;
        if (list->count >= UNPAIRED_MAX) {
            more++;
            continue;
        }
        fb__name_node(&name, t, i);
        status = fb__list_add(list, err, "%s", fb_event_name_text(text, sizeof text, &name));
    }
    if (more > 0 && status == FB_OK)
        status = fb__list_add(list, err, "and %" PRIu64 " more", more);
    return status;
}

static const char *const how_names[] = {"none", "name",      "map",    "content", "flow",
                                        "role", "reordered", "joined", "alias"};

/* What was taken for what, so that it can be checked. */
static fb_status tell_pairs(fb_diff_list *list, const fb__pairing *p, fb_error *err)
{
    fb_status status = FB_OK;

    for (uint32_t i = 0; i < p->a->count && status == FB_OK; i++) {
        const fb__node *n = &p->a->nodes[i];
        fb_event_name name;
        char text[3 * FB_NAME_MAX + 128];

        if (!fb__is_paired(n) || n->partner == FB__NODE_NONE || list->count >= 3 * PAIRS_MAX)
            continue;
        fb__name_node(&name, p->a, i);
        status = fb__list_add(list, err, "%s", fb_event_name_text(text, sizeof text, &name));
        fb__name_node(&name, p->b, n->partner);
        if (status == FB_OK)
            status = fb__list_add(list, err, "%s", fb_event_name_text(text, sizeof text, &name));
        if (status == FB_OK)
            status = fb__list_add(list, err, "%s", how_names[n->how]);
    }
    return status;
}

/* Of the first step, which stands for all: what has a partner. */
fb_status fb__tell_pairing(fb__judging *j, const fb__pairing *p, fb_error *err)
{
    fb_diff_rounding *r = &j->report->rounding;
    fb_status status;

    for (uint32_t i = 0; i < p->a->count; i++) {
        const fb__node *n = &p->a->nodes[i];

        r->params += n->start;
        r->params_paired += n->start && fb__is_paired(n);
        r->boundaries += is_boundary(n);
        r->boundaries_paired += is_boundary(n) && fb__is_paired(n);
    }
    status = tell_unpaired(&r->unpaired_a, p->a, err);
    if (status == FB_OK)
        status = tell_unpaired(&r->unpaired_b, p->b, err);
    return status == FB_OK ? tell_pairs(&r->pairs, p, err) : status;
}

void fb__tell_largest(fb__judging *j, const fb__pairing *p, const fb__step_judgement *s)
{
    fb_diff_rounding *r = &j->report->rounding;

    r->compared += s->compared;
    r->equal += s->equal;
    for (uint32_t i = 0; i < p->a->count; i++)
        if (s->at[i].known && !s->at[i].useless && !s->at[i].vanished &&
            s->at[i].ratio > r->largest) {
            r->largest = s->at[i].ratio;
            r->has_largest = true;
            fb__name_node(&r->largest_at, p->a, i);
        }
}

/* How far the parameters are apart after this step, all of them as one vector. */
void fb__tell_size(fb__judging *j, const fb__pairing *p, const fb__step_judgement *s)
{
    fb_diff_rounding *r = &j->report->rounding;
    fb_diff_step_size size = {.step = p->a->step,
                              .parameters = (double)NAN,
                              .loss = (double)NAN,
                              .envelope = (double)NAN};
    double distance = 0, envelope = 0, norm = 0;

    for (uint32_t i = p->a->start_count; i < p->a->count; i++) {
        const fb__node *n = &p->a->nodes[i];
        const fb__judged *at = &s->at[i];

        if (!at->known)
            continue;
        if (fb__node_is_param(n)) {
            distance += at->distance * at->distance;
            envelope += at->envelope * at->envelope;
            norm += n->sum_square;
        } else if (fb__node_is_scalar(n) && n->site->slot != NULL &&
                   strcmp(n->site->slot, "loss") == 0 && n->value != 0) {
            size.loss = at->distance / fabs(n->value);
        }
    }
    if (norm > 0) {
        size.parameters = sqrt(distance / norm);
        size.envelope = sqrt(envelope / norm);
    }
    if (isnan(size.parameters) && isnan(size.loss))
        return;
    /* The first half of the room is for the first steps, the last entry for the last step. */
    if (r->size_count == FB_DIFF_GROWTH_MAX)
        r->size_count--;
    r->sizes[r->size_count++] = size;
}

void fb__keep_params(fb__judging *j, const fb__pairing *p, const fb__step_judgement *s)
{
    for (uint32_t i = p->a->start_count; i < p->a->count; i++) {
        const fb__node *n = &p->a->nodes[i];
        uint32_t owner;

        if (!fb__node_is_param(n))
            continue;
        owner = fb__table_find_param(p->a, n->site->path);
        if (owner == FB__NODE_NONE)
            continue;
        memcpy(j->before[owner].linear, n->linear, sizeof n->linear);
        j->before[owner].norm = fb__node_norm(n);
        if (s->at[i].known && isfinite(s->at[i].distance))
            j->before[owner].apart = s->at[i].distance;
    }
}
