/* SPDX-License-Identifier: Apache-2.0
 *
 * sha256.h - the one cryptographic hash here: names in shared traces must not lead back to the
 * names. Rules: FIPS 180-4 and RFC 2104. Private to tracer.
 */
#ifndef FB_TRACER_FORMAT_SHA256_H
#define FB_TRACER_FORMAT_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { FB_SHA256_BYTES = 32, FB_SHA256_BLOCK = 64 };

typedef struct fb_sha256 {
    uint32_t state[8];
    uint8_t block[FB_SHA256_BLOCK]; /* what has come of the next one */
    uint64_t bytes;                 /* of the whole message so far */
} fb_sha256;

void fb__sha256_begin(fb_sha256 *s);
void fb__sha256_add(fb_sha256 *s, const void *bytes, size_t count);
void fb__sha256_end(fb_sha256 *s, uint8_t out[FB_SHA256_BYTES]);

/* HMAC-SHA256 of a message. */
void fb__hmac_sha256(uint8_t out[FB_SHA256_BYTES], const void *key, size_t key_bytes,
                     const void *message, size_t count);

#endif
