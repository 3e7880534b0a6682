/* SPDX-License-Identifier: Apache-2.0
 *
 * evidence.c - what rules look at beside the culprit.
 */
#include "diff/cause/evidence.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/hash.h"
#include "diff/number.h"

enum { NONE = UINT32_MAX };

/* --- One event -------------------------------------------------------------------------------- */

const char *fb__text(const char *name)
{
    return name == NULL ? "" : name;
}

bool fb__is_one_of(const char *word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, list[i]) == 0)
            return true;
    return false;
}

bool fb__is_own_generator(const char *stream)
{
    static const char own[] = ".generator";
    const char *dot = strchr(stream, '.');

    return dot != NULL && strncmp(dot, own, sizeof own - 1) == 0;
}

bool fb__is_same_family(const char *x, const char *y)
{
    const size_t n = strcspn(x, ".");

    return n == strcspn(y, ".") && strncmp(x, y, n) == 0;
}

bool fb__is_told_by_state(const fb_site *site)
{
    static const char *const algorithms[] = {"mt19937", "pcg64", "pcg64dxsm", "philox", "sfc64"};

    return fb__is_one_of(fb__text(site->algorithm), algorithms,
                         sizeof algorithms / sizeof algorithms[0]);
}

bool fb__op_is(const fb_site *site, const char *name)
{
    const char *op = fb__text(site->op);
    const size_t n = strlen(name);

    return strncmp(op, name, n) == 0 && (op[n] == '\0' || (op[n] == '_' && op[n + 1] == '\0'));
}

const char *fb__place_of(const fb__step_event *e)
{
    const char *path = fb__text(e->site->path);
    return path[0] != '\0' ? path : "code outside of all modules";
}

fb__where fb__where_of(const fb__step_event *e)
{
    const char *path = fb__text(e->site->path);
    fb__where where;

    (void)snprintf(where.text, sizeof where.text, "%s%s", path[0] != '\0' ? "at " : "",
                   path[0] != '\0' ? path : "outside of all modules");
    return where;
}

const fb__step *fb__step_of(const fb__case *c, const fb__step_event *e)
{
    const fb__step *a = &c->pair->a, *b = &c->pair->b;

    if (e >= b->events && e < b->events + b->count)
        return b;
    /* An event of an earlier step stands in neither: it is the culprit itself. */
    return (e >= a->events && e < a->events + a->count) || e == c->culprit->a ? a : b;
}

bool fb__sketch(fb_sketch *out, const fb__step *step, const fb__step_event *e)
{
    const fb_event *event = NULL;

    if (fb_trace_get_info(step->trace)->level < FB_LEVEL_SKETCH ||
        fb_trace_seek_event(step->trace, e->number, NULL) != FB_OK ||
        fb_trace_next(step->trace, &event, NULL, NULL) != FB_OK || event == NULL ||
        event->sketch == NULL)
        return false;
    *out = *event->sketch;
    return true;
}

static const fb__step_event *event_of_key(const fb__step *step, fb_hash key)
{
    for (size_t i = 0; i < step->count; i++)
        if (fb_hash_equal(step->events[i].key, key))
            return &step->events[i];
    return NULL;
}

const fb__step_event *fb__input(const fb__case *c, const fb__step_event *e, uint32_t k)
{
    const fb__step *step = fb__step_of(c, e);

    return k >= e->input_count ? NULL : event_of_key(step, step->inputs[e->first_input + k]);
}

const fb_site *fb__input_site(const fb__case *c, const fb__step_event *e, uint32_t k)
{
    const fb__step *step = fb__step_of(c, e);
    uint32_t site;

    if (k >= e->input_count)
        return NULL;
    site = step->input_sites[e->first_input + k];
    return site < step->site_capacity ? step->sites[site].site : NULL;
}

bool fb__is_real(fb_dtype dtype)
{
    return dtype >= FB_DTYPE_F64 && dtype <= FB_DTYPE_C128;
}

bool fb__is_integer(fb_dtype dtype)
{
    return dtype >= FB_DTYPE_I8 && dtype <= FB_DTYPE_U64;
}

bool fb__is_tensor(const fb__step_event *e)
{
    return e->site->kind == FB_KIND_TENSOR || e->site->kind == FB_KIND_PARAM;
}

