/* SPDX-License-Identifier: Apache-2.0
 *
 * run_sites.c - every event that a run can send, in the order of a step, with what each is made
 * from. The text is docs/events.md.
 */
#include "engine/run_state.h"

#include <string.h>

#define PHILOX "philox4x32-10"

static fb_site tensor_site(fb_kind kind, fb_phase phase, const char *path, const char *op,
                           const char *slot, const fb__shape *shape)
{
    fb_site site = {
        .kind = kind,
        .phase = phase,
        .path = path,
        .op = op,
        .slot = slot,
        .dtype = FB_DTYPE_F32,
        .rank = shape->rank,
    };

    memcpy(site.shape, shape->dims, sizeof site.shape);
    return site;
}

/* The shape of a micro-batch: samples in front. */
static fb__shape with_batch(const fb_run *run, const fb__shape *shape)
{
    fb__shape out = {.rank = shape->rank + 1, .dims = {run->model.batch}};

    memcpy(out.dims + 1, shape->dims, (FB_RANK_MAX - 1) * sizeof out.dims[0]);
    return out;
}

static fb_site scalar_site(fb_phase phase, const char *path, const char *op, const char *slot,
                           fb_dtype dtype)
{
    return (fb_site){
        .kind = FB_KIND_SCALAR,
        .phase = phase,
        .path = path,
        .op = op,
        .slot = slot,
        .dtype = dtype,
    };
}

static fb_site sample_site(const fb_run *run, fb_phase phase, fb_role role)
{
    return (fb_site){
        .kind = FB_KIND_SAMPLE,
        .phase = phase,
        .path = "data",
        .op = "batch",
        .slot = "samples",
        .dataset = run->data->name,
        .role = role,
    };
}

static fb_site mode_site(fb_phase phase)
{
    return (fb_site){
        .kind = FB_KIND_MODE,
        .phase = phase,
        .path = "model",
        .op = "mode",
        .slot = "mode",
    };
}

/* --- Initialization --------------------------------------------------------------------------- */

static void param_init_sites(fb_run *run, fb__param *param)
{
    fb__report *report = &run->report;
    fb_site load =
        tensor_site(FB_KIND_PARAM, FB_PHASE_INIT, param->path, "load", "param", &param->shape);
    fb_site init = load;

    param->load_site = fb__report_site(report, load);
    param->init_site = param->load_site;
    if (run->config->weights != NULL)
        return;
    if (param->init == FB__INIT_NORMAL)
        param->draw_site = fb__report_site(report, (fb_site){
                                                       .kind = FB_KIND_DRAW,
                                                       .phase = FB_PHASE_INIT,
                                                       .path = param->path,
                                                       .op = "init",
                                                       .slot = "draw",
                                                       .stream = param->path,
                                                       .algorithm = PHILOX,
                                                       .distribution = "normal",
                                                       .parameters = {0, param->std},
                                                       .consumer = param->path,
                                                   });
    init.op = "init";
    param->init_site = fb__report_site(report, init);
    if (param->init == FB__INIT_NORMAL)
        fb__report_input(report, param->init_site, FB__INPUT_STEP, param->draw_site);
}

static void init_sites(fb_run *run)
{
    run->seed_site = fb__report_site(&run->report, (fb_site){
                                                       .kind = FB_KIND_SEED,
                                                       .phase = FB_PHASE_INIT,
                                                       .path = "run",
                                                       .op = "seed",
                                                       .slot = "seed",
                                                       .stream = "",
                                                       .algorithm = PHILOX,
                                                   });
    for (size_t i = 0; i < run->model.param_count; i++)
        param_init_sites(run, run->model.params[i]);
}

/* --- Data ------------------------------------------------------------------------------------- */

