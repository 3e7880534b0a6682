/* SPDX-License-Identifier: Apache-2.0
 *
 * test_overrides.c - every formula of the bank, planted: the diff names it, confirmed, and nothing
 * else; runs without one are never blamed. `test_overrides all` plants all entries, otherwise every
 * eleventh.
 */
#include "recorded_run.h"
#include "tests/sanitized.h"

#include "diff/diff.h"
#include "engine/override/override.h"

/* What the bank is planted in: an entry takes the first that it changes. */
static const struct {
    const char *config;
    fb_config_set sets[4];
} places[] = {
    {SMALL_GPT, {{NULL, NULL}}},
    {SMALL_GPT, {{"optimizer", "{\"adam\": {\"lr\": 0.01, \"weight_decay\": 0.1}}"}}},
    {SMALL_MLP,
     {{"optimizer", "{\"sgd\": {\"lr\": 0.1, \"momentum\": 0.9, \"weight_decay\": 0.1}}"},
      {"clip", "0.5"},
      {"batch", "{\"size\": 4, \"micro\": 2}"},
      {"schedule", "{\"cosine\": {\"warmup\": 2, \"total\": 12}}"}}},
    {SMALL_MLP, {{"optimizer", "{\"sgd\": {\"lr\": 0.1, \"momentum\": 0.9, \"dampening\": 0.5}}"}}},
    {SMALL_MLP, {{"optimizer", "{\"sgd\": {\"lr\": 0.1, \"momentum\": 0.9, \"nesterov\": true}}"}}},
    {SMALL_MLP, {{"model[2]", "{\"name\": \"act\", \"relu\": {}}"}}},
    {SMALL_MLP, {{"model[2]", "{\"name\": \"act\", \"tanh\": {}}"}}},
    {SMALL_MLP, {{"model[2]", "{\"name\": \"act\", \"sigmoid\": {}}"}}},
    {SMALL_MLP, {{"model[2]", "{\"name\": \"act\", \"gelu\": {\"approximate\": \"tanh\"}}"}}},
};

static size_t set_count(size_t place)
{
    size_t n = 0;

    while (n < 4 && places[place].sets[n].path != NULL)
        n++;
    return n;
}

static recording how_of(size_t place, const fb_override_use *use)
{
    return (recording){.config = places[place].config,
                       .sets = places[place].sets,
                       .set_count = set_count(place),
                       .override = use};
}

/* Whether the place has what the override changes. */
static bool fits(const test_folder *folder, size_t place, const fb_override_use *use)
{
    const fb_run_options options = {
        .size = sizeof options, .threads = 1, .folder = folder->path, .override = use};
    fb_config config;
    fb_run *run = NULL;
    fb_error err;
    bool fits;

    assert_ok(fb_config_parse(&config, places[place].config, "test", places[place].sets,
                              set_count(place), &err));
    fits = fb_run_create(&run, &config, &options, &err) == FB_OK;
    fb_run_destroy(run);
    fb_config_free(&config);
    return fits;
}

/* --- Every entry ------------------------------------------------------------------------------ */

typedef struct bench {
    test_folder folder;
    char clean[COUNT_OF(places)][192];
    size_t planted, silent;
} bench;

static bench make_bench(void)
{
    bench b = {.folder = make_folder()};

    for (size_t p = 0; p < COUNT_OF(places); p++) {
        const recording how = how_of(p, NULL);
        char name[32];

        (void)snprintf(name, sizeof name, "clean%zu.fbt", p);
        (void)snprintf(b.clean[p], sizeof b.clean[p], "%s", record(&b.folder, name, &how));
    }
    return b;
}

static fb_diff_report compare(const char *a, const char *b)
{
    const fb_diff_options options = {.size = sizeof options, .no_stacks = true};
    fb_diff_report r;
    fb_error err;

    assert_ok(fb_diff(&r, a, b, &options, &err));
    return r;
}

/* The cause of the entry, confirmed, and its name in the text: alone, or beside others that make
 * the same run. */
static void expect_named(const fb_diff_report *r, const fb_override_use *use, bool in_a)
{
    if (!r->has_cause || !r->cause.confirmed || strcmp(r->cause.name, use->what->cause) != 0 ||
        strstr(r->cause.text, use->what->name) == NULL ||
        strncmp(r->cause.text, in_a ? "in a " : "in b ", 5) != 0)
        fail_msg("%s: cause %s (%s): %s", use->what->name, r->has_cause ? r->cause.name : "none",
                 r->has_cause && r->cause.confirmed ? "confirmed" : "likely",
                 r->has_cause ? r->cause.text : "");
    if ((use->what->phases & 1u << r->first.name.phase) == 0)
        fail_msg("%s: parts in phase %s", use->what->name, fb_phase_name(r->first.name.phase));
}

/* Plants an entry in the first place that it changes; nowhere: it is one that says what the
 * configurations say already, or one of a run that goes on from a checkpoint. */
