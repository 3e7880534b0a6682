/* SPDX-License-Identifier: Apache-2.0
 *
 * family.c - a folder in which the processes of a recorded program meet, and the trace that links
 * theirs.
 */
#include "cli/family.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli/output.h"
#include "firstbit/recorder.h"
#include "tracer/record/environment.h"

static bool make_folder(char *out, size_t size)
{
    const char *place = getenv("TMPDIR");
    const int length = snprintf(out, size, "%s/firstbit-XXXXXX", place == NULL ? "/tmp" : place);

    if (length > 0 && (size_t)length < size && mkdtemp(out) != NULL)
        return true;
    (void)snprintf(out, size, "/tmp/firstbit-XXXXXX");
    return mkdtemp(out) != NULL;
}

/* The rank that a launcher gave to this very process: none of the program's. The names are those of
 * _follow.py. */
static bool set_own_rank(void)
{
    static const char *const names[] = {"RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);
        char told[64];

        if (value == NULL)
            continue;
        (void)snprintf(told, sizeof told, "%s=%s", names[i], value);
        return setenv("FIRSTBIT_RANK", told, 1) == 0;
    }
    return unsetenv("FIRSTBIT_RANK") == 0;
}

bool cli_family_begin(cli_family *out)
{
    char id[FB_HASH_HEX_BYTES];

    *out = (cli_family){.folder = ""};
    if (getrandom(&out->id, sizeof out->id, 0) != (ssize_t)sizeof out->id)
        return false;
    if (!make_folder(out->folder, sizeof out->folder)) {
        out->folder[0] = '\0';
        return false;
    }
    return setenv("FIRSTBIT_FAMILY", out->folder, 1) == 0 &&
           setenv("FIRSTBIT_ID", fb_hash_hex(id, out->id), 1) == 0 && set_own_rank();
}

/* Removes the folder with its files; whether one of them says that a trace was begun. */
static bool take_away(const char *folder)
{
    DIR *files = opendir(folder);
    bool begun = false;

    for (const struct dirent *file; files != NULL && (file = readdir(files)) != NULL;) {
        begun |= strchr(file->d_name, '#') != NULL;
        if (file->d_name[0] != '.')
            (void)unlinkat(dirfd(files), file->d_name, 0);
    }
    if (files != NULL)
        (void)closedir(files);
    (void)rmdir(folder);
    return begun;
}

/* The environment of this process, whose arguments are the program's from "--" on. NULL when memory
 * is out. */
static char *header_text(void)
{
    cJSON *document = cJSON_CreateObject(), *found = fb__environment();
    cJSON *argv = cJSON_GetObjectItemCaseSensitive(found, "argv");
    char *text = NULL;
    bool dropped = false;

    while (cJSON_GetArraySize(argv) > 0 && !dropped) {
        const char *word = cJSON_GetStringValue(cJSON_GetArrayItem(argv, 0));

        dropped = word != NULL && strcmp(word, "--") == 0;
        cJSON_DeleteItemFromArray(argv, 0);
    }
    if (document != NULL && found != NULL &&
        cJSON_AddStringToObject(document, "framework", "torch") != NULL &&
        cJSON_AddItemToObject(document, "environment", found)) {
        found = NULL;
        text = cJSON_PrintUnformatted(document);
    }
    cJSON_Delete(found);
    cJSON_Delete(document);
    return text;
}

static bool write_main(const cli_family *family, const cli_args *args, const char *trace)
{
    char *header = header_text();
    const fb_recorder_options options = {
        .size = sizeof options, .header = header, .no_stacks = true, .id = family->id};
    fb_recorder *recorder = NULL;
    fb_error err = {.text = "out of memory"};
    const bool done = header != NULL &&
                      fb_recorder_open(&recorder, trace, &options, &err) == FB_OK &&
                      fb_recorder_close(recorder, &err) == FB_OK;

    free(header);
    if (!done)
        (void)cli_fail(args, "%s", err.text);
    return done;
}

void cli_family_end(cli_family *family, const cli_args *args, const char *trace, bool *recorded)
{
    const bool begun = family->folder[0] != '\0' && take_away(family->folder);

    if (begun && !*recorded)
        *recorded = write_main(family, args, trace);
    family->folder[0] = '\0';
}
