/* SPDX-License-Identifier: Apache-2.0
 *
 * cause_sharing.c - causes in what is one tensor in one run and two in the other: ties that are
 * broken or made.
 */
#include <string.h>

#include "base/hash.h"
#include "diff/cause/evidence.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

enum { NONE = UINT32_MAX };

static bool is_first_parameter(const fb_site *site)
{
    return site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_INIT;
}

/* A parameter that one side has in step 0 and the other lacks, as an event; NULL: none, or both
 * sides have some. */
static const fb__step_event *own_parameter(const char **side, const fb__case *c)
{
    const fb__step_event *found[2] = {NULL, NULL};

    for (int s = 0; s < 2; s++) {
        const fb__step *step = s == 0 ? &c->pair->a : &c->pair->b;

        for (size_t i = 0; i < step->count && found[s] == NULL; i++)
            if (is_first_parameter(step->events[i].site) && step->events[i].partner == NONE &&
                !step->events[i].beyond)
                found[s] = &step->events[i];
    }
    if ((found[0] == NULL) == (found[1] == NULL))
        return NULL;
    if (strncmp(fb__text((found[0] != NULL ? found[0] : found[1])->site->path), "optimizer", 9) ==
        0)
        return NULL; /* known by its optimizer alone: not a matter of sharing */
    *side = found[0] != NULL ? "a" : "b";
    return found[0] != NULL ? found[0] : found[1];
}

/* What an op of the module `module` reads in its first forward pass: a parameter of another module.
 * Without an optimizer that pass is in step 0. */
static const char *borrowed(fb_trace *trace, const char *module, size_t length)
{
    const fb_event *e = NULL;

    if (fb_trace_seek(trace, 0, NULL) != FB_OK)
        return NULL;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= 1) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || site->kind != FB_KIND_TENSOR ||
            (site->phase != FB_PHASE_FORWARD && site->phase != FB_PHASE_INIT) ||
            strncmp(fb__text(site->path), module, length) != 0 ||
            fb__text(site->path)[length] != '\0')
            continue;
        for (uint32_t i = 0; i < e->input_count; i++) {
            const fb_site *input = fb_trace_site(trace, e->inputs[i].site);

            if (input != NULL && input->kind == FB_KIND_PARAM &&
                (strncmp(fb__text(input->path), module, length) != 0 ||
                 fb__text(input->path)[length] != '.'))
                return fb__text(input->path);
        }
    }
    return NULL;
}

/* The parameter that the other side computes with where one has its own; NULL: a module has a
 * parameter more, and that is no tie. */
static const char *shared_instead(const fb__case *c, const fb__step_event *e, const char *side)
{
    const char *path = fb__text(e->site->path), *dot = strrchr(path, '.');

    return borrowed(side[0] == 'a' ? c->pair->b.trace : c->pair->a.trace, path,
                    dot == NULL ? strlen(path) : (size_t)(dot - path));
}

/* How many tensors the first op of a module reads; 0: it has none up to step 1. */
static uint32_t count_inputs(fb_trace *trace, const char *module, size_t length)
{
    const fb_event *e = NULL;

    if (fb_trace_seek(trace, 0, NULL) != FB_OK)
        return 0;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= 1) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site != NULL && site->kind == FB_KIND_TENSOR && site->phase != FB_PHASE_BACKWARD &&
            e->input_count > 1 && strncmp(fb__text(site->path), module, length) == 0 &&
            fb__text(site->path)[length] == '\0')
            return e->input_count;
    }
    return 0;
}

/* Whether the module computes from as many tensors on the side that lacks one of its parameters:
 * from another's, then. A layer without a bias reads one tensor less. */
static bool computes_all_the_same(const fb__case *c, const fb__step_event *own)
{
    const char *path = fb__text(own->site->path), *dot = strrchr(path, '.');
    const size_t length = dot == NULL ? strlen(path) : (size_t)(dot - path);
    const uint32_t a = count_inputs(c->pair->a.trace, path, length);

    return a > 0 && a == count_inputs(c->pair->b.trace, path, length);
}

/* What the modules of a run compute in the first step that has any: how much, and whether one of
 * them is the one of this name. */
typedef struct modules {
    size_t ops;
    bool has;
} modules;

static modules count_modules(fb_trace *trace, const char *module, size_t length)
{
    const fb_event *e = NULL;
    modules m = {0, false};
    uint64_t step = 0;

    if (fb_trace_seek(trace, 0, NULL) != FB_OK)
        return m;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= 1) {
        const fb_site *site = fb_trace_site(trace, e->site);

        if (site == NULL || site->kind != FB_KIND_TENSOR || fb__text(site->path)[0] == '\0' ||
            (site->phase != FB_PHASE_FORWARD && site->phase != FB_PHASE_INIT))
            continue;
        m.ops = e->step == step ? m.ops + 1 : 1;
        step = e->step;
        m.has |= strncmp(site->path, module, length) == 0 &&
                 (site->path[length] == '\0' || site->path[length] == '.');
    }
    return m;
}

