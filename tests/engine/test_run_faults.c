/* SPDX-License-Identifier: Apache-2.0
 *
 * test_run_faults.c - a planted fault strikes exactly where it was asked to, shows in the events
 * from there on, and nowhere else.
 */
#include "base/bytes.h"
#include "run_fixture.h"

enum { STEPS = 6 };

/* A log that also keeps the contents of one tensor. */
typedef struct keeper {
    event_log log;
    kept_event want; /* identity of the tensor to keep */
    float data[4096];
    size_t count;
} keeper;

static fb_status keep_event(void *self, const fb_event *event, fb_error *err)
{
    keeper *k = self;
    const fb_status status = log_event(&k->log, event, err);
    const kept_event *last = &k->log.events[k->log.count - 1];

    if (event->data != NULL && fb_hash_equal(last->identity, k->want.identity)) {
        assert_true(event->data_bytes <= sizeof k->data);
        memcpy(k->data, event->data, event->data_bytes);
        k->count = event->data_bytes / sizeof(float);
    }
    return status;
}

static void run_with(fixture *f, keeper *k, const char *json, const fb_fault *fault)
{
    const kept_event want = k->want;

    memset(k, 0, sizeof *k);
    k->want = want;
    log_open(&k->log);
    k->log.observer.self = k;
    k->log.observer.wants = NULL;
    k->log.observer.on_event = keep_event;
    assert_ok(f, fixture_create(f, json, NULL, 0,
                                (fb_run_options){
                                    .threads = 1,
                                    .faults = fault,
                                    .fault_count = fault == NULL ? 0 : 1,
                                }));
    fb_run_observe(f->run, &k->log.observer);
    assert_ok(f, fb_run_begin(f->run, &f->error));
    while (fb_run_current_step(f->run) < STEPS)
        assert_ok(f, fb_run_step(f->run, &f->error));
}

static size_t first_difference(const event_log *a, const event_log *b)
{
    size_t i = 0;

    while (i < a->count && i < b->count && fb_hash_equal(a->events[i].hash, b->events[i].hash))
        i++;
    return i;
}

static void same_events(const event_log *a, const event_log *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->site_count, b->site_count);
    for (size_t i = 0; i < a->count; i++)
        assert_true(fb_hash_equal(a->events[i].identity, b->events[i].identity));
}

/* --- flip ------------------------------------------------------------------------------------- */

/* Events that a flip can strike. */
static bool can_flip(const kept_event *e)
{
    if (e->kind == FB_KIND_PARAM)
        return e->phase == FB_PHASE_OPTIMIZER && strcmp(e->slot, "param") == 0;
    return e->kind == FB_KIND_TENSOR && e->phase != FB_PHASE_EVAL && e->micro >= 0;
}

static void check_flip(fixture *f, const char *json, const keeper *clean, size_t at,
                       uint32_t *state)
{
    const kept_event *e = &clean->log.events[at];
    fb_fault fault = {.kind = FB_FAULT_FLIP, .step = e->step, .bit = fixture_random(state) % 32};
    keeper *struck = calloc(1, sizeof *struck), *whole = calloc(1, sizeof *whole);
    size_t first;

    (void)snprintf(fault.path, sizeof fault.path, "%s", e->path);
    (void)snprintf(fault.slot, sizeof fault.slot, "%s", e->slot);
    fault.micro = e->micro < 0 ? 0 : e->micro;
    whole->want = struck->want = *e;
    run_with(f, whole, json, NULL);
    fault.element = fixture_random(state) % whole->count;
    run_with(f, struck, json, &fault);

    same_events(&whole->log, &struck->log);
    first = first_difference(&whole->log, &struck->log);
    if (first != at)
        fail_msg("flip of %s %s, step %" PRIu64 " micro %d: first difference at %s %s", e->path,
                 e->slot, e->step, (int)e->micro, struck->log.events[first].path,
                 struck->log.events[first].slot);
    for (size_t i = 0; i < whole->count; i++) {
        const uint32_t changed = fb_float_bits(whole->data[i]) ^ fb_float_bits(struck->data[i]);
        assert_int_equal(changed, i == fault.element ? UINT32_C(1) << fault.bit : 0);
    }
    log_close(&whole->log);
    log_close(&struck->log);
    free(whole);
    free(struck);
}

static void check_flips(const char *json, unsigned seed, int count)
{
    keeper *clean = calloc(1, sizeof *clean);
    uint32_t state = seed;
    fixture f;

    fixture_open(&f);
    run_with(&f, clean, json, NULL);
    for (int n = 0; n < count;) {
        const size_t at = fixture_random(&state) % clean->log.count;

        if (!can_flip(&clean->log.events[at]))
            continue;
        check_flip(&f, json, clean, at, &state);
        n++;
    }
    log_close(&clean->log);
    free(clean);
    fixture_close(&f);
}

