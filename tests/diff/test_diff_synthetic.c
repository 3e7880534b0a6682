/* SPDX-License-Identifier: Apache-2.0
 *
 * test_diff_synthetic.c - what diff says of traces that a program records by itself: alignment,
 * blame by data flow, causes from signatures, notes, torn ends, and how little it reads.
 */
#include "recorded_run.h"

#include "base/hash.h"
#include "diff/diff.h"

/* --- A made-up program ------------------------------------------------------------------------ */

/* What is different in one of the two runs. All zeros: nothing. */
typedef struct twist {
    uint64_t step; /* where it happens; the run has steps 0 .. steps */
    bool extra_draw, extra_draw_of_other_stream, swap_samples, other_contents, eval_mode, other_lr;
    bool extra_call, extra_call_of_same, extra_view, other_input, other_weight, missing_gradient,
        logged_tensor, reordered, wrapped, other_names, throughput;
    const char *wrong; /* a tensor whose value is another one: "fc", "fc.grad", "fc.weight", ... */
    uint64_t steps;    /* 0: 6 */
    uint64_t width;    /* further tensors a step */
    bool no_events;
    bool other_state;   /* of the generator, from `step` on */
    const char *header; /* of the trace; NULL: none */
} twist;

typedef struct program {
    fb_recorder *recorder;
    const twist *t;
    uint64_t step, position; /* of the default generator: it keeps it from step to step */
    uint64_t call;           /* tells the calls of one site apart */
    bool moved;              /* what follows in this step is computed from other numbers */
    fb_ref extra;
    fb_ref weights[2]; /* of the step before */
    uint32_t weight_count;
} program;

static bool now(const program *p, bool what)
{
    return what && p->step == p->t->step;
}

static const char *named(const program *p, const char *path)
{
    static char text[4][64];
    static int next;
    char *out = text[next++ % 4];

    (void)snprintf(out, sizeof text[0], "%s%s",
                   p->t->wrapped       ? "module."
                   : p->t->other_names ? "elsewhere."
                                       : "",
                   path);
    return out;
}

static fb_ref tensor(const program *p, fb_kind kind, fb_phase phase, const char *path,
                     const char *op, const char *slot, const fb_ref *inputs, uint32_t count)
{
    const uint64_t shape[2] = {2, 4};
    char key[96];
    float data[8];
    uint64_t state;
    bool wrong;

    (void)snprintf(key, sizeof key, "%s%s%s", path, strcmp(slot, "out") == 0 ? "" : ".",
                   strcmp(slot, "out") == 0 ? "" : slot);
    wrong = p->t->wrong != NULL && p->step == p->t->step && strcmp(p->t->wrong, key) == 0;
    state = fb_hash_name(key) + p->step * 1000 + p->call * 100 + wrong + (p->moved ? 50 : 0);
    for (int i = 0; i < 8; i++)
        data[i] = (float)(next_random(&state) % 1000) / 8;
    return fb_recorder_tensor(p->recorder, kind, phase, named(p, path), op, slot, FB_DTYPE_F32, 2,
                              shape, data, inputs, count);
}

static void draw(program *p, const char *stream, uint64_t count, const char *consumer)
{
    const uint64_t key = p->t->other_state && p->step >= p->t->step ? 6 : 5;

    (void)fb_recorder_draw(p->recorder, FB_PHASE_FORWARD, stream, "mt19937", key, p->position,
                           count, "uniform", consumer, FB_DTYPE_NONE, NULL);
    if (strcmp(stream, "default") == 0)
        p->position += count;
}

static void samples(const program *p)
{
    uint64_t indices[4] = {p->step * 4, p->step * 4 + 1, p->step * 4 + 2, p->step * 4 + 3};
    char contents[16];

    if (now(p, p->t->swap_samples)) {
        indices[1] = p->step * 4 + 2;
        indices[2] = p->step * 4 + 3;
        indices[3] = p->step * 4 + 1;
    }
    (void)snprintf(contents, sizeof contents, "%d%d", (int)p->step,
                   now(p, p->t->other_contents || p->t->swap_samples));
    (void)fb_recorder_sample(p->recorder, "digits", FB_ROLE_TRAIN, 0, indices, 4, contents,
                             strlen(contents));
}

