/* SPDX-License-Identifier: Apache-2.0
 *
 * test_tail_bits.c - the tail file of a killed program, cut and flipped, beside its trace, whole
 * and cut too: what is read is always a prefix of what was recorded, and holds every event that
 * lies before the damage.
 *
 * FIRSTBIT_FAULT_STRIDE=N  every N-th bit and prefix (default: a sample that takes seconds)
 */
#include "tests/faults/damage.h"

#include "tracer/record/recorder_state.h"
#include "tracer/format/tail.h"
#include "tests/sanitized.h"

typedef struct killed {
    test_folder folder;
    char tail_path[160];
    file_copy trace, tail;
    layout layout;
    truth truth;
    uint64_t chunk_events; /* the others are in the tail */
    int descriptor;        /* of the tail file */
    int trace_descriptor;
} killed;

/* The files as they lie when a program is killed: two chunks, then half a filling of the tail. */
static void make_killed(killed *k)
{
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    char copy[160];
    uint64_t random = 1;
    fb_recorder *r;

    make_folder(&k->folder);
    (void)snprintf(k->tail_path, sizeof k->tail_path, "%s-tail", k->folder.file);
    (void)snprintf(copy, sizeof copy, "%s/running", k->folder.path);
    assert_int_equal(fb_recorder_open(&r, copy, &options, NULL), FB_OK);
    report_sites(fb_recorder_observer(r));
    report_steps(fb_recorder_observer(r), 0, 100, &random);
    fb__recorder_seal(r);
    report_steps(fb_recorder_observer(r), 101, 120, &random);
    fb__recorder_seal(r);
    report_steps(fb_recorder_observer(r), 121, 150, &random);
    k->trace = load_file(copy);
    (void)snprintf(copy, sizeof copy, "%s/running-tail", k->folder.path);
    k->tail = load_file(copy);
    store_file(k->folder.file, k->trace.bytes, k->trace.count);
    store_file(k->tail_path, k->tail.bytes, k->tail.count);
    k->truth = read_truth(k->folder.file);
    find_chunks(&k->layout, &k->trace);
    k->chunk_events = whole_events(&k->layout, k->trace.count);
    assert_in_range(k->chunk_events, 100, k->truth.events - 100);
    k->descriptor = open(k->tail_path, O_RDWR);
    k->trace_descriptor = open(k->folder.file, O_RDWR);
    assert_true(k->descriptor >= 0 && k->trace_descriptor >= 0);
    (void)fb_recorder_close(r, NULL);
}

static void free_killed(killed *k)
{
    assert_int_equal(close(k->descriptor), 0);
    assert_int_equal(close(k->trace_descriptor), 0);
    free(k->truth.digest);
    free(k->trace.bytes);
    free(k->tail.bytes);
    drop_folder(&k->folder);
}

/* Where half `i` begins, and the end of its committed rows. */
static size_t half_at(const killed *k, int i, size_t *end)
{
    uint64_t half_bytes, committed;
    size_t at;

    memcpy(&half_bytes, k->tail.bytes + 24, sizeof half_bytes);
    at = FB_TAIL_HEAD_BYTES + (size_t)i * (size_t)half_bytes;
    memcpy(&committed, k->tail.bytes + at + 8, sizeof committed);
    *end = at + FB_TAIL_HALF_HEAD_BYTES + (size_t)committed;
    return at;
}

static uint64_t sequence_of(const killed *k, int i)
{
    size_t end;
    uint64_t sequence;

    memcpy(&sequence, k->tail.bytes + half_at(k, i, &end), sizeof sequence);
    return sequence;
}

/* The half that holds what is in no chunk. */
static int live_half(const killed *k)
{
    return sequence_of(k, 0) > sequence_of(k, 1) ? 0 : 1;
}

/* Events in rows of the live half that end at or before byte `at` of the tail. */
static uint64_t staged_before(const killed *k, size_t at)
{
    size_t end, row = half_at(k, live_half(k), &end) + FB_TAIL_HALF_HEAD_BYTES;
    uint64_t events = 0;

    while (row < end) {
        fb_tail_row_head head;

        memcpy(&head, k->tail.bytes + row, sizeof head);
        row += head.bytes;
        if (row > at)
            break;
        events += head.type == FB_TAIL_EVENT;
    }
    return events;
}

static uint64_t read_killed(const killed *k)
{
    const outcome o = read_all(k->folder.file, &k->truth);

    assert_int_equal(o.opened, FB_OK);
    assert_int_equal(o.status, FB_TRACE_TORN);
    assert_int_equal(o.promised, o.events);
    return o.events;
}

static void flip_tail(const killed *k, size_t bit)
{
    const uint8_t byte = k->tail.bytes[bit / 8] ^ (uint8_t)(1u << bit % 8);

    assert_int_equal(pwrite(k->descriptor, &byte, 1, (off_t)(bit / 8)), 1);
}

static void restore_tail(const killed *k, size_t bit)
{
    assert_int_equal(pwrite(k->descriptor, &k->tail.bytes[bit / 8], 1, (off_t)(bit / 8)), 1);
}

