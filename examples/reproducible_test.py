#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A test that fails when a training stops giving the same bits, with the place in its message.

    python3 -m pytest examples/reproducible_test.py
"""

import torch
import torch.nn as nn

from firstbit.testing import assert_reproducible


def train(steps):
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        x = torch.randn(64, 8)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), x.sum(1, keepdim=True)).backward()
        optimizer.step()


def test_training_is_reproducible():
    assert_reproducible(train, 5, seed=1)


if __name__ == "__main__":
    print(assert_reproducible(train, 5, seed=1), end="")
