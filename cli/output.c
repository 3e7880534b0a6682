/* SPDX-License-Identifier: Apache-2.0
 *
 * output.c - text, JSON, progress and trouble of the subcommands.
 */
#include "cli/output.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "engine/files/json.h"

/* --- Trouble ---------------------------------------------------------------------------------- */

int cli_fail(const cli_args *args, const char *format, ...)
{
    char text[2048];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);

    fprintf(stderr, "firstbit %s: ", args->command->name);
    cli_put(stderr, text);
    fputc('\n', stderr);
    return CLI_TROUBLE;
}

int cli_fail_error(const cli_args *args, const fb_error *err)
{
    return cli_fail(args, "%s", err->text);
}

/* --- Text ------------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 sequence at s, and the character it encodes; 0 where it is broken: a stray or
 * missing continuation byte, an overlong form, a surrogate, a character above U+10FFFF. */
static size_t utf8_length(const unsigned char *s, uint32_t *character)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t n = s[0] < 0x80   ? 1
                     : s[0] < 0xc0 ? 0
                     : s[0] < 0xe0 ? 2
                     : s[0] < 0xf0 ? 3
                     : s[0] < 0xf8 ? 4
                                   : 0;
    if (n <= 1) {
        *character = s[0];
        return n;
    }

    uint32_t c = s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) /* the final zero stops here too */
            return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    *character = c;
    return c < smallest[n] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff ? 0 : n;
}

/* Characters that a terminal acts on, or that reorder or hide the text around them. */
static bool is_active(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x061c ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
           (c >= 0xe0000 && c <= 0xe007f);
}

/* Escapes the character at *text into at most 17 bytes and moves *text past it. */
static size_t escape_one(char out[17], const unsigned char **text)
{
    uint32_t character = 0;
    const size_t n = utf8_length(*text, &character);
    size_t used = 0;

    if (n > 0 && !is_active(character)) {
        memcpy(out, *text, n);
        used = n;
        *text += n;
    } else {
        for (size_t i = 0; i < (n > 0 ? n : 1); i++)
            used += (size_t)sprintf(out + used, "\\x%02x", *(*text)++);
    }
    return used;
}

const char *cli_escape(char *out, size_t size, const char *text)
{
    const unsigned char *at = (const unsigned char *)(text != NULL ? text : "");
    char piece[17];
    size_t used = 0;

    while (*at != '\0') {
        const size_t n = escape_one(piece, &at);
        if (used + n >= size)
            break;
        memcpy(out + used, piece, n);
        used += n;
    }
    if (size > 0)
        out[used] = '\0';
    return out;
}

void cli_put(FILE *out, const char *text)
{
    const unsigned char *at = (const unsigned char *)(text != NULL ? text : "");
    char piece[17];

    while (*at != '\0') {
        const size_t n = escape_one(piece, &at);
        fwrite(piece, 1, n, out);
    }
}

const char *cli_count(char out[32], uint64_t n)
{
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%" PRIu64, n);
    size_t used = 0;

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = '\0';
    return out;
}

const char *cli_bytes(char out[32], uint64_t n)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)n / 1000;
    size_t unit = 0;

    if (n < 1000) {
        snprintf(out, 32, "%" PRIu64 " bytes", n);
        return out;
    }
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1000;
        unit++;
    }
    snprintf(out, 32, value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

const char *cli_hash(char out[33], fb_hash hash)
{
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, hash.hi, hash.lo);
    return out;
}

/* --- JSON ------------------------------------------------------------------------------------- */

/* cJSON says nothing when a member has no room; this does. */
static bool json_memory_out;

static void *json_malloc(size_t size)
{
    void *block = malloc(size);

    json_memory_out |= block == NULL;
    return block;
}

cJSON *cli_json_object(void)
{
    cJSON_Hooks hooks = {json_malloc, free};
    cJSON *object;

    cJSON_InitHooks(&hooks);
    object = cJSON_CreateObject();

    cJSON_AddNumberToObject(object, "schema", 1);
    return object;
}

void cli_json_count(cJSON *object, const char *key, uint64_t n)
{
    cJSON_AddNumberToObject(object, key, (double)n);
}

void cli_json_u64(cJSON *object, const char *key, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, n);
    cJSON_AddStringToObject(object, key, text);
}