/* Whether a module of which one side has parameters is called by no name on the other, which
 * computes as much all the same: with another module in its place, twice. */
static bool is_called_twice(const fb__case *c, const fb__step_event *own)
{
    const char *path = fb__text(own->site->path), *dot = strrchr(path, '.');
    const size_t length = dot == NULL ? strlen(path) : (size_t)(dot - path);
    const modules a = count_modules(c->pair->a.trace, path, length);
    const modules b = count_modules(c->pair->b.trace, path, length);

    return a.has != b.has && a.ops == b.ops;
}

/* A second instance of a model, by its name ("DQN#2.layer.weight"), that one side lacks. */
static bool is_second_instance(const fb__step_event *e)
{
    const char *path = fb__text(e->site->path), *hash = strchr(path, '#');
    const char *dot = strchr(path, '.');

    return hash != NULL && (dot == NULL || hash < dot);
}

/* Signature: one side has a parameter of its own where the other computes with another module's, or
 * an op reads another parameter than on the other. */
bool fb__rule_aliasing(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c), *own;
    const char *side, *shared;

    if (e->site->phase == FB_PHASE_INIT) {
        own = own_parameter(&side, c);
        if (own != NULL && is_second_instance(own)) {
            fb__say(out, "%s has a second model (%.*s), %s uses one for both", side,
                    (int)strcspn(own->site->path, "."), own->site->path,
                    side[0] == 'a' ? "b" : "a");
            fb__say_fix(out, "make a copy of the model (copy.deepcopy) in both, or in neither");
            return true;
        }
        if (own != NULL && is_called_twice(c, own)) {
            fb__say(out, "%s has a layer of its own at %s, %s calls another layer twice instead",
                    side, fb__text(own->site->path), side[0] == 'a' ? "b" : "a");
            fb__say_fix(out, "make each layer anew (or copy it) in both, or share it in both");
            return true;
        }
        shared = own == NULL ? NULL : shared_instead(c, own, side);
        if (shared == NULL && own != NULL && computes_all_the_same(c, own))
            shared = "another parameter";
        if (shared == NULL)
            return false;
        fb__say(out,
                "%s has a parameter of its own at %s, where %s computes with %s: the tie is "
                "broken",
                side, fb__text(own->site->path), side[0] == 'a' ? "b" : "a", shared);
        fb__say_fix(out, "share %s in both or in neither, and after loading too",
                    fb__text(own->site->path));
        return true;
    }
    if (c->report->first.what != FB_DIFF_INPUTS || e->site->kind != FB_KIND_TENSOR)
        return false;
    fb__say(out,
            "%s computes an equal result from another parameter: what is one tensor in one "
            "run are two in the other",
            fb__place_of(e));
    fb__say_fix(out, "compare which modules share their weights");
    return true;
}

/* --- Memory that is written to ---------------------------------------------------------------- */

static bool is_in_place(const fb_site *site)
{
    const size_t n = strlen(fb__text(site->op));

    return site->kind == FB_KIND_TENSOR && n > 1 && site->op[n - 1] == '_' &&
           site->op[n - 2] != '_';
}

/* What a training step writes to: a parameter, or the target of an op in place. */
static bool is_written(const fb_site *site)
{
    return is_in_place(site) || (site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_OPTIMIZER);
}

static bool is_copy(const fb_site *site)
{
    static const char *const ops[] = {"clone",      "_to_copy",   "copy_",
                                      "empty_like", "zeros_like", "detach_copy"};

    return fb__is_one_of(fb__text(site->op), ops, COUNT_OF(ops));
}

/* How often, up to the culprit's step, an op in place of this name has a copy for its target. */
static size_t count_copies(fb_trace *trace, const char *op, uint64_t to)
{
    const fb_event *e = NULL;
    size_t n = 0;

    if (fb_trace_seek_event(trace, 0, NULL) != FB_OK)
        return 0;
    while (fb_trace_next(trace, &e, NULL, NULL) == FB_OK && e != NULL && e->step <= to) {
        const fb_site *site = fb_trace_site(trace, e->site);
        const fb_site *target = e->input_count > 0 ? fb_trace_site(trace, e->inputs[0].site) : NULL;

        n += site != NULL && target != NULL && strcmp(fb__text(site->op), op) == 0 &&
             is_copy(target);
    }
    return n;
}

/* The writer whose result one side alone reads as the k-th input, where it was made before this
 * step: in the place of it the other reads what nobody has written to since. */
