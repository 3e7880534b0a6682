/* SPDX-License-Identifier: Apache-2.0
 *
 * test_planted.c - every planted fault is found at exactly its event, and named.
 *
 * 200 faults over random steps, micro-batches, ops, elements, bits, draws and samples, each through
 * the trace files of whole runs. `test_planted SEED COUNT` plants others, for as long as one likes.
 */
#include "recorded_run.h"
#include "tests/sanitized.h"

#include <inttypes.h>
#include <time.h>

#include "base/bytes.h"
#include "diff/diff.h"

enum { EVENTS_MAX = 20000, STREAMS_MAX = 64 };

static uint64_t first_seed = 2026, fault_count = 200;

/* A tensor event of the clean run: where a bit can be flipped. */
typedef struct place {
    char path[64], slot[16];
    fb_phase phase;
    uint64_t step, elements;
    int32_t micro;
} place;

typedef struct clean_run {
    const char *config;
    char trace[160];
    place *places;
    size_t place_count;
    char streams[STREAMS_MAX][64];
    size_t stream_count;
    uint64_t steps, batch, micros;
} clean_run;

static bool is_flippable(const fb_site *site)
{
    const bool out = site->kind == FB_KIND_TENSOR && strcmp(site->slot, "out") == 0 &&
                     (site->phase == FB_PHASE_FORWARD || site->phase == FB_PHASE_LOSS);
    const bool grad = site->kind == FB_KIND_TENSOR && strcmp(site->slot, "grad") == 0 &&
                      site->phase == FB_PHASE_BACKWARD;

    return out || grad || (site->kind == FB_KIND_PARAM && strcmp(site->slot, "param") == 0);
}

static void add_place(clean_run *run, const fb_site *site, const fb_event *event)
{
    place *p = &run->places[run->place_count];

    if (!is_flippable(site) || run->place_count == EVENTS_MAX)
        return;
    *p = (place){.phase = site->phase, .step = event->step, .elements = 1, .micro = event->micro};
    (void)snprintf(p->path, sizeof p->path, "%s", site->path);
    (void)snprintf(p->slot, sizeof p->slot, "%s", site->slot);
    for (uint32_t i = 0; i < site->rank; i++)
        p->elements *= site->shape[i];
    run->place_count++;
}

static void add_stream(clean_run *run, const fb_site *site)
{
    if (site->kind != FB_KIND_DRAW || run->stream_count == STREAMS_MAX)
        return;
    for (size_t i = 0; i < run->stream_count; i++)
        if (strcmp(run->streams[i], site->stream) == 0)
            return;
    (void)snprintf(run->streams[run->stream_count++], sizeof run->streams[0], "%s", site->stream);
}

static clean_run record_clean(const test_folder *folder, const char *config, const char *name,
                              uint64_t steps, uint64_t batch, uint64_t micros)
{
    clean_run run = {.config = config, .steps = steps, .batch = batch, .micros = micros};
    const recording how = {.config = config};
    const fb_event *event;
    fb_trace *trace;
    fb_error err;

    (void)snprintf(run.trace, sizeof run.trace, "%s", record(folder, name, &how));
    run.places = calloc(EVENTS_MAX, sizeof *run.places);
    assert_non_null(run.places);
    assert_ok(fb_trace_open(&trace, run.trace, &err));
    for (;;) {
        assert_ok(fb_trace_next(trace, &event, NULL, &err));
        if (event == NULL)
            break;
        add_place(&run, fb_trace_site(trace, event->site), event);
        add_stream(&run, fb_trace_site(trace, event->site));
    }
    fb_trace_close(trace);
    return run;
}

/* --- One fault -------------------------------------------------------------------------------- */

typedef struct pair {
    const char *good, *bad;
    bool bad_is_a; /* the damaged run is given first */
} pair;

static void compare(fb_diff_report *report, const pair *p)
{
    const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
    fb_error err;

    assert_ok(p->bad_is_a ? fb_diff(report, p->bad, p->good, &options, &err)
                          : fb_diff(report, p->good, p->bad, &options, &err));
}

