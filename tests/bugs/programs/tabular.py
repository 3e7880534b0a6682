# SPDX-License-Identifier: Apache-2.0
"""A table: split, scaled by what the training rows show, a classifier with a validation and an
exponential moving average of its weights."""

import argparse
import copy
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

ROWS, FEATURES, CLASSES, EPOCHS = 40, 6, 3, 2


def make_table():
    generator = torch.Generator().manual_seed(21)
    x = torch.randn(ROWS, FEATURES, generator=generator) * torch.arange(1, FEATURES + 1) + 3
    y = (x[:, 0] + x[:, 1] * 0.5 - x[:, 2] > 0).long() + (x[:, 5] > 4).long()
    return x, y


def split(count):
    rows = list(range(count))
    random.Random(8).shuffle(rows)
    return rows[:count * 3 // 4], rows[count * 3 // 4:]


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(FEATURES, 16)
        self.second = nn.Linear(16, 16)
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = self.drop(F.relu(self.second(x)))
        return self.out(x)


def follow(average, model, decay):
    with torch.no_grad():
        for slow, fast in zip(average.parameters(), model.parameters()):
            slow.mul_(decay).add_(fast, alpha=1 - decay)


def validate(model, x, y):
    model.eval()
    with torch.no_grad():
        logits = model(x)
        loss = F.cross_entropy(logits, y)
    model.train()
    return loss.item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.01)
    options = parser.parse_args()
    torch.manual_seed(2)
    x, y = make_table()
    train, held_out = split(ROWS)
    mean, deviation = x[train].mean(0), x[train].std(0)
    x = (x - mean) / deviation
    model = Classifier()
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)
    loader = DataLoader(Subset(TensorDataset(x, y), train), batch_size=8, shuffle=True,
                        generator=torch.Generator().manual_seed(6))
    losses = []
    for _ in range(EPOCHS):
        for features, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(features), labels)
            loss.backward()
            optimizer.step()
            follow(average, model, 0.9)
            losses.append(loss.item())
        print("validation", validate(average, x[held_out], y[held_out]))
    torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
