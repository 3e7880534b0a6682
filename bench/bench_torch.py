#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What recording a PyTorch program costs: one step of a small GPT with and without, in turns.

usage: bench_torch.py [--rounds N] [--large | --gpt2] [--only LEVEL] [--json]
       the library: FIRSTBIT_LIBRARY

--large: 6 layers, 384 wide, 12 x 64 tokens; --gpt2: 12 layers, 768 wide, 50,257 words, 4 x 64 tokens;
else 4 layers, 128 wide, 16 x 64.

For each level one process trains the model; every other block of steps is recorded, and a round is
one block of each. The figure is the median over rounds of the recorded block's median step by the
plain one's, by the clock; behind it the least and the largest, and the same of the processor time of
the program's thread. `empty mode` records as `draws` does while PyTorch asks a dispatch mode that only
calls each op, in C: below that no recorder of ops can come that gets to know of them this way.
`default` is what is recorded behind the tenth step. Memory that is freed stays with the process, in
both: else the heap's end is given back and fetched again in some steps and not in others.
"""

import argparse
import ctypes
import json
import os
import statistics
import sys
import tempfile
import time

# OpenBLAS chooses its kernels itself: a lesser core, which an environment may name, makes the plain
# step slow and the ratio small. It looks when PyTorch loads it.
os.environ.pop("OPENBLAS_CORETYPE", None)

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "recorders", "python"))

import firstbit.torch  # noqa: E402

# name, level, steps of the level
CASES = [("steps", "steps", None), ("draws", "draws", None), ("default", "ops", "0:1"),
         ("empty mode", "draws", None), ("ops", "ops", None), ("sketch", "sketch", None)]
BLOCK = 4
# vocabulary, width, heads, layers, batch, in words
SIZES = {"small": (256, 128, 4, 4, 16, "4 layers, 128 wide, 16 x 64"),
         "large": (65, 384, 6, 6, 12, "6 layers, 384 wide, 12 x 64"),
         "gpt2": (50257, 768, 12, 12, 4, "12 layers, 768 wide, 4 x 64")}


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc, self.out, self.drop = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim), nn.Dropout(0.1)

    def forward(self, x, mask):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, c // self.heads).transpose(1, 2)
                   for part in self.qkv(self.ln1(x)).split(c, -1))
        scores = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5).masked_fill(mask, float("-inf"))
        x = x + self.drop(self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, c)))
        return x + self.drop(self.out(F.gelu(self.fc(self.ln2(x)))))


class Gpt(nn.Module):
    def __init__(self, vocab, context, dim, heads, layers):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, dim), nn.Embedding(context, dim)
        self.h = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocab, bias=False)
        self.register_buffer("mask", torch.ones(context, context, dtype=torch.bool).triu(1))

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight[:tokens.shape[1]]
        for block in self.h:
            x = block(x, self.mask[:tokens.shape[1], :tokens.shape[1]])
        return self.head(self.ln(x))


def keep_memory():
    """glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (mallopt(3))."""
    libc = ctypes.CDLL(None)
    for parameter in (-1, -3):
        libc.mallopt(parameter, 1 << 30)


def empty_mode(run):
    """The recorder's mode stays active though its steps record no ops: it only calls them. As in
    other recordings, not within the optimizer."""
    session = run._session
    session._leave = lambda: None
    session.core.__enter__()
    session.dispatching = True


def end_empty_mode(run):
    session = run._session
    session.core.__exit__(None, None, None)
    session.dispatching = False


class Rounds:
    """Steps of a plain and of a recorded block, in turns: milliseconds, and those of the thread."""

    def __init__(self):
        self.plain, self.recorded = [], []
        self.events = 0

    def add(self, plain, recorded):
        for blocks, steps in ((self.plain, plain), (self.recorded, recorded)):
            blocks.append([1000 * statistics.median(column) for column in zip(*steps)])

    def ratios(self, column):
        """Least, median and largest."""
        found = sorted(b[column] / a[column] for a, b in zip(self.plain, self.recorded))
        return found[0], statistics.median(found), found[-1]

    def milliseconds(self, blocks):
        return statistics.median(block[0] for block in blocks)


def measure(case, size, rounds, folder):
    torch.manual_seed(0)
    name, level, ops_steps = case
    vocabulary, dim, heads, layers, batch, _ = SIZES[size]
    model = Gpt(vocabulary, 64, dim, heads, layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    found = Rounds()

    def step():
        tokens = torch.randint(0, vocabulary, (batch, 65))
        begun = time.perf_counter(), time.thread_time()
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return time.perf_counter() - begun[0], time.thread_time() - begun[1]

    step()
    for number in range(rounds):
        plain = [step() for _ in range(BLOCK)]
        path = os.path.join(folder, f"{level}{number}.fbt")
        with firstbit.torch.record(path, model=model, optimizer=optimizer, level=level,
                                   ops_steps=ops_steps) as run:
            if name == "empty mode":
                empty_mode(run)
            step()  # the first step of a recording meets every name for the first time
            step()
            before = run.recorder.events
            found.add(plain, [step() for _ in range(BLOCK)])
            found.events = (run.recorder.events - before) / BLOCK
            if name == "empty mode":
                end_empty_mode(run)
        os.remove(path)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--large", dest="size", action="store_const", const="large", default="small")
    parser.add_argument("--gpt2", dest="size", action="store_const", const="gpt2")
    parser.add_argument("--only", choices=[name for name, _, _ in CASES])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    keep_memory()
    if not given.json:
        print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, "
              f"GPT of {SIZES[given.size][-1]} tokens, {given.rounds} rounds\n")
        print(f"{'level':12}{'plain':>9}{'recorded':>12}{'ratio':>8}{'least':>8}{'most':>7}"
              f"{'CPU':>8}{'events a step':>16}")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if given.only not in (None, case[0]):
                continue
            found = measure(case, given.size, given.rounds, folder)
            plain, recorded = map(found.milliseconds, (found.plain, found.recorded))
            least, ratio, most = found.ratios(0)
            if given.json:
                print(json.dumps({"bench": "torch", "case": case[0], "this": recorded, "peer": plain,
                                  "peer_name": f"PyTorch {torch.__version__}", "unit": "ms/step",
                                  "ratio": 1 / ratio}))
            else:
                print(f"{case[0]:12}{plain:6.1f} ms{recorded:9.1f} ms{ratio:8.3f}{least:8.2f}{most:7.2f}"
                      f"{found.ratios(1)[1]:8.3f}{found.events:16.0f}")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
