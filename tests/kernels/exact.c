/* SPDX-License-Identifier: Apache-2.0
 *
 * exact.c - the functions from their definitions (docs/numerics.md "Scalar functions"), in libm's
 * float64 and in MPFR; nothing here knows how the kernels compute them.
 */
#include "tests/kernels/exact.h"

#include <math.h>
#include <stddef.h>

#include <mpfr.h>

#include "tests/kernels/probe.h"

enum { BITS = 320 };

/* A float64 value and a bound of its error. */
typedef struct guess {
    double value, error;
} guess;

static guess relative(double value, double ulps)
{
    return (guess){value, fabs(value) * ulps * 0x1p-52 + 0x1p-1060};
}

static double logistic(double z)
{
    return z < 0.0 ? exp(z) / (1.0 + exp(z)) : 1.0 / (1.0 + exp(-z));
}

/* 2·sqrt(2/pi)·(x + c·x³) and its derivative. */
static double cubic(double x)
{
    return 1.5957691216057307117597842397375 * (x + 0.044715 * x * x * x);
}

static double cubic_slope(double x)
{
    return 1.5957691216057307117597842397375 * (1.0 + 3 * 0.044715 * x * x);
}

/* f + x·g, whose terms may cancel: the error is measured by the terms. */
static guess gate_slope(double f, double xg, double ulps)
{
    return (guess){f + xg, (fabs(f) + fabs(xg)) * ulps * 0x1p-52 + 0x1p-1060};
}

/* Relative errors of exp(z) grow with |z|: z itself is rounded. */
static double growth(double z)
{
    return 16.0 + 8.0 * fabs(z);
}

static double bell(double x)
{
    return exp(-x * x / 2) * 0.39894228040143267793994605993438;
}

static double normal(double x)
{
    return erfc(-x * 0.70710678118654752440084436210485) / 2;
}

static guess guess_of(int function, double x)
{
    double s, z;

    switch (function) {
    case PROBE_exp:
        return relative(exp(x), 8);
    case PROBE_log:
        return relative(log(x), 8);
    case PROBE_sin:
        return relative(sin(x), 8);
    case PROBE_cos:
        return relative(cos(x), 8);
    case PROBE_erf:
        return relative(erf(x), 8);
    case PROBE_softplus:
        s = log1p(exp(-fabs(x)));
        return relative(x > 0.0 ? x + s : s, 16);
    case PROBE_tanh:
        return relative(tanh(x), 8);
    case PROBE_tanh_slope:
        return relative(1.0 / (cosh(x) * cosh(x)), 16);
    case PROBE_sigmoid:
        return relative(logistic(x), 16);
    case PROBE_sigmoid_slope:
        return relative(logistic(x) * logistic(-x), 32);
    case PROBE_silu:
        return relative(x * logistic(x), 16);
    case PROBE_silu_slope:
        s = logistic(x);
        return gate_slope(s, x * s * logistic(-x), 32);
    case PROBE_gelu:
        return relative(x * normal(x), growth(x * x));
    case PROBE_gelu_slope:
        return gate_slope(normal(x), x * bell(x), growth(x * x));
    case PROBE_gelu_tanh:
        z = cubic(x);
        return relative(x * logistic(z), growth(z));
    default:
        z = cubic(x);
        s = logistic(z);
        return gate_slope(s, x * s * logistic(-z) * cubic_slope(x), growth(z));
    }
}

/* --- MPFR ------------------------------------------------------------------------------------- */

#define UP MPFR_RNDN

/* y = 1/(1 + e^-z) */
static void mpfr_logistic(mpfr_t y, const mpfr_t z)
{
    mpfr_neg(y, z, UP);
    mpfr_exp(y, y, UP);
    mpfr_add_ui(y, y, 1, UP);
    mpfr_ui_div(y, 1, y, UP);
}

/* z = 2·sqrt(2/pi)·(x + 0.044715·c·x³); with c = 3 and divided by x, its slope */
static void mpfr_cubic(mpfr_t z, const mpfr_t x, unsigned c)
{
    mpfr_t k;

    mpfr_init2(k, BITS);
    mpfr_set_str(k, "0.044715", 10, UP);
    mpfr_mul_ui(k, k, c, UP);
    mpfr_sqr(z, x, UP);
    mpfr_mul(z, z, k, UP);
    mpfr_add_ui(z, z, 1, UP);
    mpfr_mul(z, z, x, UP);
    mpfr_const_pi(k, UP);
    mpfr_ui_div(k, 8, k, UP);
    mpfr_sqrt(k, k, UP);
    mpfr_mul(z, z, k, UP);
    mpfr_clear(k);
}

