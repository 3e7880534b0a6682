/* SPDX-License-Identifier: Apache-2.0
 *
 * test_diff_incomplete.c - what diff says of pairs of whole runs of which one is shorter, cut,
 * damaged, recorded at a lower level, or of another model.
 */
#include "run_pairs.h"
#include "tests/sanitized.h"

static void a_shorter_trace_is_undecidable_and_a_prefix_where_asked(void **state)
{
    const recording how = {.steps = 5};
    const fixture *f = *state;
    const char *shorter = record(&f->folder, "x.fbt", &how);
    fb_diff_report r = compare(f->clean, shorter);

    assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
    assert_true(r.has_equal_through);
    assert_int_equal(r.equal_through, 5);
    assert_non_null(r.why);
    fb_diff_report_free(&r);
    r = compare_with(shorter, f->clean, (fb_diff_options){.prefix = true});
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void every_cut_of_a_trace_is_equal_to_its_end(void **state)
{
    const fixture *f = *state;
    const char *torn = in_folder(&f->folder, "torn.fbt");
    int opened = 0;

    for (long off = 1; off < 40000; off += 797) {
        const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
        fb_diff_report r;
        fb_error err;
        FILE *file = fopen(f->clean, "rb");
        long size;

        assert_non_null(file);
        fseek(file, 0, SEEK_END);
        size = ftell(file);
        fclose(file);
        if (off >= size)
            break;
        cut_file(f->clean, torn, off);
        if (fb_diff(&r, f->clean, torn, &options, &err) != FB_OK)
            continue; /* the header itself is cut */
        opened++;
        if (r.verdict != FB_DIFF_UNDECIDABLE && r.verdict != FB_DIFF_SAME)
            fail_msg("%ld bytes off: %s", off, fb_diff_verdict_name(r.verdict));
        if (r.verdict == FB_DIFF_SAME) /* only the index behind the last event was lost */
            assert_int_equal(r.status_b, FB_TRACE_COMPLETE);
        fb_diff_report_free(&r);
    }
    assert_true(opened > 3);
}

/* Whether two traces hold the same events, read one by one. */
static bool has_same_events(const char *a, const char *b)
{
    fb_trace *traces[2];
    const fb_event *events[2];
    bool same = true;
    fb_error err;

    assert_ok(fb_trace_open(&traces[0], a, &err));
    assert_ok(fb_trace_open(&traces[1], b, &err));
    do {
        assert_ok(fb_trace_next(traces[0], &events[0], NULL, &err));
        if (fb_trace_next(traces[1], &events[1], NULL, &err) != FB_OK ||
            (events[0] == NULL) != (events[1] == NULL))
            same = false;
        else if (events[0] != NULL)
            same = events[0]->step == events[1]->step && events[0]->micro == events[1]->micro &&
                   fb_hash_equal(events[0]->hash, events[1]->hash) &&
                   events[0]->value == events[1]->value;
    } while (same && events[0] != NULL);
    fb_trace_close(traces[0]);
    fb_trace_close(traces[1]);
    return same;
}

static void a_damaged_trace_is_never_the_same_unless_the_damage_is_in_padding(void **state)
{
    const fixture *f = *state;
    const char *damaged = in_folder(&f->folder, "damaged.fbt");
    long size, same = 0, refused = 0;
    uint8_t *bytes = read_file(f->clean, &size);

    for (long at = 0; at < size; at += 89 * EVERY) {
        const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
        const uint8_t bit = (uint8_t)(1u << at % 8);
        fb_diff_report r;
        fb_error err;

        bytes[at] ^= bit;
        write_file(damaged, bytes, (size_t)size);
        bytes[at] ^= bit;
        if (fb_diff(&r, f->clean, damaged, &options, &err) != FB_OK) {
            refused++;
            continue;
        }
        same += r.verdict == FB_DIFF_SAME;
        if (r.verdict == FB_DIFF_DIFFER ||
            (r.verdict == FB_DIFF_SAME && !has_same_events(f->clean, damaged)))
            fail_msg("byte %ld: %s", at, fb_diff_verdict_name(r.verdict));
        fb_diff_report_free(&r);
    }
    assert_true(refused > same);
    free(bytes);
}

static void lower_levels_compare_what_both_have(void **state)
{
    static const fb_level levels[] = {FB_LEVEL_STEPS, FB_LEVEL_DRAWS, FB_LEVEL_OPS};
    const fixture *f = *state;
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 3,
                            .path = "embedding",
                            .slot = "out",
                            .element = 3,
                            .bit = 30};

    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        const recording low = {.level = levels[i]};
        const recording bad = {.level = levels[i], .faults = &fault, .fault_count = 1};
        fb_diff_report r;

        assert_same(fb_level_name(levels[i]), f->clean, record(&f->folder, "low.fbt", &low));
        r = compare(f->clean, record(&f->folder, "bad.fbt", &bad));
        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        assert_int_equal(r.first.name.step, 3);
        if (levels[i] == FB_LEVEL_OPS)
            assert_string_equal(r.first.name.path, "embedding");
        else
            assert_int_equal(r.first.name.kind, FB_KIND_SCALAR); /* what a loss shows of it */
        fb_diff_report_free(&r);
    }
}

static void a_file_that_is_no_trace_is_refused(void **state)
{
    const fixture *f = *state;
    fb_diff_report r;
    fb_error err;

    assert_int_equal(fb_diff(&r, f->clean, in_folder(&f->folder, "text.txt"), NULL, &err),
                     FB_E_FORMAT);
    assert_int_equal(fb_diff(&r, in_folder(&f->folder, "absent.fbt"), f->clean, NULL, &err),
                     FB_E_NOT_FOUND);
    assert_int_equal(fb_diff(&r, f->folder.path, f->clean, NULL, &err), FB_E_FORMAT);
}

static void runs_of_different_models_are_never_the_same(void **state)
{
    const fixture *f = *state;
    const recording how = {.config = SMALL_MLP};
    fb_diff_report r = compare(f->clean, record(&f->folder, "x.fbt", &how));

    assert_true(r.verdict == FB_DIFF_DIFFER || r.verdict == FB_DIFF_UNDECIDABLE);
    fb_diff_report_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shorter_trace_is_undecidable_and_a_prefix_where_asked),
        cmocka_unit_test(every_cut_of_a_trace_is_equal_to_its_end),
        cmocka_unit_test(a_damaged_trace_is_never_the_same_unless_the_damage_is_in_padding),
        cmocka_unit_test(lower_levels_compare_what_both_have),
        cmocka_unit_test(a_file_that_is_no_trace_is_refused),
        cmocka_unit_test(runs_of_different_models_are_never_the_same),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
