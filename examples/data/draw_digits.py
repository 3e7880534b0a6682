#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the digits that examples/conv.json and examples/mlp.json learn, as IDX files.

Each image is 28x28 grey levels: a digit made of strokes, moved, turned, scaled, slanted and drawn
with a pen of varying width. The same script always draws the same pixels: the random numbers are its
own, coordinates are rounded before anything is decided on them, and gzip gets no time stamp.

usage: draw_digits.py [COUNT [FOLDER]]   writes digits-images.idx3.gz and digits-labels.idx1.gz
"""

import gzip
import math
import os
import struct
import sys

SIZE = 28
LEVELS = 15  # grey levels besides black; few, so that the file stays small


def arc(cx, cy, rx, ry, start, end, pieces=12):
    """Points of an elliptic arc, angles in degrees, y down."""
    angles = [math.radians(start + (end - start) * i / pieces) for i in range(pieces + 1)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


# Strokes in a box from -1 to 1, y down.
GLYPHS = [
    [arc(0, 0, 0.62, 0.95, 0, 360, 20)],
    [[(-0.35, -0.6), (0.1, -0.95), (0.1, 0.95)]],
    [arc(0, -0.42, 0.6, 0.53, 180, 380) + [(-0.6, 0.95), (0.65, 0.95)]],
    [arc(-0.05, -0.47, 0.58, 0.48, 200, 450), arc(-0.05, 0.47, 0.64, 0.48, 270, 520)],
    [[(0.3, 0.95), (0.3, -0.95), (-0.65, 0.35), (0.7, 0.35)]],
    [[(0.55, -0.95), (-0.45, -0.95), (-0.52, -0.1)], arc(-0.05, 0.32, 0.62, 0.6, 230, 500)],
    [arc(0.35, 0.15, 0.95, 1.1, 270, 180), arc(0, 0.42, 0.58, 0.53, 0, 360, 18)],
    [[(-0.62, -0.95), (0.62, -0.95), (-0.15, 0.95)]],
    [arc(0, -0.48, 0.5, 0.46, 0, 360, 16), arc(0, 0.46, 0.6, 0.5, 0, 360, 18)],
    [arc(0, -0.42, 0.58, 0.53, 0, 360, 18), arc(-0.35, -0.15, 0.95, 1.1, 0, 90)],
]


class Chooser:
    """A linear congruential generator of 64 bits; its upper half chooses."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n

    def between(self, low, high):
        return low + (high - low) * self.below(1000) / 999


def placed(glyph, choose):
    """The glyph's segments in pixels, after a random placement."""
    turn = math.radians(choose.between(-14, 14))
    slant = choose.between(-0.2, 0.25)
    width, height = choose.between(6.3, 8.6), choose.between(7.6, 9.8)
    cx, cy = choose.between(12.0, 15.0), choose.between(12.0, 15.0)
    segments = []
    for stroke in glyph:
        points = []
        for x, y in stroke:
            x, y = (x - slant * y) * width, y * height
            x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
            points.append((round(cx + x, 2), round(cy + y, 2)))
        segments += zip(points, points[1:])
    return segments


def distance(px, py, segment):
    (ax, ay), (bx, by) = segment
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    t = 0.0 if length == 0 else max(0.0, min(1.0, ((px - ax) * dx + (py - ay) * dy) / length))
    return math.hypot(px - ax - t * dx, py - ay - t * dy)


def draw(digit, choose):
    segments = placed(GLYPHS[digit], choose)
    pen = choose.between(0.75, 1.6)
    nearest = [[9.0] * SIZE for _ in range(SIZE)]
    reach = pen + 1
    for segment in segments:
        (ax, ay), (bx, by) = segment
        for y in range(max(0, int(min(ay, by) - reach)), min(SIZE, int(max(ay, by) + reach) + 2)):
            for x in range(max(0, int(min(ax, bx) - reach)), min(SIZE, int(max(ax, bx) + reach) + 2)):
                nearest[y][x] = min(nearest[y][x], distance(x, y, segment))
    ink = [max(0.0, min(1.0, pen + 0.5 - d)) for row in nearest for d in row]
    return bytes(round(round(value, 6) * LEVELS) * 255 // LEVELS for value in ink)


def write(path, magic, counts, body):
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(struct.pack(f">I{len(counts)}I", magic, *counts) + body)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    folder = sys.argv[2] if len(sys.argv) > 2 else os.path.dirname(os.path.abspath(__file__))
    choose = Chooser(28)
    labels = bytes(choose.below(10) for _ in range(count))
    images = b"".join(draw(digit, choose) for digit in labels)
    write(os.path.join(folder, "digits-images.idx3.gz"), 0x803, [count, SIZE, SIZE], images)
    write(os.path.join(folder, "digits-labels.idx1.gz"), 0x801, [count], labels)


if __name__ == "__main__":
    main()
