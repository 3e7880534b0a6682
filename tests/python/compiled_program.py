#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a model with compiled regions; prints the bits of its parameters and what was compiled.

usage: compiled_program.py [RUN.fbt]      recorded into RUN.fbt
"""

import contextlib
import hashlib
import sys

import torch
from torch._dynamo.utils import counters


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.drop = torch.nn.Linear(8, 8), torch.nn.Dropout(0.2)
        self.second = torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.second(self.drop(torch.relu(self.first(x))))


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    recording = contextlib.nullcontext()
    if len(sys.argv) > 1:
        import firstbit.torch
        recording = firstbit.torch.record(sys.argv[1], model=model, optimizer=optimizer,
                                          ops_steps=None)
    with recording:
        compiled = torch.compile(model, backend="aot_eager")
        mean = torch.compile(lambda y: (y * y).mean(), backend="aot_eager")
        for _ in range(3):
            optimizer.zero_grad()
            mean(compiled(torch.randn(4, 8))).backward()
            optimizer.step()
    bits = b"".join(p.detach().numpy().tobytes() for p in model.parameters())
    print(hashlib.sha256(bits).hexdigest()[:12], sorted(counters["stats"].items()),
          sorted(counters["frames"].items()), len(counters["graph_break"]))


if __name__ == "__main__":
    main()
