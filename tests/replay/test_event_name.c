/* SPDX-License-Identifier: Apache-2.0
 *
 * test_event_name.c - events as people read them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replay/event_name.h"

static void a_name_is_a_line_of_words(void **state)
{
    static const struct {
        fb_event_name name;
        const char *text;
    } cases[] = {
        {{.step = 3,
          .micro = 1,
          .phase = FB_PHASE_BACKWARD,
          .kind = FB_KIND_TENSOR,
          .path = "h.0.fc",
          .op = "mm",
          .slot = "grad",
          .occurrence = 2},
         "step 3, micro 1, backward, h.0.fc (mm), gradient #2"},
        {{.step = 3,
          .micro = FB_MICRO_NONE,
          .phase = FB_PHASE_FORWARD,
          .kind = FB_KIND_MODE,
          .path = "Net",
          .op = "mode",
          .slot = "grad"},
         "step 3, forward, Net (mode), grad"},
        {{.step = 0, .micro = FB_MICRO_NONE, .phase = FB_PHASE_INIT, .kind = FB_KIND_SEED},
         "step 0, init"},
        {{.step = 1,
          .micro = FB_MICRO_NONE,
          .phase = FB_PHASE_FORWARD,
          .kind = FB_KIND_TENSOR,
          .path = "a\x1b[2Jb",
          .slot = "out"},
         "step 1, forward, a?[2Jb, output"},
    };
    char text[200], cut[12];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(fb_event_name_text(text, sizeof text, &cases[i].name), cases[i].text);
    assert_string_equal(fb_event_name_text(cut, sizeof cut, &cases[0].name), "step 3, mic");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_name_is_a_line_of_words)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
