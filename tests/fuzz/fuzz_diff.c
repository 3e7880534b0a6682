/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_diff.c - any file compared with a sound trace, both ways: a verdict and a report, and never
 * "same" of a trace that is not sound.
 */
#include <stdlib.h>
#include <string.h>

#include "diff/diff.h"
#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 8 != 0)
        fuzz_sign_trace(data, size);
    return size;
}

static void compare(const char *a, const char *b, const char *fuzzed, bool rounding)
{
    const fb_diff_options options = {.size = sizeof options,
                                     .no_replay = true,
                                     .no_stacks = true,
                                     .strict = true,
                                     .rounding = rounding};
    fb_diff_report report;
    fb_trace_info info;
    fb_trace *t;

    if (fb_diff(&report, a, b, &options, NULL) != FB_OK)
        return;
    char *const text = fb_diff_report_text(&report), *const json = fb_diff_report_json(&report);
    fuzz_expect(text != NULL && json != NULL, "a report can be written");
    fuzz_expect(strchr(text, 27) == NULL, "a report has no escape sequences");
    if (report.verdict == FB_DIFF_SAME) {
        fuzz_expect(fb_trace_open(&t, fuzzed, NULL) == FB_OK, "what is the same opens");
        fuzz_expect(fb_trace_verify(&info, t, NULL, NULL, NULL) == FB_OK &&
                        info.status != FB_TRACE_CORRUPT,
                    "what is the same is sound");
        fb_trace_close(t);
    }
    free(text);
    free(json);
    fb_diff_report_free(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t sound[FUZZ_TRACE_MAX];
    static size_t sound_bytes;
    const char *a, *b;

    if (sound_bytes == 0)
        sound_bytes = fuzz_make_trace(sound, FB_LEVEL_OPS);
    a = fuzz_file(0, sound, sound_bytes);
    b = fuzz_file(1, data, size);
    for (int rounding = 0; rounding < 2; rounding++) {
        compare(a, b, b, rounding != 0);
        compare(b, a, b, rounding != 0);
    }
    return 0;
}
