/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_bytes_read.c - what large traces cost to open, to seek in and to compare: pairs of traces
 * of a given size that differ in one event of one step.
 *
 * usage: bench_bytes_read FOLDER MEGABYTES...   e.g. 10 100 1000 10000; the folder needs twice the
 *                                               largest; files are removed again
 *
 * The traces are simulated: steps of 1,152 tensor events, four micro-batches, hashes only. Each
 * measurement is of a process that has done nothing before.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "diff/read/chains.h"
#include "diff/diff.h"
#include "firstbit/recorder.h"
#include "firstbit/trace.h"

enum { SITES = 288, MICROS = 4 };

static void must(bool holds, const fb_error *err)
{
    if (holds)
        return;
    fprintf(stderr, "bench_bytes_read: %s\n", err->text);
    exit(2);
}

static double now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- Simulation --------------------------------------------------------------------------------
 */

static void report_sites(const fb_observer *o)
{
    for (uint32_t i = 0; i < SITES; i++) {
        char path[64];
        const fb_site site = {.size = sizeof site,
                              .kind = FB_KIND_TENSOR,
                              .phase = i < SITES / 2 ? FB_PHASE_FORWARD : FB_PHASE_BACKWARD,
                              .path = path,
                              .op = "op",
                              .slot = "out",
                              .dtype = FB_DTYPE_F32,
                              .rank = 3,
                              .shape = {16, 256, 768}};

        (void)snprintf(path, sizeof path, "transformer.h.%u.block.%u", i / 12 % 12, i % 12);
        (void)o->on_site(o->self, i, &site, NULL);
    }
}

static void report_step(const fb_observer *o, uint64_t step, bool changed)
{
    uint64_t random = step * UINT64_C(0x94d049bb133111eb);

    for (int32_t micro = 0; micro < MICROS; micro++)
        for (uint32_t i = 0; i < SITES; i++) {
            fb_event e = {.size = sizeof e, .site = i, .step = step, .micro = micro};

            e.hash.lo = random += UINT64_C(0x9e3779b97f4a7c15);
            e.hash.hi = e.hash.lo * UINT64_C(0xbf58476d1ce4e5b9) ^ e.hash.lo >> 29;
            e.hash.lo ^= changed && micro == 2 && i == 100;
            (void)o->on_event(o->self, &e, NULL);
        }
    (void)o->on_step_end(o->self, step, NULL);
}

/* Until the file has `bytes` (steps 0) or for `steps` steps; returns how many. */
static uint64_t simulate(const char *path, uint64_t bytes, uint64_t steps, uint64_t changed)
{
    const fb_recorder_options options = {.size = sizeof options, .no_stacks = true};
    fb_recorder_stats stats = {.bytes = 0};
    fb_recorder *r;
    uint64_t step;
    fb_error err;

    must(fb_recorder_open(&r, path, &options, &err) == FB_OK, &err);
    report_sites(fb_recorder_observer(r));
    for (step = 1; steps != 0 ? step <= steps : stats.bytes < bytes; step++) {
        report_step(fb_recorder_observer(r), step, step == changed);
        fb_recorder_get_stats(r, &stats);
    }
    must(fb_recorder_close(r, &err) == FB_OK, &err);
    return step - 1;
}

/* --- Measurements, each in a child -------------------------------------------------------------
 */

typedef struct figures {
    uint64_t file_bytes, steps;
    double open_ms, find_ms, diff_ms;
    uint64_t open_bytes, seek_bytes, find_bytes, diff_bytes;
    uint64_t found;
    long peak_kb; /* of the diff */
} figures;