static const fb_site *lone_writer(bool *in_a, const fb__case *c, uint32_t k)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const fb_site *x = fb__input_site(c, a, k), *y = fb__input_site(c, b, k);

    if (x == NULL || y == NULL || is_written(x) == is_written(y) || fb__input(c, a, k) != NULL ||
        fb__input(c, b, k) != NULL)
        return NULL;
    *in_a = is_written(x);
    return *in_a ? x : y;
}

static void say_copy_first(fb_diff_cause *out)
{
    fb__say_fix(out, "copy before writing: clone() or copy.deepcopy(), or an op that is not in "
                     "place");
}

static bool is_any(const fb_site *site)
{
    return site->kind == FB_KIND_TENSOR;
}

/* A copy that one side alone makes, before an op writes to it. */
static bool is_copied_to_write(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *reader;

    if (fb__is_pair(c) || e->site->kind != FB_KIND_TENSOR || !fb__op_is(e->site, "clone") ||
        fb__text(e->site->path)[0] != '\0')
        return false;
    reader = fb__reader(c, e, is_any, 256);
    return reader != NULL && is_in_place(reader->site) && fb__input(c, reader, 0) == e;
}

/* Signature: an op reads on one side what an op in place, or the optimizer, has written to the very
 * tensor that the other side reads unwritten, and the other side writes to a copy instead. */
bool fb__rule_overwritten(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb_site *writer = NULL;
    size_t copies_a, copies_b;
    bool in_a = false;
    const char *op;

    if (is_copied_to_write(c, e)) {
        fb__say(out,
                "%s copies (%s) what it writes to, %s writes into the original: it is other "
                "data when it is read again",
                fb__culprit_side(c), fb__text(e->site->op), c->culprit->a != NULL ? "b" : "a");
        say_copy_first(out);
        return true;
    }
    if (!fb__is_pair(c) || e->site->kind != FB_KIND_TENSOR || e->site->phase == FB_PHASE_BACKWARD ||
        c->culprit->a->input_count != c->culprit->b->input_count)
        return false;
    for (uint32_t k = 0; k < e->input_count && writer == NULL; k++)
        writer = lone_writer(&in_a, c, k);
    if (writer == NULL)
        return false;
    op = fb__text(is_in_place(writer) ? writer->op : e->site->op);
    copies_a = count_copies(c->pair->a.trace, op, c->pair->a.step);
    copies_b = count_copies(c->pair->b.trace, op, c->pair->b.step);
    if (in_a ? copies_b <= copies_a : copies_a <= copies_b)
        return false;
    if (is_in_place(writer))
        fb__say(out,
                "%s writes (%s) into a tensor that is read again here (%s); %s writes into a copy",
                in_a ? "a" : "b", op, fb__text(e->site->op), in_a ? "b" : "a");
    else
        fb__say(out, "in %s %s works on %s itself, which the optimizer updates; in %s on a copy",
                in_a ? "a" : "b", op, fb__text(writer->path), in_a ? "b" : "a");
    say_copy_first(out);
    return true;
}

/* --- Modules that were to be copies ----------------------------------------------------------- */

static bool is_same_op(const fb__step_event *x, const fb__step_event *y)
{
    return y->partner == NONE && !y->beyond && y->site->kind == x->site->kind &&
           y->site->phase == x->site->phase && y->input_count == x->input_count &&
           strcmp(fb__text(y->site->op), fb__text(x->site->op)) == 0;
}

static bool is_updated(const fb_site *site)
{
    return site != NULL && site->kind == FB_KIND_PARAM && site->phase == FB_PHASE_OPTIMIZER;
}

static bool is_early_copy(const fb_site *site)
{
    return site != NULL && site->phase == FB_PHASE_INIT && is_copy(site);
}

/* What `e` reads that the optimizer has updated, where `other` reads a copy from before training.
 */
static const fb_site *updated_for_copy(const fb__case *c, const fb__step_event *e,
                                       const fb__step_event *other)
{
    for (uint32_t k = 0; k < e->input_count; k++)
        if (is_updated(fb__input_site(c, e, k)) && is_early_copy(fb__input_site(c, other, k)))
            return fb__input_site(c, e, k);
    return NULL;
}

/* One op that reads a copy of a parameter in one run, the parameter itself in the other. */
static bool say_pair_shares(fb_diff_cause *out, const fb__case *c)
{
    const fb_site *in_a = updated_for_copy(c, c->culprit->a, c->culprit->b);
    const fb_site *in_b = updated_for_copy(c, c->culprit->b, c->culprit->a);

    if ((in_a == NULL) == (in_b == NULL))
        return false;
    fb__say(out, "%s works with %s itself in %s, which the optimizer updates; with a copy in %s",
            fb__text(c->culprit->a->site->op), fb__text((in_a != NULL ? in_a : in_b)->path),
            in_a != NULL ? "a" : "b", in_a != NULL ? "b" : "a");
    fb__say_fix(out, "copy the parameter (clone(), copy.deepcopy()) in both or in neither");
    return true;
}

