/* SPDX-License-Identifier: Apache-2.0
 *
 * make_golden.c - writes the golden traces of this version of the format, once, by hand:
 *
 *     make_golden FOLDER && test_read_trace.py --sums ... > golden/SUMS
 *
 * Golden files of a released version are never written again: level_values.fbt, whose sketches are
 * of edition 1, came from an earlier state of this program.
 */
#include "tests/tracer/level_fixture.h"
#include "tests/tracer/trace_fixture.h"

/* Nothing of the machine that made the file belongs in the repository. */
static const char header[] =
    "{\"configuration\":{\"seed\":42,\"lr\":3.0000000000000001e-4},\"seed\":\"42\",\"environment\":"
    "{\"cpu\":\"example\",\"cores\":2,\"machine\":\"x86_64\",\"kernel\":\"6.1\",\"fpenv\":"
    "\"0x1f80\","
    "\"libraries\":{},\"build_id\":\"00\",\"argv\":[\"make_golden\"],\"git\":null,\"variables\":{},"
    "\"threads\":2}}";

static void record(const char *folder, const char *name, fb_level level, bool stacks,
                   uint64_t steps, unsigned chunks)
{
    const fb_recorder_options options = {
        .size = sizeof options, .level = level, .header = header, .no_stacks = !stacks};
    uint64_t random = 1, done = 0;
    fb_recorder *r;
    fb_error err;
    char path[512];

    (void)snprintf(path, sizeof path, "%s/%s.fbt", folder, name);
    if (fb_recorder_open(&r, path, &options, &err) != FB_OK)
        fail_msg("%s", err.text);
    report_sites(fb_recorder_observer(r));
    for (unsigned i = 1; i <= chunks; i++) {
        const uint64_t to = steps * i / chunks;
        report_steps(fb_recorder_observer(r), done, to, &random);
        done = to + 1;
        if (i < chunks)
            sleep(2); /* the recorder seals what is older than a second */
    }
    if (fb_recorder_close(r, &err) != FB_OK)
        fail_msg("%s", err.text);
}

/* The first `keep` bytes of a file, or all but the last -keep, as another file. */
static void cut(const char *folder, const char *from, const char *to, long keep)
{
    static char bytes[1 << 20];
    char path[512];
    size_t count;
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s.fbt", folder, from);
    file = fopen(path, "rb");
    assert_non_null(file);
    count = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    count = keep < 0 ? count - (size_t)-keep : (size_t)keep;
    (void)snprintf(path, sizeof path, "%s/%s.fbt", folder, to);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

/* Sketches of every dtype of the fixture, contents of some, and in step 1 those of a tensor of
 * zeros that take four pieces in chunks of their own. */
static void record_levels(const char *folder)
{
    static level_event made;
    static level_writer w;
    static uint8_t zeros[LEVEL_BYTES_MAX];
    uint64_t random = 1;
    char path[512];

    (void)snprintf(path, sizeof path, "%s/level_editions.fbt", folder);
    level_begin(&w, path);
    for (uint64_t step = 0; step < 3; step++) {
        for (int which = 0; which < LEVEL_SITES; which++) {
            make_level_event(&made, which, step, &random);
            made.recorded = which == 0 || which == 3 || which == 7 || which == 8;
            if (which == LEVEL_SITES - 1) {
                made.event.data = zeros;
                made.event.hash = fb_tensor_sketch(&made.sketch, made.blocks, NULL, FB_DTYPE_F32,
                                                   zeros, sizeof zeros, NULL);
                made.event.flags = 0;
                made.recorded = step == 1;
            }
            if (step == 2) /* as in a file that was joined from old and new ones */
                made.sketch.edition = 1;
            level_event_put(&w, which, &made);
        }
        level_step_end(&w, step);
    }
    level_end(&w, true);
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : ".";

    record(folder, "every_kind", FB_LEVEL_OPS, false, 24, 3);
    record(folder, "stacks", FB_LEVEL_OPS, true, 3, 1);
    record(folder, "level_steps", FB_LEVEL_STEPS, false, 110, 1);
    cut(folder, "every_kind", "torn", -9000);
    cut(folder, "stacks", "no_chunk", 4096);
    record_levels(folder);
    return 0;
}
