/* SPDX-License-Identifier: Apache-2.0
 *
 * fuzz_config.c - any text as a configuration; what is accepted is accepted again when it is
 * resolved.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/config/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    fb_config config, again;
    fb_error err;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (fb_config_parse(&config, text, "fuzz.json", NULL, 0, &err) == FB_OK) {
        fuzz_expect(fb_config_parse(&again, config.resolved, "again", NULL, 0, &err) == FB_OK,
                    "a resolved configuration is one");
        fuzz_expect(strcmp(config.resolved, again.resolved) == 0,
                    "resolving twice changes nothing");
        fb_config_free(&again);
        fb_config_free(&config);
    } else {
        fuzz_expect(err.text[0] != '\0' && strchr(err.text, '\n') == NULL, "one line says why");
    }
    free(text);
    return 0;
}
