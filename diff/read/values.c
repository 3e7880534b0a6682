/* SPDX-License-Identifier: Apache-2.0
 *
 * values.c - replays two runs to one event and compares what they hold there.
 */
#include "diff/read/values.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

/* A search goes through some ten million candidates a second and thread: 2^22 of them, a tensor of
 * 512 KiB, in half a second. Larger ones are given this long. */
static const double flip_search_seconds = 20;

static bool has_recorded_table(const fb__run_header *header)
{
    return header->isa == NULL || fb_kernels_named(header->isa) != NULL;
}

/* Which run a replay's progress is about. */
typedef struct progress {
    const fb_diff_options *options;
    const char *doing;
} progress;

static void pass_progress(void *argument, uint64_t step, uint64_t to)
{
    const progress *p = argument;
    p->options->progress(p->options->argument, p->doing, step, to);
}

/* One run to the event. A replay that fails, or parts from its own trace on the way, is no failure
 * here: the value stays unknown. */
static void replay_side(fb__side_value *side, fb_error *failure, const char *path,
                        const fb__run_header *header, const fb_event_name *name,
                        const fb_diff_options *options, const char *doing)
{
    progress p = {options, doing};
    const fb_replay_options o = {.size = sizeof o,
                                 .as_recorded = true,
                                 .no_stack = true,
                                 .data = options->data,
                                 .has_from = name->step > 0,
                                 .from = name->step,
                                 .has_to = true,
                                 .to = name->step,
                                 .capture = name,
                                 .captured = &side->tensor,
                                 .progress = options->progress == NULL ? NULL : pass_progress,
                                 .argument = &p};
    fb_replay_report report;
    fb_error err;

    if (fb_replay(&report, path, &o, &err) != FB_OK) {
        if (failure->status == FB_OK)
            *failure = err;
        return;
    }
    side->replayed = !report.diverged && side->tensor.found;
    side->reproduced = side->replayed && side->tensor.matches;
    side->as_recorded = side->replayed && has_recorded_table(header);
    fb_replay_report_free(&report);
}

static bool is_tensor(const fb_event_name *name)
{
    return name->kind == FB_KIND_TENSOR || name->kind == FB_KIND_PARAM;
}

/* The recorded hash of a side that its replay does not reproduce. */
static fb_status look_for_flip(fb__side_value *side, fb_pool *pool, fb_error *err)
{
    fb_status status;

    if (!side->replayed || side->reproduced || !side->tensor.in_trace || side->tensor.data == NULL)
        return FB_OK;
    status = fb_search_flip(&side->flip, pool, side->tensor.dtype, side->tensor.data,
                            side->tensor.bytes, side->tensor.recorded, flip_search_seconds, err);
    side->flipped = status == FB_OK && side->flip.found;
    return status;
}

static fb_status look_for_flips(fb__values *v, fb_error *err)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    fb_pool *pool = NULL;
    fb_status status;

    if ((!v->a.replayed || v->a.reproduced) && (!v->b.replayed || v->b.reproduced))
        return FB_OK;
    /* Without a pool the calling thread searches alone. */
    if (processors > 1 &&
        fb_pool_create(&pool, (unsigned)(processors < 64 ? processors : 64), NULL) != FB_OK)
        pool = NULL;
    status = look_for_flip(&v->a, pool, err);
    if (status == FB_OK)
        status = look_for_flip(&v->b, pool, err);
    fb_pool_destroy(pool);
    return status;
}

uint32_t fb__side_bits(const fb__side_value *side, uint64_t element)
{
    uint32_t bits;

    memcpy(&bits, (const uint8_t *)side->tensor.data + 4 * element, sizeof bits);
    if (side->flipped && side->flip.element == element)
        bits ^= (uint32_t)1 << side->flip.bit;
    return bits;
}

static bool is_known(const fb__side_value *side)
{
    return side->replayed && (side->reproduced || side->flipped) && side->tensor.data != NULL;
}

/* First differing element, and how many differ. Two NaNs are the same to a hash. */
static void compare_elements(fb_diff_first *first, const fb__values *v)
{
    const uint64_t n = v->a.tensor.bytes / 4;

    for (uint64_t i = 0; i < n; i++) {
        const uint32_t a = fb__side_bits(&v->a, i), b = fb__side_bits(&v->b, i);
        const float x = fb_float_of_bits(a), y = fb_float_of_bits(b);

        if (a == b || (x != x && y != y))
            continue;
        if (first->differing++ > 0)
            continue;
        first->has_element = true;
        first->element = i;
        first->has_value = true;
        first->a = (fb_diff_value){a, (double)x};
        first->b = (fb_diff_value){b, (double)y};
        first->ulps = fb_ulps_f32(a, b);
    }
}

fb_status fb__values_find(fb__values *out, fb_diff_report *report, const fb__headers *headers,
                          const fb_diff_options *options, fb_error *err)
{
    fb_diff_first *first = &report->first;
    fb_status status = FB_OK;

    *out = (fb__values){.failure = {.status = FB_OK}};
    if (options->no_replay || headers->a.configuration == NULL ||
        headers->b.configuration == NULL ||
        (first->what != FB_DIFF_CONTENT && first->what != FB_DIFF_INPUTS))
        return FB_OK;
    out->tried = true;
    replay_side(&out->a, &out->failure, report->name_a, &headers->a, &first->name, options,
                "replaying a");
    replay_side(&out->b, &out->failure, report->name_b, &headers->b, &first->name, options,
                "replaying b");
    if (!is_tensor(&first->name))
        return FB_OK;
    status = look_for_flips(out, err);
    if (status == FB_OK && is_known(&out->a) && is_known(&out->b) &&
        out->a.tensor.dtype == FB_DTYPE_F32 && out->b.tensor.dtype == FB_DTYPE_F32 &&
        out->a.tensor.bytes == out->b.tensor.bytes)
        compare_elements(first, out);
    return status;
}

void fb__values_find_with(fb_diff_report *report, const fb__values *of,
                          const fb_diff_options *options, bool in_b, const fb_override_use *use)
{
    const fb_event_name *name = &report->first.name;
    fb__values v = *of;
    fb__side_value *side = in_b ? &v.b : &v.a;
    const fb_replay_options o = {.size = sizeof o,
                                 .no_stack = true,
                                 .data = options->data,
                                 .override = use,
                                 .has_from = name->step > 0 && !use->what->history,
                                 .from = name->step,
                                 .has_to = true,
                                 .to = name->step,
                                 .capture = name,
                                 .captured = &side->tensor};
    fb_replay_report replayed;

    if (!of->tried || report->first.has_value || !is_tensor(name) ||
        fb_replay(&replayed, in_b ? report->name_b : report->name_a, &o, NULL) != FB_OK)
        return;
    side->flipped = false;
    side->replayed = !replayed.diverged && side->tensor.found;
    side->reproduced = side->replayed && side->tensor.matches;
    fb_replay_report_free(&replayed);
    if (is_known(&v.a) && is_known(&v.b) && v.a.tensor.dtype == FB_DTYPE_F32 &&
        v.b.tensor.dtype == FB_DTYPE_F32 && v.a.tensor.bytes == v.b.tensor.bytes)
        compare_elements(&report->first, &v);
    fb_replay_tensor_free(&side->tensor);
}

void fb__values_free(fb__values *values)
{
    fb_replay_tensor_free(&values->a.tensor);
    fb_replay_tensor_free(&values->b.tensor);
}
