/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_tail.c - any file as the tail of a trace: it adds events that verify, or none.
 */
#include <stdio.h>
#include <string.h>

#include "firstbit/trace.h"
#include "tests/fuzz/fuzz.h"
#include "tracer/format/format.h"

/* A trace without chunks: header and nothing more. */
static uint8_t header[FB_FORMAT_ALIGN * 2];
static size_t header_bytes;

static void make_header(void)
{
    fb_file_header h = {.version = FB_FORMAT_VERSION, .id = {1, 2}, .level = FB_LEVEL_OPS};
    static const char json[] = "{}";

    h.json_bytes = sizeof json - 1;
    h.span = fb__align_up(FB_HEADER_BYTES + h.json_bytes);
    fb__put_file_header(header, &h, json);
    memcpy(header + FB_HEADER_BYTES, json, sizeof json - 1);
    header_bytes = (size_t)h.span;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    if (header_bytes == 0)
        make_header();
    size = LLVMFuzzerMutate(data, size, most);
    if (seed % 8 != 0)
        fuzz_sign_tail(data, size, header + 40);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[96], tail[104];
    const fb_event *e;
    fb_trace_info info;
    uint64_t count = 0;
    fb_trace *t;

    if (header_bytes == 0)
        make_header();
    (void)snprintf(path, sizeof path, "%s/t.fbt", fuzz_folder());
    (void)snprintf(tail, sizeof tail, "%s-tail", path);
    fuzz_write(path, header, header_bytes);
    fuzz_write(tail, data, size);
    if (fb_trace_open(&t, path, NULL) != FB_OK)
        return 0;
    fuzz_expect(fb_trace_get_info(t)->status == FB_TRACE_TORN, "it is torn");
    while (fb_trace_next(t, &e, NULL, NULL) == FB_OK && e != NULL)
        count++;
    fuzz_expect(fb_trace_verify(&info, t, NULL, NULL, NULL) == FB_OK, "it can be verified");
    fuzz_expect(info.status == FB_TRACE_TORN, "what a tail adds follows from its rows");
    fuzz_expect(info.events == count && fb_trace_get_info(t)->events == count,
                "all its events are read");
    fb_trace_close(t);
    return 0;
}
