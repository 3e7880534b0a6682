/* SPDX-License-Identifier: Apache-2.0
 *
 * train_plan.c - reads what a train command was asked for.
 */
#include "cli/train_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/machine.h"
#include "cli/output.h"

static int out_of_memory(const cli_train_plan *plan)
{
    return cli_fail(plan->args, "out of memory");
}

/* --- Names ------------------------------------------------------------------------------------ */

const char *cli_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

/* Bytes of `path` without the extension of its last component. */
static size_t stem_length(const char *path)
{
    const char *base = cli_base_name(path);
    const char *dot = strrchr(base, '.');

    return dot == NULL || dot == base ? strlen(path) : (size_t)(dot - path);
}

static int name_files(cli_train_plan *plan)
{
    const char *config = plan->args->positional[0];
    const char *output = cli_value(plan->args, "output");
    const char *base = cli_base_name(config);

    plan->folder = base == config ? strdup(".") : strndup(config, (size_t)(base - config));
    if (output != NULL)
        plan->trace = strdup(output);
    else if (asprintf(&plan->trace, "%.*s.fbt", (int)stem_length(base), base) < 0)
        plan->trace = NULL;
    if (plan->trace == NULL || plan->folder == NULL)
        return out_of_memory(plan);
    if (asprintf(&plan->checkpoints, "%.*s.ckpt", (int)stem_length(plan->trace), plan->trace) < 0) {
        plan->checkpoints = NULL;
        return out_of_memory(plan);
    }
    plan->options.folder = plan->folder;
    plan->options.checkpoint_folder = plan->checkpoints;
    return 0;
}

/* --- Configuration ---------------------------------------------------------------------------- */

/* Splits "path.to.key=VALUE"; the value may hold further signs of equality. */
static int add_set(cli_train_plan *plan, const char *text)
{
    const char *equals = strchr(text, '=');
    char *path;

    if (equals == NULL || equals == text)
        return cli_fail(plan->args, "--set %s: expected KEY=VALUE, such as optimizer.adamw.lr=1e-3",
                        text);
    path = strndup(text, (size_t)(equals - text));
    if (path == NULL)
        return out_of_memory(plan);
    plan->sets[plan->set_count++] = (fb_config_set){.path = path, .value = equals + 1};
    return 0;
}

static int add_own_set(cli_train_plan *plan, const char *path, const char *value)
{
    plan->sets[plan->set_count] = (fb_config_set){.path = strdup(path), .value = value};
    return plan->sets[plan->set_count++].path == NULL ? out_of_memory(plan) : 0;
}

static int read_sets(cli_train_plan *plan)
{
    enum { OWN = 3 }; /* --steps, two files of --data */
    size_t at = 0;
    const char *text;

    plan->sets = calloc(plan->args->given_count + OWN, sizeof *plan->sets);
    if (plan->sets == NULL)
        return out_of_memory(plan);
    while ((text = cli_next_value(plan->args, "set", &at)) != NULL)
        if (add_set(plan, text) != 0)
            return CLI_TROUBLE;
    text = cli_value(plan->args, "steps");
    if (text != NULL) {
        uint64_t steps;
        if (cli_number(plan->args, "steps", 1, INT32_MAX, &steps) != 0 ||
            add_own_set(plan, "steps", text) != 0)
            return CLI_TROUBLE;
    }
    return 0;
}

static int read_config(cli_train_plan *plan)
{
    fb_error err;
    const fb_status status =
        fb_config_read(&plan->config, plan->args->positional[0], plan->sets, plan->set_count, &err);

    return status == FB_OK ? 0 : cli_fail_error(plan->args, &err);
}

/* A path as JSON text, so that one which looks like a number stays a path. In a folder, the file of
 * the configured name. */
static char *path_text(const char *path, bool folder, const char *configured)
{
    char *whole = NULL, *text = NULL;
    cJSON *string;

    if (!folder)
        whole = strdup(path);
    else if (asprintf(&whole, "%s/%s", path, cli_base_name(configured)) < 0)
        whole = NULL;
    string = whole == NULL ? NULL : cJSON_CreateString(whole);
    if (string != NULL)
        text = cJSON_PrintUnformatted(string);
    cJSON_Delete(string);
    free(whole);
    return text;
}

