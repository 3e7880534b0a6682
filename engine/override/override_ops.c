/* SPDX-License-Identifier: Apache-2.0
 *
 * override_ops.c - overrides of layers: another epsilon, activation, scale, mask or position, a
 * gradient that is wrong, a tensor that is rounded. Most call the layer's own functions on a
 * changed copy of the op.
 */
#include <math.h>
#include <string.h>

#include "engine/override/override_attention.h"
#include "engine/override/override_ops.h"
#include "engine/run_state.h"

static const fb__op_rule *rule_of(const fb_run *run)
{
    return run->override.use.what->variant;
}

static bool is_changed(const fb_run *run, const fb__op *op)
{
    const fb__op_rule *rule = rule_of(run);

    if (rule->change == FB__OP_SOFTMAX || rule->change == FB__OP_SOFT_CAP)
        return op->out == run->model.output;
    return (rule->type == NULL || strcmp(op->type->name, rule->type) == 0) &&
           fb__override_is_for(run, op->path);
}

static bool has_changed_op(const fb_run *run)
{
    const fb__op_change change = rule_of(run)->change;

    for (size_t i = 0; i < run->model.op_count; i++) {
        const fb__op *op = run->model.ops[i];
        const fb__param *weight = op->params[0];

        if (!is_changed(run, op))
            continue;
        if ((change == FB__OP_POSITION_SHIFT || change == FB__OP_NO_POSITIONS ||
             change == FB__OP_NO_BIAS || change == FB__BACK_BIAS_MEAN ||
             change == FB__BACK_BIAS_ZERO) &&
            op->params[1] == NULL)
            continue;
        if ((change == FB__BACK_TIE_FIRST || change == FB__BACK_TIE_LATER) &&
            (weight == NULL || weight->use_count < 2))
            continue;
        if (change == FB__OP_UNMASKED && !op->u.attention.causal)
            continue;
        return true;
    }
    return false;
}

static size_t out_count(const fb__op *op, const fb__pass *pass)
{
    return pass->batch * op->out->per_sample;
}

/* --- Whole outputs ---------------------------------------------------------------------------- */

/* To 10 bits behind the point, ties to even: what a tensor core reads of a float32. */
static float round_tf32(float x)
{
    const float big = x * 8193.0f; /* 2^13 + 1 */

    return isfinite(big) ? big - (big - x) : x;
}

static void round_all(float *x, size_t n, fb__op_change how)
{
    for (size_t i = 0; i < n; i++)
        x[i] = how == FB__OP_ROUND_BF16 || how == FB__BACK_ROUND_BF16 ? fb__round_bf16(x[i])
               : how == FB__OP_ROUND_F16 || how == FB__BACK_ROUND_F16 ? fb__round_f16(x[i])
                                                                      : round_tf32(x[i]);
}

static void softmax_rows(float *x, size_t rows, size_t cols)
{
    for (size_t r = 0; r < rows; r++, x += cols) {
        double max = (double)x[0], sum = 0.0;

        for (size_t i = 1; i < cols; i++)
            max = fmax(max, (double)x[i]);
        for (size_t i = 0; i < cols; i++)
            sum += fb__exp_below_0((double)x[i] - max);
        for (size_t i = 0; i < cols; i++)
            x[i] = (float)(fb__exp_below_0((double)x[i] - max) / sum);
    }
}

static void cap_all(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 30.0f * x[i] / (30.0f + fabsf(x[i]));
}

/* --- Forward ---------------------------------------------------------------------------------- */

