/* SPDX-License-Identifier: Apache-2.0
 *
 * run_fixture.h - small runs for tests: data written by the test, a configuration as text, and an
 * observer that keeps every event.
 */
#ifndef FB_TESTS_ENGINE_RUN_FIXTURE_H
#define FB_TESTS_ENGINE_RUN_FIXTURE_H

#include <inttypes.h>

#include "base/hash.h"
#include "engine/run.h"
#include "scratch.h"

/* --- Data ------------------------------------------------------------------------------------- */

static inline uint32_t fixture_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* 4,000 bytes over 13 letters: words of a made-up language. */
static inline const char *fixture_text(scratch *s)
{
    static const char letters[] = "abdeilmnorst ";
    char text[4000];
    uint32_t state = 7;

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i < 13 ? letters[i] : letters[fixture_random(&state) % 13];
    return scratch_write(s, "text.txt", text, sizeof text);
}

/* 80 images of 8 x 8 with a bright bar whose place is the class, one of 4; IDX files. */
static inline void fixture_images(scratch *s)
{
    enum { COUNT = 80, SIDE = 8 };
    uint8_t images[16 + COUNT * SIDE * SIDE] = {0, 0, 8, 3,    0, 0, 0, COUNT,
                                                0, 0, 0, SIDE, 0, 0, 0, SIDE};
    uint8_t labels[8 + COUNT] = {0, 0, 8, 1, 0, 0, 0, COUNT};
    uint32_t state = 11;

    for (int i = 0; i < COUNT; i++) {
        const uint8_t label = (uint8_t)(fixture_random(&state) % 4);

        labels[8 + i] = label;
        for (int p = 0; p < SIDE * SIDE; p++) {
            const bool bar = p / SIDE / 2 == label;
            images[16 + i * SIDE * SIDE + p] =
                (uint8_t)((bar ? 160 : 10) + fixture_random(&state) % 90);
        }
    }
    (void)scratch_write(s, "images.idx", images, sizeof images);
    (void)scratch_write(s, "labels.idx", labels, sizeof labels);
}

/* A small GPT with everything in it: ties, dropout, micro-batches, clipping, a schedule, evaluation
 * and checkpoints. Data is looked for in the fixture's folder. */
#define FIXTURE_GPT                                                                                \
    "{\"seed\": 42, \"data\": {\"text\": \"text.txt\", \"context\": 8, \"split\": [0.9, 0.1]},"    \
    " \"model\": [{\"embedding\": {\"dim\": 16, \"positions\": true}},"                            \
    "  {\"repeat\": 2, \"name\": \"h\", \"layers\": ["                                             \
    "   {\"name\": \"attn\", \"residual\": [{\"name\": \"ln\", \"layernorm\": {}},"                \
    "     {\"name\": \"core\", \"attention\": {\"heads\": 2, \"causal\": true}},"                  \
    "     {\"name\": \"drop\", \"dropout\": {\"p\": 0.1}}]},"                                      \
    "   {\"name\": \"mlp\", \"residual\": [{\"name\": \"ln\", \"layernorm\": {}},"                 \
    "     {\"name\": \"fc\", \"linear\": {\"out\": 32}}, {\"name\": \"gelu\", \"gelu\": {}},"      \
    "     {\"name\": \"proj\", \"linear\": {\"out\": 16}},"                                        \
    "     {\"name\": \"drop\", \"dropout\": {\"p\": 0.1}}]}]},"                                    \
    "  {\"layernorm\": {}},"                                                                       \
    "  {\"linear\": {\"out\": \"vocab\", \"bias\": false, \"tied\": \"embedding\"}}],"             \
    " \"loss\": \"cross_entropy\","                                                                \
    " \"optimizer\": {\"adamw\": {\"lr\": 0.01, \"betas\": [0.9, 0.95], \"weight_decay\": 0.1}},"  \
    " \"schedule\": {\"cosine\": {\"warmup\": 3, \"total\": 20, \"min_factor\": 0.1}},"            \
    " \"clip\": 0.5, \"batch\": {\"size\": 6, \"micro\": 3}, \"steps\": 20,"                       \
    " \"eval\": {\"every\": 5, \"batches\": 2}, \"checkpoint\": {\"every\": 5}}"