/* --data: a file in place of the configured one, or a folder that holds files of its names. The
 * kind of data is only known from the configuration, which is read again with the new paths. */
static int read_data_option(cli_train_plan *plan)
{
    static const struct {
        const char *path, *labels;
    } keys[] = {
        [FB_DATA_TEXT] = {"data.text", NULL},
        [FB_DATA_TOKENS] = {"data.tokens", NULL},
        [FB_DATA_IDX] = {"data.idx.images", "data.idx.labels"},
        [FB_DATA_NPY] = {"data.npy.inputs", "data.npy.targets"},
    };
    const char *path = cli_value(plan->args, "data");
    const fb_data_config *data = &plan->config.data;
    struct stat info;
    bool folder;

    if (path == NULL)
        return 0;
    if (stat(path, &info) != 0)
        return cli_fail(plan->args, "--data: %s: %s", path, strerror(errno));
    folder = S_ISDIR(info.st_mode);
    if (!folder && keys[data->type].labels != NULL)
        return cli_fail(plan->args, "--data: %s: expected a folder with %s and %s", path,
                        cli_base_name(data->path), cli_base_name(data->labels));
    plan->data[0] = path_text(path, folder, data->path);
    if (keys[data->type].labels != NULL)
        plan->data[1] = path_text(path, folder, data->labels);
    if (plan->data[0] == NULL || (keys[data->type].labels != NULL && plan->data[1] == NULL))
        return out_of_memory(plan);
    if (add_own_set(plan, keys[data->type].path, plan->data[0]) != 0 ||
        (keys[data->type].labels != NULL &&
         add_own_set(plan, keys[data->type].labels, plan->data[1]) != 0))
        return CLI_TROUBLE;
    fb_config_free(&plan->config);
    plan->config = (fb_config){0};
    return read_config(plan);
}

static int read_faults(cli_train_plan *plan)
{
    size_t at = 0;
    const char *spec;
    fb_error err;

    plan->faults = calloc(plan->args->given_count + 1, sizeof *plan->faults);
    if (plan->faults == NULL)
        return out_of_memory(plan);
    while ((spec = cli_next_value(plan->args, "inject", &at)) != NULL)
        if (fb_fault_parse(&plan->faults[plan->fault_count++], spec, &err) != FB_OK)
            return cli_fail(plan->args, "--inject: %s", err.text);
    plan->options.faults = plan->faults;
    plan->options.fault_count = plan->fault_count;
    return 0;
}

static int read_override(cli_train_plan *plan)
{
    const char *spec = cli_value(plan->args, "override");
    fb_error err;

    if (spec == NULL)
        return 0;
    if (fb_override_parse(&plan->override, spec, &err) != FB_OK)
        return cli_fail(plan->args, "--override: %s", err.text);
    plan->options.override = &plan->override;
    return 0;
}

/* --- Together --------------------------------------------------------------------------------- */

int cli_train_plan_read(cli_train_plan *plan, const cli_args *args)
{
    *plan = (cli_train_plan){.args = args, .options = {.size = sizeof plan->options}};
    if (name_files(plan) != 0 || read_sets(plan) != 0 || read_faults(plan) != 0 ||
        read_override(plan) != 0 || read_config(plan) != 0 || read_data_option(plan) != 0 ||
        cli_threads(args, &plan->options.threads) != 0 ||
        cli_kernels(args, plan->options.threads, &plan->options.kernels) != 0)
        return CLI_TROUBLE;
    return 0;
}

void cli_train_plan_free(cli_train_plan *plan)
{
    fb_config_free(&plan->config);
    for (size_t i = 0; i < plan->set_count; i++)
        free((char *)plan->sets[i].path);
    free(plan->sets);
    free(plan->faults);
    free(plan->trace);
    free(plan->checkpoints);
    free(plan->folder);
    cJSON_free(plan->data[0]);
    cJSON_free(plan->data[1]);
}