static void expect_event(const fb_diff_report *r, const char *what, uint64_t step, int64_t micro,
                         fb_phase phase, const char *path, const char *slot)
{
    const fb_event_name *n = &r->first.name;
    char text[512];

    if (r->verdict != FB_DIFF_DIFFER || n->step != step || n->micro != micro || n->phase != phase ||
        strcmp(n->path, path) != 0 || strcmp(n->slot, slot) != 0)
        fail_msg("%s: verdict %s, at %s; expected step %" PRIu64 ", micro %" PRIi64 ", %s, %s, %s",
                 what, fb_diff_verdict_name(r->verdict),
                 r->has_first ? fb_event_name_text(text, sizeof text, n) : "nothing", step, micro,
                 fb_phase_name(phase), path, slot);
}

static void expect_cause(const fb_diff_report *r, const char *what, const char *name)
{
    if (!r->has_cause || strcmp(r->cause.name, name) != 0 || !r->cause.confirmed)
        fail_msg("%s: cause %s (%s): %s; expected %s, confirmed", what,
                 r->has_cause ? r->cause.name : "none", r->cause.confirmed ? "confirmed" : "likely",
                 r->has_cause ? r->cause.text : "", name);
}

static const char *record_damaged(const test_folder *folder, const clean_run *run,
                                  const fb_fault *fault)
{
    const recording how = {.config = run->config, .faults = fault, .fault_count = 1};

    return record(folder, "bad.fbt", &how);
}

static void try_flip(const test_folder *folder, const clean_run *run, uint64_t *state)
{
    const place *at = &run->places[next_random(state) % run->place_count];
    fb_fault fault = {.kind = FB_FAULT_FLIP,
                      .step = at->step,
                      .micro = at->micro == FB_MICRO_NONE ? 0 : at->micro,
                      .element = next_random(state) % at->elements,
                      .bit = (uint32_t)(next_random(state) % 32)};
    const pair p = {run->trace, NULL, next_random(state) % 2 == 0};
    fb_diff_report r;
    char what[512];

    (void)snprintf(fault.path, sizeof fault.path, "%s", at->path);
    (void)snprintf(fault.slot, sizeof fault.slot, "%s", at->slot);
    (void)snprintf(what, sizeof what,
                   "flip step=%" PRIu64 ",path=%s,slot=%s,element=%" PRIu64 ",bit=%u", fault.step,
                   fault.path, fault.slot, fault.element, fault.bit);
    compare(&r, &(pair){p.good, record_damaged(folder, run, &fault), p.bad_is_a});
    expect_event(&r, what, at->step, at->micro, at->phase, at->path, at->slot);
    expect_cause(&r, what, "bit-flip");
    if (!r.first.has_element || r.first.element != fault.element || r.first.differing != 1)
        fail_msg("%s: element %" PRIu64 " of %" PRIu64, what, r.first.element, r.first.differing);
    if ((r.first.a.bits ^ r.first.b.bits) != (uint64_t)1 << fault.bit)
        fail_msg("%s: bits %" PRIx64 " %" PRIx64, what, r.first.a.bits, r.first.b.bits);
    fb_diff_report_free(&r);
}

static void try_swap(const test_folder *folder, const clean_run *run, uint64_t *state)
{
    const uint64_t i = next_random(state) % run->batch;
    const uint64_t j = (i + 1 + next_random(state) % (run->batch - 1)) % run->batch;
    const fb_fault fault = {
        .kind = FB_FAULT_SWAP, .step = 1 + next_random(state) % run->steps, .i = i, .j = j};
    const uint64_t first = (i < j ? i : j) / (run->batch / run->micros);
    const bool bad_is_a = next_random(state) % 2 == 0;
    fb_diff_report r;
    char what[384];

    (void)snprintf(what, sizeof what, "swap step=%" PRIu64 ",i=%" PRIu64 ",j=%" PRIu64, fault.step,
                   i, j);
    compare(&r, &(pair){run->trace, record_damaged(folder, run, &fault), bad_is_a});
    expect_event(&r, what, fault.step, (int64_t)first, FB_PHASE_DATA, "data", "samples");
    expect_cause(&r, what, "data-order");
    fb_diff_report_free(&r);
}