static void data_sites(fb_run *run)
{
    fb__report *report = &run->report;

    run->shuffle_site = fb__report_site(report, (fb_site){
                                                    .kind = FB_KIND_DRAW,
                                                    .phase = FB_PHASE_DATA,
                                                    .path = "data",
                                                    .op = "shuffle",
                                                    .slot = "draw",
                                                    .stream = "shuffle",
                                                    .algorithm = PHILOX,
                                                    .distribution = "permutation",
                                                    .parameters = {(double)run->order.count, 0},
                                                    .consumer = "data",
                                                });
    run->mode_site = fb__report_site(report, mode_site(FB_PHASE_DATA));
    run->sample_site = fb__report_site(report, sample_site(run, FB_PHASE_DATA, FB_ROLE_TRAIN));
    fb__report_input(report, run->sample_site, FB__INPUT_EPOCH, run->shuffle_site);
    run->model.input->out_site = run->sample_site;
}

/* --- Forward and loss ------------------------------------------------------------------------- */

static void param_input(fb_run *run, uint32_t site, const fb__param *param)
{
    fb__report_param_input(&run->report, site, param->update_site, param->init_site);
}

static void forward_site(fb_run *run, fb__op *op)
{
    fb__report *report = &run->report;
    const fb__shape shape = with_batch(run, &op->out->shape);
    const bool dropout = op->type == &fb__dropout_type;
    uint32_t site;

    if (dropout)
        op->u.dropout.draw_site = fb__report_site(report, (fb_site){
                                                              .kind = FB_KIND_DRAW,
                                                              .phase = FB_PHASE_FORWARD,
                                                              .path = op->path,
                                                              .op = op->type->name,
                                                              .slot = "draw",
                                                              .stream = op->path,
                                                              .algorithm = PHILOX,
                                                              .distribution = "bernoulli",
                                                              .parameters = {op->u.dropout.p, 0},
                                                              .consumer = op->path,
                                                          });
    site = fb__report_site(report, tensor_site(FB_KIND_TENSOR, FB_PHASE_FORWARD, op->path,
                                               op->type->name, "out", &shape));
    op->out->out_site = site;
    for (unsigned i = 0; i < op->in_count; i++)
        fb__report_input(report, site, FB__INPUT_MICRO, op->in[i]->out_site);
    for (int i = 0; i < FB__OP_PARAMS; i++)
        if (op->params[i] != NULL)
            param_input(run, site, op->params[i]);
    if (dropout) {
        fb__report_input(report, site, FB__INPUT_MICRO, op->u.dropout.draw_site);
        fb__report_input(report, site, FB__INPUT_STEP, run->mode_site);
    }
}

static void loss_sites(fb_run *run)
{
    fb__report *report = &run->report;
    fb__loss *loss = &run->loss;
    const char *op = loss->cross_entropy ? "cross_entropy" : "mse";
    const fb__shape rows = {.rank = 1, .dims = {run->model.batch * loss->rows}};

    loss->rows_site = fb__report_site(
        report, tensor_site(FB_KIND_TENSOR, FB_PHASE_LOSS, "loss", op, "out", &rows));
    fb__report_input(report, loss->rows_site, FB__INPUT_MICRO, run->model.output->out_site);
    fb__report_input(report, loss->rows_site, FB__INPUT_MICRO, run->sample_site);
    loss->sum_site =
        fb__report_site(report, scalar_site(FB_PHASE_LOSS, "loss", op, "sum", FB_DTYPE_F64));
    fb__report_input(report, loss->sum_site, FB__INPUT_MICRO, loss->rows_site);
    loss->step_site =
        fb__report_site(report, scalar_site(FB_PHASE_LOSS, "loss", op, "loss", FB_DTYPE_F32));
    fb__report_input(report, loss->step_site, FB__INPUT_MICROS, loss->sum_site);
    fb__report_input(report, loss->step_site, FB__INPUT_STEP, loss->count_site);
}

/* --- Backward --------------------------------------------------------------------------------- */

