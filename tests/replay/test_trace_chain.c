/* SPDX-License-Identifier: Apache-2.0
 *
 * test_trace_chain.c - the traces of one training are found by what they are, not by their names;
 * and no chain, however hostile, goes round for ever.
 */
#include "replay_fixture.h"

#include <sys/stat.h>

#include "replay/trace_chain.h"

static fb_hash id_of(const char *path)
{
    fb_trace *trace;
    fb_error err;
    fb_hash id;

    assert_ok(fb_trace_open(&trace, path, &err));
    id = fb_trace_get_info(trace)->id;
    fb_trace_close(trace);
    return id;
}

/* A trace of nothing whose header says that it goes on from another: by id, or by the hash of a
 * checkpoint alone. */
static const char *write_link(const fixture *f, const char *name, const fb_hash *before,
                              const char *file, int step, fb_hash checkpoint)
{
    const char *path = in_folder(&f->folder, name);
    fb_recorder_options options = {.size = sizeof options};
    char header[512], id[40] = "null", hash[FB_HASH_HEX_BYTES];
    fb_recorder *recorder;
    fb_error err;

    if (before != NULL) {
        fb_hash_hex(id + 1, *before);
        id[0] = '"';
        (void)strcat(id, "\"");
    }
    (void)snprintf(header, sizeof header,
                   "{\"resumed_from\":{\"trace\":%s,\"file\":\"%s\",\"step\":%d,\"checkpoint\":"
                   "\"%s\",\"checkpoint_file\":\"c.safetensors\"}}",
                   id, file, step, fb_hash_hex(hash, checkpoint));
    options.header = header;
    assert_ok(fb_recorder_open(&recorder, path, &options, &err));
    fb_recorder_mark(recorder, "nothing");
    assert_ok(fb_recorder_close(recorder, &err));
    return path;
}

static fb_trace_chain chain_of(const char *path)
{
    fb_trace_chain chain;
    fb_error err;

    assert_ok(fb_trace_chain_read(&chain, path, &err));
    return chain;
}

static void a_run_that_began_by_itself_is_a_chain_of_one(void **state)
{
    const fixture *f = *state;
    fb_trace_chain chain = chain_of(f->trace);

    assert_int_equal(chain.count, 1);
    assert_string_equal(chain.links[0].path, f->trace);
    assert_true(fb_hash_equal(chain.links[0].id, id_of(f->trace)));
    assert_false(chain.links[0].resumed);
    assert_int_equal(chain.links[0].last_step, 8);
    fb_trace_chain_free(&chain);
}

static void links_are_followed_by_id_under_any_name(void **state)
{
    const fixture *f = *state;
    const fb_hash none = {0, 0}, first = id_of(f->trace);
    const fb_hash second = id_of(write_link(f, "b.fbt", &first, "run.fbt", 6, none));
    const char *third = write_link(f, "c.fbt", &second, "b.fbt", 7, none);

    for (int renamed = 0; renamed < 2; renamed++) {
        fb_trace_chain chain = chain_of(third);

        assert_int_equal(chain.count, 3);
        assert_string_equal(chain.links[1].path,
                            in_folder(&f->folder, renamed ? "x.fbt" : "b.fbt"));
        assert_string_equal(chain.links[1].name, "b.fbt");
        assert_int_equal(chain.links[0].resumed_step, 7);
        assert_int_equal(chain.links[1].resumed_step, 6);
        assert_string_equal(chain.links[2].path, f->trace);
        assert_true(fb_hash_equal(chain.links[2].id, first));
        fb_trace_chain_free(&chain);
        if (!renamed)
            assert_int_equal(rename(in_folder(&f->folder, "b.fbt"), in_folder(&f->folder, "x.fbt")),
                             0);
    }
}

static void a_link_that_is_not_there_ends_the_chain_with_its_id(void **state)
{
    const fixture *f = *state;
    const fb_hash none = {0, 0}, lost = {77, 88};
    fb_trace_chain chain = chain_of(write_link(f, "d.fbt", &lost, "lost.fbt", 6, none));

    assert_int_equal(chain.count, 2);
    assert_null(chain.links[1].path);
    assert_string_equal(chain.links[1].name, "lost.fbt");
    assert_true(fb_hash_equal(chain.links[1].id, lost));
    fb_trace_chain_free(&chain);
}

static void checkpoint_of_step(const fixture *f, int step, char path[192], fb_hash *hash)
{
    fb_error err;

    (void)snprintf(path, 192, "%s/run.ckpt/step-%08d.safetensors", f->folder.path, step);
    assert_ok(fb_hash_file(hash, NULL, path, &err));
}

static void without_an_id_the_checkpoint_between_them_links_two_traces(void **state)
{
    const fixture *f = *state;
    char path[192];
    fb_hash hash;
    fb_trace_chain chain;

    checkpoint_of_step(f, 6, path, &hash);
    chain = chain_of(write_link(f, "e.fbt", NULL, "unknown.fbt", 6, hash));
    assert_int_equal(chain.count, 2);
    assert_string_equal(chain.links[1].path, f->trace);
    fb_trace_chain_free(&chain);
    hash.lo ^= 1;
    chain = chain_of(write_link(f, "e.fbt", NULL, "unknown.fbt", 6, hash));
    assert_int_equal(chain.count, 2);
    assert_null(chain.links[1].path);
    assert_false(chain.links[1].has_id);
    fb_trace_chain_free(&chain);
}