static void scalars(const program *p)
{
    (void)fb_recorder_scalar(p->recorder, FB_PHASE_SCHEDULE, "lr", "lr", FB_DTYPE_F64,
                             now(p, p->t->other_lr) ? 0.2 : 0.1);
}

static void shared_call(program *p, fb_ref *act)
{
    const uint64_t call = p->call;

    if (now(p, p->t->extra_call) && call == 2)
        *act = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "shared.new", "linear", "out", act, 1);
    if (now(p, p->t->extra_view) && call == 2)
        *act = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "shared.new", "clone", "out", act, 1);
    if (now(p, p->t->extra_call_of_same) && call == 2) {
        p->call = 7; /* read by the first gradient, not by the calls behind it */
        p->extra = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "shared", "linear", "out", act, 1);
        p->call = call;
    }
    p->moved |= call == 2 && now(p, p->t->extra_call);
    *act = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "shared", "linear", "out", act, 1);
}

static void step(program *p)
{
    const fb_ref x = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "ln", "layernorm", "out", NULL, 0);
    fb_ref fc, act, g, reads[2] = {x, {0, 0, 0}};

    if (p->weight_count == 2)
        reads[1] = p->weights[now(p, p->t->other_weight) ? 1 : 0];

    draw(p, "default", 10, "dropout");
    fc = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "fc", "linear", "out", reads,
                now(p, p->t->other_input) ? 0
                : p->weight_count == 2    ? 2
                                          : 1);
    if (now(p, p->t->reordered))
        scalars(p);
    act = tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "act", "gelu", "out", &fc, 1);
    for (p->call = 1; p->call <= 3; p->call++) /* one site called several times */
        shared_call(p, &act);
    p->call = 0;
    for (uint64_t i = 0; i < p->t->width; i++) {
        char path[32];

        (void)snprintf(path, sizeof path, "wide.%d", (int)i);
        (void)tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, path, "linear", "out", &act, 1);
    }
    if (now(p, p->t->logged_tensor))
        (void)tensor(p, FB_KIND_TENSOR, FB_PHASE_FORWARD, "logged", "mean", "out", &act, 1);
    if (now(p, p->t->extra_draw_of_other_stream))
        draw(p, "logging", 3, "logger");
    if (now(p, p->t->extra_call_of_same)) {
        act = p->extra;
        p->moved = true;
    }
    g = tensor(p, FB_KIND_TENSOR, FB_PHASE_BACKWARD, "fc.weight", "linear", "grad", &act, 1);
    if (!now(p, p->t->missing_gradient))
        (void)tensor(p, FB_KIND_TENSOR, FB_PHASE_BACKWARD, "fc.bias", "linear", "grad", &act, 1);
    if (!now(p, p->t->reordered))
        scalars(p);
    g = tensor(p, FB_KIND_TENSOR, FB_PHASE_OPTIMIZER, "fc.weight", "clip", "grad.clip", &g, 1);
    p->weights[0] =
        tensor(p, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "fc.weight", "sgd", "param", &g, 1);
    p->weights[1] =
        tensor(p, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, "fc2.weight", "sgd", "param", &g, 1);
    p->weight_count = 2;
    p->moved = false;
    if (p->t->throughput)
        fb_recorder_mark(p->recorder, "1000 samples/s");
    if (now(p, p->t->extra_draw))
        draw(p, "default", 2, "augmentation"); /* at the end: it moves the next step's draws */
}

static const char *play(const test_folder *folder, const char *name, const twist *t)
{
    const char *path = in_folder(folder, name);
    const fb_recorder_options options = {
        .size = sizeof options, .no_stacks = true, .header = t->header};
    program p = {.t = t};
    fb_error err;

    assert_ok(fb_recorder_open(&p.recorder, path, &options, &err));
    for (uint64_t s = 0; s <= (t->steps > 0 ? t->steps : 6) && !t->no_events; s++) {
        p.step = s;
        if (s > 0)
            fb_recorder_step(p.recorder, s);
        samples(&p);
        step(&p);
    }
    assert_ok(fb_recorder_close(p.recorder, &err));
    return path;
}

static fb_diff_report compare_with(const char *a, const char *b, fb_diff_options options)
{
    fb_diff_report r;
    fb_error err;

    options.size = sizeof options;
    options.no_stacks = true;
    assert_ok(fb_diff(&r, a, b, &options, &err));
    return r;
}