static void layernorm_forward(const fb__op *op, const fb__pass *pass, bool rms)
{
    const size_t cols = op->outputs, rows = pass->batch * op->rows;

    op->type->forward(op, pass);
    for (size_t r = 0; r < rows; r++) {
        const float *x = op->in[0]->data + r * cols;
        float *y = op->out->data + r * cols;
        double mean = 0.0, square = 0.0, rstd;

        for (size_t i = 0; i < cols && !rms; i++)
            mean += (double)x[i];
        mean /= (double)cols;
        for (size_t i = 0; i < cols; i++)
            square += ((double)x[i] - mean) * ((double)x[i] - mean);
        rstd = 1.0 / sqrt(square / (double)(rms || cols == 1 ? cols : cols - 1) + op->u.eps);
        ((float *)op->saved[0])[r] = (float)mean;
        ((float *)op->saved[1])[r] = (float)rstd;
        for (size_t i = 0; i < cols; i++) {
            y[i] = (x[i] - (float)mean) * (float)rstd * op->params[0]->data[i];
            if (op->params[1] != NULL)
                y[i] += op->params[1]->data[i];
        }
    }
}

static void shift_positions(const fb__op *op, const fb__pass *pass, int64_t shift)
{
    const size_t time = op->rows, cols = op->outputs;

    for (size_t r = 0; r < pass->batch * time; r++) {
        const size_t at = (size_t)((int64_t)(r % time) + shift + (int64_t)time) % time;
        const float *token = op->params[0]->data + pass->tokens[r] * cols;

        for (size_t i = 0; i < cols; i++)
            op->out->data[r * cols + i] = token[i] + op->params[1]->data[at * cols + i];
    }
}

static void residual_forward(const fb__op *op, const fb__pass *pass, bool twice)
{
    const float *x = op->in[0]->data, *branch = op->in[1]->data;

    for (size_t i = 0; i < out_count(op, pass); i++)
        op->out->data[i] = twice ? (x[i] + x[i]) + branch[i] : branch[i];
}

static fb__attention_rule attention_rule(const fb__op_rule *rule, const fb__op *op)
{
    fb__attention_rule a = rule->attention;

    if (rule->change == FB__OP_SCALE_MODEL)
        a.scale = 1.0 / sqrt((double)(op->u.attention.heads * op->u.attention.head_dim));
    if (a.window < 0) /* half of the sequence */
        a.window = (int64_t)(op->u.attention.time + 1) / 2;
    if (!op->u.attention.causal)
        a.ahead = (int64_t)op->u.attention.time;
    return a;
}

static void attention_forward(const fb__op_rule *rule, const fb__op *op, const fb__pass *pass)
{
    const fb__attention_rule a = attention_rule(rule, op);
    fb_attention shape = op->u.attention;

    shape.batch = pass->batch;
    fb__attention_forward(op->out->data, op->in[0]->data, &shape, &a);
}

static void leaky(const fb__op *op, const fb__pass *pass, float slope)
{
    const float *x = op->in[0]->data;

    for (size_t i = 0; i < out_count(op, pass); i++)
        op->out->data[i] = x[i] > 0.0f ? x[i] : slope * x[i];
}

static void quick_gelu(const fb__op *op, const fb__pass *pass)
{
    const size_t n = out_count(op, pass);
    const float *x = op->in[0]->data;
    float *y = op->out->data;

    pass->kernels->scale(pass->pool, y, x, 1.702f, n);
    pass->kernels->activate(pass->pool, FB_ACTIVATION_SIGMOID, y, y, n);
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] * y[i];
}

/* What is done to a finished output. */
static void finish_output(fb_run *run, const fb__op *op, const fb__pass *pass)
{
    const fb__op_rule *rule = rule_of(run);
    const size_t n = out_count(op, pass);
    float *y;
    float factor = (float)(rule->number != 0.0 ? rule->number : sqrt((double)op->outputs));

    op->type->forward(op, pass);
    y = op->out->data;
    if (y == op->in[0]->data) /* its input in another shape: nothing of its own to change */
        return;
    switch (rule->change) {
    case FB__OP_KEEP_SCALE:
        factor = (float)(1.0 - op->u.dropout.p);
        if (pass->drops)
            pass->kernels->scale(pass->pool, y, y, factor, n);
        break;
    case FB__OP_SCALE_OUT:
        pass->kernels->scale(pass->pool, y, y, factor, n);
        break;
    case FB__OP_SOFTMAX:
        softmax_rows(y, pass->batch * run->loss.rows, run->loss.cols);
        break;
    case FB__OP_SOFT_CAP:
        cap_all(y, n);
        break;
    case FB__OP_ROUND_BF16:
    case FB__OP_ROUND_F16:
    case FB__OP_ROUND_TF32:
        round_all(y, n, rule->change);
        break;
    default:
        break;
    }
}

