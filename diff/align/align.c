/* SPDX-License-Identifier: Apache-2.0
 *
 * align.c - pairs the events of one step.
 *
 * Identity does it for nearly all. An event more of one identity moves the occurrence numbers of
 * those behind it, so a group (an identity without its occurrence) of unequal size is aligned as a
 * sequence: anchors are contents that are unique on both sides, in an order that both agree on;
 * between anchors the longest common subsequence of labels decides.
 */
#include "diff/align/align.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

enum {
    NONE = UINT32_MAX,
    GAP_MAX = 1024, /* a gap with more cells than its square is paired in order */
};

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "aligning events: out of memory");
}

/* --- Finding by key --------------------------------------------------------------------------- */

fb_status fb__key_index_make(fb__key_index *out, const fb__step *step, fb_error *err)
{
    size_t size = 16;

    while (size < 2 * step->count)
        size *= 2;
    *out = (fb__key_index){.slots = malloc(size * sizeof *out->slots), .mask = size - 1};
    if (out->slots == NULL)
        return out_of_memory(err);
    memset(out->slots, 0xff, size * sizeof *out->slots);
    for (size_t i = 0; i < step->count; i++) {
        size_t at = (size_t)step->events[i].key.lo & out->mask;

        while (out->slots[at] != NONE &&
               !fb_hash_equal(step->events[out->slots[at]].key, step->events[i].key))
            at = (at + 1) & out->mask;
        if (out->slots[at] == NONE) /* of equal keys the first counts */
            out->slots[at] = (uint32_t)i;
    }
    return FB_OK;
}

void fb__key_index_free(fb__key_index *index)
{
    free(index->slots);
    *index = (fb__key_index){0};
}

uint32_t fb__key_index_find(const fb__key_index *index, const fb__step *step, fb_hash key)
{
    size_t at = (size_t)key.lo & index->mask;

    while (index->slots[at] != NONE) {
        if (fb_hash_equal(step->events[index->slots[at]].key, key))
            return index->slots[at];
        at = (at + 1) & index->mask;
    }
    return NONE;
}

/* --- Pairs ------------------------------------------------------------------------------------ */

typedef struct aligner {
    fb__step_pair *pair;
    fb__key_index in_a, in_b;
} aligner;

static const char *text_of(const char *text)
{
    return text == NULL ? "" : text;
}

/* Two inputs are the same when they are one event: by key, or because alignment made them so. */
static bool same_input(const fb__step_pair *p, const fb__key_index *in_a, const fb__key_index *in_b,
                       fb_hash a, fb_hash b)
{
    const uint32_t i = fb__key_index_find(in_a, &p->a, a);
    const uint32_t j = fb__key_index_find(in_b, &p->b, b);

    if (i == NONE || j == NONE)
        return fb_hash_equal(a, b);
    return p->a.events[i].partner == j;
}

static void pair_up(fb__step_pair *p, uint32_t i, uint32_t j)
{
    p->a.events[i].partner = j;
    p->b.events[j].partner = i;
}

/* Integers and booleans choose and count, floats compute: an op on the one is never the same op on
 * the other. */
static bool is_real(fb_dtype dtype)
{
    return dtype >= FB_DTYPE_F64 && dtype <= FB_DTYPE_C128;
}

static bool same_class(const fb_site *a, const fb_site *b)
{
    return a->kind == b->kind &&
           (a->kind != FB_KIND_TENSOR || is_real(a->dtype) == is_real(b->dtype));
}

static void pair_by_key(fb__step_pair *p, const fb__key_index *in_b)
{
    for (size_t i = 0; i < p->a.count; i++) {
        const uint32_t j = fb__key_index_find(in_b, &p->b, p->a.events[i].key);

        if (j != NONE && p->b.events[j].partner == NONE &&
            same_class(p->a.events[i].site, p->b.events[j].site))
            pair_up(p, (uint32_t)i, j);
    }
}

/* --- Groups ----------------------------------------------------------------------------------- */

typedef struct member {
    fb_hash group;
    uint32_t event;
} member;

static int by_group(const void *x, const void *y)
{
    const member *a = x, *b = y;

    if (a->group.hi != b->group.hi)
        return a->group.hi < b->group.hi ? -1 : 1;
    if (a->group.lo != b->group.lo)
        return a->group.lo < b->group.lo ? -1 : 1;
    return a->event < b->event ? -1 : a->event > b->event;
}

