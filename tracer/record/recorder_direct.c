/* SPDX-License-Identifier: Apache-2.0
 *
 * recorder_direct.c - the recorder for programs that report by themselves: names become sites,
 * calls are counted per identity, contents are hashed here.
 */
#include "tracer/record/recorder_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

void fb__recorder_free_direct(fb_recorder *r)
{
    for (uint32_t i = 0; i < r->occurrence_capacity; i++)
        free(r->occurrences[i].of_micro);
    free(r->occurrences);
    fb_intern_destroy(r->identities);
}

/* --- Occurrences -------------------------------------------------------------------------------
 */

/* Phase and names, each with its final zero: one identity within a (step, micro). */
static uint32_t identity_number(fb_recorder *r, const fb_site *site)
{
    const char *names[3] = {site->path, site->op, site->slot};
    fb_buffer key = {0};
    uint32_t number;

    if (r->identities == NULL && (r->identities = fb_intern_create()) == NULL)
        return FB_INTERN_NONE;
    fb_buffer_u8(&key, (uint8_t)site->phase);
    for (int i = 0; i < 3; i++) {
        const char *name = names[i] == NULL ? "" : names[i];
        fb_buffer_append(&key, name, strnlen(name, FB_NAME_MAX) + 1);
    }
    number = key.failed ? FB_INTERN_NONE : fb_intern_put(r->identities, key.data, key.count, NULL);
    fb_buffer_free(&key);
    return number;
}

static fb_occurrences *occurrences_of(fb_recorder *r, uint32_t identity)
{
    if (identity >= r->occurrence_capacity) {
        const uint32_t capacity = identity * 2 + 64;
        fb_occurrences *bigger = realloc(r->occurrences, capacity * sizeof *bigger);

        if (bigger == NULL)
            return NULL;
        memset(bigger + r->occurrence_capacity, 0,
               (capacity - r->occurrence_capacity) * sizeof *bigger);
        r->occurrences = bigger;
        r->occurrence_capacity = capacity;
    }
    return &r->occurrences[identity];
}

/* The place of `micro` among the counts of this step, made where it is missing. */
static fb_occurrence *count_of(fb_occurrences *o, int32_t micro)
{
    uint32_t low = 0, high = o->count;

    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (o->of_micro[middle].micro < micro)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < o->count && o->of_micro[low].micro == micro)
        return &o->of_micro[low];
    if (o->count == o->capacity) {
        const uint32_t capacity = o->capacity * 2 + 2;
        fb_occurrence *bigger = realloc(o->of_micro, capacity * sizeof *bigger);

        if (bigger == NULL)
            return NULL;
        o->of_micro = bigger;
        o->capacity = capacity;
    }
    memmove(o->of_micro + low + 1, o->of_micro + low, (o->count - low) * sizeof *o->of_micro);
    o->of_micro[low] = (fb_occurrence){micro, 0};
    o->count++;
    return &o->of_micro[low];
}

/* Numbers this call among those of its identity. False when memory is out. */
static bool number_occurrence(fb_recorder *r, fb_site *site)
{
    const uint32_t identity = identity_number(r, site);
    fb_occurrences *all = identity == FB_INTERN_NONE ? NULL : occurrences_of(r, identity);
    fb_occurrence *one;

    if (all == NULL)
        return false;
    if (all->step != r->direct_step) {
        all->step = r->direct_step;
        all->count = 0;
    }
    one = count_of(all, r->direct_micro);
    if (one == NULL)
        return false;
    site->occurrence = one->count++;
    return true;
}

/* --- Reporting ---------------------------------------------------------------------------------
 */

static bool begin(fb_recorder *r)
{
    if (r == NULL)
        return false;
    if (fb__recorder_life(r) != FB_RECORDER_ALIVE)
        fb__recorder_in_child(r);
    if (fb__recorder_life(r) != FB_RECORDER_ALIVE)
        return false;
    fb__lock_take(&r->lock);
    if (!fb__recorder_on(r)) {
        fb__lock_give_back(&r->lock);
        return false;
    }
    r->direct = true;
    (void)fb__recorder_enter_step(r, r->direct_step);
    return true;
}

static void end(fb_recorder *r)
{
    fb__lock_give_back(&r->lock);
}

static bool wanted(const fb_recorder *r, const fb_site *site)
{
    return (r->classes & 1u << fb_site_class(site)) != 0;
}

static bool known_inputs(const fb_recorder *r, const fb_event *event)
{
    bool known = true;

    for (uint32_t i = 0; i < event->input_count; i++)
        known &= event->inputs[i].site < r->sites.count;
    return known;
}

