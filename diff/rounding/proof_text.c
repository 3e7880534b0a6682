/* SPDX-License-Identifier: Apache-2.0
 *
 * proof_text.c - a proof from contents in words, and as JSON.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "diff/rounding/proof.h"

static const char *const words[] = {"none", "rounding", "real", "suspect", "open"};

/* "of 96 terms", where there is a sum. */
static void put_terms(char *out, size_t size, const fb_diff_proof *p)
{
    char text[32];

    out[0] = '\0';
    if (p->terms > 1)
        (void)snprintf(out, size, " of %s terms", fb__grouped(text, p->terms));
}

static void say_real(char *out, size_t size, const fb_diff_proof *p, const char *terms)
{
    const double worst = p->of_b ? p->worst_b : p->worst_a,
                 other = p->of_b ? p->worst_a : p->worst_b;
    const char *who = p->of_b ? "b" : "a", *rest = p->of_b ? "a" : "b";

    if (isfinite(worst))
        (void)snprintf(out, size,
                       "real, proved: %s is off by %.2g, %.2g times what any order%s can be, from "
                       "what float64 gives for these inputs; %s by %.2g times",
                       who, fabs((p->of_b ? p->b : p->a) - p->exact), worst, terms, rest, other);
    else
        (void)snprintf(out, size,
                       "real, proved: %s is %g where float64 gives %.9g for these inputs; %s is "
                       "within %.2g times what any order%s can be off by",
                       who, p->of_b ? p->b : p->a, p->exact, rest, other, terms);
}

void fb__proof_text(char *out, size_t size, const fb_diff_proof *p)
{
    char terms[64];
    size_t used;

    out[0] = '\0';
    put_terms(terms, sizeof terms, p);
    switch (p->verdict) {
    case FB_DIFF_PROOF_NONE:
        return;
    case FB_DIFF_PROOF_ROUNDING:
        (void)snprintf(out, size,
                       "rounding, proved by the bound: both are what float64 gives for these "
                       "inputs to within %.2g | %.2g of the likely error%s",
                       p->likely_a, p->likely_b, terms);
        break;
    case FB_DIFF_PROOF_REAL:
        say_real(out, size, p, terms);
        break;
    case FB_DIFF_PROOF_SUSPECT:
        if (isfinite(p->scale))
            (void)snprintf(out, size,
                           "not rounding, likely: %s is %.9g times what float64 gives for these "
                           "inputs, and sums%s that err on their own have no common factor",
                           p->of_b ? "b" : "a", p->scale, terms);
        else
            (void)snprintf(out, size,
                           "suspect: %s is off by %.2g times the likely error%s, %s by %.2g",
                           p->of_b ? "b" : "a", p->of_b ? p->likely_b : p->likely_a, terms,
                           p->of_b ? "a" : "b", p->of_b ? p->likely_a : p->likely_b);
        break;
    case FB_DIFF_PROOF_OPEN:
        if (p->narrow)
            (void)snprintf(out, size,
                           "open: a is off by %.2g times the likely error%s summed in float32, b "
                           "by %.2g; a kernel that sums in 16 bits may be",
                           p->likely_a, terms, p->likely_b);
        else
            (void)snprintf(
                out, size,
                "open: a is off by %.2g times the likely error%s, b by %.2g, both by less "
                "than the bound",
                p->likely_a, terms, p->likely_b);
        break;
    }
    used = strlen(out);
    if (p->has_slice && used < size)
        used += (size_t)snprintf(out + used, size - used,
                                 "; all that differs is in slice %" PRIu64 " of %" PRIu64
                                 " of dimension %" PRIu32,
                                 p->slice, p->slices, p->slice_dim);
    if (used < size && p->evaluated < p->elements)
        (void)snprintf(out + used, size - used, " (%" PRIu64 " of %" PRIu64 " elements evaluated)",
                       p->evaluated, p->elements);
}

static void add_number(cJSON *object, const char *name, double x)
{
    if (isfinite(x))
        cJSON_AddNumberToObject(object, name, x);
    else if (isnan(x))
        cJSON_AddNullToObject(object, name);
    else
        cJSON_AddStringToObject(object, name, x > 0 ? "inf" : "-inf");
}

static void add_slice(cJSON *object, const fb_diff_proof *p)
{
    cJSON *slice = p->has_slice ? cJSON_AddObjectToObject(object, "slice") : NULL;

    if (!p->has_slice)
        cJSON_AddNullToObject(object, "slice");
    cJSON_AddNumberToObject(slice, "dimension", p->slice_dim);
    cJSON_AddNumberToObject(slice, "index", (double)p->slice);
    cJSON_AddNumberToObject(slice, "of", (double)p->slices);
}

void fb__proof_json(cJSON *object, const fb_diff_proof *p)
{
    const bool sided = p->verdict == FB_DIFF_PROOF_REAL || p->verdict == FB_DIFF_PROOF_SUSPECT;
    char text[640];
    cJSON *o;

    if (p->verdict == FB_DIFF_PROOF_NONE) {
        cJSON_AddNullToObject(object, "proof");
        return;
    }
    o = cJSON_AddObjectToObject(object, "proof");
    cJSON_AddStringToObject(o, "verdict", words[p->verdict]);
    if (sided)
        cJSON_AddStringToObject(o, "side", p->of_b ? "b" : "a");
    else
        cJSON_AddNullToObject(o, "side");
    cJSON_AddStringToObject(o, "op", p->op);
    cJSON_AddNumberToObject(o, "terms", (double)p->terms);
    cJSON_AddNumberToObject(o, "elements", (double)p->elements);
    cJSON_AddNumberToObject(o, "evaluated", (double)p->evaluated);
    add_number(o, "bounds_a", p->worst_a);
    add_number(o, "bounds_b", p->worst_b);
    add_number(o, "likely_a", p->likely_a);
    add_number(o, "likely_b", p->likely_b);
    cJSON_AddNumberToObject(o, "element", (double)p->element);
    add_number(o, "exact", p->exact);
    add_number(o, "value_a", p->a);
    add_number(o, "value_b", p->b);
    add_number(o, "scale", p->scale);
    add_slice(o, p);
    fb__proof_text(text, sizeof text, p);
    cJSON_AddStringToObject(o, "text", text);
}
