/* SPDX-License-Identifier: Apache-2.0
 *
 * export_sqlite.c - a trace as an SQLite database: one transaction, one event at a time, indexes
 * last. Schema: docs/export.md. An optional part: without SQLite it says so.
 */
#include "cli/export_sqlite.h"

#include "cli/command.h"
#include "cli/output.h"
#include "firstbit/trace.h"

#ifndef FB_HAVE_SQLITE

int cli_export_sqlite(const cli_args *args, const cli_processes *processes, const char *path)
{
    (void)processes;
    (void)path;
    return cli_fail(args, "this build has no SQLite (install libsqlite3-dev and build again)");
}

#else

#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static const char tables[] =
    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;"
    "CREATE TABLE trace (key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE processes (process INTEGER PRIMARY KEY, role TEXT, id TEXT, status TEXT,"
    " level TEXT, header TEXT, first_event INTEGER, events INTEGER);"
    "CREATE TABLE steps (step INTEGER, first_event INTEGER, events INTEGER,"
    " scalars TEXT, data TEXT, state TEXT, ops TEXT, notes TEXT, process INTEGER,"
    " PRIMARY KEY (process, step)) WITHOUT ROWID;"
    "CREATE TABLE sites (site INTEGER PRIMARY KEY, kind TEXT, phase TEXT, class TEXT, path TEXT,"
    " op TEXT, slot TEXT, occurrence INTEGER, dtype TEXT, shape TEXT, stream TEXT, algorithm TEXT,"
    " distribution TEXT, parameter0 REAL, parameter1 REAL, consumer TEXT, dataset TEXT,"
    " role TEXT);"
    "CREATE TABLE events (event INTEGER PRIMARY KEY, step INTEGER, micro INTEGER, site INTEGER,"
    " hash TEXT, value REAL, key TEXT, counter TEXT, count INTEGER, text TEXT,"
    " nonfinite INTEGER, undefined INTEGER, process INTEGER);"
    "CREATE TABLE inputs (event INTEGER, position INTEGER, site INTEGER, step INTEGER,"
    " micro INTEGER, PRIMARY KEY (event, position)) WITHOUT ROWID;"
    "CREATE TABLE samples (event INTEGER, position INTEGER, sample TEXT,"
    " PRIMARY KEY (event, position)) WITHOUT ROWID;";

static const char indexes[] =
    "CREATE INDEX events_by_step ON events (step);"
    "CREATE INDEX events_by_site ON events (site, step);"
    "CREATE INDEX sites_by_path ON sites (path);"
    "CREATE VIEW named AS SELECT events.*, kind, phase, class, path, op, slot, occurrence, dtype,"
    " shape FROM events JOIN sites USING (site);"
    "COMMIT;";

typedef enum statement { TRACE, PROCESS, STEP, SITE, EVENT, INPUT, SAMPLE, STATEMENTS } statement;

static const char *const inserts[STATEMENTS] = {
    [TRACE] = "INSERT INTO trace VALUES (?, ?)",
    [PROCESS] = "INSERT INTO processes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [STEP] = "INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [SITE] = "INSERT INTO sites VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [EVENT] = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [INPUT] = "INSERT INTO inputs VALUES (?, ?, ?, ?, ?)",
    [SAMPLE] = "INSERT INTO samples VALUES (?, ?, ?)",
};

typedef struct database {
    sqlite3 *db;
    sqlite3_stmt *insert[STATEMENTS];
    /* Numbers of events and sites go on from process to process: */
    uint64_t process, first_event, first_site;
    uint32_t sites; /* of this process that are in it */
} database;

/* --- Binding: what is absent stays NULL ---------------------------------------------------------
 */

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
    if (text != NULL && text[0] != '\0')
        (void)sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

static void bind_count(sqlite3_stmt *s, int at, uint64_t n)
{
    (void)sqlite3_bind_int64(s, at, (sqlite3_int64)n);
}

/* All 64 bits may be in use, which an SQLite integer does not hold. */
static void bind_u64(sqlite3_stmt *s, int at, uint64_t n)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%" PRIu64, n);
    bind_text(s, at, text);
}

static void bind_hash(sqlite3_stmt *s, int at, fb_hash hash)
{
    char text[33];

    if ((hash.lo | hash.hi) != 0)
        bind_text(s, at, cli_hash(text, hash));
}

static void bind_micro(sqlite3_stmt *s, int at, int32_t micro)
{
    if (micro != FB_MICRO_NONE)
        (void)sqlite3_bind_int(s, at, micro);
}

/* SQLite has no NaN: it becomes NULL, and the column nonfinite tells. */
static void bind_real(sqlite3_stmt *s, int at, double x)
{
    (void)sqlite3_bind_double(s, at, x);
}

