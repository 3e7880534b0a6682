/* SPDX-License-Identifier: Apache-2.0
 *
 * step_events.c - reading one step of two traces.
 */
#include "diff/read/step_events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* --- Keys ------------------------------------------------------------------------------------- */

/* Wrappers put their own name into every path below them: "module.h.0" is "h.0". */
static const char *const wrapper_prefixes[] = {"module.", "_orig_mod.", "_fsdp_wrapped_module."};

static bool is_boundary(const char *path, const char *at)
{
    return at == path || at[-1] == '.';
}

void fb__unwrap_path(char out[FB_NAME_MAX + 1], const char *path)
{
    size_t n = 0;
    const char *at = path;

    while (*at != '\0' && n < FB_NAME_MAX) {
        bool skipped = false;

        for (size_t i = 0; i < sizeof wrapper_prefixes / sizeof wrapper_prefixes[0]; i++) {
            const size_t length = strlen(wrapper_prefixes[i]);

            if (is_boundary(path, at) && strncmp(at, wrapper_prefixes[i], length) == 0) {
                at += length;
                skipped = true;
                break;
            }
        }
        if (!skipped)
            out[n++] = *at++;
    }
    out[n] = '\0';
}

static fb_hash key_of_site(fb__step *step, const fb_site *site, uint32_t occurrence)
{
    const char *plain = site->path == NULL ? "" : site->path;
    char path[FB_NAME_MAX + 1], slot[FB_NAME_MAX + 1];
    fb_site local = *site;

    fb__unwrap_path(path, plain);
    step->renamed |= strcmp(path, plain) != 0;
    local.path = path;
    local.occurrence = occurrence;
    if (step->numbering.exchanged) {
        (void)snprintf(slot, sizeof slot, "%s", site->slot == NULL ? "" : site->slot);
        step->renamed |= fb__renumber(path, &step->numbering);
        step->renamed |= fb__renumber(slot, &step->numbering);
        local.slot = slot;
    }
    return fb_site_hash(&local);
}

static fb_status out_of_memory(fb_error *err)
{
    return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "events of a step: out of memory");
}

/* Room for one more element of `bytes` in a growing array. */
static bool grow(void *array, size_t *capacity, size_t needed, size_t bytes)
{
    size_t n = *capacity > 0 ? *capacity : 256;
    void *grown, *old;

    if (needed <= *capacity)
        return true;
    while (n < needed)
        n += n / 2;
    memcpy(&old, array, sizeof old);
    grown = realloc(old, n * bytes);
    if (grown == NULL)
        return false;
    memset((char *)grown + *capacity * bytes, 0, (n - *capacity) * bytes);
    memcpy(array, &grown, sizeof grown);
    *capacity = n;
    return true;
}

static fb_status site_of(const fb__site_key **out, fb__step *step, uint32_t number, fb_error *err)
{
    fb__site_key *s;

    if (number >= step->site_capacity || step->sites[number].site == NULL) {
        const fb_site *site = fb_trace_site(step->trace, number);

        if (site == NULL)
            return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                            "an event names site %lu, which was never introduced",
                            (unsigned long)number);
        if (!grow(&step->sites, &step->site_capacity, (size_t)number + 1, sizeof *step->sites))
            return out_of_memory(err);
        s = &step->sites[number];
        *s = (fb__site_key){.site = site,
                            .key = key_of_site(step, site, site->occurrence),
                            .group = key_of_site(step, site, 0),
                            .class_ = fb_site_class(site)};
    }
    *out = &step->sites[number];
    return FB_OK;
}

/* --- Events ----------------------------------------------------------------------------------- */

/* A dataset is what its samples contain: the name of its file does not count where there is a hash
 * of the contents. */
static fb_hash content_of(const fb_site *site, const fb_event *event)
{
    const fb_hash none = {0, 0};
    fb_event bare = *event;
    fb_site nameless = *site;

    bare.input_count = 0;
    if (site->kind == FB_KIND_SAMPLE && !fb_hash_is_zero(event->hash))
        nameless.dataset = "";
    if (site->kind == FB_KIND_DRAW)
        nameless.consumer = "";
    return fb_event_hash(none, &nameless, &bare, &none);
}

void fb__step_note_names(fb__step *step, const fb_site *a, const fb_site *b)
{
    const char *x = a->dataset == NULL ? "" : a->dataset;
    const char *y = b->dataset == NULL ? "" : b->dataset;

    step->renamed |= strcmp(x, y) != 0 || strcmp(a->consumer == NULL ? "" : a->consumer,
                                                 b->consumer == NULL ? "" : b->consumer) != 0;
}

