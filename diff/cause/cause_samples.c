/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_samples.c - causes in which samples a recorded program reads: some twice or not at all, the
 * order of the epoch before, those that it is judged on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

enum { READS_MAX = 1 << 19 }; /* indices of one trace that are looked at: 16 MiB */

/* One sample read. */
typedef struct sample_read {
    uint64_t dataset; /* a hash of its name */
    uint64_t index, epoch;
    uint32_t batch; /* how-manieth of the trace */
    bool evaluated; /* by its role, or because the model's next call is in evaluation mode */
} sample_read;

typedef struct reads {
    sample_read *at;
    size_t count, capacity;
    size_t undecided; /* from here on the next call of the model decides */
    fb_hash rows;     /* the last that a program picked itself */
    bool evaluating;  /* the model's last call was in evaluation mode */
    uint32_t batches;
} reads;

static bool add(reads *r, sample_read x)
{
    if (r->count == r->capacity) {
        const size_t n = r->capacity > 0 ? 2 * r->capacity : 256;
        sample_read *grown = n > READS_MAX ? NULL : realloc(r->at, n * sizeof *grown);

        if (grown == NULL)
            return false;
        r->at = grown;
        r->capacity = n;
    }
    r->at[r->count++] = x;
    return true;
}

static bool take_batch(reads *r, const fb_site *site, const fb_event *e)
{
    const bool held_out = site->role == FB_ROLE_VAL || site->role == FB_ROLE_TEST;

    for (uint64_t i = 0; i < e->count && e->indices != NULL; i++)
        if (!add(r, (sample_read){fb_hash_name(fb__text(site->dataset)), e->indices[i], e->counter,
                                  r->batches, held_out}))
            return false;
    if (site->role != FB_ROLE_UNKNOWN)
        r->undecided = r->count;
    r->batches++;
    return true;
}

/* A program without a DataLoader reads rows by an index that it made itself. */
static bool is_row_index(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && fb__is_integer(site->dtype) && site->rank == 1 &&
           fb__text(site->path)[0] == '\0' && strncmp(fb__text(site->slot), "in", 2) == 0 &&
           (strcmp(fb__text(site->op), "index") == 0 ||
            strcmp(fb__text(site->op), "index_select") == 0);
}

/* A sketch has all elements of a short tensor. Each batch is an epoch of its own: nothing says when
 * one ends. */
static bool take_rows(reads *r, const fb_event *e)
{
    const uint64_t n =
        e->sketch == NULL || e->sketch->elements > FB_SKETCH_SAMPLES ? 0 : e->sketch->elements;

    if (fb_hash_equal(r->rows, e->hash))
        return true; /* targets of the samples that the model has seen */
    r->rows = e->hash;
    for (uint64_t i = 0; i < n; i++)
        if (!add(r, (sample_read){0, e->sketch->samples[i], r->batches, r->batches, false}))
            return false;
    r->batches++;
    return true;
}

/* What a module gives, or a program makes of it by a choice or chances. */
static bool is_given_by_model(const fb_site *site)
{
    static const char *const ops[] = {"argmax", "_softmax", "_log_softmax", "sigmoid"};

    return site != NULL && site->kind == FB_KIND_TENSOR &&
           (fb__text(site->path)[0] != '\0' ||
            fb__is_one_of(fb__text(site->op), ops, sizeof ops / sizeof ops[0]));
}

/* Rows of what the model gives, picked by a part of a tensor of indices: which part is known, not
 * what is in it. The model was called before: in which mode has been told. */
static bool take_part(reads *r, fb_trace *trace, const fb_site *site, const fb_event *e)
{
    const fb_site *from;
    char text[64];
    uint64_t first;

    if (site->kind != FB_KIND_TENSOR || strcmp(fb__text(site->op), "index") != 0 ||
        strcmp(fb__text(site->slot), "out") != 0 || site->rank == 0 || e->input_count != 2 ||
        fb__text(site->path)[0] != '\0')
        return true;
    from = fb_trace_site(trace, e->inputs[1].site);
    if (from == NULL || !is_given_by_model(fb_trace_site(trace, e->inputs[0].site)) ||
        from->phase != FB_PHASE_INIT || !fb__is_integer(from->dtype) ||
        strcmp(fb__text(from->slot), "out") != 0)
        return true;
    first = fb__argument(text, sizeof text, site, "in1.offset") ? strtoull(text, NULL, 10) : 0;
    for (uint64_t i = 0; i < site->shape[0]; i++)
        if (!add(r, (sample_read){fb_site_hash(from).lo, first + i, r->batches, r->batches,
                                  r->evaluating}))
            return false;
    r->batches++;
    r->undecided = r->count;
    return true;
}

