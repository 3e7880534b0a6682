/* SPDX-License-Identifier: Apache-2.0
 *
 * cmd_train.c - firstbit train: trains a model of a configuration and records the run.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "cli/args.h"
#include "cli/command.h"
#include "cli/machine.h"
#include "cli/output.h"
#include "cli/recording.h"
#include "cli/train_plan.h"
#include "engine/run.h"
#include "firstbit/recorder.h"
#include "replay/checkpoint_folder.h"
#include "replay/trace_chain.h"

/* Everything that one training run of the command holds. */
typedef struct training {
    const cli_args *args;
    cli_train_plan plan;
    fb_run *run;
    fb_recorder *recorder; /* NULL: no trace */
    bool stop_told;        /* that recording ended early */
    bool checkpoint_lost;
    fb_recorder_stats stats;

    double *step_ms;
    size_t step_count, step_capacity;
} training;

static int out_of_memory(const training *t)
{
    return cli_fail(t->args, "out of memory");
}

/* --- Creating --------------------------------------------------------------------------------- */

/* Whether a file or folder of this name could be made: told before hours of training, not after. */
static int check_writable(const training *t, const char *path)
{
    const char *base = cli_base_name(path);
    char *parent = base == path ? strdup(".") : strndup(path, (size_t)(base - path));
    struct stat info;
    int result = 0;

    if (parent == NULL)
        return out_of_memory(t);
    if (stat(path, &info) == 0) {
        if (!S_ISDIR(info.st_mode))
            result = cli_fail(t->args, "%s: expected a folder for checkpoints", path);
        else if (access(path, W_OK) != 0)
            result = cli_fail(t->args, "%s: %s", path, strerror(errno));
    } else if (access(parent, W_OK) != 0) {
        result = cli_fail(t->args, "%s: %s", path, strerror(errno));
    }
    free(parent);
    return result;
}

/* What a resumed run goes on from. */
typedef struct resumption {
    char *checkpoint; /* NULL: the run begins */
    uint64_t step;
    fb_hash hash;
    char *trace; /* of the run that wrote it; NULL: not found */
    fb_hash id;
} resumption;

/* --resume: a checkpoint, or a folder and then the newest in it. */
static int find_checkpoint(const training *t, resumption *from)
{
    const char *path = cli_value(t->args, "resume");
    struct stat info;
    fb_error err;

    if (path == NULL)
        return 0;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        if (fb_newest_checkpoint(&from->checkpoint, path, &err) != FB_OK)
            return cli_fail_error(t->args, &err);
        return 0;
    }
    from->checkpoint = strdup(path);
    return from->checkpoint == NULL ? out_of_memory(t) : 0;
}

/* The trace of the run that wrote the checkpoint, to be linked from the new one, and never to be
 * replaced by it. */
static int find_trace_before(const training *t, resumption *from)
{
    struct stat before, after;
    char *trace = NULL;
    fb_hash id = {0, 0};
    fb_error err;

    if (from->checkpoint == NULL || cli_has(t->args, "no-trace"))
        return 0;
    if (fb_trace_of_checkpoint(&trace, &id, from->checkpoint, from->step, from->hash,
                               fb_run_header(t->run), &err) != FB_OK)
        return cli_fail_error(t->args, &err);
    from->trace = trace;
    from->id = id;
    if (from->trace != NULL && stat(from->trace, &before) == 0 &&
        stat(t->plan.trace, &after) == 0 && before.st_dev == after.st_dev &&
        before.st_ino == after.st_ino)
        return cli_fail(t->args,
                        "%s: is the trace that this run goes on from, and would be lost: -o names "
                        "another file",
                        t->plan.trace);
    return 0;
}

