/* SPDX-License-Identifier: Apache-2.0
 *
 * recording.c - reads the options that say how much of a run is recorded.
 */
#include "cli/recording.h"

#include <string.h>

#include "cli/output.h"
#include "tracer/format/step_list.h"

/* "500M": a number of bytes with a unit of thousands. */
static int size_option(const cli_args *args, const char *option, uint64_t *out)
{
    static const char units[] = "kMGT"; /* K is k */
    const char *text = cli_value(args, option), *at = text, *unit;
    uint64_t size = 0;
    bool fits = true;

    if (text == NULL)
        return 0;
    for (; *at >= '0' && *at <= '9'; at++)
        fits = fits && !__builtin_mul_overflow(size, 10, &size) &&
               !__builtin_add_overflow(size, (uint64_t)(*at - '0'), &size);
    unit = *at == '\0' || at == text ? NULL : *at == 'K' ? units : strchr(units, *at);
    for (const char *u = units; unit != NULL && u <= unit; u++)
        fits = fits && !__builtin_mul_overflow(size, 1000, &size);
    if (at == text || size == 0 || !fits || (*at != '\0' && (unit == NULL || at[1] != '\0')))
        return cli_fail(args, "--%s %s: expected a number of bytes above 0, or 500k, 20M, 2G, 1T",
                        option, text);
    *out = size;
    return 0;
}

/* Options that mean nothing at another level are refused, not ignored. */
static int values_options(const cli_args *args, fb_recorder_options *out)
{
    static const char *const names[] = {"at", "path", "values-size"};
    uint64_t first, last;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (cli_has(args, names[i]) && out->level != FB_LEVEL_VALUES)
            return cli_fail(args, "--%s: keeps contents of tensors, which needs --level values",
                            names[i]);
    out->values_path = cli_value(args, "path");
    out->values_steps = cli_value(args, "at");
    if (cli_range(args, "at", &first, &last) != 0)
        return CLI_TROUBLE;
    return size_option(args, "values-size", &out->values_bytes);
}

int cli_recording_options(const cli_args *args, fb_recorder_options *out)
{
    const char *level = cli_value(args, "level");
    fb_step_list steps;
    fb_error err;

    out->level = level == NULL ? FB_LEVEL_OPS : fb_level_of(level);
    if (out->level == FB_LEVEL_NONE)
        return cli_fail(args, "--level %s: expected steps, draws, ops, sketch or values", level);
    out->ops_steps = cli_value(args, "ops-steps");
    if (fb__step_list_read(&steps, out->ops_steps, &err) != FB_OK)
        return cli_fail(args, "--ops-steps: %s", err.text);
    if (size_option(args, "max-size", &out->max_bytes) != 0)
        return CLI_TROUBLE;
    return values_options(args, out);
}