bool fb__is_scalar(const fb_site *site)
{
    uint64_t n = 1;

    for (uint32_t i = 0; i < site->rank && i < FB_RANK_MAX; i++)
        n *= site->shape[i];
    return site->kind == FB_KIND_TENSOR && fb__is_real(site->dtype) && n == 1;
}

bool fb__is_loss(const fb_site *site)
{
    static const char *const ops[] = {"nll_loss_forward", "nll_loss2d_forward",
                                      "nll_loss",         "mse_loss",
                                      "l1_loss",          "smooth_l1_loss",
                                      "huber_loss",       "binary_cross_entropy",
                                      "kl_div",           "soft_margin_loss",
                                      "cross_entropy",    "binary_cross_entropy_with_logits"};

    return fb__is_one_of(fb__text(site->op), ops, sizeof ops / sizeof ops[0]);
}

bool fb__is_weight_of_loss(const fb__step_event *e)
{
    const char *slot = fb__text(e->site->slot);

    return e->input_count == 0 &&
           ((strncmp(fb__text(e->site->op), "nll_loss", 8) == 0 && strcmp(slot, "in2") == 0) ||
            (strncmp(fb__text(e->site->op), "binary_cross_entropy", 20) == 0 &&
             (strcmp(slot, "in2") == 0 || strcmp(slot, "in3") == 0)));
}

/* The k-th input where it stands in the common start of the step, which is not loaded. NULL: it
 * does not, or the reader failed. Lives until the trace is read on. */
static const fb_event *input_before(const fb__case *c, const fb__step_event *e, uint32_t k)
{
    const fb__step *step = fb__step_of(c, e);
    const fb_event *x = NULL;
    uint32_t site;

    if (k >= e->input_count || fb_trace_seek(step->trace, step->step, NULL) != FB_OK)
        return NULL;
    site = step->input_sites[e->first_input + k];
    while (site < step->site_capacity && fb_trace_next(step->trace, &x, NULL, NULL) == FB_OK &&
           x != NULL && x->step == step->step)
        if (x->site == site &&
            fb_hash_equal(fb_identity_hash(step->sites[site].key, x->step, x->micro),
                          step->inputs[e->first_input + k]))
            return x;
    return NULL;
}

bool fb__input_sketch(fb_sketch *out, const fb__case *c, const fb__step_event *e, uint32_t k)
{
    const fb__step_event *input = fb__input(c, e, k);
    const fb_event *x;

    if (input != NULL)
        return fb__sketch(out, fb__step_of(c, e), input);
    x = input_before(c, e, k);
    if (x == NULL || x->sketch == NULL)
        return false;
    *out = *x->sketch;
    return true;
}

bool fb__input_hash(fb_hash *out, const fb__case *c, const fb__step_event *e, uint32_t k)
{
    const fb__step_event *input = fb__input(c, e, k);
    const fb_event *x = input == NULL ? input_before(c, e, k) : NULL;

    if (input == NULL && x == NULL)
        return false;
    *out = input != NULL ? input->hash : x->hash;
    return true;
}

/* --- Arguments -------------------------------------------------------------------------------- */

/* Arguments come from a trace: a recorder writes a flat object, and nothing else is looked into. */
static cJSON *arguments_of(const fb_site *site)
{
    cJSON *object = site->arguments == NULL ? NULL : cJSON_Parse(site->arguments);

    if (object != NULL && !cJSON_IsObject(object)) {
        cJSON_Delete(object);
        object = NULL;
    }
    return object;
}

/* NULL: absent. */
static void print_value(char *out, size_t size, const cJSON *value)
{
    char number[40];
    char *text;

    if (value != NULL && cJSON_IsNumber(value)) {
        (void)snprintf(out, size, "%s", fb__shortest(number, FB_DTYPE_F64, value->valuedouble));
        return;
    }
    text = value == NULL ? NULL : cJSON_PrintUnformatted(value);
    (void)snprintf(out, size, "%s", text == NULL ? "absent" : text);
    free(text);
}

bool fb__argument(char *out, size_t size, const fb_site *site, const char *name)
{
    cJSON *object = arguments_of(site);
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, name);

    if (value != NULL)
        print_value(out, size, value);
    cJSON_Delete(object);
    return value != NULL;
}