static void a_flip_changes_one_bit_of_one_event_first(void **state)
{
    (void)state;
    check_flips(FIXTURE_GPT, 1, 60);
    check_flips(FIXTURE_CONV, 2, 60);
}

/* The gradient of h.1.mlp.drop is that of the residual around it, in the same memory where no fault
 * is planted. An element that dropout drops goes no further, so a flip there must not reach the
 * residual's other branch through that memory. */
static void a_flipped_gradient_does_not_leak_into_its_neighbour(void **state)
{
    fb_fault fault = {.kind = FB_FAULT_FLIP, .step = 1, .bit = 30, .slot = "grad"};
    keeper *clean = calloc(1, sizeof *clean), *struck = calloc(1, sizeof *struck);
    fixture f;
    int dropped = 0;

    (void)state;
    (void)snprintf(fault.path, sizeof fault.path, "h.1.mlp.drop");
    fixture_open(&f);
    run_with(&f, clean, FIXTURE_GPT, NULL);
    for (fault.element = 0; fault.element < 64; fault.element++) {
        size_t differ = 0;

        run_with(&f, struck, FIXTURE_GPT, &fault);
        for (size_t i = 0; i < clean->log.count; i++)
            differ += !fb_hash_equal(clean->log.events[i].hash, struck->log.events[i].hash);
        dropped += differ == 1;
        log_close(&struck->log);
    }
    assert_in_range(dropped, 1, 30); /* p = 0.1 of 64 */
    log_close(&clean->log);
    free(clean);
    free(struck);
    fixture_close(&f);
}

static void a_flip_of_the_losses_shows_in_the_loss(void **state)
{
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 2,
                            .micro = 1,
                            .element = 3,
                            .bit = 20,
                            .path = "loss",
                            .slot = "out"};
    keeper *clean = calloc(1, sizeof *clean), *struck = calloc(1, sizeof *struck);
    fixture f;
    size_t first;

    (void)state;
    fixture_open(&f);
    run_with(&f, clean, FIXTURE_GPT, NULL);
    run_with(&f, struck, FIXTURE_GPT, &fault);
    first = first_difference(&clean->log, &struck->log);
    assert_string_equal(struck->log.events[first].path, "loss");
    assert_string_equal(struck->log.events[first].slot, "out");
    assert_int_equal(struck->log.events[first].micro, 1);
    log_close(&clean->log);
    log_close(&struck->log);
    free(clean);
    free(struck);
    fixture_close(&f);
}

/* --- draw ------------------------------------------------------------------------------------- */

/* One event more, and the later positions of that stream in that step (or epoch) are moved by one.
 */
static void check_draw(const char *stream, uint64_t step, const char *path, bool shuffle)
{
    fb_fault fault = {.kind = FB_FAULT_DRAW, .step = step};
    keeper *clean = calloc(1, sizeof *clean), *struck = calloc(1, sizeof *struck);
    fixture f;
    size_t first, moved = 0;

    (void)snprintf(fault.stream, sizeof fault.stream, "%s", stream);
    fixture_open(&f);
    run_with(&f, clean, FIXTURE_GPT, NULL);
    run_with(&f, struck, FIXTURE_GPT, &fault);
    assert_int_equal(struck->log.count, clean->log.count + 1);
    first = first_difference(&clean->log, &struck->log);
    assert_int_equal(struck->log.events[first].kind, FB_KIND_DRAW);
    assert_int_equal(struck->log.events[first].step, step);
    assert_int_equal(struck->log.events[first].count, 1);
    assert_string_equal(struck->log.events[first].op, "extra");
    assert_string_equal(struck->log.events[first].path, path);
    for (size_t i = first; i < clean->log.count; i++) {
        const kept_event *a = &clean->log.events[i], *b = &struck->log.events[i + 1];

        assert_true(fb_hash_equal(a->identity, b->identity));
        if (a->kind != FB_KIND_DRAW)
            continue;
        if (strcmp(a->path, path) == 0 && a->step == step) {
            assert_int_equal(b->counter, a->counter + 1);
            moved++;
        } else {
            assert_int_equal(b->counter, a->counter);
        }
    }
    /* an epoch is longer than these runs: after step 1 the shuffle draws no more */
    assert_int_equal(moved, shuffle ? (step == 1) : step == 0 ? 1 : 3);
    log_close(&clean->log);
    log_close(&struck->log);
    free(clean);
    free(struck);
    fixture_close(&f);
}

