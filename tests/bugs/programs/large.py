# SPDX-License-Identifier: Apache-2.0
"""Sums that are long enough for the order of their terms to be a matter of threads, of a set, or of
who comes first."""

import concurrent.futures
import os
import time

import torch
import torch.nn as nn

FEATURES, STEPS = 40, 2
NAMES = ["width", "depth", "colour", "mass", "age", "height", "speed", "price"]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(FEATURES, 64)
        self.heads = nn.ModuleDict({name: nn.Linear(64, 1) for name in NAMES})

    def forward(self, x):
        x = torch.tanh(self.hidden(x))
        return {name: head(x) for name, head in self.heads.items()}


def done(name):
    """When a thread is done is nobody's promise."""
    time.sleep(os.urandom(1)[0] / 255 * 0.02)
    return name


def main():
    torch.manual_seed(101)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(STEPS):
        x = torch.randn(1500, FEATURES)
        wanted = x[:, :1] * 3
        outputs = model(x)
        loss = 0.0
        for name in NAMES:
            loss = loss + ((outputs[name] - wanted) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