/* Signature: in the place of an op that computes with a copy of parameters the other run has one
 * that computes with the parameters themselves. */
bool fb__rule_not_a_copy(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *e = fb__culprit_event(c);
    const fb__step *other = c->culprit->a != NULL ? &c->pair->b : &c->pair->a;
    const char *side = fb__culprit_side(c);
    const fb_site *shared;

    if (e->site->kind != FB_KIND_TENSOR || e->site->phase != FB_PHASE_FORWARD)
        return false;
    if (fb__is_pair(c))
        return say_pair_shares(out, c);
    for (size_t i = 0; i < other->count; i++) {
        const fb__step_event *x = &other->events[i];
        bool own = true;

        if (!is_same_op(e, x))
            continue;
        shared = updated_for_copy(c, e, x);
        if (shared == NULL) {
            own = false;
            shared = updated_for_copy(c, x, e);
        }
        if (shared == NULL)
            continue;
        fb__say(out,
                "in %s %s computes with %s itself, which the optimizer updates; in %s %s with "
                "a copy",
                own ? side : (side[0] == 'a' ? "b" : "a"), fb__place_of(own ? e : x),
                fb__text(shared->path), own ? (side[0] == 'a' ? "b" : "a") : side,
                fb__place_of(own ? x : e));
        fb__say_fix(out, "copy.deepcopy() the module in both or in neither");
        return true;
    }
    return false;
}

/* --- Averages --------------------------------------------------------------------------------- */

/* The parameter that an op in place writes to; NULL: it writes to something else. */
static const fb_site *written_parameter(const fb__case *c, const fb__step_event *e)
{
    const fb_site *target = e == NULL || !is_in_place(e->site) ? NULL : fb__input_site(c, e, 0);

    return is_updated(target) ? target : NULL;
}

/* Whether a tensor that enters from outside holds what the optimizer has made of a parameter. */
static const fb_site *parameter_with(const fb__step *step, fb_hash value)
{
    const fb_event *e = NULL;

    if (step->step == 0 || fb_trace_seek(step->trace, step->step - 1, NULL) != FB_OK)
        return NULL;
    while (fb_trace_next(step->trace, &e, NULL, NULL) == FB_OK && e != NULL &&
           e->step < step->step) {
        const fb_site *site = fb_trace_site(step->trace, e->site);

        if (is_updated(site) && fb_hash_equal(e->hash, value))
            return site;
    }
    return NULL;
}

/* The parameter that an op reads as it is, where no link says so: a tensor that entered. */
static const fb_site *entered_parameter(const fb__case *c, const fb__step_event *e)
{
    const fb__step_event *x = e->input_count > 0 ? fb__input(c, e, 0) : e;

    if (x == NULL || x->site->kind != FB_KIND_TENSOR || x->input_count > 0 ||
        strncmp(fb__text(x->site->slot), "in", 2) != 0)
        return NULL;
    return parameter_with(fb__step_of(c, e), x->hash);
}

/* Signature: what was to be an average beside the parameters is the parameters: an op in place
 * writes to them, or an op takes one for the average of the other run. */
bool fb__rule_average_shared(fb_diff_cause *out, const fb__case *c)
{
    const fb__step_event *a = c->culprit->a, *b = c->culprit->b;
    const fb_site *in_a = NULL, *in_b = NULL;

    if (!fb__is_pair(c) || a->site->kind != FB_KIND_TENSOR || fb__text(a->site->path)[0] != '\0' ||
        a->site->phase != FB_PHASE_FORWARD)
        return false;
    for (uint32_t k = 0; k < a->input_count && k < b->input_count; k++) {
        in_a = in_a != NULL ? in_a : written_parameter(c, fb__input(c, a, k));
        in_b = in_b != NULL ? in_b : written_parameter(c, fb__input(c, b, k));
    }
    if (in_a == NULL && in_b == NULL) {
        in_a = entered_parameter(c, a);
        in_b = entered_parameter(c, b);
    }
    if ((in_a == NULL) == (in_b == NULL))
        return false;
    fb__say(out,
            "in %s %s is what this average is made of and kept in; in %s it has memory of its own",
            in_a != NULL ? "a" : "b", fb__text((in_a != NULL ? in_a : in_b)->path),
            in_a != NULL ? "b" : "a");
    fb__say_fix(out, "copy the model for the average (copy.deepcopy) in both");
    return true;
}