/* A damaged row ends the tail; all before it is there. */
static void a_flipped_bit_costs_the_rows_behind_it_alone(void **state)
{
    const size_t stride = thoroughness("FIRSTBIT_FAULT_STRIDE", 499 * EVERY);
    size_t end, flips = 0, start;
    killed k;

    (void)state;
    make_killed(&k);
    start = half_at(&k, live_half(&k), &end) + FB_TAIL_HALF_HEAD_BYTES;
    for (size_t bit = start * 8; bit < end * 8; bit += stride, flips++) {
        uint64_t events;

        flip_tail(&k, bit);
        events = read_killed(&k);
        if (events != k.chunk_events + staged_before(&k, bit / 8))
            fail_msg("bit %zu of byte %zu: %llu events", bit % 8, bit / 8,
                     (unsigned long long)events);
        restore_tail(&k, bit);
    }
    print_message("%zu flips of %zu bits of rows\n", flips, (end - start) * 8);
    free_killed(&k);
}

/* Heads of the file and of its halves: whatever they say then, nothing untrue is read. */
static void a_flipped_bit_of_a_head_makes_nothing_up(void **state)
{
    const size_t stride = thoroughness("FIRSTBIT_FAULT_STRIDE", 499) == 1 ? 1 : 7;
    size_t end, flips = 0;
    killed k;

    (void)state;
    make_killed(&k);
    for (size_t bit = 0; bit < FB_TAIL_HEAD_BYTES * 8; bit += stride * 16 + 1, flips++) {
        flip_tail(&k, bit);
        assert_int_equal(read_killed(&k), k.chunk_events); /* no tail */
        restore_tail(&k, bit);
    }
    for (int half = 0; half < FB_TAIL_HALVES; half++) {
        const size_t at = half_at(&k, half, &end);

        for (size_t bit = at * 8; bit < (at + FB_TAIL_HALF_HEAD_BYTES) * 8;
             bit += stride, flips++) {
            flip_tail(&k, bit);
            assert_in_range(read_killed(&k), k.chunk_events, k.truth.events);
            restore_tail(&k, bit);
        }
    }
    print_message("%zu flips in heads\n", flips);
    free_killed(&k);
}

/* Bytes that no head calls committed mean nothing. */
static void what_is_not_committed_is_not_looked_at(void **state)
{
    const size_t stride = thoroughness("FIRSTBIT_FAULT_STRIDE", 499) * 61;
    size_t end, flips = 0;
    killed k;

    (void)state;
    make_killed(&k);
    (void)half_at(&k, live_half(&k), &end);
    const size_t limit = live_half(&k) == 0 ? half_at(&k, 1, &end) : k.tail.count;
    (void)half_at(&k, live_half(&k), &end);
    for (size_t bit = end * 8; bit < limit * 8; bit += stride, flips++) {
        flip_tail(&k, bit);
        assert_int_equal(read_killed(&k), k.truth.events);
        restore_tail(&k, bit);
    }
    print_message("%zu flips behind the rows\n", flips);
    assert_true(flips > 10);
    free_killed(&k);
}

static void a_cut_tail_is_left_out_or_whole(void **state)
{
    const size_t stride = thoroughness("FIRSTBIT_FAULT_STRIDE", 499) * 7;
    size_t end, cuts = 0;
    killed k;

    (void)state;
    make_killed(&k);
    (void)half_at(&k, live_half(&k), &end);
    for (size_t cut = k.tail.count; cut > stride; cut -= stride, cuts++) {
        uint64_t events;

        assert_int_equal(ftruncate(k.descriptor, (off_t)cut), 0);
        events = read_killed(&k);
        assert_int_equal(events, cut >= end ? k.truth.events : k.chunk_events);
    }
    print_message("%zu prefixes of the tail\n", cuts);
    free_killed(&k);
}

/* The trace lost its end and the tail is whole: rows are never counted twice, nor a gap passed
 * over. */
static void a_cut_trace_beside_its_tail_is_a_prefix(void **state)
{
    const size_t stride = thoroughness("FIRSTBIT_FAULT_STRIDE", 499 * EVERY);
    size_t cuts = 0;
    killed k;

    (void)state;
    make_killed(&k);
    for (size_t cut = k.trace.count; cut > 0; cut -= cut < stride ? cut : stride, cuts++) {
        outcome o;

        assert_int_equal(ftruncate(k.trace_descriptor, (off_t)cut), 0);
        o = read_all(k.folder.file, &k.truth);
        if (cut < k.layout.header_end) {
            assert_int_equal(o.opened, FB_E_FORMAT);
            continue;
        }
        assert_int_equal(o.opened, FB_OK);
        assert_int_equal(o.status, FB_TRACE_TORN);
        assert_in_range(o.events, whole_events(&k.layout, cut), k.truth.events);
    }
    print_message("%zu prefixes of the trace\n", cuts);
    free_killed(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_costs_the_rows_behind_it_alone),
        cmocka_unit_test(a_flipped_bit_of_a_head_makes_nothing_up),
        cmocka_unit_test(what_is_not_committed_is_not_looked_at),
        cmocka_unit_test(a_cut_tail_is_left_out_or_whole),
        cmocka_unit_test(a_cut_trace_beside_its_tail_is_a_prefix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
