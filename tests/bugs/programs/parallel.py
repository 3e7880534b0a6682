# SPDX-License-Identifier: Apache-2.0
"""Two processes with gloo: each has half of the batch, gradients are averaged by hand, every rank
clips and updates alike."""

import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

WORLD, ROWS, FEATURES, BATCH, STEPS = 2, 32, 6, 4, 4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(FEATURES, 10)
        self.norm = nn.LayerNorm(10)
        self.out = nn.Linear(10, 2)

    def forward(self, x):
        return self.out(F.relu(self.norm(self.fc(x))))


def average_gradients(model):
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= WORLD


def train(rank):
    dist.init_process_group("gloo", init_method="file://" + os.path.abspath("meeting"), rank=rank,
                            world_size=WORLD)
    torch.manual_seed(61)
    model = Net()
    for parameter in model.parameters():
        dist.broadcast(parameter.data, 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    table = torch.Generator().manual_seed(62)
    x = torch.randn(ROWS, FEATURES, generator=table)
    y = (x[:, 0] - x[:, 4] > 0).long()
    losses = []
    for step in range(STEPS):
        epoch = torch.Generator().manual_seed(63 + step)
        mine = torch.randperm(ROWS, generator=epoch)[rank::WORLD][:BATCH]
        loss = F.cross_entropy(model(x[mine]), y[mine])
        optimizer.zero_grad()
        loss.backward()
        average_gradients(model)
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        losses.append(loss.item())
    if rank == 0:
        torch.save({"losses": losses, "model": model.state_dict()}, "result.pt")
    dist.barrier()
    dist.destroy_process_group()


def main():
    if os.path.exists("meeting"):
        os.unlink("meeting")
    other = os.fork()
    train(1 if other == 0 else 0)
    if other == 0:
        os._exit(0)
    os.waitpid(other, 0)


if __name__ == "__main__":
    main()