/* What one consumer's backward reads to make its contribution to the gradient of `value`. */
static void gradient_inputs(fb_run *run, uint32_t site, const fb__value *value, const fb__op *op)
{
    fb__report *report = &run->report;

    fb__report_input(report, site, FB__INPUT_MICRO, op->out->grad_site);
    if (op->type->flags & FB__READS_INPUT)
        fb__report_input(report, site, FB__INPUT_MICRO, value->out_site);
    if (op->type->flags & FB__READS_OUTPUT)
        fb__report_input(report, site, FB__INPUT_MICRO, op->out->out_site);
    if (op->type->flags & FB__READS_WEIGHT)
        param_input(run, site, op->params[0]);
    if (op->type == &fb__dropout_type)
        fb__report_input(report, site, FB__INPUT_MICRO, op->u.dropout.draw_site);
}

static void backward_site(fb_run *run, fb__op *op)
{
    fb__report *report = &run->report;
    fb__value *value = op->out;
    const fb__shape shape = with_batch(run, &value->shape);

    if (!value->needs_grad)
        return;
    value->grad_site =
        fb__report_site(report, tensor_site(FB_KIND_TENSOR, FB_PHASE_BACKWARD, op->path,
                                            op->type->name, "grad", &shape));
    for (size_t i = 0; i < value->use_count; i++)
        gradient_inputs(run, value->grad_site, value, value->uses[i].op);
    if (value == run->model.output) {
        fb__report_input(report, value->grad_site, FB__INPUT_MICRO, value->out_site);
        fb__report_input(report, value->grad_site, FB__INPUT_MICRO, run->sample_site);
        fb__report_input(report, value->grad_site, FB__INPUT_STEP, run->loss.count_site);
    }
}

static void param_gradient_sites(fb_run *run, fb__param *param)
{
    fb__report *report = &run->report;
    fb_site site = tensor_site(FB_KIND_TENSOR, FB_PHASE_BACKWARD, param->path,
                               param->uses[0].op->type->name, "grad", &param->shape);

    param->grad_site = fb__report_site(report, site);
    for (size_t i = 0; i < param->use_count; i++) {
        const fb__op *op = param->uses[i].op;

        fb__report_input(report, param->grad_site, FB__INPUT_MICRO, op->out->grad_site);
        if (param->uses[i].index == 0 && (op->type->flags & FB__WEIGHT_READS_INPUT))
            fb__report_input(report, param->grad_site, FB__INPUT_MICRO, op->in[0]->out_site);
    }
    site.slot = "grad.sum";
    param->sum_site = fb__report_site(report, site);
    fb__report_input(report, param->sum_site, FB__INPUT_MICROS, param->grad_site);
}

/* --- Optimizer -------------------------------------------------------------------------------- */

static void clip_sites(fb_run *run)
{
    fb__report *report = &run->report;
    fb__optimizer *o = &run->optimizer;

    if (run->config->clip == 0)
        return;
    o->norm_site = fb__report_site(
        report, scalar_site(FB_PHASE_OPTIMIZER, "clip", "clip", "grad_norm", FB_DTYPE_F64));
    o->coefficient_site = fb__report_site(
        report, scalar_site(FB_PHASE_OPTIMIZER, "clip", "clip", "coefficient", FB_DTYPE_F64));
    fb__report_input(report, o->coefficient_site, FB__INPUT_STEP, o->norm_site);
    for (size_t i = 0; i < run->model.param_count; i++) {
        fb__param *param = run->model.params[i];

        fb__report_input(report, o->norm_site, FB__INPUT_STEP, param->sum_site);
        param->clip_site =
            fb__report_site(report, tensor_site(FB_KIND_TENSOR, FB_PHASE_OPTIMIZER, param->path,
                                                "clip", "grad.clip", &param->shape));
        fb__report_input(report, param->clip_site, FB__INPUT_STEP, param->sum_site);
        fb__report_input(report, param->clip_site, FB__INPUT_STEP, o->coefficient_site);
    }
}

