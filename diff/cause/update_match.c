/* SPDX-License-Identifier: Apache-2.0
 *
 * update_match.c - the optimizer bank on recorded contents. A program's own arithmetic has another
 * order than the engine's, so a formula fits where what it leaves is rounding: of the numbers
 * themselves, and of the update, to some 2^-19.
 */
#include "diff/cause/update_match.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/override/override_rule.h"

enum {
    PARAMETERS_MAX = 64,
    STEPS_MAX = 4,
    RULES_MAX = 256,
    CONTENTS_MAX = 16 << 20, /* bytes, of all tensors held at once */
    EVENTS_MAX = 1 << 20,    /* looked at */
};

enum { P, M, V, G, SLOTS };

/* One parameter: what it was before the step, and what the step made of it. */
typedef struct parameter {
    char path[256];
    size_t n;
    float *before[SLOTS], *after[SLOTS]; /* G: in `after` only */
} parameter;

typedef struct matching {
    fb_trace *trace;
    bool sgd;
    fb_optimizer_config config;
    bool has_lr, several; /* several: groups differ */
    double lr_before;
    parameter *parameters;
    size_t count, bytes;
    const fb_override *entries[RULES_MAX];
    double misfit[RULES_MAX + 1]; /* relative, summed; the last is the usual formula's; < 0: out */
    size_t entry_count;
    fb__update_match *out;
} matching;

/* --- Reading ---------------------------------------------------------------------------------- */

static void take_number(matching *m, double *to, double value, bool first)
{
    m->several |= !first && *to != value;
    *to = value;
}

/* Settings of groups stand at optimizer0.group0 and so on. */
static void take_setting(matching *m, const fb_site *site, double value)
{
    const char *group = strstr(site->path, ".group"), *slot = site->slot;
    const bool first = group != NULL && strcmp(group, ".group0") == 0;
    fb_optimizer_config *c = &m->config;

    if (group == NULL || strncmp(site->path, "optimizer0", 10) != 0)
        return;
    if (strcmp(slot, "lr") == 0) {
        if (first && m->has_lr)
            m->lr_before = c->lr;
        take_number(m, &c->lr, value, first);
        m->has_lr = true;
    } else if (strcmp(slot, "betas0") == 0) {
        take_number(m, &c->beta1, value, first);
    } else if (strcmp(slot, "betas1") == 0) {
        take_number(m, &c->beta2, value, first);
    } else if (strcmp(slot, "eps") == 0) {
        take_number(m, &c->eps, value, first);
    } else if (strcmp(slot, "weight_decay") == 0) {
        take_number(m, &c->weight_decay, value, first);
    } else if (strcmp(slot, "momentum") == 0) {
        take_number(m, &c->momentum, value, first);
    } else if (strcmp(slot, "dampening") == 0) {
        take_number(m, &c->dampening, value, first);
    } else if (strcmp(slot, "nesterov") == 0) {
        c->nesterov = value != 0.0;
    }
}

static int slot_of(const fb_site *site)
{
    if (site->kind == FB_KIND_TENSOR)
        return strcmp(site->op, "grad") == 0 && strcmp(site->slot, "grad") == 0 ? G : -1;
    if (site->kind != FB_KIND_PARAM)
        return -1;
    return strcmp(site->slot, "param") == 0             ? P
           : strcmp(site->slot, "exp_avg") == 0         ? M
           : strcmp(site->slot, "momentum_buffer") == 0 ? M
           : strcmp(site->slot, "exp_avg_sq") == 0      ? V
                                                        : -1;
}

static parameter *parameter_of(matching *m, const char *path, size_t n)
{
    parameter *p;

    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->parameters[i].path, path) == 0)
            return m->parameters[i].n == n ? &m->parameters[i] : NULL;
    if (m->count == PARAMETERS_MAX || strlen(path) >= sizeof p->path)
        return NULL;
    p = &m->parameters[m->count++];
    memcpy(p->path, path, strlen(path) + 1);
    p->n = n;
    return p;
}

