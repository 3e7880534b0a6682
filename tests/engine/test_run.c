/* SPDX-License-Identifier: Apache-2.0
 *
 * test_run.c - whole runs: the same bits on every machine and under every observer, and every event
 * accounted for.
 */
#include <malloc.h>
#include <math.h>
#include <stdatomic.h>

#include <cJSON.h>

#include "base/fpenv.h"
#include "run_fixture.h"

/* Contract 1: final hashes of the two fixture runs after 20 steps. A change of these is a change of
 * the contract, or of the fixture. */
#define GOLDEN_GPT  "145a32b25f0d6f6e8f5f0fc9a1b40e77"
#define GOLDEN_CONV "cde8fc6fd33f7962390096bd1763e79f"

/* The same of all events in their order: identities, contents, inputs. A change of these without
 * one of the above is a change of docs/events.md. */
#define GOLDEN_GPT_EVENTS  "27027da7448e40dbf9715ef88a94d312"
#define GOLDEN_CONV_EVENTS "786797e27dd70bdc2f512e812a102d26"

enum { STEPS = 20 };

/* --- Counting allocations --------------------------------------------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

static _Atomic long allocations;

#if COUNTS_ALLOCATIONS
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(old, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, bytes);
}
#endif

/* An observer that only counts: the log of the fixture allocates. */
static fb_status count_site(void *self, uint32_t number, const fb_site *site, fb_error *err)
{
    (void)number, (void)site, (void)err;
    ++*(size_t *)self;
    return FB_OK;
}

static fb_status count_event(void *self, const fb_event *event, fb_error *err)
{
    (void)event, (void)err;
    ++*(size_t *)self;
    return FB_OK;
}

static void a_step_allocates_nothing(void **state)
{
    static const char *const runs[] = {FIXTURE_GPT, FIXTURE_CONV};
    size_t events = 0;
    const fb_observer observer = {
        .size = sizeof observer,
        .self = &events,
        .on_site = count_site,
        .on_event = count_event,
    };

    (void)state;
    if (!COUNTS_ALLOCATIONS)
        skip();
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        fixture f;
        long before;

        fixture_open(&f);
        assert_ok(&f, fixture_create(&f, runs[i], NULL, 0, (fb_run_options){.threads = 2}));
        fb_run_observe(f.run, &observer);
        assert_ok(&f, fb_run_begin(f.run, &f.error));
        for (int step = 1; step <= 4; step++) { /* an evaluation and a checkpoint come at 5 */
            before = atomic_load(&allocations);
            assert_ok(&f, fb_run_step(f.run, &f.error));
            assert_int_equal(atomic_load(&allocations) - before, 0);
        }
        before = atomic_load(&allocations); /* the counter does count */
        free(malloc(1));
        assert_int_equal(atomic_load(&allocations) - before, 1);
        fixture_close(&f);
    }
    assert_true(events > 100);
}

/* --- The same bits ---------------------------------------------------------------------------- */

static fb_hash train(const char *json, unsigned threads, const fb_kernels *kernels, event_log *log)
{
    const fb_run_options options = {.threads = threads, .kernels = kernels};
    fixture f;
    fb_hash final;

    fixture_open(&f);
    assert_ok(&f, fixture_create(&f, json, NULL, 0, options));
    if (log != NULL)
        log_open(log);
    final = fixture_train(&f, log, STEPS);
    fixture_close(&f);
    return final;
}

static void check_identity(const char *json, const char *golden, const char *golden_events)
{
    static const unsigned threads[] = {1, 2, 3, 7};
    event_log first, log;
    char hex[FB_HASH_HEX_BYTES];
    const fb_hash want = train(json, 1, fb_kernels_for(FB_ISA_REF), &first);

    assert_string_equal(fb_hash_hex(hex, want), golden);
    assert_string_equal(fb_hash_hex(hex, first.sequence), golden_events);
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);

        for (size_t t = 0; kernels != NULL && t < sizeof threads / sizeof threads[0]; t++) {
            const fb_hash got = train(json, threads[t], kernels, &log);

            if (!fb_hash_equal(got, want))
                fail_msg("%s, %u threads: other parameters", kernels->name, threads[t]);
            if (!fb_hash_equal(log.sequence, first.sequence))
                fail_msg("%s, %u threads: other events", kernels->name, threads[t]);
            log_close(&log);
        }
    }
    log_close(&first);
}

