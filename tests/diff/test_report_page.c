/* SPDX-License-Identifier: Apache-2.0
 *
 * test_report_page.c - the page and the markdown of a comparison: they say where and why, and text
 * of a trace is text in them, whatever it holds.
 */
#include "recorded_run.h"

#include "diff/report/picture.h"
#include "diff/report/report_escape.h"

/* --- Escaping --------------------------------------------------------------------------------- */

typedef void put_function(FILE *out, const char *text);

static const char *put(put_function *function, const char *text)
{
    static char out[4][20000];
    static int next;
    char *to = out[next++ % 4];
    FILE *file = fmemopen(to, sizeof out[0], "w");

    assert_non_null(file);
    function(file, text);
    (void)fclose(file);
    return to;
}

static void tags_quotes_and_entities_become_text(void **state)
{
    (void)state;
    assert_string_equal(put(fb__put_html, "<script>&'\"x"), "&lt;script&gt;&amp;&#39;&quot;x");
    assert_string_equal(put(fb__put_html, "plain caf\xc3\xa9 \xe2\x88\x91"),
                        "plain caf\xc3\xa9 \xe2\x88\x91");
    assert_string_equal(put(fb__put_html, NULL), "");
}

static void what_is_not_seen_is_spelled_out(void **state)
{
    (void)state;
    assert_string_equal(put(fb__put_html, "a\x1b[2J\n\x7f"), "a\\x1b[2J\\x0a\\x7f");
    assert_string_equal(put(fb__put_html, "\xe2\x80\xae"
                                          "evil"),
                        "\\u202eevil");
    assert_string_equal(put(fb__put_html, "\xe2\x81\xa6\xef\xbb\xbf\xc2\x9b\xc2\xad"),
                        "\\u2066\\ufeff\\u009b\\u00ad");
    assert_string_equal(put(fb__put_html, "\xf3\xa0\x81\x81"), "\\U000e0041");
}

