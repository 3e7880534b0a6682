/* SPDX-License-Identifier: Apache-2.0
 *
 * test_trace_round_trip.c - what a recorder is told, a reader tells.
 */
#include "tests/tracer/trace_fixture.h"

static void assert_same_text(const char *a, const char *b)
{
    assert_string_equal(a == NULL ? "" : a, b == NULL ? "" : b);
}

static void assert_same_site(const fb_site *want, const fb_site *have)
{
    assert_int_equal(have->kind, want->kind);
    assert_int_equal(have->phase, want->phase);
    assert_same_text(have->path, want->path);
    assert_same_text(have->op, want->op);
    assert_same_text(have->slot, want->slot);
    assert_int_equal(have->occurrence, want->occurrence);
    assert_int_equal(have->note, want->note);
    assert_int_equal(have->dtype, want->dtype);
    assert_int_equal(have->rank, want->rank);
    assert_memory_equal(have->shape, want->shape, sizeof want->shape);
    assert_same_text(have->stream, want->stream);
    assert_same_text(have->algorithm, want->algorithm);
    assert_same_text(have->distribution, want->distribution);
    assert_memory_equal(have->parameters, want->parameters, sizeof want->parameters);
    assert_same_text(have->consumer, want->consumer);
    assert_same_text(have->dataset, want->dataset);
    assert_int_equal(have->role, want->role);
}

static void assert_same_event(const fb_trace *t, const fb_event *want, const fb_event *have)
{
    const fb_site site = fixture_site((int)want->site);

    assert_same_site(&site, fb_trace_site(t, have->site));
    assert_int_equal(have->flags, want->flags);
    assert_int_equal(have->step, want->step);
    assert_int_equal(have->micro, want->micro);
    assert_int_equal(have->version, want->version);
    assert_int_equal(have->storage, want->storage);
    assert_memory_equal(&have->hash, &want->hash, sizeof want->hash);
    assert_memory_equal(&have->value, &want->value, sizeof want->value);
    assert_int_equal(have->key, want->key);
    assert_int_equal(have->counter, want->counter);
    assert_int_equal(have->count, want->count);
    assert_int_equal(have->indices == NULL, want->indices == NULL);
    if (want->indices != NULL)
        assert_memory_equal(have->indices, want->indices, want->count * sizeof *want->indices);
    assert_same_text(have->text, want->text);
    assert_int_equal(have->input_count, want->input_count);
    for (uint32_t i = 0; i < want->input_count; i++) {
        const fb_site input = fixture_site((int)want->inputs[i].site);
        assert_same_site(&input, fb_trace_site(t, have->inputs[i].site));
        assert_int_equal(have->inputs[i].step, want->inputs[i].step);
        assert_int_equal(have->inputs[i].micro, want->inputs[i].micro);
    }
}

static void every_field_of_every_kind_comes_back(void **state)
{
    const uint64_t steps = 3000; /* several chunks */
    made_event made[64];
    test_folder folder;
    uint64_t random = 1, number, count = 0;
    const fb_event *e;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    const uint64_t events = record_fixture(folder.file, steps, FB_LEVEL_OPS);
    t = open_trace(folder.file);
    assert_int_equal(fb_trace_get_info(t)->status, FB_TRACE_COMPLETE);
    assert_int_equal(fb_trace_get_info(t)->events, events);
    assert_int_equal(fb_trace_get_info(t)->steps, steps + 1);
    assert_int_equal(fb_trace_get_info(t)->first_step, 0);
    assert_int_equal(fb_trace_get_info(t)->last_step, steps);
    assert_true(fb_trace_get_info(t)->chunks > 2);
    for (uint64_t step = 0; step <= steps; step++) {
        const size_t n = fixture_step(made, step, &random);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(fb_trace_next(t, &e, &number, NULL), FB_OK);
            assert_non_null(e);
            assert_int_equal(number, count++);
            assert_same_event(t, &made[i].event, e);
        }
    }
    assert_int_equal(fb_trace_next(t, &e, &number, NULL), FB_OK);
    assert_null(e);
    assert_int_equal(count, events);
    fb_trace_close(t);
    drop_folder(&folder);
}

/* The chains of a run, computed without the recorder's help. */
static void add_step(fb_hash root[FB_CLASS_COUNT], fb_hash chain[FB_CLASS_COUNT],
                     const made_event *made, size_t n, uint64_t step, uint32_t classes)
{
    memset(root, 0, FB_CLASS_COUNT * sizeof *root);
    for (size_t i = 0; i < n; i++) {
        const fb_site site = fixture_site((int)made[i].event.site);
        fb_hash ids[4];

        for (uint32_t k = 0; k < made[i].event.input_count; k++) {
            const fb_site input = fixture_site((int)made[i].inputs[k].site);
            ids[k] = fb_identity_hash(fb_site_hash(&input), made[i].inputs[k].step,
                                      made[i].inputs[k].micro);
        }
        const fb_class c = fb_site_class(&site);
        root[c] = fb_hash_add(
            root[c], fb_event_hash(fb_identity_hash(fb_site_hash(&site), step, made[i].event.micro),
                                   &site, &made[i].event, ids));
    }
    for (int c = 0; c < FB_CLASS_COUNT; c++)
        if (classes & 1u << c)
            chain[c] = fb_chain_next(chain[c], step, root[c]);
}

