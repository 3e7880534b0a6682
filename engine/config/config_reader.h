/* SPDX-License-Identifier: Apache-2.0
 *
 * config_reader.h - how a configuration is read: tables of fields say what an object may hold, one
 * function checks an object against its table, fills a struct and writes the resolved JSON.
 * For config*.c only.
 */
#ifndef FB_ENGINE_CONFIG_CONFIG_READER_H
#define FB_ENGINE_CONFIG_CONFIG_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cJSON.h>

#include "base/bytes.h"
#include "base/intern.h"
#include "engine/config/config.h"
#include "engine/files/json.h"

enum {
    FB__CONFIG_LAYERS_MAX = 100000, /* layers after unrolling; bounds memory */
    FB__CONFIG_LAYER_NAME_MAX = 64, /* bytes of one layer's name */
    FB__CONFIG_LAYER_PATH_MAX = 200 /* bytes of a layer's path */
};

#define FB__INTEGER_MAX FB__JSON_INTEGER_MAX

/* --- Memory that lives and dies with the configuration ---------------------------------------- */

typedef struct fb__arena fb__arena;

fb__arena *fb__arena_create(void); /* NULL when memory is out */
void fb__arena_destroy(fb__arena *arena);
void *fb__arena_zeros(fb__arena *arena, size_t count, size_t size); /* NULL when memory is out */
char *fb__arena_text(fb__arena *arena, const char *text);           /* a copy, or NULL */

/* --- The reader ------------------------------------------------------------------------------- */

typedef struct fb__reader {
    const char *name; /* of the configuration, in messages */
    fb_error *err;    /* may be NULL */
    fb__arena *arena;
    fb_config *config;

    fb_buffer out; /* resolved JSON so far */
    bool silent;   /* true: read without writing (further copies of a repeat) */

    char where[1024]; /* place in the configuration: "model[0].linear.out"; cut when longer */
    size_t where_length;

    fb_intern *paths;      /* of the layers so far */
    fb_intern *embeddings; /* those of embeddings, which a linear layer can be tied to */
    size_t layer_total;    /* unrolled */
} fb__reader;

/* Appends to r->where and returns the length before, for fb__where_pop. */
size_t fb__where_push(fb__reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void fb__where_pop(fb__reader *r, size_t length);

/* FB_E_CONFIG with "NAME: WHERE: " in front. */
fb_status fb__config_fail(fb__reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
fb_status fb__config_no_memory(fb__reader *r);

/* "NAME: WHERE: expected EXPECTED, got VALUE", or "missing; expected EXPECTED" for NULL. */
fb_status fb__config_expected(fb__reader *r, const char *expected, const cJSON *value);

/* --- Fields ----------------------------------------------------------------------------------- */

typedef enum fb__field_type {
    FB__FIELD_INTEGER,       /* int64_t, or uint64_t: equal below 2^53 */
    FB__FIELD_NUMBER,        /* double */
    FB__FIELD_BOOL,          /* bool */
    FB__FIELD_STRING,        /* const char *, not empty */
    FB__FIELD_OPTIONAL_TEXT, /* const char *, or null for NULL */
    FB__FIELD_FORM,          /* bool: one of two words, `words[1]` is true */
    FB__FIELD_WIDTH,         /* int64_t: an integer, "vocab" or "classes" */
    FB__FIELD_INTEGER_PAIR,  /* int64_t[2]: n for both, or [height, width] */
    FB__FIELD_NUMBER_PAIR,   /* double[2]: [a, b] */
    FB__FIELD_OBJECT,        /* an object with fields of its own, in the same struct */
    FB__FIELD_CUSTOM         /* read by a function */
} fb__field_type;

typedef struct fb__fields fb__fields;

typedef struct fb__field {
    const char *key;
    fb__field_type type;
    size_t offset; /* in the struct that is filled */

    bool required;
    double fallback, fallback2; /* default of a number, bool, integer or pair */
    size_t same_as;             /* not 0: the default is the value at this offset */

    double low, high;         /* bounds, inclusive unless open */
    bool open_low, open_high; /* bounds themselves excluded */

    const char *words[2];     /* form */
    const fb__fields *fields; /* object */
    /* custom: value is NULL where the key is missing. Writes one JSON value. */
    fb_status (*read)(fb__reader *r, const cJSON *value, void *base);
} fb__field;

struct fb__fields {
    size_t count;
    const fb__field *list;
};

/* A static table of fields; use it as FB__FIELDS(NAME, {...}, {...}). */
#define FB__FIELDS(name, ...)                                                                      \
    static const fb__field name##_LIST[] = {__VA_ARGS__};                                          \
    static const fb__fields name = {sizeof name##_LIST / sizeof *name##_LIST, name##_LIST}

/* Checks that `object` holds what `fields` allow, nothing else and nothing twice, fills `base` and
 * writes the object with every default. NULL counts as {}. */
fb_status fb__read_object(fb__reader *r, const cJSON *object, const fb__fields *fields, void *base);

/* The same without the braces around, for an object that has more in it. */
fb_status fb__read_members(fb__reader *r, const cJSON *object, const fb__fields *fields,
                           void *base);

/* Checks keys alone: `object` is an object, every key is in `keys`, none is given twice. */
fb_status fb__check_keys(fb__reader *r, const cJSON *object, const char *const *keys, size_t count);

/* A choice with parameters: "name", {"name": {...}}, or, where further keys stand beside the name,
 * any object with exactly one of `names` as a key. *body is NULL for the first form. */
fb_status fb__read_choice(fb__reader *r, const cJSON *value, const char *const *names, size_t count,
                          size_t *index, const cJSON **body);

/* The word of `words` that one slip of the keyboard makes of `word`, or NULL. */
const char *fb__did_you_mean(const char *word, const char *const *words, size_t count);

/* --- Writing the resolved text ---------------------------------------------------------------- */

void fb__write_raw(fb__reader *r, const char *text);
void fb__write_key(fb__reader *r, const char *key); /* with a comma before, where one is due */
void fb__write_string(fb__reader *r, const char *text);
void fb__write_number(fb__reader *r, double value); /* shortest text that reads back equal */

/* --- The parts of a configuration ------------------------------------------------------------- */

/* text -> tree. Delete it with cJSON_Delete. */
fb_status fb__config_tree(cJSON **out, fb__reader *r, const char *text);

/* Applies --set NAME=VALUE to the tree. */
fb_status fb__config_set_apply(fb__reader *r, cJSON *tree, const fb_config_set *set);

/* Custom fields of the top level; base is the fb_config. */
fb_status fb__read_data(fb__reader *r, const cJSON *value, void *base);
fb_status fb__read_model(fb__reader *r, const cJSON *value, void *base);
fb_status fb__read_loss(fb__reader *r, const cJSON *value, void *base);
fb_status fb__read_optimizer(fb__reader *r, const cJSON *value, void *base);
fb_status fb__read_schedule(fb__reader *r, const cJSON *value, void *base);

#endif