static void a_gpt_has_golden_bits_on_every_isa_and_thread_count(void **state)
{
    (void)state;
    check_identity(FIXTURE_GPT, GOLDEN_GPT, GOLDEN_GPT_EVENTS);
}

static void a_conv_net_has_golden_bits_on_every_isa_and_thread_count(void **state)
{
    (void)state;
    check_identity(FIXTURE_CONV, GOLDEN_CONV, GOLDEN_CONV_EVENTS);
}

static void another_seed_gives_other_bits(void **state)
{
    const fb_config_set seed = {"seed", "43"};
    fixture f;
    char hex[FB_HASH_HEX_BYTES];

    (void)state;
    fixture_open(&f);
    assert_ok(&f, fixture_create(&f, FIXTURE_GPT, &seed, 1, (fb_run_options){.threads = 1}));
    assert_string_not_equal(fb_hash_hex(hex, fixture_train(&f, NULL, STEPS)), GOLDEN_GPT);
    fixture_close(&f);
}

/* --- Observers -------------------------------------------------------------------------------- */

static void observing_changes_no_bit(void **state)
{
    fixture f;
    char hex[FB_HASH_HEX_BYTES];

    (void)state;
    fixture_open(&f);
    for (uint32_t classes = 0; classes < 1u << FB_CLASS_COUNT; classes += 3) {
        event_log log;

        log_open(&log);
        log.classes = classes;
        assert_ok(&f, fixture_create(&f, FIXTURE_GPT, NULL, 0, (fb_run_options){.threads = 2}));
        assert_string_equal(fb_hash_hex(hex, fixture_train(&f, classes == 0 ? NULL : &log, STEPS)),
                            GOLDEN_GPT);
        for (size_t i = 0; i < log.count; i++)
            assert_true((classes & 1u << log.events[i].class_number) != 0);
        log_close(&log);
    }
    fixture_close(&f);
}

/* A class is reported the same whatever else is. */
static void a_class_alone_has_the_events_that_it_has_among_all(void **state)
{
    event_log all;
    fixture f;

    (void)state;
    fixture_open(&f);
    log_open(&all);
    assert_ok(&f, fixture_create(&f, FIXTURE_GPT, NULL, 0, (fb_run_options){.threads = 2}));
    (void)fixture_train(&f, &all, 6);
    for (int c = 0; c < FB_CLASS_COUNT; c++) {
        event_log one;
        size_t at = 0;

        log_open(&one);
        one.classes = 1u << c;
        assert_ok(&f, fixture_create(&f, FIXTURE_GPT, NULL, 0, (fb_run_options){.threads = 2}));
        (void)fixture_train(&f, &one, 6);
        for (size_t i = 0; i < all.count; i++) {
            if (all.events[i].class_number != c)
                continue;
            assert_true(at < one.count);
            assert_true(fb_hash_equal(one.events[at].hash, all.events[i].hash));
            at++;
        }
        assert_int_equal(at, one.count);
        log_close(&one);
    }
    log_close(&all);
    fixture_close(&f);
}

static int by_identity(const void *a, const void *b)
{
    return memcmp(&((const kept_event *)a)->identity, &((const kept_event *)b)->identity,
                  sizeof(fb_hash));
}

static void every_input_was_reported_before_and_no_identity_twice(void **state)
{
    static const char *const runs[] = {FIXTURE_GPT, FIXTURE_CONV};

    (void)state;
    for (size_t r = 0; r < 2; r++) {
        event_log log;
        fixture f;

        fixture_open(&f);
        log_open(&log);
        log.check_inputs = true;
        assert_ok(&f, fixture_create(&f, runs[r], NULL, 0, (fb_run_options){.threads = 2}));
        (void)fixture_train(&f, &log, 6);
        assert_int_equal(log.step_ends, 7);
        assert_false(log.unknown_input);
        qsort(log.events, log.count, sizeof *log.events, by_identity);
        for (size_t i = 1; i < log.count; i++)
            if (fb_hash_equal(log.events[i - 1].identity, log.events[i].identity))
                fail_msg("two events are step %" PRIu64 " micro %d %s %s", log.events[i].step,
                         (int)log.events[i].micro, log.events[i].path, log.events[i].slot);
        log_close(&log);
        fixture_close(&f);
    }
}

