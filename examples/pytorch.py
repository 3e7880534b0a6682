#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small PyTorch training, recorded with one line around its loop.

    python3 examples/pytorch.py a.fbt
    python3 examples/pytorch.py b.fbt --forget     zero_grad() is forgotten in step 4
    firstbit diff a.fbt b.fbt
"""

import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

import firstbit.torch


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.drop, self.out = nn.Linear(16, 32), nn.Dropout(0.1), nn.Linear(32, 4)

    def forward(self, x):
        return self.out(self.drop(F.relu(self.fc(x))))


def train(model, optimizer, forget):
    for step in range(1, 11):
        x = torch.randn(64, 16)
        y = x[:, :4].argmax(1)
        if not (forget and step == 4):
            optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    print(f"loss {loss.item():.6f}")


if __name__ == "__main__":
    torch.manual_seed(1)
    net = Net()
    adam = torch.optim.Adam(net.parameters(), lr=1e-2)
    with firstbit.torch.record(sys.argv[1], model=net, optimizer=adam):
        train(net, adam, "--forget" in sys.argv)