/* The states of all parameters, kind by kind: parameter i has first_site + i. */
static void state_sites(fb_run *run)
{
    fb__optimizer *o = &run->optimizer;

    for (size_t s = 0; s < o->state_count; s++) {
        for (size_t i = 0; i < run->model.param_count; i++) {
            const fb__param *param = run->model.params[i];
            const uint32_t site = fb__report_site(
                &run->report, tensor_site(FB_KIND_PARAM, FB_PHASE_OPTIMIZER, param->path, o->name,
                                          o->states[s].slot, &param->shape));
            if (i == 0)
                o->states[s].first_site = site;
        }
        for (size_t i = 0; i < run->model.param_count; i++) {
            const fb__param *param = run->model.params[i];
            const uint32_t site = fb__report_site(
                &run->report, tensor_site(FB_KIND_PARAM, FB_PHASE_INIT, param->path, "load",
                                          o->states[s].slot, &param->shape));
            if (i == 0)
                o->states[s].first_load_site = site;
        }
    }
}

/* Whether weight decay is added to the gradient, so that states depend on the parameter. */
static bool decay_in_gradient(const fb_optimizer_config *config)
{
    return config->type != FB_OPTIMIZER_ADAMW && config->weight_decay != 0;
}

static void update_inputs(fb_run *run, size_t index)
{
    fb__report *report = &run->report;
    const fb__optimizer *o = &run->optimizer;
    const fb_optimizer_config *config = &run->config->optimizer;
    const fb__param *param = run->model.params[index];
    const uint32_t gradient = run->config->clip == 0 ? param->sum_site : param->clip_site;

    for (size_t s = 0; s < o->state_count; s++) {
        const uint32_t site = o->states[s].first_site + (uint32_t)index;

        fb__report_input(report, site, FB__INPUT_PREVIOUS, site);
        fb__report_input(report, site, FB__INPUT_STEP, gradient);
        if (decay_in_gradient(config))
            param_input(run, site, param);
    }
    param_input(run, param->update_site, param);
    for (size_t s = 0; s < o->state_count; s++)
        fb__report_input(report, param->update_site, FB__INPUT_STEP,
                         o->states[s].first_site + (uint32_t)index);
    if (o->state_count == 0 || config->nesterov)
        fb__report_input(report, param->update_site, FB__INPUT_STEP, gradient);
    fb__report_input(report, param->update_site, FB__INPUT_STEP, o->lr_site);
    if (config->type != FB_OPTIMIZER_SGD)
        for (int b = 0; b < 2; b++)
            fb__report_input(report, param->update_site, FB__INPUT_STEP, o->beta_site[b]);
}

static void optimizer_sites(fb_run *run)
{
    static const char *const schedules[] = {
        [FB_SCHEDULE_CONSTANT] = "constant",
        [FB_SCHEDULE_WARMUP] = "warmup",
        [FB_SCHEDULE_COSINE] = "cosine",
        [FB_SCHEDULE_STEP] = "step",
    };
    fb__report *report = &run->report;
    fb__optimizer *o = &run->optimizer;

    clip_sites(run);
    o->lr_site = fb__report_site(report, scalar_site(FB_PHASE_SCHEDULE, "lr",
                                                     schedules[run->config->schedule.type], "lr",
                                                     FB_DTYPE_F64));
    if (run->config->optimizer.type != FB_OPTIMIZER_SGD) {
        o->beta_site[0] = fb__report_site(
            report, scalar_site(FB_PHASE_OPTIMIZER, o->name, o->name, "beta1_power", FB_DTYPE_F64));
        o->beta_site[1] = fb__report_site(
            report, scalar_site(FB_PHASE_OPTIMIZER, o->name, o->name, "beta2_power", FB_DTYPE_F64));
    }
    state_sites(run);
    for (size_t i = 0; i < run->model.param_count && !report->out_of_memory; i++)
        update_inputs(run, i);
}

/* The site of an update is named as an input by the first forward op, so it comes first. */
static void update_sites(fb_run *run)
{
    for (size_t i = 0; i < run->model.param_count; i++) {
        fb__param *param = run->model.params[i];

        param->update_site = fb__report_site(
            &run->report, tensor_site(FB_KIND_PARAM, FB_PHASE_OPTIMIZER, param->path,
                                      run->optimizer.name, "param", &param->shape));
    }
}

/* --- Evaluation, checkpoints, end ------------------------------------------------------------- */

