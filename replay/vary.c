/* SPDX-License-Identifier: Apache-2.0
 *
 * vary.c - one replay for each environment, on a thread of its own.
 */
#include "replay/vary.h"

#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fpenv.h"
#include "base/hash.h"
#include "replay/trace_header.h"

/* --- Environments ----------------------------------------------------------------------------- */

/* An odd place: another page, and not a multiple of a cache line. */
enum { OFFSET = 4096 + 48, SMALL_STACK = 256 << 10 };

#if defined(__x86_64__)
#define CAN_FLUSH true
#else
#define CAN_FLUSH false
#endif

static void flush_to_zero(void)
{
#if defined(__x86_64__)
    _mm_setcsr(FB_FPENV_WANT | 0x8040u); /* FTZ and DAZ, as -Ofast sets them when it is loaded */
#endif
}

/* A locale that writes a decimal comma, or NULL where none is installed. */
static const char *comma_locale(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "es_ES.UTF-8", "it_IT.UTF-8",
                                        "pt_BR.UTF-8", "ru_RU.UTF-8", "nl_NL.UTF-8", "de_DE"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const locale_t l = newlocale(LC_ALL_MASK, names[i], (locale_t)0);

        if (l != (locale_t)0) {
            freelocale(l);
            return names[i];
        }
    }
    return NULL;
}

static void not_there(char *text, size_t size, const char *what)
{
    const size_t used = strlen(text);

    if (used < size)
        (void)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", what);
}

size_t fb_vary_environments(fb_vary_environment out[FB_VARY_MAX], char *not_tried, size_t size)
{
    static const unsigned threads[] = {1, 2, 3, 7};
    enum { THREADS = sizeof threads / sizeof threads[0] };
    const fb_kernels *best = fb_kernels_best();
    const char *locale = comma_locale();
    size_t n = 0;

    not_tried[0] = '\0';
    for (size_t i = 0; i < THREADS; i++)
        out[n++] = (fb_vary_environment){.threads = threads[i], .kernels = best};
    for (int isa = 0; isa < FB_ISA_COUNT; isa++) {
        const fb_kernels *kernels = fb_kernels_for((fb_isa)isa);

        if (kernels != NULL && kernels != best) {
            out[n] =
                (fb_vary_environment){.threads = threads[(n + 1) % THREADS], .kernels = kernels};
            n++;
        }
    }
    out[n++] = (fb_vary_environment){.threads = 2, .kernels = best, .memory_offset = OFFSET};
    out[n++] = (fb_vary_environment){.threads = 2, .kernels = best, .stack_bytes = SMALL_STACK};
    if (CAN_FLUSH)
        out[n++] = (fb_vary_environment){.threads = 2, .kernels = best, .flush_to_zero = true};
    if (locale != NULL)
        out[n++] = (fb_vary_environment){.threads = 2, .kernels = best, .locale = locale};
    else
        not_there(not_tried, size, "a locale with a decimal comma (none is installed)");
    return n;
}

/* --- One row ---------------------------------------------------------------------------------- */

typedef struct row_job {
    const char *path;
    const fb_vary_options *options;
    fb_vary_row *row;
    size_t number, rows;
    fb_status status;
} row_job;

static void tell_progress(void *argument, uint64_t step, uint64_t to)
{
    const row_job *job = argument;

    job->options->progress(job->options->argument, job->number, job->rows, step, to);
}

static void *run_row(void *argument)
{
    row_job *job = argument;
    const fb_vary_environment *e = &job->row->environment;
    const fb_vary_options *o = job->options;
    const fb_replay_options how = {
        .size = sizeof how,
        .threads = e->threads,
        .kernels = e->kernels,
        .memory_offset = e->memory_offset,
        .data = o->data,
        .has_from = o->has_from,
        .from = o->from,
        .has_to = o->has_to,
        .to = o->to,
        .no_stack = true,
        .progress = o->progress == NULL ? NULL : tell_progress,
        .argument = job,
    };
    locale_t locale = (locale_t)0;

    if (e->locale != NULL)
        locale = newlocale(LC_ALL_MASK, e->locale, (locale_t)0);
    if (locale != (locale_t)0)
        (void)uselocale(locale);
    if (e->flush_to_zero)
        flush_to_zero();
    job->status = fb_replay(&job->row->replay, job->path, &how, &job->row->error);
    if (locale != (locale_t)0) {
        (void)uselocale(LC_GLOBAL_LOCALE);
        freelocale(locale);
    }
    return NULL;
}