static const kept_event *find(const event_log *log, uint64_t step, int32_t micro, fb_phase phase,
                              const char *path, const char *slot)
{
    for (size_t i = 0; i < log->count; i++) {
        const kept_event *e = &log->events[i];
        if (e->step == step && e->micro == micro && e->phase == phase &&
            strcmp(e->path, path) == 0 && strcmp(e->slot, slot) == 0)
            return e;
    }
    fail_msg("no event %s %s in step %" PRIu64, path, slot, step);
    return NULL;
}

static void a_reshape_shares_the_storage_of_its_input(void **state)
{
    const kept_event *in, *out, *next;
    event_log log;
    fixture f;

    (void)state;
    fixture_open(&f);
    log_open(&log);
    assert_ok(&f, fixture_create(&f, FIXTURE_CONV, NULL, 0, (fb_run_options){.threads = 1}));
    (void)fixture_train(&f, &log, 2);
    in = find(&log, 2, 1, FB_PHASE_FORWARD, "avgpool", "out");
    out = find(&log, 2, 1, FB_PHASE_FORWARD, "flatten", "out");
    next = find(&log, 2, 1, FB_PHASE_FORWARD, "out", "out");
    assert_int_equal(in->storage, out->storage);
    assert_int_equal(in->version, out->version);
    assert_int_equal(in->version, 4); /* two micro-batches in each of two steps */
    assert_true(fb_hash_equal(in->content, out->content));
    assert_int_not_equal(out->storage, next->storage);
    log_close(&log);
    fixture_close(&f);
}

static void the_mark_at_the_end_is_the_final_hash(void **state)
{
    event_log log;
    fixture f;
    fb_hash final;
    const kept_event *mark;

    (void)state;
    fixture_open(&f);
    log_open(&log);
    assert_ok(&f, fixture_create(&f, FIXTURE_CONV, NULL, 0, (fb_run_options){.threads = 1}));
    final = fixture_train(&f, &log, 3);
    mark = &log.events[log.count - 1];
    assert_int_equal(mark->kind, FB_KIND_MARK);
    assert_string_equal(mark->path, "run");
    assert_string_equal(mark->op, "end");
    assert_string_equal(mark->slot, FB_FINAL_HASH_MARK);
    assert_int_equal(mark->step, 3);
    assert_string_equal(mark->text, fb_hash_hex((char[FB_HASH_HEX_BYTES]){0}, final));
    log_close(&log);
    fixture_close(&f);
}

static void an_observer_that_stops_the_run_stops_it(void **state)
{
    (void)state;
    for (size_t after = 1; after < 1200; after += 97) {
        event_log log;
        fixture f;
        fb_status status;

        fixture_open(&f);
        log_open(&log);
        log.stop_after = after;
        assert_ok(&f, fixture_create(&f, FIXTURE_GPT, NULL, 0, (fb_run_options){.threads = 2}));
        fb_run_observe(f.run, &log.observer);
        status = fb_run_begin(f.run, &f.error);
        for (int step = 0; step < 4 && status == FB_OK; step++)
            status = fb_run_step(f.run, &f.error);
        assert_int_equal(status, FB_E_STOPPED);
        assert_int_equal(f.error.status, FB_E_STOPPED);
        assert_int_equal(log.count, after);
        assert_int_equal(fb_run_step(f.run, &f.error), FB_E_STOPPED);
        assert_int_equal(log.count, after);
        log_close(&log);
        fixture_close(&f);
    }
}

/* --- Trouble ---------------------------------------------------------------------------------- */

static void a_nan_is_recorded_and_no_error(void **state)
{
    const fb_config_set sets[] = {{"optimizer.sgd.lr", "1e30"}};
    event_log log;
    fixture f;
    fb_nonfinite found;

    (void)state;
    fixture_open(&f);
    log_open(&log);
    assert_ok(&f, fixture_create(&f, FIXTURE_CONV, sets, 1, (fb_run_options){.threads = 1}));
    assert_false(fb_run_first_nonfinite(f.run).found);
    (void)fixture_train(&f, &log, 4);
    assert_false(isfinite(fb_run_loss(f.run)));
    found = fb_run_first_nonfinite(f.run);
    assert_true(found.found);
    assert_int_equal(found.step, 2);
    assert_int_equal(found.phase, FB_PHASE_FORWARD);
    assert_string_equal(found.slot, "out");
    for (size_t i = 0; i < log.count; i++)
        if (log.events[i].flags & FB_EVENT_NONFINITE) {
            assert_string_equal(log.events[i].path, found.path);
            assert_int_equal(log.events[i].micro, found.micro);
            break;
        }
    log_close(&log);

    /* Without an observer nothing is hashed, and the loss tells. */
    assert_ok(&f, fixture_create(&f, FIXTURE_CONV, sets, 1, (fb_run_options){.threads = 1}));
    (void)fixture_train(&f, NULL, 4);
    assert_true(fb_run_first_nonfinite(f.run).found);
    assert_string_equal(fb_run_first_nonfinite(f.run).path, "loss");
    fixture_close(&f);
}

