#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What recording a PyTorch program costs: one step of a small GPT with and without, in turns.

usage: bench_torch.py [--rounds N] [--large | --gpt2] [--only LEVEL] [--json]
       the library: FIRSTBIT_LIBRARY

--large: 6 layers, 384 wide, 12 x 64 tokens; --gpt2: 12 layers, 768 wide, 50,257 words, 4 x 64 tokens;
else 4 layers, 128 wide, 16 x 64.

For each level one process trains the model; every other block of steps is recorded. The figure is
the median of recorded steps by that of plain ones of the same process.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "recorders", "python"))

import firstbit.torch  # noqa: E402

CASES = [("steps", "steps", None), ("draws", "draws", None), ("default", "ops", "0:1"),
         ("ops", "ops", None), ("sketch", "sketch", None)]
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


def measure(level, ops_steps, size, rounds, folder):
    """Milliseconds of a plain and of a recorded step, and the number of events a step."""
    torch.manual_seed(0)
    vocabulary, dim, heads, layers, batch, _ = SIZES[size]
    model = Gpt(vocabulary, 64, dim, heads, layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    times = {False: [], True: []}
    events = 0

    def step():
        tokens = torch.randint(0, vocabulary, (batch, 65))
        begun = time.perf_counter()
        loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return time.perf_counter() - begun

    for number in range(rounds):
        for _ in range(BLOCK):
            times[False].append(step())
        path = os.path.join(folder, f"{level}{number}.fbt")
        with firstbit.torch.record(path, model=model, optimizer=optimizer, level=level,
                                   ops_steps=ops_steps) as run:
            step()  # the first step of a recording meets every name for the first time
            for _ in range(BLOCK):
                times[True].append(step())
            events = run.recorder.events / (BLOCK + 2)
        os.remove(path)
    return (1000 * statistics.median(times[False]), 1000 * statistics.median(times[True]), events)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--large", dest="size", action="store_const", const="large", default="small")
    parser.add_argument("--gpt2", dest="size", action="store_const", const="gpt2")
    parser.add_argument("--only", choices=[name for name, _, _ in CASES])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not given.json:
        print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, "
              f"GPT of {SIZES[given.size][-1]} tokens\n")
        print(f"{'level':10}{'plain':>10}{'recorded':>12}{'ratio':>8}{'events a step':>16}")
    with tempfile.TemporaryDirectory() as folder:
        for name, level, ops_steps in CASES:
            if given.only not in (None, name):
                continue
            plain, recorded, events = measure(level, ops_steps, given.size, given.rounds, folder)
            if given.json:
                print(json.dumps({"bench": "torch", "case": name, "this": recorded, "peer": plain,
                                  "peer_name": f"PyTorch {torch.__version__}", "unit": "ms/step",
                                  "ratio": plain / recorded}))
            else:
                print(f"{name:10}{plain:8.1f} ms{recorded:10.1f} ms{recorded / plain:8.3f}{events:16.0f}")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
