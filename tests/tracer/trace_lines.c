/* SPDX-License-Identifier: Apache-2.0
 *
 * trace_lines.c - prints every event of a trace as JSON, for comparison with read_trace.py.
 *
 * usage: trace_lines RUN.fbt     exit status as read_trace.py: 0 complete, 1 torn or full, 2
 * refused
 */
#include <stdio.h>
#include <stdlib.h>

#include "firstbit/trace.h"

static int print_events(fb_trace *t, fb_error *err)
{
    for (;;) {
        const fb_event *e;
        uint64_t number;
        char *line;

        if (fb_trace_next(t, &e, &number, err) != FB_OK)
            return 2;
        if (e == NULL)
            return 0;
        line = fb_trace_event_json(t, e, number);
        if (line == NULL || puts(line) == EOF)
            return 2;
        free(line);
    }
}

int main(int argc, char **argv)
{
    fb_trace_info info;
    fb_error err = {.text = "a line could not be written"};
    fb_trace *t;
    int status;

    if (argc != 2)
        return 2;
    if (fb_trace_open(&t, argv[1], &err) != FB_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    status = print_events(t, &err);
    if (status == 0 && fb_trace_verify(&info, t, NULL, NULL, &err) != FB_OK)
        status = 2;
    else if (status == 0 && info.status != FB_TRACE_COMPLETE)
        status = info.status == FB_TRACE_CORRUPT ? 2 : 1;
    if (status == 2)
        fprintf(stderr, "%s\n", err.text);
    fb_trace_close(t);
    return status;
}