static void any_step_tells_its_roots_and_chains(void **state)
{
    const uint64_t steps = 1500;
    fb_hash root[FB_CLASS_COUNT], chain[FB_CLASS_COUNT] = {{0, 0}};
    made_event made[64];
    test_folder folder;
    fb_trace_step s;
    uint64_t random = 1, event = 0;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    (void)record_fixture(folder.file, steps, FB_LEVEL_OPS);
    t = open_trace(folder.file);
    for (uint64_t step = 0; step <= steps; step++) {
        const size_t n = fixture_step(made, step, &random);

        add_step(root, chain, made, n, step, fb_level_classes(FB_LEVEL_OPS));
        assert_int_equal(fb_trace_get_step(t, step, &s, NULL), FB_OK);
        assert_int_equal(s.step, step);
        assert_int_equal(s.first_event, event);
        assert_int_equal(s.events, n);
        assert_int_equal(s.classes, fb_level_classes(FB_LEVEL_OPS));
        assert_memory_equal(s.root, root, sizeof root);
        assert_memory_equal(s.chain, chain, sizeof chain);
        event += n;
    }
    assert_int_equal(fb_trace_get_step(t, steps + 1, &s, NULL), FB_E_NOT_FOUND);
    fb_trace_close(t);
    drop_folder(&folder);
}

static void seeking_gives_the_events_from_a_step_on(void **state)
{
    const uint64_t steps = 1500, targets[] = {0, 1, 700, 699, 1500, 3, 1501};
    test_folder folder;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    (void)record_fixture(folder.file, steps, FB_LEVEL_OPS);
    t = open_trace(folder.file);
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        fb_trace_step s;
        const fb_event *e;
        uint64_t number;

        assert_int_equal(fb_trace_seek(t, targets[i], NULL), FB_OK);
        assert_int_equal(fb_trace_next(t, &e, &number, NULL), FB_OK);
        if (targets[i] > steps) {
            assert_null(e);
            continue;
        }
        assert_non_null(e);
        assert_int_equal(e->step, targets[i]);
        assert_int_equal(fb_trace_get_step(t, targets[i], &s, NULL), FB_OK);
        assert_int_equal(number, s.first_event);
        assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK); /* get_step moves nothing */
        assert_int_equal(e->step, targets[i]);
    }
    fb_trace_close(t);
    drop_folder(&folder);
}

static void lower_levels_record_their_classes_only(void **state)
{
    const fb_level levels[] = {FB_LEVEL_STEPS, FB_LEVEL_DRAWS};
    test_folder folder;

    (void)state;
    make_folder(&folder);
    for (size_t l = 0; l < COUNT_OF(levels); l++) {
        const fb_event *e;
        fb_trace_step s;
        fb_trace *t;

        (void)record_fixture(folder.file, 205, levels[l]);
        t = open_trace(folder.file);
        for (;;) {
            uint32_t classes = fb_level_classes(levels[l]);

            assert_int_equal(fb_trace_next(t, &e, NULL, NULL), FB_OK);
            if (e == NULL)
                break;
            if (e->step % 100 == 0)
                classes |= 1u << FB_CLASS_STATE;
            assert_true(classes & 1u << fb_site_class(fb_trace_site(t, e->site)));
            assert_int_equal(fb_trace_get_step(t, e->step, &s, NULL), FB_OK);
            assert_int_equal(s.classes, classes);
        }
        fb_trace_close(t);
    }
    drop_folder(&folder);
}

static void levels_of_the_future_are_refused(void **state)
{
    const fb_recorder_options options = {.size = sizeof options, .level = (fb_level)6};
    test_folder folder;
    fb_recorder *r;
    fb_error err;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, &options, &err), FB_E_USAGE);
    assert_null(r);
    assert_non_null(strstr(err.text, "level"));
    assert_int_equal(access(folder.file, F_OK), -1);
    drop_folder(&folder);
}

/* The mark that ends an engine's run comes after the end of its last step. */
static void a_note_may_come_after_its_step(void **state)
{
    test_folder folder;
    fb_recorder *r;
    const fb_observer *o;
    const fb_event *e, mark = {.size = sizeof mark,
                               .site = SITE_MARK,
                               .step = 2,
                               .micro = FB_MICRO_NONE,
                               .text = "late"};
    uint64_t random = 1, events = 0;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    assert_int_equal(fb_recorder_open(&r, folder.file, NULL, NULL), FB_OK);
    o = fb_recorder_observer(r);
    report_sites(o);
    report_steps(o, 0, 2, &random);
    assert_int_equal(o->on_event(o->self, &mark, NULL), FB_OK);
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    t = open_trace(folder.file);
    while (fb_trace_next(t, &e, NULL, NULL) == FB_OK && e != NULL)
        if (++events == fb_trace_get_info(t)->events)
            assert_string_equal(e->text, "late");
    assert_int_equal(events, fb_trace_get_info(t)->events);
    fb_trace_close(t);
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_every_kind_comes_back),
        cmocka_unit_test(any_step_tells_its_roots_and_chains),
        cmocka_unit_test(seeking_gives_the_events_from_a_step_on),
        cmocka_unit_test(lower_levels_record_their_classes_only),
        cmocka_unit_test(levels_of_the_future_are_refused),
        cmocka_unit_test(a_note_may_come_after_its_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