static void plant(bench *b, size_t index)
{
    fb_override_use use = {.what = fb_override_at(index)};
    const bool in_a = index % 2 == 0;
    bool done = false;

    if (use.what->takes_number)
        use.number = strstr(use.what->name, "seed") != NULL ? 1234 : 3;
    for (size_t p = 0; p < COUNT_OF(places) && !done; p++) {
        const recording how = how_of(p, &use);
        fb_diff_report r;
        const char *bad;

        if (!fits(&b->folder, p, &use))
            continue;
        bad = record(&b->folder, "bad.fbt", &how);
        r = in_a ? compare(bad, b->clean[p]) : compare(b->clean[p], bad);
        done = r.verdict == FB_DIFF_DIFFER;
        if (done)
            expect_named(&r, &use, in_a);
        else
            assert_int_equal(r.verdict, FB_DIFF_SAME);
        fb_diff_report_free(&r);
    }
    b->planted += done;
    b->silent += !done;
}

static size_t stride = 11 * EVERY;

static void every_override_is_named_and_confirmed(void **context)
{
    bench b = make_bench();

    (void)context;
    for (size_t i = 0; i < fb_override_count(); i += stride)
        plant(&b, i);
    if (stride == 1) {
        printf("%zu entries: %zu planted and named, %zu without effect here\n", fb_override_count(),
               b.planted, b.silent);
        assert_true(b.silent <= 16);
    }
    drop_folder(&b.folder);
}

static void the_optimizer_bank_has_64_entries_and_names_are_unique(void **context)
{
    size_t optimizers = 0;

    (void)context;
    for (size_t i = 0; i < fb_override_count(); i++) {
        const fb_override *o = fb_override_at(i);

        optimizers += strcmp(o->cause, "optimizer-formula") == 0;
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(o->name, fb_override_at(j)->name);
        assert_true(o->phases != 0 && o->words[0] != '\0');
    }
    assert_true(optimizers >= 64);
}

/* docs/overrides.md has one row an entry. */
static void the_document_lists_every_override(void **context)
{
    FILE *file = fopen(FB_SOURCE_DIR "/docs/overrides.md", "r");
    char line[512], want[512];
    size_t i = 0;

    (void)context;
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        const fb_override *o;

        if (strncmp(line, "| `", 3) != 0)
            continue;
        assert_true(i < fb_override_count());
        o = fb_override_at(i++);
        (void)snprintf(want, sizeof want, "| `%s%s%s` | %s | %s |\n", o->name,
                       o->takes_number ? "=N" : "", o->takes_path ? "[@LAYER]" : "", o->cause,
                       o->words);
        assert_string_equal(line, want);
    }
    assert_int_equal(i, fb_override_count());
    (void)fclose(file);
}

/* --- In one layer, by one number -------------------------------------------------------------- */