static void forward(fb_run *run, const fb__op *op, const fb__pass *pass)
{
    const fb__op_rule *rule = rule_of(run);
    fb__op changed = *op;

    if (!is_changed(run, op)) {
        op->type->forward(op, pass);
        return;
    }
    switch (rule->change) {
    case FB__OP_EPS:
        changed.u.eps = rule->number;
        op->type->forward(&changed, pass);
        break;
    case FB__OP_NO_BIAS:
    case FB__OP_NO_POSITIONS:
        changed.params[1] = NULL;
        op->type->forward(&changed, pass);
        break;
    case FB__OP_ACTIVATION:
        changed.u.activation = (fb_activation)rule->number;
        op->type->forward(&changed, pass);
        break;
    case FB__OP_UNMASKED:
        changed.u.attention.causal = false;
        op->type->forward(&changed, pass);
        break;
    case FB__OP_DROPOUT_KEEPS:
        changed.u.dropout.p = 1.0 - op->u.dropout.p;
        op->type->forward(&changed, pass);
        break;
    case FB__OP_RMS:
    case FB__OP_UNBIASED:
        layernorm_forward(op, pass, rule->change == FB__OP_RMS);
        break;
    case FB__OP_QUICK_GELU:
        quick_gelu(op, pass);
        break;
    case FB__OP_LEAKY:
        leaky(op, pass, (float)rule->number);
        break;
    case FB__OP_IDENTITY:
        memcpy(op->out->data, op->in[0]->data, out_count(op, pass) * sizeof(float));
        break;
    case FB__OP_ATTENTION:
    case FB__OP_SCALE_MODEL:
        attention_forward(rule, op, pass);
        break;
    case FB__OP_POSITION_SHIFT:
        shift_positions(op, pass, (int64_t)rule->number);
        break;
    case FB__OP_BRANCH_ONLY:
    case FB__OP_SKIP_TWICE:
        residual_forward(op, pass, rule->change == FB__OP_SKIP_TWICE);
        break;
    default:
        finish_output(run, op, pass);
    }
}

/* --- Backward --------------------------------------------------------------------------------- */

static size_t in_count(const fb__op *op, const fb__pass *pass)
{
    return pass->batch * op->in[0]->per_sample;
}

/* dx = dy·gain·rstd */
static void layernorm_backward(const fb__op *op, const fb__pass *pass)
{
    const size_t cols = op->outputs;
    const float *rstd = op->saved[1];

    for (size_t i = 0; op->din[0] != NULL && i < in_count(op, pass); i++)
        op->din[0][i] = op->out->grad[i] * op->params[0]->data[i % cols] * rstd[i / cols];
}

static void bias_backward(const fb__op *op, const fb__pass *pass, bool mean)
{
    const size_t n = op->outputs;
    const float factor = mean ? (float)(1.0 / (double)(pass->batch * op->rows)) : 0.0f;

    for (size_t i = 0; op->params[1] != NULL && i < n; i++)
        op->dparams[1][i] = mean ? op->dparams[1][i] * factor : 0.0f;
}

static void tie_backward(const fb__op *op, bool drop_first)
{
    const fb__param *weight = op->params[0];

    if (weight != NULL && weight->use_count > 1 && (weight->uses[0].op == op) == drop_first)
        memset(op->dparams[0], 0, weight->count * sizeof(float));
}