/* A plain run against a twisted one. */
static fb_diff_report compare(const test_folder *folder, const twist *t)
{
    const twist plain = {.steps = t->steps, .width = t->width};
    const char *a = play(folder, "a.fbt", &plain);

    return compare_with(a, play(folder, "b.fbt", t), (fb_diff_options){0});
}

static void assert_first(const fb_diff_report *r, uint64_t at, const char *path, const char *slot)
{
    char text[512];

    if (r->verdict != FB_DIFF_DIFFER || r->first.name.step != at ||
        strcmp(r->first.name.path, path) != 0 || strcmp(r->first.name.slot, slot) != 0)
        fail_msg("%s at %s; expected step %d, %s, %s", fb_diff_verdict_name(r->verdict),
                 r->has_first ? fb_event_name_text(text, sizeof text, &r->first.name) : "nothing",
                 (int)at, path, slot);
}

static void assert_likely(const fb_diff_report *r, const char *cause)
{
    if (!r->has_cause || strcmp(r->cause.name, cause) != 0 || r->cause.confirmed)
        fail_msg("cause %s (%s), expected %s, likely", r->has_cause ? r->cause.name : "none",
                 r->has_cause ? r->cause.text : "", cause);
}

/* --- Causes from the environment ---------------------------------------------------------------
 */

/* Threads change the order of a sum; a hash seed, a language, a kernel of the system do not. */
static void only_what_changes_sums_is_blamed_on_the_environment(void **state)
{
    static const struct {
        const char *a, *b, *wrong, *cause;
    } cases[] = {
        {"{\"environment\":{\"threads\":1}}", "{\"environment\":{\"threads\":2}}", "fc",
         "environment"},
        {"{\"environment\":{\"variables\":{\"PYTHONHASHSEED\":\"1\"}}}",
         "{\"environment\":{\"variables\":{\"PYTHONHASHSEED\":\"2\"}}}", "fc", "forward-op"},
        {"{\"environment\":{\"kernel\":\"5.1\"}}", "{\"environment\":{\"kernel\":\"6.1\"}}",
         "fc.bias.grad", "backward-op"},
        {"{\"environment\":{\"variables\":{\"LANG\":\"C\"},\"threads\":1}}",
         "{\"environment\":{\"variables\":{\"LANG\":\"D\"},\"threads\":2}}", "fc", "environment"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const twist plain = {.header = cases[i].a};
        const twist other = {.step = 3, .wrong = cases[i].wrong, .header = cases[i].b};
        const char *a = play(*state, "a.fbt", &plain);
        fb_diff_report r = compare_with(a, play(*state, "b.fbt", &other), (fb_diff_options){0});

        assert_likely(&r, cases[i].cause);
        fb_diff_report_free(&r);
    }
}

/* Versions of the engine that compute otherwise; with one fingerprint they do not. */
static void another_version_of_the_engine_is_code_unless_its_kernels_are_the_same(void **state)
{
#define ENGINE "{\"configuration\":{},\"contract\":1,\"environment\":{\"isa\":\"avx2\"},"
    static const struct {
        const char *b, *cause;
    } cases[] = {
        {ENGINE "\"fingerprint\":\"02\",\"version\":\"0.2\"}", "code"},
        {ENGINE "\"fingerprint\":\"01\",\"version\":\"0.2\"}", "forward-op"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const twist plain = {.header = ENGINE "\"fingerprint\":\"01\",\"version\":\"0.1\"}"};
        const twist other = {.step = 3, .wrong = "fc", .header = cases[i].b};
        const char *a = play(*state, "a.fbt", &plain);
        fb_diff_report r =
            compare_with(a, play(*state, "b.fbt", &other), (fb_diff_options){.no_replay = true});

        assert_first(&r, 3, "fc", "out");
        assert_likely(&r, cases[i].cause);
        fb_diff_report_free(&r);
    }
#undef ENGINE
}

/* The first draw of all finds the generator in another state: that is the seed. Later it is not. */
static void another_state_at_the_first_draw_is_a_seed(void **state)
{
    for (uint64_t at = 0; at < 3; at += 2) {
        const twist t = {.step = at, .other_state = true};
        fb_diff_report r = compare(*state, &t);

        assert_int_equal(r.first.name.step, at);
        assert_int_equal(r.first.name.kind, FB_KIND_DRAW);
        assert_likely(&r, at == 0 ? "rng-seed" : "rng-offset");
        fb_diff_report_free(&r);
    }
}

/* --- Causes from signatures ------------------------------------------------------------------- */

static void a_wrong_result_is_named_after_its_phase(void **state)
{
    static const struct {
        const char *wrong, *path, *slot, *cause;
    } cases[] = {
        {"ln", "ln", "out", "forward-op"},
        {"fc", "fc", "out", "forward-op"},
        {"fc.weight.grad", "fc.weight", "grad", "backward-op"},
        {"fc.bias.grad", "fc.bias", "grad", "backward-op"},
        {"fc.weight.grad.clip", "fc.weight", "grad.clip", "clipping"},
        {"fc.weight.param", "fc.weight", "param", "optimizer-formula"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        fb_diff_report r = compare(*state, &(twist){.step = 3, .wrong = cases[i].wrong});

        assert_first(&r, 3, cases[i].path, cases[i].slot);
        assert_likely(&r, cases[i].cause);
        assert_int_equal(r.equal_through, 2);
        fb_diff_report_free(&r);
    }
}

static void another_learning_rate_is_a_schedule(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .other_lr = true});

    assert_first(&r, 2, "lr", "lr");
    assert_likely(&r, "schedule");
    assert_true(r.first.has_value);
    assert_true(r.first.a.number == 0.1 && r.first.b.number == 0.2);
    fb_diff_report_free(&r);
}

static void exchanged_samples_are_an_order_and_other_contents_are_contents(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 4, .swap_samples = true});

    assert_int_equal(r.first.name.kind, FB_KIND_SAMPLE);
    assert_likely(&r, "data-order");
    assert_non_null(strstr(r.cause.text, "3 places"));
    fb_diff_report_free(&r);
    r = compare(*state, &(twist){.step = 4, .other_contents = true});
    assert_int_equal(r.first.name.kind, FB_KIND_SAMPLE);
    assert_likely(&r, "data-content");
    fb_diff_report_free(&r);
}

