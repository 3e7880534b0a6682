/* SPDX-License-Identifier: Apache-2.0
 *
 * evaluation_elements.c - operations that compute each element by itself, in float64.
 */
#include <math.h>
#include <string.h>

#include "diff/rounding/evaluation.h"

static const double root_half = 0.70710678118654752440, root_two_pi = 2.50662827463100050242;

/* The element of an operand that goes with one of the result; operands are repeated as in NumPy. */
static double pick(const fb__operation *o, uint32_t k, uint64_t element)
{
    const fb__operand *x = &o->in[k];
    uint64_t at = 0, stride = 1;

    if (x->count == o->out.count)
        return x->at[element];
    if (x->count == 1)
        return x->at[0];
    for (uint32_t d = 0; d < x->rank; d++) {
        const uint64_t size = o->out.shape[o->out.rank - 1 - d];
        const uint64_t own = x->shape[x->rank - 1 - d];

        at += own == 1 ? 0 : element % size * stride;
        stride *= own;
        element /= size;
    }
    return x->at[at];
}

static bool is_repeated(const fb__operand *x, const fb__operand *out)
{
    if (x->count == out->count || x->count == 1)
        return true;
    if (x->rank > out->rank)
        return false;
    for (uint32_t d = 0; d < x->rank; d++)
        if (x->shape[x->rank - 1 - d] != 1 &&
            x->shape[x->rank - 1 - d] != out->shape[out->rank - 1 - d])
            return false;
    return true;
}

typedef enum function {
    ADD,
    SUB,
    MUL,
    DIV,
    SQRT,
    RSQRT,
    EXP,
    LOG,
    TANH,
    SIGMOID,
    SILU,
    GELU,
    RELU,
    NEG,
    ERF,
    SQUARE,
    TANH_BACKWARD,
    SIGMOID_BACKWARD,
    GELU_BACKWARD,
    RELU_BACKWARD,
} function;

static const struct name {
    const char *op;
    function f;
} names[] = {
    {"add", ADD},
    {"add_", ADD},
    {"sub", SUB},
    {"sub_", SUB},
    {"mul", MUL},
    {"mul_", MUL},
    {"div", DIV},
    {"div_", DIV},
    {"sqrt", SQRT},
    {"rsqrt", RSQRT},
    {"exp", EXP},
    {"log", LOG},
    {"tanh", TANH},
    {"sigmoid", SIGMOID},
    {"silu", SILU},
    {"gelu", GELU},
    {"relu", RELU},
    {"neg", NEG},
    {"erf", ERF},
    {"pow", SQUARE},
    {"tanh_backward", TANH_BACKWARD},
    {"sigmoid_backward", SIGMOID_BACKWARD},
    {"gelu_backward", GELU_BACKWARD},
    {"threshold_backward", RELU_BACKWARD},
};

/* Whether the arguments are those that are evaluated here. */
static bool knows_arguments(fb__operation *o)
{
    const cJSON *how = cJSON_GetObjectItemCaseSensitive(o->arguments, "approximate");
    const cJSON *mode = cJSON_GetObjectItemCaseSensitive(o->arguments, "rounding_mode");

    o->number = fb__exact_argument(o, "other", NAN);
    o->factor = fb__exact_argument(o, "alpha", 1);
    if ((cJSON_IsString(how) && strcmp(how->valuestring, "none") != 0) || cJSON_IsString(mode))
        return false;
    if (o->function == SQUARE)
        return fb__exact_argument(o, "exponent", 0) == 2;
    return o->function != RELU_BACKWARD || fb__exact_argument(o, "threshold", 0) == 0;
}

static bool begin_elements(fb__operation *o)
{
    const size_t count = sizeof names / sizeof names[0];
    size_t i = 0;

    while (i < count && strcmp(names[i].op, o->op) != 0)
        i++;
    if (i == count || o->output != 0 || o->out.count == 0)
        return false;
    o->function = names[i].f;
    for (uint32_t k = 0; k < o->in_count; k++)
        if (!is_repeated(&o->in[k], &o->out))
            return false;
    o->terms = o->work = 1;
    o->groups = o->out.count;
    return knows_arguments(o);
}