static member *members_of(const fb__step *step)
{
    member *m = malloc((step->count + 1) * sizeof *m);

    for (size_t i = 0; m != NULL && i < step->count; i++)
        m[i] = (member){step->events[i].group, (uint32_t)i};
    if (m != NULL)
        qsort(m, step->count, sizeof *m, by_group);
    return m;
}

static size_t group_end(const member *m, size_t from, size_t count)
{
    size_t end = from;

    while (end < count && fb_hash_equal(m[end].group, m[from].group))
        end++;
    return end;
}

static bool same_form(const fb_site *a, const fb_site *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank)
        return false;
    for (uint32_t i = 0; i < a->rank && i < FB_RANK_MAX; i++)
        if (a->shape[i] != b->shape[i])
            return false;
    return a->distribution == NULL || b->distribution == NULL ||
           strcmp(a->distribution, b->distribution) == 0;
}

/* Whether both name the same inputs, as far as these have been paired. */
static bool same_sources(const aligner *al, const fb__step_event *a, const fb__step_event *b)
{
    const fb__step_pair *p = al->pair;

    if (a->input_count != b->input_count)
        return false;
    for (uint32_t k = 0; k < a->input_count; k++)
        if (!same_input(p, &al->in_a, &al->in_b, p->a.inputs[a->first_input + k],
                        p->b.inputs[b->first_input + k]))
            return false;
    return true;
}

/* Whether one is of training and the other of an evaluation. */
static bool called_otherwise(const fb__step_event *a, const fb__step_event *b)
{
    return a->called != b->called && a->called != FB__CALLED_UNKNOWN &&
           b->called != FB__CALLED_UNKNOWN;
}

/* How alike two events of a group are; 0: not one event. Equal contents weigh more than all that
 * two different ones can have in common. */
static unsigned likeness(const aligner *al, const fb__step_event *a, const fb__step_event *b)
{
    enum { EQUAL = 8, ALIKE = 1, FORM = 2, SOURCES = 2 };

    if (a->count != b->count || !same_class(a->site, b->site))
        return 0;
    if (fb_hash_equal(a->content, b->content) && !called_otherwise(a, b))
        return EQUAL;
    return ALIKE + (same_form(a->site, b->site) ? FORM : 0) +
           (same_sources(al, a, b) ? SOURCES : 0);
}

/* The longest common subsequence by likeness, of at most GAP_MAX x GAP_MAX. score has
 * (n+1)·(m+1) cells. */
static void pair_gap(const aligner *al, const member *a, size_t n, const member *b, size_t m,
                     uint32_t *score)
{
    fb__step_pair *p = al->pair;
    const size_t width = m + 1;
    size_t i = 0, j = 0;

    for (size_t x = n + 1; x-- > 0;)
        for (size_t y = m + 1; y-- > 0;) {
            uint32_t best = 0;

            if (x < n && y < m) {
                const unsigned like =
                    likeness(al, &p->a.events[a[x].event], &p->b.events[b[y].event]);
                const uint32_t skip_a = score[(x + 1) * width + y];
                const uint32_t skip_b = score[x * width + y + 1];

                best = skip_a > skip_b ? skip_a : skip_b;
                if (like > 0 && score[(x + 1) * width + y + 1] + like > best)
                    best = score[(x + 1) * width + y + 1] + like;
            }
            score[x * width + y] = best;
        }
    while (i < n && j < m) {
        const unsigned like = likeness(al, &p->a.events[a[i].event], &p->b.events[b[j].event]);

        if (like > 0 && score[i * width + j] == score[(i + 1) * width + j + 1] + like)
            pair_up(p, a[i++].event, b[j++].event);
        else if (score[i * width + j] == score[(i + 1) * width + j])
            i++;
        else
            j++;
    }
}

static fb_status pair_between(const aligner *al, const member *a, size_t n, const member *b,
                              size_t m, fb_error *err)
{
    uint32_t *score;

    if (n == 0 || m == 0)
        return FB_OK;
    if (n > GAP_MAX || m > GAP_MAX) {
        for (size_t i = 0; i < n && i < m; i++)
            pair_up(al->pair, a[i].event, b[i].event);
        return FB_OK;
    }
    score = malloc((n + 1) * (m + 1) * sizeof *score);
    if (score == NULL)
        return out_of_memory(err);
    pair_gap(al, a, n, b, m, score);
    free(score);
    return FB_OK;
}