static void an_extra_draw_is_found_in_the_step_before_the_one_that_it_moves(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 3, .extra_draw = true});

    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 3);
    assert_int_equal(r.first.name.kind, FB_KIND_DRAW);
    assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
    assert_int_equal(r.equal_through, 2);
    assert_likely(&r, "rng-offset");
    assert_non_null(strstr(r.cause.text, "augmentation"));
    fb_diff_report_free(&r);
}

/* --- Alignment -------------------------------------------------------------------------------- */

static void an_inserted_call_is_the_finding_not_what_follows_it(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .extra_call = true});

    assert_first(&r, 2, "shared.new", "out");
    assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
    fb_diff_report_free(&r);
}

/* The call that is more takes the number of the one behind it: identity alone would blame that. */
static void an_inserted_call_of_a_site_is_told_from_the_calls_behind_it(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .extra_call_of_same = true});

    assert_first(&r, 2, "shared", "out");
    assert_int_equal(r.first.what, FB_DIFF_ONLY_B);
    assert_int_equal(r.first.name.occurrence, 1);
    assert_int_equal(r.unaligned, 1);
    fb_diff_report_free(&r);
}

static void an_equal_result_made_otherwise_is_a_note(void **state)
{
    static const twist twists[] = {{.step = 4, .other_input = true},
                                   {.step = 2, .extra_view = true}};

    for (size_t i = 0; i < COUNT_OF(twists); i++) {
        fb_diff_report r = compare(*state, &twists[i]);

        assert_int_equal(r.verdict, FB_DIFF_SAME);
        assert_true(r.notes.count >= 1);
        fb_diff_report_free(&r);
    }
}

static void an_equal_result_made_from_another_parameter_is_a_difference(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 4, .other_weight = true});

    assert_first(&r, 4, "fc", "out");
    assert_int_equal(r.first.what, FB_DIFF_INPUTS);
    fb_diff_report_free(&r);
}

static void a_missing_gradient_is_found(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 5, .missing_gradient = true});

    assert_first(&r, 5, "fc.bias", "grad");
    assert_int_equal(r.first.what, FB_DIFF_ONLY_A);
    fb_diff_report_free(&r);
}

