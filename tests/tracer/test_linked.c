/* SPDX-License-Identifier: Apache-2.0
 *
 * test_linked.c - the parts of a run are found, become one file, and come out as they were.
 */
#include "trace_fixture.h"

#include "tracer/read/linked.h"

#include <sys/stat.h>

static void in_folder(char out[160], const test_folder *folder, const char *name)
{
    (void)snprintf(out, 160, "%s/%s", folder->path, name);
}

/* A trace of `steps` steps whose header says whose part it is; returns its id. */
static fb_hash record(const test_folder *folder, const char *name, const fb_hash *parent,
                      const char *role, uint64_t steps)
{
    char path[160], header[256] = "{}", hex[FB_HASH_HEX_BYTES];
    fb_recorder_options options = {.size = sizeof options, .header = header, .no_stacks = true};
    uint64_t state = steps;
    fb_recorder *r;
    fb_trace *t;
    fb_hash id;

    in_folder(path, folder, name);
    if (parent != NULL)
        (void)snprintf(header, sizeof header, "{\"parent\":\"%s\",\"role\":\"%s\"}",
                       fb_hash_hex(hex, *parent), role);
    assert_int_equal(fb_recorder_open(&r, path, &options, NULL), FB_OK);
    for (uint64_t step = 1; step <= steps; step++) {
        fb_recorder_step(r, step);
        for (int i = 0; i < 100; i++) {
            const double noise = (double)next_random(&state);
            (void)fb_recorder_scalar(r, FB_PHASE_LOSS, "x", "y", FB_DTYPE_F64, noise);
        }
    }
    assert_int_equal(fb_recorder_close(r, NULL), FB_OK);
    assert_int_equal(fb_trace_open(&t, path, NULL), FB_OK);
    id = fb_trace_get_info(t)->id;
    fb_trace_close(t);
    return id;
}

static void expect_same_bytes(const char *a, const char *b)
{
    fb_hash x, y;

    assert_int_equal(fb_hash_file(&x, NULL, a, NULL), FB_OK);
    assert_int_equal(fb_hash_file(&y, NULL, b, NULL), FB_OK);
    assert_true(fb_hash_equal(x, y));
}

/* run.fbt with three parts, one of some megabytes; beside them a part of another run and a file
 * that is no trace. */
static void make_run(const test_folder *folder)
{
    const fb_hash id = record(folder, "run.fbt", NULL, NULL, 50);
    const fb_hash other = {1, 2};
    char path[160];
    FILE *file;

    record(folder, "run.child10.fbt", &id, "child10", 3);
    record(folder, "run.child2.fbt", &id, "child2", 3000);
    record(folder, "run.rank1.fbt", &id, "rank1", 0);
    record(folder, "run.child3.fbt", &other, "child3", 3);
    in_folder(path, folder, "run.child4.fbt");
    file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
}

static void parts_are_found_by_name_and_parent(void **state)
{
    static const char *const names[] = {"run.child2.fbt", "run.child10.fbt", "run.rank1.fbt"};
    test_folder folder;
    fb_linked linked;
    char path[160];
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    make_run(&folder);
    in_folder(path, &folder, "run.fbt");
    assert_int_equal(fb_trace_open(&t, path, NULL), FB_OK);
    assert_int_equal(fb_linked_find(&linked, t, path, NULL), FB_OK);
    assert_int_equal(linked.count, COUNT_OF(names));
    assert_false(linked.more);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_string_equal(linked.parts[i].name, names[i]);
    assert_string_equal(linked.parts[2].role, "rank1");
    fb_linked_free(&linked);
    fb_trace_close(t);
    drop_folder(&folder);
}