static void an_override_of_one_layer_is_found_there(void **context)
{
    const test_folder folder = make_folder();
    const recording clean = {.steps = 2};
    fb_override_use use;
    fb_diff_report r;
    fb_error err;

    (void)context;
    assert_ok(fb_override_parse(&use, "cast-bf16@h.1.mlp.fc", &err));
    const recording how = {.steps = 2, .override = &use};
    r = compare(record(&folder, "a.fbt", &clean), record(&folder, "b.fbt", &how));
    expect_named(&r, &use, false);
    assert_string_equal(r.first.name.path, "h.1.mlp.fc");
    assert_non_null(strstr(r.cause.text, "cast-bf16@h.1.mlp.fc"));
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

static void a_wrong_name_number_or_path_is_refused(void **context)
{
    static const char *const wrong[] = {
        "",
        "adam",
        "adam-eps-inside-root=3",
        "shuffle-seed",
        "shuffle-seed=x",
        "shuffle-seed=",
        "adam-eps-inside-root@h.0",
        "cast-bf16@",
        "shuffle-seed=99999999999999999999",
    };
    fb_override_use use;
    fb_error err;

    (void)context;
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        if (fb_override_parse(&use, wrong[i], &err) != FB_E_USAGE)
            fail_msg("\"%s\" is taken", wrong[i]);
}

/* --- Neutral entries: the scalar update is the kernels' --------------------------------------- */

static void a_rule_that_changes_nothing_gives_the_kernels_bits(void **context)
{
    static const struct {
        const char *name;
        size_t place;
    } neutral[] = {{"adam-eps-1e-8", 0},       {"adam-eps-1e-8", 1},   {"sgd-frozen-norms", 2},
                   {"sgd-frozen-norms", 3},    {"sgd-unclipped", 4},   {"layernorm-eps-1e-5", 0},
                   {"resume-step-counter", 0}, {"resume-schedule", 2}, {"resume-sampler", 0}};
    const test_folder folder = make_folder();

    (void)context;
    for (size_t i = 0; i < COUNT_OF(neutral); i++) {
        fb_override_use use;
        fb_diff_report r;
        fb_error err;

        assert_ok(fb_override_parse(&use, neutral[i].name, &err));
        const recording clean = how_of(neutral[i].place, NULL);
        const recording how = how_of(neutral[i].place, &use);
        r = compare(record(&folder, "a.fbt", &clean), record(&folder, "b.fbt", &how));
        if (r.verdict != FB_DIFF_SAME)
            fail_msg("%s: %s", neutral[i].name, fb_diff_verdict_name(r.verdict));
        fb_diff_report_free(&r);
    }
    drop_folder(&folder);
}

/* --- What a checkpoint lacks ------------------------------------------------------------------ */

static void what_a_checkpoint_does_not_bring_back_is_named(void **context)
{
    static const char *const missing[] = {"resume-moments",      "resume-step-counter",
                                          "resume-optimizer",    "resume-schedule",
                                          "resume-random-state", "resume-sampler"};
    const test_folder folder = make_folder();
    const recording how = {.checkpoints = true};
    char clean[192], checkpoint[192];
    fb_diff_report r;

    (void)context;
    (void)snprintf(clean, sizeof clean, "%s", record(&folder, "whole.fbt", &how));
    (void)snprintf(checkpoint, sizeof checkpoint, "%s/whole.ckpt/step-00000003.safetensors",
                   folder.path);
    r = compare(clean, record_resumed(&folder, "x.fbt", checkpoint, 3, NULL));
    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
    for (size_t i = 0; i < COUNT_OF(missing); i++) {
        fb_override_use use;
        fb_error err;

        assert_ok(fb_override_parse(&use, missing[i], &err));
        r = compare(clean, record_resumed_as(&folder, "x.fbt", checkpoint, 3, NULL, &use, NULL, 0));
        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        expect_named(&r, &use, false);
        fb_diff_report_free(&r);
    }
    drop_folder(&folder);
}

/* --- Draws ------------------------------------------------------------------------------------ */

static void any_number_of_extra_draws_is_confirmed(void **context)
{
    const test_folder folder = make_folder();
    const recording clean = {.steps = 4};
    const char *good = record(&folder, "a.fbt", &clean);

    (void)context;
    for (int i = 0; i < 6; i++) {
        const fb_fault draw = {.kind = FB_FAULT_DRAW,
                               .step = i % 3 == 2 ? 1 : 3,
                               .stream = "h.0.mlp.drop",
                               .count = i % 3 == 0 ? 1 : 7,
                               .silent = i >= 3};
        const recording how = {.steps = 4, .faults = &draw, .fault_count = 1};
        fb_diff_report r = compare(good, record(&folder, "b.fbt", &how));

        if (!r.has_cause || strcmp(r.cause.name, "rng-offset") != 0 || !r.cause.confirmed)
            fail_msg("draw %d: %s", i, r.has_cause ? r.cause.text : "no cause");
        assert_int_equal(r.first.name.step, draw.step);
        fb_diff_report_free(&r);
    }
    drop_folder(&folder);
}

/* --- Neighbours ------------------------------------------------------------------------------- */

/* What the bank cannot make stays what it is: two flipped bits are no formula. */
static void no_formula_is_blamed_for_damage(void **context)
{
    const test_folder folder = make_folder();
    const recording clean = {.steps = 2};
    fb_fault flips[2] = {{.kind = FB_FAULT_FLIP,
                          .step = 2,
                          .path = "h.0.mlp.fc.weight",
                          .slot = "param",
                          .element = 3,
                          .bit = 9},
                         {.kind = FB_FAULT_FLIP,
                          .step = 2,
                          .path = "h.0.mlp.fc.weight",
                          .slot = "param",
                          .element = 5,
                          .bit = 9}};
    const recording how = {.steps = 2, .faults = flips, .fault_count = 2};
    fb_diff_report r = compare(record(&folder, "a.fbt", &clean), record(&folder, "b.fbt", &how));

    (void)context;
    assert_string_equal(r.cause.name, "nondeterminism");
    fb_diff_report_free(&r);
    drop_folder(&folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_override_is_named_and_confirmed),
        cmocka_unit_test(the_optimizer_bank_has_64_entries_and_names_are_unique),
        cmocka_unit_test(the_document_lists_every_override),
        cmocka_unit_test(an_override_of_one_layer_is_found_there),
        cmocka_unit_test(a_wrong_name_number_or_path_is_refused),
        cmocka_unit_test(a_rule_that_changes_nothing_gives_the_kernels_bits),
        cmocka_unit_test(what_a_checkpoint_does_not_bring_back_is_named),
        cmocka_unit_test(any_number_of_extra_draws_is_confirmed),
        cmocka_unit_test(no_formula_is_blamed_for_damage),
    };

    if (argc == 2 && strcmp(argv[1], "all") == 0)
        stride = 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
