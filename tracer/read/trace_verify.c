/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_verify.c - reads a whole trace and holds everything that it says against what it contains.
 *
 * Rules: docs/trace-format.md, "Verification".
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "tracer/read/trace_state.h"
#include "tracer/read/verify_contents.h"

typedef struct verifier {
    fb_trace *t;
    fb_hash root[FB_CLASS_COUNT], chain[FB_CLASS_COUNT];
    uint32_t seen; /* classes of the events of the open step */
    uint64_t events, chunks, steps;
    uint64_t step_first_event;
    uint64_t first_step, finished_step; /* FB_NO_STEP: none yet */
    uint64_t first_nonfinite;
    fb_hash *input_ids;
    uint32_t input_id_capacity;
    fb_contents_check contents;
    uint32_t index; /* of the next event in its chunk */
} verifier;

static fb_status corrupt(const verifier *v, const char *what, fb_error *err)
{
    const fb_chunk_header *head = &v->t->chunk.head;

    return fb__fail(err, FB_E_CORRUPT, head->offset, "%s: chunk %llu at byte %llu: %s", v->t->path,
                    (unsigned long long)head->sequence, (unsigned long long)head->offset, what);
}

/* --- Events ------------------------------------------------------------------------------------
 */

static fb_hash identity_of(const verifier *v, uint32_t site, uint64_t step, int32_t micro)
{
    return fb_identity_hash(fb__sites_get(v->t->sites, site)->hash, step, micro);
}

static fb_status check_event(verifier *v, fb_error *err)
{
    const fb_event *e = &v->t->chunk.event;
    const fb_site *site = &fb__sites_get(v->t->sites, e->site)->site;
    const fb_class c = fb_site_class(site);
    const bool late = v->finished_step != FB_NO_STEP && e->step <= v->finished_step;

    v->events++;
    if ((e->flags & FB_EVENT_NONFINITE) != 0 && v->first_nonfinite == FB_NO_EVENT)
        v->first_nonfinite = v->events - 1;
    if (late)
        return c == FB_CLASS_NOTES ? FB_OK : corrupt(v, "event after the end of its step", err);
    if (e->input_count > v->input_id_capacity) {
        fb_hash *ids = realloc(v->input_ids, e->input_count * sizeof *ids);

        if (ids == NULL)
            return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", v->t->path);
        v->input_ids = ids;
        v->input_id_capacity = e->input_count;
    }
    for (uint32_t i = 0; i < e->input_count; i++)
        v->input_ids[i] = identity_of(v, e->inputs[i].site, e->inputs[i].step, e->inputs[i].micro);
    v->seen |= 1u << c;
    v->root[c] = fb_hash_add(v->root[c], fb_event_hash(identity_of(v, e->site, e->step, e->micro),
                                                       site, e, v->input_ids));
    return FB_OK;
}

static fb_status no_memory(const verifier *v, fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", v->t->path);
}

/* What a tensor has beside its hash. */
static fb_status check_extras(verifier *v, fb_error *err)
{
    const fb_event *e = &v->t->chunk.event;
    bool out_of_memory = false;
    const char *flaw =
        fb__contents_event(&v->contents, v->index++,
                           fb__sites_get(v->t->sites, e->site)->site.dtype, e, &out_of_memory);

    if (out_of_memory)
        return no_memory(v, err);
    return flaw == NULL ? FB_OK : corrupt(v, flaw, err);
}

/* --- Ends of steps -----------------------------------------------------------------------------
 */

static bool same_hashes(const fb_trace_step *s, const verifier *v)
{
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        if ((s->classes & 1u << c) != 0 &&
            (!fb_hash_equal(s->root[c], v->root[c]) || !fb_hash_equal(s->chain[c], v->chain[c])))
            return false;
    return true;
}

static fb_status check_step_end(verifier *v, fb_error *err)
{
    const fb_trace_step *s = &v->t->chunk.step_end;

    for (int c = 0; c < FB_CLASS_COUNT; c++)
        if ((s->classes & 1u << c) != 0)
            v->chain[c] = fb_chain_next(v->chain[c], s->step, v->root[c]);
    if (v->finished_step != FB_NO_STEP && s->step <= v->finished_step)
        return corrupt(v, "a step ends twice", err);
    if ((v->seen & ~s->classes) != 0)
        return corrupt(v, "events of a class that the step does not record", err);
    if (s->first_event + s->events != v->events || s->first_event < v->step_first_event)
        return corrupt(v, "event numbers of a step do not fit", err);
    if (!same_hashes(s, v))
        return corrupt(v, "roots or chains of a step do not follow from its events", err);
    if (v->steps++ == 0)
        v->first_step = s->step;
    v->finished_step = s->step;
    v->step_first_event = v->events;
    v->seen = 0;
    memset(v->root, 0, sizeof v->root);
    return FB_OK;
}

/* --- Chunks ------------------------------------------------------------------------------------
 */

