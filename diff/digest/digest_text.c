/* SPDX-License-Identifier: Apache-2.0
 *
 * digest_text.c - a digest as lines of text, and back. Rules: docs/digest.md.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/hash.h"
#include "diff/digest/digest.h"

#define MAGIC "# firstbit digest 1"

/* --- Writing -----------------------------------------------------------------------------------
 */

static const char *hash_or_dash(char out[FB_HASH_HEX_BYTES], fb_hash hash)
{
    return fb_hash_is_zero(hash) ? "-" : fb_hash_hex(out, hash);
}

static void put_lines(FILE *out, const fb_digest *d)
{
    char hex[FB_HASH_HEX_BYTES];

    fprintf(out, "%s: what a run computed, as hashes, to commit beside its code\n", MAGIC);
    fputs("# check a new run: firstbit diff THIS-FILE NEW.fbt   (0 same, 1 different)\n", out);
    fprintf(out, "level %s\n", fb_level_name(d->level));
    fprintf(out, "steps %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", d->first_step, d->last_step,
            d->steps);
    fprintf(out, "events %" PRIu64 "\n", d->events);
    fprintf(out, "complete %s\n", d->complete ? "yes" : "no");
    fprintf(out, "contract %" PRIu64 " %s\n", d->contract, d->exact ? "exact" : "inexact");
    fprintf(out, "configuration %s\n", hash_or_dash(hex, d->configuration));
    fprintf(out, "final %s\n", hash_or_dash(hex, d->final_hash));
    for (size_t i = 0; i < d->fact_count; i++)
        fprintf(out, "environment %s\n", d->facts[i]);
    for (int c = 0; c < FB_DIGEST_CLASSES; c++)
        fprintf(out, "class %s %" PRIu64 " %s\n", fb_class_name((fb_class)c),
                d->classes[c].recorded, hash_or_dash(hex, d->classes[c].pattern));
    for (size_t i = 0; i < d->at_count; i++) {
        fprintf(out, "chain %" PRIu64, d->at[i].step);
        for (int c = 0; c < FB_DIGEST_CLASSES; c++)
            fprintf(out, " %s", hash_or_dash(hex, d->at[i].chain[c]));
        putc('\n', out);
    }
}

