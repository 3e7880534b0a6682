/* SPDX-License-Identifier: Apache-2.0
 *
 * llmc_step.c - llm.c's own training step on the models of bench_step.py, for --llmc there.
 *
 *   cc -Ofast -march=native -fopenmp -I LLMC -I LLMC/llmc -o llmc_step bench/llmc_step.c -lm
 *   llmc_step small|124m STEPS
 *
 * LLMC is a checkout of llm.c, of which nothing is here; no build of this project compiles this
 * file. Weights and tokens are random. Prints the median milliseconds of a step.
 */
#define TESTING
#include "train_gpt2.c"

static uint64_t state = 1;

static uint32_t next(void)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(state >> 33);
}

/* A checkpoint as llm.c reads it: 256 numbers, then all parameters. */
static void write_checkpoint(const char *path, const int header[256])
{
    const size_t v = (size_t)header[7], c = (size_t)header[6], layers = (size_t)header[4];
    const size_t n = (v + (size_t)header[2] + 2) * c + layers * (12 * c * c + 13 * c);
    FILE *file = fopenCheck(path, "wb");

    fwrite(header, sizeof *header, 256, file);
    for (size_t i = 0; i < n; i++) {
        const float x = ((float)next() * 0x1p-30f - 1.0f) * 0.02f;
        fwrite(&x, sizeof x, 1, file);
    }
    fcloseCheck(file);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    const int small = argc == 3 && strcmp(argv[1], "small") == 0, steps = atoi(argv[argc - 1]);
    int header[256] = {20240326, 3, 64, 50257, 12, 12, 768, 50304}, tokens[2][12 * 64];
    const int batch = small ? 12 : 4, out = dup(1); /* llm.c prints to stdout, too */
    double times[1000];
    GPT2 model;

    if (argc != 3 || steps < 3 || steps > 1000)
        return 2;
    if (small)
        memcpy(header + 3, (int[]){65, 6, 6, 384, 128}, 5 * sizeof *header);
    write_checkpoint("llmc_step.bin", header);
    if (freopen("/dev/null", "w", stdout) == NULL)
        return 2;
    gpt2_build_from_checkpoint(&model, "llmc_step.bin");
    remove("llmc_step.bin");
    for (int i = 0; i < batch * 64; i++) {
        tokens[0][i] = (int)(next() % (uint32_t)header[3]);
        tokens[1][i] = (int)(next() % (uint32_t)header[3]);
    }
    for (int i = 0; i < steps; i++) {
        const double start = now();

        gpt2_forward(&model, tokens[0], tokens[1], (size_t)batch, 64);
        gpt2_zero_grad(&model);
        gpt2_backward(&model);
        gpt2_update(&model, 3e-4f, 0.9f, 0.999f, 1e-8f, 0.1f, i + 1);
        times[i] = now() - start;
    }
    qsort(times + 1, (size_t)steps - 1, sizeof *times, compare);
    dprintf(out, "{\"ms\": %.2f}\n", times[1 + (steps - 1) / 2]);
    return 0;
}