/* Makes the site, records the event unless its class is not recorded, names it for later inputs. */
static fb_ref report(fb_recorder *r, fb_site *site, fb_event *event, const void *caller)
{
    fb_ref ref = {0, r->direct_micro, r->direct_step};
    fb_error err = {.status = FB_OK};

    site->size = sizeof *site;
    event->size = sizeof *event;
    event->step = r->direct_step;
    event->micro = r->direct_micro;
    if (!known_inputs(r, event))
        (void)fb__fail(&err, FB_E_USAGE, FB_NO_OFFSET, "an input that no call returned");
    else if (!number_occurrence(r, site))
        (void)fb__fail(&err, FB_E_MEMORY, FB_NO_OFFSET, "out of memory");
    else if (fb__sites_put(&r->sites, site, &ref.site, &err) == FB_OK)
        err.status = FB_OK;
    if (err.status != FB_OK) {
        (void)fb__fail_in(&err, err.status, "%s: ", r->sealing.file.path);
        fb__sealing_stop(&r->sealing, &err);
        return ref;
    }
    event->site = ref.site;
    fb__recorder_event(r, ref.site, event, NULL, caller);
    return ref;
}

void fb_recorder_step(fb_recorder *recorder, uint64_t step)
{
    fb_recorder *r = recorder;
    fb_error err;

    if (!begin(r))
        return;
    if (step > r->direct_step && step <= FB_STEP_MAX) {
        r->direct_step = step;
        (void)fb__recorder_enter_step(r, step);
    } else if (step != r->direct_step) {
        (void)fb__fail(&err, FB_E_USAGE, FB_NO_OFFSET, "%s: step %llu after step %llu",
                       r->sealing.file.path, (unsigned long long)step,
                       (unsigned long long)r->direct_step);
        fb__sealing_stop(&r->sealing, &err);
    }
    end(r);
}

void fb_recorder_micro(fb_recorder *recorder, int32_t micro)
{
    if (!begin(recorder))
        return;
    recorder->direct_micro = micro < FB_MICRO_NONE ? FB_MICRO_NONE : micro;
    end(recorder);
}

static size_t tensor_bytes(fb_dtype dtype, uint32_t rank, const uint64_t *shape)
{
    size_t bytes = fb_dtype_bytes(dtype);

    for (uint32_t i = 0; i < rank && i < FB_RANK_MAX; i++)
        if (__builtin_mul_overflow(bytes, shape[i], &bytes))
            return SIZE_MAX;
    return bytes;
}

/* caller: where the call stack begins. The event's inputs are set. */
static fb_ref tell_tensor(fb_recorder *r, fb_site *site, fb_event event, const void *data,
                          void *caller)
{
    const size_t bytes = tensor_bytes(site->dtype, site->rank, site->shape);
    bool sketched;
    fb_ref ref = {0, FB_MICRO_NONE, 0};
    fb_sketch sketch;
    fb_hash *blocks = NULL;

    if (!begin(r))
        return ref;
    if (data == NULL || bytes == SIZE_MAX) {
        event.flags = FB_EVENT_UNDEFINED;
    } else if (wanted(r, site)) {
        /* Other threads record while this one hashes its bytes. */
        sketched = (r->classes & FB_WANT_SKETCH) != 0;
        end(r);
        event.data = data;
        event.data_bytes = bytes;
        event.flags = 0;
        fb__team_take(&r->team, &event, site->dtype, sketched, &sketch, &blocks);
        if (!begin(r)) {
            free(blocks);
            return ref;
        }
    }
    ref = report(r, site, &event, caller);
    end(r);
    free(blocks);
    return ref;
}

fb_ref fb_recorder_tensor(fb_recorder *recorder, fb_kind kind, fb_phase phase, const char *path,
                          const char *op, const char *slot, fb_dtype dtype, uint32_t rank,
                          const uint64_t *shape, const void *data, const fb_ref *inputs,
                          uint32_t input_count)
{
    const fb_event event = {.inputs = inputs, .input_count = input_count};
    fb_site site = {.kind = kind == FB_KIND_PARAM ? FB_KIND_PARAM : FB_KIND_TENSOR,
                    .phase = phase,
                    .path = path,
                    .op = op,
                    .slot = slot,
                    .dtype = dtype,
                    .rank = rank};

    if (rank > 0 && rank <= FB_RANK_MAX)
        memcpy(site.shape, shape, rank * sizeof site.shape[0]);
    return tell_tensor(recorder, &site, event, data, __builtin_return_address(0));
}

fb_ref fb_recorder_f32(fb_recorder *recorder, fb_phase phase, const char *path, const char *op,
                       const float *data, size_t rows, size_t columns)
{
    const bool param = phase == FB_PHASE_OPTIMIZER || phase == FB_PHASE_INIT;
    const fb_event event = {.input_count = 0};
    fb_site site = {.kind = param ? FB_KIND_PARAM : FB_KIND_TENSOR,
                    .phase = phase,
                    .path = path,
                    .op = op,
                    .slot = param                        ? "param"
                            : phase == FB_PHASE_BACKWARD ? "grad"
                                                         : "out",
                    .dtype = FB_DTYPE_F32,
                    .rank = columns == 0 ? 1 : 2,
                    .shape = {rows, columns}};

    return tell_tensor(recorder, &site, event, data, __builtin_return_address(0));
}