static void broken_utf8_is_spelled_out(void **state)
{
    (void)state;
    assert_string_equal(put(fb__put_html, "\xff\xc3"), "\\xff\\xc3");
    assert_string_equal(put(fb__put_html, "\xc0\xbc"), "\\xc0\\xbc"); /* '<' in two bytes */
    assert_string_equal(put(fb__put_html, "\xe0\x80\xbc"), "\\xe0\\x80\\xbc");
    assert_string_equal(put(fb__put_html, "\xed\xa0\x80"), "\\xed\\xa0\\x80"); /* a surrogate */
    assert_string_equal(put(fb__put_html, "\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

static void long_text_is_cut(void **state)
{
    char text[10000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(strlen(put(fb__put_html, text)), 4096 + strlen("&hellip;"));
}

static void a_code_span_and_a_fence_cannot_be_left(void **state)
{
    (void)state;
    assert_string_equal(put(fb__put_markdown_code, "a`b|c<b>"), "`a\\x60b\\x7cc<b>`");
    assert_string_equal(put(fb__put_markdown_code, ""), "-");
    assert_string_equal(put(fb__put_markdown_block, "x\n```\n<b>"), "x\n``\\x60\n<b>");
    assert_string_equal(put(fb__put_markdown_block, "``````"), "``\\x60``\\x60");
}

/* --- Pages ------------------------------------------------------------------------------------ */

static const char hostile[] = "</code><script>alert(\"1\")</script>\x1b[31m\xe2\x80\xae'`|";

static void record_hostile(const char *path, int other)
{
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    const uint64_t shape[1] = {4};
    fb_recorder *recorder;
    fb_error err;

    assert_ok(fb_recorder_open(&recorder, path, &options, &err));
    for (int step = 0; step < 5; step++) {
        if (step > 0)
            fb_recorder_step(recorder, (uint64_t)step);
        float data[4] = {1, 2, 3, (float)(step == 3 ? other : step)};

        (void)fb_recorder_draw(recorder, FB_PHASE_FORWARD, hostile, hostile, 5, 0, 3, hostile,
                               hostile, FB_DTYPE_NONE, NULL);
        const fb_ref x =
            fb_recorder_tensor(recorder, FB_KIND_TENSOR, FB_PHASE_FORWARD, hostile, hostile,
                               hostile, FB_DTYPE_F32, 1, shape, data, NULL, 0);
        (void)fb_recorder_tensor(recorder, FB_KIND_PARAM, FB_PHASE_OPTIMIZER, hostile, hostile,
                                 "param", FB_DTYPE_F32, 1, shape, data, &x, 1);
        fb_recorder_mark(recorder, hostile);
    }
    assert_ok(fb_recorder_close(recorder, &err));
}

/* What a page or an issue would be harmed by. */
static void assert_harmless(const char *page)
{
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "</script"));
    assert_null(strstr(page, "\xe2\x80\xae"));
    for (const char *c = page; *c != '\0'; c++)
        if (((unsigned char)*c < 0x20 && *c != '\n') || *c == 0x7f)
            fail_msg("control byte 0x%02x at %zu", *c, (size_t)(c - page));
}

static char *page_of(const char *a, const char *b, bool markdown)
{
    fb_picture *picture = calloc(1, sizeof *picture);
    fb_diff_report report;
    fb_error err;
    char *page;

    assert_non_null(picture);
    assert_ok(fb_diff(&report, a, b, NULL, &err));
    assert_ok(fb_picture_gather(picture, &report, NULL, &err));
    page = markdown ? fb_diff_report_markdown(&report, picture)
                    : fb_diff_report_html(&report, picture);
    assert_non_null(page);
    fb_picture_free(picture);
    free(picture);
    fb_diff_report_free(&report);
    return page;
}

static void hostile_names_are_text_in_a_page(void **state)
{
    test_folder *folder = *state;
    const char *a = in_folder(folder, "a.fbt"), *b = in_folder(folder, "b.fbt");
    char *page;

    record_hostile(a, 3);
    record_hostile(b, 7);
    page = page_of(a, b, false);
    assert_harmless(page);
    assert_non_null(strstr(page, "Diverged at step 3 in"));
    assert_non_null(strstr(page, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;"));
    assert_non_null(strstr(page, "\\u202e"));
    free(page);
}

/* Between a cause and [likely] stand two spaces: with some length of name the line ends there. */
static void no_line_of_the_screen_ends_in_a_space(void **state)
{
    test_folder *folder = *state;
    const char *files[2] = {in_folder(folder, "end-a.fbt"), in_folder(folder, "end-b.fbt")};
    const fb_recorder_options plain = {
        .size = sizeof plain, .level = FB_LEVEL_OPS, .no_stacks = true};
    char name[128];

    for (size_t length = 1; length < sizeof name; length++) {
        fb_diff_report report;
        fb_recorder *recorder;
        fb_error err;
        char *text;

        memset(name, 'm', length); /* words of all lengths of a line */
        for (size_t i = length % 7 + 1; i + 1 < length; i += 7)
            name[i] = ' ';
        name[length] = '\0';
        for (int side = 0; side < 2; side++) {
            const float value = (float)side;

            assert_ok(fb_recorder_open(&recorder, files[side], &plain, &err));
            fb_recorder_step(recorder, 1);
            (void)fb_recorder_f32(recorder, FB_PHASE_FORWARD, name, "relu", &value, 1, 0);
            assert_ok(fb_recorder_close(recorder, &err));
        }
        const fb_diff_options options = {.size = sizeof options, .no_stacks = true};

        assert_ok(fb_diff(&report, files[0], files[1], &options, &err));
        text = fb_diff_report_text(&report);
        assert_non_null(text);
        assert_null(strstr(text, " \n"));
        free(text);
        fb_diff_report_free(&report);
    }
}

static void record_with_stacks(const char *path, float value)
{
    fb_recorder *recorder;
    fb_error err;

    assert_ok(fb_recorder_open(&recorder, path, NULL, &err));
    fb_recorder_step(recorder, 1);
    (void)fb_recorder_f32(recorder, FB_PHASE_FORWARD, "layer", "relu", &value, 1, 0);
    assert_ok(fb_recorder_close(recorder, &err));
}

static void the_innermost_frame_is_read_without_opening_the_stack(void **state)
{
    test_folder *folder = *state;
    const char *a = in_folder(folder, "stack-a.fbt");
    const char *b = in_folder(folder, "stack-b.fbt");
    char *page, *title;

    for (int side = 0; side < 2; side++)
        record_with_stacks(side == 0 ? a : b, (float)side);
    page = page_of(a, b, false);
    title = strstr(page, "<summary>call stack");
    assert_non_null(title);
    title[strcspn(title, "\n")] = '\0';
    assert_non_null(strstr(title, ": <code>"));
    assert_null(strstr(title, "<code></code>"));
    assert_non_null(strstr(title, "</code></summary>"));
    free(page);
}

static void hostile_names_are_code_in_markdown(void **state)
{
    test_folder *folder = *state;
    char *text = page_of(in_folder(folder, "a.fbt"), in_folder(folder, "b.fbt"), true);
    bool fenced = false;

    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        bool code = false;

        assert_null(strstr(line, "\xe2\x80\xae"));
        if (strncmp(line, "```", 3) == 0) {
            fenced = !fenced;
            continue;
        }
        for (const char *c = line; *c != '\0' && !fenced; c++) {
            code ^= *c == '`';
            if (!code && strncmp(c, "<script", 7) == 0)
                fail_msg("a tag outside of a code span: %s", line);
        }
    }
    assert_false(fenced);
    free(text);
}

static void equal_runs_give_a_page_without_a_difference(void **state)
{
    test_folder *folder = *state;
    char *page = page_of(in_folder(folder, "a.fbt"), in_folder(folder, "a.fbt"), false);

    assert_non_null(strstr(page, "Same through step 4"));
    assert_null(strstr(page, "class=\"differ\""));
    assert_null(strstr(page, "How it grows"));
    free(page);
}

/* --- What a picture holds --------------------------------------------------------------------- */

static void a_flipped_bit_is_followed_from_tensor_to_tensor(void **state)
{
    test_folder *folder = *state;
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 4,
                            .path = "h.1.mlp.fc",
                            .slot = "out",
                            .element = 3,
                            .bit = 21};
    const char *a = record(folder, "clean.fbt", &(recording){.threads = 1});
    const char *b =
        record(folder, "flip.fbt", &(recording){.threads = 1, .faults = &fault, .fault_count = 1});
    fb_picture *p = calloc(1, sizeof *p);
    fb_diff_report report;
    size_t first = SIZE_MAX;
    fb_error err;

    assert_non_null(p);
    assert_ok(fb_diff(&report, a, b, NULL, &err));
    assert_ok(fb_picture_gather(p, &report, NULL, &err));
    for (size_t i = 0; i < p->row_count; i++)
        if (p->rows[i].first)
            first = i;
    assert_int_equal(first, FB_PICTURE_BEFORE);
    assert_string_equal(p->rows[first].name.path, "h.1.mlp.fc");
    for (size_t i = 0; i < first; i++)
        assert_int_equal(p->rows[i].mark, FB_PICTURE_ROW_EQUAL);
    assert_int_equal(p->rows[first + 1].mark, FB_PICTURE_ROW_DIFFERS);
    assert_true(p->rows[first + 1].inherits);

    /* The first tensor of the growth is the flipped one: one element, 2^21 ulps. */
    assert_int_equal(p->growth.source, FB_GROWTH_VALUES);
    assert_string_equal(p->growth.points[0].path, "h.1.mlp.fc.out");
    assert_int_equal(p->growth.points[0].differing, 1);
    assert_true(p->growth.points[0].ulps == 2097152.0);
    assert_true(p->growth.count > 10);

    /* Nothing differs before step 4, something in it. */
    for (size_t i = 0; i < p->share_count; i++)
        assert_int_equal(p->shares[i].differing > 0, p->shares[i].step >= 4);
    for (size_t i = 0; i < p->column_count; i++)
        assert_int_equal(p->columns[i].state[FB_CLASS_OPS] == FB_PICTURE_DIFFERENT,
                         p->columns[i].first >= 4);
    for (size_t i = 0; i < p->loss_count && p->losses[i].step < 4; i++)
        assert_true(p->losses[i].a == p->losses[i].b);
    assert_true(p->loss_count > 4);
    fb_picture_free(p);
    free(p);
    fb_diff_report_free(&report);
}

/* An extra draw from one stream of several: the ledger has it, and the draws of that stream that it
 * moved, and calls the others equal. */
static void the_ledger_tells_which_draws_moved(void **state)
{
    test_folder *folder = *state;
    const fb_fault fault = {.kind = FB_FAULT_DRAW, .step = 3, .stream = "h.0.mlp.drop"};
    const char *a = record(folder, "clean.fbt", &(recording){.threads = 1});
    const char *b =
        record(folder, "draw.fbt", &(recording){.threads = 1, .faults = &fault, .fault_count = 1});
    fb_picture *p = calloc(1, sizeof *p);
    size_t extra = 0, moved = 0, equal = 0;
    fb_diff_report report;
    fb_error err;

    assert_non_null(p);
    assert_ok(fb_diff(&report, a, b, NULL, &err));
    assert_ok(fb_picture_gather(p, &report, NULL, &err));
    assert_true(p->draw_count > 2 && p->draw_count <= p->draws_in_all);
    for (size_t i = 0; i < p->draw_count; i++) {
        const fb_picture_draw *d = &p->draws[i];
        const bool own = strcmp(d->stream, "h.0.mlp.drop") == 0;

        extra += d->mark == FB_PICTURE_ROW_ONLY_B;
        equal += d->mark == FB_PICTURE_ROW_EQUAL;
        moved += d->mark == FB_PICTURE_ROW_DIFFERS;
        assert_int_equal(own, d->mark != FB_PICTURE_ROW_EQUAL);
        assert_true(d->counted);
        if (d->mark == FB_PICTURE_ROW_DIFFERS) {
            assert_true(d->counter_b == d->counter_a + 1);
            assert_true(d->count_a == d->count_b && d->key_a == d->key_b);
        }
    }
    assert_int_equal(extra, 1);
    assert_true(moved > 0 && equal > 0);

    /* By phase: the data of that step are equal, its forward pass is not, not to its last event. */
    uint64_t whole = 0; /* events of step 2, all equal; step 3 has the extra draw more */

    for (size_t i = 0; i < p->share_count; i++) {
        const fb_picture_share *s = &p->shares[i];
        uint64_t events = 0;

        for (size_t k = 0; k < FB__STEP_PHASES; k++)
            events += s->phases[k].events;
        assert_true(events == s->events);
        if (s->step == 2) {
            assert_true(s->differing == 0);
            whole = events;
        }
        if (s->step != 3)
            continue;
        assert_true(whole > 0 && events == whole + 1);
        assert_true(s->phases[FB_PHASE_FORWARD].differing > 0);
        assert_true(s->phases[FB_PHASE_FORWARD].differing < s->phases[FB_PHASE_FORWARD].events);
        assert_true(s->phases[FB_PHASE_DATA].events > 0);
        assert_true(s->phases[FB_PHASE_DATA].differing == 0);
    }
    fb_picture_free(p);
    free(p);
    fb_diff_report_free(&report);
}

/* Of a flipped bit: the estimates of the sketches are those of the values, within what 64 buckets
 * can say (standard deviation of the square: sqrt(2/64), so a factor of 2 is 4 of them and more).
 */
static void sketches_measure_what_values_do(void **state)
{
    test_folder *folder = *state;
    const fb_fault fault = {.kind = FB_FAULT_FLIP,
                            .step = 4,
                            .path = "h.1.mlp.fc",
                            .slot = "out",
                            .element = 3,
                            .bit = 21};
    const fb_level levels[2] = {FB_LEVEL_OPS, FB_LEVEL_SKETCH};
    fb_growth g[2];

    for (int i = 0; i < 2; i++) {
        const char *a = record(folder, "s.fbt", &(recording){.threads = 1, .level = levels[i]});
        const char *b = record(
            folder, "t.fbt",
            &(recording){.threads = 1, .level = levels[i], .faults = &fault, .fault_count = 1});
        fb_diff_report report;
        fb_error err;

        assert_ok(fb_diff(&report, a, b, NULL, &err));
        assert_ok(fb_growth_measure(&g[i], &report, NULL, &err));
        fb_diff_report_free(&report);
    }
    assert_int_equal(g[0].source, FB_GROWTH_VALUES);
    assert_int_equal(g[1].source, FB_GROWTH_SKETCHES);
    assert_int_equal(g[0].count, g[1].count);
    for (size_t i = 0; i < 5; i++) { /* in the forward pass both have one order */
        const size_t n = strlen(g[1].points[i].path);

        assert_memory_equal(g[0].points[i].path, g[1].points[i].path, n);
        assert_true(g[1].points[i].relative > g[0].points[i].relative / 2);
        assert_true(g[1].points[i].relative < g[0].points[i].relative * 2);
    }
    fb_growth_free(&g[0]);
    fb_growth_free(&g[1]);
}

static int set_up(void **state)
{
    static test_folder folder;

    folder = make_folder();
    *state = &folder;
    return 0;
}

static int tear_down(void **state)
{
    drop_folder(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_quotes_and_entities_become_text),
        cmocka_unit_test(what_is_not_seen_is_spelled_out),
        cmocka_unit_test(broken_utf8_is_spelled_out),
        cmocka_unit_test(long_text_is_cut),
        cmocka_unit_test(a_code_span_and_a_fence_cannot_be_left),
        cmocka_unit_test(hostile_names_are_text_in_a_page),
        cmocka_unit_test(no_line_of_the_screen_ends_in_a_space),
        cmocka_unit_test(the_innermost_frame_is_read_without_opening_the_stack),
        cmocka_unit_test(hostile_names_are_code_in_markdown),
        cmocka_unit_test(equal_runs_give_a_page_without_a_difference),
        cmocka_unit_test(a_flipped_bit_is_followed_from_tensor_to_tensor),
        cmocka_unit_test(the_ledger_tells_which_draws_moved),
        cmocka_unit_test(sketches_measure_what_values_do),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