/* A content on both sides, with its places there. */
typedef struct anchor {
    fb_hash content;
    uint32_t place, side;
} anchor;

static int by_content(const void *x, const void *y)
{
    const anchor *a = x, *b = y;

    if (a->content.hi != b->content.hi)
        return a->content.hi < b->content.hi ? -1 : 1;
    if (a->content.lo != b->content.lo)
        return a->content.lo < b->content.lo ? -1 : 1;
    return a->side < b->side ? -1 : a->side > b->side;
}

/* mate[i]: place in b of the content of a[i], where that is unique on both sides; else NONE. */
static fb_status unique_mates(uint32_t *mate, const fb__step_pair *p, const member *a, size_t n,
                              const member *b, size_t m, fb_error *err)
{
    anchor *all = malloc((n + m + 1) * sizeof *all);

    if (all == NULL)
        return out_of_memory(err);
    for (size_t i = 0; i < n; i++) {
        all[i] = (anchor){p->a.events[a[i].event].content, (uint32_t)i, 0};
        mate[i] = NONE;
    }
    for (size_t j = 0; j < m; j++)
        all[n + j] = (anchor){p->b.events[b[j].event].content, (uint32_t)j, 1};
    qsort(all, n + m, sizeof *all, by_content);
    for (size_t i = 0; i < n + m;) {
        size_t end = i + 1;

        while (end < n + m && fb_hash_equal(all[end].content, all[i].content))
            end++;
        if (end - i == 2 && all[i].side == 0 && all[i + 1].side == 1 &&
            !called_otherwise(&p->a.events[a[all[i].place].event],
                              &p->b.events[b[all[i + 1].place].event]))
            mate[all[i].place] = all[i + 1].place;
        i = end;
    }
    free(all);
    return FB_OK;
}

/* Keeps a longest increasing run of mates (patience sorting) and sets the others to NONE. */
static fb_status keep_increasing(uint32_t *mate, size_t n, fb_error *err)
{
    uint32_t *top = malloc((n + 1) * sizeof *top), *before = malloc((n + 1) * sizeof *before);
    size_t piles = 0;
    uint32_t at;

    if (top == NULL || before == NULL) {
        free(top);
        free(before);
        return out_of_memory(err);
    }
    for (size_t i = 0; i < n; i++) {
        size_t low = 0, high = piles;

        if (mate[i] == NONE)
            continue;
        while (low < high) {
            const size_t middle = (low + high) / 2;

            if (mate[top[middle]] < mate[i])
                low = middle + 1;
            else
                high = middle;
        }
        before[i] = low > 0 ? top[low - 1] : NONE;
        top[low] = (uint32_t)i;
        piles += low == piles;
    }
    at = piles > 0 ? top[piles - 1] : NONE;
    for (size_t i = n; i-- > 0;) {
        if ((uint32_t)i == at)
            at = before[i];
        else
            mate[i] = NONE;
    }
    free(top);
    free(before);
    return FB_OK;
}

/* Aligns the members of one group as two sequences. */
static fb_status pair_group(const aligner *al, const member *a, size_t n, const member *b, size_t m,
                            fb_error *err)
{
    fb__step_pair *p = al->pair;
    uint32_t *mate = malloc((n + 1) * sizeof *mate);
    size_t i = 0, j = 0;
    fb_status status;

    if (mate == NULL)
        return out_of_memory(err);
    for (size_t x = 0; x < n; x++)
        p->a.events[a[x].event].partner = NONE;
    for (size_t y = 0; y < m; y++)
        p->b.events[b[y].event].partner = NONE;
    status = unique_mates(mate, p, a, n, b, m, err);
    if (status == FB_OK)
        status = keep_increasing(mate, n, err);
    for (size_t x = 0; x < n && status == FB_OK; x++)
        if (mate[x] != NONE) {
            status = pair_between(al, a + i, x - i, b + j, mate[x] - j, err);
            pair_up(p, a[x].event, b[mate[x]].event);
            i = x + 1;
            j = (size_t)mate[x] + 1;
        }
    if (status == FB_OK)
        status = pair_between(al, a + i, n - i, b + j, m - j, err);
    free(mate);
    return status;
}