/* y = Phi(x) */
static void mpfr_normal(mpfr_t y, const mpfr_t x)
{
    mpfr_t root;

    mpfr_init2(root, BITS);
    mpfr_sqrt_ui(root, 2, UP);
    mpfr_div(y, x, root, UP);
    mpfr_neg(y, y, UP);
    mpfr_erfc(y, y, UP);
    mpfr_div_ui(y, y, 2, UP);
    mpfr_clear(root);
}

/* y = x·exp(-x²/2)/sqrt(2 pi) */
static void mpfr_bell_times_x(mpfr_t y, const mpfr_t x)
{
    mpfr_t root;

    mpfr_init2(root, BITS);
    mpfr_const_pi(root, UP);
    mpfr_mul_ui(root, root, 2, UP);
    mpfr_sqrt(root, root, UP);
    mpfr_sqr(y, x, UP);
    mpfr_div_si(y, y, -2, UP);
    mpfr_exp(y, y, UP);
    mpfr_mul(y, y, x, UP);
    mpfr_div(y, y, root, UP);
    mpfr_clear(root);
}

/* y = s(z) + u·s(z)·(1 - s(z)), s the logistic function */
static void mpfr_logistic_gate_slope(mpfr_t y, const mpfr_t z, const mpfr_t u)
{
    mpfr_t s, rest;

    mpfr_inits2(BITS, s, rest, (mpfr_ptr)NULL);
    mpfr_logistic(s, z);
    mpfr_neg(rest, z, UP);
    mpfr_logistic(rest, rest);
    mpfr_mul(rest, rest, s, UP);
    mpfr_mul(rest, rest, u, UP);
    mpfr_add(y, s, rest, UP);
    mpfr_clears(s, rest, (mpfr_ptr)NULL);
}

static void mpfr_function(int function, mpfr_t y, const mpfr_t x)
{
    mpfr_t z, u;

    mpfr_inits2(BITS, z, u, (mpfr_ptr)NULL);
    switch (function) {
    case PROBE_exp:
        mpfr_exp(y, x, UP);
        break;
    case PROBE_log:
        mpfr_log(y, x, UP);
        break;
    case PROBE_sin:
        mpfr_sin(y, x, UP);
        break;
    case PROBE_cos:
        mpfr_cos(y, x, UP);
        break;
    case PROBE_erf:
        mpfr_erf(y, x, UP);
        break;
    case PROBE_softplus:
        mpfr_exp(y, x, UP);
        mpfr_log1p(y, y, UP);
        break;
    case PROBE_tanh:
        mpfr_tanh(y, x, UP);
        break;
    case PROBE_tanh_slope:
        mpfr_sech(y, x, UP);
        mpfr_sqr(y, y, UP);
        break;
    case PROBE_sigmoid:
        mpfr_logistic(y, x);
        break;
    case PROBE_sigmoid_slope:
        mpfr_logistic(y, x);
        mpfr_neg(z, x, UP);
        mpfr_logistic(z, z);
        mpfr_mul(y, y, z, UP);
        break;
    case PROBE_silu:
        mpfr_logistic(y, x);
        mpfr_mul(y, y, x, UP);
        break;
    case PROBE_silu_slope:
        mpfr_logistic_gate_slope(y, x, x);
        break;
    case PROBE_gelu:
        mpfr_normal(y, x);
        mpfr_mul(y, y, x, UP);
        break;
    case PROBE_gelu_slope:
        mpfr_normal(y, x);
        mpfr_bell_times_x(z, x);
        mpfr_add(y, y, z, UP);
        break;
    case PROBE_gelu_tanh:
        mpfr_cubic(z, x, 1);
        mpfr_logistic(y, z);
        mpfr_mul(y, y, x, UP);
        break;
    default:
        mpfr_cubic(z, x, 1);
        mpfr_cubic(u, x, 3); /* x·z' */
        mpfr_logistic_gate_slope(y, z, u);
        break;
    }
    mpfr_clears(z, u, (mpfr_ptr)NULL);
}