/* All samples of a trace with indices, in order. */
static void read_all(reads *r, fb_trace *trace)
{
    const fb_event *e = NULL;

    *r = (reads){0};
    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL)
            return;
        if (site->kind == FB_KIND_SAMPLE && !take_batch(r, site, e))
            return;
        if (is_row_index(site) ? !take_rows(r, e) : !take_part(r, trace, site, e))
            return;
        if (site->kind == FB_KIND_MODE && strcmp(fb__text(site->slot), "training") == 0) {
            for (size_t i = r->undecided; i < r->count; i++)
                r->at[i].evaluated = e->value == 0;
            r->undecided = r->count;
            r->evaluating = e->value == 0;
        }
    }
}

static int by_sample(const void *x, const void *y)
{
    const sample_read *a = x, *b = y;

    if (a->dataset != b->dataset)
        return a->dataset < b->dataset ? -1 : 1;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    return a->batch < b->batch ? -1 : a->batch > b->batch;
}

/* After sorting: samples that are trained on and evaluated with, and those that one epoch of
 * training reads more than once. */
typedef struct findings {
    size_t evaluated, leaked, repeated;
} findings;

static findings find(const reads *sorted)
{
    findings f = {0, 0, 0};

    for (size_t i = 0; i < sorted->count;) {
        bool trained = false, evaluated = false;
        size_t end = i;

        for (; end < sorted->count && sorted->at[end].dataset == sorted->at[i].dataset &&
               sorted->at[end].index == sorted->at[i].index;
             end++) {
            const sample_read *x = &sorted->at[end];

            f.repeated += end > i && !x->evaluated && !x[-1].evaluated && x->epoch == x[-1].epoch;
            trained |= !x->evaluated;
            evaluated |= x->evaluated;
        }
        f.evaluated += evaluated;
        f.leaked += trained && evaluated;
        i = end;
    }
    return f;
}

/* How many reads of training the first whole epoch of a dataset has; 0: none is known to be whole.
 */
static size_t epoch_size(fb_trace *trace, const char *dataset)
{
    const uint64_t name = fb_hash_name(dataset);
    uint64_t first = UINT64_MAX, last = 0;
    size_t n = 0;
    reads r;

    read_all(&r, trace);
    for (size_t i = 0; i < r.count; i++)
        if (r.at[i].dataset == name && !r.at[i].evaluated) {
            first = r.at[i].epoch < first ? r.at[i].epoch : first;
            last = r.at[i].epoch > last ? r.at[i].epoch : last;
        }
    for (size_t i = 0; i < r.count && first < last; i++)
        n += r.at[i].dataset == name && !r.at[i].evaluated && r.at[i].epoch == first;
    free(r.at);
    return n;
}

/* Rows are picked from the one dataset that batches are of. Where there are several, no one says
 * which. */
static void take_as_one_table(reads *r)
{
    uint64_t dataset = 0;

    for (size_t i = 0; i < r->count; i++) {
        if (r->at[i].dataset != 0 && dataset != 0 && r->at[i].dataset != dataset)
            return;
        dataset = r->at[i].dataset != 0 ? r->at[i].dataset : dataset;
    }
    for (size_t i = 0; i < r->count; i++)
        r->at[i].dataset = dataset;
}

/* one_table: what a program picks by an index of its own is taken for the dataset's. */
static findings findings_of(fb_trace *trace, bool one_table)
{
    findings f;
    reads r;

    read_all(&r, trace);
    if (one_table)
        take_as_one_table(&r);
    if (r.count > 0)
        qsort(r.at, r.count, sizeof *r.at, by_sample);
    f = find(&r);
    free(r.at);
    return f;
}

