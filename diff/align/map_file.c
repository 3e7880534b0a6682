/* SPDX-License-Identifier: Apache-2.0
 *
 * map_file.c - reads a map of names and applies it.
 */
#include "diff/align/map_file.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum { LINE_MAX_BYTES = 4096, GROUPS = 10 };

typedef struct rule {
    regex_t pattern;
    char *replacement;
} rule;

struct fb__map {
    rule *rules;
    size_t count;
};

static char *trim(char *text)
{
    size_t n;

    text += strspn(text, " \t\r\n");
    n = strlen(text);
    while (n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL)
        text[--n] = '\0';
    return text;
}

static fb_status refuse(fb_error *err, const char *path, size_t line, const char *why)
{
    return fb__fail(err, FB_E_FORMAT, FB_NO_OFFSET, "%s: line %zu: %s", path, line, why);
}

/* `text` is one line, trimmed and not empty. */
static fb_status add_rule(fb__map *map, char *text, const char *path, size_t line, fb_error *err)
{
    char *arrow = strstr(text, "->"), whole[LINE_MAX_BYTES + 8], why[128];
    rule *grown, *r;
    int code;

    if (arrow == NULL)
        return refuse(err, path, line, "expected PATTERN -> REPLACEMENT");
    *arrow = '\0';
    if (map->count == FB__MAP_LINES_MAX)
        return refuse(err, path, line, "too many lines");
    grown = realloc(map->rules, (map->count + 1) * sizeof *grown);
    if (grown == NULL)
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    map->rules = grown;
    r = &grown[map->count];
    (void)snprintf(whole, sizeof whole, "%s", trim(text));
    code = regcomp(&r->pattern, whole, REG_EXTENDED);
    if (code != 0) {
        (void)regerror(code, &r->pattern, why, sizeof why);
        return refuse(err, path, line, why);
    }
    r->replacement = strdup(trim(arrow + 2));
    if (r->replacement == NULL) {
        regfree(&r->pattern);
        return fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    }
    map->count++;
    return FB_OK;
}

static fb_status read_lines(fb__map *map, FILE *file, const char *path, fb_error *err)
{
    char text[LINE_MAX_BYTES];

    for (size_t line = 1; fgets(text, sizeof text, file) != NULL; line++) {
        char *plain = trim(text);
        fb_status status;

        if (strlen(plain) + 2 >= sizeof text)
            return refuse(err, path, line, "too long");
        if (plain[0] == '\0' || plain[0] == '#')
            continue;
        status = add_rule(map, plain, path, line, err);
        if (status != FB_OK)
            return status;
    }
    return ferror(file) ? fb__fail(err, FB_E_IO, FB_NO_OFFSET, "%s: %s", path, strerror(errno))
                        : FB_OK;
}

fb_status fb__map_read(fb__map **out, const char *path, fb_error *err)
{
    FILE *file = fopen(path, "re");
    fb_status status;

    *out = NULL;
    if (file == NULL)
        return fb__fail(err, errno == ENOENT ? FB_E_NOT_FOUND : FB_E_IO, FB_NO_OFFSET, "%s: %s",
                        path, strerror(errno));
    *out = calloc(1, sizeof **out);
    status = *out != NULL ? read_lines(*out, file, path, err)
                          : fb__fail(err, FB_E_MEMORY, FB_NO_OFFSET, "%s: out of memory", path);
    (void)fclose(file);
    if (status != FB_OK) {
        fb__map_free(*out);
        *out = NULL;
    }
    return status;
}

void fb__map_free(fb__map *map)
{
    if (map == NULL)
        return;
    for (size_t i = 0; i < map->count; i++) {
        regfree(&map->rules[i].pattern);
        free(map->rules[i].replacement);
    }
    free(map->rules);
    free(map);
}

/* Puts the groups of a match in place of \1 to \9. */
static bool replace(char out[FB_NAME_MAX + 1], const char *replacement, const char *path,
                    const regmatch_t groups[GROUPS])
{
    size_t used = 0;

    for (const char *c = replacement; *c != '\0'; c++) {
        const char *piece = c;
        size_t length = 1;

        if (c[0] == '\\' && c[1] >= '1' && c[1] <= '9') {
            const regmatch_t *g = &groups[*++c - '0'];

            piece = g->rm_so >= 0 ? path + g->rm_so : path;
            length = g->rm_so >= 0 ? (size_t)(g->rm_eo - g->rm_so) : 0;
        }
        if (used + length > FB_NAME_MAX)
            return false;
        memcpy(out + used, piece, length);
        used += length;
    }
    out[used] = '\0';
    return true;
}

bool fb__map_apply(char out[FB_NAME_MAX + 1], const fb__map *map, const char *path)
{
    for (size_t i = 0; i < map->count; i++) {
        regmatch_t groups[GROUPS];

        if (regexec(&map->rules[i].pattern, path, GROUPS, groups, 0) == 0 && groups[0].rm_so == 0 &&
            path[groups[0].rm_eo] == '\0')
            return replace(out, map->rules[i].replacement, path, groups);
    }
    return false;
}