/* The next event of this step whose class counts; *out is NULL at the end of the step. */
static fb_status next_event(const fb_event **out, uint64_t *number, fb__step *step,
                            uint32_t classes, fb_error *err)
{
    for (;;) {
        const fb__site_key *site = NULL;
        fb_status status = fb_trace_next(step->trace, out, number, err);

        if (status != FB_OK)
            return status;
        if (*out == NULL) {
            step->ended = true;
            return FB_OK;
        }
        if ((*out)->step > step->step) {
            *out = NULL;
            return FB_OK;
        }
        status = site_of(&site, step, (*out)->site, err);
        if (status != FB_OK)
            return status;
        if ((*out)->step == step->step && (classes & 1u << site->class_) != 0)
            return FB_OK;
    }
}

bool fb__is_of_backward(const fb_site *site)
{
    return (site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_BACKWARD) ||
           (site->kind == FB_KIND_SCALAR && site->phase == FB_PHASE_LOSS);
}

/* Where parameters are not recorded, an optimizer's settings tell of its update. The factor of a
 * gradient scaler is told behind the update, in the step that follows. */
bool fb__is_of_update(const fb_site *site)
{
    return site->phase == FB_PHASE_OPTIMIZER &&
           (site->kind == FB_KIND_PARAM ||
            (site->kind == FB_KIND_SCALAR &&
             (site->path == NULL || strcmp(site->path, "scaler") != 0)));
}

/* What a step of training consists of. */
static void note_work(fb__step *step, const fb_site *site)
{
    step->has_gradient |= fb__is_of_backward(site);
    step->has_update |= fb__is_of_update(site);
}

/* Fills what can be compared at once; inputs and indices are added by keep. */
static fb_status describe(fb__step_event *out, fb__step *step, const fb_event *event,
                          uint64_t number, fb_error *err)
{
    const fb__site_key *site = NULL;
    const fb_status status = site_of(&site, step, event->site, err);

    if (status != FB_OK)
        return status;
    note_work(step, site->site);
    if (site->site->kind == FB_KIND_MODE && site->site->slot != NULL &&
        strcmp(site->site->slot, "training") == 0)
        step->called = event->value != 0 ? FB__CALLED_TO_TRAIN : FB__CALLED_TO_EVALUATE;
    *out = (fb__step_event){.key = fb_identity_hash(site->key, event->step, event->micro),
                            .group = fb_identity_hash(site->group, event->step, event->micro),
                            .content = content_of(site->site, event),
                            .hash = event->hash,
                            .number = number,
                            .stream_key = event->key,
                            .counter = event->counter,
                            .count = event->count,
                            .value = event->value,
                            .site = site->site,
                            .site_number = event->site,
                            .micro = event->micro,
                            .flags = event->flags,
                            .called = step->called,
                            .partner = UINT32_MAX};
    return FB_OK;
}

static fb_status add_inputs(fb__step_event *out, fb__step *step, const fb_event *event,
                            fb_error *err)
{
    if (!grow(&step->inputs, &step->input_capacity, step->input_count + event->input_count,
              sizeof *step->inputs) ||
        !grow(&step->input_sites, &step->input_site_capacity,
              step->input_count + event->input_count, sizeof *step->input_sites))
        return out_of_memory(err);
    out->first_input = (uint32_t)step->input_count;
    for (uint32_t i = 0; i < event->input_count; i++) {
        const fb_ref *ref = &event->inputs[i];
        const fb__site_key *site = NULL;
        const fb_status status = site_of(&site, step, ref->site, err);

        if (status != FB_OK)
            return status;
        step->input_sites[step->input_count] = ref->site;
        step->inputs[step->input_count++] = fb_identity_hash(site->key, ref->step, ref->micro);
    }
    out->input_count = event->input_count;
    return FB_OK;
}

static fb_status add_indices(fb__step_event *out, fb__step *step, const fb_event *event,
                             fb_error *err)
{
    if (event->indices == NULL || event->count > FB__STEP_INDICES_MAX - step->index_count)
        return FB_OK;
    if (!grow(&step->indices, &step->index_capacity, step->index_count + event->count,
              sizeof *step->indices))
        return out_of_memory(err);
    out->first_index = (uint32_t)step->index_count;
    out->index_count = (uint32_t)event->count;
    memcpy(step->indices + step->index_count, event->indices,
           event->count * sizeof *event->indices);
    step->index_count += event->count;
    return FB_OK;
}

