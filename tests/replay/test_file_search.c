/* SPDX-License-Identifier: Apache-2.0
 *
 * test_file_search.c - a search for a moved file sees what lies near, goes round in no circle, and
 * ends.
 */
#include "replay_fixture.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "replay/file_search.h"

static void make(const test_folder *folder, const char *name)
{
    assert_int_equal(mkdir(in_folder(folder, name), 0777), 0);
}

static void put(const test_folder *folder, const char *name, size_t bytes)
{
    char *text = calloc(1, bytes + 1);

    assert_non_null(text);
    write_file(in_folder(folder, name), text, bytes);
    free(text);
}

static fb__file_search walk(const char *one, const char *two)
{
    const char *const folders[] = {one, two};
    fb__file_search search = {.count = 0};
    fb_error err;

    assert_ok(fb__file_search_walk(&search, folders, 2, &err));
    return search;
}

static size_t count_of_size(fb__file_search *search, uint64_t bytes)
{
    size_t at = 0, count = 0;

    while (fb__file_search_of_size(search, &at, bytes) != NULL)
        count++;
    return count;
}

static void files_are_found_by_size_to_a_depth_and_near_ones_first(void **state)
{
    const test_folder folder = make_folder();
    fb__file_search search;
    size_t at = 0;

    (void)state;
    make(&folder, "a");
    make(&folder, "a/b");
    make(&folder, "a/b/c");
    make(&folder, "a/b/c/d");
    put(&folder, "a/b/c/d/too_deep", 7);
    put(&folder, "a/b/c/deep", 7);
    put(&folder, "near", 7);
    put(&folder, "other", 8);
    search = walk(NULL, folder.path);
    assert_int_equal(count_of_size(&search, 7), 2);
    assert_string_equal(fb__file_search_of_size(&search, &at, 7), in_folder(&folder, "near"));
    assert_string_equal(fb__file_search_of_size(&search, &at, 7), in_folder(&folder, "a/b/c/deep"));
    assert_null(fb__file_search_of_size(&search, &at, 7));
    fb__file_search_free(&search);
    drop_folder(&folder);
}

static void links_to_folders_and_hidden_folders_are_not_gone_into(void **state)
{
    const test_folder folder = make_folder();
    fb__file_search search;

    (void)state;
    make(&folder, "a");
    make(&folder, ".hidden");
    put(&folder, ".hidden/file", 7);
    put(&folder, "a/file", 7);
    assert_int_equal(symlink(".", in_folder(&folder, "a/circle")), 0);
    assert_int_equal(symlink("..", in_folder(&folder, "a/up")), 0);
    assert_int_equal(symlink("a/file", in_folder(&folder, "linked")),
                     0); /* a link to a file is one */
    assert_int_equal(symlink("nowhere", in_folder(&folder, "broken")), 0);
    assert_int_equal(mkfifo(in_folder(&folder, "pipe"), 0666), 0);
    search = walk(NULL, folder.path);
    assert_int_equal(count_of_size(&search, 7), 2);
    assert_true(search.entries < 20);
    fb__file_search_free(&search);
    drop_folder(&folder);
}

static void a_search_ends_however_much_there_is(void **state)
{
    const test_folder folder = make_folder();
    fb__file_search search;
    char name[32];

    (void)state;
    for (int i = 0; i < FB__SEARCH_ENTRIES_MAX + 50; i++) {
        (void)snprintf(name, sizeof name, "f%d", i);
        assert_int_equal(symlink("x", in_folder(&folder, name)), 0);
    }
    search = walk(NULL, folder.path);
    assert_int_equal(search.entries, FB__SEARCH_ENTRIES_MAX);
    fb__file_search_free(&search);
    drop_folder(&folder);
}

static void checkpoints_are_told_by_their_first_bytes(void **state)
{
    static const char start[] =
        "12345678{\"__metadata__\":{\"format\":\"firstbit-checkpoint-1\",\"step\":\"6\",";
    const fixture *f = *state;
    const test_folder folder = make_folder();
    fb__file_search search = walk(in_folder(&f->folder, "run.ckpt"), folder.path);
    size_t at = 0;

    assert_non_null(strstr(fb__file_search_of_step(&search, &at, 6), "step-00000006"));
    assert_null(fb__file_search_of_step(&search, &at, 6));
    fb__file_search_free(&search);
    /* One that only begins so is a candidate; its hash would tell. Cut anywhere before, it is none.
     */
    for (size_t cut = 0; cut <= sizeof start - 1; cut++) {
        write_file(in_folder(&folder, "c"), start, cut);
        search = walk(NULL, folder.path);
        at = 0;
        if ((fb__file_search_of_step(&search, &at, 6) != NULL) != (cut >= sizeof start - 2))
            fail_msg("a checkpoint cut to %zu bytes", cut);
        fb__file_search_free(&search);
    }
    drop_folder(&folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_found_by_size_to_a_depth_and_near_ones_first),
        cmocka_unit_test(links_to_folders_and_hidden_folders_are_not_gone_into),
        cmocka_unit_test(a_search_ends_however_much_there_is),
        cmocka_unit_test(checkpoints_are_told_by_their_first_bytes),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
