/* SPDX-License-Identifier: Apache-2.0
 *
 * args.c - parses the arguments of a subcommand against its table of options.
 */
#include "cli/args.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

enum { SUGGEST_WORD_MAX = 32 };

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t d[SUGGEST_WORD_MAX + 1][SUGGEST_WORD_MAX + 1];
    const size_t m = strlen(a), n = strlen(b);

    if (m > SUGGEST_WORD_MAX || n > SUGGEST_WORD_MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= m; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= n; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= m; i++) {
        for (size_t j = 1; j <= n; j++) {
            const size_t replace = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            d[i][j] = smaller(replace, smaller(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = smaller(d[i][j], d[i - 2][j - 2] + 1);
        }
    }
    return d[m][n];
}

const char *cli_suggest(const char *word, const char *const *list, size_t count)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX;

    for (size_t i = 0; i < count; i++) {
        const size_t distance = edit_distance(word, list[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = list[i];
        }
    }
    /* One edit in a short word, two in an ordinary one, three in a long one. */
    const size_t length = strlen(word);
    return best_distance <= (length < 4 ? 1u : length < 9 ? 2u : 3u) ? best : NULL;
}

static const cli_option *find_option(const cli_command *command, const char *name, size_t length)
{
    for (const cli_option *o = command->options; o != NULL && o->name != NULL; o++) {
        if (strlen(o->name) == length && memcmp(o->name, name, length) == 0)
            return o;
    }
    return NULL;
}

static const cli_option *find_letter(const cli_command *command, char letter)
{
    for (const cli_option *o = command->options; o != NULL && o->name != NULL; o++) {
        if (o->letter == letter)
            return o;
    }
    return NULL;
}

static int unknown_option(const cli_args *args, const char *name, size_t length)
{
    enum { LIST_MAX = 64 };
    const char *list[LIST_MAX] = {"help"};
    size_t count = 1;
    char word[SUGGEST_WORD_MAX + 1];

    for (const cli_option *o = args->command->options; o != NULL && o->name != NULL; o++) {
        if (count < LIST_MAX)
            list[count++] = o->name;
    }
    snprintf(word, sizeof word, "%.*s", (int)smaller(length, SUGGEST_WORD_MAX), name);

    const char *close = cli_suggest(word, list, count);
    if (close != NULL)
        return cli_fail(args, "unknown option --%.*s (did you mean --%s?)", (int)length, name,
                        close);
    return cli_fail(args, "unknown option --%.*s (firstbit %s --help lists them)", (int)length,
                    name, args->command->name);
}

static bool given_before(const cli_args *args, const cli_option *option)
{
    for (size_t i = 0; i < args->given_count; i++) {
        if (args->given[i].option == option)
            return true;
    }
    return false;
}

static int add_given(cli_args *args, const cli_option *option, const char *value)
{
    if (!option->repeatable && given_before(args, option))
        return cli_fail(args, "--%s is given twice", option->name);
    args->given[args->given_count++] = (cli_given){option, value};
    return 0;
}

/* "--name", "--name=value" or "--name value"; *i is moved past a value that is a word of its own.
 */
static int parse_long(cli_args *args, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2;
    const char *equals = strchr(name, '=');
    const size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const cli_option *option = find_option(args->command, name, length);

    if (option == NULL && length == 4 && memcmp(name, "help", 4) == 0) {
        args->help = true;
        return 0;
    }
    if (option == NULL)
        return unknown_option(args, name, length);
    if (option->value == NULL) {
        if (equals != NULL)
            return cli_fail(args, "--%s takes no value", option->name);
        return add_given(args, option, NULL);
    }
    if (equals != NULL)
        return add_given(args, option, equals + 1);
    if (*i + 1 >= argc)
        return cli_fail(args, "--%s needs a value: --%s %s", option->name, option->name,
                        option->value);
    return add_given(args, option, argv[++*i]);
}

/* "-o value" or "-ovalue". Letters do not bundle. */
static int parse_letter(cli_args *args, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    const cli_option *option = find_letter(args->command, word[1]);

    if (option == NULL && strcmp(word, "-h") == 0) {
        args->help = true;
        return 0;
    }
    if (option == NULL || (option->value == NULL && word[2] != '\0'))
        return cli_fail(args, "unknown option %s (firstbit %s --help lists them)", word,
                        args->command->name);
    if (option->value == NULL)
        return add_given(args, option, NULL);
    if (word[2] != '\0')
        return add_given(args, option, word + 2);
    if (*i + 1 >= argc)
        return cli_fail(args, "-%c needs a value: -%c %s", option->letter, option->letter,
                        option->value);
    return add_given(args, option, argv[++*i]);
}

static int check_positional(const cli_args *args)
{
    const cli_command *command = args->command;

    if (args->positional_count > command->positional_max)
        return cli_fail(args, "unexpected argument %s (firstbit %s --help shows the usage)",
                        args->positional[command->positional_max], command->name);
    if (args->positional_count < command->positional_min)
        return cli_fail(args, "missing argument (firstbit %s --help shows the usage)",
                        command->name);
    return 0;
}

int cli_args_parse(cli_args *out, const cli_command *command, int argc, char **argv)
{
    bool options_ended = false;

    *out = (cli_args){.command = command};
    out->positional = calloc((size_t)argc + 1, sizeof *out->positional);
    out->given = calloc((size_t)argc + 1, sizeof *out->given);
    if (out->positional == NULL || out->given == NULL)
        return cli_fail(out, "out of memory");

    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        int failed = 0;

        if (options_ended || word[0] != '-' || word[1] == '\0') {
            out->positional[out->positional_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            options_ended = true;
            out->positional_options = out->positional_count;
        } else if (word[1] == '-') {
            failed = parse_long(out, argc, argv, &i);
        } else {
            failed = parse_letter(out, argc, argv, &i);
        }
        if (failed != 0)
            return failed;
        if (out->help)
            return 0;
    }
    if (!options_ended)
        out->positional_options = out->positional_count;
    return check_positional(out);
}

void cli_args_free(cli_args *args)
{
    free(args->positional);
    free(args->given);
    *args = (cli_args){0};
}

const char *cli_next_value(const cli_args *args, const char *option, size_t *at)
{
    const cli_option *wanted = find_option(args->command, option, strlen(option));

    assert(wanted != NULL && wanted->value != NULL);
    while (*at < args->given_count) {
        const cli_given *given = &args->given[(*at)++];
        if (given->option == wanted)
            return given->value;
    }
    return NULL;
}

const char *cli_value(const cli_args *args, const char *option)
{
    const char *last = NULL, *value;
    size_t at = 0;

    while ((value = cli_next_value(args, option, &at)) != NULL)
        last = value;
    return last;
}

bool cli_has(const cli_args *args, const char *option)
{
    const cli_option *wanted = find_option(args->command, option, strlen(option));

    assert(wanted != NULL);
    return given_before(args, wanted);
}

/* Digits up to `end` as a number; false where there are none, others, or too many. */
static bool parse_u64(const char *text, const char *end, uint64_t *out)
{
    uint64_t n = 0;

    if (text == end)
        return false;
    for (const char *c = text; c != end; c++) {
        if (*c < '0' || *c > '9')
            return false;
        const uint64_t digit = (uint64_t)(*c - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    return true;
}

int cli_number(const cli_args *args, const char *option, uint64_t min, uint64_t max, uint64_t *out)
{
    const char *text = cli_value(args, option);
    uint64_t n = 0;

    if (text == NULL)
        return 0;
    if (parse_u64(text, text + strlen(text), &n) && n >= min && n <= max) {
        *out = n;
        return 0;
    }
    if (max == UINT64_MAX)
        return cli_fail(args, "--%s: expected an integer of at least %" PRIu64 ", got \"%s\"",
                        option, min, text);
    return cli_fail(args, "--%s: expected an integer from %" PRIu64 " to %" PRIu64 ", got \"%s\"",
                    option, min, max, text);
}

int cli_range(const cli_args *args, const char *option, uint64_t *first, uint64_t *last)
{
    const char *text = cli_value(args, option);
    uint64_t from = 0, to = 0;

    if (text == NULL)
        return 0;

    const char *end = text + strlen(text);
    const char *colon = strchr(text, ':');
    if (!parse_u64(text, colon != NULL ? colon : end, &from) ||
        !parse_u64(colon != NULL ? colon + 1 : text, end, &to) || from > to)
        return cli_fail(args, "--%s: expected N or N:M with N <= M, got \"%s\"", option, text);
    *first = from;
    *last = to;
    return 0;
}

int cli_choice(const cli_args *args, const char *option, const char *const *words, size_t count,
               size_t *out)
{
    const char *text = cli_value(args, option);
    char list[256] = "";
    size_t used = 0;

    if (text == NULL)
        return 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return 0;
        }
        const int n =
            snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", words[i]);
        used = smaller(used + (n > 0 ? (size_t)n : 0), sizeof list - 1);
    }
    return cli_fail(args, "--%s: expected one of %s; got \"%s\"", option, list, text);
}