static void measure_open(figures *out, const char *a, const char *b)
{
    const double start = now();
    const fb_event *e;
    fb_trace *t;
    fb_error err;

    (void)b;
    must(fb_trace_open(&t, a, &err) == FB_OK, &err);
    out->open_ms = (now() - start) * 1e3;
    out->open_bytes = fb_trace_bytes_read(t);
    out->file_bytes = fb_trace_get_info(t)->bytes;
    out->steps = fb_trace_get_info(t)->steps;
    must(fb_trace_seek(t, out->steps * 2 / 3, &err) == FB_OK &&
             fb_trace_next(t, &e, NULL, &err) == FB_OK,
         &err);
    out->seek_bytes = fb_trace_bytes_read(t) - out->open_bytes;
    fb_trace_close(t);
}

/* The step, by chains alone. */
static void measure_find(figures *out, const char *a, const char *b)
{
    const double start = now();
    static fb__chains chains;
    fb_trace *ta, *tb;
    bool found;
    fb_error err;

    must(fb_trace_open(&ta, a, &err) == FB_OK, &err);
    must(fb_trace_open(&tb, b, &err) == FB_OK, &err);
    fb__chains_open(&chains, ta, tb, 0);
    must(fb__chains_first(&found, &out->found, &chains, FB_CLASS_OPS, 0, true, &err) == FB_OK,
         &err);
    out->find_ms = (now() - start) * 1e3;
    out->find_bytes = fb_trace_bytes_read(ta) + fb_trace_bytes_read(tb);
    fb_trace_close(ta);
    fb_trace_close(tb);
}

static void measure_diff(figures *out, const char *a, const char *b)
{
    const fb_diff_options options = {.size = sizeof options, .no_replay = true, .no_stacks = true};
    const double start = now();
    fb_diff_report report;
    fb_error err;

    must(fb_diff(&report, a, b, &options, &err) == FB_OK, &err);
    out->diff_ms = (now() - start) * 1e3;
    out->diff_bytes = report.bytes_read;
    if (report.verdict != FB_DIFF_DIFFER || report.first.name.step != out->found) {
        fprintf(stderr, "bench_bytes_read: diff finds something else\n");
        exit(2);
    }
    fb_diff_report_free(&report);
}

static long in_child(void (*work)(figures *, const char *, const char *), figures *out,
                     const char *a, const char *b)
{
    struct rusage usage;
    int status;
    const pid_t child = fork();

    if (child == 0) {
        work(out, a, b);
        _exit(0);
    }
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0)
        exit(2);
    return usage.ru_maxrss;
}

static void measure(const char *folder, uint64_t megabytes)
{
    figures *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char a[512], b[512];
    uint64_t steps;

    if (f == MAP_FAILED)
        exit(2);
    (void)snprintf(a, sizeof a, "%s/bytes-a.fbt", folder);
    (void)snprintf(b, sizeof b, "%s/bytes-b.fbt", folder);
    steps = simulate(a, megabytes * 1000000, 0, 0);
    (void)simulate(b, 0, steps, steps * 37 / 100 + 1);
    (void)in_child(measure_open, f, a, b);
    (void)in_child(measure_find, f, a, b);
    f->peak_kb = in_child(measure_diff, f, a, b);
    printf("| %.4g GB | %llu | %.2f ms, %.1f KB | %.0f KB | %.0f KB, %.1f ms | %.0f KB, %.0f ms | "
           "%.1f MB |\n",
           (double)f->file_bytes / 1e9, (unsigned long long)f->steps, f->open_ms,
           (double)f->open_bytes / 1e3, (double)f->seek_bytes / 1e3, (double)f->find_bytes / 1e3,
           f->find_ms, (double)f->diff_bytes / 1e3, f->diff_ms, (double)f->peak_kb / 1e3);
    (void)fflush(stdout);
    (void)unlink(a);
    (void)unlink(b);
    (void)munmap(f, sizeof *f);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: bench_bytes_read FOLDER MEGABYTES...\n");
        return 2;
    }
    puts("| trace | steps | open | seek to a step | find the step | whole diff | peak RSS of diff "
         "|");
    puts("|---|---|---|---|---|---|---|");
    for (int i = 2; i < argc; i++)
        measure(argv[1], strtoull(argv[i], NULL, 10));
    return 0;
}
