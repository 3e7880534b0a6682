/* SPDX-License-Identifier: Apache-2.0
 *
 * sha256.c - SHA-256 (FIPS 180-4) and HMAC (RFC 2104), for short messages: names, not tensors.
 */
#include "tracer/format/sha256.h"

#include <string.h>

/* The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
static const uint32_t constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void compress(fb_sha256 *s, const uint8_t *block)
{
    uint32_t w[64], v[8];

    for (int i = 0; i < 16; i++)
        w[i] = big_endian(block + (size_t)4 * (size_t)i);
    for (int i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(v, s->state, sizeof v);
    for (int i = 0; i < 64; i++) {
        const uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
        const uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
        const uint32_t t1 = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) +
                            choice + constants[i] + w[i];
        const uint32_t t2 = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) + majority;

        memmove(v + 1, v, 7 * sizeof v[0]);
        v[0] = t1 + t2;
        v[4] += t1;
    }
    for (int i = 0; i < 8; i++)
        s->state[i] += v[i];
}

void fb__sha256_begin(fb_sha256 *s)
{
    /* The same of the square roots of the first eight primes. */
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    memset(s, 0, sizeof *s);
    memcpy(s->state, start, sizeof start);
}

void fb__sha256_add(fb_sha256 *s, const void *bytes, size_t count)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < count; i++) {
        s->block[s->bytes++ % FB_SHA256_BLOCK] = p[i];
        if (s->bytes % FB_SHA256_BLOCK == 0)
            compress(s, s->block);
    }
}

void fb__sha256_end(fb_sha256 *s, uint8_t out[FB_SHA256_BYTES])
{
    const uint64_t bits = s->bytes * 8;
    uint8_t length[8];

    fb__sha256_add(s, "\x80", 1);
    while (s->bytes % FB_SHA256_BLOCK != FB_SHA256_BLOCK - sizeof length)
        fb__sha256_add(s, "", 1);
    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    fb__sha256_add(s, length, sizeof length);
    for (size_t i = 0; i < FB_SHA256_BYTES; i++)
        out[i] = (uint8_t)(s->state[i / 4] >> (24 - 8 * (i % 4)));
}

static void keyed(uint8_t out[FB_SHA256_BYTES], const uint8_t key[FB_SHA256_BLOCK], uint8_t pad,
                  const void *message, size_t count)
{
    uint8_t block[FB_SHA256_BLOCK] = {0};
    fb_sha256 s;

    for (size_t i = 0; i < sizeof block; i++)
        block[i] = key[i] ^ pad;
    fb__sha256_begin(&s);
    fb__sha256_add(&s, block, sizeof block);
    fb__sha256_add(&s, message, count);
    fb__sha256_end(&s, out);
}

void fb__hmac_sha256(uint8_t out[FB_SHA256_BYTES], const void *key, size_t key_bytes,
                     const void *message, size_t count)
{
    uint8_t block[FB_SHA256_BLOCK] = {0}, inner[FB_SHA256_BYTES];
    fb_sha256 s;

    if (key_bytes > sizeof block) { /* a long key stands for its hash */
        fb__sha256_begin(&s);
        fb__sha256_add(&s, key, key_bytes);
        fb__sha256_end(&s, block);
    } else if (key_bytes > 0) {
        memcpy(block, key, key_bytes);
    }
    keyed(inner, block, 0x36, message, count);
    keyed(out, block, 0x5c, inner, sizeof inner);
}