char *fb_digest_text(const fb_digest *digest)
{
    char *text = NULL, hex[FB_HASH_HEX_BYTES];
    size_t count = 0;
    FILE *out = open_memstream(&text, &count);
    bool failed;

    if (out == NULL)
        return NULL;
    put_lines(out, digest);
    failed = fflush(out) != 0;
    if (!failed)
        fprintf(out, "check %s\n", fb_hash_hex(hex, fb_hash_bytes(text, count)));
    failed |= fclose(out) != 0;
    if (failed || count > FB_DIGEST_BYTES_MAX) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- Reading -----------------------------------------------------------------------------------
 */

bool fb_digest_is_file(const char *path)
{
    char start[sizeof MAGIC] = "";
    struct stat st; /* a pipe would wait for its writer */
    FILE *file = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? fopen(path, "rb") : NULL;
    size_t got = 0;

    if (file != NULL) {
        got = fread(start, 1, sizeof MAGIC - 1, file);
        (void)fclose(file);
    }
    return got == sizeof MAGIC - 1 && memcmp(start, MAGIC, got) == 0;
}

/* The next word of a line, cut out; "" at its end. */
static char *word(char **line)
{
    char *start = *line, *end = start + strcspn(start, " ");

    *line = *end == '\0' ? end : end + 1;
    *end = '\0';
    return start;
}

static bool number(char **line, uint64_t *out)
{
    const char *text = word(line);
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

static bool hash(char **line, fb_hash *out)
{
    const char *text = word(line);

    *out = (fb_hash){0, 0};
    return strcmp(text, "-") == 0 || fb_hash_of_hex(out, text);
}

static bool read_class(fb_digest *d, char **line)
{
    const char *name = word(line);

    for (int c = 0; c < FB_DIGEST_CLASSES; c++)
        if (strcmp(name, fb_class_name((fb_class)c)) == 0)
            return number(line, &d->classes[c].recorded) && hash(line, &d->classes[c].pattern);
    return false;
}

static bool read_chain(fb_digest *d, char **line)
{
    fb_digest_step *step = &d->at[d->at_count];
    bool good = d->at_count < FB_DIGEST_STEPS_MAX && number(line, &step->step) &&
                (d->at_count == 0 || step->step > step[-1].step);

    for (int c = 0; good && c < FB_DIGEST_CLASSES; c++)
        good = hash(line, &step->chain[c]);
    d->at_count += good;
    return good;
}

/* Lines of words that this version does not know are left alone: later ones may add some. */
static bool read_line(fb_digest *d, char *line)
{
    const char *key = word(&line);

    if (strcmp(key, "level") == 0)
        return (d->level = fb_level_of(word(&line))) != FB_LEVEL_NONE;
    if (strcmp(key, "steps") == 0)
        return number(&line, &d->first_step) && number(&line, &d->last_step) &&
               number(&line, &d->steps) && d->first_step <= d->last_step;
    if (strcmp(key, "events") == 0)
        return number(&line, &d->events);
    if (strcmp(key, "complete") == 0)
        return d->complete = strcmp(line, "yes") == 0, true;
    if (strcmp(key, "contract") == 0)
        return number(&line, &d->contract) && (d->exact = strcmp(line, "exact") == 0, true);
    if (strcmp(key, "configuration") == 0)
        return hash(&line, &d->configuration);
    if (strcmp(key, "final") == 0)
        return hash(&line, &d->final_hash);
    if (strcmp(key, "class") == 0)
        return read_class(d, &line);
    if (strcmp(key, "chain") == 0)
        return read_chain(d, &line);
    if (strcmp(key, "environment") == 0 && d->fact_count < FB_DIGEST_FACTS_MAX)
        (void)snprintf(d->facts[d->fact_count++], sizeof d->facts[0], "%s", line);
    return true;
}

static fb_status read_lines(fb_digest *d, char *text, const char *path, fb_error *err)
{
    unsigned number_of_line = 0;
    char *line = text;

    for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        fb_hash check;

        *end = '\0';
        number_of_line++;
        if (strncmp(line, "check ", 6) == 0) {
            if (!fb_hash_of_hex(&check, line + 6) || end[1] != '\0')
                return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET, "%s: line %u: bad end of a digest",
                                path, number_of_line);
            return d->at_count > 0 ? FB_OK
                                   : fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                                              "%s: a digest without steps", path);
        }
        if (line[0] != '#' && !read_line(d, line))
            return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET, "%s: line %u: not of a digest", path,
                            number_of_line);
    }
    return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET, "%s: ends early, after line %u", path,
                    number_of_line);
}

/* Some tools end lines with CR LF when they check a file out. */
static void drop_returns(char *text)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++)
        if (from[0] != '\r' || from[1] != '\n')
            *to++ = *from;
    *to = '\0';
}

static bool is_checked(const char *text)
{
    const char *last = strstr(text, "\ncheck ");
    char hex[FB_HASH_HEX_BYTES];
    fb_hash check;

    if (last == NULL || strlen(last + 7) < 32)
        return false;
    (void)snprintf(hex, sizeof hex, "%.32s", last + 7);
    return fb_hash_of_hex(&check, hex) &&
           fb_hash_equal(check, fb_hash_bytes(text, (size_t)(last + 1 - text)));
}

fb_status fb_digest_read(fb_digest *out, const char *path, fb_error *err)
{
    char text[FB_DIGEST_BYTES_MAX + 1024]; /* the ends of lines may have grown */
    FILE *file = fopen(path, "rb");
    size_t count;

    memset(out, 0, sizeof *out);
    if (file == NULL)
        return fb__fail(err, fb__status_of_errno(errno), FB_NO_OFFSET, "%s: %s", path,
                        strerror(errno));
    count = fread(text, 1, sizeof text, file);
    (void)fclose(file);
    if (count == sizeof text)
        return fb__fail(err, FB_E_LIMIT, FB_NO_OFFSET, "%s: longer than a digest can be", path);
    text[count] = '\0';
    if (strncmp(text, MAGIC, sizeof MAGIC - 1) != 0 || strlen(text) != count)
        return fb__fail(err, FB_E_FORMAT, 0, "%s: not a digest", path);
    drop_returns(text);
    if (!is_checked(text))
        return fb__fail(err, FB_E_CORRUPT, FB_NO_OFFSET,
                        "%s: changed by hand or cut: its last line does not fit the others", path);
    return read_lines(out, text, path, err);
}
