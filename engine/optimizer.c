/* SPDX-License-Identifier: Apache-2.0
 *
 * optimizer.c - from gradients to new parameters: clipping, SGD, Adam, AdamW.
 * Formulas: docs/numerics.md, "Optimizer".
 */
#include "engine/run_state.h"

#include <math.h>

/* --- Formulas --------------------------------------------------------------------------------- */

/* clip/(norm + 1e-6) as PyTorch; 1 where that is at least 1, NaN for a NaN norm. */
static double clip_coefficient(const fb_run *run, double norm)
{
    const double coefficient = run->config->clip / (norm + 1e-6);

    return coefficient >= 1.0 ? 1.0 : coefficient;
}

/* A batch in which nothing counts has loss 0. */
static double mean_loss(const fb_run *run, double sum, uint64_t counted)
{
    (void)run;
    return counted == 0 ? 0.0 : sum / (double)counted;
}

static double learning_rate(fb_run *run, uint64_t step)
{
    return fb__learning_rate(&run->schedule, step);
}

const fb__formulas fb__formulas_default = {
    .learning_rate = learning_rate,
    .clip_coefficient = clip_coefficient,
    .mean_loss = mean_loss,
};

/* --- Creation --------------------------------------------------------------------------------- */

void fb__optimizer_create(fb_run *run)
{
    static const char *const names[] = {
        [FB_OPTIMIZER_SGD] = "sgd",
        [FB_OPTIMIZER_ADAM] = "adam",
        [FB_OPTIMIZER_ADAMW] = "adamw",
    };
    const fb_optimizer_config *config = &run->config->optimizer;
    fb__optimizer *o = &run->optimizer;

    o->name = names[config->type];
    o->beta_power[0] = o->beta_power[1] = 1.0;
    if (config->type != FB_OPTIMIZER_SGD) {
        o->states[o->state_count++].slot = "exp_avg";
        o->states[o->state_count++].slot = "exp_avg_sq";
    } else if (config->momentum != 0) {
        o->states[o->state_count++].slot = "momentum_buffer";
    }
    for (size_t s = 0; s < o->state_count; s++) {
        o->states[s].first_storage = run->model.storages + 1;
        run->model.storages += run->model.param_count;
    }
}

void fb__optimizer_place(fb_run *run, fb__layout *layout)
{
    fb__optimizer *o = &run->optimizer;

    for (size_t s = 0; s < o->state_count; s++)
        o->states[s].vector = fb__layout_take(layout, run->model.vector_count, sizeof(float));
    o->squares = fb__layout_take(layout, run->model.param_count, sizeof(double));
}

/* --- Clipping --------------------------------------------------------------------------------- */

static double gradient_norm(fb_run *run)
{
    const fb__optimizer *o = &run->optimizer;

    if (run->formulas.norm != NULL)
        return run->formulas.norm(run);
    for (size_t i = 0; i < run->model.param_count; i++) {
        const fb__param *param = run->model.params[i];
        o->squares[i] = run->kernels->sum_squares(run->pool, param->grad, param->count);
    }
    return sqrt(fb_tree_sum_f64(o->squares, run->model.param_count));
}

/* Returns whether the gradient has changed. */
static bool clip_one(fb_run *run, fb__param *param, double coefficient)
{
    if (run->formulas.clip != NULL)
        return run->formulas.clip(run, param, coefficient);
    if (coefficient == 1.0)
        return false;
    fb__report_expect(&run->report, param->clip_site, param->grad);
    run->kernels->scale(run->pool, param->grad, param->grad, (float)coefficient, param->count);
    return true;
}

static void clip(fb_run *run)
{
    const fb__optimizer *o = &run->optimizer;
    double norm, coefficient;

    if (run->config->clip == 0)
        return;
    norm = gradient_norm(run);
    coefficient = run->formulas.clip_coefficient(run, norm);
    fb__report_scalar(&run->report, o->norm_site, FB_MICRO_NONE, norm);
    fb__report_scalar(&run->report, o->coefficient_site, FB_MICRO_NONE, coefficient);
    for (size_t i = 0; i < run->model.param_count; i++) {
        fb__param *param = run->model.params[i];
        const bool changed = clip_one(run, param, coefficient);

        param->grad_version += changed;
        fb__report_tensor(&run->report, param->clip_site, FB_MICRO_NONE, param->grad,
                          param->grad_storage, param->grad_version,
                          changed ? NULL : &param->grad_contents);
        fb__report_expect_none(&run->report);
    }
}

