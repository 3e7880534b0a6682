/* SPDX-License-Identifier: Apache-2.0
 *
 * override_update.c - carries out an update rule, element by element: the arithmetic of
 * kernels/optimizer.inc in plain C, float32 operations, every one rounded (scalars in float64,
 * narrowed once), with the choices of the rule where they differ.
 */
#include "engine/override/override_rule.h"

#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "engine/run_state.h"

/* --- Rounding --------------------------------------------------------------------------------- */

float fb__round_bf16(float x)
{
    const uint32_t bits = fb_float_bits(x);

    if (x != x)
        return x;
    return fb_float_of_bits((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}

/* Adding and taking away a number of the right size rounds at its last bit. */
float fb__round_f16(float x)
{
    const float size = fabsf(x);
    int exponent;
    float unit;

    if (!(size < 65520.0f))
        return x != x ? x : copysignf(INFINITY, x);
    if (size == 0.0f)
        return x;
    (void)frexpf(size, &exponent); /* size = f·2^exponent, 1/2 <= f < 1 */
    unit = ldexpf(1.0f, (exponent < -13 ? -13 : exponent) - 11); /* of the last place */
    return copysignf(rintf(size / unit) * unit, x);
}

/* --- Groups ----------------------------------------------------------------------------------- */

static bool has(const fb__update_kind *param, fb__group group)
{
    switch (group) {
    case FB__GROUP_ALL:
        break;
    case FB__GROUP_MATRICES:
        return !param->norm && !param->bias;
    case FB__GROUP_NORMS_BIASES:
        return param->norm || param->bias;
    case FB__GROUP_NOT_BIASES:
        return !param->bias;
    case FB__GROUP_NOT_NORMS:
        return !param->norm;
    case FB__GROUP_NOT_EMBEDDINGS:
        return !param->embedding;
    case FB__GROUP_NOT_LAST:
        return !param->last;
    case FB__GROUP_NOT_FIRST:
        return !param->first;
    }
    return true;
}

/* --- Scalars ---------------------------------------------------------------------------------- */

typedef struct update_job {
    const fb__update_rule *rule;
    float *p, *m, *v, *largest;
    const float *g1, *g2; /* gradient of the first and of the second moment */
    float beta1, rest1, beta2, rest2, rate, root2, bc2, eps;
    float l2[2];                        /* added to g of either moment: wd, 0: not */
    float before, after, old, inside;   /* factors on p, 1: none; on the old p, 0: none */
    float momentum, undamped, g_factor; /* g_factor 1: none */
    bool nesterov, first, uses_buffer;
} update_job;

static double or_default(double value, double otherwise)
{
    return value != 0.0 ? value : otherwise;
}

static double power(double base, uint64_t n)
{
    double p = 1.0;

    for (uint64_t i = 0; i < n; i++)
        p *= base;
    return p;
}

/* 1 - beta^t with the t that the rule counts. current: beta^t as the run keeps it. */
static double correction(const fb__update_moment *now, fb__correction how, double beta,
                         double other, double current)
{
    const uint64_t step = now->step;

    switch (how) {
    case FB__CORRECT_NOT:
        return 1.0;
    case FB__CORRECT_EARLIER:
        return step == 1 ? 1.0 : 1.0 - power(beta, step - 1);
    case FB__CORRECT_LATER:
        return 1.0 - power(beta, step + 1);
    case FB__CORRECT_FIRST:
        return 1.0 - beta;
    case FB__CORRECT_EPOCH:
        return 1.0 - power(beta, now->epoch_step);
    case FB__CORRECT_MICROS:
        return 1.0 - power(beta, step * now->micros);
    case FB__CORRECT_OTHER:
        return 1.0 - power(other, step);
    case FB__CORRECT_MULTIPLY:
        return 1.0 / (1.0 - current);
    case FB__CORRECT:
    case FB__CORRECT_NO_ROOT:
        break;
    }
    return 1.0 - current;
}

static void set_decay(update_job *job, const fb__update_moment *now, double lr, double bc1)
{
    const fb_optimizer_config *config = now->config;
    const fb__update_rule *rule = job->rule;
    const double wd = config->weight_decay * or_default(rule->decay_factor, 1.0);
    fb__decay_place place = rule->decay;

    job->before = job->after = 1.0f;
    if (wd == 0.0 || !has(&now->param, rule->decayed))
        return;
    if (place == FB__DECAY_AS_CONFIGURED)
        place = config->type == FB_OPTIMIZER_ADAMW ? FB__DECAY_DECOUPLED : FB__DECAY_L2;
    if (place == FB__DECAY_L2 || place == FB__DECAY_BOTH)
        job->l2[0] = job->l2[1] = (float)wd;
    if (place == FB__DECAY_DECOUPLED || place == FB__DECAY_BOTH)
        job->before = (float)(1.0 - lr * wd);
    if (place == FB__DECAY_AFTER)
        job->after = (float)(1.0 - lr * wd);
    if (place == FB__DECAY_OLD_AFTER)
        job->old = (float)(lr * wd);
    if (place == FB__DECAY_IN_UPDATE || place == FB__DECAY_MOMENTUM)
        job->inside = (float)wd;
    if (place == FB__DECAY_NO_LR)
        job->before = (float)(1.0 - wd);
    if (place == FB__DECAY_BASE_LR)
        job->before = (float)(1.0 - config->lr * wd);
    if (place == FB__DECAY_LR_SQUARED)
        job->before = (float)(1.0 - lr * lr * wd);
    if (place == FB__DECAY_CORRECTED)
        job->before = (float)(1.0 - lr / bc1 * wd);
    if (place == FB__DECAY_FIRST_ONLY)
        job->l2[0] = (float)wd;
    if (place == FB__DECAY_SECOND_ONLY)
        job->l2[1] = (float)wd;
}

static void set_gradient(update_job *job, const fb__update_moment *now, const fb__update_tensors *t)
{
    const fb__gradient_source from = job->rule->gradient;

    job->g1 = job->g2 = t->g;
    job->g_factor = 1.0f;
    if (from == FB__GRADIENT_UNCLIPPED || from == FB__GRADIENT_UNCLIPPED_FIRST)
        job->g1 = t->raw;
    if (from == FB__GRADIENT_UNCLIPPED || from == FB__GRADIENT_UNCLIPPED_SECOND)
        job->g2 = t->raw;
    if (from == FB__GRADIENT_TIMES_MICROS)
        job->g_factor = (float)now->micros;
    if (from == FB__GRADIENT_OVER_MICROS)
        job->g_factor = (float)(1.0 / (double)now->micros);
}

static double rate_of(const fb__update_rule *rule, const fb__update_moment *now)
{
    double lr = now->lr;

    if (rule->lr_source == FB__LR_STALE && now->step > 1)
        lr = now->lr_before;
    if (rule->lr_source == FB__LR_BASE)
        lr = now->config->lr;
    if (now->param.bias)
        lr *= or_default(rule->bias_factor, 1.0);
    return lr * or_default(rule->lr_factor, 1.0);
}

static update_job begin_job(const fb__update_rule *rule, const fb__update_moment *now,
                            const fb__update_tensors *t)
{
    update_job job = {.rule = rule, .p = t->p, .m = t->m, .v = t->v, .largest = t->largest};

    set_gradient(&job, now, t);
    return job;
}

/* --- Adam ------------------------------------------------------------------------------------- */

static float gradient_of(const update_job *job, const float *g, float l2, size_t i)
{
    float x = g[i];

    if (job->g_factor != 1.0f)
        x = x * job->g_factor;
    if (job->rule->gradient == FB__GRADIENT_BF16)
        x = fb__round_bf16(x);
    return l2 != 0.0f ? x + l2 * job->p[i] : x;
}

static float first_moment(const update_job *job, float m, float g)
{
    switch (job->rule->first) {
    case FB__FIRST_UNSCALED:
        return job->beta1 * m + g;
    case FB__FIRST_NONE:
        return g;
    default:
        return job->beta1 * m + job->rest1 * g;
    }
}

static float second_moment(const update_job *job, float v, float g, float m)
{
    const float square = g * g;

    switch (job->rule->second) {
    case FB__SECOND_UNSCALED:
        return job->beta2 * v + square;
    case FB__SECOND_ABS:
        return job->beta2 * v + job->rest2 * fabsf(g);
    case FB__SECOND_MINUS:
        return job->beta2 * v - job->rest2 * square;
    case FB__SECOND_CENTERED:
        return job->beta2 * v + job->rest2 * ((g - m) * (g - m));
    case FB__SECOND_SUM:
        return v + square;
    case FB__SECOND_MAX:
        return job->beta2 * v > fabsf(g) ? job->beta2 * v : fabsf(g);
    case FB__SECOND_YOGI:
        return v > square ? v - job->rest2 * square : v < square ? v + job->rest2 * square : v;
    default:
        return job->beta2 * v + job->rest2 * square;
    }
}

static float denominator(const update_job *job, float v)
{
    const bool rooted =
        job->rule->second != FB__SECOND_MAX && job->rule->second != FB__SECOND_NO_ROOT;
    const float root = rooted ? sqrtf(fabsf(v)) : v, eps = job->eps;

    switch (job->rule->eps_place) {
    case FB__EPS_INSIDE:
        return sqrtf(v / job->bc2 + eps);
    case FB__EPS_INSIDE_BEFORE:
        return sqrtf(v + eps) / job->root2;
    case FB__EPS_BEFORE:
        return (root + eps) / job->root2;
    case FB__EPS_HAT:
        return root + eps;
    case FB__EPS_SQUARED_INSIDE:
        return sqrtf(v / job->bc2 + eps * eps);
    case FB__EPS_MAXIMUM:
        return root / job->root2 > eps ? root / job->root2 : eps;
    case FB__EPS_NONE:
        return root / job->root2;
    case FB__EPS_BOTH:
        return sqrtf(v / job->bc2 + eps) + eps;
    case FB__EPS_OUTSIDE:
        break;
    }
    return root / job->root2 + eps;
}

static float round_state(unsigned rounding, unsigned bf16, unsigned f16, float x)
{
    if (rounding & bf16)
        return fb__round_bf16(x);
    return rounding & f16 ? fb__round_f16(x) : x;
}

/* p - rate·d, as the rule takes its last step. */
static float step_down(const update_job *job, float p, float d)
{
    const float rate = job->rule->ascends ? -job->rate : job->rate;

    if (job->rule->rounding & FB__ROUND_FUSED)
        return fmaf(-rate, d, p);
    return p - rate * d;
}

static float finish_param(const update_job *job, float p, float old)
{
    if (job->after != 1.0f)
        p = p * job->after;
    if (job->old != 0.0f)
        p = p - job->old * old;
    return round_state(job->rule->rounding, FB__ROUND_P_BF16, FB__ROUND_P_F16, p);
}

static void adam_element(const update_job *job, size_t i)
{
    const fb__update_rule *rule = job->rule;
    const float old = job->p[i], old_m = job->m[i], old_v = job->v[i];
    float p = job->before != 1.0f ? old * job->before : old;
    const float g = gradient_of(job, job->g1, job->l2[0], i);
    float m = first_moment(job, old_m, g);
    float v = second_moment(job, old_v, gradient_of(job, job->g2, job->l2[1], i), m);
    float used_m, used_v, d;

    m = round_state(rule->rounding, FB__ROUND_M_BF16, FB__ROUND_M_F16, m);
    v = round_state(rule->rounding, FB__ROUND_V_BF16, FB__ROUND_V_F16, v);
    if (job->largest != NULL && v > job->largest[i])
        job->largest[i] = v;
    used_m = rule->first == FB__FIRST_STALE      ? old_m
             : rule->first == FB__FIRST_NESTEROV ? job->beta1 * m + job->rest1 * g
                                                 : m;
    used_v = rule->second == FB__SECOND_STALE                             ? old_v
             : rule->second == FB__SECOND_AMSGRAD && job->largest != NULL ? job->largest[i]
                                                                          : v;
    if (rule->first == FB__FIRST_SIGN)
        d = m > 0.0f ? 1.0f : m < 0.0f ? -1.0f : 0.0f;
    else
        d = rule->second == FB__SECOND_NONE ? used_m : used_m / denominator(job, used_v);
    if (job->inside != 0.0f)
        d = d + job->inside * p;
    job->p[i] = finish_param(job, step_down(job, p, d), old);
    job->m[i] = m;
    job->v[i] = v;
}

void fb__update_adam_by(const fb__update_rule *rule, const fb__update_moment *now,
                        const fb__update_tensors *t)
{
    const fb_optimizer_config *config = now->config;
    const double *powers = now->beta_power;
    update_job job = begin_job(rule, now, t);
    const double b1 = or_default(rule->beta1, config->beta1);
    const double b2 = or_default(rule->beta2, config->beta2);
    const double beta1 = rule->swapped_betas ? b2 : b1, beta2 = rule->swapped_betas ? b1 : b2;
    const double bc1 = correction(now, rule->correction[0], b1, b2, powers[0]);
    const double bc2 = correction(now, rule->correction[1], b2, b1, powers[1]);
    const double lr = rate_of(rule, now);

    set_decay(&job, now, lr, bc1);
    job.beta1 = (float)beta1;
    job.rest1 = (float)(1.0 - beta1);
    job.beta2 = (float)beta2;
    job.rest2 = (float)(1.0 - beta2);
    job.rate = (float)(lr / bc1);
    job.bc2 = (float)bc2;
    job.root2 = (float)(rule->correction[1] == FB__CORRECT_NO_ROOT ? bc2 : sqrt(bc2));
    if (rule->eps_place == FB__EPS_HAT)
        job.rate = (float)(lr * sqrt(bc2) / bc1);
    job.eps = (float)or_default(rule->eps, config->eps);
    if (t->m == NULL || t->v == NULL) /* no Adam */
        return;
    for (size_t i = 0; i < t->n && has(&now->param, rule->updated); i++)
        adam_element(&job, i);
}

/* --- SGD -------------------------------------------------------------------------------------- */

/* The new buffer; old: what was in it. */
static float buffer_of(const update_job *job, float old, float g)
{
    if (job->first)
        return job->rule->buffer == FB__BUFFER_FIRST_DAMPED ? job->undamped * g : g;
    if (job->rule->buffer == FB__BUFFER_AVERAGE)
        return (old + g) * 0.5f;
    return job->momentum * old + job->undamped * g;
}

static void sgd_element(const update_job *job, size_t i)
{
    const fb__update_rule *rule = job->rule;
    const float old = job->p[i];
    const bool inside = rule->buffer == FB__BUFFER_LR_INSIDE;
    float p = job->before != 1.0f ? old * job->before : old;
    float g = gradient_of(job, job->g1, job->l2[0], i);

    if (inside)
        g = job->rate * g;
    if (job->m != NULL) {
        const float old_m = job->m[i];
        const float m = round_state(rule->rounding, FB__ROUND_M_BF16, FB__ROUND_M_F16,
                                    buffer_of(job, old_m, g));

        job->m[i] = m;
        if (!job->uses_buffer)
            ;
        else if (rule->nesterov == FB__NESTEROV_BUFFER_ONLY)
            g = job->momentum * m;
        else if (job->nesterov)
            g = g + job->momentum * m;
        else
            g = rule->buffer == FB__BUFFER_STALE ? old_m : m;
    }
    if (job->inside != 0.0f)
        g = g + job->inside * old;
    p = inside ? p - g : step_down(job, p, g);
    job->p[i] = finish_param(job, p, old);
}

void fb__update_sgd_by(const fb__update_rule *rule, const fb__update_moment *now,
                       const fb__update_tensors *t)
{
    const fb_optimizer_config *config = now->config;
    const double lr = rate_of(rule, now);
    update_job job = begin_job(rule, now, t);
    double dampening = config->dampening, momentum = config->momentum;

    if (rule->buffer == FB__BUFFER_DAMPENED)
        dampening = momentum;
    if (rule->buffer == FB__BUFFER_UNDAMPENED)
        dampening = 0.0;
    if (rule->buffer == FB__BUFFER_MINUS)
        momentum = -momentum;
    set_decay(&job, now, lr, 1.0);
    job.rate = (float)lr;
    job.momentum = (float)momentum;
    job.undamped = (float)(1.0 - dampening);
    job.nesterov = rule->nesterov == FB__NESTEROV_ON ||
                   (config->nesterov && rule->nesterov != FB__NESTEROV_OFF);
    job.uses_buffer = rule->buffer != FB__BUFFER_NONE;
    job.first = now->step == 1 || (rule->buffer == FB__BUFFER_RESET_EPOCH && now->epoch_step == 1);
    for (size_t i = 0; i < t->n && has(&now->param, rule->updated); i++)
        sgd_element(&job, i);
}

/* --- In a run --------------------------------------------------------------------------------- */

static bool made_by(const fb__param *param, const char *op)
{
    return strcmp(param->uses[0].op->type->name, op) == 0;
}

static fb__update_kind kind_of(const fb_run *run, const fb__param *param)
{
    const size_t n = strlen(param->path);

    return (fb__update_kind){
        .norm = made_by(param, "layernorm"),
        .bias = n >= 5 && strcmp(param->path + n - 5, ".bias") == 0,
        .embedding = made_by(param, "embedding"),
        .first = param == run->model.params[0],
        .last = param == run->model.params[run->model.param_count - 1],
    };
}

/* kept[0]: the gradients as they were joined; kept[1]: the largest second moments. */
static void update(fb_run *run, const fb__param *param, double lr, uint64_t step)
{
    const fb__optimizer *o = &run->optimizer;
    const fb__update_rule *rule = run->override.use.what->variant;
    const fb__update_tensors t = {
        .p = param->data,
        .m = o->state_count > 0 ? o->states[0].vector + param->offset : NULL,
        .v = o->state_count > 1 ? o->states[1].vector + param->offset : NULL,
        .largest = run->override.kept[1] + param->offset,
        .g = param->grad,
        .raw = run->override.kept[0] + param->offset,
        .n = param->count,
    };
    const fb__update_moment now = {
        .config = &run->config->optimizer,
        .lr = lr,
        .lr_before = step > 1 ? fb__learning_rate(&run->schedule, step - 1) : lr,
        .step = step,
        .epoch_step = (step - 1) % run->order.batches + 1,
        .micros = run->micros,
        .beta_power = {o->beta_power[0], o->beta_power[1]},
        .param = kind_of(run, param),
    };

    if (run->config->optimizer.type == FB_OPTIMIZER_SGD)
        fb__update_sgd_by(rule, &now, &t);
    else
        fb__update_adam_by(rule, &now, &t);
}

static bool is_adam(const fb_run *run)
{
    return run->config->optimizer.type != FB_OPTIMIZER_SGD;
}

static bool is_sgd(const fb_run *run)
{
    return !is_adam(run);
}

static void keep_gradients(fb_run *run)
{
    memcpy(run->override.kept[0], run->gradients[0],
           run->model.vector_count * sizeof *run->gradients[0]);
}

const fb__formulas fb__update_adam = {
    .applies = is_adam, .end_passes = keep_gradients, .update = update};
const fb__formulas fb__update_sgd = {
    .applies = is_sgd, .end_passes = keep_gradients, .update = update};