/* The engine's header; a resumed run adds where it goes on from. malloc'd; NULL: no memory. */
static char *make_header(const training *t, const resumption *from)
{
    const char *header = fb_run_header(t->run);
    cJSON *link;
    char *text, *whole = NULL;

    if (from->checkpoint == NULL)
        return strdup(header);
    link = cJSON_CreateObject();
    if (from->trace != NULL)
        cli_json_hash(link, "trace", from->id);
    else
        cJSON_AddNullToObject(link, "trace");
    cli_json_text(link, "file", from->trace == NULL ? NULL : cli_base_name(from->trace));
    cli_json_count(link, "step", from->step);
    cli_json_hash(link, "checkpoint", from->hash);
    cli_json_text(link, "checkpoint_file", cli_base_name(from->checkpoint));
    text = cJSON_PrintUnformatted(link);
    cJSON_Delete(link);
    if (text != NULL &&
        asprintf(&whole, "%.*s,\"resumed_from\":%s}", (int)strlen(header) - 1, header, text) < 0)
        whole = NULL;
    free(text);
    return whole;
}

static int open_recorder(training *t, const resumption *from)
{
    fb_recorder_options options = {.size = sizeof options};
    char *header;
    fb_error err;
    fb_status status;

    if (cli_recording_options(t->args, &options) != 0)
        return CLI_TROUBLE;
    if (cli_has(t->args, "no-trace"))
        return 0;
    header = make_header(t, from);
    if (header == NULL)
        return out_of_memory(t);
    options.header = header;
    options.checkpoint_every = (uint64_t)t->plan.config.checkpoint_every;
    status = fb_recorder_open(&t->recorder, t->plan.trace, &options, &err);
    free(header);
    if (status != FB_OK)
        return cli_fail_error(t->args, &err);
    fb_run_observe(t->run, fb_recorder_observer(t->recorder));
    return 0;
}

/* Whether a resumed run has steps left, and checkpoints can be written. */
static int check_plan(const training *t, const resumption *from)
{
    const fb_config *config = &t->plan.config;

    if (from->step >= (uint64_t)config->steps)
        return cli_fail(t->args,
                        "%s: of step %" PRIu64 ", and the run has %" PRIi64
                        " steps: nothing is left to do (--steps N sets another end)",
                        from->checkpoint, from->step, config->steps);
    if (config->checkpoint_every > 0 && config->checkpoint_every <= config->steps)
        return check_writable(t, t->plan.checkpoints);
    return 0;
}

/* Everything that can be refused is refused before the trace is made. */
static int prepare(training *t, resumption *from)
{
    uint64_t step = 0;
    fb_hash hash = {0, 0};
    fb_error err;
    fb_status status;

    if (find_checkpoint(t, from) != 0)
        return CLI_TROUBLE;
    status = fb_run_create(&t->run, &t->plan.config, &t->plan.options, &err);
    if (status == FB_OK && from->checkpoint != NULL)
        status = fb_run_check_checkpoint(t->run, from->checkpoint, &step, &hash, &err);
    if (status != FB_OK)
        return cli_fail_error(t->args, &err);
    from->step = step;
    from->hash = hash;
    if (check_plan(t, from) != 0 || find_trace_before(t, from) != 0)
        return CLI_TROUBLE;
    return 0;
}

static int start(training *t)
{
    resumption from = {.checkpoint = NULL};
    fb_status status = FB_OK;
    fb_error err;
    int result = prepare(t, &from);

    if (result == 0)
        result = open_recorder(t, &from);
    if (result == 0)
        status = from.checkpoint == NULL ? fb_run_begin(t->run, &err)
                                         : fb_run_resume(t->run, from.checkpoint, &err);
    free(from.checkpoint);
    free(from.trace);
    return status == FB_OK ? result : cli_fail_error(t->args, &err);
}

/* --- Training --------------------------------------------------------------------------------- */

static double milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void keep_time(training *t, double ms)
{
    if (t->step_count == t->step_capacity) {
        const size_t capacity = t->step_capacity * 2 + 1024;
        double *larger = realloc(t->step_ms, capacity * sizeof *larger);

        if (larger == NULL)
            return; /* the median is then that of the steps so far */
        t->step_ms = larger;
        t->step_capacity = capacity;
    }
    t->step_ms[t->step_count++] = ms;
}

/* A recording that ended early does not end the training: one line, and on. */
static void watch_recorder(training *t, cli_progress *progress)
{
    if (t->recorder == NULL || t->stop_told)
        return;
    fb_recorder_get_stats(t->recorder, &t->stats);
    if (!t->stats.stopped)
        return;
    t->stop_told = true;
    cli_progress_end(progress);
    (void)cli_fail(t->args, "%s; recording stopped, training goes on", t->stats.error.text);
}