static void take_contents(matching *m, const fb_site *site, const fb_event *event, uint64_t number)
{
    const int slot = slot_of(site);
    const size_t bytes = event->data_bytes;
    parameter *p;
    size_t got;

    if (slot < 0 || site->dtype != FB_DTYPE_F32 || (event->flags & FB_EVENT_VALUES) == 0 ||
        bytes % 4 != 0 || bytes > CONTENTS_MAX - m->bytes)
        return;
    p = parameter_of(m, site->path, bytes / 4);
    if (p == NULL)
        return;
    if (p->after[slot] == NULL) {
        p->after[slot] = malloc(bytes + 1);
        m->bytes += bytes;
    }
    if (p->after[slot] != NULL &&
        (fb_trace_values(m->trace, number, 0, p->after[slot], bytes, &got, NULL, NULL) != FB_OK ||
         got != bytes)) {
        free(p->after[slot]);
        p->after[slot] = NULL;
    }
}

/* What a step made is what the next one starts from. */
static void turn_over(matching *m)
{
    for (size_t i = 0; i < m->count; i++) {
        parameter *p = &m->parameters[i];

        for (int s = P; s < G; s++)
            if (p->after[s] != NULL) {
                free(p->before[s]);
                p->before[s] = p->after[s];
                p->after[s] = NULL;
            }
        free(p->after[G]);
        p->after[G] = NULL;
    }
    m->bytes = 0;
    for (size_t i = 0; i < m->count; i++)
        for (int s = P; s < G; s++)
            m->bytes += m->parameters[i].before[s] != NULL ? 4 * m->parameters[i].n : 0;
}

/* --- Trying ----------------------------------------------------------------------------------- */

/* How far a result is from what was recorded, in units of what rounding may leave. */
static double distance(const float *made, const float *recorded, const float *before, size_t n)
{
    double error = 0.0, rounding = 0.0, change = 0.0;

    for (size_t i = 0; i < n; i++) {
        const double r = (double)recorded[i], b = before != NULL ? (double)before[i] : 0.0;
        const double e = (double)made[i] - r, u = (fabs(r) + fabs(b)) * 0x1p-23;

        error += e * e;
        rounding += u * u;
        change += (r - b) * (r - b);
    }
    if (!(error < INFINITY))
        return INFINITY;
    return sqrt(error) / (2.0 * sqrt(rounding) + 0x1p-19 * sqrt(change) + 1e-45);
}

static bool has_word(const char *path, const char *word)
{
    return strstr(path, word) != NULL;
}

static fb__update_kind kind_of(const matching *m, const parameter *p)
{
    const size_t n = strlen(p->path);
    const bool bias = n >= 5 && strcmp(p->path + n - 4, "bias") == 0;

    return (fb__update_kind){
        .bias = bias,
        .norm = has_word(p->path, "norm") || has_word(p->path, "ln_") || has_word(p->path, ".ln"),
        .embedding =
            has_word(p->path, "emb") || has_word(p->path, "wte") || has_word(p->path, "wpe"),
        .first = p == m->parameters,
        .last = p == &m->parameters[m->count - 1],
    };
}

/* The worst distance of parameter and states after one update; INFINITY where memory is out. */
static double try_rule(const matching *m, const fb__update_rule *rule, const parameter *p,
                       uint64_t step)
{
    float *room = calloc(3 * p->n + 1, sizeof *room), *at[G] = {room, room, room};
    fb__update_moment now = {.config = &m->config,
                             .lr = m->config.lr,
                             .lr_before = m->lr_before,
                             .step = step,
                             .epoch_step = step,
                             .micros = 1,
                             .beta_power = {1.0, 1.0},
                             .param = kind_of(m, p)};
    double worst = 0.0;

    if (room == NULL)
        return INFINITY;
    for (int s = P; s < G; s++) {
        at[s] = room + (size_t)s * p->n;
        if (p->before[s] != NULL)
            memcpy(at[s], p->before[s], p->n * sizeof *room);
    }
    for (uint64_t t = 0; t < step; t++) {
        now.beta_power[0] *= m->config.beta1;
        now.beta_power[1] *= m->config.beta2;
    }
    const fb__update_tensors t = {.p = at[P],
                                  .m = m->sgd && m->config.momentum == 0.0 ? NULL : at[M],
                                  .v = at[V],
                                  .g = p->after[G],
                                  .raw = p->after[G],
                                  .n = p->n};
    if (m->sgd)
        fb__update_sgd_by(rule, &now, &t);
    else
        fb__update_adam_by(rule, &now, &t);
    for (int s = P; s < G; s++)
        if (p->after[s] != NULL)
            worst = fmax(worst, distance(at[s], p->after[s], p->before[s], p->n));
    free(room);
    return worst;
}