#define FIXTURE_CONV                                                                               \
    "{\"seed\": 3, \"data\": {\"idx\": {\"images\": \"images.idx\", \"labels\": \"labels.idx\"},"  \
    "  \"split\": [0.8, 0.2]},"                                                                    \
    " \"model\": [{\"name\": \"c1\", \"conv2d\": {\"out\": 4, \"kernel\": 3, \"padding\": 1}},"    \
    "  {\"relu\": {}}, {\"maxpool\": {\"kernel\": 2, \"stride\": 2}},"                             \
    "  {\"name\": \"c2\", \"conv2d\": {\"out\": 6, \"kernel\": 3}}, {\"silu\": {}},"               \
    "  {\"avgpool\": {\"kernel\": 2, \"stride\": 2}}, {\"flatten\": {}},"                          \
    "  {\"name\": \"out\", \"linear\": {\"out\": \"classes\"}}],"                                  \
    " \"loss\": \"cross_entropy\","                                                                \
    " \"optimizer\": {\"sgd\": {\"lr\": 0.1, \"momentum\": 0.9, \"nesterov\": true}},"             \
    " \"batch\": {\"size\": 8, \"micro\": 2}, \"steps\": 20, \"eval\": {\"every\": 10}}"

/* --- Runs ------------------------------------------------------------------------------------- */

typedef struct fixture {
    scratch scratch;
    scratch checkpoints;
    fb_config config;
    fb_run *run;
    fb_error error;
} fixture;

static inline void fixture_open(fixture *f)
{
    memset(f, 0, sizeof *f);
    scratch_open(&f->scratch);
    scratch_open(&f->checkpoints);
    (void)fixture_text(&f->scratch);
    fixture_images(&f->scratch);
}

static inline void fixture_end_run(fixture *f)
{
    fb_run_destroy(f->run);
    f->run = NULL;
    fb_config_free(&f->config);
    memset(&f->config, 0, sizeof f->config);
}

static inline void fixture_close(fixture *f)
{
    fixture_end_run(f);
    scratch_close(&f->scratch);
    scratch_close(&f->checkpoints);
}

/* Creates a run in the fixture's folder; `set` may be NULL. */
static inline fb_status fixture_create(fixture *f, const char *json, const fb_config_set *sets,
                                       size_t set_count, fb_run_options options)
{
    fb_status status;

    fixture_end_run(f);
    options.size = sizeof options;
    options.folder = f->scratch.folder;
    status = fb_config_parse(&f->config, json, "test.json", sets, set_count, &f->error);
    if (status == FB_OK)
        status = fb_run_create(&f->run, &f->config, &options, &f->error);
    return status;
}