/* A run whose header says that it goes on from a checkpoint that it writes itself. */
static const char *record_circle(const fixture *f, fb_hash checkpoint)
{
    const char *path = in_folder(&f->folder, "circle.fbt");
    const fb_run_options run_options = {
        .size = sizeof run_options, .threads = 1, .folder = f->folder.path};
    fb_recorder_options options = {.size = sizeof options};
    char hex[FB_HASH_HEX_BYTES], *header;
    fb_recorder *recorder;
    fb_config config;
    fb_run *run;
    fb_error err;

    assert_ok(fb_config_parse(&config, SMALL_GPT, "test", NULL, 0, &err));
    assert_ok(fb_run_create(&run, &config, &run_options, &err));
    assert_true(asprintf(&header,
                         "%.*s,\"resumed_from\":{\"trace\":null,\"file\":\"circle.fbt\","
                         "\"step\":6,\"checkpoint\":\"%s\",\"checkpoint_file\":\"c\"}}",
                         (int)strlen(fb_run_header(run)) - 1, fb_run_header(run),
                         fb_hash_hex(hex, checkpoint)) > 0);
    options.header = header;
    assert_ok(fb_recorder_open(&recorder, path, &options, &err));
    fb_run_observe(run, fb_recorder_observer(recorder));
    steps_through(run, 6);
    fb_run_destroy(run);
    assert_ok(fb_recorder_close(recorder, &err));
    fb_config_free(&config);
    free(header);
    return path;
}

static void a_circle_ends_where_it_closes(void **state)
{
    const fixture *f = *state;
    fb_trace_chain chain;
    char path[192];
    fb_hash hash;

    checkpoint_of_step(f, 6, path, &hash);
    chain = chain_of(record_circle(f, hash));
    assert_int_equal(chain.count, 1);
    assert_true(chain.links[0].resumed);
    fb_trace_chain_free(&chain);
    assert_int_equal(unlink(in_folder(&f->folder, "circle.fbt")), 0);
}

/* A name with a path in it stays in the folder. */
static void a_name_leads_nowhere_else(void **state)
{
    const fixture *f = *state;
    fb_trace_chain chain;
    char path[192];
    fb_hash hash;

    checkpoint_of_step(f, 6, path, &hash);
    chain = chain_of(write_link(f, "g.fbt", NULL, "../../run.fbt", 6, hash));
    assert_int_equal(chain.count, 2);
    assert_string_equal(chain.links[1].path, f->trace);
    fb_trace_chain_free(&chain);
}

/* --- The trace of a checkpoint ---------------------------------------------------------------- */

static char *header_of(const char *path)
{
    fb_trace *trace;
    fb_error err;
    char *header;

    assert_ok(fb_trace_open(&trace, path, &err));
    header = strdup(fb_trace_get_info(trace)->header);
    fb_trace_close(trace);
    return header;
}

static void a_checkpoint_leads_to_the_trace_of_its_run(void **state)
{
    const fixture *f = *state;
    char path[192], *header = header_of(f->trace), *found;
    const char *moved = in_folder(&f->folder, "renamed.fbt");
    fb_hash hash, id;
    fb_error err;

    checkpoint_of_step(f, 6, path, &hash);
    assert_ok(fb_trace_of_checkpoint(&found, &id, path, 6, hash, header, &err));
    assert_string_equal(found, f->trace);
    assert_true(fb_hash_equal(id, id_of(f->trace)));
    free(found);
    assert_int_equal(rename(f->trace, moved), 0);
    assert_ok(fb_trace_of_checkpoint(&found, &id, path, 6, hash, header, &err));
    assert_string_equal(found, moved);
    free(found);
    assert_int_equal(rename(moved, f->trace), 0);
    hash.hi ^= 1; /* another checkpoint of that step: that run did not write it */
    assert_ok(fb_trace_of_checkpoint(&found, &id, path, 6, hash, header, &err));
    assert_null(found);
    free(header);
}

/* A kill between the file and its event: the trace ends before it could tell. */
static void a_torn_namesake_is_linked_only_if_it_read_the_same(void **state)
{
    static const recording how = {.checkpoints = true, .steps = 4};
    static const fb_config_set seed = {"seed", "43"};
    const recording other = {.sets = &seed, .set_count = 1, .steps = 4};
    const fixture *f = *state;
    char path[192], to[192], *header = header_of(f->trace), *found;
    const char *torn = in_folder(&f->folder, "torn.fbt");
    fb_hash hash, id;
    fb_error err;

    checkpoint_of_step(f, 6, path, &hash);
    (void)snprintf(to, sizeof to, "%s/torn.ckpt", f->folder.path);
    assert_int_equal(mkdir(to, 0777), 0);
    (void)strcat(to, "/step-00000006.safetensors");
    assert_int_equal(link(path, to), 0);
    hash.lo ^= 1; /* no other trace has it */
    cut_file(record(&f->folder, "x.fbt", &how), torn, 4096);
    assert_ok(fb_trace_of_checkpoint(&found, &id, to, 6, hash, header, &err));
    assert_string_equal(found, torn);
    free(found);
    cut_file(record(&f->folder, "x.fbt", &other), torn, 4096);
    assert_ok(fb_trace_of_checkpoint(&found, &id, to, 6, hash, header, &err));
    assert_null(found);
    free(header);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_began_by_itself_is_a_chain_of_one),
        cmocka_unit_test(links_are_followed_by_id_under_any_name),
        cmocka_unit_test(a_link_that_is_not_there_ends_the_chain_with_its_id),
        cmocka_unit_test(without_an_id_the_checkpoint_between_them_links_two_traces),
        cmocka_unit_test(a_circle_ends_where_it_closes),
        cmocka_unit_test(a_name_leads_nowhere_else),
        cmocka_unit_test(a_checkpoint_leads_to_the_trace_of_its_run),
        cmocka_unit_test(a_torn_namesake_is_linked_only_if_it_read_the_same),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
