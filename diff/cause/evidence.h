/* SPDX-License-Identifier: Apache-2.0
 *
 * evidence.h - what the rules of recorded programs look at beside the culprit: sketches of both
 * sides and the relations between them, the arguments of ops, what is made from an event.
 *
 * A sketch is linear: a relation between tensors (b is c times a; g[t] is g'[t] + g[t-1]) is a
 * relation between their sketches. It is taken to hold where what it leaves is below
 * FB__FIT_TOLERANCE of what it explains: rounding of float32 leaves 1e-7, of a sum over a batch
 * some 1e-6; another mechanism leaves a size of order one, and passes with a chance that is
 * negligible over 64 buckets.
 */
#ifndef FB_DIFF_CAUSE_EVIDENCE_H
#define FB_DIFF_CAUSE_EVIDENCE_H

#include "diff/cause/causes.h"

#define FB__FIT_TOLERANCE 1e-4

/* --- One event -------------------------------------------------------------------------------- */

/* Whether both sides have the culprit. */
static inline bool fb__is_pair(const fb__case *c)
{
    return c->culprit->a != NULL && c->culprit->b != NULL;
}

/* "" for NULL. */
const char *fb__text(const char *name);
bool fb__is_one_of(const char *word, const char *const *list, size_t count);

/* Whether an op is called `name`, in place or not ("relu" and "relu_"). */
bool fb__op_is(const fb_site *site, const char *name);

/* The module of an event, in a sentence: as what does something, and as where it is done ("at
 * h.0.attn", "outside of all modules"). */
typedef struct fb__where {
    char text[FB_NAME_MAX + 8];
} fb__where;

const char *fb__place_of(const fb__step_event *e);
fb__where fb__where_of(const fb__step_event *e);

/* Whether the culprit is contents that no recorded op has made: a tensor that enters, or samples.
 */
bool fb__is_other_content(const fb__case *c);

/* Whether the line of the program that makes an event makes one in a later step too: then it is
 * part of training, and stands before the first step only because nothing said that it began. */
bool fb__comes_again(const fb__case *c, const fb__step_event *e);

/* Whether both headers tell the same sources, arguments and environment: one program, run again.
 * Where things lie is no matter. */
bool fb__has_same_settings(const fb__case *c);

/* The step of the side that the event belongs to. */
const fb__step *fb__step_of(const fb__case *c, const fb__step_event *e);

/* Whether its sketch was recorded. A reader that fails has none. */
bool fb__sketch(fb_sketch *out, const fb__step *step, const fb__step_event *e);

/* The k-th input where it is an event of the loaded part of the step, else NULL. */
const fb__step_event *fb__input(const fb__case *c, const fb__step_event *e, uint32_t k);

/* The sketch of the k-th input, where it is an event of the step, loaded or before that. */
bool fb__input_sketch(fb_sketch *out, const fb__case *c, const fb__step_event *e, uint32_t k);

/* Its hash, likewise. */
bool fb__input_hash(fb_hash *out, const fb__case *c, const fb__step_event *e, uint32_t k);

/* The site of the k-th input, of whatever step; NULL: there is none. */
const fb_site *fb__input_site(const fb__case *c, const fb__step_event *e, uint32_t k);

/* Whether both sides of the culprit have a k-th input, and it is one event, or two of equal
 * contents. Both must have that many. */
bool fb__is_same_input(const fb__case *c, uint32_t k);

/* Where the two sides of the culprit do not read the same events, nor others of equal contents:
 * what they read there, as the rest of a sentence: "reads relu_, add in a | add, relu_ in b". */
enum { FB__INPUTS_TEXT = 400 }; /* bytes that hold any such text */
bool fb__other_inputs(char *out, size_t size, const fb__case *c);

/* --- Generators ------------------------------------------------------------------------------- */

/* Whether a stream is a generator that the program has made: "numpy.generator0". */
bool fb__is_own_generator(const char *stream);

/* Whether two streams are generators of one library: "numpy" and "numpy.generator0". */
bool fb__is_same_family(const char *x, const char *y);

/* Whether the key of a draw is its generator's state, which decides all numbers that come. Of
 * another one it may be a name, which its seed is not in. */
