/* SPDX-License-Identifier: Apache-2.0
 *
 * environment.c - machine, libraries, program, git commit, allow-listed variables.
 *
 * Whatever is not there is left out: recording never fails for a missing fact. Secrets in arguments
 * are masked, absolute paths shortened to their last part.
 */
#include "tracer/record/environment.h"

#include <ctype.h>
#include <gnu/libc-version.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "base/fpenv.h"
#include "tracer/record/git_commit.h"
#include "tracer/stack/stack.h"

/* --- Machine -----------------------------------------------------------------------------------
 */

static void add_cpu_model(cJSON *o)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[512];

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *value = strchr(line, ':');

        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        value += 1 + strspn(value + 1, " \t");
        value[strcspn(value, "\n")] = '\0';
        (void)cJSON_AddStringToObject(o, "cpu", value);
        break;
    }
    if (file != NULL)
        (void)fclose(file);
}

static void add_machine(cJSON *o)
{
    const long cores = sysconf(_SC_NPROCESSORS_ONLN), page = sysconf(_SC_PAGESIZE);
    struct utsname system;
    char text[32];

    add_cpu_model(o);
    if (cores > 0)
        (void)cJSON_AddNumberToObject(o, "cores", (double)cores);
    if (page > 0)
        (void)cJSON_AddNumberToObject(o, "page_bytes", (double)page);
    if (uname(&system) == 0) { /* its node name is the host: left out */
        (void)cJSON_AddStringToObject(o, "machine", system.machine);
        (void)cJSON_AddStringToObject(o, "kernel", system.release);
    }
    (void)snprintf(text, sizeof text, "0x%04x", fb_fpenv_get());
    (void)cJSON_AddStringToObject(o, "fpenv", text);
}

static void add_libraries(cJSON *o)
{
    cJSON *libraries = cJSON_AddObjectToObject(o, "libraries");
    const unsigned xxhash = XXH_versionNumber();
    char text[32];

    (void)cJSON_AddStringToObject(libraries, "glibc", gnu_get_libc_version());
    (void)cJSON_AddStringToObject(libraries, "zstd", ZSTD_versionString());
    (void)snprintf(text, sizeof text, "%u.%u.%u", xxhash / 10000, xxhash / 100 % 100, xxhash % 100);
    (void)cJSON_AddStringToObject(libraries, "xxhash", text);
    (void)cJSON_AddStringToObject(libraries, "cjson", cJSON_Version());
}

/* --- Program -----------------------------------------------------------------------------------
 */

static const char *const secret_words[] = {"secret",  "token",   "password",   "passwd",  "apikey",
                                           "api_key", "api-key", "credential", "private", "auth"};

static bool looks_secret(const char *text, size_t count)
{
    for (size_t w = 0; w < sizeof secret_words / sizeof secret_words[0]; w++) {
        const size_t length = strlen(secret_words[w]);

        for (size_t i = 0; i + length <= count; i++)
            if (strncasecmp(text + i, secret_words[w], length) == 0)
                return true;
    }
    return false;
}

/* Long, no path, letters and digits mixed: a key that was passed without a name. */
static bool looks_like_key(const char *text)
{
    size_t digits = 0, letters = 0, count = strlen(text);

    for (size_t i = 0; i < count; i++) {
        if (!isalnum((unsigned char)text[i]) && strchr("_-+=", text[i]) == NULL)
            return false;
        digits += isdigit((unsigned char)text[i]) != 0;
        letters += isalpha((unsigned char)text[i]) != 0;
    }
    return count >= 24 && digits >= 4 && letters >= 4;
}

/* "https://user:word@host/" carries a password. */
static bool has_login(const char *text)
{
    const char *host = strstr(text, "://");
    return host != NULL && strchr(host, '@') != NULL;
}

