/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_trace.c - any file as a trace: open, information, steps, seeking, events as JSON, stacks,
 * verification.
 */
#include <stdlib.h>
#include <string.h>

#include "firstbit/trace.h"
#include "tests/fuzz/fuzz.h"
#include "tracer/format/format.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 8 != 0)
        fuzz_sign_trace(data, size);
    return size;
}

/* Everything that is read is used, so that a sanitizer sees what it is. */
static uint64_t read_events(fb_trace *t, unsigned most, bool with_stacks, uint64_t *first)
{
    const fb_event *e;
    uint64_t number, count = 0;

    while (count < most && fb_trace_next(t, &e, &number, NULL) == FB_OK && e != NULL) {
        char *json = fb_trace_event_json(t, e, number);

        fuzz_expect(fb_trace_site(t, e->site) != NULL, "an event has a site");
        if (json != NULL)
            fuzz_expect(strchr(json, '\n') == NULL && strchr(json, 27) == NULL,
                        "an event is one line without control characters");
        if (with_stacks && count == 0)
            fuzz_expect(fb_trace_stack(t, e->site) != NULL, "a stack is a text");
        if (count++ == 0)
            *first = number;
        free(json);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(0, data, size);
    /* Spelling a stack starts a program that knows lines: a thousand times the rest. */
    const bool with_stacks = fb__check(data, size) % 512 == 0;
    const fb_trace_info *info;
    fb_trace_info verified;
    fb_trace_step step;
    uint64_t first = 0, count;
    fb_trace *t;
    fb_error err;

    if (fb_trace_open(&t, path, &err) != FB_OK) {
        fuzz_expect(err.text[0] != '\0', "a failure has a text");
        return 0;
    }
    info = fb_trace_get_info(t);
    count = read_events(t, 100000, with_stacks, &first);
    if (fb_trace_get_step(t, info->last_step, &step, NULL) == FB_OK)
        fuzz_expect(step.step == info->last_step, "a step is the one that was asked for");
    if (fb_trace_get_step(t, info->first_step, &step, NULL) == FB_OK)
        fuzz_expect(step.step == info->first_step, "a step is the one that was asked for");
    if (fb_trace_get_step(t, info->last_step / 2, &step, NULL) == FB_OK)
        fuzz_expect(step.step == info->last_step / 2, "a step is the one that was asked for");
    if (fb_trace_seek(t, info->last_step / 2 + 1, NULL) == FB_OK)
        (void)read_events(t, 3, false, &first);
    if (fb_trace_seek_event(t, info->events / 2, NULL) == FB_OK &&
        read_events(t, 3, false, &first) > 0)
        fuzz_expect(first >= info->events / 2, "seeking goes to an event or behind it");
    if (fb_trace_verify(&verified, t, NULL, NULL, &err) == FB_OK &&
        verified.status == FB_TRACE_COMPLETE)
        fuzz_expect(verified.events == count || count == 100000, "all verified events can be read");
    fb_trace_close(t);
    return 0;
}