/* "3.1 MB of 40 MB": what the trace takes, and from the tenth step on what it will take. */
static void describe_size(char out[72], const fb_recorder_stats *stats, double done, double all)
{
    const double bytes = (double)stats->bytes;
    char so_far[32], in_the_end[32];

    cli_bytes(so_far, stats->bytes);
    (void)snprintf(out, 72, "%s", so_far);
    if (done < 10 || stats->sealed == 0)
        return;
    cli_bytes(in_the_end,
              (uint64_t)(bytes / (double)stats->sealed * (double)stats->events * (all / done)));
    (void)snprintf(out, 72, "%s of %s", so_far, in_the_end);
}

static void show_progress(const training *t, cli_progress *progress, uint64_t first)
{
    const uint64_t step = fb_run_current_step(t->run), steps = (uint64_t)t->plan.config.steps;
    const double seconds = cli_progress_seconds(progress);
    const double done = (double)(step - first);
    const uint64_t left = (uint64_t)(seconds / done * (double)(steps - step));
    char rate[32], events[32], bytes[72];

    cli_count(rate, (uint64_t)(done * (double)fb_run_items_per_step(t->run) / seconds));
    cli_count(events, t->stats.events);
    describe_size(bytes, &t->stats, done, (double)(steps - first));
    cli_progress_show(progress,
                      "step %" PRIu64 " of %" PRIu64 "  loss %.4f  %s %s/s  %s events  %s  %" PRIu64
                      ":%02" PRIu64 " left",
                      step, steps, (double)fb_run_loss(t->run), rate,
                      t->plan.config.data.type <= FB_DATA_TOKENS ? "tokens" : "samples", events,
                      bytes, left / 60, left % 60);
}

static int train(training *t)
{
    const uint64_t first = fb_run_current_step(t->run);
    cli_progress progress = cli_progress_start();
    fb_error err;

    while (fb_run_current_step(t->run) < (uint64_t)t->plan.config.steps && !cli_interrupted()) {
        const uint64_t before = fb_run_current_step(t->run);
        const double start_ms = milliseconds();
        const fb_status status = fb_run_step(t->run, &err);

        keep_time(t, milliseconds() - start_ms);
        watch_recorder(t, &progress);
        if (status != FB_OK) {
            cli_progress_end(&progress);
            (void)cli_fail_error(t->args, &err);
            if (fb_run_current_step(t->run) == before || status == FB_E_UNSUPPORTED)
                return CLI_TROUBLE;
            t->checkpoint_lost = true; /* the step is whole: the training goes on */
        }
        if (cli_progress_due(&progress))
            show_progress(t, &progress, first);
    }
    cli_progress_end(&progress);
    if (cli_interrupted())
        fprintf(stderr,
                "firstbit train: stopped by a signal after step %" PRIu64 " of %" PRIi64 "\n",
                fb_run_current_step(t->run), t->plan.config.steps);
    return fb_run_end(t->run, &err) == FB_OK ? 0 : cli_fail_error(t->args, &err);
}

/* Of a recording that stopped, what is there counts, not what was reported. */
static void count_events(training *t)
{
    fb_trace *trace;

    if (fb_trace_open(&trace, t->plan.trace, NULL) != FB_OK)
        return;
    t->stats.events = fb_trace_get_info(trace)->events;
    fb_trace_close(trace);
}

/* Seals the trace; its size is known only now. */
static void close_recorder(training *t)
{
    struct stat info;
    fb_error err;
    bool whole;

    if (t->recorder == NULL)
        return;
    fb_recorder_get_stats(t->recorder, &t->stats);
    whole = fb_recorder_close(t->recorder, &err) == FB_OK;
    if (!whole && !t->stop_told)
        (void)cli_fail(t->args, "%s; the trace ends early", err.text);
    t->recorder = NULL;
    if (!whole)
        count_events(t);
    if (stat(t->plan.trace, &info) == 0)
        t->stats.bytes = (uint64_t)info.st_size;
    if (t->stats.values_left_out > 0)
        (void)cli_fail(t->args,
                       "%s: the contents of %" PRIu64 " tensors went beyond the limit and were "
                       "left out (--values-size); their events are there",
                       t->plan.trace, t->stats.values_left_out);
}