/* A batch, or the draw that decides which samples come. */
static bool is_sample(const fb__case *c)
{
    const fb_site *site = fb__culprit_event(c)->site;
    const char *what = fb__text(site->distribution);

    return site->kind == FB_KIND_SAMPLE ||
           (site->kind == FB_KIND_DRAW &&
            (strcmp(what, "randperm") == 0 || strcmp(what, "randint") == 0 ||
             strcmp(what, "multinomial") == 0 || strcmp(what, "random_") == 0) &&
            (fb__first_different(&c->pair->a, FB_KIND_SAMPLE) != NULL ||
             fb__first_different(&c->pair->b, FB_KIND_SAMPLE) != NULL));
}

/* Signature: samples are evaluated with that were trained on, in one run only. */
bool fb__rule_leak(fb_diff_cause *out, const fb__case *c)
{
    findings a, b;

    if (!is_sample(c) && !is_row_index(fb__culprit_event(c)->site) &&
        !fb__op_is(fb__culprit_event(c)->site, "index"))
        return false;
    a = findings_of(c->pair->a.trace, false);
    b = findings_of(c->pair->b.trace, false);
    if (a.leaked == 0 && b.leaked == 0) {
        a = findings_of(c->pair->a.trace, true);
        b = findings_of(c->pair->b.trace, true);
    }
    if ((a.leaked > 0) == (b.leaked > 0))
        return false;
    fb__say(out, "%zu of the %zu samples that %s evaluates with are trained on too; of %s none",
            a.leaked > 0 ? a.leaked : b.leaked, a.leaked > 0 ? a.evaluated : b.evaluated,
            a.leaked > 0 ? "a" : "b", a.leaked > 0 ? "b" : "a");
    fb__say_fix(out, "split the dataset once, by index, and keep the parts apart");
    return true;
}

/* The batch that the other side reads in the place of one that it lacks. */
static const fb__step_event *instead_of(const fb__case *c)
{
    const fb__step *other = c->culprit->a != NULL ? &c->pair->b : &c->pair->a;

    for (size_t i = 0; i < other->count; i++)
        if (other->events[i].site->kind == FB_KIND_SAMPLE && other->events[i].partner == UINT32_MAX)
            return &other->events[i];
    return NULL;
}

static bool other_length(fb__argument_pair *p, const fb_site *a, const fb_site *b)
{
    (void)snprintf(p->name, sizeof p->name, "length");
    return fb__argument(p->a, sizeof p->a, a, p->name) &&
           fb__argument(p->b, sizeof p->b, b, p->name) && strcmp(p->a, p->b) != 0;
}

static void say_share_fix(fb_diff_cause *out)
{
    fb__say_fix(out,
                "each sample once an epoch, each rank its own share: compare the samplers, the "
                "shards and what is cut off the data");
}

static bool say_epoch_size(fb_diff_cause *out, const fb__case *c)
{
    const char *dataset = fb__text(fb__culprit_event(c)->site->dataset);
    const size_t a = epoch_size(c->pair->a.trace, dataset);
    const size_t b = epoch_size(c->pair->b.trace, dataset);

    if (a == 0 || b == 0 || a == b)
        return false;
    fb__say(out, "an epoch reads %zu | %zu samples of %s", a, b, dataset);
    say_share_fix(out);
    return true;
}

/* Signature: the order of an epoch is drawn for another number of samples. */
static bool is_other_share(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;

    if (!fb__is_pair(c) || a->site->kind != FB_KIND_DRAW || a->count == b->count ||
        strcmp(fb__text(a->site->distribution), "randperm") != 0 ||
        strcmp(fb__text(b->site->distribution), "randperm") != 0)
        return false;
    fb__say(out, "the order is drawn for %" PRIu64 " | %" PRIu64 " samples", a->count, b->count);
    say_share_fix(out);
    return true;
}