/* Locale, stack and floating-point state belong to a thread, so each row has its own. */
static fb_status run_job(row_job *job, fb_error *err)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int failed = pthread_attr_init(&attributes);

    if (failed == 0) {
        if (job->row->environment.stack_bytes > 0)
            failed = pthread_attr_setstacksize(&attributes, job->row->environment.stack_bytes);
        if (failed == 0)
            failed = pthread_create(&thread, &attributes, run_row, job);
        (void)pthread_attr_destroy(&attributes);
    }
    if (failed != 0)
        return fb__fail(err, FB_E_THREAD, FB_NO_OFFSET, "cannot start a thread: %s",
                        strerror(failed));
    (void)pthread_join(thread, NULL);
    return FB_OK;
}

/* --- All rows --------------------------------------------------------------------------------- */

static fb_status read_facts(fb_vary_report *out, const char *path, fb_error *err)
{
    fb__run_header header;
    fb_trace *trace;
    fb_status status = fb_trace_open(&trace, path, err);

    if (status != FB_OK)
        return status;
    out->trace = fb_trace_get_info(trace)->id;
    status = fb__run_header_read(&header, fb_trace_get_info(trace)->header, path, err);
    fb_trace_close(trace);
    if (status != FB_OK)
        return status;
    out->has_contract = header.has_contract;
    out->contract = header.contract;
    (void)snprintf(out->fingerprint, sizeof out->fingerprint, "%s",
                   header.fingerprint == NULL ? "" : header.fingerprint);
    fb__make_printable(out->fingerprint);
    fb__run_header_free(&header);
    return FB_OK;
}

static bool is_verified(const fb_vary_row *row)
{
    return !row->refused && !row->replay.diverged;
}

/* A trace of a low level says little about the state, so the final hashes of rows are compared with
 * that of the first verified one. */
static bool is_same(const fb_vary_report *report, const fb_vary_row *row)
{
    const fb_vary_row *first = report->rows;

    if (!is_verified(row))
        return false;
    while (!is_verified(first))
        first++; /* ends at `row` */
    return row->replay.has_final_hash == first->replay.has_final_hash &&
           fb_hash_equal(row->replay.final_hash, first->replay.final_hash);
}

static fb_status run_rows(fb_vary_report *out, const char *path, const fb_vary_options *options,
                          const fb_vary_environment *list, size_t count, fb_error *err)
{
    for (size_t i = 0; i < count; i++) {
        fb_vary_row *row = &out->rows[i];
        row_job job = {.path = path, .options = options, .row = row, .number = i, .rows = count};
        fb_status status;

        row->environment = list[i];
        status = run_job(&job, err);
        if (status != FB_OK)
            return status;
        out->row_count = i + 1;
        row->refused = job.status == FB_E_UNSUPPORTED && i > 0;
        if (job.status != FB_OK && !row->refused)
            return fb__fail(err, job.status, row->error.offset, "%s", row->error.text);
        if (i == 0 && is_verified(row) && row->replay.events_checked == 0)
            return fb__fail(err, FB_E_USAGE, FB_NO_OFFSET,
                            "%s: no event of these steps is recorded: nothing to certify", path);
        row->same = is_same(out, row);
        if (!row->same && out->differing++ == 0)
            out->first_differing = i;
    }
    if (out->differing == 0)
        out->first_differing = count;
    return FB_OK;
}

fb_status fb_vary(fb_vary_report *out, const char *path, const fb_vary_options *options,
                  fb_error *err)
{
    const fb_vary_options all = {.size = sizeof all};
    const fb_vary_options *o = options != NULL ? options : &all;
    fb_vary_environment here[FB_VARY_MAX];
    const fb_vary_environment *list = o->environments;
    size_t count = o->environment_count;
    fb_status status;

    *out = (fb_vary_report){0};
    if (list == NULL) {
        count = fb_vary_environments(here, out->not_tried, sizeof out->not_tried);
        list = here;
    }
    status = read_facts(out, path, err);
    if (status == FB_OK) {
        out->rows = calloc(count > 0 ? count : 1, sizeof *out->rows);
        status = out->rows == NULL
                     ? fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path)
                     : run_rows(out, path, o, list, count, err);
    }
    if (status != FB_OK)
        fb_vary_report_free(out);
    return status;
}

void fb_vary_report_free(fb_vary_report *report)
{
    for (size_t i = 0; i < report->row_count; i++)
        fb_replay_report_free(&report->rows[i].replay);
    free(report->rows);
    *report = (fb_vary_report){0};
}
