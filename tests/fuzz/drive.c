/* SPDX-License-Identifier: Apache-2.0
 *
 * drive.c - a driver for fuzz targets without libFuzzer: every file of a corpus, then changes of
 * them, the same ones every time. For the tests; scripts/fuzz.sh has the real fuzzer.
 *
 * usage: fuzz_TARGET RUNS FILE...
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/fuzz/fuzz.h"
#include "tests/sanitized.h"

enum { INPUT_MAX = 1 << 18 };

static uint64_t state = 1;

static uint64_t next(void)
{
    uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* One to four of: a flipped bit, a byte or word of an awkward value, a piece copied, cut, doubled.
 */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most)
{
    static const uint64_t awkward[] = {0,          1,          0x7f,       0x80,
                                       0xff,       0xffff,     1 << 16,    0x7fffffff,
                                       0x80000000, 0xffffffff, UINT64_MAX, 1u << 22};

    for (unsigned changes = 1 + (unsigned)(next() % 4); changes-- > 0 && size > 8;) {
        const size_t at = (size_t)(next() % (size - 7));
        const uint64_t value = awkward[next() % (sizeof awkward / sizeof awkward[0])];
        const size_t from = (size_t)(next() % size);
        size_t count = (size_t)(next() % 64);

        count = count < size - at ? count : size - at;
        count = count < size - from ? count : size - from;
        switch (next() % 8) {
        case 0:
        case 1:
            data[at] ^= (uint8_t)(1u << next() % 8);
            break;
        case 2:
            data[at] = (uint8_t)next();
            break;
        case 3:
            memcpy(data + at, &value, (size_t)1 << next() % 4);
            break;
        case 4:
            data[at] = (uint8_t)(data[at] + (next() & 1 ? 1 : 255));
            break;
        case 5:
            memmove(data + at, data + from, count);
            break;
        case 6:
            if (size + count <= most) {
                memmove(data + at + count, data + at, size - at);
                size += count;
            }
            break;
        default:
            size -= count < size - 8 && next() % 4 == 0 ? count : 0;
            break;
        }
    }
    return size;
}

/* Targets without checks have none of their own. */
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most,
                                                     unsigned seed)
{
    (void)seed;
    return LLVMFuzzerMutate(data, size, most);
}

static size_t load(uint8_t *to, const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t count;

    if (file == NULL) {
        perror(path);
        exit(2);
    }
    count = fread(to, 1, INPUT_MAX, file);
    fclose(file);
    return count;
}

/* Without slack behind its end: a sanitizer sees whoever reads on. */
static void run_one(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size + (size == 0));

    if (exact == NULL)
        abort();
    memcpy(exact, data, size);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

int main(int argc, char **argv)
{
    static uint8_t input[INPUT_MAX], changed[INPUT_MAX];
    unsigned long runs = argc > 1 ? strtoul(argv[1], NULL, 10) / EVERY : 0, done = 0;

    if (argc < 3) {
        fprintf(stderr, "usage: %s RUNS FILE...\n", argv[0]);
        return 2;
    }
    for (int i = 2; i < argc; i++) {
        const size_t size = load(input, argv[i]);

        run_one(input, size);
        for (unsigned long run = 0; run < runs / (unsigned)(argc - 2); run++, done++) {
            size_t now = size;

            memcpy(changed, input, size);
            for (unsigned rounds = 1 + (unsigned)(next() % 3); rounds-- > 0;)
                now = LLVMFuzzerCustomMutator(changed, now, INPUT_MAX, (unsigned)next());
            run_one(changed, now);
        }
    }
    printf("%d inputs and %lu changes of them\n", argc - 2, done);
    return 0;
}