/* --- Results ---------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median_ms(training *t)
{
    const size_t n = t->step_count;

    if (n == 0)
        return 0;
    qsort(t->step_ms, n, sizeof *t->step_ms, by_value);
    return n % 2 == 1 ? t->step_ms[n / 2] : (t->step_ms[n / 2 - 1] + t->step_ms[n / 2]) / 2;
}

static void put_nonfinite(cJSON *object, const fb_nonfinite *found)
{
    cJSON *event;

    if (!found->found) {
        cJSON_AddNullToObject(object, "first_nonfinite");
        return;
    }
    event = cJSON_AddObjectToObject(object, "first_nonfinite");
    cli_json_count(event, "step", found->step);
    if (found->micro == FB_MICRO_NONE)
        cJSON_AddNullToObject(event, "micro");
    else
        cli_json_count(event, "micro", (uint64_t)found->micro);
    cli_json_text(event, "phase", fb_phase_name(found->phase));
    cli_json_text(event, "path", found->path);
    cli_json_text(event, "op", found->op);
    cli_json_text(event, "kind", fb_kind_name(found->kind));
    cli_json_text(event, "slot", found->slot);
}

static int print_json(training *t, bool traced)
{
    const fb_nonfinite nonfinite = fb_run_first_nonfinite(t->run);
    cJSON *object = cli_json_object();

    cli_json_text(object, "trace", traced ? t->plan.trace : NULL);
    cli_json_count(object, "steps", fb_run_current_step(t->run));
    cli_json_real(object, "loss", (double)fb_run_loss(t->run));
    cli_json_hash(object, "final_hash", fb_run_final_hash(t->run));
    if (traced) {
        cli_json_count(object, "events", t->stats.events);
        cli_json_count(object, "trace_bytes", t->stats.bytes);
    } else {
        cJSON_AddNullToObject(object, "events");
        cJSON_AddNullToObject(object, "trace_bytes");
    }
    cli_json_real(object, "step_ms_median", median_ms(t));
    put_nonfinite(object, &nonfinite);
    return cli_json_print(t->args, object);
}

static void print_nonfinite(const fb_nonfinite *found)
{
    if (!found->found)
        return;
    printf("nonfinite  first NaN or infinity at step %" PRIu64, found->step);
    if (found->micro != FB_MICRO_NONE)
        printf(", micro-batch %d", (int)found->micro);
    printf(", %s, ", fb_phase_name(found->phase));
    cli_put(stdout, found->path);
    printf(" (%s) %s\n", found->op, found->slot);
}

static void print_summary(training *t, bool traced)
{
    const double ms = median_ms(t);
    const double rate = ms > 0 ? (double)fb_run_items_per_step(t->run) * 1e3 / ms : 0;
    const fb_nonfinite nonfinite = fb_run_first_nonfinite(t->run);
    char a[33], b[32];

    printf("trained    %s steps, loss %.4f\n", cli_count(a, fb_run_current_step(t->run)),
           (double)fb_run_loss(t->run));
    if (fb_run_eval_loss(t->run) == fb_run_eval_loss(t->run)) {
        printf("evaluated  loss %.4f", (double)fb_run_eval_loss(t->run));
        if (fb_run_eval_accuracy(t->run) == fb_run_eval_accuracy(t->run))
            printf(", accuracy %.2f %%", 100 * fb_run_eval_accuracy(t->run));
        printf("\n");
    }
    print_nonfinite(&nonfinite);
    printf("parameters %s\n", cli_hash(a, fb_run_final_hash(t->run)));
    printf("speed      %.4g ms a step (median), %s %s/s\n", ms, cli_count(a, (uint64_t)rate),
           t->plan.config.data.type <= FB_DATA_TOKENS ? "tokens" : "samples");
    if (traced) {
        printf("trace      ");
        cli_put(stdout, t->plan.trace);
        printf(": %s events, %s\n", cli_count(a, t->stats.events), cli_bytes(b, t->stats.bytes));
    }
}

/* --- The command ------------------------------------------------------------------------------ */