/* Where a tensor begins in its memory is told beside the arguments, and is none of them. */
static bool is_offset(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot != NULL && strcmp(dot, ".offset") == 0;
}

static bool compare_arguments(fb__argument_pair *out, const cJSON *of, const cJSON *other,
                              bool swapped, bool offsets)
{
    const cJSON *child;

    cJSON_ArrayForEach(child, of)
    {
        const cJSON *partner = cJSON_GetObjectItemCaseSensitive(other, child->string);
        char *own = swapped ? out->b : out->a, *others = swapped ? out->a : out->b;

        if (is_offset(child->string) != offsets)
            continue;
        print_value(own, sizeof out->a, child);
        print_value(others, sizeof out->b, partner);
        if (offsets && partner == NULL)
            (void)snprintf(others, sizeof out->b, "0");
        if (strcmp(out->a, out->b) == 0)
            continue;
        (void)snprintf(out->name, sizeof out->name, "%s", child->string);
        return true;
    }
    return false;
}

static bool compare_sites(fb__argument_pair *out, const fb_site *a, const fb_site *b, bool offsets)
{
    cJSON *x = arguments_of(a), *y = arguments_of(b);
    const bool found =
        compare_arguments(out, x, y, false, offsets) || compare_arguments(out, y, x, true, offsets);

    cJSON_Delete(x);
    cJSON_Delete(y);
    return found;
}

bool fb__other_argument(fb__argument_pair *out, const fb_site *a, const fb_site *b)
{
    return compare_sites(out, a, b, false);
}

bool fb__other_offset(fb__argument_pair *out, const fb_site *a, const fb_site *b)
{
    return compare_sites(out, a, b, true);
}

/* --- Relations -------------------------------------------------------------------------------- */

fb__fit fb__fit_scale(const fb_sketch *a, const fb_sketch *b)
{
    double aa = 0, ab = 0, bb = 0, rest = 0, scale;

    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        aa += a->linear[i] * a->linear[i];
        ab += a->linear[i] * b->linear[i];
        bb += b->linear[i] * b->linear[i];
    }
    scale = aa > 0 ? ab / aa : 0;
    for (int i = 0; i < FB_SKETCH_BUCKETS; i++) {
        const double d = b->linear[i] - scale * a->linear[i];
        rest += d * d;
    }
    return (fb__fit){scale, bb > 0 ? sqrt(rest / bb) : INFINITY};
}

bool fb__fits(fb__fit fit)
{
    return fit.residual < FB__FIT_TOLERANCE && isfinite(fit.scale) && fit.scale != 0;
}

bool fb__is_gradient(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR && site->phase == FB_PHASE_BACKWARD &&
           strncmp(fb__text(site->slot), "grad", 4) == 0;
}

/* Both sketches of a pair of gradients that are not zero. */
static bool gradient_pair(fb_sketch *x, fb_sketch *y, const fb__case *c, const fb__step_event *e)
{
    return e->partner != NONE && fb__is_gradient(e->site) && fb__sketch(x, &c->pair->a, e) &&
           fb__sketch(y, &c->pair->b, &c->pair->b.events[e->partner]) && x->sum_square > 0 &&
           y->sum_square > 0;
}

void fb__gradients_of(fb__gradients *out, const fb__case *c)
{
    /* A gradient that is zero but for rounding (of a bias that a softmax cancels) has no factor. */
    const double noise = 1e-10;
    const fb__step *a = &c->pair->a;
    double largest = 0;
    fb_sketch x, y;

    *out = (fb__gradients){.scale = 1};
    for (size_t i = 0; i < a->count; i++)
        if (gradient_pair(&x, &y, c, &a->events[i]) && x.sum_square > largest)
            largest = x.sum_square;
    for (size_t i = 0; i < a->count; i++) {
        fb__fit fit;

        if (!gradient_pair(&x, &y, c, &a->events[i]) || x.sum_square < noise * largest)
            continue;
        fit = fb__fit_scale(&x, &y);
        if (out->count == 0 && fb__fits(fit))
            out->scale = fit.scale;
        out->count++;
        out->equal += a->events[i].same_content;
        out->scaled +=
            fb__fits(fit) && fabs(fit.scale - out->scale) < FB__FIT_TOLERANCE * fabs(out->scale);
    }
}

