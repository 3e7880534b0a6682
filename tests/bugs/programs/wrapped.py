# SPDX-License-Identifier: Apache-2.0
"""DistributedDataParallel over two processes with gloo, with a DistributedSampler."""

import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

WORLD, ROWS, FEATURES, EPOCHS = 2, 16, 5, 3


def make_model():
    return nn.Sequential(nn.Linear(FEATURES, 9), nn.Tanh(), nn.Linear(9, 1))


def train(rank):
    dist.init_process_group("gloo", init_method="file://" + os.path.abspath("meeting"), rank=rank,
                            world_size=WORLD)
    torch.manual_seed(71)
    model = nn.parallel.DistributedDataParallel(make_model())
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    table = torch.Generator().manual_seed(72)
    x = torch.randn(ROWS, FEATURES, generator=table)
    data = TensorDataset(x, x.sum(1, keepdim=True))
    sampler = DistributedSampler(data, WORLD, rank, shuffle=True, seed=73)
    loader = DataLoader(data, batch_size=4, sampler=sampler, generator=torch.Generator())
    losses = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for features, target in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(features), target)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    if rank == 0:
        torch.save({"losses": losses, "model": model.module.state_dict()}, "result.pt")
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