/* A result that is `units` roundings of `size` off at most. */
static fb__exact within(const fb__operation *o, double value, double units, double size)
{
    const double bound = (units * o->unit + 0x1p-50) * size + 0x1p-149;

    return (fb__exact){.value = value, .bound = bound, .likely = bound};
}

/* Phi of the normal distribution; its density. */
static double phi(double x)
{
    return 0.5 * erfc(-x * root_half);
}

static fb__exact two_at(const fb__operation *o, double x, double y)
{
    switch ((function)o->function) {
    case ADD:
        return within(o, x + o->factor * y, 2, fabs(x) + fabs(o->factor * y));
    case SUB:
        return within(o, x - o->factor * y, 2, fabs(x) + fabs(o->factor * y));
    case MUL:
        return within(o, x * y, 2, fabs(x * y));
    case DIV:
        return within(o, x / y, 4, fabs(x / y));
    case TANH_BACKWARD:
        return within(o, x * (1 - y * y), 4, fabs(x) * (1 + y * y));
    case SIGMOID_BACKWARD:
        return within(o, x * (1 - y) * y, 5, fabs(x * y) * (1 + fabs(y)));
    case GELU_BACKWARD:
        return within(o, x * (phi(y) + y * exp(-0.5 * y * y) / root_two_pi), 12,
                      fabs(x) * (1 + fabs(y)));
    case RELU_BACKWARD:
        return within(o, y > 0 ? x : 0, 0, 0);
    default:
        return (fb__exact){.value = NAN, .bound = NAN, .likely = NAN};
    }
}

static fb__exact one_at(const fb__operation *o, double x)
{
    double y;

    switch ((function)o->function) {
    case SQRT:
        return within(o, sqrt(x), 2, sqrt(x));
    case RSQRT:
        return within(o, 1 / sqrt(x), 4, 1 / sqrt(x));
    case EXP:
        return within(o, exp(x), 4, exp(x));
    case LOG:
        return within(o, log(x), 4, fabs(log(x)));
    case TANH:
        return within(o, tanh(x), 6, fabs(tanh(x)));
    case SIGMOID:
        return within(o, 1 / (1 + exp(-x)), 8, 1 / (1 + exp(-x)));
    case SILU:
        y = x / (1 + exp(-x));
        return within(o, y, 10, fabs(y));
    case GELU: /* 1 + erf cancels for negative x */
        return within(o, x * phi(x), 16, fabs(x));
    case RELU:
        return within(o, x > 0 ? x : 0, 0, 0);
    case NEG:
        return within(o, -x, 0, 0);
    case ERF:
        return within(o, erf(x), 6, fabs(erf(x)));
    case SQUARE:
        return within(o, x * x, 2, x * x);
    default: /* an operation of two, of which the other is the same, or a number */
        return two_at(o, x, isnan(o->number) ? x : o->number);
    }
}

static fb__exact element_at(const fb__operation *o, uint64_t element)
{
    const double x = pick(o, 0, element);

    return o->in_count == 1 ? one_at(o, x) : two_at(o, x, pick(o, 1, element));
}

#define FORM(op, operands)                                                                         \
    {                                                                                              \
        op, 1, operands, 1, begin_elements, element_at                                             \
    }

const fb__exact_form fb__exact_elements[] = {
    FORM("add", 2),
    FORM("add_", 2),
    FORM("sub", 2),
    FORM("sub_", 2),
    FORM("mul", 2),
    FORM("mul_", 2),
    FORM("div", 2),
    FORM("div_", 2),
    FORM("sqrt", 1),
    FORM("rsqrt", 1),
    FORM("exp", 1),
    FORM("log", 1),
    FORM("tanh", 1),
    FORM("sigmoid", 1),
    FORM("silu", 1),
    FORM("gelu", 1),
    FORM("relu", 1),
    FORM("neg", 1),
    FORM("erf", 1),
    FORM("pow", 1),
    FORM("tanh_backward", 2),
    FORM("sigmoid_backward", 2),
    FORM("gelu_backward", 2),
    FORM("threshold_backward", 2),
    {.op = NULL},
};
