/* SPDX-License-Identifier: Apache-2.0
 *
 * check_knobs.c - reading and applying what is varied.
 */
#include "cli/check_knobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

static const struct {
    const char *name;
    const char *variables[4]; /* that set it; FIRSTBIT_VARY_ ones are for the start-up hook */
    const char *fix;
} knobs[] = {
    [CLI_KNOB_THREADS] = {"threads",
                          {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                           "FIRSTBIT_VARY_THREADS"},
                          "fix the number of threads: torch.set_num_threads(N) in every run"},
    [CLI_KNOB_HASHSEED] = {"hashseed",
                           {"PYTHONHASHSEED"},
                           "do not rely on the order of a set or of hashes: sort it, or set "
                           "PYTHONHASHSEED"},
    [CLI_KNOB_WORKERS] = {"workers",
                          {"FIRSTBIT_VARY_WORKERS"},
                          "draw what a sample needs from its own index, not from the worker's "
                          "generator"},
    [CLI_KNOB_AFFINITY] = {"affinity",
                           {NULL},
                           "set the number of threads; left alone it follows the processors that "
                           "the run may use"},
};

enum { KNOBS = sizeof knobs / sizeof knobs[0], VARIABLES = 4 };

const char *cli_knob_name(cli_knob knob)
{
    return knobs[knob].name;
}

const char *cli_knob_fix(cli_knob knob)
{
    return knobs[knob].fix;
}

/* "0-3+6": processors. */
static bool read_processors(cpu_set_t *out, const char *text)
{
    CPU_ZERO(out);
    for (;;) {
        char *end;
        const unsigned long first = strtoul(text, &end, 10);
        unsigned long last = first;

        if (end == text || *text < '0' || *text > '9')
            return false;
        if (*end == '-') {
            text = end + 1;
            last = strtoul(text, &end, 10);
            if (end == text || *text < '0' || *text > '9')
                return false;
        }
        if (last < first || last >= CPU_SETSIZE)
            return false;
        for (unsigned long i = first; i <= last; i++)
            CPU_SET(i, out);
        if (*end == '\0')
            return true;
        if (*end != '+')
            return false;
        text = end + 1;
    }
}

/* Whether a value is one that the knob takes. */
static bool is_value(cli_knob knob, const char *text)
{
    cpu_set_t processors;

    if (knob == CLI_KNOB_AFFINITY)
        return read_processors(&processors, text);
    if (knob == CLI_KNOB_HASHSEED && strcmp(text, "random") == 0)
        return true;
    return text[0] != '\0' && strlen(text) < 10 && text[strspn(text, "0123456789")] == '\0' &&
           (knob != CLI_KNOB_THREADS || text[strspn(text, "0")] != '\0');
}

int cli_variation_read(const cli_args *args, const char *text, cli_variation *out)
{
    const char *equals = strchr(text, '='), *comma = equals == NULL ? NULL : strchr(equals, ',');
    bool good = comma != NULL && comma - equals <= CLI_VARIED_MAX &&
                strlen(comma) <= CLI_VARIED_MAX && strchr(comma + 1, ',') == NULL;

    *out = (cli_variation){.knob = CLI_KNOB_NONE};
    for (int i = 1; good && i < KNOBS; i++)
        if (strlen(knobs[i].name) == (size_t)(equals - text) &&
            strncmp(text, knobs[i].name, (size_t)(equals - text)) == 0)
            out->knob = (cli_knob)i;
    if (good && out->knob != CLI_KNOB_NONE) {
        (void)snprintf(out->value[0], CLI_VARIED_MAX, "%.*s", (int)(comma - equals - 1),
                       equals + 1);
        (void)snprintf(out->value[1], CLI_VARIED_MAX, "%s", comma + 1);
        good = is_value(out->knob, out->value[0]) && is_value(out->knob, out->value[1]);
    }
    if (good && out->knob != CLI_KNOB_NONE)
        return 0;
    return cli_fail(args,
                    "--vary %s: expected threads=N,M, hashseed=N,M, workers=N,M or affinity=LIST,"
                    "LIST (processors: 0-3+6)",
                    text);
}

/* What undo gives back. */
static bool keep(cli_variation *v)
{
    bool done = sched_getaffinity(0, sizeof v->processors, &v->processors) == 0;

    for (size_t i = 0; i < VARIABLES && knobs[v->knob].variables[i] != NULL; i++) {
        const char *before = getenv(knobs[v->knob].variables[i]);

        v->before[i] = before == NULL ? NULL : strdup(before);
        done = done && (before == NULL || v->before[i] != NULL);
    }
    v->kept = true;
    return done;
}

bool cli_variation_apply(cli_variation *v, int side)
{
    cpu_set_t processors;
    bool done = v->kept || keep(v);

    for (size_t i = 0; i < VARIABLES && knobs[v->knob].variables[i] != NULL; i++)
        done = setenv(knobs[v->knob].variables[i], v->value[side], 1) == 0 && done;
    if (v->knob == CLI_KNOB_AFFINITY)
        done = done && read_processors(&processors, v->value[side]) &&
               sched_setaffinity(0, sizeof processors, &processors) == 0;
    return done;
}

void cli_variation_undo(cli_variation *v)
{
    if (!v->kept)
        return;
    for (size_t i = 0; i < VARIABLES && knobs[v->knob].variables[i] != NULL; i++) {
        if (v->before[i] == NULL)
            (void)unsetenv(knobs[v->knob].variables[i]);
        else
            (void)setenv(knobs[v->knob].variables[i], v->before[i], 1);
        free(v->before[i]);
        v->before[i] = NULL;
    }
    if (v->knob == CLI_KNOB_AFFINITY)
        (void)sched_setaffinity(0, sizeof v->processors, &v->processors);
    v->kept = false;
}
