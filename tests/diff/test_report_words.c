/* SPDX-License-Identifier: Apache-2.0
 *
 * test_report_words.c - names and notes of a report: nothing is said twice, and nothing that is
 * counted is lost.
 */
#include "recorded_run.h"

#include "diff/report/report_notes.h"
#include "diff/report/report_words.h"

enum { LINES = 4 };

static fb_diff_list list_of(const char *const *notes, size_t count)
{
    return (fb_diff_list){(char **)notes, count};
}

static const char *text_of(const fb_diff_list *notes, const fb__note_line *line)
{
    static char text[512];

    return fb__note_line_text(text, sizeof text, notes, line);
}

static void what_repeats_from_step_to_step_is_one_line(void **state)
{
    const char *const notes[] = {"step 1, forward, CLIP (argmax), output: only in b",
                                 "step 1, forward (norm), output: only in b",
                                 "step 4, forward, CLIP (argmax), output: only in b",
                                 "step 4, forward (norm), output: only in b",
                                 "step 9, forward, CLIP (argmax), output: only in b"};
    const fb_diff_list list = list_of(notes, 5);
    fb__note_line lines[LINES];

    (void)state;
    assert_int_equal(fb__fold_notes(lines, LINES, &list), 2);
    assert_string_equal(text_of(&list, &lines[0]),
                        "steps 1 to 9, forward, CLIP (argmax), 3 events: only in b");
    assert_string_equal(text_of(&list, &lines[1]),
                        "steps 1 to 4, forward (norm), 2 events: only in b");
}

static void tensors_of_one_call_are_one_line(void **state)
{
    const char *const notes[] = {"step 5, forward (clone), output: only in a",
                                 "step 5, forward (clone), output #1: only in a",
                                 "step 5, forward (clone), output #2: only in a"};
    const fb_diff_list list = list_of(notes, 3);
    fb__note_line lines[LINES];

    (void)state;
    assert_int_equal(fb__fold_notes(lines, LINES, &list), 1);
    assert_string_equal(text_of(&list, &lines[0]), "step 5, forward (clone), 3 events: only in a");
}

static void what_says_something_else_stays_apart(void **state)
{
    const char *const notes[] = {"step 1, forward (norm), output: only in a",
                                 "step 2, forward (norm), output: only in b",
                                 "step 3, eval (norm), output: only in a",
                                 "child1: step 3, forward (norm), output: only in a",
                                 "notes of steps after 3 are not compared one by one",
                                 "notes of steps after 3 are not compared one by one"};
    const fb_diff_list list = list_of(notes, 6);
    fb__note_line lines[6];

    (void)state;
    assert_int_equal(fb__fold_notes(lines, 6, &list), 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(text_of(&list, &lines[i]), notes[i]);
}

static void notes_of_a_process_keep_its_name(void **state)
{
    const char *const notes[] = {"child1: step 3, forward (norm), output: only in a",
                                 "child1: step 4, forward (norm), output: only in a"};
    const fb_diff_list list = list_of(notes, 2);
    fb__note_line lines[LINES];

    (void)state;
    assert_int_equal(fb__fold_notes(lines, LINES, &list), 1);
    assert_string_equal(text_of(&list, &lines[0]),
                        "child1: steps 3 to 4, forward (norm), 2 events: only in a");
}

static void more_lines_than_there_is_room_for_are_left_to_be_counted(void **state)
{
    const char *const notes[] = {
        "step 1, forward (a), output: only in a", "step 1, forward (b), output: only in a",
        "step 2, forward (a), output: only in a", "step 2, forward (b), output: only in a"};
    const fb_diff_list list = list_of(notes, 4);
    fb__note_line line;

    (void)state;
    assert_int_equal(fb__fold_notes(&line, 1, &list), 1);
    assert_int_equal(line.count, 2);
    assert_string_equal(text_of(&list, &line), "steps 1 to 2, forward (a), 2 events: only in a");
}

static void a_loss_is_named_once(void **state)
{
    fb_event_name loss = {.step = 3, .micro = FB_MICRO_NONE, .phase = FB_PHASE_LOSS};
    char text[512];

    (void)state;
    (void)snprintf(loss.path, sizeof loss.path, "loss");
    (void)snprintf(loss.slot, sizeof loss.slot, "loss");
    assert_string_equal(fb__plain_name(text, sizeof text, &loss), "step 3, loss");
}

static void a_title_always_has_a_place(void **state)
{
    fb_event_name name = {.phase = FB_PHASE_FORWARD};

    (void)state;
    (void)snprintf(name.slot, sizeof name.slot, "out");
    assert_string_equal(fb__place_name(&name), "output");
    (void)snprintf(name.op, sizeof name.op, "mse_loss");
    assert_string_equal(fb__place_name(&name), "mse_loss");
    (void)snprintf(name.path, sizeof name.path, "fc");
    assert_string_equal(fb__place_name(&name), "fc");
}

/* The only number of a tensor has no index; one of several has. */
static void a_single_number_has_no_index(void **state)
{
    fb_diff_report r = {.verdict = FB_DIFF_DIFFER, .has_first = true};
    char *text;

    (void)state;
    r.first.name.phase = FB_PHASE_FORWARD;
    r.first.name.micro = FB_MICRO_NONE;
    r.first.dtype = FB_DTYPE_F32;
    r.first.has_value = r.first.has_element = true;
    r.first.a = (fb_diff_value){.bits = 0x461c4000, .number = 10000};
    r.first.b = (fb_diff_value){.bits = 0x48f42400, .number = 500000};
    r.first.ulps = UINT64_MAX;
    text = fb_diff_report_text(&r);
    assert_non_null(strstr(text, "f32[]   a 0x461c4000 10000   b 0x48f42400 500000\n"));
    free(text);
    r.first.rank = 1;
    r.first.shape[0] = 4;
    r.first.element = 2;
    text = fb_diff_report_text(&r);
    assert_non_null(strstr(text, "f32[4] element [2]   a 0x461c4000 10000"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_repeats_from_step_to_step_is_one_line),
        cmocka_unit_test(tensors_of_one_call_are_one_line),
        cmocka_unit_test(what_says_something_else_stays_apart),
        cmocka_unit_test(notes_of_a_process_keep_its_name),
        cmocka_unit_test(more_lines_than_there_is_room_for_are_left_to_be_counted),
        cmocka_unit_test(a_loss_is_named_once),
        cmocka_unit_test(a_title_always_has_a_place),
        cmocka_unit_test(a_single_number_has_no_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