static fb_status check_skips(verifier *v, fb_error *err)
{
    const fb_chunk_header *head = &v->t->chunk.head;

    for (int k = 0; k < FB_CHUNK_SKIPS; k++) {
        const uint64_t distance = UINT64_C(1) << k;
        fb_chunk_header back;

        if ((head->skip[k] != 0) != (distance <= head->sequence))
            return corrupt(v, "skip pointers do not fit the sequence", err);
        if (head->skip[k] != 0 &&
            (fb__trace_chunk_header(v->t, head->skip[k], &back, NULL) != FB_OK ||
             back.sequence + distance != head->sequence))
            return corrupt(v, "a skip pointer leads astray", err);
    }
    return FB_OK;
}

/* Called when all of a chunk has been read. */
static fb_status check_chunk(verifier *v, fb_error *err)
{
    const fb_chunk_header *head = &v->t->chunk.head;
    const fb_status status = check_skips(v, err);
    bool out_of_memory = false;
    const char *flaw;

    v->chunks++;
    v->index = 0;
    if (status != FB_OK)
        return status;
    flaw = fb__contents_chunk(&v->contents, &v->t->chunk.extras, &out_of_memory);
    if (out_of_memory)
        return no_memory(v, err);
    if (flaw != NULL)
        return corrupt(v, flaw, err);
    if (head->finished_step != v->finished_step || head->finished_steps != v->steps ||
        memcmp(head->chain, v->chain, sizeof v->chain) != 0)
        return corrupt(v, "chunk header does not fit the steps", err);
    if (head->first_nonfinite != v->first_nonfinite)
        return corrupt(v, "chunk header names another first event with a NaN", err);
    return FB_OK;
}

static fb_status check_footer(const verifier *v, fb_error *err)
{
    const fb_footer *f = &v->t->footer;
    const bool none = v->steps == 0;

    if (!v->t->has_footer)
        return FB_OK;
    if (f->chunks != v->chunks || f->events != v->events || f->steps != v->steps ||
        f->finished_step != v->finished_step || (!none && f->first_step != v->first_step))
        return fb__fail(err, FB_E_CORRUPT, v->t->end,
                        "%s: footer at byte %llu does not fit the contents", v->t->path,
                        (unsigned long long)v->t->end);
    return FB_OK;
}

static fb_status check_all(verifier *v, void (*progress)(void *, uint64_t, uint64_t),
                           void *argument, fb_error *err)
{
    fb_trace *t = v->t;

    for (;;) {
        fb_item item;
        fb_status status = fb__trace_next_chunk(t, err);

        if (status != FB_OK)
            return status;
        if (!t->chunk.loaded)
            break;
        do {
            status = fb__chunk_reader_next(&t->chunk, &item, err);
            if (status != FB_OK)
                return fb__fail_in(err, status, "%s: ", t->path);
            if (item == FB_ITEM_EVENT) {
                status = check_event(v, err);
                if (status == FB_OK)
                    status = check_extras(v, err);
            } else if (item == FB_ITEM_STEP_END)
                status = check_step_end(v, err);
            if (status != FB_OK)
                return status;
        } while (item != FB_ITEM_END);
        t->chunk.loaded = false;
        status = check_chunk(v, err);
        if (status != FB_OK)
            return status;
        if (progress != NULL)
            progress(argument, t->next_offset, t->size);
    }
    return check_footer(v, err);
}

/* What was found: for a damaged trace, what came before the damage. */
static void fill_info(fb_trace_info *out, const verifier *v)
{
    *out = v->t->info;
    out->events = v->events;
    out->chunks = v->chunks;
    out->steps = v->steps;
    out->first_step = v->steps == 0 ? 1 : v->first_step;
    out->last_step = v->steps == 0 ? 0 : v->finished_step;
}

static void rewind_trace(fb_trace *t)
{
    t->chunk.loaded = false;
    t->next_offset = t->header.span;
    t->next_sequence = t->next_event = t->seek_step = t->seek_event = 0;
}

fb_status fb_trace_verify(fb_trace_info *out, fb_trace *trace,
                          void (*progress)(void *, uint64_t, uint64_t), void *argument,
                          fb_error *err)
{
    verifier v = {
        .t = trace, .finished_step = FB_NO_STEP, .first_nonfinite = FB_NO_EVENT, .root = {{0, 0}}};
    fb_error damage = trace->damage;
    fb_status status;

    rewind_trace(trace);
    status = check_all(&v, progress, argument, &damage);
    rewind_trace(trace);
    free(v.input_ids);
    fb__contents_free(&v.contents);
    if (status != FB_OK && status != FB_E_CORRUPT) {
        if (err != NULL)
            *err = damage;
        return status;
    }
    fill_info(out, &v);
    if (status == FB_E_CORRUPT) {
        out->status = FB_TRACE_CORRUPT;
        out->damage = damage.offset;
    }
    if (out->status == FB_TRACE_FULL)
        (void)fb__fail(err, FB_E_FULL, FB_NO_OFFSET, "%s: recording stopped: %s", trace->path,
                       trace->footer.reason);
    else if (out->status != FB_TRACE_COMPLETE && err != NULL)
        *err = damage;
    return FB_OK;
}