static void the_order_of_arrival_is_no_difference(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .reordered = true});

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
}

static void wrappers_of_modules_are_no_difference(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.step = 2, .wrapped = true});

    assert_int_equal(r.verdict, FB_DIFF_SAME);
    fb_diff_report_free(&r);
    r = compare(*state, &(twist){.step = 2, .wrapped = true, .wrong = "fc"});
    assert_int_equal(r.verdict, FB_DIFF_DIFFER);
    assert_int_equal(r.first.name.step, 2);
    assert_string_equal(r.first.name.path, "fc");
    fb_diff_report_free(&r);
}

/* Blame follows the data, whatever the order in which events arrive. */
static void a_consumer_that_arrives_before_its_producer_is_not_blamed(void **state)
{
    static const fb_site sites[2] = {
        {.size = sizeof(fb_site),
         .kind = FB_KIND_TENSOR,
         .phase = FB_PHASE_FORWARD,
         .path = "consumer",
         .op = "linear",
         .slot = "out",
         .dtype = FB_DTYPE_F32},
        {.size = sizeof(fb_site),
         .kind = FB_KIND_TENSOR,
         .phase = FB_PHASE_FORWARD,
         .path = "producer",
         .op = "linear",
         .slot = "out",
         .dtype = FB_DTYPE_F32},
    };
    const fb_ref input = {.site = 1, .micro = FB_MICRO_NONE, .step = 0};
    char paths[2][160];
    fb_diff_report r;
    fb_error err;

    for (uint64_t side = 0; side < 2; side++) {
        fb_recorder *recorder;
        const fb_observer *o;
        const fb_event events[2] = {
            {.size = sizeof(fb_event),
             .site = 0,
             .micro = FB_MICRO_NONE,
             .hash = {10 + side, 1},
             .inputs = &input,
             .input_count = 1},
            {.size = sizeof(fb_event), .site = 1, .micro = FB_MICRO_NONE, .hash = {20 + side, 1}},
        };

        (void)snprintf(paths[side], sizeof paths[0], "%s", in_folder(*state, side ? "b" : "a"));
        assert_ok(fb_recorder_open(&recorder, paths[side], NULL, &err));
        o = fb_recorder_observer(recorder);
        for (uint32_t i = 0; i < 2; i++)
            assert_ok(o->on_site(o->self, i, &sites[i], &err));
        for (uint32_t i = 0; i < 2; i++)
            assert_ok(o->on_event(o->self, &events[i], &err));
        assert_ok(o->on_step_end(o->self, 0, &err));
        assert_ok(fb_recorder_close(recorder, &err));
    }
    r = compare_with(paths[0], paths[1], (fb_diff_options){0});
    assert_first(&r, 0, "producer", "out");
    fb_diff_report_free(&r);
}

/* --- Notes ------------------------------------------------------------------------------------ */

static void what_reaches_no_training_state_is_a_note(void **state)
{
    static const twist twists[] = {
        {.step = 2, .logged_tensor = true},
        {.step = 2, .extra_draw_of_other_stream = true},
        {.step = 6, .extra_draw = true}, /* no later step for it to move */
        {.step = 2, .throughput = true},
    };

    for (size_t i = 0; i < COUNT_OF(twists); i++) {
        fb_diff_report r = compare(*state, &twists[i]);

        assert_int_equal(r.verdict, FB_DIFF_SAME);
        assert_true(r.notes.count >= 1);
        fb_diff_report_free(&r);
        r = compare_with(in_folder(*state, "a.fbt"), in_folder(*state, "b.fbt"),
                         (fb_diff_options){.strict = true});
        assert_int_equal(r.verdict, FB_DIFF_DIFFER);
        fb_diff_report_free(&r);
    }
}

/* --- Nothing to say --------------------------------------------------------------------------- */

static void what_cannot_be_compared_is_never_the_same(void **state)
{
    fb_diff_report r = compare(*state, &(twist){.no_events = true});

    assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
    fb_diff_report_free(&r);
    r = compare(*state, &(twist){.steps = 3});
    fb_diff_report_free(&r);
    {
        const twist none = {.no_events = true};
        char a[160];

        (void)snprintf(a, sizeof a, "%s", play(*state, "a.fbt", &none));
        r = compare_with(a, play(*state, "b.fbt", &none), (fb_diff_options){0});
        assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
        fb_diff_report_free(&r);
    }
}