static void a_packed_run_reads_as_its_main_trace_and_comes_out_as_it_was(void **state)
{
    static const char *const names[] = {"run.fbt", "run.child2.fbt", "run.child10.fbt",
                                        "run.rank1.fbt"};
    test_folder folder, out;
    char run[160], packed[160], a[160], b[160];
    fb_trace_info whole, info;
    fb_linked linked;
    size_t count;
    fb_trace *t;

    (void)state;
    make_folder(&folder);
    make_folder(&out);
    make_run(&folder);
    in_folder(run, &folder, "run.fbt");
    in_folder(packed, &folder, "packed.fbt");
    assert_int_equal(fb_trace_pack(&count, run, packed, NULL, NULL, NULL), FB_OK);
    assert_int_equal(count, 3);

    assert_int_equal(fb_trace_open(&t, run, NULL), FB_OK);
    assert_int_equal(fb_trace_verify(&whole, t, NULL, NULL, NULL), FB_OK);
    fb_trace_close(t);
    assert_int_equal(fb_trace_open(&t, packed, NULL), FB_OK);
    assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, NULL), FB_OK);
    assert_int_equal(info.status, FB_TRACE_COMPLETE);
    assert_int_equal(info.events, whole.events);
    assert_int_equal(info.steps, whole.steps);
    assert_true(fb_hash_equal(info.id, whole.id));
    assert_int_equal(fb_packed_find(&linked, t, NULL), FB_OK);
    assert_int_equal(linked.count, 3);
    assert_true(linked.parts[0].bytes > 2 << 20); /* several pieces */
    fb_linked_free(&linked);
    fb_trace_close(t);

    assert_int_equal(fb_trace_unpack(&count, packed, out.path, NULL, NULL, NULL), FB_OK);
    assert_int_equal(count, COUNT_OF(names));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        in_folder(a, &folder, names[i]);
        in_folder(b, &out, names[i]);
        expect_same_bytes(a, b);
    }
    assert_int_equal(fb_trace_unpack(&count, packed, out.path, NULL, NULL, NULL), FB_E_USAGE);
    assert_int_equal(fb_trace_pack(&count, packed, run, NULL, NULL, NULL), FB_E_USAGE);
    drop_folder(&out);
    drop_folder(&folder);
}

static void a_torn_part_is_refused_by_name(void **state)
{
    test_folder folder;
    char run[160], packed[160], part[160];
    struct stat st;
    fb_error err;
    size_t count;

    (void)state;
    make_folder(&folder);
    make_run(&folder);
    in_folder(run, &folder, "run.fbt");
    in_folder(packed, &folder, "packed.fbt");
    in_folder(part, &folder, "run.child2.fbt");
    assert_int_equal(stat(part, &st), 0);
    assert_int_equal(truncate(part, st.st_size - 4096), 0);
    assert_int_equal(fb_trace_pack(&count, run, packed, NULL, NULL, &err), FB_E_TORN);
    assert_non_null(strstr(err.text, "run.child2.fbt"));
    assert_int_not_equal(access(packed, F_OK), 0);
    drop_folder(&folder);
}

/* Every page of the packed parts: a flipped bit is seen by verify, or by unpacking, or is padding.
 */
static void a_flipped_bit_in_a_part_is_seen(void **state)
{
    test_folder folder, out;
    char run[160], packed[160], path[160];
    struct stat st;
    size_t count;
    int descriptor;
    fb_hash id;

    (void)state;
    make_folder(&folder);
    id = record(&folder, "run.fbt", NULL, NULL, 5);
    record(&folder, "run.child1.fbt", &id, "child1", 20);
    in_folder(run, &folder, "run.fbt");
    in_folder(packed, &folder, "packed.fbt");
    assert_int_equal(fb_trace_pack(&count, run, packed, NULL, NULL, NULL), FB_OK);
    assert_int_equal(stat(packed, &st), 0);
    descriptor = open(packed, O_RDWR);
    assert_true(descriptor >= 0);
    for (off_t at = 0; at < st.st_size; at += 509) {
        fb_trace_info info = {.status = FB_TRACE_CORRUPT};
        uint8_t byte;
        fb_trace *t;

        assert_int_equal(pread(descriptor, &byte, 1, at), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(descriptor, &byte, 1, at), 1);
        if (fb_trace_open(&t, packed, NULL) == FB_OK) {
            assert_int_equal(fb_trace_verify(&info, t, NULL, NULL, NULL), FB_OK);
            fb_trace_close(t);
        }
        make_folder(&out);
        if (info.status == FB_TRACE_COMPLETE) { /* padding: nothing was lost */
            assert_int_equal(fb_trace_unpack(&count, packed, out.path, NULL, NULL, NULL), FB_OK);
            in_folder(path, &out, "run.child1.fbt");
            in_folder(run, &folder, "run.child1.fbt");
            expect_same_bytes(run, path);
        }
        drop_folder(&out);
        byte ^= 0x10;
        assert_int_equal(pwrite(descriptor, &byte, 1, at), 1);
    }
    assert_int_equal(close(descriptor), 0);
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_found_by_name_and_parent),
        cmocka_unit_test(a_packed_run_reads_as_its_main_trace_and_comes_out_as_it_was),
        cmocka_unit_test(a_torn_part_is_refused_by_name),
        cmocka_unit_test(a_flipped_bit_in_a_part_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
