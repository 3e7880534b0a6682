/* SPDX-License-Identifier: Apache-2.0
 *
 * bench_trace.c - what recording and reading cost: time an event, bytes an event, events a second.
 *
 * usage: bench_trace [--json] [--apart] [EVENTS]
 *
 * --apart: the program's thread on processor 0, the recorder's on processor 1; else as the system
 * likes, which on a busy machine is the same one for both.
 *
 * The event stream is that of a GPT training step: sites that repeat every step, two inputs an
 * event, hashes already computed, four micro-batches. Times are of the recorder alone: no tensor
 * bytes are hashed and no stack is captured after the first step. "Its thread" is what the program
 * waits for, less what the same loop takes when nobody listens; event hashes, columns and
 * compression are made on the recorder's own thread.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "firstbit/recorder.h"
#include "firstbit/trace.h"

enum { LAYERS = 12, OPS = 12, MICROS = 4, SITES = LAYERS * OPS * 2 };

static double cpu(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double now(void)
{
    return cpu(CLOCK_MONOTONIC);
}

/* Of the calling thread, and of those that it starts from here on. */
static void stay_on(int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        perror("bench_trace: --apart");
}

static void die(const fb_error *err)
{
    fprintf(stderr, "bench_trace: %s\n", err->text);
    exit(2);
}

static void report_sites(const fb_observer *o)
{
    for (uint32_t i = 0; i < SITES; i++) {
        const bool forward = i < SITES / 2;
        char path[64], op[16];
        fb_site site = {.size = sizeof site,
                        .kind = FB_KIND_TENSOR,
                        .phase = forward ? FB_PHASE_FORWARD : FB_PHASE_BACKWARD,
                        .path = path,
                        .op = op,
                        .slot = forward ? "out" : "grad",
                        .dtype = FB_DTYPE_F32,
                        .rank = 3,
                        .shape = {16, 256, 768}};

        (void)snprintf(path, sizeof path, "transformer.h.%u.block.%u", i / OPS % LAYERS, i % OPS);
        (void)snprintf(op, sizeof op, "op%u", i % OPS);
        (void)o->on_site(o->self, i, &site, NULL);
    }
}

static uint64_t record_step(const fb_observer *o, uint64_t step, uint64_t *random)
{
    for (int32_t micro = 0; micro < MICROS; micro++)
        for (uint32_t i = 0; i < SITES; i++) {
            const fb_ref inputs[2] = {{i == 0 ? 0 : i - 1, micro, step}, {i / 2, micro, step}};
            fb_event e = {.size = sizeof e,
                          .site = i,
                          .step = step,
                          .micro = micro,
                          .storage = i,
                          .version = (uint32_t)(step * MICROS + (uint64_t)micro),
                          .inputs = inputs,
                          .input_count = i == 0 ? 0 : 2};

            e.hash.lo = *random += UINT64_C(0x9e3779b97f4a7c15);
            e.hash.hi = e.hash.lo * UINT64_C(0xbf58476d1ce4e5b9) ^ e.hash.lo >> 29;
            e.hash.lo *= UINT64_C(0x94d049bb133111eb);
            (void)o->on_event(o->self, &e, NULL);
        }
    (void)o->on_step_end(o->self, step, NULL);
    return (uint64_t)SITES * MICROS;
}

/* An observer that does nothing: what the events' own making takes. */
static fb_status ignore_event(void *self, const fb_event *event, fb_error *err)
{
    (void)self;
    (void)event;
    (void)err;
    return FB_OK;
}

static fb_status ignore_step_end(void *self, uint64_t step, fb_error *err)
{
    (void)self;
    (void)step;
    (void)err;
    return FB_OK;
}

static double measure_making(uint64_t wanted)
{
    static const fb_observer nobody = {
        .size = sizeof nobody, .on_event = ignore_event, .on_step_end = ignore_step_end};
    const fb_observer *volatile o = &nobody; /* as little known to the compiler as a recorder */
    uint64_t random = 1, step = 1, events = 0;

    const double start = cpu(CLOCK_THREAD_CPUTIME_ID);
    while (events < wanted)
        events += record_step(o, step++, &random);
    return (cpu(CLOCK_THREAD_CPUTIME_ID) - start) * 1e9 / (double)events;
}

