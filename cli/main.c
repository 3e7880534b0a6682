/* SPDX-License-Identifier: Apache-2.0
 *
 * main.c - the firstbit command: finds the subcommand, parses its arguments, runs it, and sees that
 * everything that it printed arrived.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/command.h"
#include "cli/output.h"

/* FIRSTBIT_COMMANDS is X(train) X(show) ...: the list of cli/CMakeLists.txt. */
#define X(name) extern const cli_command cli_##name;
FIRSTBIT_COMMANDS
#undef X

static const cli_command *const commands[] = {
#define X(name) &cli_##name,
    FIRSTBIT_COMMANDS
#undef X
        NULL,
};

static const cli_command *find_command(const char *name)
{
    for (const cli_command *const *c = commands; *c != NULL; c++) {
        if (strcmp((*c)->name, name) == 0)
            return *c;
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[sizeof commands / sizeof commands[0]];
    size_t count = 0;

    for (const cli_command *const *c = commands; *c != NULL; c++)
        names[count++] = (*c)->name;
    names[count++] = "help"; /* in the place of the final NULL */

    const char *close = cli_suggest(name, names, count);
    fputs("firstbit: unknown command ", stderr);
    cli_put(stderr, name);
    if (close != NULL)
        fprintf(stderr, " (did you mean %s?)\n", close);
    else
        fputs(" (firstbit --help lists them)\n", stderr);
    return CLI_TROUBLE;
}

static void print_overview(FILE *out)
{
    fputs("firstbit: the first bit where two machine-learning runs part ways, and why\n"
          "\n"
          "usage: firstbit COMMAND [ARGUMENT]...\n"
          "\n",
          out);
    for (const cli_command *const *c = commands; *c != NULL; c++)
        fprintf(out, "  %-9s %s\n", (*c)->name, (*c)->summary);
    fputs("\n"
          "firstbit COMMAND --help explains a command; firstbit --version says which it is.\n"
          "Exit status: 0 same, verified or done; 1 different; 2 trouble; 3 undecidable.\n",
          out);
}

/* Prints `text` with every line after the first indented by `indent` spaces. */
static void print_indented(FILE *out, const char *text, int indent)
{
    for (const char *newline; (newline = strchr(text, '\n')) != NULL; text = newline + 1)
        fprintf(out, "%.*s\n%*s", (int)(newline - text), text, indent, "");
    fputs(text, out);
}

/* Bytes of the first word of a synopsis; a bracket with all that is in it is one word. */
static size_t word_length(const char *text)
{
    size_t n = 0;
    int depth = 0;

    for (; text[n] != '\0' && (depth > 0 || (text[n] != ' ' && text[n] != '\n')); n++)
        depth += (text[n] == '[') - (text[n] == ']');
    return n;
}

/* "usage: firstbit NAME SYNOPSIS", broken between words at 80 columns. */
static void print_usage(FILE *out, const cli_command *command)
{
    const size_t indent = strlen("usage: firstbit ") + strlen(command->name);
    size_t column = indent;

    fprintf(out, "usage: firstbit %s", command->name);
    for (const char *word = command->synopsis; *word != '\0';) {
        const size_t n = word_length(word);
        if (column + 1 + n > 80) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        }
        fprintf(out, " %.*s", (int)n, word);
        column += 1 + n;
        word += n + (word[n] != '\0');
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const cli_option *option)
{
    enum { HELP_COLUMN = 24 };
    char name[64];

    snprintf(name, sizeof name, "%c%c%c --%s%s%s", option->letter ? '-' : ' ',
             option->letter ? option->letter : ' ', option->letter ? ',' : ' ', option->name,
             option->value != NULL ? " " : "", option->value != NULL ? option->value : "");
    if (strlen(name) + 2 >= HELP_COLUMN - 1)
        fprintf(out, "  %s\n%*s", name, HELP_COLUMN, "");
    else
        fprintf(out, "  %-*s", HELP_COLUMN - 2, name);
    print_indented(out, option->help, HELP_COLUMN);
    fputc('\n', out);
}

void cli_print_help(FILE *out, const cli_command *command)
{
    static const cli_option help = {"help", 'h', NULL, "print this text", false};

    fprintf(out, "firstbit %s: %s\n\n", command->name, command->summary);
    print_usage(out, command);
    fputc('\n', out);
    for (const cli_option *o = command->options; o != NULL && o->name != NULL; o++)
        print_option(out, o);
    print_option(out, &help);
    if (command->details != NULL)
        fprintf(out, "\n%s", command->details);
}

/* Results that did not reach stdout (a full disk) are trouble, whatever the command found; a
 * command in trouble has said so. */
static int flush_results(const char *command, int status)
{
    const bool failed_before = ferror(stdout) != 0;

    errno = 0;
    if ((fflush(stdout) == 0 && !failed_before) || status == CLI_TROUBLE)
        return status;
    /* Where an earlier write failed, its reason is gone. */
    fprintf(stderr, "firstbit%s%s: cannot write standard output%s%s\n", command[0] ? " " : "",
            command, errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    return CLI_TROUBLE;
}

static int run_command(const cli_command *command, int argc, char **argv)
{
    cli_args args;
    int status = cli_args_parse(&args, command, argc, argv);

    if (status == 0 && args.help)
        cli_print_help(stdout, command);
    else if (status == 0)
        status = command->run(&args);
    cli_args_free(&args);
    status = flush_results(command->name, status);

    /* Whoever started us learns of the signal as if it had not been caught. */
    if (cli_interrupted()) {
        signal(cli_interrupt_signal(), SIG_DFL);
        raise(cli_interrupt_signal());
    }
    return status;
}

static int help_command(int argc, char **argv)
{
    if (argc < 1) {
        print_overview(stdout);
        return flush_results("help", CLI_SAME);
    }

    const cli_command *command = find_command(argv[0]);
    if (command == NULL)
        return unknown_command(argv[0]);
    cli_print_help(stdout, command);
    return flush_results("help", CLI_SAME);
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : NULL;

    cli_survive_limits();
    if (word == NULL) {
        print_overview(stderr);
        return CLI_TROUBLE;
    }
    if (strcmp(word, "--version") == 0) {
        puts("firstbit " FIRSTBIT_VERSION);
        return flush_results("", CLI_SAME);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0)
        return help_command(argc - 2, argv + 2);
    if (word[0] == '-') {
        fputs("firstbit: expected a command before ", stderr);
        cli_put(stderr, word);
        fputs(" (firstbit --help lists them)\n", stderr);
        return CLI_TROUBLE;
    }

    const cli_command *command = find_command(word);
    return command != NULL ? run_command(command, argc - 2, argv + 2) : unknown_command(word);
}