/* --- Update ----------------------------------------------------------------------------------- */

static void update(fb_run *run, const fb__param *param, double lr, uint64_t step)
{
    const fb_optimizer_config *config = &run->config->optimizer;
    const fb__optimizer *o = &run->optimizer;
    float *states[FB__STATES] = {NULL, NULL};

    if (run->formulas.update != NULL) {
        run->formulas.update(run, param, lr, step);
        return;
    }
    for (size_t s = 0; s < o->state_count; s++)
        states[s] = o->states[s].vector + param->offset;
    if (config->type == FB_OPTIMIZER_SGD) {
        const fb_sgd_step sgd = {
            .lr = lr,
            .momentum = config->momentum,
            .dampening = config->dampening,
            .weight_decay = config->weight_decay,
            .nesterov = config->nesterov,
            .first = step == 1,
        };
        run->kernels->sgd(run->pool, param->data, states[0], param->grad, param->count, &sgd);
    } else {
        const fb_adam_step adam = {
            .lr = lr,
            .beta1 = config->beta1,
            .beta2 = config->beta2,
            .eps = config->eps,
            .weight_decay = config->weight_decay,
            .beta1_power = o->beta_power[0],
            .beta2_power = o->beta_power[1],
            .decoupled = config->type == FB_OPTIMIZER_ADAMW,
        };
        run->kernels->adam(run->pool, param->data, states[0], states[1], param->grad, param->count,
                           &adam);
    }
}

static void expect_update(fb_run *run, size_t index)
{
    const fb__optimizer *o = &run->optimizer;
    const fb__param *param = run->model.params[index];

    for (size_t s = 0; s < o->state_count; s++)
        fb__report_expect(&run->report, o->states[s].first_site + (uint32_t)index,
                          o->states[s].vector + param->offset);
    fb__report_expect(&run->report, param->update_site, param->data);
}

static void report_update(fb_run *run, size_t index)
{
    fb__optimizer *o = &run->optimizer;
    fb__param *param = run->model.params[index];

    for (size_t s = 0; s < o->state_count; s++)
        fb__report_tensor(&run->report, o->states[s].first_site + (uint32_t)index, FB_MICRO_NONE,
                          o->states[s].vector + param->offset, o->states[s].first_storage + index,
                          o->states[s].version, NULL);
    param->version++;
    fb__faults_flip_param(run, param, "param", FB_MICRO_NONE, param->data);
    fb__noise_add(run, param->data, param->count);
    fb__report_tensor(&run->report, param->update_site, FB_MICRO_NONE, param->data, param->storage,
                      param->version, NULL);
}

void fb__optimizer_step(fb_run *run, uint64_t step)
{
    fb__optimizer *o = &run->optimizer;
    const bool adam = run->config->optimizer.type != FB_OPTIMIZER_SGD;
    const double lr = run->formulas.learning_rate(run, step);

    clip(run);
    fb__report_scalar(&run->report, o->lr_site, FB_MICRO_NONE, lr);
    if (adam) {
        o->beta_power[0] *= run->config->optimizer.beta1;
        o->beta_power[1] *= run->config->optimizer.beta2;
        if (run->formulas.begin_update != NULL)
            run->formulas.begin_update(run, step);
        for (int b = 0; b < 2; b++)
            fb__report_scalar(&run->report, o->beta_site[b], FB_MICRO_NONE, o->beta_power[b]);
    }
    for (size_t s = 0; s < o->state_count; s++)
        o->states[s].version++;
    for (size_t i = 0; i < run->model.param_count && run->report.status == FB_OK; i++) {
        expect_update(run, i);
        update(run, run->model.params[i], lr, step);
        report_update(run, i);
        fb__report_expect_none(&run->report);
    }
}