/* What is held of a step, and what aligning and judging it will take. */
static size_t memory_of(const fb__step *step)
{
    enum { JUDGING = 64 }; /* an event: indexes by key, groups, marks */

    return step->capacity * (sizeof *step->events + JUDGING) +
           step->site_capacity * sizeof *step->sites + step->input_capacity * sizeof *step->inputs +
           step->input_site_capacity * sizeof *step->input_sites +
           step->index_capacity * sizeof *step->indices;
}

/* Each side may have half of what the readers leave. */
static bool is_full(const fb__step *step, const fb_event *event)
{
    const size_t readers = fb_trace_memory(step->trace), own = memory_of(step);
    const size_t room = readers < FB__STEP_MEMORY ? FB__STEP_MEMORY - readers : 0;
    const size_t more = step->count < step->capacity ? 0 : own / 2;

    if (step->count >= FB__STEP_EVENTS_MAX ||
        event->input_count > FB__STEP_INPUTS_MAX - step->input_count)
        return true;
    return step->count >= FB__STEP_EVENTS_LEAST &&
           (own + more > room / 2 || own + more + memory_of(step->beside) > room);
}

/* Takes the event into memory; *full when there is no room left for it. */
static fb_status keep(bool *full, fb__step *step, const fb_event *event, uint64_t number,
                      fb_error *err)
{
    fb__step_event *out;
    fb_status status;

    *full = is_full(step, event);
    if (*full) {
        step->truncated = true;
        return FB_OK;
    }
    if (!grow(&step->events, &step->capacity, step->count + 1, sizeof *step->events))
        return out_of_memory(err);
    out = &step->events[step->count];
    status = describe(out, step, event, number, err);
    if (status == FB_OK)
        status = add_inputs(out, step, event, err);
    if (status == FB_OK)
        status = add_indices(out, step, event, err);
    if (status == FB_OK)
        step->count++;
    return status;
}

/* Keeps this event and the rest of the step. */
static fb_status load_rest(fb__step *step, const fb_event *event, uint64_t number, uint32_t classes,
                           fb_error *err)
{
    fb_status status = FB_OK;
    bool full = false;

    while (status == FB_OK && event != NULL && !full) {
        status = keep(&full, step, event, number, err);
        if (status == FB_OK && !full)
            status = next_event(&event, &number, step, classes, err);
    }
    return status;
}

/* --- The common start ------------------------------------------------------------------------- */

static bool same_inputs(const fb__step *a, const fb__step *b)
{
    if (a->input_count != b->input_count)
        return false;
    return a->input_count == 0 ||
           memcmp(a->inputs, b->inputs, a->input_count * sizeof *a->inputs) == 0;
}

static bool same_arguments(const fb_site *a, const fb_site *b)
{
    if (a == NULL || b == NULL || a->arguments == NULL || b->arguments == NULL)
        return true;
    return strcmp(a->arguments, b->arguments) == 0;
}

/* Whether the two events are equal: identity, contents, inputs, arguments. Uses the input pools as
 * scratch. */
static fb_status is_equal(bool *equal, fb__step_pair *p, const fb_event *a, const fb_event *b,
                          fb_error *err)
{
    fb__step_event ea = {0}, eb = {0};
    fb_status status = describe(&ea, &p->a, a, 0, err);

    if (status == FB_OK)
        status = describe(&eb, &p->b, b, 0, err);
    *equal = false;
    if (status != FB_OK || !fb_hash_equal(ea.key, eb.key) || !fb_hash_equal(ea.content, eb.content))
        return status;
    p->a.input_count = p->b.input_count = 0;
    status = add_inputs(&ea, &p->a, a, err);
    if (status == FB_OK)
        status = add_inputs(&eb, &p->b, b, err);
    *equal = status == FB_OK && same_inputs(&p->a, &p->b) &&
             same_arguments(p->a.sites[a->site].site, p->b.sites[b->site].site);
    p->a.input_count = p->b.input_count = 0;
    return status;
}

bool fb__is_of_model(const fb_site *site)
{
    return site->kind == FB_KIND_PARAM || site->phase == FB_PHASE_BACKWARD ||
           site->phase == FB_PHASE_OPTIMIZER || (site->path != NULL && site->path[0] != '\0');
}

static bool is_from_model(const fb__step *step, const fb_event *e)
{
    if (fb__is_of_model(step->sites[e->site].site))
        return true;
    for (uint32_t i = 0; i < e->input_count; i++) {
        const fb__site_key *from = &step->sites[e->inputs[i].site]; /* met by add_inputs */

        if (from->from_model || (e->inputs[i].step < step->step && fb__is_of_model(from->site)))
            return true;
    }
    return false;
}