void cli_json_real(cJSON *object, const char *key, double x)
{
    if (isnan(x))
        cJSON_AddStringToObject(object, key, "nan");
    else if (isinf(x))
        cJSON_AddStringToObject(object, key, x > 0 ? "inf" : "-inf");
    else
        cJSON_AddNumberToObject(object, key, x);
}

void cli_json_text(cJSON *object, const char *key, const char *text)
{
    if (text != NULL)
        cJSON_AddStringToObject(object, key, text);
    else
        cJSON_AddNullToObject(object, key);
}

void cli_json_hash(cJSON *object, const char *key, fb_hash hash)
{
    char text[33];

    cJSON_AddStringToObject(object, key, cli_hash(text, hash));
}

void cli_json_bits(cJSON *object, const char *key, float x)
{
    char text[16];

    snprintf(text, sizeof text, "0x%08" PRIx32, fb_float_bits(x));
    cJSON_AddStringToObject(object, key, text);
}

int cli_json_print(const cli_args *args, cJSON *object)
{
    char *text = fb__json_print(object);

    cJSON_Delete(object);
    if (text == NULL || json_memory_out) {
        free(text);
        return cli_fail(args, "out of memory");
    }
    puts(text);
    free(text);
    return 0;
}

/* --- Progress --------------------------------------------------------------------------------- */

static double seconds_between(const struct timespec *from, const struct timespec *to)
{
    return (double)(to->tv_sec - from->tv_sec) + 1e-9 * (double)(to->tv_nsec - from->tv_nsec);
}

cli_progress cli_progress_start(void)
{
    cli_progress progress = {.on = isatty(STDERR_FILENO) == 1};

    clock_gettime(CLOCK_MONOTONIC, &progress.start);
    return progress;
}

double cli_progress_seconds(const cli_progress *progress)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return seconds_between(&progress->start, &now);
}

const char *cli_progress_left(cli_progress *progress, uint64_t done, uint64_t total)
{
    const double passed = cli_progress_seconds(progress);
    const double left = done == 0 ? 0 : passed * ((double)total - (double)done) / (double)done;
    const bool early = passed < 1 || done == 0 || done > total;

    if (early)
        progress->left[0] = '\0';
    else if (left < 90)
        (void)snprintf(progress->left, sizeof progress->left, ", %.0f s left", left);
    else if (left < 5400)
        (void)snprintf(progress->left, sizeof progress->left, ", %.0f min left", left / 60);
    else
        (void)snprintf(progress->left, sizeof progress->left, ", %.1f h left", left / 3600);
    return progress->left;
}

bool cli_progress_due(cli_progress *progress)
{
    struct timespec now;

    if (!progress->on)
        return false;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (progress->visible && seconds_between(&progress->last, &now) < 0.1)
        return false;
    progress->last = now;
    return true;
}

void cli_progress_show(cli_progress *progress, const char *format, ...)
{
    char text[80]; /* one line of the narrowest usual terminal, so that \r goes back to its start */
    va_list list;

    if (!progress->on)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    fputs("\r\033[K", stderr);
    cli_put(stderr, text);
    fflush(stderr);
    progress->visible = true;
}

void cli_progress_end(cli_progress *progress)
{
    if (progress->visible)
        fputs("\r\033[K", stderr);
    progress->visible = false;
}

void cli_progress_bytes(void *argument, uint64_t done, uint64_t total)
{
    cli_progress *progress = argument;
    char a[32], b[32];

    if (cli_progress_due(progress))
        cli_progress_show(progress, "%s of %s%s", cli_bytes(a, done), cli_bytes(b, total),
                          cli_progress_left(progress, done, total));
}

/* --- Ctrl-C ----------------------------------------------------------------------------------- */

static volatile sig_atomic_t caught;

static void (*limit_before)(int) = SIG_DFL;

void cli_survive_limits(void)
{
    limit_before = signal(SIGXFSZ, SIG_IGN);
}

void cli_restore_limits(void)
{
    (void)signal(SIGXFSZ, limit_before);
}

static void remember_signal(int number)
{
    caught = number;
}

void cli_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = remember_signal, .sa_flags = (int)SA_RESETHAND};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return caught != 0;
}

int cli_interrupt_signal(void)
{
    return caught;
}