static void try_all(matching *m, const parameter *p, uint64_t step)
{
    static const fb__update_rule usual = {.eps = 0.0};

    m->out->updates++;
    for (size_t i = 0; i <= m->entry_count; i++) {
        const fb__update_rule *rule = i == m->entry_count ? &usual : m->entries[i]->variant;
        double d;

        if (m->misfit[i] < 0.0)
            continue;
        d = try_rule(m, rule, p, step);
        m->misfit[i] = d <= 1.0 ? m->misfit[i] + d : -1.0;
    }
}

/* Every parameter whose gradient, start and end are known; states, where there are none before,
 * start at zero in step 1. */
static void try_step(matching *m, uint64_t step)
{
    size_t parameters = 0;

    for (size_t i = 0; i < m->count; i++) {
        const parameter *p = &m->parameters[i];
        const bool starts = step == 1 || p->before[M] != NULL || p->after[M] == NULL;

        if (p->before[P] == NULL || p->after[P] == NULL || p->after[G] == NULL || !starts)
            continue;
        try_all(m, p, step);
        parameters++;
    }
    if (parameters > m->out->parameters)
        m->out->parameters = parameters;
}

/* --- Together --------------------------------------------------------------------------------- */

static void read_steps(matching *m, uint64_t step)
{
    const fb_event *e = NULL;
    uint64_t number, at = 0;

    if (fb_trace_seek(m->trace, 0, NULL) != FB_OK)
        return;
    for (size_t i = 0; i < EVENTS_MAX; i++) {
        const bool read = fb_trace_next(m->trace, &e, &number, NULL) == FB_OK && e != NULL;
        const fb_site *site;

        if (!read || e->step > at) { /* the step is over */
            if (at >= step && m->has_lr && !m->several)
                try_step(m, at);
            turn_over(m);
        }
        if (!read || e->step >= step + STEPS_MAX || m->several)
            return;
        at = e->step;
        site = fb_trace_site(m->trace, e->site);
        if (site == NULL || site->path == NULL || site->slot == NULL || site->op == NULL)
            continue;
        if (site->kind == FB_KIND_SCALAR && site->phase == FB_PHASE_OPTIMIZER)
            take_setting(m, site, e->value);
        else if (at + 1 >= step)
            take_contents(m, site, e, number);
    }
}

static void conclude(matching *m)
{
    fb__update_match *out = m->out;
    size_t best = m->entry_count;

    out->plain = m->misfit[m->entry_count] >= 0.0;
    for (size_t i = 0; i < m->entry_count; i++)
        if (m->misfit[i] >= 0.0) {
            out->others++;
            if (best == m->entry_count || m->misfit[i] < m->misfit[best])
                best = i;
        }
    out->known = out->updates > 0 && !m->several && (out->plain || out->others > 0);
    if (out->plain || !out->known)
        return;
    out->what = m->entries[best];
    out->others--;
}

void fb__match_updates(fb__update_match *out, fb_trace *trace, uint64_t step, const char *optimizer)
{
    matching m = {.trace = trace, .sgd = strcmp(optimizer, "sgd") == 0, .out = out};
    const fb__formulas *family = m.sgd ? &fb__update_sgd : &fb__update_adam;

    *out = (fb__update_match){.known = false};
    m.config.type = m.sgd                            ? FB_OPTIMIZER_SGD
                    : strcmp(optimizer, "adam") == 0 ? FB_OPTIMIZER_ADAM
                                                     : FB_OPTIMIZER_ADAMW;
    m.parameters = calloc(PARAMETERS_MAX, sizeof *m.parameters);
    for (size_t i = 0; i < fb_override_count() && m.entry_count < RULES_MAX; i++)
        if (fb_override_at(i)->formulas == family && !fb_override_at(i)->history)
            m.entries[m.entry_count++] = fb_override_at(i);
    if (m.parameters != NULL) {
        read_steps(&m, step);
        conclude(&m);
    }
    for (size_t i = 0; i < m.count; i++)
        for (int s = P; s < SLOTS; s++) {
            free(m.parameters[i].before[s]);
            free(m.parameters[i].after[s]);
        }
    free(m.parameters);
}