/* --- Torn traces ------------------------------------------------------------------------------ */

static void a_difference_in_an_unfinished_step_is_found_and_a_missing_rest_is_none(void **state)
{
    const twist plain = {.steps = 3, .width = 60000},
                bad = {.steps = 3, .width = 60000, .step = 3, .wrong = "fc"};
    const char *a = play(*state, "a.fbt", &plain), *torn = in_folder(*state, "torn.fbt");
    fb_diff_report r;

    cut_file(a, torn, 1500000); /* a step has some 1.2 MB in several chunks */
    for (int side = 0; side < 2; side++) {
        r = compare_with(side ? torn : a, side ? a : torn, (fb_diff_options){0});
        assert_int_equal(r.verdict, FB_DIFF_UNDECIDABLE);
        assert_int_equal(side ? r.status_a : r.status_b, FB_TRACE_TORN);
        fb_diff_report_free(&r);
    }
    cut_file(play(*state, "b.fbt", &bad), torn, 300000);
    r = compare_with(a, torn, (fb_diff_options){0});
    assert_int_equal(r.status_b, FB_TRACE_TORN);
    assert_first(&r, 3, "fc", "out");
    assert_int_equal(r.equal_through, 2);
    fb_diff_report_free(&r);
}

/* --- Cost ------------------------------------------------------------------------------------- */

static uint64_t bytes_to_find(const test_folder *folder, uint64_t steps, uint64_t *file_bytes)
{
    fb_diff_report r = compare(
        folder, &(twist){.steps = steps, .step = steps * 2 / 3, .width = 40, .wrong = "fc"});
    const uint64_t bytes = r.bytes_read;
    FILE *file = fopen(in_folder(folder, "a.fbt"), "rb");

    assert_first(&r, steps * 2 / 3, "fc", "out");
    fb_diff_report_free(&r);
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *file_bytes = (uint64_t)ftell(file);
    fclose(file);
    return bytes;
}

static void the_first_difference_is_found_in_logarithmic_bytes(void **state)
{
    uint64_t small_file, large_file;
    const uint64_t small = bytes_to_find(*state, 500, &small_file);
    const uint64_t large = bytes_to_find(*state, 8000, &large_file);

    print_message("%llu of 2 x %llu bytes, %llu of 2 x %llu bytes\n", (unsigned long long)small,
                  (unsigned long long)small_file, (unsigned long long)large,
                  (unsigned long long)large_file);
    assert_true(large_file > 12 * small_file);
    assert_true(large < 4 * small);
    assert_true(large < large_file / 4); /* of both files: no chunk is read twice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_changes_sums_is_blamed_on_the_environment),
        cmocka_unit_test(another_version_of_the_engine_is_code_unless_its_kernels_are_the_same),
        cmocka_unit_test(another_state_at_the_first_draw_is_a_seed),
        cmocka_unit_test(a_wrong_result_is_named_after_its_phase),
        cmocka_unit_test(another_learning_rate_is_a_schedule),
        cmocka_unit_test(exchanged_samples_are_an_order_and_other_contents_are_contents),
        cmocka_unit_test(an_extra_draw_is_found_in_the_step_before_the_one_that_it_moves),
        cmocka_unit_test(an_inserted_call_is_the_finding_not_what_follows_it),
        cmocka_unit_test(an_inserted_call_of_a_site_is_told_from_the_calls_behind_it),
        cmocka_unit_test(an_equal_result_made_otherwise_is_a_note),
        cmocka_unit_test(an_equal_result_made_from_another_parameter_is_a_difference),
        cmocka_unit_test(a_missing_gradient_is_found),
        cmocka_unit_test(the_order_of_arrival_is_no_difference),
        cmocka_unit_test(wrappers_of_modules_are_no_difference),
        cmocka_unit_test(a_consumer_that_arrives_before_its_producer_is_not_blamed),
        cmocka_unit_test(what_reaches_no_training_state_is_a_note),
        cmocka_unit_test(what_cannot_be_compared_is_never_the_same),
        cmocka_unit_test(a_difference_in_an_unfinished_step_is_found_and_a_missing_rest_is_none),
        cmocka_unit_test(the_first_difference_is_found_in_logarithmic_bytes),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