static bool insert(sqlite3_stmt *s)
{
    const bool done = sqlite3_step(s) == SQLITE_DONE;

    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
    return done;
}

/* --- Rows ---------------------------------------------------------------------------------------
 */

static bool put_fact(database *d, const char *key, const char *value)
{
    bind_text(d->insert[TRACE], 1, key);
    bind_text(d->insert[TRACE], 2, value);
    return insert(d->insert[TRACE]);
}

static bool put_trace(database *d, const fb_trace_info *info)
{
    char id[33];

    return put_fact(d, "schema", "1") && put_fact(d, "id", cli_hash(id, info->id)) &&
           put_fact(d, "status", fb_trace_status_name(info->status)) &&
           put_fact(d, "level", fb_level_name(info->level)) && put_fact(d, "header", info->header);
}

static bool put_process(database *d, const char *role, const fb_trace_info *info)
{
    sqlite3_stmt *s = d->insert[PROCESS];
    char id[33];

    bind_count(s, 1, d->process);
    bind_text(s, 2, role);
    bind_text(s, 3, cli_hash(id, info->id));
    bind_text(s, 4, fb_trace_status_name(info->status));
    bind_text(s, 5, fb_level_name(info->level));
    bind_text(s, 6, info->header);
    bind_count(s, 7, d->first_event);
    bind_count(s, 8, info->events);
    return insert(s);
}

static void shape_text(char *out, size_t size, const fb_site *site)
{
    size_t used = (size_t)snprintf(out, size, "[");

    for (uint32_t i = 0; i < site->rank; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%" PRIu64, i == 0 ? "" : ",",
                                 site->shape[i]);
    (void)snprintf(out + used, size - used, "]");
}

static bool put_site(database *d, uint32_t number, const fb_site *site)
{
    sqlite3_stmt *s = d->insert[SITE];
    char shape[FB_RANK_MAX * 24];

    bind_count(s, 1, d->first_site + number);
    bind_text(s, 2, fb_kind_name(site->kind));
    bind_text(s, 3, site->phase == FB_PHASE_NONE ? NULL : fb_phase_name(site->phase));
    bind_text(s, 4, fb_class_name(fb_site_class(site)));
    bind_text(s, 5, site->path);
    bind_text(s, 6, site->op);
    bind_text(s, 7, site->slot);
    bind_count(s, 8, site->occurrence);
    if (site->dtype != FB_DTYPE_NONE) {
        shape_text(shape, sizeof shape, site);
        bind_text(s, 9, fb_dtype_name(site->dtype));
        bind_text(s, 10, shape);
    }
    bind_text(s, 11, site->stream);
    bind_text(s, 12, site->algorithm);
    bind_text(s, 13, site->distribution);
    if (site->kind == FB_KIND_DRAW) {
        bind_real(s, 14, site->parameters[0]);
        bind_real(s, 15, site->parameters[1]);
    }
    bind_text(s, 16, site->consumer);
    bind_text(s, 17, site->dataset);
    bind_text(s, 18, site->kind == FB_KIND_SAMPLE ? fb_role_name(site->role) : NULL);
    return insert(s);
}

static bool put_inputs(database *d, const fb_event *e, uint64_t number)
{
    bool good = true;

    for (uint32_t i = 0; i < e->input_count && good; i++) {
        sqlite3_stmt *s = d->insert[INPUT];

        bind_count(s, 1, number);
        bind_count(s, 2, i);
        bind_count(s, 3, d->first_site + e->inputs[i].site);
        bind_count(s, 4, e->inputs[i].step);
        bind_micro(s, 5, e->inputs[i].micro);
        good = insert(s);
    }
    for (uint64_t i = 0; e->indices != NULL && i < e->count && good; i++) {
        sqlite3_stmt *s = d->insert[SAMPLE];

        bind_count(s, 1, number);
        bind_count(s, 2, i);
        bind_u64(s, 3, e->indices[i]);
        good = insert(s);
    }
    return good;
}

static bool put_event(database *d, const fb_site *site, const fb_event *e, uint64_t number)
{
    sqlite3_stmt *s = d->insert[EVENT];
    const bool draw = site->kind == FB_KIND_DRAW, sample = site->kind == FB_KIND_SAMPLE;

    bind_count(s, 1, number);
    bind_count(s, 2, e->step);
    bind_micro(s, 3, e->micro);
    bind_count(s, 4, d->first_site + e->site);
    bind_hash(s, 5, e->hash);
    if (site->kind == FB_KIND_SCALAR || site->kind == FB_KIND_MODE)
        bind_real(s, 6, e->value);
    if (draw || site->kind == FB_KIND_SEED)
        bind_u64(s, 7, e->key);
    if (draw || sample) {
        bind_u64(s, 8, e->counter);
        bind_count(s, 9, e->count);
    }
    bind_text(s, 10, e->text);
    bind_count(s, 11, (e->flags & FB_EVENT_NONFINITE) != 0);
    bind_count(s, 12, (e->flags & FB_EVENT_UNDEFINED) != 0);
    bind_count(s, 13, d->process);
    return insert(s) && put_inputs(d, e, number);
}

