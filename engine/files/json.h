/* SPDX-License-Identifier: Apache-2.0
 *
 * json.h - untrusted JSON text to a cJSON tree, with bounds that cJSON itself lacks; and the way
 * back, which keeps every bit of a number (cJSON's printing compares with a tolerance and loses the
 * last one of some).
 */
#ifndef FB_ENGINE_FILES_JSON_H
#define FB_ENGINE_FILES_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include <cJSON.h>

#include "base/bytes.h"

#define FB__JSON_INTEGER_MAX 9007199254740991.0 /* 2^53 - 1: all up to here are doubles */

enum {
    FB__JSON_DEPTH_MAX = 64,      /* nesting; bounds recursion */
    FB__JSON_VALUES_MAX = 2000000 /* values of one text; each costs cJSON 64 bytes */
};

/* Where and why a text was refused. */
typedef struct fb__json_fault {
    size_t offset, line, column; /* line and column count from 1 */
    char what[64];               /* "expected a value, got ']'" */
    bool no_memory;              /* the text is fine, memory is out */
} fb__json_fault;

/*
 * Parses a whole text that ends with a zero byte.
 *
 * NULL, and *fault filled (may be NULL), for text that is not strict JSON, not UTF-8, nested too
 * deep, too large, or has a string with a zero character, which C could not hold; also when memory
 * is out.
 * Delete the tree with cJSON_Delete.
 */
cJSON *fb__json_parse(const char *text, fb__json_fault *fault);

bool fb__json_is_utf8(const char *text);

/* Appends a quoted and escaped string, or null for NULL. */
void fb__json_put_string(fb_buffer *out, const char *text);

/* The shortest text that reads back as the same finite double, with a point in every locale. */
enum { FB__NUMBER_TEXT = 40 }; /* room for any */
void fb__number_text(char out[FB__NUMBER_TEXT], double value);

/* A tree as text without spaces, numbers as above. Free it with free; NULL when memory is out. */
char *fb__json_print(const cJSON *tree);

#endif