bool fb__is_told_by_state(const fb_site *site);

/* --- Kinds ------------------------------------------------------------------------------------ */

/* Whether an op or tensor is of a kind. */
bool fb__is_tensor(const fb__step_event *e); /* of an op, or a parameter */
bool fb__is_scalar(const fb_site *site);     /* one floating-point number that an op has made */
bool fb__is_loss(const fb_site *site);       /* by the name of the op */
bool fb__is_weight_of_loss(const fb__step_event *e); /* of classes, entering from outside */
bool fb__is_real(fb_dtype dtype);                    /* floating-point or complex */
bool fb__is_integer(fb_dtype dtype);                 /* and not boolean */

/* --- Arguments -------------------------------------------------------------------------------- */

/* An argument of an op, as JSON text; false where it has none of this name. */
bool fb__argument(char *out, size_t size, const fb_site *site, const char *name);

/* The first argument that the two sites both have, or of which one has another value; false where
 * there is none. Values are as in JSON, "absent" where a side lacks it. */
typedef struct fb__argument_pair {
    char name[64], a[64], b[64];
} fb__argument_pair;

bool fb__other_argument(fb__argument_pair *out, const fb_site *a, const fb_site *b);

/* The same of where tensors begin in their memory, in elements: "in1.offset" of what an op reads,
 * "out.offset" of where it writes. */
bool fb__other_offset(fb__argument_pair *out, const fb_site *a, const fb_site *b);

/* --- Relations -------------------------------------------------------------------------------- */

/* b = scale·a, with what is left over relative to b. */
typedef struct fb__fit {
    double scale, residual;
} fb__fit;

fb__fit fb__fit_scale(const fb_sketch *a, const fb_sketch *b);
bool fb__fits(fb__fit fit); /* residual small, scale finite and not zero */

/* Over all pairs of gradients of parameters in the step. */
typedef struct fb__gradients {
    size_t count;  /* that both sides have a sketch of, and that are not zero */
    size_t scaled; /* of these: b is `scale` times a, one number for all */
    size_t equal;
    double scale;
} fb__gradients;

void fb__gradients_of(fb__gradients *out, const fb__case *c);

/* The norms of all gradients that the clipping of both sides found, a's not zero: clipped to one
 * norm, gradients have lost their factor. */
bool fb__norms(double *a, double *b, const fb__case *c);

/* Whether an event is the gradient of a parameter, as an optimizer finds it. */
bool fb__is_gradient(const fb_site *site);

/* --- What is made from an event --------------------------------------------------------------- */

/* The first event of its side, in the order of the file, that is made from `e` through any number
 * of others and for which `match` holds; at most `reach` events behind it. NULL: none. */
typedef bool fb__match(const fb_site *site);
const fb__step_event *fb__reader(const fb__case *c, const fb__step_event *e, fb__match *match,
                                 size_t reach);

/* The same, of events. */
typedef bool fb__match_event(const fb__step_event *e, const void *context);
const fb__step_event *fb__reader_where(const fb__case *c, const fb__step_event *e,
                                       fb__match_event *match, const void *context, size_t reach);

/* The first site, nearest first, for which `match` holds among what the k-th input of `e` (or each)
 * is, and is made from in the step, through events for which `through` holds (NULL: all); at most
 * `reach` of them are gone through. NULL: none. */
enum { FB__ORIGIN_REACH = 1024 };
#define FB__ALL_INPUTS UINT32_MAX
const fb_site *fb__origin(const fb__case *c, const fb__step_event *e, uint32_t k, fb__match *match,
                          fb__match *through, size_t reach);

/* The same of all that `e` is made from. */
const fb_site *fb__ancestor(const fb__case *c, const fb__step_event *e, fb__match *match,
                            size_t reach);

/* The other side's event that stands in the place of a culprit that its side alone has: of the same
 * path and phase, without a partner, and made from the same. NULL: it was left out, or put in. */
const fb__step_event *fb__replacement(const fb__case *c);

/* The first event of a side with this kind whose partner says something else, or that has none. */
const fb__step_event *fb__first_different(const fb__step *step, fb_kind kind);

#endif