/* Whether identity pairs the members of two groups of one size with others of their form. An op
 * less here and one more there leave the number as it was. */
static bool is_crossed(const fb__step_pair *p, const member *a, const member *b, size_t n)
{
    for (size_t i = 0; i < n && n > 1; i++) {
        const fb_site *x = p->a.events[a[i].event].site, *y = p->b.events[b[i].event].site;

        if (x->kind == FB_KIND_TENSOR && y->kind == FB_KIND_TENSOR && !same_form(x, y))
            return true;
    }
    return false;
}

/* Groups that have another number of members on the other side, or others in their places. */
static fb_status pair_shifted_groups(const aligner *al, fb_error *err)
{
    const fb__step_pair *p = al->pair;
    member *a = members_of(&p->a), *b = members_of(&p->b);
    size_t i = 0, j = 0;
    fb_status status = a == NULL || b == NULL ? out_of_memory(err) : FB_OK;

    while (status == FB_OK && i < p->a.count && j < p->b.count) {
        const size_t end_a = group_end(a, i, p->a.count), end_b = group_end(b, j, p->b.count);
        const member x = {a[i].group, 0}, y = {b[j].group, 0};
        const int order = by_group(&x, &y);

        if (order == 0 && (end_a - i != end_b - j || is_crossed(p, a + i, b + j, end_a - i)))
            status = pair_group(al, a + i, end_a - i, b + j, end_b - j, err);
        i = order <= 0 ? end_a : i;
        j = order >= 0 ? end_b : j;
    }
    free(a);
    free(b);
    return status;
}

/* --- Calls in another order ------------------------------------------------------------------- */

/* A result of side b. */
typedef struct call {
    const fb__step_event *event;
} call;

static int compare_calls(const fb__step_event *a, const fb__step_event *b)
{
    const int group = memcmp(&a->group, &b->group, sizeof a->group);

    return group != 0 ? group : memcmp(&a->content, &b->content, sizeof a->content);
}

static int by_group_and_content(const void *x, const void *y)
{
    const call *a = x, *b = y;
    const int order = compare_calls(a->event, b->event);

    return order != 0 ? order : a->event < b->event ? -1 : a->event > b->event;
}

/* A pair of results of one op that are not equal: each may be another call's. */
static bool is_unequal(const fb__step_pair *p, const fb__step_event *a)
{
    return a->site->kind == FB_KIND_TENSOR && a->input_count > 0 && a->partner != NONE &&
           !fb_hash_equal(a->content, p->b.events[a->partner].content);
}