/* Signature: a batch of another size; or an epoch that reads samples twice in one run only. */
bool fb__rule_repeated_samples(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    fb__argument_pair p;
    findings x, y;

    if (is_other_share(out, c))
        return true;
    if (!is_sample(c))
        return false;
    if (fb__culprit_event(c)->site->kind == FB_KIND_SAMPLE) {
        a = a == NULL ? instead_of(c) : a;
        b = b == NULL ? instead_of(c) : b;
    } else {
        a = b = NULL;
    }
    if (a != NULL && b != NULL && a->count != b->count) {
        const bool told = fb__other_argument(&p, a->site, b->site);

        fb__say(out, "the batch has %" PRIu64 " | %" PRIu64 " samples%s%s%s%s%s%s%s", a->count,
                b->count, told ? " (" : "", told ? p.name : "", told ? " " : "", told ? p.a : "",
                told ? " | " : "", told ? p.b : "", told ? ")" : "");
        fb__say_fix(out, "compare batch_size and drop_last, and what becomes of the last batch");
        return true;
    }
    if (a != NULL && b != NULL && other_length(&p, a->site, b->site)) {
        fb__say(out, "the sampler has %s | %s samples an epoch", p.a, p.b);
        say_share_fix(out);
        return true;
    }
    if (a != NULL && b != NULL && say_epoch_size(out, c))
        return true;
    x = findings_of(c->pair->a.trace, false);
    y = findings_of(c->pair->b.trace, false);
    if ((x.repeated > 0) == (y.repeated > 0))
        return false;
    fb__say(out, "%s reads %zu samples more than once in an epoch, %s none",
            x.repeated > 0 ? "a" : "b", x.repeated > 0 ? x.repeated : y.repeated,
            x.repeated > 0 ? "b" : "a");
    say_share_fix(out);
    return true;
}

/* --- Ends of epochs --------------------------------------------------------------------------- */

/* Batches of one epoch of one loader in a whole trace. */
typedef struct batches {
    size_t count;
    const fb_site *site; /* of the first; NULL: there is none */
} batches;

static bool is_of_loader(const fb_site *site, const fb_site *like)
{
    char own[64], others[64];

    return site->kind == FB_KIND_SAMPLE &&
           strcmp(fb__text(site->dataset), fb__text(like->dataset)) == 0 &&
           fb__argument(own, sizeof own, site, "sampler") &&
           fb__argument(others, sizeof others, like, "sampler") && strcmp(own, others) == 0;
}

/* before: only those in front of this event are counted. */
static batches batches_of(fb_trace *trace, const fb__step_event *like, uint64_t before)
{
    const fb_event *e = NULL;
    uint64_t number = 0;
    batches n = {0, NULL};

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return n;
    while (fb_trace_next(trace, &e, &number, NULL) == FB_OK && e != NULL && number < before) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || e->counter != like->counter || !is_of_loader(site, like->site))
            continue;
        n.site = n.count++ == 0 ? site : n.site;
    }
    return n;
}

/* A loader draws one whole number for its workers whenever it is gone through. */
static bool is_begin_of_loader(const fb__case *c, const fb__step_event *e)
{
    return e->site->kind == FB_KIND_DRAW && !fb__is_pair(c) && e->count == 1 &&
           strcmp(fb__text(e->site->distribution), "random_") == 0;
}

/* Signature: one run begins to go through another loader where the epoch of the other run has a
 * batch more. */
bool fb__rule_epoch_end(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *x;
    const bool in_a = c->culprit->a != NULL;
    const fb__step *other = in_a ? &c->pair->b : &c->pair->a;
    fb__argument_pair p;
    batches a, b;
    bool told;

    if (!is_begin_of_loader(c, e))
        return false;
    x = fb__first_different(other, FB_KIND_SAMPLE);
    if (x == NULL || batches_of(other->trace, x, x->number).count == 0)
        return false; /* no epoch that it was in the midst of */
    a = batches_of(c->pair->a.trace, x, UINT64_MAX);
    b = batches_of(c->pair->b.trace, x, UINT64_MAX);
    if (a.count == 0 || b.count == 0 || (in_a ? a.count >= b.count : b.count >= a.count))
        return false;
    told = fb__other_argument(&p, a.site, b.site);
    fb__say(out, "an epoch of %s has %zu | %zu batches%s%s%s%s%s%s%s: %s ends it here",
            fb__text(x->site->dataset), a.count, b.count, told ? " (" : "", told ? p.name : "",
            told ? " " : "", told ? p.a : "", told ? " | " : "", told ? p.b : "", told ? ")" : "",
            in_a ? "a" : "b");
    fb__say_fix(out, "compare batch_size and drop_last, and where the loop over the loader ends");
    return true;
}