/* The gradient of the positions that were really read. */
static void rotate_positions(const fb__op *op, int64_t shift)
{
    const size_t time = op->rows, cols = op->outputs;
    float *d = op->dparams[1];

    for (size_t i = 0; i < cols; i++) { /* one place at a time: shift is 1 or -1 */
        if (shift > 0) {
            const float last = d[(time - 1) * cols + i];
            for (size_t t = time - 1; t > 0; t--)
                d[t * cols + i] = d[(t - 1) * cols + i];
            d[i] = last;
        } else {
            const float first = d[i];
            for (size_t t = 0; t + 1 < time; t++)
                d[t * cols + i] = d[(t + 1) * cols + i];
            d[(time - 1) * cols + i] = first;
        }
    }
}

/* What is done to finished gradients. */
static void finish_gradient(const fb__op_rule *rule, const fb__op *op, const fb__pass *pass)
{
    float *dx = op->din[0];
    const size_t n = in_count(op, pass);

    op->type->backward(op, pass);
    switch (rule->change) {
    case FB__BACK_NO_MEAN:
        layernorm_backward(op, pass);
        break;
    case FB__BACK_BIAS_MEAN:
    case FB__BACK_BIAS_ZERO:
        bias_backward(op, pass, rule->change == FB__BACK_BIAS_MEAN);
        break;
    case FB__BACK_DETACHED:
        if (dx != NULL)
            memset(dx, 0, n * sizeof *dx);
        break;
    case FB__BACK_TIE_FIRST:
    case FB__BACK_TIE_LATER:
        tie_backward(op, rule->change == FB__BACK_TIE_FIRST);
        break;
    case FB__BACK_ROUND_BF16:
    case FB__BACK_ROUND_F16:
        if (dx != NULL)
            round_all(dx, n, rule->change);
        break;
    case FB__OP_POSITION_SHIFT:
        rotate_positions(op, (int64_t)rule->number);
        break;
    case FB__OP_NO_POSITIONS:
        memset(op->dparams[1], 0, op->params[1]->count * sizeof(float));
        break;
    case FB__OP_SCALE_OUT:
        if (op->params[0] != NULL)
            pass->kernels->scale(
                pass->pool, op->dparams[0], op->dparams[0],
                (float)(rule->number != 0.0 ? rule->number : sqrt((double)op->outputs)),
                op->params[0]->count);
        break;
    default:
        break;
    }
}

static void backward(fb_run *run, const fb__op *op, const fb__pass *pass)
{
    const fb__op_rule *rule = rule_of(run);
    fb__attention_rule a;
    fb_attention shape;
    fb__op changed = *op;

    if (!is_changed(run, op)) {
        op->type->backward(op, pass);
        return;
    }
    switch (rule->change) {
    case FB__OP_ACTIVATION:
    case FB__BACK_ACTIVATION:
        changed.u.activation = (fb_activation)rule->number;
        op->type->backward(&changed, pass);
        break;
    case FB__OP_UNMASKED:
        changed.u.attention.causal = false;
        op->type->backward(&changed, pass);
        break;
    case FB__OP_DROPOUT_KEEPS:
        changed.u.dropout.p = 1.0 - op->u.dropout.p;
        op->type->backward(&changed, pass);
        break;
    case FB__OP_ATTENTION:
    case FB__OP_SCALE_MODEL:
        a = attention_rule(rule, op);
        shape = op->u.attention;
        shape.batch = pass->batch;
        fb__attention_backward(op->din[0], op->out->grad, op->in[0]->data, &shape, &a);
        break;
    case FB__OP_IDENTITY:
    case FB__BACK_IDENTITY:
    case FB__BACK_UNMASKED:
        if (op->din[0] != NULL)
            memcpy(op->din[0], op->out->grad, in_count(op, pass) * sizeof(float));
        break;
    default:
        finish_gradient(rule, op, pass);
    }
}

const fb__formulas fb__ops_both = {
    .applies = has_changed_op, .forward = forward, .backward = backward};
const fb__formulas fb__ops_forward = {.applies = has_changed_op, .forward = forward};
const fb__formulas fb__ops_backward = {.applies = has_changed_op, .backward = backward};
