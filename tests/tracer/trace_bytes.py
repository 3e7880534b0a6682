# SPDX-License-Identifier: Apache-2.0
"""Hashes and bytes as docs/trace-format.md, sections 1 and 4, has them: the ground of read_trace.py."""

import math
import struct

import xxhash


class Refused(Exception):
    """What a reader must refuse (section 6)."""


def require(condition, what):
    if not condition:
        raise Refused(what)


# --- Hashes: a hash is an int; on disk its low half comes first, as in little-endian -------------

def xxh64(data):
    return xxhash.xxh3_64_intdigest(data)


def xxh128(data):
    return xxhash.xxh3_128_intdigest(data)


def hash_bytes(value):
    return value.to_bytes(16, "little")


def name_bytes(name):
    return struct.pack("<Q", xxh64(name))


def real_bytes(x):
    return struct.pack("<Q", 0x7FF8000000000000) if math.isnan(x) else struct.pack("<d", x)


# --- Bytes ---------------------------------------------------------------------------------------

class Cursor:
    def __init__(self, data):
        self.data = data
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def take(self, count):
        require(count <= self.left(), "ends early")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def varint(self):
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            require(not (shift == 63 and byte > 1), "varint overflows")
            require(not (shift > 0 and byte == 0), "varint is overlong")
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise Refused("varint is too long")

    def below(self, limit, what):
        value = self.varint()
        require(value < limit, what)
        return value

    def zigzag(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def counted(self, limit):
        """Length, bytes."""
        return self.take(self.below(limit + 1, "longer than its limit"))