fb_ref fb_recorder_draw(fb_recorder *recorder, fb_phase phase, const char *stream,
                        const char *algorithm, uint64_t key, uint64_t counter, uint64_t count,
                        const char *distribution, const char *consumer, fb_dtype dtype,
                        const void *values)
{
    fb_site site = {.kind = FB_KIND_DRAW,
                    .phase = phase,
                    .path = stream,
                    .op = "draw",
                    .stream = stream,
                    .algorithm = algorithm,
                    .distribution = distribution,
                    .consumer = consumer};
    fb_event event = {.key = key, .counter = counter, .count = count};
    fb_ref ref = {0, FB_MICRO_NONE, 0};

    if (values != NULL)
        event.hash = fb_tensor_hash(NULL, dtype, values, count * fb_dtype_bytes(dtype), NULL);
    if (!begin(recorder))
        return ref;
    ref = report(recorder, &site, &event, __builtin_return_address(0));
    end(recorder);
    return ref;
}

fb_ref fb_recorder_sample(fb_recorder *recorder, const char *dataset, fb_role role, uint64_t epoch,
                          const uint64_t *indices, uint64_t count, const void *contents,
                          size_t content_bytes)
{
    fb_site site = {.kind = FB_KIND_SAMPLE,
                    .phase = FB_PHASE_DATA,
                    .path = dataset,
                    .op = "sample",
                    .dataset = dataset,
                    .role = role};
    fb_event event = {.counter = epoch, .count = count, .indices = indices};
    fb_ref ref = {0, FB_MICRO_NONE, 0};

    if (contents != NULL)
        event.hash = fb_hash_bytes(contents, content_bytes);
    if (!begin(recorder))
        return ref;
    ref = report(recorder, &site, &event, __builtin_return_address(0));
    end(recorder);
    return ref;
}

fb_ref fb_recorder_scalar(fb_recorder *recorder, fb_phase phase, const char *path, const char *slot,
                          fb_dtype dtype, double value)
{
    fb_site site = {
        .kind = FB_KIND_SCALAR, .phase = phase, .path = path, .slot = slot, .dtype = dtype};
    fb_event event = {.value = value, .flags = __builtin_isfinite(value) ? 0 : FB_EVENT_NONFINITE};
    fb_ref ref = {0, FB_MICRO_NONE, 0};

    if (!begin(recorder))
        return ref;
    ref = report(recorder, &site, &event, __builtin_return_address(0));
    end(recorder);
    return ref;
}

uint32_t fb_recorder_site(fb_recorder *recorder, const fb_site *site)
{
    uint32_t number = UINT32_MAX;
    fb_error err;

    if (!begin(recorder))
        return number;
    if (fb__sites_put(&recorder->sites, site, &number, &err) != FB_OK) {
        (void)fb__fail_in(&err, err.status, "%s: ", recorder->sealing.file.path);
        fb__sealing_stop(&recorder->sealing, &err);
        number = UINT32_MAX;
    }
    end(recorder);
    return number;
}

uint32_t fb_recorder_wants(fb_recorder *recorder)
{
    uint32_t classes;

    if (!begin(recorder))
        return 0;
    classes = recorder->classes;
    end(recorder);
    return classes;
}

void fb_recorder_event(fb_recorder *recorder, const fb_event *event)
{
    fb_event full = *event;
    fb_recorder *r = recorder;
    fb_hash *blocks = NULL;
    fb_sketch sketch;
    fb_site site;
    fb_error err;

    if (!begin(r))
        return;
    full.step = r->direct_step;
    full.micro = r->direct_micro;
    if (full.site >= r->sites.count || !known_inputs(r, &full)) {
        (void)fb__fail(&err, FB_E_USAGE, FB_NO_OFFSET, "%s: a site that no call returned",
                       r->sealing.file.path);
        fb__sealing_stop(&r->sealing, &err);
        end(r);
        return;
    }
    site = fb__sites_get(&r->sites, full.site)->site;
    if (full.data != NULL && fb_hash_is_zero(full.hash) && wanted(r, &site)) {
        const bool sketched = (r->classes & FB_WANT_SKETCH) != 0;

        end(r); /* other threads record while this one reads its bytes */
        if (fb__kind_has_shape(site.kind))
            fb__team_take(&r->team, &full, site.dtype, sketched, &sketch, &blocks);
        else
            full.hash = fb_hash_bytes(full.data, full.data_bytes);
        if (!begin(r)) {
            free(blocks);
            return;
        }
    }
    fb__recorder_event(r, full.site, &full, NULL, __builtin_return_address(0));
    end(r);
    free(blocks);
}

void fb_recorder_mark(fb_recorder *recorder, const char *text)
{
    fb_site site = {.kind = FB_KIND_MARK, .op = "mark"};
    fb_event event = {.text = text};

    if (!begin(recorder))
        return;
    (void)report(recorder, &site, &event, __builtin_return_address(0));
    end(recorder);
}