#define assert_ok(f, call)                                                                         \
    do {                                                                                           \
        if ((call) != FB_OK)                                                                       \
            fail_msg("%s: %s", #call, (f)->error.text);                                            \
    } while (0)

/* --- Events ----------------------------------------------------------------------------------- */

typedef struct kept_event {
    fb_hash hash; /* fb_event_hash: identity, content, identities of inputs */
    fb_hash identity;
    fb_hash content;
    fb_kind kind;
    fb_phase phase;
    uint64_t step, counter, count, key;
    int32_t micro;
    double value;
    uint32_t inputs, version, flags;
    int class_number;
    uint64_t storage;
    char path[96], op[24], slot[24], text[40];
} kept_event;

typedef struct event_log {
    fb_observer observer;
    uint32_t classes; /* that it wants */
    kept_event *events;
    size_t count, capacity;
    fb_site *sites; /* names are not kept: see names */
    fb_hash *site_hashes;
    kept_event *names;
    uint32_t site_count;
    uint64_t step_ends;
    fb_hash sequence;   /* of all events so far, in order */
    size_t stop_after;  /* events; 0: never */
    bool unknown_input; /* an input named an identity that no event had, in this log */
    bool check_inputs;
} event_log;

static inline uint32_t log_wants(void *self, uint64_t step)
{
    (void)step;
    return ((event_log *)self)->classes;
}

static inline fb_status log_site(void *self, uint32_t number, const fb_site *site, fb_error *err)
{
    event_log *log = self;
    kept_event *name;

    (void)err;
    assert_int_equal(number, log->site_count);
    log->sites = realloc(log->sites, (number + 1) * sizeof *log->sites);
    log->site_hashes = realloc(log->site_hashes, (number + 1) * sizeof *log->site_hashes);
    log->names = realloc(log->names, (number + 1) * sizeof *log->names);
    log->sites[number] = *site;
    log->site_hashes[number] = fb_site_hash(site);
    name = &log->names[number];
    memset(name, 0, sizeof *name);
    (void)snprintf(name->path, sizeof name->path, "%s", site->path);
    (void)snprintf(name->op, sizeof name->op, "%s", site->op);
    (void)snprintf(name->slot, sizeof name->slot, "%s", site->slot);
    log->site_count++;
    return FB_OK;
}

static inline bool log_has_identity(const event_log *log, fb_hash identity)
{
    for (size_t i = log->count; i-- > 0;)
        if (fb_hash_equal(log->events[i].identity, identity))
            return true;
    return false;
}

static inline fb_status log_event(void *self, const fb_event *event, fb_error *err)
{
    event_log *log = self;
    fb_hash inputs[512];
    kept_event *kept;

    assert_true(event->site < log->site_count);
    assert_true(event->input_count <= 512);
    for (uint32_t i = 0; i < event->input_count; i++) {
        assert_true(event->inputs[i].site < log->site_count);
        inputs[i] = fb_identity_hash(log->site_hashes[event->inputs[i].site], event->inputs[i].step,
                                     event->inputs[i].micro);
        if (log->check_inputs && !log_has_identity(log, inputs[i]))
            log->unknown_input = true;
    }
    if (log->count == log->capacity) {
        log->capacity = log->capacity * 2 + 256;
        log->events = realloc(log->events, log->capacity * sizeof *log->events);
    }
    kept = &log->events[log->count++];
    *kept = log->names[event->site];
    kept->identity = fb_identity_hash(log->site_hashes[event->site], event->step, event->micro);
    kept->hash = fb_event_hash(kept->identity, &log->sites[event->site], event, inputs);
    kept->content = event->hash;
    kept->kind = log->sites[event->site].kind;
    kept->phase = log->sites[event->site].phase;
    kept->step = event->step;
    kept->micro = event->micro;
    kept->counter = event->counter;
    kept->count = event->count;
    kept->key = event->key;
    kept->value = event->value;
    kept->inputs = event->input_count;
    kept->version = event->version;
    kept->flags = event->flags;
    kept->class_number = (int)fb_site_class(&log->sites[event->site]);
    (void)snprintf(kept->text, sizeof kept->text, "%s", event->text == NULL ? "" : event->text);
    kept->storage = event->storage;
    const fb_hash pair[2] = {log->sequence, kept->hash};
    log->sequence = fb_hash_bytes(pair, sizeof pair);
    if (log->stop_after != 0 && log->count >= log->stop_after) {
        if (err != NULL) {
            err->status = FB_E_STOPPED;
            (void)snprintf(err->text, sizeof err->text, "stopped");
        }
        return FB_E_STOPPED;
    }
    return FB_OK;
}

static inline fb_status log_step_end(void *self, uint64_t step, fb_error *err)
{
    (void)step;
    (void)err;
    ((event_log *)self)->step_ends++;
    return FB_OK;
}

/* The names in log->sites point nowhere after on_site: content hashing needs only those of draws
 * and samples, so keep the sites of the run alive by keeping the run alive until log_close. */
static inline void log_open(event_log *log)
{
    memset(log, 0, sizeof *log);
    log->classes = UINT32_MAX;
    log->observer = (fb_observer){
        .size = sizeof log->observer,
        .self = log,
        .wants = log_wants,
        .on_site = log_site,
        .on_event = log_event,
        .on_step_end = log_step_end,
    };
}

static inline void log_close(event_log *log)
{
    free(log->events);
    free(log->sites);
    free(log->site_hashes);
    free(log->names);
    memset(log, 0, sizeof *log);
}

/* Runs to `steps` and ends; `log` may be NULL. Returns the final hash. */
static inline fb_hash fixture_train(fixture *f, event_log *log, uint64_t steps)
{
    fb_run_observe(f->run, log == NULL ? NULL : &log->observer);
    assert_ok(f, fb_run_begin(f->run, &f->error));
    while (fb_run_current_step(f->run) < steps)
        assert_ok(f, fb_run_step(f->run, &f->error));
    assert_ok(f, fb_run_end(f->run, &f->error));
    return fb_run_final_hash(f->run);
}

#endif
