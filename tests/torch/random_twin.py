# SPDX-License-Identifier: Apache-2.0
"""Random numbers of contract 1, written from docs/numerics.md alone ("Random numbers",
"Initialization", "Data order"), in numpy: what the engine must have drawn."""
import math

import numpy
import xxhash

LOW = numpy.uint64(0xFFFFFFFF)


def philox(key, counter):
    """Philox4x32-10. key: two words, counter: four arrays of words; returns four arrays."""
    x = [numpy.asarray(word, dtype=numpy.uint64) for word in counter]
    k0, k1 = key
    for _ in range(10):
        p0 = x[0] * numpy.uint64(0xD2511F53)
        p1 = x[2] * numpy.uint64(0xCD9E8D57)
        x = [(p1 >> numpy.uint64(32)) ^ x[1] ^ numpy.uint64(k0), p1 & LOW,
             (p0 >> numpy.uint64(32)) ^ x[3] ^ numpy.uint64(k1), p0 & LOW]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return x


def words(seed, stream, step, positions):
    """The words of a stream at these positions, as uint64."""
    positions = numpy.asarray(positions, dtype=numpy.uint64)
    number = xxhash.xxh3_64_intdigest(stream.encode()) & 0xFFFFFFFF
    block = positions >> numpy.uint64(2)
    full = numpy.full(positions.shape, 1, dtype=numpy.uint64)
    out = philox((seed & 0xFFFFFFFF, seed >> 32),
                 (block & LOW, block >> numpy.uint64(32), full * numpy.uint64(step),
                  full * numpy.uint64(number)))
    return numpy.choose((positions & numpy.uint64(3)).astype(int), out)


def dropout_keeps(seed, path, step, places, elements, p):
    """[samples, elements] of bool: which elements a dropout layer keeps; places: of the samples in
    the whole batch."""
    at = numpy.asarray(places, dtype=numpy.uint64)[:, None] * numpy.uint64(elements)
    at = at + numpy.arange(elements, dtype=numpy.uint64)[None]
    return words(seed, path, step, at) >= numpy.uint64(math.floor(p * 2.0 ** 32))


def permutation(seed, epoch, n):
    """The order of n training samples in an epoch."""
    drawn = [int(w) for w in words(seed, "shuffle", epoch, numpy.arange(2 * max(n - 1, 0)))]
    order = list(range(n))
    for number, i in enumerate(range(n - 1, 0, -1)):
        j = ((drawn[2 * number] | drawn[2 * number + 1] << 32) * (i + 1)) >> 64
        order[i], order[j] = order[j], order[i]
    return order


def batch_indices(seed, step, size, n):
    """Which of n training samples a step reads."""
    batches = n // size
    epoch, batch = divmod(step - 1, batches)
    return permutation(seed, epoch, n)[batch * size:(batch + 1) * size]


def normal(seed, stream, n, std):
    """The first values of a parameter: n normal numbers with mean 0, as float32. Each function is
    computed in float64 and narrowed, so a few may be one unit off in the last place."""
    f32 = numpy.float32
    pairs = (n + 1) // 2
    u = words(seed, stream, 0, numpy.arange(2 * pairs)).reshape(pairs, 2) >> numpy.uint64(8)
    u1 = (u[:, 0] + numpy.uint64(1)).astype(f32) * f32(2.0 ** -24)
    u2 = u[:, 1].astype(f32) * f32(2.0 ** -24)
    r = numpy.sqrt(f32(-2) * numpy.log(u1.astype(float)).astype(f32))
    t = (f32(2 * math.pi) * u2).astype(float)
    z = numpy.stack([r * numpy.cos(t).astype(f32), r * numpy.sin(t).astype(f32)], axis=1)
    return (f32(0) + f32(std) * z.reshape(-1)[:n]).astype(f32)