typedef struct result {
    double record_ns, thread_ns, making_ns, cpu_ns, bytes, read_ns, verify_ns;
    uint64_t events;
} result;

static void measure_recording(result *out, const char *path, uint64_t wanted, bool apart)
{
    fb_recorder *r;
    struct stat file;
    uint64_t random = 1, step = 1, events = 0;
    fb_error err;

    if (apart)
        stay_on(1);
    if (fb_recorder_open(&r, path, NULL, &err) != FB_OK)
        die(&err);
    if (apart)
        stay_on(0);
    report_sites(fb_recorder_observer(r));
    (void)record_step(fb_recorder_observer(r), step++, &random); /* stacks are captured here */
    const double start = now(), start_thread = cpu(CLOCK_THREAD_CPUTIME_ID);
    const double start_cpu = cpu(CLOCK_PROCESS_CPUTIME_ID);
    while (events < wanted)
        events += record_step(fb_recorder_observer(r), step++, &random);
    out->record_ns = (now() - start) * 1e9 / (double)events;
    out->thread_ns = (cpu(CLOCK_THREAD_CPUTIME_ID) - start_thread) * 1e9 / (double)events;
    if (fb_recorder_close(r, &err) != FB_OK)
        die(&err);
    out->cpu_ns = (cpu(CLOCK_PROCESS_CPUTIME_ID) - start_cpu) * 1e9 / (double)events;
    out->events = events;
    if (stat(path, &file) != 0)
        exit(2);
    out->bytes = (double)file.st_size / (double)events;
}

static void measure_reading(result *out, const char *path)
{
    const fb_event *e;
    fb_trace_info info;
    uint64_t events = 0;
    fb_trace *t;
    fb_error err;

    if (fb_trace_open(&t, path, &err) != FB_OK)
        die(&err);
    double start = now();
    while (fb_trace_next(t, &e, NULL, &err) == FB_OK && e != NULL)
        events++;
    out->read_ns = (now() - start) * 1e9 / (double)events;
    start = now();
    if (fb_trace_verify(&info, t, NULL, NULL, &err) != FB_OK || info.status != FB_TRACE_COMPLETE)
        die(&err);
    out->verify_ns = (now() - start) * 1e9 / (double)events;
    fb_trace_close(t);
}

/* ratio: above 1 is better than the goal of the format (docs/trace-format.md says what is kept). */
static void print(bool json, const char *what, double value, double goal, const char *unit)
{
    if (json)
        printf("{\"schema\":1,\"bench\":\"trace\",\"case\":\"%s\",\"this\":%.4g,\"peer\":%.4g,"
               "\"peer_name\":\"goal\",\"unit\":\"%s\",\"ratio\":%.3g}\n",
               what, value, goal, unit, goal / value);
    else
        printf("%-30s %10.2f   goal %8.2f   %s\n", what, value, goal, unit);
}

int main(int argc, char **argv)
{
    const char *count = "3000000";
    bool json = false, apart = false;
    char path[] = "/dev/shm/bench_trace-XXXXXX";
    const int descriptor = mkstemp(path);
    result r;

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--apart") == 0)
            apart = true;
        else
            count = argv[i];
    if (descriptor < 0) {
        perror("bench_trace");
        return 2;
    }
    (void)close(descriptor);
    r.making_ns = measure_making(strtoull(count, NULL, 10));
    measure_recording(&r, path, strtoull(count, NULL, 10), apart);
    measure_reading(&r, path);
    (void)unlink(path);
    print(json, "record an event, its thread", r.thread_ns - r.making_ns, 50, "ns");
    print(json, "with the making of the event", r.thread_ns, 50, "ns");
    print(json, "all threads, CPU", r.cpu_ns, 200, "ns");
    print(json, "elapsed, events at full speed", r.record_ns, 200, "ns");
    print(json, "an ops event in the file", r.bytes, 20, "bytes");
    print(json, "read an event", r.read_ns, 200, "ns");
    print(json, "verify an event", r.verify_ns, 1000, "ns");
    return 0;
}
