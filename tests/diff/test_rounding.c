/* SPDX-License-Identifier: Apache-2.0
 *
 * test_rounding.c - the rounding rules on runs of the engine: noise is told from a fault, an
 * envelope is what it says, and names are mapped as asked. Across frameworks: tests/cross.
 */
#include "recorded_run.h"
#include "tests/sanitized.h"

#include <math.h>

#include "diff/diff.h"
#include "diff/align/map_file.h"
#include "diff/rounding/noise.h"
#include "diff/report/picture.h"

static fb_diff_report compare(const char *a, const char *b, fb_diff_options options)
{
    fb_diff_report r;
    fb_error err;

    options.size = sizeof options;
    options.no_stacks = true;
    options.rounding = !options.bitwise;
    assert_ok(fb_diff(&r, a, b, &options, &err));
    return r;
}

static const char *record_with_noise(const test_folder *folder, const char *of, uint64_t seed)
{
    const fb_noise_options how = {.size = sizeof how};
    const char *path = in_folder(folder, "noisy.fbt");
    fb_error err;

    assert_ok(fb__record_again(path, of, seed, 0, &how, &err));
    return path;
}

/* --- Rounding --------------------------------------------------------------------------------- */

static void a_run_under_noise_is_rounding_and_bit_for_bit_it_differs(void **state)
{
    const test_folder folder = make_folder();
    const recording how = {.level = FB_LEVEL_SKETCH};
    char a[160];

    (void)state;
    (void)snprintf(a, sizeof a, "%s", record(&folder, "a.fbt", &how));
    for (uint64_t seed = 100; seed < 104; seed += EVERY) {
        const char *b = record_with_noise(&folder, a, seed);
        fb_diff_report r = compare(a, b, (fb_diff_options){0});

        assert_int_equal(r.verdict, FB_DIFF_ROUNDING);
        assert_true(r.rounding.largest > 0.1 && r.rounding.largest < 5);
        assert_int_equal(r.rounding.params_paired, r.rounding.params);
        assert_int_equal(r.rounding.boundaries_paired, r.rounding.boundaries);
        fb_diff_report_free(&r);
        r = compare(a, b, (fb_diff_options){.bitwise = true});
        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        fb_diff_report_free(&r);
    }
    drop_folder(&folder);
}