/* An argument as it may be told: "--token=***", "train.py" for an absolute path. */
static void add_argument(cJSON *list, const char *argument, bool masked)
{
    const char *value = strchr(argument, '=');
    const size_t name = value == NULL ? strlen(argument) : (size_t)(value - argument);
    const char *text = value == NULL ? argument : value + 1;
    char told[600];

    if (masked || has_login(argument) || (value == NULL && looks_like_key(argument)))
        (void)snprintf(told, sizeof told, "***");
    else if (value != NULL && (looks_secret(argument, name) || looks_like_key(text)))
        (void)snprintf(told, sizeof told, "%.*s=***", (int)(name < 500 ? name : 500), argument);
    else if (text[0] == '/' || text[0] == '~')
        (void)snprintf(told, sizeof told, "%.*s%.500s", (int)(text - argument), argument,
                       strrchr(text, '/') == NULL ? "~" : strrchr(text, '/') + 1);
    else
        (void)snprintf(told, sizeof told, "%.512s", argument);
    (void)cJSON_AddItemToArray(list, cJSON_CreateString(told));
}

static void add_arguments(cJSON *o)
{
    FILE *file = fopen("/proc/self/cmdline", "re");
    char bytes[8192];
    bool secret = false;
    cJSON *list;
    size_t count;

    if (file == NULL)
        return;
    count = fread(bytes, 1, sizeof bytes - 1, file);
    (void)fclose(file);
    bytes[count] = '\0';
    list = cJSON_AddArrayToObject(o, "argv");
    for (size_t at = 0; at < count && list != NULL; at += strlen(bytes + at) + 1) {
        const char *argument = bytes + at;
        const bool option = argument[0] == '-' && strchr(argument, '=') == NULL;

        add_argument(list, argument, secret && !option);
        secret = option && looks_secret(argument, strlen(argument));
    }
}

/* Settings that change what a run computes or how its work is shared out; nothing that names
 * people, places or keys. */
static const char *const allowed[] = {
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_LAUNCH_BLOCKING",
    "FIRSTBIT_THREADS",
    "GLIBC_TUNABLES",
    "GOTO_NUM_THREADS",
    "KMP_AFFINITY",
    "LANG",
    "LC_ALL",
    "MALLOC_ARENA_MAX",
    "MKL_CBWR",
    "MKL_DYNAMIC",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_DYNAMIC",
    "OMP_NUM_THREADS",
    "OMP_PROC_BIND",
    "OMP_SCHEDULE",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_NUM_THREADS",
    "PYTHONHASHSEED",
    "TF_DETERMINISTIC_OPS",
    "TORCH_DETERMINISTIC",
    "TZ",
};

static void add_variables(cJSON *o)
{
    cJSON *variables = cJSON_AddObjectToObject(o, "variables");

    for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++) {
        const char *value = getenv(allowed[i]);

        if (value != NULL && strlen(value) <= 256)
            (void)cJSON_AddStringToObject(variables, allowed[i], value);
    }
}

static void add_build_id(cJSON *o)
{
    char hex[2 * FB_BUILD_ID_MAX + 1];

    if (fb__stack_own_build_id(hex))
        (void)cJSON_AddStringToObject(o, "build_id", hex);
}

static void add_git(cJSON *o)
{
    fb_git_commit commit;
    cJSON *git;

    if (!fb__git_commit(&commit))
        return;
    git = cJSON_AddObjectToObject(o, "git");
    (void)cJSON_AddStringToObject(git, "commit", commit.id);
    if (commit.dirty_known)
        (void)cJSON_AddBoolToObject(git, "dirty", commit.dirty);
    else
        (void)cJSON_AddNullToObject(git, "dirty");
}

cJSON *fb__environment(void)
{
    cJSON *o = cJSON_CreateObject();

    if (o == NULL)
        return NULL;
    add_machine(o);
    add_libraries(o);
    add_build_id(o);
    add_arguments(o);
    add_git(o);
    add_variables(o);
    return o;
}
