# SPDX-License-Identifier: Apache-2.0
"""Training that is interrupted after three steps, saves a checkpoint, and goes on from it: model,
optimizer, schedule, moving average, generators and the place in the data."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

ROWS, FEATURES, BATCH, STEPS, INTERRUPT = 48, 5, 6, 6, 3


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(FEATURES, 12)
        self.norm = nn.BatchNorm1d(12)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(12, 1)

    def forward(self, x):
        return self.head(self.drop(F.relu(self.norm(self.body(x))))).squeeze(1)


class Order:
    """Rows in an order of their own for each epoch, and the place in it."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(17)
        self.rows, self.at = [], 0

    def next(self):
        if self.at + BATCH > len(self.rows):
            self.rows = torch.randperm(ROWS, generator=self.generator).tolist()
            self.at = 0
        self.at += BATCH
        return self.rows[self.at - BATCH:self.at]

    def state_dict(self):
        return {"generator": self.generator.get_state(), "rows": self.rows, "at": self.at}

    def load_state_dict(self, state):
        self.generator.set_state(state["generator"])
        self.rows = state["rows"]
        self.at = state["at"]


class Training:
    def __init__(self):
        self.model = Net()
        self.average = copy.deepcopy(self.model)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.03)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda t: 0.8 ** t)
        self.order = Order()

    def step(self, x, y):
        rows = self.order.next()
        self.optimizer.zero_grad()
        loss = F.mse_loss(self.model(x[rows]), y[rows])
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.model.parameters()):
                slow.mul_(0.8).add_(fast, alpha=0.2)
        return loss.item()

    def save(self, path):
        checkpoint = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order.state_dict(),
            "generator": torch.get_rng_state(),
        }
        torch.save(checkpoint, path)

    def load(self, path):
        checkpoint = torch.load(path)
        self.model.load_state_dict(checkpoint["model"])
        self.average.load_state_dict(checkpoint["average"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.order.load_state_dict(checkpoint["order"])
        torch.set_rng_state(checkpoint["generator"])


def main():
    table = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, FEATURES, generator=table)
    y = x[:, 0] * 2 - x[:, 3] + torch.randn(ROWS, generator=table) * 0.1
    torch.manual_seed(0)
    training = Training()
    losses = [training.step(x, y) for _ in range(INTERRUPT)]
    training.save("checkpoint.pt")
    training = Training()
    training.load("checkpoint.pt")
    losses += [training.step(x, y) for _ in range(STEPS - INTERRUPT)]
    torch.save({"losses": losses, "model": training.average.state_dict()}, "result.pt")


if __name__ == "__main__":
    main()