static void eval_sites(fb_run *run)
{
    fb__report *report = &run->report;
    fb__evaluation *eval = &run->eval;
    const fb__value *output = run->model.output;
    const fb__shape shape = with_batch(run, &output->shape);
    const char *op = run->loss.cross_entropy ? "cross_entropy" : "mse";

    if (eval->chunks == 0)
        return;
    eval->mode_site = fb__report_site(report, mode_site(FB_PHASE_EVAL));
    eval->sample_site = fb__report_site(report, sample_site(run, FB_PHASE_EVAL, eval->role));
    eval->out_site =
        fb__report_site(report, tensor_site(FB_KIND_TENSOR, FB_PHASE_EVAL, output->producer->path,
                                            output->producer->type->name, "out", &shape));
    fb__report_input(report, eval->out_site, FB__INPUT_MICRO, eval->sample_site);
    fb__report_input(report, eval->out_site, FB__INPUT_STEP, eval->mode_site);
    for (size_t i = 0; i < run->model.param_count; i++)
        param_input(run, eval->out_site, run->model.params[i]);
    eval->sum_site =
        fb__report_site(report, scalar_site(FB_PHASE_EVAL, "loss", op, "sum", FB_DTYPE_F64));
    fb__report_input(report, eval->sum_site, FB__INPUT_MICRO, eval->out_site);
    fb__report_input(report, eval->sum_site, FB__INPUT_MICRO, eval->sample_site);
    eval->loss_site =
        fb__report_site(report, scalar_site(FB_PHASE_EVAL, "loss", op, "loss", FB_DTYPE_F32));
    fb__report_input(report, eval->loss_site, FB__INPUT_MICROS, eval->sum_site);
    if (!run->loss.cross_entropy)
        return;
    eval->accuracy_site =
        fb__report_site(report, scalar_site(FB_PHASE_EVAL, "loss", op, "accuracy", FB_DTYPE_F64));
    fb__report_input(report, eval->accuracy_site, FB__INPUT_MICROS, eval->out_site);
    fb__report_input(report, eval->accuracy_site, FB__INPUT_MICROS, eval->sample_site);
}

static fb_site file_site(const char *op, const char *slot)
{
    return (fb_site){
        .kind = FB_KIND_CHECKPOINT,
        .phase = FB_PHASE_CHECKPOINT,
        .path = "run",
        .op = op,
        .slot = slot,
    };
}

static void file_sites(fb_run *run)
{
    fb__report *report = &run->report;

    run->checkpoint_site = fb__report_site(report, file_site("checkpoint", "file"));
    run->resume_site = fb__report_site(report, file_site("resume", "resume"));
    run->end_site = fb__report_site(report, (fb_site){
                                                .kind = FB_KIND_MARK,
                                                .phase = FB_PHASE_CHECKPOINT,
                                                .path = "run",
                                                .op = "end",
                                                .slot = FB_FINAL_HASH_MARK,
                                            });
}

fb_status fb__run_make_sites(fb_run *run, fb_error *err)
{
    fb__report *report = &run->report;
    fb__model *model = &run->model;

    report->pool = run->pool;
    report->micros = (uint32_t)run->micros;
    report->eval_micros = (uint32_t)run->eval.chunks;
    init_sites(run);
    update_sites(run);
    data_sites(run);
    run->loss.count_site =
        fb__report_site(report, scalar_site(FB_PHASE_LOSS, "loss",
                                            run->loss.cross_entropy ? "cross_entropy" : "mse",
                                            "count", FB_DTYPE_F64));
    fb__report_input(report, run->loss.count_site, FB__INPUT_MICROS, run->sample_site);
    for (size_t i = 0; i < model->op_count; i++)
        forward_site(run, model->ops[i]);
    loss_sites(run);
    for (size_t i = model->op_count; i-- > 0;)
        backward_site(run, model->ops[i]);
    for (size_t i = 0; i < model->param_count; i++)
        param_gradient_sites(run, model->params[i]);
    optimizer_sites(run);
    eval_sites(run);
    file_sites(run);
    fb__faults_make_sites(run);
    return fb__report_seal(report, err);
}