static bool put_new_sites(database *d, const fb_trace *t)
{
    const fb_site *site;
    bool good = true;

    while (good && (site = fb_trace_site(t, d->sites)) != NULL)
        good = put_site(d, d->sites++, site);
    return good;
}

/* --- Everything ---------------------------------------------------------------------------------
 */

static int fail_database(const cli_args *args, const database *d)
{
    return cli_fail(args, "%s: %s", args->positional[2],
                    d->db == NULL ? "out of memory" : sqlite3_errmsg(d->db));
}

static int put_events(const cli_args *args, database *d, fb_trace *t)
{
    const uint64_t total = fb_trace_get_info(t)->events;
    cli_progress progress = cli_progress_start();
    const fb_event *e;
    uint64_t number;
    fb_error err;
    int status = 0;

    while (status == 0) {
        char a[32], b[32];

        if (fb_trace_next(t, &e, &number, &err) != FB_OK)
            status = cli_fail_error(args, &err);
        else if (e == NULL)
            break;
        else if (cli_interrupted())
            status = CLI_TROUBLE;
        else if (!put_new_sites(d, t) ||
                 !put_event(d, fb_trace_site(t, e->site), e, d->first_event + number))
            status = fail_database(args, d);
        if (cli_progress_due(&progress))
            cli_progress_show(&progress, "%s of %s events%s", cli_count(a, number),
                              cli_count(b, total), cli_progress_left(&progress, number, total));
    }
    cli_progress_end(&progress);
    return status;
}

/* Chains of all finished steps. */
static int put_steps(const cli_args *args, database *d, fb_trace *t)
{
    for (uint64_t at = 0;;) {
        sqlite3_stmt *s = d->insert[STEP];
        fb_trace_step step;
        fb_error err;
        const fb_status status = fb_trace_find_step(t, at, &step, &err);

        if (status == FB_E_NOT_FOUND)
            return 0;
        if (status != FB_OK)
            return cli_fail_error(args, &err);
        bind_count(s, 1, step.step);
        bind_count(s, 2, d->first_event + step.first_event);
        bind_count(s, 3, step.events);
        for (int c = 0; c < FB_CLASS_COUNT; c++)
            bind_hash(s, 4 + c, step.chain[c]);
        bind_count(s, 9, d->process);
        if (!insert(s))
            return fail_database(args, d);
        at = step.step + 1;
    }
}

static bool begin(database *d, const char *path)
{
    bool good = sqlite3_open_v2(path, &d->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) ==
                    SQLITE_OK &&
                sqlite3_exec(d->db, tables, NULL, NULL, NULL) == SQLITE_OK;

    for (int i = 0; i < STATEMENTS && good; i++)
        good = sqlite3_prepare_v2(d->db, inserts[i], -1, &d->insert[i], NULL) == SQLITE_OK;
    return good;
}

static int put_one(const cli_args *args, database *d, const cli_process *process)
{
    fb_trace *t;
    fb_error err;
    int status = 0;

    if (fb_trace_open(&t, process->path, &err) != FB_OK)
        return cli_fail_error(args, &err);
    if ((d->process == 0 && !put_trace(d, fb_trace_get_info(t))) ||
        !put_process(d, process->role, fb_trace_get_info(t)))
        status = fail_database(args, d);
    if (status == 0)
        status = put_events(args, d, t);
    if (status == 0)
        status = put_steps(args, d, t);
    d->process++;
    d->first_event += fb_trace_get_info(t)->events;
    d->first_site += d->sites;
    d->sites = 0;
    fb_trace_close(t);
    return status;
}

int cli_export_sqlite(const cli_args *args, const cli_processes *processes, const char *path)
{
    database d = {.db = NULL};
    int status = 0;

    cli_catch_interrupts();
    if (!begin(&d, path))
        status = fail_database(args, &d);
    for (size_t i = 0; i < processes->count && status == 0; i++)
        status = put_one(args, &d, &processes->at[i]);
    for (int i = 0; i < STATEMENTS; i++)
        (void)sqlite3_finalize(d.insert[i]);
    if (status == 0 && sqlite3_exec(d.db, indexes, NULL, NULL, NULL) != SQLITE_OK)
        status = fail_database(args, &d);
    if (sqlite3_close(d.db) != SQLITE_OK && status == 0)
        status = fail_database(args, &d);
    return status;
}

#endif