static void a_run_begins_once_and_before_its_first_step(void **state)
{
    fixture f;

    (void)state;
    fixture_open(&f);
    assert_ok(&f, fixture_create(&f, FIXTURE_CONV, NULL, 0, (fb_run_options){.threads = 1}));
    assert_int_equal(fb_run_step(f.run, &f.error), FB_E_USAGE);
    assert_ok(&f, fb_run_begin(f.run, &f.error));
    assert_int_equal(fb_run_begin(f.run, &f.error), FB_E_USAGE);
    assert_ok(&f, fb_run_step(f.run, NULL));
    assert_int_equal(fb_run_current_step(f.run), 1);
    fixture_close(&f);
}

static void a_changed_floating_point_environment_is_noticed(void **state)
{
    fixture f;

    (void)state;
    if (FB_FPENV_MASK == 0)
        skip();
    fixture_open(&f);
    assert_ok(&f, fixture_create(&f, FIXTURE_CONV, NULL, 0, (fb_run_options){.threads = 2}));
    assert_ok(&f, fb_run_begin(f.run, &f.error));
    assert_ok(&f, fb_run_step(f.run, &f.error));
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8000); /* flush to zero, as an object linked with -Ofast does */
    assert_int_equal(fb_run_step(f.run, &f.error), FB_E_UNSUPPORTED);
#endif
    fb_fpenv_set();
    assert_ok(&f, fb_run_step(f.run, &f.error));
    fixture_close(&f);
}

static void the_header_holds_what_a_replay_needs(void **state)
{
    fixture f;
    fb_config again;
    cJSON *header;
    const cJSON *file;
    char *text;

    (void)state;
    fixture_open(&f);
    assert_ok(&f, fixture_create(&f, FIXTURE_GPT, NULL, 0, (fb_run_options){.threads = 3}));
    header = cJSON_Parse(fb_run_header(f.run));
    assert_non_null(header);
    text = cJSON_PrintUnformatted(cJSON_GetObjectItem(header, "configuration"));
    assert_ok(&f, fb_config_parse(&again, text, "header", NULL, 0, &f.error));
    assert_string_equal(again.resolved, f.config.resolved);
    fb_config_free(&again);
    free(text);
    file = cJSON_GetArrayItem(cJSON_GetObjectItem(header, "files"), 0);
    assert_string_equal(cJSON_GetObjectItem(file, "path")->valuestring, "text.txt");
    assert_int_equal(cJSON_GetObjectItem(file, "bytes")->valueint, 4000);
    assert_int_equal(strlen(cJSON_GetObjectItem(file, "hash")->valuestring), 32);
    assert_int_equal(cJSON_GetObjectItem(header, "seed")->valueint, 42);
    assert_int_equal(cJSON_GetObjectItem(header, "contract")->valueint, FB_CONTRACT);
    assert_int_equal(
        cJSON_GetObjectItem(cJSON_GetObjectItem(header, "environment"), "threads")->valueint, 3);
    cJSON_Delete(header);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_allocates_nothing),
        cmocka_unit_test(a_gpt_has_golden_bits_on_every_isa_and_thread_count),
        cmocka_unit_test(a_conv_net_has_golden_bits_on_every_isa_and_thread_count),
        cmocka_unit_test(another_seed_gives_other_bits),
        cmocka_unit_test(observing_changes_no_bit),
        cmocka_unit_test(a_class_alone_has_the_events_that_it_has_among_all),
        cmocka_unit_test(every_input_was_reported_before_and_no_identity_twice),
        cmocka_unit_test(a_reshape_shares_the_storage_of_its_input),
        cmocka_unit_test(the_mark_at_the_end_is_the_final_hash),
        cmocka_unit_test(an_observer_that_stops_the_run_stops_it),
        cmocka_unit_test(a_nan_is_recorded_and_no_error),
        cmocka_unit_test(a_run_begins_once_and_before_its_first_step),
        cmocka_unit_test(a_changed_floating_point_environment_is_noticed),
        cmocka_unit_test(the_header_holds_what_a_replay_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
