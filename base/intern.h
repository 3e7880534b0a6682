/* SPDX-License-Identifier: Apache-2.0
 *
 * intern.h - equal byte strings become equal small numbers.
 */
#ifndef FB_BASE_INTERN_H
#define FB_BASE_INTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fb_intern fb_intern;

#define FB_INTERN_NONE UINT32_MAX

fb_intern *fb_intern_create(void); /* NULL when memory is out */
void fb_intern_destroy(fb_intern *table);

/* The number of these bytes, at most 2^32 - 1 of them: dense, in order of first use, from 0. Copies
 * them when they are new and then sets *is_new (may be NULL). FB_INTERN_NONE when memory is out. */
uint32_t fb_intern_put(fb_intern *table, const void *bytes, size_t count, bool *is_new);

/* The number of these bytes, FB_INTERN_NONE where they were never put. */
uint32_t fb_intern_find(const fb_intern *table, const void *bytes, size_t count);

/* The bytes of a number, followed by a zero byte; live until destroy. count may be NULL. */
const void *fb_intern_get(const fb_intern *table, uint32_t number, size_t *count);

uint32_t fb_intern_count(const fb_intern *table);

size_t fb_intern_memory(const fb_intern *table); /* bytes that the table holds */

#endif