static void without_noise_a_run_made_again_is_the_run_and_the_same(void **state)
{
    const test_folder folder = make_folder();
    const recording how = {.level = FB_LEVEL_OPS};
    char a[160];

    (void)state;
    (void)snprintf(a, sizeof a, "%s", record(&folder, "a.fbt", &how));
    fb_diff_report r = compare(a, record_with_noise(&folder, a, 0), (fb_diff_options){0});

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    assert_int_equal(r.rounding.compared, r.rounding.equal);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

/* A factor of 2^-9 in one element of one gradient is far below any usual tolerance. */
static void a_fault_in_a_run_is_found_where_it_is(void **state)
{
    static const struct {
        const char *path, *slot;
        uint32_t bit;
    } faults[] = {{"h.1.mlp.fc", "out", 22},
                  {"h.0.mlp.fc", "grad", 24},
                  {"h.0.mlp.proj.weight", "grad", 24},
                  {"h.1.attn.ln.weight", "param", 20}};
    const test_folder folder = make_folder();
    const recording clean = {.level = FB_LEVEL_SKETCH};
    char a[160], b[160];

    (void)state;
    (void)snprintf(a, sizeof a, "%s", record(&folder, "a.fbt", &clean));
    for (size_t i = 0; i < COUNT_OF(faults); i++) {
        fb_fault fault = {.kind = FB_FAULT_FLIP, .step = 3, .element = 5, .bit = faults[i].bit};
        const recording how = {.level = FB_LEVEL_SKETCH, .faults = &fault, .fault_count = 1};

        (void)snprintf(fault.path, sizeof fault.path, "%s", faults[i].path);
        (void)snprintf(fault.slot, sizeof fault.slot, "%s", faults[i].slot);
        (void)snprintf(b, sizeof b, "%s", record(&folder, "b.fbt", &how));
        fb_diff_report r = compare(a, b, (fb_diff_options){0});

        if (r.verdict != FB_DIFF_DIFFER)
            fail_msg("%s %s: %s", faults[i].path, faults[i].slot, fb_diff_verdict_name(r.verdict));
        assert_int_equal(r.first.name.step, 3);
        assert_string_equal(r.first.name.path, faults[i].path);
        assert_string_equal(r.first.name.slot, faults[i].slot);
        assert_true(r.has_cause && r.rounding.has_size && r.rounding.ratio > 10);
        fb_diff_report_free(&r);
    }
    drop_folder(&folder);
}

/* Query 0 sees one key only, so its gradient is 0; what a flipped bit makes of that no sum feels.
 */
static void a_flipped_bit_that_no_sketch_shows_is_found_by_replay(void **state)
{
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 3,
                            .path = "h.0.attn.core.qkv",
                            .slot = "grad",
                            .element = 5,
                            .bit = 24};
    const test_folder folder = make_folder();
    const recording clean = {.level = FB_LEVEL_SKETCH};
    const recording how = {.level = FB_LEVEL_SKETCH, .faults = &fault, .fault_count = 1};
    char a[160], b[160];

    (void)state;
    (void)snprintf(a, sizeof a, "%s", record(&folder, "a.fbt", &clean));
    (void)snprintf(b, sizeof b, "%s", record(&folder, "b.fbt", &how));
    fb_diff_report r = compare(a, b, (fb_diff_options){0});

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_string_equal(r.first.name.path, "h.0.attn.core.qkv");
    assert_string_equal(r.cause.name, "bit-flip");
    assert_true(r.cause.confirmed);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void a_page_says_what_was_paired_and_how_it_grows(void **state)
{
    const test_folder folder = make_folder();
    const recording how = {.level = FB_LEVEL_SKETCH};
    char a[160], *page, *text;

    (void)state;
    (void)snprintf(a, sizeof a, "%s", record(&folder, "a.fbt", &how));
    fb_diff_report r = compare(a, record_with_noise(&folder, a, 3), (fb_diff_options){0});

    page = fb_diff_report_html(&r, NULL);
    text = fb_diff_report_text(&r);
    assert_non_null(strstr(page, "Within rounding through step 8"));
    assert_non_null(strstr(page, "Rounding or real"));
    assert_non_null(strstr(page, "growth by step"));
    assert_non_null(strstr(text, "WITHIN ROUNDING through step 8"));
    free(page);
    free(text);
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void where_nothing_can_be_compared_nothing_is_called_the_same(void **state)
{
    const test_folder folder = make_folder();
    const recording how = {.level = FB_LEVEL_OPS};
    const fb_config_set seed = {"seed", "43"};
    const recording other = {.level = FB_LEVEL_OPS, .sets = &seed, .set_count = 1};
    char a[160], b[160];

    (void)state;
    (void)snprintf(a, sizeof a, "%s", record(&folder, "a.fbt", &how));
    (void)snprintf(b, sizeof b, "%s", record(&folder, "b.fbt", &other));
    fb_diff_report r = compare(a, b, (fb_diff_options){.no_replay = true});

    assert_true(r.verdict == FB_DIFF_UNDECIDABLE || r.verdict == FB_DIFF_DIFFER);
    fb_diff_report_free(&r);
    r = compare(a, b, (fb_diff_options){0}); /* made again with sketches */
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_string_equal(r.cause.name, "init");
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

/* --- Envelopes -------------------------------------------------------------------------------- */

static void an_envelope_has_a_small_distance_for_every_tensor_of_the_run(void **state)
{
    const test_folder folder = make_folder();
    const recording how = {.level = FB_LEVEL_SKETCH};
    const char *path = in_folder(&folder, "envelope.fbt");
    const fb_noise_options options = {.size = sizeof options, .repeats = 2, .to = 3};
    uint64_t scalars = 0, moved = 0;
    fb_trace *t;
    const fb_event *e;
    fb_error err;
    char a[160];

    (void)state;
    (void)snprintf(a, sizeof a, "%s", record(&folder, "a.fbt", &how));
    assert_ok(fb_noise(path, a, &options, &err));
    assert_ok(fb_trace_open(&t, path, &err));
    assert_true(fb__is_envelope(t));
    assert_int_equal(fb_trace_get_info(t)->last_step, 3);
    for (;;) {
        assert_ok(fb_trace_next(t, &e, NULL, &err));
        if (e == NULL)
            break;
        assert_int_equal(fb_trace_site(t, e->site)->kind, FB_KIND_SCALAR);
        assert_true(e->value >= 0 && e->value < 1);
        scalars++;
        moved += e->value > 0;
    }
    assert_true(scalars > 300 && moved > scalars / 2);
    fb_trace_close(t);

    const char *const noise[] = {path};
    fb_diff_report r = compare(a, record_with_noise(&folder, a, 9),
                               (fb_diff_options){.noise = noise, .noise_count = 1, .prefix = true});
    assert_int_equal(r.verdict, FB_DIFF_ROUNDING);
    assert_int_equal(r.equal_through, 3); /* the envelope ends there */
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void noise_changes_no_draw_and_no_sample(void **state)
{
    const test_folder folder = make_folder();
    const recording how = {.level = FB_LEVEL_SKETCH};
    fb_trace *a, *b;
    fb_trace_step x, y;
    fb_error err;
    char path[160];

    (void)state;
    (void)snprintf(path, sizeof path, "%s", record(&folder, "a.fbt", &how));
    assert_ok(fb_trace_open(&a, path, &err));
    assert_ok(fb_trace_open(&b, record_with_noise(&folder, path, 5), &err));
    assert_ok(fb_trace_get_step(a, 8, &x, &err));
    assert_ok(fb_trace_get_step(b, 8, &y, &err));
    assert_memory_equal(&x.chain[FB_CLASS_DATA], &y.chain[FB_CLASS_DATA], sizeof(fb_hash));
    assert_memory_not_equal(&x.chain[FB_CLASS_OPS], &y.chain[FB_CLASS_OPS], sizeof(fb_hash));
    fb_trace_close(a);
    fb_trace_close(b);
    drop_folder(&folder);
}

/* --- Maps ------------------------------------------------------------------------------------- */

static void the_first_line_that_matches_a_whole_path_maps_it(void **state)
{
    static const char text[] = "# names of a -> names of b\n\n"
                               "h\\.([0-9]+)\\.mlp\\.fc\\.(.*) -> block\\1.c_fc.\\2\n"
                               "h\\..* -> \\1rest\n";
    const test_folder folder = make_folder();
    const char *path = in_folder(&folder, "map.txt");
    char out[FB_NAME_MAX + 1];
    fb__map *map;
    fb_error err;

    (void)state;
    write_file(path, text, sizeof text - 1);
    assert_ok(fb__map_read(&map, path, &err));
    assert_true(fb__map_apply(out, map, "h.12.mlp.fc.weight"));
    assert_string_equal(out, "block12.c_fc.weight");
    assert_true(fb__map_apply(out, map, "h.1"));
    assert_string_equal(out, "rest"); /* a group that is not there is empty */
    assert_false(fb__map_apply(out, map, "x.h.12.mlp.fc.weight"));
    fb__map_free(map);
    drop_folder(&folder);
}

static void a_line_that_is_no_rule_is_refused_by_its_number(void **state)
{
    static const char *const texts[] = {"a -> b\nno arrow\n", "a -> b\n( -> c\n"};
    const test_folder folder = make_folder();
    const char *path = in_folder(&folder, "map.txt");
    fb__map *map;
    fb_error err;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        write_file(path, texts[i], strlen(texts[i]));
        assert_int_equal(fb__map_read(&map, path, &err), FB_E_FORMAT);
        assert_non_null(strstr(err.text, "line 2"));
        assert_null(map);
    }
    assert_int_equal(fb__map_read(&map, in_folder(&folder, "none"), &err), FB_E_NOT_FOUND);
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_under_noise_is_rounding_and_bit_for_bit_it_differs),
        cmocka_unit_test(without_noise_a_run_made_again_is_the_run_and_the_same),
        cmocka_unit_test(a_fault_in_a_run_is_found_where_it_is),
        cmocka_unit_test(a_flipped_bit_that_no_sketch_shows_is_found_by_replay),
        cmocka_unit_test(a_page_says_what_was_paired_and_how_it_grows),
        cmocka_unit_test(where_nothing_can_be_compared_nothing_is_called_the_same),
        cmocka_unit_test(an_envelope_has_a_small_distance_for_every_tensor_of_the_run),
        cmocka_unit_test(noise_changes_no_draw_and_no_sample),
        cmocka_unit_test(the_first_line_that_matches_a_whole_path_maps_it),
        cmocka_unit_test(a_line_that_is_no_rule_is_refused_by_its_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