static int run_training(training *t)
{
    const bool traced = !cli_has(t->args, "no-trace");

    if (cli_train_plan_read(&t->plan, t->args) != 0 || start(t) != 0)
        return CLI_TROUBLE;
    cli_catch_interrupts();
    if (train(t) != 0)
        return CLI_TROUBLE;
    close_recorder(t);
    if (cli_has(t->args, "json")) {
        if (print_json(t, traced) != 0)
            return CLI_TROUBLE;
    } else {
        print_summary(t, traced);
    }
    return t->checkpoint_lost ? CLI_TROUBLE : 0;
}

static int run(const cli_args *args)
{
    training t = {.args = args};
    const int status = run_training(&t);

    (void)fb_recorder_close(t.recorder, NULL);
    fb_run_destroy(t.run);
    cli_train_plan_free(&t.plan);
    free(t.step_ms);
    return status;
}

static const cli_option options[] = {
    {"output", 'o', "RUN.fbt", "the trace (default: CONFIG.fbt in the working directory)", false},
    {"set", 0, "KEY=VALUE", "change the configuration: optimizer.adamw.lr=1e-3", true},
    {"data", 0, "PATH",
     "read this file in place of the configured one, or the\nfiles of its "
     "names in this folder",
     false},
    {"steps", 0, "N", "train to step N", false},
    {"resume", 0, "CHECKPOINT",
     "go on from a checkpoint, or the newest one in a folder;\nthe new trace is linked to the one "
     "before",
     false},
    CLI_THREADS_OPTION,
    CLI_ISA_OPTION,
    CLI_KERNELS_OPTION,
    CLI_RECORDING_OPTIONS,
    {"no-trace", 0, NULL, "record nothing", false},
    {"inject", 0, "SPEC", "plant a fault, see below", true},
    {"override", 0, "NAME", "compute a formula otherwise, see below", false},
    {"json", 0, NULL, "one JSON object on stdout at the end", false},
    {0},
};

const cli_command cli_train = {
    .name = "train",
    .summary = "train the model of a configuration and record the run",
    .synopsis = "CONFIG.json [-o RUN.fbt] [--set KEY=VALUE]... [--data PATH] [--steps N] "
                "[--resume CHECKPOINT] [--threads N] [--isa NAME] [--kernels TABLE] "
                "[--level LEVEL] [--ops-steps LIST] [--at STEP[:STEP]] [--path GLOB] "
                "[--values-size SIZE] [--max-size SIZE] [--no-trace] [--inject SPEC]... "
                "[--override NAME] [--json]",
    .options = options,
    .positional_min = 1,
    .positional_max = 1,
    .details = "Nothing that decides a bit lives outside the configuration and its data:\n"
               "threads, instruction set and recording change none. Checkpoints go to RUN.ckpt/\n"
               "beside the trace. A full disk ends the recording, not the training. Ctrl-C ends\n"
               "both after the step under way; the trace is then whole.\n"
               "\n"
               "A planted fault appears nowhere in the trace, so replay and diff must find it:\n"
               "  flip:step=3,path=h.1.mlp.fc,slot=out,element=17,bit=2[,micro=M]\n"
               "       one bit of an output (slot out), gradient (grad) or parameter (param)\n"
               "  draw:step=5,stream=NAME[,count=N][,silent=1]\n"
               "       extra draws from a random stream, silent: without an event\n"
               "  swap:step=4,i=0,j=1       two samples of the batch exchanged\n"
               "So does a formula that --override names: adam-eps-inside-root, clip-never,\n"
               "attention-one-ahead@h.0.attn (in one layer), shuffle-seed=7.\n"
               "docs/overrides.md lists them all.\n"
               "\n"
               "Exit status: 0 trained, 2 trouble. FIRSTBIT_ISA is --isa's default.\n"
               "\n"
               "  firstbit train examples/gpt.json -o a.fbt\n"
               "  firstbit train examples/gpt.json -o b.fbt --set seed=43 --steps 50\n",
    .run = run,
};