/* The common start is not kept: of each of its sites stays what went into it. */
static void note_origin(fb__step_pair *p, const fb_event *a, const fb_event *b)
{
    const bool from_model = is_from_model(&p->a, a);

    p->a.sites[a->site].from_model |= from_model;
    p->b.sites[b->site].from_model |= from_model;
}

/* The last equal event stays known by number of site and micro-batch; its name is spelled out when
 * the common start is over. */
typedef struct last_equal {
    bool any;
    uint32_t site;
    int32_t micro;
} last_equal;

static void name_last_equal(fb__step_pair *p, const last_equal *last)
{
    if (!last->any)
        return;
    const fb_event event = {.step = p->a.step, .micro = last->micro};
    p->a.has_last_equal = true;
    fb_event_name_of(&p->a.last_equal, p->a.sites[last->site].site, &event);
}

static void mark_cut(fb__step *step)
{
    const bool torn = fb_trace_get_info(step->trace)->status != FB_TRACE_COMPLETE;
    step->cut = step->truncated || (step->ended && torn);
}

fb_status fb__step_pair_load(fb__step_pair *out, fb_trace *a, fb_trace *b, uint64_t step,
                             uint32_t classes, fb_error *err)
{
    const fb_event *ea = NULL, *eb = NULL;
    uint64_t na = 0, nb = 0;
    last_equal last = {.any = false};
    bool equal = true;
    fb_status status;

    *out = (fb__step_pair){
        .a = {.trace = a, .step = step}, .b = {.trace = b, .step = step}, .classes = classes};
    out->a.beside = &out->b;
    out->b.beside = &out->a;
    fb__number_optimizers(&out->b.numbering, a, b);
    status = fb_trace_seek(a, step, err);
    if (status == FB_OK)
        status = fb_trace_seek(b, step, err);
    while (status == FB_OK && equal) {
        status = next_event(&ea, &na, &out->a, classes, err);
        if (status == FB_OK)
            status = next_event(&eb, &nb, &out->b, classes, err);
        if (status != FB_OK || ea == NULL || eb == NULL)
            break;
        status = is_equal(&equal, out, ea, eb, err);
        if (status == FB_OK && equal) {
            fb__step_note_names(&out->a, out->a.sites[ea->site].site, out->b.sites[eb->site].site);
            note_origin(out, ea, eb);
            out->common++;
            out->common_of_phase[out->a.sites[ea->site].site->phase % FB__STEP_PHASES]++;
            last = (last_equal){true, ea->site, ea->micro};
        }
    }
    name_last_equal(out, &last);
    if (status == FB_OK)
        status = load_rest(&out->a, ea, na, classes, err);
    if (status == FB_OK)
        status = load_rest(&out->b, eb, nb, classes, err);
    mark_cut(&out->a);
    mark_cut(&out->b);
    return status;
}

static void free_step(fb__step *step)
{
    free(step->sites);
    free(step->events);
    free(step->inputs);
    free(step->input_sites);
    free(step->indices);
    *step = (fb__step){0};
}

void fb__step_pair_free(fb__step_pair *pair)
{
    free_step(&pair->a);
    free_step(&pair->b);
}

bool fb__is_generator_state(const fb_site *site)
{
    return site->kind == FB_KIND_DRAW && site->op != NULL && strcmp(site->op, "state") == 0;
}

bool fb__is_learned(const fb_site *site, const char *op)
{
    const char *own = site->op != NULL ? site->op : "";

    return site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_CHECKPOINT &&
           (op != NULL ? strcmp(own, op) == 0
                       : strcmp(own, FB__BEGIN) == 0 || strcmp(own, FB__END) == 0);
}

bool fb__is_result(const fb_site *site)
{
    return site->note && site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_EVAL &&
           site->op != NULL && strcmp(site->op, "result") == 0;
}

/* --- Names ------------------------------------------------------------------------------------ */

void fb__step_event_name(fb_event_name *out, const fb__step *step, const fb__step_event *event)
{
    const fb_event bare = {.step = step->step, .micro = event->micro};
    fb_event_name_of(out, event->site, &bare);
}

char *fb__step_event_text(char *out, size_t size, const fb__step *step, const fb__step_event *event)
{
    const fb_event e = {
        .step = step->step,
        .micro = event->micro,
        .flags = event->flags,
        .hash = event->hash,
        .key = event->stream_key,
        .counter = event->counter,
        .count = event->count,
        .value = event->value,
        .indices = event->index_count > 0 ? step->indices + event->first_index : NULL,
    };
    return fb_event_content_text(out, size, event->site, &e);
}