/* The place in `sorted` of the first event of this group and content, or `count`. */
static size_t lower_bound(const call *sorted, size_t count, const fb__step_event *e)
{
    size_t low = 0, high = count;

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (compare_calls(sorted[middle].event, e) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* b's result of the same op from the same inputs with the same contents, which is paired with
 * another call of a so far; NONE: there is none near. */
static uint32_t same_call_elsewhere(const aligner *al, const fb__step_event *a, const call *sorted,
                                    size_t count)
{
    enum { LOOKED_AT = 8 };
    const fb__step_pair *p = al->pair;
    const size_t first = lower_bound(sorted, count, a);

    for (size_t i = first; i < count && i < first + LOOKED_AT; i++) {
        const fb__step_event *b = sorted[i].event;

        if (!fb_hash_equal(b->group, a->group) || !fb_hash_equal(b->content, a->content))
            break;
        if (is_unequal(p, &p->a.events[b->partner]) && !called_otherwise(a, b) &&
            same_sources(al, a, b) &&
            strcmp(text_of(a->site->arguments), text_of(b->site->arguments)) == 0)
            return (uint32_t)(b - p->b.events);
    }
    return NONE;
}

/* A program that calls an op on this and then on that is aligned by contents with one that does so
 * the other way round: occurrences count calls, and say nothing about what was called with. */
static fb_status pair_exchanged_calls(fb__alignment *out, const aligner *al, fb_error *err)
{
    fb__step_pair *p = al->pair;
    call *sorted = malloc((p->a.count + 1) * sizeof *sorted);
    size_t count = 0;

    if (sorted == NULL)
        return out_of_memory(err);
    for (size_t i = 0; i < p->a.count; i++)
        if (is_unequal(p, &p->a.events[i]))
            sorted[count++].event = &p->b.events[p->a.events[i].partner];
    qsort(sorted, count, sizeof *sorted, by_group_and_content);
    for (size_t i = 0; i < p->a.count && count > 0; i++) { /* inputs stand before what reads them */
        fb__step_event *a = &p->a.events[i];
        const uint32_t from = a->partner;
        const uint32_t to = is_unequal(p, a) ? same_call_elsewhere(al, a, sorted, count) : NONE;

        if (to == NONE)
            continue;
        pair_up(p, p->b.events[to].partner, from);
        pair_up(p, (uint32_t)i, to);
        a->exchanged = true;
        out->exchanged++;
    }
    free(sorted);
    return FB_OK;
}

/* --- Judging pairs ---------------------------------------------------------------------------- */

/* Behind the last event that has a partner, a side whose other side is cut says nothing. Where
 * generators stand when a program ends is told at its end: that is no event of the step. */
static void mark_beyond(fb__step *step, const fb__step *other)
{
    for (size_t i = step->count; other->cut && i-- > 0;) {
        if (step->events[i].partner != NONE && !fb__is_generator_state(step->events[i].site))
            break;
        step->events[i].beyond = true;
    }
}

/* How many elements stand before what an op of a module writes, in the memory that it writes to:
 * numbers in another place of a tensor are another tensor. Outside of modules rows are put
 * together, whose places follow from how long the others are. */
static unsigned long long written_at(const fb_site *site)
{
    static const char name[] = "\"out.offset\":";
    const char *at =
        site->kind != FB_KIND_TENSOR || site->arguments == NULL || text_of(site->path)[0] == '\0'
            ? NULL
            : strstr(site->arguments, name);

    return at == NULL ? 0 : strtoull(at + sizeof name - 1, NULL, 10);
}

static void judge(fb__alignment *out, fb__step_pair *p, const fb__key_index *in_a,
                  const fb__key_index *in_b)
{
    uint32_t highest = 0;

    for (size_t i = 0; i < p->a.count; i++) {
        fb__step_event *x = &p->a.events[i], *y;

        if (x->partner == NONE) {
            out->only_a += !x->beyond;
            continue;
        }
        y = &p->b.events[x->partner];
        x->same_content =
            fb_hash_equal(x->content, y->content) && written_at(x->site) == written_at(y->site);
        x->same_inputs = x->input_count == y->input_count;
        for (uint32_t k = 0; k < x->input_count && x->same_inputs; k++)
            x->same_inputs = same_input(p, in_a, in_b, p->a.inputs[x->first_input + k],
                                        p->b.inputs[y->first_input + k]);
        x->equal = x->same_content && x->same_inputs;
        y->same_content = x->same_content;
        y->same_inputs = x->same_inputs;
        y->equal = x->equal;
        if (x->equal)
            fb__step_note_names(&p->a, x->site, y->site);
        out->aligned++;
        out->equal += x->equal;
        out->moved += x->partner < highest;
        highest = x->partner > highest ? x->partner : highest;
    }
    for (size_t j = 0; j < p->b.count; j++)
        out->only_b += p->b.events[j].partner == NONE && !p->b.events[j].beyond;
}

fb_status fb__align(fb__alignment *out, fb__step_pair *pair, fb_error *err)
{
    aligner al = {.pair = pair};
    fb_status status = fb__key_index_make(&al.in_a, &pair->a, err);

    *out = (fb__alignment){.aligned = pair->common, .equal = pair->common};
    if (status == FB_OK)
        status = fb__key_index_make(&al.in_b, &pair->b, err);
    if (status == FB_OK) {
        pair_by_key(pair, &al.in_b);
        status = pair_shifted_groups(&al, err);
    }
    if (status == FB_OK)
        status = pair_exchanged_calls(out, &al, err);
    if (status == FB_OK) {
        mark_beyond(&pair->a, &pair->b);
        mark_beyond(&pair->b, &pair->a);
        judge(out, pair, &al.in_a, &al.in_b);
    }
    fb__key_index_free(&al.in_a);
    fb__key_index_free(&al.in_b);
    return status;
}