/* Rounds to float32 with its subnormals: once, whatever the exponent. */
static float to_float(mpfr_t y)
{
    const double up = mpfr_get_d(y, MPFR_RNDZ);
    const int inexact = mpfr_cmp_d(y, up) != 0;
    uint64_t bits;
    float result;
    double odd;

    if (!isfinite(up))
        return mpfr_get_flt(y, UP);
    /* Towards zero and then odd: rounding that to float32 is rounding y. */
    __builtin_memcpy(&bits, &up, sizeof bits);
    bits |= (uint64_t)inexact;
    __builtin_memcpy(&odd, &bits, sizeof odd);
    result = (float)odd;
    return mpfr_signbit(y) ? -fabsf(result) : result;
}

/* Beyond `far` a function is within 2^-177 of its limit (128·e^-128; both GELUs and their slopes:
 * 16·Phi(-16)): so it rounds to that limit, or, where the limit is 0, to a zero with the sign of
 * the exact value. At infinity the gates and their slopes, whose definition has no value there, are
 * these limits. */
static bool limit_of(int function, float x, float *value)
{
    const bool right = x > 0.0f;
    const bool gelu = function == PROBE_gelu || function == PROBE_gelu_slope ||
                      function == PROBE_gelu_tanh || function == PROBE_gelu_tanh_slope;
    const float far = gelu ? 16.0f : 128.0f;

    if (x != x || (function == PROBE_log && x < 0.0f)) {
        *value = __builtin_nanf("");
        return true;
    }
    if (!(fabsf(x) > far))
        return false;
    switch (function) {
    case PROBE_log:
    case PROBE_sin:
    case PROBE_cos:
        return false;
    case PROBE_exp:
        *value = right ? __builtin_inff() : 0.0f;
        return true;
    case PROBE_erf:
    case PROBE_tanh:
        *value = right ? 1.0f : -1.0f;
        return true;
    case PROBE_sigmoid:
        *value = right ? 1.0f : 0.0f;
        return true;
    case PROBE_tanh_slope:
    case PROBE_sigmoid_slope:
        *value = 0.0f;
        return true;
    case PROBE_softplus:
        *value = right ? x : 0.0f;
        return true;
    case PROBE_silu:
    case PROBE_gelu:
    case PROBE_gelu_tanh:
        *value = right ? x : -0.0f;
        return true;
    default: /* slopes of the gates */
        *value = right ? 1.0f : -0.0f;
        return true;
    }
}

double exact_double(int function, float x)
{
    mpfr_t y, wide;
    double value;

    mpfr_inits2(BITS, y, wide, (mpfr_ptr)NULL);
    mpfr_set_flt(wide, x, UP);
    mpfr_function(function, y, wide);
    value = mpfr_get_d(y, UP);
    mpfr_clears(y, wide, (mpfr_ptr)NULL);
    return value;
}

float exact_value_mpfr(int function, float x)
{
    mpfr_t y, wide;
    float value;

    if (limit_of(function, x, &value))
        return value;
    mpfr_inits2(BITS, y, wide, (mpfr_ptr)NULL);
    mpfr_set_flt(wide, x, UP);
    mpfr_function(function, y, wide);
    value = mpfr_nan_p(y) ? __builtin_nanf("") : to_float(y);
    mpfr_clears(y, wide, (mpfr_ptr)NULL);
    return value;
}

float exact_value(int function, float x)
{
    float low, high;
    guess g;

    if (limit_of(function, x, &low))
        return low;
    g = guess_of(function, (double)x);
    low = (float)(g.value - g.error);
    high = (float)(g.value + g.error);
    /* The second condition makes the sign of a zero certain. */
    return low == high && fabs(g.value) > g.error ? low : exact_value_mpfr(function, x);
}

const char *exact_name(int function)
{
#define PROBE_NAME(name) #name,
    static const char *const names[] = {PROBE_LIST(PROBE_NAME)};
#undef PROBE_NAME
    return names[function];
}

bool exact_in_domain(int function, float x)
{
    return (function != PROBE_sin && function != PROBE_cos) || (!signbit(x) && x <= 8.0f);
}