bool fb__norms(double *a, double *b, const fb__case *c)
{
    for (size_t i = 0; i < c->pair->a.count; i++) {
        const fb__step_event *e = &c->pair->a.events[i];

        if (e->site->kind != FB_KIND_SCALAR || strcmp(fb__text(e->site->slot), "grad_norm") != 0 ||
            e->partner == NONE)
            continue;
        *a = e->value;
        *b = c->pair->b.events[e->partner].value;
        return *a > 0;
    }
    return false;
}

/* --- What is made from an event --------------------------------------------------------------- */

/* A small set of keys: those of the events that are made from one. */
typedef struct keys {
    fb_hash *at;
    size_t count, mask;
} keys;

static bool has_key(const keys *k, fb_hash key)
{
    for (size_t i = (size_t)key.lo & k->mask;; i = (i + 1) & k->mask) {
        if (fb_hash_is_zero(k->at[i]))
            return false;
        if (fb_hash_equal(k->at[i], key))
            return true;
    }
}

static void put_key(keys *k, fb_hash key)
{
    size_t i = (size_t)key.lo & k->mask;

    if (fb_hash_is_zero(key) || 2 * k->count > k->mask)
        return;
    while (!fb_hash_is_zero(k->at[i]))
        i = (i + 1) & k->mask;
    k->at[i] = key;
    k->count++;
}

const fb__step_event *fb__reader_where(const fb__case *c, const fb__step_event *e,
                                       fb__match_event *match, const void *context, size_t reach)
{
    const fb__step *step = fb__step_of(c, e);
    const size_t from = (size_t)(e - step->events) + 1;
    const fb__step_event *found = NULL;
    size_t size = 64;
    keys made;

    if (e < step->events || e >= step->events + step->count)
        return NULL; /* a draw of an earlier step */
    while (size < 4 * reach)
        size *= 2;
    made = (keys){.at = calloc(size, sizeof(fb_hash)), .mask = size - 1};
    if (made.at == NULL)
        return NULL;
    put_key(&made, e->key);
    for (size_t i = from; i < step->count && i - from < reach && found == NULL; i++) {
        const fb__step_event *x = &step->events[i];

        for (uint32_t k = 0; k < x->input_count; k++)
            if (has_key(&made, step->inputs[x->first_input + k])) {
                put_key(&made, x->key);
                found = match(x, context) ? x : NULL;
                break;
            }
    }
    free(made.at);
    return found;
}

static bool matches_site(const fb__step_event *e, const void *match)
{
    return (*(fb__match *const *)match)(e->site);
}

const fb__step_event *fb__reader(const fb__case *c, const fb__step_event *e, fb__match *match,
                                 size_t reach)
{
    return fb__reader_where(c, e, matches_site, &match, reach);
}

/* --- The other side --------------------------------------------------------------------------- */

static bool made_from_the_same(const fb__case *c, const fb__step_event *x, const fb__step_event *y)
{
    const fb__step_event *p = fb__input(c, x, 0), *q = fb__input(c, y, 0);

    if (x->input_count == 0 || y->input_count == 0)
        return x->input_count == y->input_count;
    if (p == NULL || q == NULL)
        return p == NULL && q == NULL;
    return p->partner != NONE && (size_t)(q - fb__step_of(c, q)->events) == p->partner;
}

const fb__step_event *fb__replacement(const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const bool in_a = c->culprit->a != NULL;
    const fb__step *other = in_a ? &c->pair->b : &c->pair->a;

    if (c->culprit->a != NULL && c->culprit->b != NULL)
        return NULL;
    for (size_t i = 0; i < other->count; i++) {
        const fb__step_event *x = &other->events[i];

        if (x->partner == NONE && x->site->kind == e->site->kind &&
            x->site->phase == e->site->phase && x->micro == e->micro &&
            strcmp(fb__text(x->site->path), fb__text(e->site->path)) == 0 &&
            made_from_the_same(c, e, x))
            return x;
    }
    return NULL;
}

const fb__step_event *fb__first_different(const fb__step *step, fb_kind kind)
{
    for (size_t i = 0; i < step->count; i++)
        if (step->events[i].site->kind == kind && !step->events[i].equal && !step->events[i].beyond)
            return &step->events[i];
    return NULL;
}