static void an_extra_draw_is_one_event_and_moves_its_stream_in_that_step(void **state)
{
    (void)state;
    check_draw("h.0.attn.drop", 3, "h.0.attn.drop", false);
    check_draw("h.1.mlp.drop", 1, "h.1.mlp.drop", false);
    check_draw("shuffle", 1, "data", true);
    check_draw("shuffle", 4, "data", true);
    check_draw("h.0.mlp.fc.weight", 0, "h.0.mlp.fc.weight", false);
}

/* --- swap ------------------------------------------------------------------------------------- */

static void a_swap_exchanges_two_samples(void **state)
{
    const fb_fault fault = {.kind = FB_FAULT_SWAP, .step = 4, .i = 1, .j = 5};
    keeper *clean = calloc(1, sizeof *clean), *struck = calloc(1, sizeof *struck);
    fixture f;
    size_t first, differ = 0;

    (void)state;
    fixture_open(&f);
    run_with(&f, clean, FIXTURE_GPT, NULL);
    run_with(&f, struck, FIXTURE_GPT, &fault);
    same_events(&clean->log, &struck->log);
    first = first_difference(&clean->log, &struck->log);
    assert_int_equal(struck->log.events[first].kind, FB_KIND_SAMPLE);
    assert_int_equal(struck->log.events[first].step, 4);
    assert_int_equal(struck->log.events[first].micro, 0);
    for (size_t i = 0; i < clean->log.count; i++)
        differ += clean->log.events[i].kind == FB_KIND_SAMPLE &&
                  !fb_hash_equal(clean->log.events[i].hash, struck->log.events[i].hash);
    assert_int_equal(differ, 2); /* samples 0 and 1 are of micro-batch 0, samples 4 and 5 of 2 */
    log_close(&clean->log);
    log_close(&struck->log);
    free(clean);
    free(struck);
    fixture_close(&f);
}

/* --- Names ------------------------------------------------------------------------------------ */

static void a_fault_that_names_nothing_is_refused(void **state)
{
    static const struct {
        const char *spec, *message;
    } cases[] = {
        {"flip:step=1,path=h.7.mlp,slot=out,element=0,bit=0",
         "flip: path \"h.7.mlp\": no such layer"},
        {"flip:step=1,path=h.0.mlp.fc.weight,slot=out,element=0,bit=0",
         "flip: path \"h.0.mlp.fc.weight\": no such layer"},
        {"flip:step=1,path=h.0.mlp.fc,slot=param,element=0,bit=0",
         "flip: path \"h.0.mlp.fc\": no such parameter"},
        {"flip:step=1,path=h.0.mlp.fc,slot=out,element=512,bit=0",
         "flip: element 512: h.0.mlp.fc has 512 elements in slot out"},
        {"flip:step=1,path=h.0.mlp.fc.bias,slot=grad,element=32,bit=0",
         "flip: element 32: h.0.mlp.fc.bias has 32 elements in slot grad"},
        {"flip:step=1,path=h.0.mlp.fc,slot=out,element=0,bit=0,micro=3",
         "flip: micro 3: a step has 3 micro-batches"},
        {"flip:step=21,path=h.0.mlp.fc,slot=out,element=0,bit=0",
         "fault: step 21: the run has 20 steps"},
        {"flip:step=0,path=h.0.mlp.fc,slot=out,element=0,bit=0",
         "fault: step 0: it initializes, the first step is 1"},
        {"draw:step=1,stream=dropout", "draw: stream \"dropout\": no such random stream"},
        {"swap:step=1,i=0,j=6", "swap: sample 6: the batch has 6 samples"},
    };
    fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fb_fault fault;

        assert_ok(&f, fb_fault_parse(&fault, cases[i].spec, &f.error));
        assert_int_equal(
            fixture_create(&f, FIXTURE_GPT, NULL, 0,
                           (fb_run_options){.threads = 1, .faults = &fault, .fault_count = 1}),
            FB_E_USAGE);
        assert_string_equal(f.error.text, cases[i].message);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flip_changes_one_bit_of_one_event_first),
        cmocka_unit_test(a_flipped_gradient_does_not_leak_into_its_neighbour),
        cmocka_unit_test(a_flip_of_the_losses_shows_in_the_loss),
        cmocka_unit_test(an_extra_draw_is_one_event_and_moves_its_stream_in_that_step),
        cmocka_unit_test(a_swap_exchanges_two_samples),
        cmocka_unit_test(a_fault_that_names_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