/* Which events an extra draw moves: those of a dropout stream in its step, those of a parameter's
 * stream in step 0, the shuffle where an epoch begins. Any other one reaches nothing. */
static bool reaches(const clean_run *run, const char *stream, uint64_t step, uint64_t epoch)
{
    for (size_t i = 0; i < run->place_count; i++)
        if (run->places[i].phase == FB_PHASE_INIT && strcmp(run->places[i].path, stream) == 0)
            return step == 0;
    if (strcmp(stream, "shuffle") == 0)
        return step > 0 && (step - 1) % epoch == 0;
    return step > 0;
}

static void try_draw(const test_folder *folder, const clean_run *run, uint64_t *state)
{
    const char *stream = run->streams[next_random(state) % run->stream_count];
    fb_fault fault = {.kind = FB_FAULT_DRAW, .step = next_random(state) % (run->steps + 1)};
    const bool bad_is_a = next_random(state) % 2 == 0, shuffle = strcmp(stream, "shuffle") == 0;
    /* 288 bytes: 35 windows of 8 make 5 batches of 6, 71 windows of 4 make 17 of 4. */
    const uint64_t epoch = run->batch == 6 ? 5 : 17;
    fb_diff_report r;
    char what[384];

    (void)snprintf(fault.stream, sizeof fault.stream, "%s", stream);
    (void)snprintf(what, sizeof what, "draw step=%" PRIu64 ",stream=%s", fault.step, stream);
    if (shuffle && fault.step == 0)
        fault.step = 1;
    compare(&r, &(pair){run->trace, record_damaged(folder, run, &fault), bad_is_a});
    if (!reaches(run, stream, fault.step, epoch)) {
        if (r.verdict != FB_DIFF_SAME || r.notes.count != 1)
            fail_msg("%s: %s, %zu notes; it reaches nothing", what, fb_diff_verdict_name(r.verdict),
                     r.notes.count);
    } else {
        expect_event(&r, what, fault.step, FB_MICRO_NONE,
                     fault.step == 0 ? FB_PHASE_INIT
                     : shuffle       ? FB_PHASE_DATA
                                     : FB_PHASE_FORWARD,
                     shuffle ? "data" : stream, "draw");
        assert_int_equal(r.first.what, bad_is_a ? FB_DIFF_ONLY_A : FB_DIFF_ONLY_B);
        assert_string_equal(r.first.name.op, "extra");
        expect_cause(&r, what, "rng-offset");
    }
    fb_diff_report_free(&r);
}

/* --- The tests -------------------------------------------------------------------------------- */

static void every_planted_fault_is_found_at_its_event(void **context)
{
    const test_folder folder = make_folder();
    clean_run runs[2] = {record_clean(&folder, SMALL_GPT, "gpt.fbt", 8, 6, 3),
                         record_clean(&folder, SMALL_MLP, "mlp.fbt", 6, 4, 1)};
    uint64_t state = first_seed;

    (void)context;
    for (uint64_t i = 0; i < fault_count / EVERY; i++) {
        const clean_run *run = &runs[next_random(&state) % 2];

        switch (i % 5) {
        case 0:
            try_draw(&folder, run, &state);
            break;
        case 1:
            try_swap(&folder, run, &state);
            break;
        default:
            try_flip(&folder, run, &state);
        }
    }
    free(runs[0].places);
    free(runs[1].places);
    drop_folder(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_planted_fault_is_found_at_its_event),
    };

    if (argc == 3) {
        first_seed = strtoull(argv[1], NULL, 10);
        fault_count = strtoull(argv[2], NULL, 10);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
