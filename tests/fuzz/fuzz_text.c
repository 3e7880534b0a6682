/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_text.c - small texts of a recorder's caller: the JSON of a header, and lists of steps.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tracer/record/header_json.h"
#include "tracer/format/step_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *json = NULL;
    fb_step_list list;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (fb__step_list_read(&list, text, NULL) == FB_OK)
        for (uint64_t step = 0; step < 50; step++)
            (void)fb__step_list_has(&list, step * step);
    if (size > 0 && text[0] == '{' && fb__header_json(&json, text, NULL, NULL) == FB_OK)
        fuzz_expect(json != NULL && json[0] == '{', "a header is an object");
    free(json);
    free(text);
    return 0;
}
